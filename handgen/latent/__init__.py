"""Tuning the latent space of a VAE by reinforcement learning."""

from handgen.latent.loss_tuner import LossTuner
from handgen.latent.module import LatentTuner
from handgen.latent.registry import register_envs

__all__ = ["LatentTuner", "LossTuner"]

register_envs()

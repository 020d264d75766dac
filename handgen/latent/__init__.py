"""Tuning the latent space of a VAE by reinforcement learning."""

from handgen.latent.module import LatentTuner

__all__ = ["LatentTuner"]

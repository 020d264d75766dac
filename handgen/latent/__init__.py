"""Tuning the latent space of a VAE by reinforcement learning."""

from handgen.latent.loss_tuner import LossTuner
from handgen.latent.module import LatentTuner
from handgen.registration import register_envs

__all__ = ["LatentTuner", "LossTuner"]

register_envs(
    {
        "handgen/LatentTuner-v0": "handgen.latent.tuner_env:LatentTunerEnv",
        "handgen/LatentRepair-v0": "handgen.latent.repair_env:LatentRepairEnv",
    }
)

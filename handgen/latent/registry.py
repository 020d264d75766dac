"""Registers the environments of this package under their ids, where Gymnasium is installed."""

from __future__ import annotations

ENVS = {
    "handgen/LatentTuner-v0": "handgen.latent.tuner_env:LatentTunerEnv",
    "handgen/LatentRepair-v0": "handgen.latent.repair_env:LatentRepairEnv",
}


def register_envs() -> None:
    """Register once; without Gymnasium, which the tuners themselves do not need, do nothing."""
    try:
        import gymnasium
    except ImportError:
        return
    for name, entry_point in ENVS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point)

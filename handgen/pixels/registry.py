"""Registers the environments of this package under their ids, where Gymnasium is installed."""

from __future__ import annotations

ENVS = {"handgen/CartpolePixels-v0": "handgen.pixels.suite_env:PixelSuite"}


def register_envs() -> None:
    """Register once; without Gymnasium do nothing."""
    try:
        import gymnasium
    except ImportError:
        return
    for name, entry_point in ENVS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point)

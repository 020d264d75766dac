"""Registers this suite's environments under their ids, where Gymnasium is installed."""

from __future__ import annotations

from collections.abc import Mapping


def register_envs(envs: Mapping[str, str]) -> None:
    """Register once; without Gymnasium, which not every method needs, do nothing.

    Args:
        envs: id to ``module:class``.
    """
    try:
        import gymnasium
    except ImportError:
        return
    for name, entry_point in envs.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point)

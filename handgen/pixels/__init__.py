"""Control from pixels: the worlds whose observations are frames."""

from handgen.pixels.registry import register_envs

__all__: list[str] = []

register_envs()

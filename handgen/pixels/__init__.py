"""Control from pixels: worlds whose observations are frames, and the agents that act in them.

Importing this registers the worlds; the agents are modules of their own, so that a worker process that only plays need
not import them.
"""

from handgen.registration import register_envs

__all__: list[str] = []

register_envs({"handgen/CartpolePixels-v0": "handgen.pixels.suite_env:PixelSuite"})

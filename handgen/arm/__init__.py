"""An arm with a hand of twelve joints that imitates pictures of hands."""

from handgen.registration import register_envs

register_envs({"handgen/ArmImitation-v0": "handgen.arm.env:ArmImitation"})

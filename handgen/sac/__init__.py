"""Soft actor-critic: the agent that the latent tuner, the pixel agents and the arm share."""

from handgen.sac.module import SAC

__all__ = ["SAC"]

"""The convolutional VAE baseline: module, losses and the priors fitted behind its frozen decoder."""

from handgen.vae.module import VAE
from handgen.vae.samplers import SAMPLERS, Sampler

__all__ = ["SAMPLERS", "VAE", "Sampler"]

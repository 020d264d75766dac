"""The loss that the VAE minimises, put together from the terms of :mod:`handgen.vae.losses`."""

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from handgen.vae import losses

Likelihood = Literal["beta", "calibrated", "laplace", "pyramid"]


@dataclass(frozen=True)
class Objective:
    """``(NLL(x | z) + beta * warmup * KL(q(z | x) || N(0, I)) + detail_weight * detail) / D``.

    Attributes:
        likelihood: ``calibrated``, ``laplace``, ``pyramid`` or ``beta``.
        scale: What shares a calibrated scale: ``shared`` (the batch), ``channel`` or ``image`` (``calibrated`` and
            ``laplace`` only).
        beta: Weight of the KL term.
        kl_warmup_steps: Optimiser steps over which the KL weight grows from 0.
        free_bits_nats: Free allowance of each latent dimension, nats.
        detail_weight: Weight of the Laplacian-pyramid term; 0 leaves it out.
    """

    likelihood: Likelihood
    scale: losses.Scale
    beta: float
    kl_warmup_steps: int
    free_bits_nats: float
    detail_weight: float

    def __call__(self, recon: Tensor, image: Tensor, mu: Tensor, log_var: Tensor, step: int) -> dict[str, Tensor]:
        """All terms.

        Args:
            recon: (B, C, H, W) in [0, 1].
            image: (B, C, H, W) in [0, 1].
            mu: Posterior means, (B, L).
            log_var: Posterior log variances, (B, L).
            step: Optimiser steps made so far, for the warm-up.

        Returns:
            ``total`` in nats per image value; ``recon``, ``kl`` and, if on, ``detail`` in nats per image.
        """
        kl = losses.kl_divergence(mu, log_var)
        terms = {"recon": self.nll(recon, image), "kl": kl.sum(1).mean()}
        weight = self.beta * losses.linear_warmup(step, self.kl_warmup_steps)
        total = terms["recon"] + weight * losses.free_bits(kl, self.free_bits_nats)
        if self.detail_weight > 0.0:
            terms["detail"] = calibrated_detail(recon, image)
            total = total + self.detail_weight * terms["detail"]
        return {"total": total / image[0].numel(), **terms}

    def nll(self, recon: Tensor, image: Tensor) -> Tensor:
        """Negative log-likelihood of the chosen kind, scalar nats per image."""
        if self.likelihood == "beta":
            return losses.unit_gaussian_nll(recon, image)
        if self.likelihood == "laplace":
            return losses.calibrated_laplace_nll(recon, image, self.scale)
        if self.likelihood == "pyramid":
            return losses.calibrated_pyramid_nll(recon, image)
        return losses.calibrated_gaussian_nll(recon, image, self.scale)


def calibrated_detail(recon: Tensor, image: Tensor) -> Tensor:
    """Laplacian-pyramid term, calibrated as a Laplace likelihood is: ``D log(mean band error)``, nats.

    Args:
        recon: (B, C, H, W) in [0, 1].
        image: (B, C, H, W) in [0, 1].
    """
    error = losses.laplacian_pyramid_loss(recon, image)
    return image[0].numel() * (error + math.exp(losses.MIN_LOG_SCALE)).log()

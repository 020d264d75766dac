"""Losses of the variational auto-encoder: pure functions of tensors, in nats per image."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Scale = Literal["shared", "channel", "image"]
SHARED_OVER: dict[Scale, tuple[int, ...]] = {"shared": (0, 1, 2, 3), "channel": (0, 2, 3), "image": (1, 2, 3)}
"""Dimensions of (B, C, H, W) errors over which a calibrated scale is fitted."""

MIN_LOG_SCALE = -6.0
"""Lower bound of the fitted log scale, the value of the sigma-VAE reference code (Rybkin et al. 2021)."""


def kl_divergence(mu: Tensor, log_var: Tensor) -> Tensor:
    """KL divergence of a diagonal Gaussian from the standard normal, for each dimension.

    Kingma and Welling 2014 (arXiv:1312.6114), appendix B::

        KL = 1/2 (mu^2 + exp(log_var) - 1 - log_var)

    Args:
        mu: posterior means, (B, L).
        log_var: logarithms of the posterior variances, (B, L).

    Returns:
        Nats, (B, L), never negative.
    """
    return 0.5 * (mu.square() + log_var.exp() - 1.0 - log_var)


def free_bits(kl: Tensor, nats: float) -> Tensor:
    """KL term with a free allowance in each latent dimension.

    Kingma et al. 2016 (arXiv:1606.04934), eq. 15: ``sum_j max(nats, mean over the batch of KL_j)``. With
    ``nats = 0`` it is the plain mean KL of an image.

    Args:
        kl: divergence of each dimension, (B, L), nats.
        nats: allowance of each dimension, nats; not negative.

    Returns:
        Scalar, nats per image.
    """
    return kl.mean(0).clamp(min=nats).sum()


def linear_warmup(step: int, steps: int) -> float:
    """Weight that grows linearly from 1/steps to 1 and stays there (KL annealing, arXiv:1511.06349).

    Args:
        step: optimiser steps made so far.
        steps: length of the warm-up, optimiser steps; 0 means none.

    Returns:
        Weight in (0, 1].
    """
    return min(1.0, (step + 1) / steps) if steps > 0 else 1.0


def unit_gaussian_nll(recon: Tensor, image: Tensor) -> Tensor:
    """Squared error as the negative log-likelihood of a Gaussian of variance one, without its constant.

    ``1/2 sum_d (x_d - r_d)^2``: with a weighted KL this is the beta-VAE (Higgins et al. 2017); a weight beta
    under variance 1 equals a weight of 1 under variance beta.

    Args:
        recon: reconstruction, (B, C, H, W).
        image: target, (B, C, H, W).

    Returns:
        Scalar, nats per image.
    """
    return 0.5 * (recon - image).square().sum() / len(image)


def calibrated_gaussian_nll(recon: Tensor, image: Tensor, scale: Scale = "shared") -> Tensor:
    """Negative log-likelihood under a Gaussian whose shared variance is the best one for this batch.

    Sigma-VAE, Rybkin et al. 2021 (arXiv:2006.13202), eq. 8: ``sigma*^2 = mean (x - r)^2``, therefore::

        NLL = D/2 (log(2 pi sigma*^2) + 1)

    The gradient is that of the squared error weighted by ``1 / sigma*^2``: no weight between the terms is
    left to search for. A scale for each image weighs errors by the image's own: a pale hand on a pale ground,
    whose errors are small numbers, counts as much as a dark one. Scales are at least ``exp(MIN_LOG_SCALE)``.

    Args:
        recon: reconstruction, (B, C, H, W).
        image: target, (B, C, H, W).
        scale: what shares one scale: the whole batch, each colour channel of it, or each image.

    Returns:
        Scalar, nats per image.
    """
    mse = (recon - image).square().mean(SHARED_OVER[scale])
    log_var = mse.clamp(min=1e-12).log().clamp(min=2.0 * MIN_LOG_SCALE)
    nll = 0.5 * (math.log(2.0 * math.pi) + log_var + mse * (-log_var).exp())
    return nll.mean() * image[0].numel()


def calibrated_laplace_nll(recon: Tensor, image: Tensor, scale: Scale = "shared") -> Tensor:
    """The same calibration for a Laplace likelihood, whose scale is the mean absolute error.

    ``b* = mean |x - r|`` and ``NLL = D (log(2 b*) + 1)``: the absolute error asks for the median rather than
    the mean of what the latent leaves open, which keeps edges sharper.

    Args:
        recon: reconstruction, (B, C, H, W).
        image: target, (B, C, H, W).
        scale: what shares one scale: the whole batch, each colour channel of it, or each image.

    Returns:
        Scalar, nats per image.
    """
    mae = (recon - image).abs().mean(SHARED_OVER[scale])
    log_scale = mae.clamp(min=1e-12).log().clamp(min=MIN_LOG_SCALE)
    nll = math.log(2.0) + log_scale + mae * (-log_scale).exp()
    return nll.mean() * image[0].numel()


def pyramid_bands(image: Tensor, levels: int = 3) -> list[Tensor]:
    """Band-pass levels of images and what is left: ``levels`` details, each at half the size, then the rest.

    Args:
        image: (B, C, H, W), H and W divisible by ``2**levels``.
        levels: number of halvings.
    """
    bands = []
    for _ in range(levels):
        coarse = F.avg_pool2d(image, 2)
        bands.append(image - F.interpolate(coarse, scale_factor=2.0))
        image = coarse
    return [*bands, image]


PYRAMID_WEIGHTS = (1.0, 2.0, 4.0, 4.0)
"""Weight of the mean squared error of each band, finest first: what shapes a pose comes before what sharpens it."""
TYPICAL_VARIANCE = 0.02
"""Spatial variance of a typical image, so that contrast leaves the size of the error as it is."""
LEAST_VARIANCE = 3e-4
"""Added to an image's variance: an almost empty one must not outweigh all others."""


def calibrated_pyramid_nll(recon: Tensor, image: Tensor) -> Tensor:
    """Calibrated Gaussian likelihood in which bands and contrasts weigh alike, scalar nats per image.

    With ``e_i = 1/2 sum_k w_k mean (band_k(x_i) - band_k(r_i))^2 / contrast_i`` for image i, where the contrast is its
    spatial variance over a typical one::

        NLL = D/2 (log(mean_i e_i) + log(2 pi) + 1)

    Under a plain squared error a pale hand on a pale background counts a hundredth of a dark one, and stays a smear.

    Args:
        recon: (B, C, H, W) in [0, 1].
        image: (B, C, H, W) in [0, 1].
    """
    pairs = zip(PYRAMID_WEIGHTS, pyramid_bands(recon), pyramid_bands(image), strict=True)
    error = 0.5 * torch.stack([w * (r - x).square().mean(dim=(1, 2, 3)) for w, r, x in pairs]).sum(dim=0)
    contrast = (image.var(dim=(2, 3)).mean(dim=1) + LEAST_VARIANCE) / TYPICAL_VARIANCE
    shared = (error / contrast).mean() + math.exp(2 * MIN_LOG_SCALE)
    return 0.5 * image[0].numel() * (shared.log() + math.log(2 * math.pi) + 1.0)


def laplacian_pyramid_loss(recon: Tensor, image: Tensor, levels: int = 3) -> Tensor:
    """Mean absolute difference of the band-pass levels of two images.

    It is Lap1 of GLO (Bojanowski et al. 2018, arXiv:1707.05776, section 3) with equal weights.

    Levels are built from 2x2 means, ``band_j = x_j - upsample(pool(x_j))``; the remaining low-pass is left to
    the likelihood. Every band counts the same, so that fine bands, which hold little energy, are not drowned.

    Args:
        recon: reconstruction, (B, C, H, W).
        image: target, (B, C, H, W).
        levels: number of bands; the sides must be divisible by ``2 ** levels``.

    Returns:
        Scalar, not negative: mean over bands and pixels.
    """
    difference = recon - image  # the pyramid is linear, so one pyramid of the difference is enough
    total = difference.new_zeros(())
    for _ in range(levels):
        coarse = F.avg_pool2d(difference, 2)
        total = total + (difference - F.interpolate(coarse, scale_factor=2.0)).abs().mean()
        difference = coarse
    return total / levels


def active_units(means: Tensor, threshold: float = 1e-2) -> Tensor:
    """Number of latent dimensions that the encoder uses (Burda et al. 2016, arXiv:1509.00519, section 2).

    A dimension is active when the variance of its posterior mean over the data exceeds ``threshold``.

    Args:
        means: posterior means, (N, L), N at least 2.
        threshold: smallest variance of an active dimension.

    Returns:
        Scalar count (float).
    """
    return (means.var(0) > threshold).sum().float()

"""The terms of IMM's loss: reconstruction, and what keeps points on the same part of the moving body."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.keypoints.coordinates import cell_centres

PRECISE = 0.01
"""In [-1, 1] units: errors below, half a pixel of 84, count as squared ones do."""


def squared_error(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of images (B, C, H, W): eq. 1 of Jakab et al. 2018 on pixels instead of features."""
    return (image.float() - target).square().mean()


def foreground_mask(image: Tensor, background: Tensor, threshold: float = 0.1) -> Tensor:
    """How surely a pixel is not background: ``min(1, max_c |image - background| / threshold)``.

    Args:
        image: (B, C, H, W) in [0, 1].
        background: (C, H, W) or (B, C, H, W), the median over frames.
        threshold: difference from which a pixel surely is foreground.

    Returns:
        (B, 1, H, W) in [0, 1].
    """
    difference = (image - background).abs().amax(dim=1, keepdim=True)
    return (difference / threshold).clamp(max=1.0)


def weighted_squared_error(image: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Squared error with a weight for each pixel, ``sum(w e^2) / sum(w)``, averaged over channels.

    Args:
        image: (B, C, H, W).
        target: (B, C, H, W).
        weight: (B, 1, H, W), positive.
    """
    error = (image.float() - target).square().mean(dim=1, keepdim=True)
    return (weight * error).sum() / weight.sum()


def equivariance(keypoints: Tensor, expected: Tensor, robust: bool = False) -> Tensor:
    """Squared distance between the points found in a warped frame and the warped points, where both are in view.

    ``mean |phi(T x) - T phi(x)|^2`` (Thewlis et al. 2017, arXiv:1705.02193, eq. 2). Points that the warp moves out of
    the frame cannot be found and do not count.

    Args:
        keypoints: (B, K, 2) found in the warped frames.
        expected: (B, K, 2), points found in the frames, warped.
        robust: the distance itself, rounded off below `PRECISE`: the few points that are lost do not outweigh the
            precision of all others.
    """
    inside = (expected.detach().abs() <= 1.0).all(dim=-1).float()
    distance = (keypoints - expected).square().sum(dim=-1)
    if robust:
        distance = (distance + PRECISE**2).sqrt()
    return (inside * distance).sum() / inside.sum().clamp(min=1.0)


def separation(keypoints: Tensor, sigma: float) -> Tensor:
    """How much points crowd: mean over pairs of ``exp(-d^2 / (2 sigma^2))``, after Zhang et al. 2018, arXiv:1804.04412.

    Args:
        keypoints: (B, K, 2).
        sigma: distance at which the repulsion fades, in [-1, 1] units.
    """
    count = keypoints.shape[1]
    if count < 2:
        return keypoints.sum() * 0.0
    distance = (keypoints[:, :, None] - keypoints[:, None]).square().sum(dim=-1)
    crowding = (-distance / (2 * sigma**2)).exp()
    others = 1.0 - torch.eye(count, device=keypoints.device)
    return (crowding * others).sum() / (others.sum() * len(keypoints))


def concentration(columns: Tensor, rows: Tensor, keypoints: Tensor) -> Tensor:
    """Mean squared distance of a score map's mass from its point (after Zhang et al. 2018, arXiv:1804.04412).

    Args:
        columns: distribution over columns (B, K, W).
        rows: over rows (B, K, H).
        keypoints: (B, K, 2), the expected coordinates of both.
    """
    across = (cell_centres(columns.shape[-1], keypoints) - keypoints[..., :1]).square()
    down = (cell_centres(rows.shape[-1], keypoints) - keypoints[..., 1:]).square()
    spread = (columns * across).sum(dim=-1) + (rows * down).sum(dim=-1)
    return spread.mean()


def dilate(mask: Tensor, pixels: int = 1) -> Tensor:
    """Grow a mask (B, 1, H, W) by some pixels to all sides."""
    return F.max_pool2d(mask, 2 * pixels + 1, 1, pixels)

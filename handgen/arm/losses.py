"""Losses of imitation: what a pose should be, where it is known, and what it should look like."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def joint_loss(joints: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error in radians^2 over the poses that are known, 0 where there is none.

    Args:
        joints: (B, 12).
        truth: (B, 12), NaN in rows whose pose is not known.
    """
    known = ~truth.isnan().any(dim=1)
    error = (joints - truth.nan_to_num()).square().mean(dim=1)
    return (error * known).sum() / known.sum().clamp(min=1)


def silhouette_loss(soft: Tensor, mask: Tensor) -> Tensor:
    """``E[(s - m)^2]`` over pixels: of a soft silhouette and a mask; for sharp edges, the share that differs.

    Args:
        soft: (B, h, h) in [0, 1].
        mask: uint8 (B, H, H), 0 or 255, H a multiple of h; its pixels are averaged.
    """
    shares = F.avg_pool2d(mask.float()[:, None] / 255.0, mask.shape[-1] // soft.shape[-1])[:, 0]
    return (soft - shares).square().mean()


def mismatch(mask: Tensor, other: Tensor) -> Tensor:
    """Share of pixels that differ, (B,), of bool masks (B, H, W)."""
    return (mask ^ other).float().mean(dim=(1, 2))


def intersection_over_union(mask: Tensor, other: Tensor) -> Tensor:
    """Of bool masks (B, H, W), (B,); 1 where both are empty."""
    union = (mask | other).sum(dim=(1, 2))
    return torch.where(union > 0, (mask & other).sum(dim=(1, 2)) / union.clamp(min=1), 1.0)

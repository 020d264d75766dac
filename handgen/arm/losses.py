"""Losses of imitation: what a pose should be, where it is known, and what it should look like."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def joint_loss(joints: Tensor, truth: Tensor, slack: float = 0.0) -> Tensor:
    """``E[max(|q - q*| - slack, 0)^2]`` in radians^2 over the joints that are known, 0 where there is none.

    Args:
        joints: (B, J).
        truth: (B, J), NaN where a joint is not known.
        slack: radians that a joint may be off for nothing.
    """
    known = ~truth.isnan()
    error = ((joints - truth.nan_to_num()).abs() - slack).clamp(min=0.0)
    return (error.square() * known).sum() / known.sum().clamp(min=1)


def posture_loss(joints: Tensor, truth: Tensor) -> Tensor:
    """``E[q^2]`` over joints that are not known, in radians^2: of poses that look alike, the stretched one.

    A finger bent before the palm and one that is hidden behind another have the same silhouette.

    Args:
        joints: (B, J).
        truth: (B, J), NaN where a joint is not known.
    """
    return joint_loss(joints, torch.where(truth.isnan(), 0.0, float("nan")))


def silhouette_loss(soft: Tensor, mask: Tensor, finger_weight: float = 0.0) -> Tensor:
    """``E[w (s - m)^2] / E[w]`` over pixels, of a soft silhouette and a mask, with ``w = 1 + f`` on fingers, else 1.

    A finger that is missing is a few pixels, and all that a person looks at.

    Args:
        soft: (B, h, h) in [0, 1].
        mask: uint8 (B, H, H), 0 or 255; its pixels are averaged.
        finger_weight: f.
    """
    shares = F.adaptive_avg_pool2d(mask.float()[:, None] / 255.0, soft.shape[-1])[:, 0]
    weight = 1.0 + finger_weight * fingers(shares)
    return (weight * (soft - shares).square()).mean() / weight.mean()


def fingers(shares: Tensor) -> Tensor:
    """What of masks (B, h, h) is too thin for a palm: the mask less its opening by a fifth of the picture.

    An opening (erosion, then dilation) keeps what a square of that size fits into.
    """
    size = shares.shape[-1] // 10 * 2 + 1
    eroded = -F.max_pool2d(-shares[:, None], size, stride=1, padding=size // 2)
    opened = F.max_pool2d(eroded, size, stride=1, padding=size // 2)[:, 0]
    return (shares - opened).clamp(min=0.0)

"""Random rotations, scalings and shifts of frames, and where they move points."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.keypoints.losses import dilate, foreground_mask


def random_similarity(count: int, device: torch.device, angle: float, scale: float, shift: float) -> Tensor:
    """Random maps of points, ``p -> s R p + t``.

    Args:
        count: number of maps B.
        device: of the result.
        angle: largest rotation to either side, radians.
        scale: largest change of size; s is log-uniform in [1 / (1 + scale), 1 + scale].
        shift: largest shift along each axis, in [-1, 1] units.

    Returns:
        (B, 2, 3), matrix and shift.
    """
    uniform = 2.0 * torch.rand(count, 4, device=device) - 1.0
    turn, size = uniform[:, 0] * angle, (uniform[:, 1] * math.log1p(scale)).exp()
    cos, sin = turn.cos() * size, turn.sin() * size
    rows = [torch.stack([cos, -sin, uniform[:, 2] * shift], -1), torch.stack([sin, cos, uniform[:, 3] * shift], -1)]
    return torch.stack(rows, dim=1)


def warp_points(points: Tensor, forward: Tensor) -> Tensor:
    """Points (B, K, 2) moved by maps (B, 2, 3)."""
    return points @ forward[:, :, :2].transpose(1, 2) + forward[:, None, :, 2]


def inverse(forward: Tensor) -> Tensor:
    """The inverse of affine maps (B, 2, 3)."""
    matrix = torch.linalg.inv_ex(forward[:, :, :2]).inverse  # unchecked: a check makes a GPU wait
    return torch.cat([matrix, -matrix @ forward[:, :, 2:]], dim=2)


def warp_images(images: Tensor, forward: Tensor, padding: str = "border") -> Tensor:
    """Images (B, C, H, W) moved by maps (B, 2, 3) of points; ``padding`` as of ``grid_sample``."""
    grid = F.affine_grid(inverse(forward), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def warp_elastic(images: Tensor, forward: Tensor, bend: float) -> Tensor:
    """Images moved by maps of points and bent smoothly, in place of the paper's thin-plate splines.

    Args:
        images: (B, C, H, W).
        forward: maps (B, 2, 3) of points.
        bend: SD of the displacements of a 4x4 lattice, in [-1, 1] units; bicubic in between.
    """
    grid = F.affine_grid(inverse(forward), list(images.shape), align_corners=False)
    lattice = bend * torch.randn(len(images), 2, 4, 4, device=images.device)
    bent = F.interpolate(lattice, size=images.shape[2:], mode="bicubic", align_corners=False)
    grid = grid + bent.permute(0, 2, 3, 1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def warp_foreground(images: Tensor, forward: Tensor, background: Tensor, threshold: float = 0.1) -> Tensor:
    """What differs from the background, moved; the background stays where it is.

    Args:
        images: (B, C, H, W) in [0, 1].
        forward: maps (B, 2, 3) of points.
        background: (C, H, W) or (B, C, H, W).
        threshold: difference from the background from which a pixel surely is foreground.

    Returns:
        (B, C, H, W) in [0, 1].
    """
    mask = dilate(foreground_mask(images, background, threshold))
    moved = warp_images(torch.cat([images * mask, mask], dim=1), forward, padding="zeros")
    return moved[:, :-1] + (1 - moved[:, -1:]) * background


def random_crop(images: Tensor, side: int, one_for_all: bool) -> Tensor:
    """Cut squares out of images (B, C, H, W) at random places, the same place for all of them or not.

    Args:
        images: (B, C, H, W).
        side: of the squares in pixels.
        one_for_all: whether all are cut at the same place.

    Returns:
        (B, C, side, side).
    """
    count, _, height, width = images.shape
    draws = torch.rand(1 if one_for_all else count, 2).expand(count, 2)
    tops, lefts = ((draws[:, axis] * (size - side + 1)).long().tolist() for axis, size in enumerate((height, width)))
    return torch.stack(
        [image[:, top : top + side, left : left + side] for image, top, left in zip(images, tops, lefts, strict=True)]
    )

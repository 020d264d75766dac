"""Keypoints drawn on frames: one colour for each point."""

from __future__ import annotations

import colorsys

import torch
from torch import Tensor
from torch.nn import functional as F


def point_colours(count: int) -> Tensor:
    """Colours (count, 3) in [0, 1], evenly spaced hues; the order keeps neighbours apart."""
    hues = [(index * 0.381966) % 1.0 if count > 12 else index / count for index in range(count)]
    return torch.tensor([colorsys.hsv_to_rgb(hue, 0.85 if index % 2 else 0.65, 1.0) for index, hue in enumerate(hues)])


def draw_keypoints(frames: Tensor, keypoints: Tensor, scale: int = 4, radius: float = 0.03) -> Tensor:
    """Enlarge frames and mark keypoints on them with filled discs in a dark ring.

    Args:
        frames: uint8 (N, 3, H, W).
        keypoints: (N, K, 2) as (x, y) in [-1, 1]; points outside are not seen.
        scale: whole factor by which frames are enlarged, pixel by pixel.
        radius: of the discs, in [-1, 1] units.

    Returns:
        uint8 (N, 3, scale * H, scale * W).
    """
    large = F.interpolate(frames.float() / 255, scale_factor=float(scale), mode="nearest")
    height, width = large.shape[2:]
    x = (torch.arange(width, device=large.device) + 0.5) * 2 / width - 1
    y = (torch.arange(height, device=large.device) + 0.5) * 2 / height - 1
    soft = 2.0 / max(height, width)  # one pixel of the enlarged frame
    for index, colour in enumerate(point_colours(keypoints.shape[1]).to(large)):
        point = keypoints[:, index].detach().to(large)
        distance = torch.hypot(x[None, None, :] - point[:, :1, None], y[None, :, None] - point[:, 1:, None])[:, None]
        for reach, paint in ((1.4 * radius, 0.15 * colour), (radius, colour)):
            cover = ((reach - distance) / soft + 0.5).clamp(0.0, 1.0)
            large = torch.lerp(large, paint[None, :, None, None].expand_as(large), cover)
    return (large * 255).round().to(torch.uint8)

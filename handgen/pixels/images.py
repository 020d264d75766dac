"""From stacks of bytes to images."""

from __future__ import annotations

import torch
from torch import Tensor


def to_image(obs: Tensor) -> Tensor:
    """Stacks (B, C, H, W) in [0, 1], channels last.

    Args:
        obs: uint8, or an image already, which comes back as it is.
    """
    if obs.is_floating_point():
        return obs.contiguous(memory_format=torch.channels_last)
    return obs.contiguous(memory_format=torch.channels_last) / 255.0  # reordered while a pixel is a byte

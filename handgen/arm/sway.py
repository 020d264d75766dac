"""Silhouettes of arms that lean a little more or less, and are a little nearer or farther."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SWAY_RAD, SWAY_SIZE = 0.1, 0.05
"""How far hands of the warm start are turned, and how much larger or smaller they become, at most."""
ELBOW = 1.1
"""Where a lean of the elbow turns the picture, in the middle below its lower edge: from the middle, in halves of it."""


def swayed(masks: Tensor, generator: torch.Generator) -> Tensor:
    """Masks uint8 (B, H, H), 0 or 255, turned about the elbow, as an arm leans, and made larger or smaller.

    Where they end at the picture's lower edge they go on.

    Args:
        masks: silhouettes of arms that come from below.
        generator: of angles within `SWAY_RAD` and factors within `SWAY_SIZE`, both uniform.
    """
    angle, factor = torch.rand(2, len(masks), generator=generator) * 2.0 - 1.0
    angle, factor = SWAY_RAD * angle, 1.0 + SWAY_SIZE * factor
    across, down = angle.cos() / factor, angle.sin() / factor
    # A pixel looks up what it shows: (x, y) less the elbow, turned back and scaled back, and the elbow again.
    rows = [across, -down, ELBOW * down], [down, across, ELBOW * (1.0 - across)]
    maps = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)
    grid = F.affine_grid(maps, [len(masks), 1, *masks.shape[1:]], align_corners=False)
    moved = F.grid_sample(masks[:, None].float(), grid, padding_mode="border", align_corners=False)[:, 0]
    return torch.where(moved > 127.0, 255, 0).to(torch.uint8)

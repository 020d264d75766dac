"""On which side a hand has its thumb, as far as its silhouette tells."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Mask = NDArray[np.bool_]

WEIGHTS = Path(__file__).parent / "weights" / "thumb_side.pt"
"""Learnt by ``python -m handgen.arm.fit_thumb_side``."""
SIDE = 28
"""Pixels that a silhouette is shrunk to."""


class ThumbSide(nn.Module):
    """Log-odds that a hand whose fingers point up has its thumb on the left: ``g(mask) - g(its mirror image)``.

    So a mirror image has minus the log-odds, whatever was learnt. Small, as a few thousand silhouettes of a few hundred
    persons are all that it learns from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(1, 8, 5, 2, 2),
            nn.SiLU(),
            nn.Conv2d(8, 16, 5, 2, 2),
            nn.SiLU(),
            nn.Conv2d(16, 16, 3, 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(16 * 4 * 4, 1),
        )

    def forward(self, mask: Tensor) -> Tensor:
        """Framed silhouettes (B, H, W) in [0, 1] to (B,)."""
        small = F.adaptive_avg_pool2d(mask[:, None], SIDE) * 2.0 - 1.0
        both: Tensor = self.network(torch.cat([small, small.flip(-1)])).view(2, -1)
        return both[0] - both[1]


@lru_cache(maxsize=1)
def _learnt() -> ThumbSide:
    """The network as it was learnt."""
    network = ThumbSide().eval()
    network.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
    return network


def looks_left(mask: Mask) -> bool:
    """Whether a framed silhouette looks like a hand with its thumb on the left.

    Args:
        mask: bool (H, W).
    """
    with torch.no_grad():
        return bool(_learnt()(torch.from_numpy(mask.astype(np.float32))[None]) >= 0.0)

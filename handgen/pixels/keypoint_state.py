"""From keypoints of single frames to the state of an agent: where the points are and how they move."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KeypointState(nn.Module):
    """Points of the newest frame and differences between frames, as one vector.

    ``[p_t, c (p_t - p_(t-1)), c (p_(t-1) - p_(t-2)), ...]``: a point belongs to an instant, and its motion is said
    outright instead of being left to the network (FPAC, Boney et al. 2021, arXiv:2106.07995; FLARE, Shang et al. 2021,
    arXiv:2101.01857).

    Args:
        frame_stack: frames T in an observation.
        description_dim: numbers D that describe a frame.
        motion_scale: c, which brings differences to about the size of the points.
    """

    def __init__(self, frame_stack: int, description_dim: int, motion_scale: float = 3.0) -> None:
        super().__init__()
        self.motion_scale = motion_scale
        self.feature_dim = frame_stack * description_dim

    def forward(self, descriptions: Tensor) -> Tensor:
        """Descriptions (B, T, D), newest last, to features (B, T D)."""
        newest_first = descriptions.flip(1)
        motion = self.motion_scale * (newest_first[:, :-1] - newest_first[:, 1:])
        return torch.cat([newest_first[:, :1], motion], dim=1).flatten(1)

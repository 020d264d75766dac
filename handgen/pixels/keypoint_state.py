"""From keypoints of single frames to the state of an agent: where the points are, how they move, what was done."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KeypointState(nn.Module):
    """Points of the newest frame, differences between frames and the actions between them, as one vector.

    ``[p_t, c (p_t - p_(t-1)), c (p_(t-1) - p_(t-2)), ..., a_(t-1), a_(t-2), ...]``: a point belongs to an instant, and
    its motion is said outright instead of being left to the network (FPAC, Boney et al. 2021, arXiv:2106.07995; FLARE,
    Shang et al. 2021, arXiv:2101.01857). A difference is the mean velocity over a decision, half a decision old; the
    action of that decision tells what it has become since.

    Args:
        frame_stack: frames T in an observation.
        description_dim: numbers D that describe a frame.
        action_dim: numbers A of an action; 0 leaves the actions out.
        motion_scale: c, which brings differences to about the size of the points.
    """

    def __init__(self, frame_stack: int, description_dim: int, action_dim: int = 0, motion_scale: float = 3.0) -> None:
        super().__init__()
        self.description_dim, self.action_dim, self.motion_scale = description_dim, action_dim, motion_scale
        self.feature_dim = frame_stack * description_dim + (frame_stack - 1) * action_dim

    def forward(self, known: Tensor) -> Tensor:
        """What is known of each frame (B, T, D + A), newest last, to features (B, T D + (T - 1) A).

        Args:
            known: descriptions (B, T, D), and beside each the action that led to the frame (A), 0 for an episode's
                first; that of the oldest frame is not looked at.
        """
        newest_first = known.flip(1)
        points, actions = (
            newest_first[..., : self.description_dim],
            newest_first[:, :-1, self.description_dim : self.description_dim + self.action_dim],
        )
        motion = self.motion_scale * (points[:, :-1] - points[:, 1:])
        return torch.cat([points[:, 0], motion.flatten(1), actions.flatten(1)], dim=1)

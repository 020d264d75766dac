"""What an agent on keypoints knows of the frames that it has seen last."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Describer(Protocol):
    """What this asks of a method that sees keypoints."""

    description_dim: int
    descriptions: int

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    def describe(self, frames: Tensor) -> Tensor:
        """Stacks uint8 (N, C, H, W) to descriptions (N, D) of their newest frames."""


class KnownFrames:
    """Descriptions of the last frames, and beside each the action that led to it, newest last.

    ``values`` is (N, T, D + A), with zeros in place of the actions where an episode begins, and for the oldest frame,
    as in `KeypointReplay`.

    Args:
        agent: describes frames; has ``description_dim`` D and ``descriptions`` T.
        num_envs: environments N.
        action_dim: numbers A of an action.
    """

    def __init__(self, agent: Describer, num_envs: int, action_dim: int) -> None:
        self.agent = agent
        self.values = torch.zeros(num_envs, agent.descriptions, agent.description_dim + action_dim)

    def describe(self, obs: Tensor) -> Tensor:
        """Descriptions (N, D) of stacks uint8 (N, C, H, W), where these are."""
        return self.agent.describe(obs.to(self.agent.device)).to(obs.device)

    def begin(self, began: Tensor, obs: Tensor) -> None:
        """Know nothing but the first frame.

        Args:
            began: bool (N,), where an episode begins.
            obs: its stacks (N, C, H, W).
        """
        if began.any():
            self.values = self.values.to(obs.device)
            self.values[began] = 0.0
            self.values[began, :, : self.agent.description_dim] = self.describe(obs[began])[:, None]

    def add(self, action: Tensor, description: Tensor) -> None:
        """Know one frame more, and forget the oldest.

        Args:
            action: (N, A), what led to it.
            description: (N, D).
        """
        self.values = torch.cat([self.values[:, 1:], torch.cat([description, action], dim=1)[:, None]], dim=1)
        self.values[:, 0, self.agent.description_dim :] = 0.0

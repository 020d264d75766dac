"""A replay of images whose observations are what a keypoint network says of them, and what the agent did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from handgen.datamodules.pixel_replay import FrameReplay
from handgen.datamodules.replay_buffer import Kind

BATCH = 256
Describe = Callable[[Tensor], Tensor]
"""Frames, or stacks of them, uint8 (N, S C, H, W) to descriptions (N, D)."""


class KeypointReplay(FrameReplay):
    """Frames, and beside each its description; observations are what is known of the last frames.

    That is the description of each, and the action that led to it: (T, D + A), newest last. There are zeros where an
    episode begins, and for the oldest frame, whose action no stack of frames would know.

    A frame is described once, when it is stored, and not whenever it is drawn: a batch of 128 transitions would cost
    768 passes through the network. When the network changes, `describe_all` describes everything anew.

    Args:
        description_dim: numbers D of a description.
        described_frames: newest frames S that a description is made of; T is ``frame_stack - S + 1``.
        args: those of `FrameReplay`.
        kwargs: those of `FrameReplay`.
    """

    def __init__(self, description_dim: int, described_frames: int, *args: Any, **kwargs: Any) -> None:
        self.description_dim, self.described_frames = description_dim, described_frames
        super().__init__(*args, **kwargs)
        self.descriptions = self.frame_stack - described_frames + 1
        self.following_descriptions: dict[int, Tensor] = {}

    def _seen(self, obs_shape: tuple[int, ...]) -> dict[str, Kind]:
        """The columns of `FrameReplay`, and the description of the frame."""
        return {**super()._seen(obs_shape), "description": ((self.description_dim,), torch.float32)}

    def add(self, transition: dict[str, Tensor]) -> None:
        """Store one step of all environments.

        Args:
            transition: as in `FrameReplay.add`, and ``description`` and ``next_description`` (N, D) of the newest S
                frames of ``obs`` and ``next_obs``.
        """
        row = self.head
        super().add(transition)
        described = {**self.following_descriptions}
        for env in range(self.num_envs):
            described[row * self.num_envs + env] = transition["next_description"][env].clone()
        self.following_descriptions = {index: described[index] for index in self.following}

    def _obs(self, flat: Tensor) -> Tensor:
        """What is known (B, T, D + A) of the frames whose stacks end in these rows."""
        back = torch.arange(self.descriptions - 1, -1, -1, device=flat.device)
        described = self._take("description", self._earlier(flat, back))
        return torch.cat([described, self._actions_before(flat, back)], dim=2)

    def _next_obs(self, flat: Tensor) -> Tensor:
        """What is known (B, T, D + A) of the frames whose stacks end in the frame after these rows."""
        back = torch.arange(self.descriptions - 2, -2, -1, device=flat.device)
        described = self._take("description", self._earlier(flat, back))
        for place, index in enumerate(flat.tolist()):
            if index in self.following_descriptions:
                described[place, -1] = self.following_descriptions[index]
        return torch.cat([described, self._actions_before(flat, back)], dim=2)

    def _actions_before(self, flat: Tensor, back: Tensor) -> Tensor:
        """Actions (B, T, A) that led to the frames some number of rows back (T,), 0 where none is known."""
        actions = self._take("action", self._earlier(flat, back + 1))
        known = back + 1 <= self._take("before", flat)[:, None]
        known[:, 0] = False
        return actions * known[..., None]

    def newest(self) -> tuple[Tensor, Tensor]:
        """What is known (N, T, D + A) of the frames that the last step led to, and whether (N,) an episode ended."""
        row = (self.head - 1) % self.rows
        flat = row * self.num_envs + torch.arange(self.num_envs, device=self.columns["description"].device)
        return self._next_obs(flat), self._ended(row)

    def describe_all(self, describe: Describe) -> None:
        """Describe every stored frame anew.

        Args:
            describe: the network as it is now.
        """
        channels, described = self.described_frames * self.channels, self.columns["description"].flatten(0, 1)
        for flat in torch.arange(self.filled * self.num_envs, device=described.device).split(BATCH):
            described[flat] = describe(super()._obs(flat)[:, -channels:])
        last = torch.tensor(list(self.following), device=described.device)
        following = describe(super()._next_obs(last)[:, -channels:])
        self.following_descriptions = dict(zip(self.following, following, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """What `FrameReplay` saves, and the descriptions beside the ring."""
        described = {index: value.cpu() for index, value in self.following_descriptions.items()}
        return {**super().state_dict(), "following_descriptions": described}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put stored rows back."""
        super().load_state_dict(state)
        device = self.columns["description"].device
        described = state["following_descriptions"]
        self.following_descriptions = {index: value.to(device).clone() for index, value in described.items()}

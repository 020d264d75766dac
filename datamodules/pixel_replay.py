"""A replay of images: each frame is stored once, and stacks are built when they are drawn."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from handgen.datamodules.replay_buffer import Kind, ReplayBuffer
from handgen.errors import UserError


class FrameReplay(ReplayBuffer):
    """Transitions whose observations are stacks of the last uint8 frames, newest last, the first one repeated.

    Of each transition only the newest frame is kept: 21 KB at 84 x 84, instead of the 127 KB of two stacks of three
    frames. The frame after a transition is that of the next row, except where an episode ends and behind the
    newest row; those few frames lie beside the ring, and are not counted in the memory that is asked for.

    Rows whose stack would reach back to overwritten frames are not drawn: a full ring leaves out the oldest
    ``frame_stack - 1``.

    Args:
        capacity_transitions: transitions kept, a multiple of N.
        num_envs: N.
        obs_shape: (frame_stack C, H, W).
        action_dim: number of actions A.
        n_step: rewards that one sample sums up.
        device: where the tensors live.
        frame_stack: frames in an observation.

    Raises:
        UserError: if the memory does not suffice, or a setting makes no sense.
    """

    def __init__(
        self,
        capacity_transitions: int,
        num_envs: int,
        obs_shape: tuple[int, ...],
        action_dim: int,
        n_step: int = 1,
        device: torch.device | str = "cpu",
        frame_stack: int = 1,
    ) -> None:
        if len(obs_shape) != 3 or obs_shape[0] % frame_stack:
            raise UserError(f"observations of shape {obs_shape} are no stacks of {frame_stack} frames (C, H, W)")
        self.frame_stack, self.channels = frame_stack, obs_shape[0] // frame_stack
        if capacity_transitions // num_envs < n_step + frame_stack:
            raise UserError(
                f"replay_capacity_transitions={capacity_transitions} is too small for n_step={n_step} and stacks of"
                f" {frame_stack} frames of {num_envs} environments"
            )
        super().__init__(capacity_transitions, num_envs, obs_shape, action_dim, n_step, device)
        self.following: dict[int, Tensor] = {}  # frames (C, H, W) after transitions that no stored row follows

    def _seen(self, obs_shape: tuple[int, ...]) -> dict[str, Kind]:
        """A frame, and how many rows of its episode come before it (no more than a stack can reach)."""
        return {"frame": ((self.channels, *obs_shape[1:]), torch.uint8), "before": ((), torch.int64)}

    @property
    def _incomplete(self) -> int:
        """Rows of a full ring that may have lost frames of their stacks."""
        return self.frame_stack - 1 if self.filled == self.rows else 0

    def add(self, transition: dict[str, Tensor]) -> None:
        """Store one step of all environments.

        Args:
            transition: as in `ReplayBuffer.add`, with uint8 ``obs`` and ``next_obs`` (N, frame_stack C, H, W).

        Raises:
            UserError: if the observations are no stacks of the last frames.
        """
        obs, next_obs = transition["obs"], transition["next_obs"]
        newest = (self.head - 1) % self.rows
        goes_on = ~self._ended(newest) if self.filled else torch.zeros_like(transition["terminated"])
        self._check_stacks(obs, next_obs, goes_on.to(obs.device))
        before = (self.columns["before"][newest] + 1).clamp(max=self.frame_stack - 1) * goes_on
        row = self.head
        for env, follows in enumerate(goes_on.tolist()):
            self.following.pop(row * self.num_envs + env, None)  # overwritten now
            if follows:
                self.following.pop(newest * self.num_envs + env, None)  # stored in this row now
            self.following[row * self.num_envs + env] = next_obs[env, -self.channels :].clone()
        super().add({**transition, "frame": obs[:, -self.channels :], "before": before})

    def _ended(self, row: int) -> Tensor:
        """Whose episode ended in a row, (N,)."""
        return self.columns["terminated"][row] | self.columns["truncated"][row]

    def _check_stacks(self, obs: Tensor, next_obs: Tensor, goes_on: Tensor) -> None:
        """Refuse observations that could not be rebuilt from single frames.

        Raises:
            UserError: if older frames are not those of the step before, or not the first one repeated.
        """
        begun = obs[~goes_on]
        repeated = begun[:, -self.channels :].repeat(1, self.frame_stack, 1, 1)
        slides = torch.equal(next_obs[:, : -self.channels], obs[:, self.channels :])
        if not slides or not torch.equal(begun, repeated):
            raise UserError(
                f"observations are not the last {self.frame_stack} frames, newest last, the first of an episode"
                " repeated: give the environment the attribute frame_stack that fits"
            )

    def _obs(self, flat: Tensor) -> Tensor:
        """Stacks (B, frame_stack C, H, W) that end in these rows."""
        back = torch.arange(self.frame_stack - 1, -1, -1, device=flat.device)
        return self._take("frame", self._earlier(flat, back)).flatten(1, 2)

    def _next_obs(self, flat: Tensor) -> Tensor:
        """Stacks (B, frame_stack C, H, W) that end in the frame after these rows."""
        back = torch.arange(self.frame_stack - 2, -2, -1, device=flat.device)  # to -1, the next row
        stacks = self._take("frame", self._earlier(flat, back))
        for place, index in enumerate(flat.tolist()):
            if index in self.following:
                stacks[place, -1] = self.following[index]
        return stacks.flatten(1, 2)

    def _earlier(self, flat: Tensor, back: Tensor) -> Tensor:
        """Indices (B, K) of the rows that lie some number of rows back (K,), but not before the episode's first."""
        rows = flat[:, None] // self.num_envs - torch.minimum(back, self._take("before", flat)[:, None])
        return rows % self.rows * self.num_envs + flat[:, None] % self.num_envs

    def frames(self, indices: Tensor, stacked: int = 1) -> Tensor:
        """Frames, those of the oldest transitions first; last frames of episodes are not among them.

        Args:
            indices: (K,) in [0, len(self)); index i is environment i % N at the time i // N.
            stacked: frames S up to that time, 1 to ``frame_stack``, the oldest there is repeated.

        Returns:
            uint8 (K, S C, H, W).
        """
        age = indices // self.num_envs
        rows = (self.head - self.filled + age) % self.rows
        back = torch.minimum(torch.arange(stacked - 1, -1, -1, device=indices.device), age[:, None])
        flat = rows * self.num_envs + indices % self.num_envs
        return self._take("frame", self._earlier(flat, back)).flatten(1, 2)

    def sample_frames(self, count: int, generator: torch.Generator, stacked: int = 1) -> Tensor:
        """Frames drawn uniformly, with replacement.

        Args:
            count: K.
            generator: of the draws, on the buffer's device.
            stacked: frames S of each.

        Returns:
            uint8 (K, S C, H, W).

        Raises:
            UserError: if nothing is stored yet.
        """
        if not self.filled:
            raise UserError("the replay holds no frames yet: raise warmup_decisions")
        indices = torch.randint(len(self), (count,), generator=generator, device=generator.device)
        return self.frames(indices, stacked)

    def state_dict(self) -> dict[str, Any]:
        """The rows written so far and the frames beside them, as tensors and plain numbers."""
        frames = [frame.cpu() for frame in self.following.values()]
        beside = {"indices": torch.tensor(list(self.following), dtype=torch.int64)}
        return {**super().state_dict(), "following": {**beside, "frames": torch.stack(frames) if frames else None}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put stored rows back.

        Raises:
            UserError: if they come from a buffer of another size.
        """
        super().load_state_dict(state)
        indices, frames = state["following"]["indices"].tolist(), state["following"]["frames"]
        device = self.columns["frame"].device
        self.following = {index: frames[place].to(device).clone() for place, index in enumerate(indices)}

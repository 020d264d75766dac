"""Experience of an agent that sees keypoints: frames first, to learn the points from, then decisions."""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor

from handgen.datamodules.envs import Envs, Step
from handgen.datamodules.evaluation_episodes import Agent
from handgen.datamodules.keypoint_replay import KeypointReplay
from handgen.datamodules.pixel_replay import FrameReplay
from handgen.datamodules.replay import Experience, ReplayDataModule
from handgen.datamodules.replay_buffer import Batch
from handgen.errors import UserError, check_ranges


class KeypointAgent(Agent, Protocol):
    """What this source asks of the method, beside acting on what is known of frames (N, T, D + A)."""

    description_dim: int
    described_frames: int

    def look(self, frames: Tensor) -> None:
        """See frames, uint8 (N, S C, H, W), before the first update of the keypoints."""

    def settle(self, frames: Tensor) -> None:
        """Choose what is told of frames, when the keypoints have been learnt."""

    def describe(self, frames: Tensor) -> Tensor:
        """Frames uint8 (N, S C, H, W), S of them at a time, to descriptions (N, D)."""


class KeypointRollouts(ReplayDataModule):
    """An environment, its frames, and their descriptions by the method's keypoint network; resuming is exact.

    After the random decisions come ``keypoint_updates`` batches of frames, ``image`` float (B, S C, H, W) in [0, 1] (S
    is 1, or the frames of a stack, as the method likes), from which the method learns its keypoints; then every stored
    frame is described, and transitions are drawn whose ``obs`` and ``next_obs`` are descriptions and actions
    (B, T, D + A), as `KeypointReplay` tells. The first epoch is so much longer, which Lightning notices only with
    ``trainer.reload_dataloaders_every_n_epochs: 1``.

    Args:
        keypoint_updates: updates of the keypoints alone.
        keypoint_batch_size: frames of each.
        kwargs: those of `ReplayDataModule`.
    """

    def __init__(self, keypoint_updates: int = 1000, keypoint_batch_size: int = 32, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_ranges(
            keypoint_updates=(keypoint_updates, keypoint_updates >= 1, "be at least 1"),
            keypoint_batch_size=(keypoint_batch_size, keypoint_batch_size >= 2, "be at least 2"),
        )
        self.keypoint_updates, self.keypoint_batch_size = keypoint_updates, keypoint_batch_size
        self.keypoint_updates_done = 0
        self._known = torch.zeros(0)

    @property
    def describer(self) -> KeypointAgent:
        """The method that is being trained.

        Raises:
            UserError: if it describes no frames.
        """
        if not hasattr(self.agent, "describe"):
            raise UserError("KeypointRollouts is the experience of an agent that sees keypoints, such as SACIMM")
        return cast(KeypointAgent, self.agent)

    def make_replay(self, envs: Envs) -> KeypointReplay:
        """An empty replay of frames and their descriptions."""
        return KeypointReplay(
            self.describer.description_dim,
            self.describer.described_frames,
            self.replay_capacity_transitions,
            envs.num_envs,
            envs.obs_shape,
            envs.action_dim,
            self.n_step,
            envs.device,
            frame_stack=getattr(envs, "frame_stack", 1),
        )

    # The loop.

    def train_dataloader(self) -> Experience:
        """Batches of the coming epoch; the first one begins with those of the keypoints.

        Raises:
            UserError: if Lightning would take the first epoch's length for that of all.
        """
        assert self.trainer is not None
        if self.trainer.reload_dataloaders_every_n_epochs != 1:  # type: ignore[attr-defined]
            raise UserError("KeypointRollouts needs --trainer.reload_dataloaders_every_n_epochs=1")
        first = self.trainer.current_epoch == 0
        return Experience(self, self.updates_per_epoch + (self.keypoint_updates if first else 0))

    def next_batch(self) -> Batch:
        """A batch of frames for the keypoints, or one of transitions."""
        if self.keypoint_updates_done < self.keypoint_updates:
            return self._frames()
        if self.keypoint_updates_done == self.keypoint_updates:
            self._describe()
        return super().next_batch()

    def _frames(self) -> Batch:
        """Frames of the random decisions."""
        if self.keypoint_updates_done == 0:
            self._warm_up()
            self.describer.look(self._stored())
        self.keypoint_updates_done += 1
        replay = cast(FrameReplay, self.replay)
        frames = replay.sample_frames(self.keypoint_batch_size, self.generator, self.describer.described_frames)
        return {"image": frames.float() / 255.0, "env_steps": self.env_steps}

    def _describe(self) -> None:
        """Describe what was stored before there were keypoints, once."""
        self.describer.settle(self._stored())
        replay = cast(KeypointReplay, self.replay)
        replay.describe_all(self._describe_frames)
        self._known, ended = replay.newest()
        self._begin(ended, self._obs)
        self.keypoint_updates_done += 1

    def _stored(self) -> Tensor:
        """All frames in the replay, uint8 (N, S C, H, W)."""
        indices = torch.arange(len(self.replay), device=self._obs.device)
        return cast(FrameReplay, self.replay).frames(indices, self.describer.described_frames)

    def _describe_frames(self, obs: Tensor) -> Tensor:
        """Descriptions (N, D) of the newest frames of stacks, where the replay lives."""
        replay = cast(FrameReplay, self.replay)
        newest = obs[:, -self.describer.described_frames * replay.channels :]
        return self.describer.describe(newest.to(self.agent.device)).to(self._obs.device)

    def _seen(self) -> Tensor:
        """What is known (N, T, D + A) of the last frames."""
        return self._known

    def _transition(self, action: Tensor, step: Step) -> dict[str, Tensor]:
        """What happened, with descriptions; before there are keypoints, with zeros in their place."""
        kept = super()._transition(action, step)
        replay = cast(KeypointReplay, self.replay)
        if self.keypoint_updates_done <= self.keypoint_updates:
            blank = torch.zeros(self.num_envs, replay.description_dim)
            return {**kept, "description": blank, "next_description": blank}
        described = self._describe_frames(step.next_obs)
        before = self._known[:, -1, : replay.description_dim]
        self._known = torch.cat([self._known[:, 1:], torch.cat([described, action], dim=1)[:, None]], dim=1)
        self._known[:, 0, replay.description_dim :] = 0.0
        self._begin(step.terminated | step.truncated, step.obs)
        return {**kept, "description": before, "next_description": described}

    def _begin(self, ended: Tensor, obs: Tensor) -> None:
        """Know nothing but the first frame where an episode begins.

        Args:
            ended: bool (N,), where the one before ended.
            obs: stacks (N, T C, H, W).
        """
        if ended.any():
            replay = cast(KeypointReplay, self.replay)
            self._known[ended] = 0.0
            self._known[ended, :, : replay.description_dim] = self._describe_frames(obs[ended])[:, None]

    # Resuming.

    def state_dict(self) -> dict[str, Any]:
        """What `ReplayDataModule` saves, how far the keypoints are, and what is known of the last frames."""
        saved = super().state_dict()
        if saved:
            saved["keypoint_updates_done"] = self.keypoint_updates_done
            saved["known"] = self._known.cpu().clone()
        return saved

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        super().load_state_dict(state_dict)
        if state_dict:
            self.keypoint_updates_done = state_dict["keypoint_updates_done"]
            self._known = state_dict["known"].to(self._obs.device)

"""Experience of an agent that sees keypoints: frames first, to learn the points from, then decisions."""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
from torch import Tensor

from handgen.datamodules.envs import Envs, Step
from handgen.datamodules.evaluation_episodes import Agent
from handgen.datamodules.keypoint_replay import KeypointReplay
from handgen.datamodules.known_frames import Describer, KnownFrames
from handgen.datamodules.pixel_replay import FrameReplay
from handgen.datamodules.replay import Experience, ReplayDataModule
from handgen.datamodules.replay_buffer import Batch
from handgen.errors import UserError, check_ranges


class KeypointAgent(Agent, Describer, Protocol):
    """What this source asks of the method, beside acting on what is known of frames (N, T, D + A)."""

    described_frames: int

    def look(self, frames: Tensor) -> None:
        """See frames, uint8 (N, S C, H, W), before the first update of the keypoints."""

    def settle(self, frames: Tensor) -> None:
        """Choose what is told of frames, in the order in which they came, when the keypoints have been learnt."""


class KeypointRollouts(ReplayDataModule):
    """An environment, its frames, and their descriptions by the method's keypoint network; resuming is exact.

    After the random decisions come ``keypoint_updates`` batches of frames, ``image`` uint8 (B, S C, H, W) (S is 1, or
    the frames of a stack, as the method likes), from which the method learns its keypoints; then every stored
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
            warmup_decisions=(
                self.warmup_decisions,
                self.warmup_decisions >= 2,
                "be at least 2: keypoints need frames",
            ),
            keypoint_updates=(keypoint_updates, keypoint_updates >= 1, "be at least 1"),
            keypoint_batch_size=(keypoint_batch_size, keypoint_batch_size >= 2, "be at least 2"),
        )
        self.keypoint_updates, self.keypoint_batch_size = keypoint_updates, keypoint_batch_size
        self.keypoint_updates_done = 0
        self.described = False
        self._known: KnownFrames | None = None

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
        if not self.described:
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
        return {"image": frames, "env_steps": self.env_steps}

    def _describe(self) -> None:
        """Describe what was stored before there were keypoints, once."""
        self.describer.settle(self._stored())
        replay, known = cast(KeypointReplay, self.replay), self.known
        replay.describe_all(known.describe)
        known.values, ended = replay.newest()
        known.begin(ended, self._obs)
        self.described = True

    def _stored(self) -> Tensor:
        """All frames in the replay, uint8 (N, S C, H, W), of one environment after the other, as they came."""
        indices = torch.arange(len(self.replay), device=self._obs.device).view(-1, self.num_envs).T.flatten()
        return cast(FrameReplay, self.replay).frames(indices, self.describer.described_frames)

    @property
    def known(self) -> KnownFrames:
        """What the agent knows of the last frames."""
        if self._known is None:
            assert self._envs is not None
            self._known = KnownFrames(self.describer, self.num_envs, self._envs.action_dim)
        return self._known

    def _seen(self) -> Tensor:
        """What is known (N, T, D + A) of the last frames."""
        return self.known.values

    def _transition(self, action: Tensor, step: Step) -> dict[str, Tensor]:
        """What happened, with descriptions; before there are keypoints, with zeros in their place."""
        kept = super()._transition(action, step)
        size = self.describer.description_dim
        if not self.described:
            blank = torch.zeros(self.num_envs, size)
            return {**kept, "description": blank, "next_description": blank}
        described = self.known.describe(step.next_obs)
        before = self.known.values[:, -1, :size]
        self.known.add(action, described)
        self.known.begin(step.terminated | step.truncated, step.obs)
        return {**kept, "description": before, "next_description": described}

    # Resuming.

    def own_state(self) -> dict[str, Any]:
        """What `ReplayDataModule` saves, how far the keypoints are, and what is known of the last frames."""
        known = self.known.values.cpu().clone()
        done = {"keypoint_updates_done": self.keypoint_updates_done, "described": self.described}
        return {**super().own_state(), **done, "known": known}

    def load_own_state(self, own: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        super().load_own_state(own)
        self.keypoint_updates_done = own["keypoint_updates_done"]
        # Earlier versions counted one update more instead.
        self.described = own.get("described", self.keypoint_updates_done > self.keypoint_updates)
        self.known.values = own["known"].to(self._obs.device)

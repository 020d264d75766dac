"""Experience of the arm: poses and silhouettes to imitate first, then decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.arm.body import FITTED, JOINTS, SIDEWAYS
from handgen.arm.drawing import draw_masks
from handgen.arm.env import ArmImitation
from handgen.arm.feeds import is_data_set, is_film, open_feed
from handgen.arm.film import follow
from handgen.arm.geometry import as_tensors, random_joints
from handgen.arm.sway import swayed
from handgen.datamodules.arm_replay import ArmReplay, NewestTransitions
from handgen.datamodules.env_processes import EnvProcesses
from handgen.datamodules.envs import Envs, GymEnvs
from handgen.datamodules.evaluation_episodes import Agent, EvaluationEpisodes
from handgen.datamodules.framed_hands import open_framed
from handgen.datamodules.replay import ReplayDataModule
from handgen.datamodules.replay_buffer import Batch, ReplayBuffer
from handgen.errors import UserError, check_ranges
from handgen.paths import cache_root

AT_REST = 0.3
"""Share of the warm start's arms that are at rest, as at the start of an episode; the others are anywhere."""


class ArmRollouts(ReplayDataModule):
    """``handgen/ArmImitation-v0``, a replay with hindsight, and before it a warm start; resuming is exact.

    The first ``imitation_updates`` batches are for imitation: ``obs`` uint8 (B, 1, H, 2 H), ``mask`` uint8 (B, H, H)
    and ``joints`` (B, 12) in radians. Half of the targets are poses of the arm, drawn anew all the time, whose joints
    are known; half are silhouettes of training hands of the feeds, each leaning and as large as chance has it
    (`swayed`), of which at most the digits are known (`handgen.arm.signs`); what is not known is NaN. After the warm
    start batches of transitions have ``known``: a smaller batch like these.

    Each environment, of all processes, has a share of the feeds' targets and shows them in a shuffled order.

    Args:
        feeds: what to imitate: `handgen.arm.feeds.open_feed`, but no films and cameras.
        imitation_updates: updates of the warm start.
        imitation_batch_size: targets of each.
        poses: poses of the arm kept at hand for the warm start; some of them are replaced at every update.
        drawn_hands: hands of ``synthetic`` in the warm start.
        known_poses: targets of the warm start beside each batch of transitions after it, so that angles are not
            forgotten.
        hindsight: share of the transitions drawn whose target is the pose they reached.
        newest_only: learn from each transition once, when it happens, instead of from a replay.
        kwargs: those of `ReplayDataModule`; ``env_kwargs`` those of the environment.
    """

    def __init__(
        self,
        feeds: Sequence[str] = ("rendered", "synthetic"),
        imitation_updates: int = 0,
        imitation_batch_size: int = 128,
        poses: int = 16_384,
        drawn_hands: int = 4_000,
        known_poses: int = 64,
        hindsight: float = 0.25,
        newest_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(env_id="handgen/ArmImitation-v0", **kwargs)
        check_ranges(
            imitation_updates=(imitation_updates, imitation_updates >= 0, "not be negative"),
            imitation_batch_size=(imitation_batch_size, imitation_batch_size >= 2, "be at least 2"),
            poses=(poses, poses >= imitation_batch_size, "be at least imitation_batch_size"),
            known_poses=(known_poses, known_poses == 0 or known_poses >= 2, "be 0, or at least 2"),
            drawn_hands=(drawn_hands, drawn_hands >= 1, "be at least 1"),
            hindsight=(hindsight, 0.0 <= hindsight < 1.0, "lie in [0, 1)"),
            n_step=(self.n_step, self.n_step == 1, "be 1: hindsight knows the reward of one step"),
        )
        if imitation_updates and self.env_kwargs.get("observe") != "masks":
            raise UserError("the warm start knows silhouettes alone: env_kwargs.observe=masks, or imitation_updates=0")
        for feed in filter(is_film, feeds):
            raise UserError(f"films and cameras are no feeds to learn from: leave out {feed} (make video follows it)")
        if self.env_kwargs.get("reward") == "mix" and hindsight and not newest_only:
            raise UserError("hindsight does not know what reward=mix takes off for motion: reward=iou, or hindsight=0")
        self.feeds = list(feeds)
        self.env_kwargs = {**self.env_kwargs, "feed": self.feeds}
        self.dataset = "+".join(self.feeds)
        self.imitation_updates, self.imitation_batch_size = imitation_updates, imitation_batch_size
        self.poses, self.drawn_hands, self.known_poses = poses, drawn_hands, known_poses
        self.hindsight, self.newest_only = hindsight, newest_only
        self.imitations = 0
        self.size = int(self.env_kwargs.get("size", 56))
        self._evaluation: list[GymEnvs] = []
        self._hands: tuple[Tensor, Tensor] | None = None
        self._joints: Tensor | None = None

    # Worlds.

    def make_envs(self, count: int) -> Envs:
        """Environments that share the targets."""
        first, shares = self.rank * count, self.processes * count
        each = [{**self.env_kwargs, "share": first + number, "shares": shares} for number in range(count)]
        if self.num_processes:
            return EnvProcesses(self.env_id, count, self.num_processes, self.action_repeat, each)
        return GymEnvs(self.env_id, count, self.action_repeat, each)

    def pictures(self, count: int) -> Tensor:
        """Observations uint8 (count, C, H, 2 H) of the feeds' targets beside arms anywhere, the same in every process.

        Args:
            count: how many.
        """
        envs, generator = GymEnvs(self.env_id, 1, env_kwargs=self.env_kwargs), torch.Generator().manual_seed(self.seed)
        seen = []
        for number in range(count):
            envs.reset([number])
            seen.append(envs.step(torch.rand(1, envs.action_dim, generator=generator) * 2.0 - 1.0).next_obs)
        envs.close()
        return torch.cat(seen)

    def make_replay(self, envs: Envs) -> ReplayBuffer:
        """An empty replay of what this environment shows."""
        if self.newest_only:
            return NewestTransitions(envs.num_envs, envs.obs_shape, envs.action_dim, torch.uint8)
        scale = float(self.env_kwargs.get("reward_scale", 1.0))
        best = 0.0 if self.env_kwargs.get("reward", "pixels") == "pixels" else scale
        return ArmReplay(
            self.replay_capacity_transitions, envs.num_envs, envs.obs_shape, envs.action_dim, self.hindsight, best
        )

    def val_dataloader(self) -> EvaluationEpisodes:
        """Episodes with targets of the split ``val``."""
        if self._validation is None:
            self._validation = self._split_episodes("val", self.eval_seed, self.eval_episodes)
        return self._validation

    def test_dataloader(self) -> EvaluationEpisodes:
        """Episodes with targets of the split ``test``."""
        return self._split_episodes("test", self.eval_seed + 10_000, self.test_episodes)

    def _split_episodes(self, split: str, first: int, episodes: int) -> EvaluationEpisodes:
        """One episode for each seed, one after the other's world: all live in one process."""
        seeds = self.seeds(first, episodes)
        kwargs = {**self.env_kwargs, "split": split}

        def make() -> Envs:
            self._evaluation.append(GymEnvs(self.env_id, len(seeds), self.action_repeat, kwargs))
            return self._evaluation[-1]

        return EvaluationEpisodes(make, lambda: self.agent, seeds)

    def teardown(self, stage: str) -> None:
        """Close the worlds of evaluations; those of training may go on."""
        while self._evaluation:
            self._evaluation.pop().close()
        self._validation = None

    @property
    def video_env_kwargs(self) -> dict[str, Any]:
        """What an episode is filmed in: test targets, and a last picture of where the last decision led."""
        decisions = int(self.env_kwargs.get("episode_decisions", 4)) + 1
        return {**self.env_kwargs, "split": "test", "episode_decisions": decisions}

    def film(self, agent: Agent, feed: str, count: int) -> tuple[Tensor, float]:
        """The agent follows a feed.

        Args:
            agent: who acts.
            feed: what is imitated: `handgen.arm.feeds.open_feed`; of a data set its split ``test``.
            count: pictures at most.

        Returns:
            Frames uint8 (T, 3, H, W), and how many of them are a second.
        """
        kept = {name: value for name, value in self.env_kwargs.items() if name not in ("feed", "renderer", "split")}
        env = ArmImitation(**{**kept, "feed": feed, "split": "test" if is_data_set(feed) else "all"})
        try:
            frames = follow(env, lambda obs: agent.act(obs.to(agent.device), deterministic=True), count)
        finally:
            env.close()
        return frames, float(env.metadata["render_fps"])

    # The warm start.

    def next_batch(self) -> Batch:
        """A batch to imitate, or one of transitions."""
        if self.imitations < self.imitation_updates:
            self.imitations += 1
            return {**self._to_imitate(self.imitation_batch_size), "env_steps": self.env_steps}
        batch = super().next_batch()
        if self.imitation_updates and self.known_poses:
            batch["known"] = self._to_imitate(self.known_poses)
        return batch

    def _to_imitate(self, count: int) -> Batch:
        """Targets with arms beside them; some of the poses at hand are replaced."""
        joints, masks = self._pool()
        hands, digits = self.hands()
        half = count // 2 if len(hands) else count
        self._renew(joints, masks, half // 2)
        rows = self._draw(len(joints), half)
        target, truth = masks[rows], joints[rows]
        if len(hands):
            rows = self._draw(len(hands), count - half)
            known = F.pad(digits[rows], (0, len(JOINTS) - SIDEWAYS), value=float("nan"))
            target, truth = torch.cat([target, swayed(hands[rows], self.generator)]), torch.cat([truth, known])
        return {"obs": self._beside_arms(target), "mask": target, "joints": truth}

    def _beside_arms(self, target: Tensor) -> Tensor:
        """Observations uint8 (B, 1, H, 2 H) of targets uint8 (B, H, H)."""
        _, masks = self._pool()
        arms = masks[self._draw(len(masks), len(target))]
        resting = torch.rand(len(target), generator=self.generator) < AT_REST
        arms = torch.where(resting[:, None, None], self._rest, arms)
        return torch.cat([target, arms], dim=-1)[:, None]

    def _draw(self, below: int, count: int) -> Tensor:
        """Numbers of rows."""
        return torch.randint(below, (count,), generator=self.generator)

    def _pool(self) -> tuple[Tensor, Tensor]:
        """Poses (P, 12) and their masks (P, H, H), made when they are first asked for."""
        if self._joints is None:
            self._put_pool(random_joints(self.poses, self.generator))
        assert self._joints is not None
        return self._joints, self._masks

    def _put_pool(self, joints: Tensor) -> None:
        """Draw a pool of poses."""
        measured = as_tensors(FITTED)
        self._joints, self._masks = joints, draw_masks(measured, joints, self.size)
        self._rest = draw_masks(measured, torch.zeros(1, len(JOINTS)), self.size)

    def _renew(self, joints: Tensor, masks: Tensor, count: int) -> None:
        """Replace some poses."""
        rows = self._draw(len(joints), count)
        joints[rows] = random_joints(count, self.generator)
        masks[rows] = draw_masks(as_tensors(FITTED), joints[rows], self.size)

    def hands(self) -> tuple[Tensor, Tensor]:
        """Silhouettes uint8 (N, H, H) of the training hands of all feeds but the arm's own poses, and their digits.

        The angles (N, 10) of these are in radians, NaN where unknown.
        """
        if self._hands is None:
            segmenter = self.env_kwargs.get("segmenter", "robust")
            found = []
            for name in self.feeds:
                if name != "rendered":
                    feed = open_feed(name, "train", segmenter, count=self.drawn_hands if name == "synthetic" else 0)
                    found.append(open_framed(cache_root(), feed, "train", self.size, segmenter))
            none = torch.empty(0, self.size, self.size, dtype=torch.uint8), torch.empty(0, SIDEWAYS)
            masks, digits = zip(*(found or [none]), strict=True)
            self._hands = torch.cat(masks), torch.cat(digits)
        return self._hands

    # Resuming.

    def own_state(self) -> dict[str, Any]:
        """What `ReplayDataModule` saves, and how far the warm start is."""
        joints = None if self._joints is None else self._joints.clone()  # its rows are replaced in place
        return {**super().own_state(), "imitations": self.imitations, "joints": joints}

    def load_own_state(self, own: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        super().load_own_state(own)
        self.imitations = own["imitations"]
        if self.env_steps:  # the warm start is over, however long it would be now
            self.imitations = max(self.imitations, self.imitation_updates)
        if own["joints"] is not None:
            self._put_pool(own["joints"].clone())

"""Experience of the latent tuner: latents displaced, decoded and judged, in a replay that keeps what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from torch import Tensor

from handgen.datamodules.envs import Envs, Step
from handgen.datamodules.hands import HandsDataModule
from handgen.datamodules.replay import ReplayDataModule
from handgen.datamodules.replay_buffer import Batch, Kind, ReplayBuffer
from handgen.errors import UserError

if TYPE_CHECKING:
    from handgen.latent.repair import LatentRepair, RepairStep


class Tuner(Protocol):
    """What this source asks of the method, beside acting."""

    starts: Tensor

    def to(self, device: torch.device) -> Any:
        """Move the weights."""

    def prepare(self, train_images: Tensor) -> None:
        """Encode training images, uint8 (N, 3, H, W)."""

    def world(self, count: int) -> LatentRepair:
        """Worlds side by side."""


class LatentReplay(ReplayBuffer):
    """A ring of transitions with what was seen in their images, so that rewards can be computed anew.

    The discriminators in the reward change with every update; a stored reward would be that of an older opponent.

    Args:
        capacity_transitions: transitions kept, a multiple of N.
        world: tells the sizes.
        features: number of features F of an image.
        recent: newest transitions whose features stand for the tuner as it is now.
    """

    def __init__(self, capacity_transitions: int, world: LatentRepair, features: int, recent: int = 1024) -> None:
        self.recent = recent
        self.sizes = {"terms": world.seen.terms.shape[1], "features": features}
        if world.episode_length > 1:
            self.sizes |= {f"{name}_before": size for name, size in self.sizes.items()}
        super().__init__(capacity_transitions, world.num_envs, world.obs_shape, world.action_dim, device=world.device)

    def _seen(self, obs_shape: tuple[int, ...]) -> dict[str, Kind]:
        """Observations, and what was seen in the images."""
        return super()._seen(obs_shape) | {name: ((size,), torch.float32) for name, size in self.sizes.items()}

    def sample(self, batch_size: int, generator: torch.Generator) -> Batch:
        """Draw transitions uniformly, with replacement.

        Args:
            batch_size: B.
            generator: of the draws, on the buffer's device.

        Returns:
            What `ReplayBuffer.sample` returns for single steps, ``terms`` (B, S) and ``features`` (B, F) of the decoded
            image, in longer episodes those of the state before (``terms_before``, ``features_before``), and
            ``recent_features`` (M, F) of the newest transitions.
        """
        stored = self.filled * self.num_envs
        flat = torch.randint(stored, (batch_size,), generator=generator, device=generator.device)
        batch: Batch = {name: self._take(name, flat) for name in self.columns}
        batch["reward"] = batch["reward"][:, None]
        batch["counted"] = torch.ones_like(batch["reward"], dtype=torch.bool)
        count = min(self.filled, -(-self.recent // self.num_envs))
        rows = (self.head - 1 - torch.arange(count, device=flat.device)) % self.rows
        batch["recent_features"] = self.columns["features"][rows].flatten(0, 1)
        return batch


class LatentRollouts(ReplayDataModule):
    """The tuner's world and its replay; resuming is exact.

    A *decision* displaces one latent and decodes it, so that an environment step is one decoded image. The world is
    made by the method from its frozen decoder, its judge, and these training images.

    Args:
        images: the images that the VAE was trained on.
        num_envs: latents tuned side by side.
        batch_size: transitions in a batch.
        replay_capacity_transitions: transitions kept.
        warmup_decisions: uniformly random decisions before the first update.
        updates_per_decision: updates for each decision after the warm-up.
        epoch_env_steps: decisions of an epoch.
        eval_episodes: episodes of a validation. test_episodes: of the final evaluation.
        eval_seed: seed of the first of them.
        seed: of starts, warm-up and sampling; None takes that of the run.
    """

    def __init__(
        self,
        images: HandsDataModule,
        num_envs: int = 64,
        batch_size: int = 256,
        replay_capacity_transitions: int = 16_384,
        warmup_decisions: int = 1_024,
        updates_per_decision: float = 1 / 16,
        epoch_env_steps: int = 4_096,
        eval_episodes: int = 256,
        test_episodes: int = 256,
        eval_seed: int = 1_000_000,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            env_id="handgen/LatentRepair-v0",
            num_envs=num_envs,
            batch_size=batch_size,
            replay_capacity_transitions=replay_capacity_transitions,
            warmup_decisions=warmup_decisions,
            updates_per_decision=updates_per_decision,
            epoch_env_steps=epoch_env_steps,
            eval_episodes=eval_episodes,
            test_episodes=test_episodes,
            eval_seed=eval_seed,
            seed=seed,
        )
        self.hands = images
        self.dataset = images.dataset

    @property
    def tuner(self) -> Tuner:
        """The method that is being trained.

        Raises:
            UserError: if it makes no world of latents.
        """
        module = self.trainer.lightning_module if self.trainer else None
        if not hasattr(module, "world"):
            raise UserError("LatentRollouts is the experience of a tuner: give --model=handgen.latent.LatentTuner")
        return cast(Tuner, module)

    def prepare_data(self) -> None:
        """Render or decode the images once."""
        self.hands.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        """Encode the training images, then make worlds and replay."""
        self.hands.setup(stage)
        if self.trainer is None:
            return
        self.tuner.to(self.trainer.strategy.root_device)  # Lightning moves it only after this
        if len(self.tuner.starts) == 0:
            self.tuner.prepare(self.images("train"))
        super().setup(stage)

    def images(self, split: str) -> Tensor:
        """Images of one split, uint8 (N, 3, H, W)."""
        return self.hands.images(split)

    def make_envs(self, count: int) -> Envs:
        """Latents to tune side by side."""
        return cast(Envs, self.tuner.world(count))  # its steps tell more than `Step` does

    def make_replay(self, envs: Envs) -> LatentReplay:
        """An empty replay for them."""
        world = cast("LatentRepair", envs)
        return LatentReplay(self.replay_capacity_transitions, world, world.seen.features.shape[1])

    def _transition(self, action: Tensor, step: Step) -> dict[str, Tensor]:
        """What happened, and what was seen in the images."""
        repaired = cast("RepairStep", step)
        seen = {"terms": repaired.after.terms, "features": repaired.after.features}
        before = {"terms_before": repaired.before.terms, "features_before": repaired.before.features}
        return {**super()._transition(action, step), **seen, **before}

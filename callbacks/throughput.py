"""How fast training goes and how much it has taken so far."""

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


def batch_items(batch: Any) -> int:
    """Number of items in a batch: first dimension of its ``image``, else of its first tensor, else 0.

    Experience, which has rewards, holds none: it is counted in environment steps (`EnvSteps`).
    """
    if isinstance(batch, torch.Tensor):
        return batch.shape[0] if batch.ndim else 1
    if isinstance(batch, dict) and "reward" in batch:
        return 0
    if isinstance(batch, dict):
        return batch_items(batch["image"]) if "image" in batch else batch_items(list(batch.values()))
    if isinstance(batch, (list, tuple)):
        return next((count for part in batch if (count := batch_items(part))), 0)
    return 0


class Throughput(Callback):
    """Logs ``time/images_per_second`` and ``time/wall_s`` at the end of every training epoch.

    The rate counts training batches only; the wall time counts everything between start and end of training,
    validation and checkpoints included, and goes on counting when a run is resumed.

    Attributes:
        items_seen: Training items (images) seen so far on all ranks, in all sessions of the run.
        wall_s: Seconds of training so far, in all sessions of the run.
    """

    def __init__(self) -> None:
        self.items_seen = 0
        self.images_per_second = 0.0
        self._earlier_s = 0.0
        self._started: float | None = None
        self._epoch_items = 0
        self._epoch_s = 0.0
        self._batch_started = 0.0

    @property
    def wall_s(self) -> float:
        """Seconds of training so far."""
        return self._earlier_s + (time.monotonic() - self._started if self._started is not None else 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's count; its first batch is being fetched now."""
        self._epoch_items, self._epoch_s = 0, 0.0
        self._batch_started = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the batch, with the time since the last one ended: fetching is part of the rate."""
        now = time.monotonic()
        items = batch_items(batch) * trainer.world_size
        self.items_seen += items
        self._epoch_items += items
        self._epoch_s += now - self._batch_started
        self.images_per_second = self._epoch_items / max(self._epoch_s, 1e-9)
        self._batch_started = now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the validation out of the next batch's time."""
        self._batch_started = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's rate and the time so far."""
        if self._epoch_items:
            pl_module.log("time/images_per_second", self.images_per_second)
        pl_module.log("time/wall_s", self.wall_s)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock: an evaluation after training does not count."""
        self._earlier_s, self._started = self.wall_s, None

    def state_dict(self) -> dict[str, Any]:
        """Counts so far, as plain numbers."""
        return {"items_seen": self.items_seen, "wall_s": self.wall_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting from a checkpoint."""
        self.items_seen = int(state_dict["items_seen"])
        self._earlier_s = float(state_dict["wall_s"])

"""Stops a run whose loss is no longer a number, and keeps what it happened on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from handgen.errors import UserError

BATCH = "nonfinite_batch.pt"


class FiniteLoss(Callback):
    """Refuses to go on with a loss or a logged metric that is infinite or not a number.

    The loss of every update is looked at where that is free; on a GPU, where reading it would stop the device in every
    update, it is added to a flag that is read when metrics are logged. The batch goes to ``nonfinite_batch.pt`` in the
    run folder (on a GPU, that of the update at which it was noticed).
    """

    def __init__(self) -> None:
        self._broken: Tensor | None = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss, and at the metrics where they are logged.

        Raises:
            UserError: naming the update, what is not finite, and what to do.
        """
        logs = trainer.global_step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        found = []
        if isinstance(loss, Tensor):
            broken = ~loss.detach().isfinite().all()
            self._broken = broken if self._broken is None else self._broken | broken
            if (logs or loss.device.type == "cpu") and bool(self._broken):
                found = ["the loss"]
        if logs:
            found += [key for key, value in trainer.callback_metrics.items() if not bool(value.isfinite().all())]
        if found:
            self._stop(trainer, batch, found)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look again before the epoch's checkpoint is written over the last one.

        Raises:
            UserError: as above.
        """
        found = ["the loss"] if self._broken is not None and bool(self._broken) else []
        found += [key for key, value in trainer.callback_metrics.items() if not bool(value.isfinite().all())]
        if trainer.strategy.reduce_boolean_decision(bool(found), all=False):
            self._stop(trainer, None, found or ["another process' loss"])

    def _stop(self, trainer: Trainer, batch: Any, found: list[str]) -> None:
        """Save the batch and say what is wrong."""
        saved = ""
        if trainer.is_global_zero and batch is not None:
            path = Path(trainer.default_root_dir) / BATCH
            torch.save(batch, path)
            saved = f"; its batch is in {path}"
        raise UserError(
            f"{', '.join(found)} became infinite or not a number at update {trainer.global_step}{saved}."
            " Lower the learning rate (--model.lr) or train with --trainer.precision=32-true;"
            " the last checkpoint is from before: CKPT=last goes on from it"
        )

"""Sheet of held-out images beside their reconstructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer

from handgen.callbacks.image_log import log_image
from handgen.errors import check_at_least
from handgen.images import make_grid


class ReconstructionPairs(Callback):
    """Write ``images/reconstructions-STEP.png``: each held-out image with its reconstruction on its right.

    Args:
        count: pairs on the sheet, at most one validation batch.
        every_n_epochs: epochs between sheets.
    """

    def __init__(self, count: int = 18, every_n_epochs: int = 5) -> None:
        check_at_least(1, count=count, every_n_epochs=every_n_epochs)
        self.count = count
        self.every_n_epochs = every_n_epochs

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: dict[str, torch.Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first validation batch of every ``every_n_epochs``-th epoch."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if batch_idx > 0 or not due or trainer.sanity_checking or not trainer.is_global_zero:
            return
        image = batch["image"][: self.count]
        with torch.no_grad():
            pairs = torch.stack([image, pl_module.reconstruct(image)], dim=1).flatten(0, 1)
        sheet = make_grid(pairs, columns=6)
        name = f"reconstructions-{trainer.global_step:06d}.png"
        log_image(trainer, "images/reconstructions", sheet, Path(trainer.default_root_dir) / "images" / name)

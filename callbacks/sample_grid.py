"""Sheet of generated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from handgen.callbacks.image_log import log_image
from handgen.errors import check_at_least
from handgen.images import make_grid


class SampleGrid(Callback):
    """Write ``images/samples-SAMPLER-STEP.png`` after validations, and from the own prior at the end.

    During training the plain prior is drawn, as the other samplers have to be fitted first.

    Args:
        count: images on the sheet.
        every_n_epochs: epochs between sheets.
        seed: of the latents: the same latents every time, so that sheets can be compared.
        sampler: what is drawn during training.
        final: fit and draw the module's default sampler when training ends.
    """

    def __init__(
        self,
        count: int = 36,
        every_n_epochs: int = 5,
        seed: int = 0,
        sampler: str = "prior",
        final: bool = True,
    ) -> None:
        check_at_least(1, count=count, every_n_epochs=every_n_epochs)
        self.count = count
        self.every_n_epochs = every_n_epochs
        self.seed = seed
        self.sampler = sampler
        self.final = final

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw a sheet, every ``every_n_epochs`` epochs."""
        if not trainer.sanity_checking and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, self.sampler)

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Draw the last sheet, from the module's own sampler."""
        datamodule = getattr(trainer, "datamodule", None)
        if self.final and trainer.is_global_zero and datamodule is not None and trainer.global_step > 0:
            pl_module.prepare_sampling(datamodule)
            self._draw(trainer, pl_module, pl_module.hparams["sampler"])

    def _draw(self, trainer: Trainer, pl_module: Any, sampler: str) -> None:
        if trainer.is_global_zero:
            sheet = make_grid(pl_module.sample(self.count, seed=self.seed, sampler=sampler))
            name = f"samples-{sampler}-{trainer.global_step:06d}.png"
            log_image(trainer, "images/samples", sheet, Path(trainer.default_root_dir) / "images" / name)

"""One progress bar for all: live on a terminal, one plain line per epoch in a file or pipe."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar

from handgen.callbacks.throughput import Throughput


def duration(seconds: float) -> str:
    """Seconds as ``42s``, ``3m05s`` or ``2h07m``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress(TQDMProgressBar):
    """Shows the figures that matter, the rate and the time left.

    Args:
        metrics: Logged keys to show; an empty list shows those logged with ``prog_bar=True``.
        refresh_rate: Batches between two updates of the live bar.
    """

    def __init__(self, metrics: list[str] | None = None, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate if sys.stderr.isatty() else 0)
        self.live = sys.stderr.isatty()
        self.metrics = metrics or []
        self._started = 0.0
        self._first_epoch = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._started, self._first_epoch = time.monotonic(), trainer.current_epoch

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The figures to show: chosen metrics, the rate and the time left in the whole run."""
        shown: dict[str, Any] = super().get_metrics(trainer, pl_module)
        shown.pop("v_num", None)
        for key in self.metrics:
            if key in trainer.callback_metrics:
                shown[key] = round(float(trainer.callback_metrics[key]), 4)
        throughput = next((item for item in trainer.callbacks if isinstance(item, Throughput)), None)  # type: ignore[attr-defined]
        if throughput is not None and throughput.images_per_second:
            shown["images/s"] = round(throughput.images_per_second)
        left = self.seconds_left(trainer)
        if left is not None:
            shown["left"] = duration(left)
        return shown

    def seconds_left(self, trainer: Trainer) -> float | None:
        """Seconds to the end of the run; None in its first tenth of an epoch or without ``max_epochs``."""
        batches = trainer.num_training_batches
        if not trainer.max_epochs or trainer.max_epochs < 0 or not isinstance(batches, int) or not self._started:
            return None
        in_epoch = trainer.fit_loop.epoch_loop.batch_progress.current.completed / max(batches, 1)
        epoch = trainer.current_epoch if in_epoch < 1 else trainer.current_epoch + 1
        done = epoch + (in_epoch % 1) - self._first_epoch
        if done < 0.1:
            return None
        return (time.monotonic() - self._started) * (trainer.max_epochs - self._first_epoch - done) / done

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Without a terminal, print the epoch's line."""
        super().on_train_epoch_end(trainer, pl_module)
        if self.live or not trainer.is_global_zero:
            return
        figures = "  ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in self.get_metrics(trainer, pl_module).items()
        )
        print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {figures}", flush=True)

"""Ctrl-C ends training after the update in hand, with a checkpoint of that very moment."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerStatus

from handgen.runs import LAST_CHECKPOINT


class SaveOnInterrupt(Checkpoint):
    """Save and stop at the end of the update during which Ctrl-C comes; a second Ctrl-C stops at once, unsaved.

    A checkpoint in the middle of an update would hold weights that have moved beside counters that have not. Several
    processes would have to agree on the update: they are stopped at once, with their last epoch's checkpoint.

    The Trainer puts callbacks of this base class last, so that all others have seen the update; of several it takes the
    first for the one that saves, so that this one belongs after ``ModelCheckpoint``.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen."""
        self.asked = False
        if trainer.world_size == 1 and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupted)

    def _interrupted(self, number: int, frame: Any) -> None:
        """What Ctrl-C does."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping after this update, which is saved (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save and stop, if asked to.

        Raises:
            KeyboardInterrupt: for the Trainer, which ends by it.
        """
        if self.asked:
            # Lightning would log this update after this hook.
            trainer._logger_connector.on_batch_end()
            trainer._logger_connector.update_train_step_metrics()
            trainer.save_checkpoint(Path(trainer.default_root_dir) / LAST_CHECKPOINT)
            raise KeyboardInterrupt

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop, if asked to after the last update: its epoch is saved by now.

        Raises:
            KeyboardInterrupt: for the Trainer, which ends by it before anything is evaluated.
        """
        if self.asked and trainer.state.status == TrainerStatus.RUNNING:
            raise KeyboardInterrupt

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen no more."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Listen no more."""
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

"""Logs what the training environments report, over the axis that agents are compared on: environment steps."""

import time
from statistics import fmean
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import WandbLogger


class EnvSteps(Callback):
    """Logs ``env_steps``, ``env/return`` and speeds, for data modules with ``env_steps``.

    ``env_steps`` stands beside all other metrics, so that any of them can be drawn over it; wandb does so by itself.
    ``env/return`` is the mean return of the training episodes that ended since it was last logged: of the sampling
    policy, and of random actions at first. It costs nothing, and it is no evaluation.
    """

    def __init__(self) -> None:
        self._since = (0.0, 0, 0)
        self._until = 0.0

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make ``env_steps`` the axis of wandb's charts."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                logger.experiment.define_metric("env_steps")
                logger.experiment.define_metric("*", step_metric="env_steps")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self._since = (time.monotonic(), self.env_steps(trainer), trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log where the other metrics of this update are logged."""
        self._until = time.monotonic()
        if trainer.global_step % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        pl_module.log("env_steps", float(self.env_steps(trainer)))
        finished = trainer.datamodule.pop_finished_returns()  # type: ignore[attr-defined]
        if finished:
            pl_module.log("env/return", fmean(finished))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's speeds, up to its last update: the validation that follows does not count."""
        started, env_steps, updates = self._since
        seconds = max(self._until - started, 1e-9)
        pl_module.log("time/env_steps_per_second", (self.env_steps(trainer) - env_steps) / seconds)
        pl_module.log("time/updates_per_second", (trainer.global_step - updates) / seconds, prog_bar=True)
        pl_module.log("env_steps", float(self.env_steps(trainer)))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the axis beside the evaluation's metrics too."""
        pl_module.log("env_steps", float(self.env_steps(trainer)))

    @staticmethod
    def env_steps(trainer: Trainer) -> int:
        """Environment steps so far."""
        return int(trainer.datamodule.env_steps)  # type: ignore[attr-defined]

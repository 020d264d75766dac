"""Lets a continued run have the learning rates that are asked for, not those inside its checkpoint."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class AskedRates(Callback):
    """Scales the learning rates of a continued run by how much the asked ones differ from those it began with.

    A checkpoint holds the optimisers' rates and puts them back, so that ``--model.lr`` of a continued run would be
    ignored without a word. Rates that a schedule has changed keep their place in it. Where nothing else is asked for,
    nothing is touched, and a continued run equals an uninterrupted one.
    """

    def __init__(self) -> None:
        self.asked: list[list[float]] = []
        self.began: list[list[float]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what the settings ask for: optimisers are new here, and a checkpoint is restored after this."""
        self.asked = [[float(group["lr"]) for group in optimiser.param_groups] for optimiser in trainer.optimizers]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Scale the rates, where the checkpoint's run began with others."""
        if len(self.began) == len(self.asked):
            for optimiser, asked, began in zip(trainer.optimizers, self.asked, self.began, strict=True):
                for group, new, old in zip(optimiser.param_groups, asked, began, strict=False):
                    if new != old and old:
                        group["lr"] *= new / old
                        group["initial_lr"] = group.get("initial_lr", old) * new / old
            for configuration in trainer.lr_scheduler_configs:
                schedule: Any = configuration.scheduler
                schedule.base_lrs = [group.get("initial_lr", group["lr"]) for group in schedule.optimizer.param_groups]
        self.began = self.asked

    def state_dict(self) -> dict[str, Any]:
        """The rates that this run began with, or was continued with."""
        return {"began": self.began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up those of the checkpoint."""
        self.began = [list(rates) for rates in state_dict["began"]]

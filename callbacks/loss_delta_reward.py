"""The original's reward: how far the loss has fallen since the window before."""

from __future__ import annotations

from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.errors import UserError
from handgen.latent.transform import check_lambda, loss_delta_reward
from handgen.loggers import log_metrics

KEYS = {
    ("train", "total"): "train/loss",
    ("train", "recon"): "loss/recon",
    ("val", "total"): "eval/loss",
    ("val", "recon"): "eval/recon",
}


class LossDeltaReward(Callback):
    """Rewards a module's agent with ``R_t = -lambda (L_t - L_{t-1})``, t > 1, at the end of every window of training.

    L_t is the mean of the training loss over the window, or the validation loss at its end. The module needs
    ``receive_reward(reward, loss)``, called when a window ends, and ``choose_transform(loss)``, called when the next
    one begins, and logs its loss as :class:`handgen.vae.VAE` does. Logs ``env/reward``, ``env/loss`` and
    ``env/loss_change``.

    Args:
        scale: lambda, positive.
        split: ``train`` or ``val``; the latter makes a window of the epochs between validations.
        term: ``total`` loss (nats per image value) or its ``recon`` term (nats per image).
        every_n_batches: length of a window; None is an epoch.

    Raises:
        UserError: if lambda is not positive, or a setting contradicts another.
    """

    def __init__(
        self,
        scale: float = 1.0,
        split: Literal["train", "val"] = "train",
        term: Literal["total", "recon"] = "total",
        every_n_batches: int | None = None,
    ) -> None:
        check_lambda(scale)
        if every_n_batches is not None and (every_n_batches < 1 or split == "val"):
            raise UserError("every_n_batches must be at least 1, and is for split: train only")
        self.scale, self.split, self.every_n_batches = scale, split, every_n_batches
        self.key = KEYS[split, term]
        self.total, self.count = 0.0, 0
        self.previous: float | None = None
        self.due = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse modules without an agent.

        Raises:
            UserError: if there is nobody to reward.
        """
        if not hasattr(pl_module, "receive_reward"):
            raise UserError(f"LossDeltaReward has nobody to reward: {type(pl_module).__name__} has no receive_reward")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Let the agent act where a window begins: not before, or the last action would be graded untrained."""
        if self.due and self.previous is not None:
            agent: Any = pl_module
            agent.choose_transform(self.previous)
            self.due = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the batch's loss to the window; close the window where it is full."""
        if self.split == "val":
            return
        self.total += float(trainer.callback_metrics[self.key])
        self.count += 1
        last = batch_idx + 1 == trainer.num_training_batches
        if self.count == self.every_n_batches or (self.every_n_batches is None and last):
            self._close(trainer, pl_module, self.total / self.count)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the window with the validation loss."""
        if self.split == "val" and not trainer.sanity_checking:
            self._close(trainer, pl_module, float(trainer.callback_metrics[self.key]))

    def _close(self, trainer: Trainer, module: Any, loss: float) -> None:
        """Reward, log and begin a new window; the same loss on every process."""
        loss = float(trainer.strategy.reduce(torch.tensor(loss, device=module.device), reduce_op="mean"))
        reward = loss_delta_reward(loss, loss if self.previous is None else self.previous, self.scale)
        metrics = {"env/loss": loss}
        if self.previous is not None:
            metrics |= {"env/reward": reward, "env/loss_change": loss - self.previous}
        log_metrics(trainer, metrics)
        module.receive_reward(reward if self.previous is not None else None, loss)
        self.previous, self.total, self.count, self.due = loss, 0.0, 0, True

    def state_dict(self) -> dict[str, Any]:
        """The window so far."""
        return {"total": self.total, "count": self.count, "previous": self.previous, "due": self.due}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the window."""
        self.total, self.count, self.previous = state_dict["total"], state_dict["count"], state_dict["previous"]
        self.due = state_dict["due"]

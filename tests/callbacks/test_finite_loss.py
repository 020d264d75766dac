"""A loss that is no number stops the run in one line, and its batch is kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from toy_agent import make_trainer

from handgen.callbacks.finite_loss import BATCH, FiniteLoss
from handgen.errors import UserError


class Slope(LightningModule):
    """One weight that is pushed by the batch."""

    def __init__(self, metric: float = 1.0) -> None:
        super().__init__()
        self.weight, self.metric = torch.nn.Parameter(torch.ones(())), metric

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.log("train/reward", torch.tensor(self.metric if batch_idx == 4 else 1.0))
        return self.weight * batch.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, rows: list[float], metric: float = 1.0, **settings: Any) -> int:
    data = torch.utils.data.DataLoader(torch.tensor(rows))
    trainer = make_trainer(folder, callbacks=[FiniteLoss()], **settings)
    trainer.fit(Slope(metric), data)
    return trainer.global_step


def test_finite_losses_pass(tmp_path: Path) -> None:
    assert fit(tmp_path, [1.0] * 12) == 12
    assert not (tmp_path / BATCH).exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_batch(bad: float, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"the loss became infinite or not a number at update 3; its batch .*--model\.lr"
    ):
        fit(tmp_path, [1.0, 2.0, bad, 4.0])
    kept = torch.load(tmp_path / BATCH, weights_only=True)
    assert not kept.isfinite().any()


def test_a_metric_that_is_no_number_stops_the_run_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train/reward became infinite or not a number at update 5"):
        fit(tmp_path, [1.0] * 12, metric=float("nan"))


def test_nothing_that_is_no_number_is_left_when_an_epoch_is_saved(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train/reward became infinite or not a number at update 5"):
        fit(tmp_path, [1.0] * 5, metric=float("nan"), log_every_n_steps=100)

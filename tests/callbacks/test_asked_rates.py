"""A continued run learns at the rate that is asked for."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from handgen.callbacks.asked_rates import AskedRates


class Line(LightningModule):
    def __init__(self, lr: float, scheduled: bool) -> None:
        super().__init__()
        self.lr, self.scheduled = lr, scheduled
        self.net = torch.nn.Linear(1, 1)
        self.rates: list[float] = []

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return self.net(batch).square().mean()

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        optimiser = torch.optim.Adam(self.parameters(), lr=self.lr)
        if not self.scheduled:
            return optimiser
        halved = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 0.5**step)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": halved, "interval": "step"}}


def train(tmp_path: Path, lr: float, epochs: int, scheduled: bool, resume: bool = False) -> Line:
    torch.manual_seed(0)
    module = Line(lr, scheduled)
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[AskedRates()],
    )  # fmt: skip
    path = tmp_path / "last.ckpt"
    data = DataLoader([torch.ones(1)] * 2, batch_size=1)
    trainer.fit(module, data, ckpt_path=str(path) if resume else None, weights_only=True)
    trainer.save_checkpoint(path)
    return module


@pytest.mark.parametrize("scheduled", [False, True])
def test_the_rate_asked_for_is_taken_in_its_place_of_the_schedule(tmp_path: Path, scheduled: bool) -> None:
    first = train(tmp_path, 0.1, 1, scheduled)
    again = train(tmp_path, 0.03, 2, scheduled, resume=True)
    share = [0.25, 0.125] if scheduled else [1.0, 1.0]
    assert first.rates == pytest.approx([0.1, 0.05] if scheduled else [0.1, 0.1])
    assert again.rates == pytest.approx([0.03 * part for part in share])
    third = train(tmp_path, 0.03, 3, scheduled, resume=True)
    assert third.rates == pytest.approx([0.03 * part for part in ([0.0625, 0.03125] if scheduled else [1.0, 1.0])])


@pytest.mark.parametrize("scheduled", [False, True])
def test_without_another_rate_nothing_is_touched(tmp_path: Path, scheduled: bool) -> None:
    whole = train(tmp_path / "whole", 0.1, 3, scheduled)
    train(tmp_path / "parts", 0.1, 1, scheduled)
    parts = train(tmp_path / "parts", 0.1, 3, scheduled, resume=True)
    assert torch.equal(whole.net.weight, parts.net.weight) and whole.rates[2:] == parts.rates

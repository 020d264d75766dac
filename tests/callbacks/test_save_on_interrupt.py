"""Ctrl-C: `tests/test_killed.py` presses it in training; here it comes when there is nothing left to train."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerStatus
from toy_agent import make_trainer

from handgen.callbacks.save_on_interrupt import SaveOnInterrupt


class Pressed(LightningModule):
    """Ctrl-C comes in the validation after the last update."""

    def __init__(self, listener: SaveOnInterrupt, pressed: bool) -> None:
        super().__init__()
        self.weight, self.listener, self.pressed = torch.nn.Parameter(torch.ones(())), listener, pressed

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.weight * batch.sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.listener.asked = self.listener.asked or self.pressed

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("pressed", [False, True])
def test_after_the_last_update_it_leaves_out_what_would_follow(pressed: bool, tmp_path: Path) -> None:
    listener, loader = SaveOnInterrupt(), torch.utils.data.DataLoader(torch.ones(3))
    trainer = make_trainer(tmp_path, callbacks=[listener], max_epochs=1, enable_checkpointing=True)
    if pressed:
        with pytest.raises(SystemExit):
            trainer.fit(Pressed(listener, pressed), loader, loader)
    else:
        trainer.fit(Pressed(listener, pressed), loader, loader)
    assert (trainer.state.status == TrainerStatus.INTERRUPTED) == pressed
    assert trainer.global_step == 3

"""What every test gets: one thread, no wandb, its own cache; and the toy experiment of the CLI tests."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

TOY_MODULE = '''
import torch
from lightning.pytorch import LightningDataModule, LightningModule


class ToyModel(LightningModule):
    """A layer with dropout that learns to output nothing.

    Args:
        lr: Learning rate.
        width: Hidden units.
        stop_in_epoch: Raise KeyboardInterrupt in this epoch; negative for never.
    """

    def __init__(self, lr: float = 0.05, width: int = 4, stop_in_epoch: int = -1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lr, self.stop_in_epoch = lr, stop_in_epoch
        hidden, out = torch.nn.Linear(4, width), torch.nn.Linear(width, 1)
        self.net = torch.nn.Sequential(hidden, torch.nn.Dropout(0.5), out)

    def loss(self, batch):
        return self.net(batch["image"]).square().mean()

    def training_step(self, batch, batch_idx):
        if self.current_epoch == self.stop_in_epoch:
            raise KeyboardInterrupt
        loss = self.loss(batch)
        self.log("loss/total", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("eval/error", self.loss(batch))

    def test_step(self, batch, batch_idx):
        self.log("eval/error", self.loss(batch))

    def sample(self, count, seed, sampler):
        return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


class ToyData(LightningDataModule):
    """Random vectors, shuffled with torch's global random state."""

    dataset = "toy"

    def __init__(self, items: int = 32) -> None:
        super().__init__()
        self.items = items

    def loader(self, shuffle):
        vectors = torch.randn(self.items, 4, generator=torch.Generator().manual_seed(0))
        return torch.utils.data.DataLoader([{"image": v} for v in vectors], batch_size=8, shuffle=shuffle)

    def train_dataloader(self):
        return self.loader(True)

    def val_dataloader(self):
        return self.loader(False)

    def test_dataloader(self):
        return self.loader(False)
'''

TOY_EXPERIMENT = """\
# A toy that learns to output nothing.
model:
  class_path: handgen_toy.ToyModel
data:
  class_path: handgen_toy.ToyData
trainer:
  max_epochs: 2
  accelerator: cpu
"""


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test talks to wandb or touches the user's cache, whatever the surroundings say."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    for name in ("WANDB_SWEEP_ID", "HANDGEN_DATE", "HANDGEN_RUN_FOLDER", "HANDGEN_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests run side by side: one torch thread each."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with the experiment file ``toy.yaml``; returns the experiment's folder of runs."""
    (tmp_path / "handgen_toy.py").write_text(TOY_MODULE)
    (tmp_path / "toy.yaml").write_text(TOY_EXPERIMENT)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "handgen_toy", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "toy"

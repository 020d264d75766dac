"""A bright square that wanders over a fixed texture, settings of a tiny IMM, and a silent trainer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor

TINY: dict[str, Any] = {"keypoints": 2, "image_size": 24, "width": 8, "lr_warmup_steps": 0, "compute": "float32"}


def squares(count: int, size: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Frames uint8 (count, 3, size, size), and the squares' centres (count, 2) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    background = torch.rand(3, size, size, generator=torch.Generator().manual_seed(7)) * 0.3
    corner = torch.randint(2, size - 6, (count, 2), generator=generator)
    frames = background.repeat(count, 1, 1, 1)
    for frame, (x, y) in zip(frames, corner.tolist(), strict=True):
        frame[:, y : y + 4, x : x + 4] = torch.tensor([1.0, 0.8, 0.3]).view(3, 1, 1)
    return (frames * 255).to(torch.uint8), (corner + 2.0) * 2 / size - 1


class Squares(LightningDataModule):
    """Batches that are a function of the step, and labelled frames: the centre twice is what the probe reads."""

    dataset = "squares"

    def __init__(self, count: int = 64, batch_size: int = 16, batches: int = 4) -> None:
        super().__init__()
        self.all, self.centres = squares(count)
        self.batch_size, self.batches = batch_size, batches

    def images(self, split: str) -> Tensor:
        return self.all

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self.batches):
            generator = torch.Generator().manual_seed(self.trainer.global_step)
            yield {
                "image": self.all[torch.randperm(len(self.all), generator=generator)[: self.batch_size]].float() / 255
            }

    def train_dataloader(self) -> "Squares":
        return self

    def val_dataloader(self) -> Any:
        state = torch.cat([self.centres, self.centres[:, :1]], dim=1)
        batch = {"image": self.all.float() / 255, "state": state, "split": torch.arange(len(self.all)) % 2}
        return torch.utils.data.DataLoader([batch], batch_size=None, generator=torch.Generator())

    test_dataloader = val_dataloader


def make_trainer(folder: Path, **kwargs: Any) -> Trainer:
    """A silent trainer on the CPU."""
    settings: dict[str, Any] = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "max_epochs": -1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(**{**settings, **kwargs})

"""Settings of a tiny VAE, tiny data and a silent trainer for the VAE's tests."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, Trainer
from torch import Tensor

TINY: dict[str, Any] = {
    "image_size": 16,
    "latent_dim": 4,
    "width": 8,
    "kl_warmup_steps": 0,
    "lr_warmup_steps": 0,
    "gmm_components": 3,
    "second_stage_steps": 5,
}


def blobs(count: int, size: int = 16) -> Tensor:
    """Discs at random places, uint8 (count, 3, size, size)."""
    generator = torch.Generator().manual_seed(0)
    centre = torch.rand(count, 2, 1, 1, generator=generator) * 0.6 + 0.2
    axis = torch.linspace(0, 1, size)
    distance = (axis[None, :, None] - centre[:, 0]) ** 2 + (axis[None, None, :] - centre[:, 1]) ** 2
    disc = (distance < 0.04).float()[:, None]
    colour = torch.tensor([0.9, 0.7, 0.6])[None, :, None, None]
    return ((1 - disc * (1 - colour)) * 255).to(torch.uint8)


class Blobs(LightningDataModule):
    """Unshuffled batches of blobs, so that a resumed run sees what an uninterrupted one sees."""

    dataset = "blobs"

    def __init__(self, count: int = 32, batch_size: int = 8) -> None:
        super().__init__()
        self.all, self.batch_size = blobs(count), batch_size

    def images(self, split: str) -> Tensor:
        return self.all

    def loader(self) -> torch.utils.data.DataLoader:
        images = [{"image": image.float() / 255} for image in self.all]
        # Its own generator: a loader draws a seed for workers from the global one whenever it is iterated.
        return torch.utils.data.DataLoader(images, batch_size=self.batch_size, generator=torch.Generator())

    train_dataloader = val_dataloader = test_dataloader = loader


def make_trainer(folder: Path, **kwargs: Any) -> Trainer:
    """A silent trainer on the CPU."""
    settings: dict[str, Any] = {
        "default_root_dir": folder,
        "accelerator": "cpu",
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(**{**settings, **kwargs})

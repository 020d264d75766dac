"""A decoder and a judge small enough to be tuned in seconds: latents paint a picture, the judge likes it bright."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn

from handgen.latent import LatentTuner
from handgen.vae import VAE

LATENTS = 4
VAE_SETTINGS: dict[str, Any] = {
    "image_size": 64,
    "latent_dim": LATENTS,
    "width": 2,
    "max_width": 4,
    "gmm_components": 3,
    "second_stage_steps": 3,
    "norm": "batch",
}
TINY: dict[str, Any] = {
    "latent_dim": LATENTS,
    "start": "gaussian",
    "starts": 64,
    "hidden_dims": (16, 16),
    "skin_weight": 0.0,
    "sharpness_weight": 0.0,
}


class ToyNetwork(nn.Module):
    """What the reward asks of a judge's network: features, of which the first head is the log-odds of validity."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(1, 3)
        self.heads = nn.Linear(3, 1, bias=False)
        nn.init.constant_(self.heads.weight, 1.0)

    def features(self, image: Tensor) -> Tensor:
        return 20.0 * (image.mean((2, 3)) - 0.5)


class ToyJudge(nn.Module):
    """Log-odds are 60 times the mean brightness above a half."""

    threshold = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.network = ToyNetwork()
        self.register_buffer("feature_mean", torch.zeros(3))
        self.register_buffer("feature_deviation", torch.ones(3))

    def forward(self, image: Tensor) -> Tensor:
        return self.network.heads(self.network.features(image))[:, 0]


class ToyDecoder(nn.Module):
    """(B, 4) latents to flat pictures whose brightness is sigmoid of their mean; has one weight, to be kept frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()), requires_grad=False)

    def forward(self, latent: Tensor) -> Tensor:
        return torch.sigmoid(self.gain * latent.mean(1))[:, None, None, None].expand(-1, 3, 64, 64)


def save_vae(folder: Path, **settings: Any) -> Path:
    """Checkpoint of an untrained tiny VAE."""
    torch.manual_seed(0)
    vae = VAE(**{**VAE_SETTINGS, **settings})
    path = folder / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": vae.state_dict(), "hyper_parameters": dict(vae.hparams), "global_step": 1}, path)
    return path


def toy_images(count: int = 40) -> Tensor:
    """Noise, uint8 (count, 3, 64, 64)."""
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def toy_tuner(folder: Path, monkeypatch: pytest.MonkeyPatch, prepared: bool = True, **settings: Any) -> LatentTuner:
    """A tuner with the toy judge and decoder."""
    monkeypatch.setattr("handgen.latent.module.load_learned_judge", lambda path: ToyJudge())
    torch.manual_seed(0)
    tuner = LatentTuner(vae=str(save_vae(folder)), **{**TINY, **settings})
    for networks in (tuner.vae.networks, tuner.vae.average):
        networks.decoder = ToyDecoder()
    if prepared:
        tuner.prepare(toy_images())
        tuner.reward.encoded = (torch.randn(200, LATENTS), torch.full((200, LATENTS), -4.0))
        tuner.reward.mean.zero_()
        tuner.reward.deviation.fill_(1.0)
        tuner.starts = torch.randn(64, LATENTS)
    return tuner


class ToyHands:
    """Stands for HandsDataModule."""

    dataset = "toy"

    def prepare_data(self) -> None: ...

    def setup(self, stage: str | None = None) -> None: ...

    def images(self, split: str) -> Tensor:
        return toy_images()


def make_trainer(folder: Path, **settings: Any) -> Trainer:
    """A silent trainer on the CPU."""
    return Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            **settings,
        }
    )


def weights(module: LightningModule | nn.Module) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}

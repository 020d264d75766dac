"""Convolutional encoder and decoder of the variational auto-encoder."""

from __future__ import annotations

import itertools
from typing import Literal

import torch
from torch import Tensor, nn

from handgen.errors import UserError

Norm = Literal["batch", "group"]
LOG_VAR_RANGE = (-12.0, 6.0)
"""Bounds of the posterior's log variance, so that no early step can overflow ``exp``."""


def stage_widths(image_size: int, width: int, max_width: int) -> list[int]:
    """Channels of the stride-2 stages between the image and a 4x4 map: doubling, up to ``max_width``.

    Args:
        image_size: side of the square image in pixels, a power of two from 16 to 256.
        width: channels of the first stage.
        max_width: most channels of any stage.

    Raises:
        UserError: if the size is not a supported power of two.
    """
    if image_size not in (16, 32, 64, 128, 256):
        raise UserError(f"the VAE takes square images of 16, 32, 64, 128 or 256 pixels, not {image_size}")
    return [min(width * 2**i, max_width) for i in range(image_size.bit_length() - 3)]


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """Batch normalisation, or group normalisation with 8 groups, over ``channels`` maps."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(8, channels)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip connection; (B, C, H, W) to the same shape.

    Args:
        channels: number of maps.
        norm: normalisation before each activation.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            normalisation(norm, channels),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            normalisation(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return ``silu(x + body(x))``."""
        return nn.functional.silu(x + self.body(x))


class Encoder(nn.Module):
    """Image to a diagonal Gaussian over latents: one stride-2 4x4 convolution for each halving down to 4x4.

    Args:
        image_size: side in pixels.
        latent_dim: number of latent dimensions L.
        width: channels of the first stage.
        max_width: most channels of any stage.
        norm: normalisation.
        blocks: residual blocks at each stage of 16x16 and below.
    """

    def __init__(self, image_size: int, latent_dim: int, width: int, max_width: int, norm: Norm, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        incoming, side = 3, image_size
        for channels in stage_widths(image_size, width, max_width):
            side //= 2
            layers += [
                nn.Conv2d(incoming, channels, 4, 2, 1, bias=False),
                normalisation(norm, channels),
                nn.SiLU(),
            ]
            layers += [ResidualBlock(channels, norm) for _ in range(blocks if side <= 16 else 0)]
            incoming = channels
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(incoming * 16, 2 * latent_dim)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            image: (B, 3, H, W) in [0, 1].

        Returns:
            ``mu`` and ``log_var``, each (B, L), float32.
        """
        mu, log_var = self.head(self.body(2.0 * image - 1.0).flatten(1)).float().chunk(2, dim=1)
        return mu, log_var.clamp(*LOG_VAR_RANGE)


class Decoder(nn.Module):
    """Latent to image: 4x4 transposed convolutions of stride 2, and a pixel shuffle for the last doubling.

    A 4x4 kernel with stride 2 covers every output pixel with the same number of taps, so it leaves no
    checkerboard by construction, and costs 4/9 of nearest-neighbour upsampling with a 3x3 convolution. The
    last doubling is a pixel shuffle because maps at full resolution are what a CPU spends its memory
    bandwidth on.

    Args:
        image_size: side in pixels.
        latent_dim: number of latent dimensions L.
        width: channels of the widest-resolution stage.
        max_width: most channels of any stage.
        norm: normalisation.
        blocks: residual blocks at each stage of 16x16 and below.
    """

    def __init__(self, image_size: int, latent_dim: int, width: int, max_width: int, norm: Norm, blocks: int) -> None:
        super().__init__()
        widths = stage_widths(image_size, width, max_width)[::-1]
        self.project = nn.Linear(latent_dim, widths[0] * 16)
        layers: list[nn.Module] = [
            nn.Unflatten(1, (widths[0], 4, 4)),
            normalisation(norm, widths[0]),
            nn.SiLU(),
        ]
        side = 4
        for incoming, channels in itertools.pairwise(widths):
            layers += [ResidualBlock(incoming, norm) for _ in range(blocks if side <= 16 else 0)]
            layers += [nn.ConvTranspose2d(incoming, channels, 4, 2, 1, bias=False)]
            layers += [normalisation(norm, channels), nn.SiLU()]
            side *= 2
        layers += [nn.Conv2d(widths[-1], 12, 3, padding=1), nn.PixelShuffle(2)]
        self.body = nn.Sequential(*layers)

    def forward(self, latent: Tensor) -> Tensor:
        """Decode (B, L) latents to (B, 3, H, W) float32 images in [0, 1]."""
        return torch.sigmoid(self.body(self.project(latent)).float())


class Autoencoder(nn.Module):
    """Encoder and decoder of one VAE, so that both are averaged, moved and saved together.

    Args:
        image_size: side in pixels.
        latent_dim: number of latent dimensions L.
        width: channels of the stage of highest resolution.
        max_width: most channels of any stage.
        norm: normalisation.
        blocks: residual blocks at each stage of 16x16 and below.
    """

    def __init__(
        self,
        image_size: int = 64,
        latent_dim: int = 64,
        width: int = 32,
        max_width: int = 256,
        norm: Norm = "batch",
        blocks: int = 0,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(image_size, latent_dim, width, max_width, norm, blocks)
        self.decoder = Decoder(image_size, latent_dim, width, max_width, norm, blocks)

    def forward(self, image: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Encode, draw one posterior sample, decode.

        Args:
            image: (B, 3, H, W) in [0, 1].
            generator: source of the posterior noise; torch's global one if None.

        Returns:
            ``recon`` (B, 3, H, W) in [0, 1], ``mu`` (B, L), ``log_var`` (B, L).
        """
        mu, log_var = self.encoder(image)
        noise = torch.randn(mu.shape, generator=generator, device=mu.device, dtype=mu.dtype)
        return self.decoder(mu + noise * (0.5 * log_var).exp()), mu, log_var


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an average of weights and buffers: ``average <- decay * average + (1 - decay) * model``.

    Integer buffers (counters) are copied.

    Args:
        average: module updated in place.
        model: module of the same structure.
        decay: in [0, 1); 0 copies.
    """
    pairs = list(zip(average.state_dict().values(), model.state_dict().values(), strict=True))
    floats = [(a, m) for a, m in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [m for _, m in floats], 1.0 - decay)
    for a, m in pairs:
        if not a.is_floating_point():
            a.copy_(m)

"""What the arm's actor and critics make of the target beside their own picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (32, 64, 96, 128)


class SideBySide(nn.Module):
    """Observations (B, C, H, 2 H) to images (B, 2 C, H, H) in [-0.5, 0.5]: target and arm as channels.

    A pixel of the one then meets the same pixel of the other in the first convolution.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.feature_dim = 2 * channels

    def forward(self, obs: Tensor) -> Tensor:
        """See the class; uint8 or in [0, 1]."""
        image = obs.float() / 255.0 if obs.dtype == torch.uint8 else obs
        return torch.cat(image.chunk(2, dim=-1), dim=1) - 0.5


class ImitationEncoder(nn.Module):
    """Four strided convolutions, then features with layer normalisation, as in the original's LnCnnPolicy.

    Args:
        channels: of the images, 2 C.
        size: their height and width.
        feature_dim: number of features F.
    """

    def __init__(self, channels: int, size: int, feature_dim: int = 256) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((channels, *WIDTHS[:-1]), WIDTHS, strict=True):
            layers += [nn.Conv2d(before, width, 3, stride=2, padding=1), nn.ReLU(inplace=True)]
            size = (size + 1) // 2
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(WIDTHS[-1] * size * size, feature_dim), nn.LayerNorm(feature_dim), nn.ReLU()
        )
        self.feature_dim = feature_dim

    def forward(self, image: Tensor) -> Tensor:
        """(..., 2 C, H, H) to (..., F)."""
        flat = image.flatten(0, -4) if image.ndim > 4 else image
        features: Tensor = self.head(self.convolutions(flat).flatten(1))
        return features.view(*image.shape[:-3], -1)

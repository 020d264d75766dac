"""Three small networks that look at hands: two classifiers of different build and a keypoint regressor."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.anatomy.landmarks import LANDMARKS
from handgen.anatomy.malformations import KINDS

MAX_DIGITS = 7
KEYPOINTS = 21
FEW = -5.0
"""Added to the logits of densities: few pixels hold a landmark."""


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class PlainTrunk(nn.Sequential):
    """Judge A's trunk: 3x3 convolutions with batch norm, ReLU; (B, 3, H, W) to (B, widths[-1], H/16, W/16).

    Args:
        widths: channels of the four resolutions.
    """

    def __init__(self, widths: Sequence[int] = (24, 40, 72, 104)) -> None:
        layers: list[nn.Module] = [_conv(3, widths[0], 2), _conv(widths[0], widths[0])]
        for inputs, outputs in itertools.pairwise(widths):
            layers += [_conv(inputs, outputs, 2), _conv(outputs, outputs), _conv(outputs, outputs)]
        super().__init__(*layers)
        self.width = widths[-1]


class ResidualBlock(nn.Module):
    """Pre-activation residual block with group norm (He et al. 2016, Wu & He 2018); (B, C, H, W) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x + conv(silu(norm(conv(silu(norm(x))))))``."""
        y = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = convolution(F.silu(norm(y)))
        return x + y


class ResidualTrunk(nn.Sequential):
    """Judge B's trunk: a wide first kernel, early reduction, pre-activation residual blocks, group norm.

    (B, 3, H, W) to (B, widths[-1], H/8, W/8).

    Args:
        widths: channels at a half, a quarter and an eighth of the resolution.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96)) -> None:
        a, b, c = widths
        super().__init__(
            nn.Conv2d(3, a, 7, 2, 3),
            nn.GroupNorm(8, a),
            nn.SiLU(),
            nn.Conv2d(a, b, 3, 2, 1),
            ResidualBlock(b),
            ResidualBlock(b),
            nn.Conv2d(b, c, 3, 2, 1),
            ResidualBlock(c),
            nn.GroupNorm(8, c),
            nn.SiLU(),
        )
        self.width = c


class JudgeNetwork(nn.Module):
    """A trunk with heads for validity, kind and number of digits.

    Args:
        trunk: ``plain`` or ``residual``.
    """

    def __init__(self, trunk: str) -> None:
        super().__init__()
        self.trunk: PlainTrunk | ResidualTrunk = PlainTrunk() if trunk == "plain" else ResidualTrunk()
        self.project = nn.Linear(4 * self.trunk.width, 128)
        self.heads = nn.Linear(128, 1 + len(KINDS) + MAX_DIGITS + 1)

    def features(self, images: Tensor) -> Tensor:
        """Features (B, 128) of images (B, 3, H, W) in [0, 1], H = W >= 32: pooled over a 2x2 grid, projected."""
        maps = self.trunk(images - 0.5)
        return F.silu(self.project(F.adaptive_avg_pool2d(maps, 2).flatten(1)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of validity (B,), of the kind (B, len(KINDS)) and of the number of digits (B, 8)."""
        out = self.heads(self.features(images))
        return out[:, 0], out[:, 1 : 1 + len(KINDS)], out[:, 1 + len(KINDS) :]


class KeypointOutput(NamedTuple):
    """What `KeypointNetwork` returns for B images (B, 3, H, W).

    Attributes:
        heatmaps: logits (B, 21, H/2, W/2) of the named keypoints. visible: their logits of visibility (B, 21).
        mask: logits (B, 1, H/2, W/2) of the silhouette.
        density: (B, len(LANDMARKS), H/2, W/2), positive; its sum is the number of landmarks of each class.
    """

    heatmaps: Tensor
    visible: Tensor
    mask: Tensor
    density: Tensor


class KeypointNetwork(nn.Module):
    """A small U-Net that finds 21 keypoints, the silhouette, and anonymous landmarks to count.

    Args:
        widths: channels at a half, a quarter, an eighth and a sixteenth of the resolution.
    """

    def __init__(self, widths: Sequence[int] = (20, 36, 64, 96)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.down1 = nn.Sequential(_conv(3, a, 2), _conv(a, a))
        self.down2 = nn.Sequential(_conv(a, b, 2), _conv(b, b))
        self.down3 = nn.Sequential(_conv(b, c, 2), _conv(c, c))
        self.down4 = nn.Sequential(_conv(c, d, 2), _conv(d, d), _conv(d, d))
        self.up3 = _conv(d + c, c)
        self.up2 = _conv(c + b, 56)
        self.up1 = _conv(56 + a, 40)
        self.maps = nn.Conv2d(40, KEYPOINTS + 1, 1)
        self.density = nn.Conv2d(40, len(LANDMARKS), 1)
        self.visible = nn.Linear(d + 56, KEYPOINTS)

    def forward(self, images: Tensor) -> KeypointOutput:
        """Analyse images (B, 3, H, W) in [0, 1]."""
        x1 = self.down1(images - 0.5)
        x2 = self.down2(x1)
        x3 = self.down3(x2)
        x4 = self.down4(x3)
        y = self.up3(torch.cat([F.interpolate(x4, scale_factor=2.0), x3], dim=1))
        y2 = self.up2(torch.cat([F.interpolate(y, scale_factor=2.0), x2], dim=1))
        y1 = self.up1(torch.cat([F.interpolate(y2, scale_factor=2.0), x1], dim=1))
        heatmaps, mask = self.maps(y1).split([KEYPOINTS, 1], dim=1)
        density = F.softplus(self.density(y1).float() + FEW)
        pooled = torch.cat([x4.mean(dim=(2, 3)), y2.amax(dim=(2, 3))], dim=1)
        return KeypointOutput(heatmaps, self.visible(pooled), mask, density)


def expected_position(logits: Tensor) -> Tensor:
    """Soft-argmax: expected (x, y) in [-1, 1] of heat map logits (B, K, H, W), as (B, K, 2)."""
    probability = logits.flatten(2).softmax(dim=-1).view_as(logits)
    height, width = logits.shape[2:]
    xs = (torch.arange(width, device=logits.device) + 0.5) * 2 / width - 1
    ys = (torch.arange(height, device=logits.device) + 0.5) * 2 / height - 1
    return torch.stack([(probability.sum(2) * xs).sum(-1), (probability.sum(3) * ys).sum(-1)], dim=-1)

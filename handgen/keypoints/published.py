"""The layers of the released IMM code, for 128x128 frames on a GPU (Jakab et al. 2018; github.com/tomasjakab/imm)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

TRUNK = ((7, 32, 1), (3, 32, 1), (3, 64, 2), (3, 64, 1), (3, 128, 2), (3, 128, 1), (3, 256, 2), (3, 256, 1))
"""Kernel, channels and stride of each convolution."""
REDUCTION = 8
"""Of the image's side by the trunk: 128 to 16."""


def published_convolution(incoming: int, outgoing: int, kernel: int, stride: int) -> nn.Sequential:
    """Convolution, batch normalisation (epsilon 1e-4, momentum 0.99), ReLU; weights from N(0, 0.01^2), cut at 2 SD."""
    layer = nn.Conv2d(incoming, outgoing, kernel, stride, kernel // 2)
    nn.init.trunc_normal_(layer.weight, std=0.01, a=-0.02, b=0.02)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    # TensorFlow's momentum is the share that stays, torch's the share that is replaced.
    return nn.Sequential(layer, nn.BatchNorm2d(outgoing, eps=1e-4, momentum=0.01), nn.ReLU(inplace=True))


class PublishedTrunk(nn.Sequential):
    """Eight convolutions, (B, C, H, W) to (B, 256, H / 8, W / 8), of the pose and of the appearance encoder."""

    def __init__(self, image_channels: int = 3) -> None:
        layers, incoming = [], image_channels
        for kernel, channels, stride in TRUNK:
            layers.append(published_convolution(incoming, channels, kernel, stride))
            incoming = channels
        super().__init__(*layers)


class PublishedScoreNet(nn.Sequential):
    """The trunk and a 1x1 convolution: (B, C, H, W) to score maps (B, K, H / 8, W / 8)."""

    def __init__(self, keypoints: int, image_channels: int = 3) -> None:
        super().__init__(PublishedTrunk(image_channels), nn.Conv2d(TRUNK[-1][1], keypoints, 1))


class PublishedRenderer(nn.Module):
    """Pairs of convolutions with 256, 128, 64 and 32 channels and bilinear doublings in between, then the image's.

    Args:
        channels: of the joint features.
        image_channels: C of the image.
    """

    def __init__(self, channels: int, image_channels: int = 3) -> None:
        super().__init__()
        widths = (256, 128, 64, 32)
        self.levels = nn.ModuleList()
        for incoming, outgoing in zip((channels, *widths), widths, strict=False):
            first = published_convolution(incoming, outgoing, 3, 1)
            self.levels.append(nn.Sequential(first, published_convolution(outgoing, outgoing, 3, 1)))
        self.last = nn.Conv2d(widths[-1], image_channels, 3, padding=1)

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """Features (B, C, h, w) to an image (B, C, height, width), about zero."""
        for number, level in enumerate(self.levels):
            if number:
                features = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
            features = level(features)
        image: Tensor = self.last(features)
        return image[:, :, :height, :width]

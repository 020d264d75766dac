"""KeyNet, which finds points, and the generators that redraw a frame from points and another frame's looks."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.errors import UserError
from handgen.keypoints.coordinates import Marginals, soft_argmax, transport
from handgen.keypoints.published import REDUCTION, TRUNK, PublishedRenderer, PublishedScoreNet, PublishedTrunk

Layers = Literal["small", "published"]
SMALLEST_IMAGE = 16
"""Pixels: below, nothing is left of the coarse maps."""


def convolution(incoming: int, outgoing: int, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A padded convolution with batch normalisation and ReLU."""
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(incoming, outgoing, kernel, stride, padding, dilation, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outgoing), nn.ReLU(inplace=True))


def check_sizes(keypoints: int, image_size: int) -> None:
    """Refuse what the networks cannot be built for.

    Raises:
        UserError: fewer than one keypoint, or images that are too small.
    """
    if keypoints < 1:
        raise UserError(f"keypoints={keypoints}: IMM needs at least 1 keypoint")
    if image_size < SMALLEST_IMAGE:
        raise UserError(f"image_size={image_size}: the encoder halves images, give at least {SMALLEST_IMAGE} pixels")


class SmallScoreNet(nn.Sequential):
    """Score maps at half the image's resolution for about 16 million multiplications an 84x84 frame.

    Fine features keep the position to a fraction of a pixel; the context that tells one point from another is computed
    at a quarter of the resolution, where a dilated 3x3 kernel is cheap and wide, and added to them.

    Args:
        keypoints: K.
        width: channels of the fine features; the context has twice as many.
        reduction: of the image's side by the score maps, 2 or 4.
        image_channels: C of the images.
    """

    def __init__(self, keypoints: int, width: int, reduction: int, image_channels: int = 3) -> None:
        super().__init__()
        self.pool = reduction // 2
        self.fine = convolution(image_channels, width, 5, 2)
        self.context = nn.Sequential(
            convolution(width, 2 * width, 3, 2),
            convolution(2 * width, 2 * width, dilation=2),
            convolution(2 * width, 2 * width, dilation=4),
            nn.Conv2d(2 * width, width, 1),
        )
        self.mix = nn.Sequential(convolution(width, width), nn.Conv2d(width, keypoints, 1))

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, C, H, W), about zero, to scores (B, K, h, w), h = ceil(H / 2) or half of that."""
        fine = self.fine(image)
        context = F.interpolate(self.context(fine), size=fine.shape[2:], mode="bilinear", align_corners=False)
        features = fine + context
        scores: Tensor = self.mix(features if self.pool == 1 else F.avg_pool2d(features, self.pool))
        return scores


class KeyNet(nn.Module):
    """Finds K points in single frames; all an agent needs of IMM.

    Args:
        keypoints: K.
        image_size: side of the square frames in pixels.
        width: channels of the first layer (``small`` alone).
        layers: ``small``, or those ``published``, with score maps at an eighth of the resolution.
        marginals: ``joint`` or ``published`` (`handgen.keypoints.coordinates`).
        temperature: of the marginals' softmax.
        map_reduction: of the image's side by the score maps (``small`` alone), 2 or 4.
        image_channels: 3 for a frame, 3 T for a stack of T.

    Raises:
        UserError: for K < 1, an image that is too small, or another reduction.
    """

    def __init__(
        self,
        keypoints: int = 8,
        image_size: int = 84,
        width: int = 16,
        layers: Layers = "small",
        marginals: Marginals = "joint",
        temperature: float = 1.0,
        map_reduction: int = 2,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        check_sizes(keypoints, image_size)
        if map_reduction not in (2, 4):
            raise UserError(
                f"map_reduction={map_reduction}: score maps have a half (2) or a quarter (4) of the image's side"
            )
        self.keypoints, self.marginals, self.temperature = keypoints, marginals, temperature
        if layers == "small":
            self.body: nn.Module = SmallScoreNet(keypoints, width, map_reduction, image_channels)
        else:
            self.body = PublishedScoreNet(keypoints, image_channels)

    def score_maps(self, image: Tensor) -> Tensor:
        """Score maps (B, K, h, w) of frames (B, C, H, W) in [0, 1]."""
        scores: Tensor = self.body(image - 0.5)
        return scores

    def forward(self, image: Tensor) -> Tensor:
        """Keypoints (B, K, 2) as (x, y) in [-1, 1] of frames (B, C, H, W) in [0, 1]."""
        return self.read(self.score_maps(image))

    def read(self, scores: Tensor) -> Tensor:
        """Keypoints (B, K, 2) of score maps (B, K, h, w)."""
        return soft_argmax(scores, self.marginals, self.temperature)


class Renderer(nn.Module):
    """Feature maps at half the resolution to an image: a coarse pass for what lies far apart, a fine one for edges.

    Args:
        channels: of the feature maps.
        width: channels of the fine pass; the coarse one has twice as many.
        image_channels: C of the image.
    """

    def __init__(self, channels: int, width: int, image_channels: int = 3) -> None:
        super().__init__()
        self.coarse = nn.Sequential(
            convolution(channels, 2 * width, 3, 2),
            convolution(2 * width, 2 * width, dilation=2),
            convolution(2 * width, 2 * width, dilation=4),
            nn.Conv2d(2 * width, width, 1),
        )
        last = nn.Conv2d(width, 4 * image_channels, 3, padding=1)
        self.fine = nn.Sequential(convolution(width + channels, width), last)

    def forward(self, features: Tensor, height: int, width: int) -> Tensor:
        """Features (B, channels, h, w) to an image (B, C, height, width), about zero."""
        coarse = F.interpolate(self.coarse(features), size=features.shape[2:], mode="bilinear", align_corners=False)
        image = F.pixel_shuffle(self.fine(torch.cat([coarse, features], dim=1)), 2)
        return image[:, :, :height, :width]  # odd sizes were rounded up


class GenNet(nn.Module):
    """Redraws the target frame from the source frame's appearance and the target's heat maps.

    Args:
        keypoints: K.
        width: channels (``small`` alone).
        layers: ``small``, or those ``published``, with heat maps at an eighth of the resolution.
        transporter: transport features instead of concatenating heat maps (Kulkarni et al. 2019).
        image_channels: C, 3 for a frame, 3 T for a stack of T.
    """

    def __init__(
        self,
        keypoints: int,
        width: int = 16,
        layers: Layers = "small",
        transporter: bool = False,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        self.transporter = transporter
        maps = 0 if transporter else keypoints
        if layers == "small":
            self.reduction = 2
            fine = convolution(image_channels, width, 5, 2)
            self.appearance: nn.Module = nn.Sequential(fine, convolution(width, width))
            self.renderer: nn.Module = Renderer(width + maps, width, image_channels)
        else:
            self.reduction = REDUCTION
            self.appearance = PublishedTrunk(image_channels)
            self.renderer = PublishedRenderer(TRUNK[-1][1] + maps, image_channels)

    def map_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the heat maps for images of this size."""
        return math.ceil(height / self.reduction), math.ceil(width / self.reduction)

    def forward(self, source: Tensor, target_maps: Tensor, target: Tensor, source_maps: Tensor) -> Tensor:
        """Redraw the target.

        Args:
            source: frames (B, C, H, W) in [0, 1].
            target_maps: heat maps (B, K, ceil(H / 2), ceil(W / 2)) of the target's points.
            target: the target frames; only their transported features are used, and only with ``transporter``.
            source_maps: heat maps of the source's points; only with ``transporter``.

        Returns:
            Images (B, C, H, W), not clipped.
        """
        features = self.appearance(source - 0.5)
        if self.transporter:
            # No gradient through the source: its points are erased, not learnt from, as in the paper.
            joint = transport(features.detach(), self.appearance(target - 0.5), source_maps.detach(), target_maps)
        else:
            joint = torch.cat([features, target_maps.to(features.dtype)], dim=1)
        image: Tensor = self.renderer(joint, *source.shape[2:]) + 0.5
        return image

"""MobileNetV2's convolutions: Sandler et al. 2018, arXiv:1801.04381, table 2."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from handgen.errors import UserError

BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion t, channels c, repeats n, stride s of each row."""
FEATURES = 1280
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, which published weights expect to be taken out."""


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A convolution, batch normalisation and ReLU6."""
    layer = nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, groups=groups, bias=False)
    return [nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))]


class InvertedResidual(nn.Module):
    """Expand, convolve each channel by itself, and project without a nonlinearity.

    Args:
        inputs: channels before.
        outputs: channels after.
        stride: of the middle convolution.
        expansion: factor of the channels between.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = convolution(inputs, hidden, 1) if expansion != 1 else []
        layers += convolution(hidden, hidden, 3, stride, groups=hidden)
        layers += [nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs)]
        self.conv = nn.Sequential(*layers)
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        after: Tensor = self.conv(x)
        return x + after if self.skips else after


class MobileNetV2(nn.Module):
    """Images to 1,280 features; layers are named as in published weight files (``features.0.0.weight`` ...).

    Args:
        weights: a file of tensors by name, ``.pt`` or ``.pth`` (loaded without running code); what belongs to the
            classifier is left out. None draws random weights.

    Raises:
        UserError: if the file is absent, unsafe or holds other weights.
    """

    def __init__(self, weights: str | None = None) -> None:
        super().__init__()
        layers, channels = convolution(3, 32, 3, 2), 32
        for expansion, width, repeats, stride in BLOCKS:
            for repeat in range(repeats):
                layers.append(InvertedResidual(channels, width, stride if repeat == 0 else 1, expansion))
                channels = width
        self.features = nn.Sequential(*layers, *convolution(channels, FEATURES, 1))
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1), persistent=False)
        if weights is not None:
            self.load_state_dict(read_weights(Path(weights)))

    mean: Tensor
    deviation: Tensor

    def forward(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to features (B, 1280)."""
        features: Tensor = self.features((image - self.mean) / self.deviation)
        return features.mean(dim=(2, 3))


@torch.no_grad()
def calibrate(network: nn.Module, image: Tensor) -> None:
    """Set the means and variances of all batch normalisations to those of some images, in one pass.

    As they come (mean 0, variance 1) random weights shrink what they are shown from layer to layer: MobileNetV2's
    features of any two pictures would differ by a hundred-millionth.

    Args:
        network: left in evaluation mode.
        image: (B, 3, H, W) in [0, 1], at least two.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    usual = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the plain mean over all passes, which are one
    network.train()
    network(image)
    network.eval()
    for layer, momentum in zip(layers, usual, strict=True):
        layer.momentum = momentum


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights of the convolutions.

    Raises:
        UserError: if the file is absent, unsafe or holds other weights.
    """
    if not path.is_file():
        raise UserError(f"no weights file {path}: leave model.weights out for random weights")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} cannot be loaded as plain weights: {str(error).splitlines()[0]}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} holds no weights by name, but a {type(loaded).__name__}")
    kept = {name: value for name, value in loaded.items() if not name.startswith("classifier.")}
    wanted = MobileNetV2().state_dict()
    wrong = [name for name in wanted if name not in kept or kept[name].shape != wanted[name].shape]
    wrong += sorted(set(kept) - set(wanted))
    if wrong:
        raise UserError(f"{path} holds no weights of MobileNetV2: {wrong[0]} is absent or wrong")
    return kept

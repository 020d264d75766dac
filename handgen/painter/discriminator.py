"""Who tells paintings from pictures: a DCGAN, for raw scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from handgen.errors import UserError

SMALLEST_MAP = 4


class Discriminator(nn.Module):
    """Strided convolutions with leaky ReLUs down to 4x4, then one number (Radford et al. 2016, arXiv:1511.06434).

    No batch normalisation: a gradient penalty is about one picture at a time (Gulrajani et al. 2017, section 4).

    Args:
        image_size: height and width, 4 times a power of two.
        channels: of a picture; those of a pair are stacked.
        width: channels of the first layer; each following one has twice as many.
        spectral: divide each layer's weights by their largest singular value (Miyato et al. 2018, arXiv:1802.05957).

    Raises:
        UserError: for another size.
    """

    def __init__(self, image_size: int = 64, channels: int = 3, width: int = 64, spectral: bool = False) -> None:
        super().__init__()
        halvings = (image_size // SMALLEST_MAP).bit_length() - 1
        if halvings < 1 or SMALLEST_MAP << halvings != image_size:
            raise UserError(f"a discriminator of {image_size} pixels: the side must be 8, 16, 32, 64, 128 ...")
        layers: list[nn.Module] = []
        incoming = channels
        for step in range(halvings):
            layers += [nn.Conv2d(incoming, width << step, 4, 2, 1), nn.LeakyReLU(0.2)]
            incoming = width << step
        layers += [nn.Flatten(), nn.Linear(incoming * SMALLEST_MAP**2, 1)]
        if spectral:
            layers = [spectral_norm(part) if hasattr(part, "weight") else part for part in layers]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor, target: Tensor | None = None) -> Tensor:
        """Raw scores (B,) of pictures (B, C, H, W) in [0, 1], or of pairs with targets of the same shape."""
        seen = image if target is None else torch.cat([image, target], dim=1)
        scores: Tensor = self.layers(2.0 * seen - 1.0).squeeze(1)
        return scores

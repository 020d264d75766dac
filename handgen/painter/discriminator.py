"""Who tells paintings from pictures: a DCGAN, for raw scores."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from handgen.errors import UserError
from handgen.painter.actions import ActionTable
from handgen.painter.decoder import EMBEDDING, Embedding

SMALLEST_MAP = 4


class Discriminator(nn.Module):
    """Strided convolutions with leaky ReLUs down to 4x4, then one number (Radford et al. 2016, arXiv:1511.06434).

    No batch normalisation: a gradient penalty is about one picture at a time (Gulrajani et al. 2017, section 4).

    Args:
        image_size: height and width, 4 times a power of two.
        channels: of a picture; those of a pair are stacked.
        width: channels of the first layer; each following one has twice as many.
        spectral: divide each layer's weights by their largest singular value (Miyato et al. 2018, arXiv:1802.05957).
        programs: table and length of programs that are judged together with their pictures, as in BiGAN (Donahue et
            al. 2017, arXiv:1605.09782); None judges pictures alone.

    Raises:
        UserError: for another size.
    """

    def __init__(
        self,
        image_size: int = 64,
        channels: int = 3,
        width: int = 64,
        spectral: bool = False,
        programs: tuple[ActionTable, int] | None = None,
    ) -> None:
        super().__init__()
        halvings = (image_size // SMALLEST_MAP).bit_length() - 1
        if halvings < 1 or SMALLEST_MAP << halvings != image_size:
            raise UserError(f"a discriminator of {image_size} pixels: the side must be 8, 16, 32, 64, 128 ...")
        layers: list[nn.Module] = []
        incoming = channels
        for step in range(halvings):
            layers += [nn.Conv2d(incoming, width << step, 4, 2, 1), nn.LeakyReLU(0.2)]
            incoming = width << step
        self.layers = nn.Sequential(*layers, nn.Flatten())
        features = incoming * SMALLEST_MAP**2
        self.programs: nn.Module | None = None
        if programs is not None:
            table, length = programs
            self.embedding = ProgramEmbedding(table)
            self.programs = nn.Sequential(nn.Linear(length * self.embedding.width, 4 * width), nn.LeakyReLU(0.2))
            self.both = nn.Sequential(nn.Linear(features + 4 * width, 4 * width), nn.LeakyReLU(0.2))
            features = 4 * width
        self.score = nn.Linear(features, 1)
        if spectral:
            for part in [module for module in self.modules() if isinstance(module, nn.Conv2d | nn.Linear)]:
                spectral_norm(part)

    def forward(self, image: Tensor, target: Tensor | None = None, actions: Tensor | None = None) -> Tensor:
        """Raw scores (B,) of pictures (B, C, H, W) in [0, 1], or of pairs with targets of the same shape.

        Args:
            image: pictures.
            target: what they are to show.
            actions: their programs (B, T, K), for a discriminator of both; actions not yet taken are negative.
        """
        seen = image if target is None else torch.cat([image, target], dim=1)
        features = self.layers(2.0 * seen - 1.0)
        if self.programs is not None:
            assert actions is not None
            features = self.both(torch.cat([features, self.programs(self.embedding(actions))], dim=1))
        scores: Tensor = self.score(features).squeeze(1)
        return scores


class ProgramEmbedding(nn.Module):
    """Programs as numbers: the choices of each action that matter; zeros for what does not, or is yet to come.

    ``width`` is the count of numbers for an action.
    """

    def __init__(self, table: ActionTable) -> None:
        super().__init__()
        self.table = table
        self.parts = nn.ModuleList(Embedding(component) for component in table.components)
        self.width = EMBEDDING * len(table)

    def forward(self, actions: Tensor) -> Tensor:
        """(B, T, K) to (B, T width)."""
        counts = (self.table.used(actions) & (actions >= 0)).to(torch.float32)
        chosen = actions.clamp(min=0)
        embedded = [part(chosen[..., i]) * counts[..., i : i + 1] for i, part in enumerate(self.parts)]
        return torch.cat(embedded, dim=-1).flatten(1)

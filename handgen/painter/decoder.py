"""How a painter decides an action: a head for each component, and each decision told to those that follow."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.errors import UserError
from handgen.painter.actions import FLAG, PLACES, ActionTable, Component
from handgen.painter.scenes import seen_at

EMBEDDING = 16
BARRED = -1e9
"""Logit of a choice that may not be taken; infinity would make the entropy no number."""
EDGE = 1e-6
"""Share of its range by which a continuous choice stays off the ends, where a logistic function has no inverse."""


class Residual(nn.Module):
    """``relu(x + conv1x1(relu(conv3x3(x))))``, as in the released agents."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return F.relu(x + self.layers(x))


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU after each."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class Embedding(nn.Module):
    """A decision as 16 numbers: a table of choices, places and values by a linear map of where they are."""

    def __init__(self, component: Component) -> None:
        super().__init__()
        self.component = component
        self.spatial = bool(component.grid) or not component.bins
        self.layer: nn.Module = (
            nn.Linear(2 if component.grid else 1, EMBEDDING)
            if self.spatial
            else nn.Embedding(component.bins, EMBEDDING)
        )

    def forward(self, choice: Tensor) -> Tensor:
        """(...,) to (..., 16)."""
        if not self.spatial:
            embedded: Tensor = self.layer(choice.long())
            return embedded
        value = 2.0 * self.component.decode(choice) - 1.0
        embedded = self.layer(value if self.component.grid else value[..., None])
        return embedded


class PlaceHead(nn.Module):
    """Logits of all cells of a grid from a vector: 4x4 maps, residual blocks, transposed convolutions."""

    def __init__(self, width: int, side: int, blocks: int, channels: int = 32) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 4 * 4 * 16)
        layers: list[nn.Module] = [nn.Conv2d(16, channels, 3, padding=1), nn.ReLU()]
        layers += [Residual(channels) for _ in range(blocks)]
        at = 4
        while at < side:
            layers += [nn.ConvTranspose2d(channels, channels, 4, 2, 1), nn.ReLU()]
            at *= 2
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, z: Tensor) -> Tensor:
        """(B, W) to (B, side^2)."""
        logits: Tensor = self.layers(F.relu(self.linear(z)).unflatten(1, (16, 4, 4))).flatten(1)
        return logits


class Glimpse(nn.Module):
    """What there is around a place, as it is: kind, size and colour of a thing are told where it stands.

    Args:
        table: what an action is.
        channels: C' of images.
        width: W.
        side: S of the part that is looked at, in pixels, even.
    """

    def __init__(self, table: ActionTable, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.table, self.solid = table, "shape" in table.names
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(), nn.Flatten()
        )
        self.out = mlp(64 * (side // 2) ** 2, width)
        offsets = torch.arange(side) - 0.5 * (side - 1)
        rows, columns = torch.meshgrid(offsets, offsets, indexing="ij")
        self.register_buffer("offsets", torch.stack([columns, rows], dim=-1), persistent=False)
        self.offsets: Tensor

    def forward(self, images: Tensor, decided: Tensor) -> Tensor:
        """Images (N, C', H, W) and the first choices (N, k) of actions, up to their ends, to (N, W)."""
        choices = F.pad(decided, (0, len(self.table) - decided.shape[1]))
        place = self.table.decode(choices)["end"]
        if self.solid:
            place = seen_at(place)
        grid = (2.0 * place - 1.0)[:, None, None] + 2.0 / images.shape[-1] * self.offsets
        found: Tensor = self.out(self.layers(F.grid_sample(images, grid, padding_mode="border", align_corners=False)))
        return found


class Decoder(nn.Module):
    """Decides the components in turn, each given those before it: ``z <- relu(z + MLP([z, embedding]))``."""

    def __init__(self, table: ActionTable, width: int, blocks: int, glimpse: int = 0, channels: int = 0) -> None:
        super().__init__()
        self.table = table
        self.last_of_end = max(i for i, c in enumerate(table.components) if c.name.startswith("end"))
        self.glimpse = Glimpse(table, channels, width, glimpse) if glimpse else None
        self.heads = nn.ModuleList(
            PlaceHead(width, c.grid, blocks) if c.grid else nn.Linear(width, c.bins or 2) for c in table.components
        )
        self.embeddings = nn.ModuleList(Embedding(c) for c in table.components[:-1])
        self.updates = nn.ModuleList(
            nn.Sequential(
                nn.Linear(width + EMBEDDING + (width if glimpse and index == self.last_of_end else 0), width),
                nn.ReLU(),
                nn.Linear(width, width),
            )
            for index in range(len(table) - 1)
        )

    def forward(
        self,
        z: Tensor,
        actions: Tensor | None,
        greedy: bool,
        may_draw: Tensor,
        temperature: float,
        images: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decide, or judge what was decided.

        Args:
            z: (N, W).
            actions: (N, K) that were taken; None takes new ones.
            greedy: take the likeliest choices.
            may_draw: bool (N,), whether the flag may say so.
            temperature: of places.
            images: (N, C', H, W) in [0, 1], of which a part is looked at again; None where none is.

        Returns:
            Actions, their log-probabilities and entropies, float32 (N, K) each, unmasked.

        Raises:
            UserError: if the weights have become no numbers.
        """
        decided: list[Decision] = []
        for index, (component, head) in enumerate(zip(self.table.components, self.heads, strict=True)):
            told = head(z).float()
            if component.name == FLAG:
                told = torch.stack([told[:, 0], told[:, 1].masked_fill(~may_draw, BARRED)], dim=1)
            taken = None if actions is None else actions[:, index]
            heat = temperature if component.name.startswith(PLACES) else 1.0
            decide = decide_choice if component.bins else decide_value
            decided.append(decide(component, told, taken, greedy, heat))
            if index < len(self.updates):
                update = [z, self.embeddings[index](decided[-1][0])]
                if self.glimpse is not None and images is not None and index == self.last_of_end:
                    update.append(self.glimpse(images, torch.stack([choice for choice, _, _ in decided], 1)))
                z = F.relu(z + self.updates[index](torch.cat(update, dim=1)))
        actions, log_prob, entropy = (torch.stack(parts, 1) for parts in zip(*decided, strict=True))
        return actions, log_prob, entropy


Decision = tuple[Tensor, Tensor, Tensor]
"""Choices as numbers, their log-probabilities, and the entropies in nats, float32 (N,) each."""


def decide_choice(
    component: Component, logits: Tensor, taken: Tensor | None, greedy: bool, temperature: float
) -> Decision:
    """One of several, by logits (N, bins)."""
    log_prob = (logits / temperature).log_softmax(dim=-1)
    if taken is not None:
        choice = taken.long()
    elif greedy:
        choice = log_prob.argmax(dim=-1)
    else:
        try:
            choice = torch.multinomial(log_prob.exp(), 1)[:, 0]
        except RuntimeError as error:  # it looks at its weights anyway: nothing is waited for twice
            if log_prob.isfinite().all():
                raise
            raise UserError(_no_numbers(component)) from error
    entropy = -(log_prob.exp() * log_prob).sum(dim=-1)
    # Not in the memory's number format: bfloat16 does not tell cells above 256 apart.
    return choice.float(), log_prob.gather(1, choice[:, None])[:, 0], entropy


def decide_value(
    component: Component, told: Tensor, taken: Tensor | None, greedy: bool, temperature: float
) -> Decision:
    """A number of a range: a normal one through a logistic function, by its mean and log standard deviation (N, 2).

    The density of ``v = low + (high - low) s(u)`` is ``N(u) / ((high - low) s(u) (1 - s(u)))``. The entropy is that of
    u plus the mean of the slope's logarithm, by Gauss-Hermite quadrature.
    """
    mean, log_sd = told[:, 0], told[:, 1].clamp(-5.0, 2.0) + math.log(temperature)
    width = component.high - component.low
    if taken is None:
        u = mean if greedy else mean + log_sd.exp() * torch.randn_like(mean)
        taken = component.low + width * torch.sigmoid(u).clamp(EDGE, 1.0 - EDGE)
    u = torch.logit(((taken - component.low) / width).clamp(EDGE, 1.0 - EDGE))
    normal = -0.5 * ((u - mean) / log_sd.exp()).square() - log_sd - 0.5 * math.log(2.0 * math.pi)
    places, weights = (torch.as_tensor(part, dtype=mean.dtype, device=mean.device) for part in hermegauss(16))
    slopes = _log_slope(mean[:, None] + log_sd.exp()[:, None] * places)
    entropy = 0.5 * math.log(2.0 * math.pi * math.e) + log_sd + (slopes * weights).sum(1) / weights.sum()
    return taken, normal - _log_slope(u) - math.log(width), entropy + math.log(width)


def _log_slope(u: Tensor) -> Tensor:
    """``log s'(u)`` of the logistic function s."""
    return F.logsigmoid(u) + F.logsigmoid(-u)


def _no_numbers(component: Component) -> str:
    return (
        f"the policy's probabilities of {component.name!r} are no numbers: its weights have diverged; "
        "go back to a checkpoint with a lower learning rate"
    )

"""The painter's policy: sees the canvas, remembers, and decides an action component by component.

Ganin et al. 2018, arXiv:1804.01118, section 3 and appendix; details after the released agents.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.painter.actions import ActionTable, Component

NOISE = 10
"""Numbers of the noise that makes one painting differ from the next, drawn once for an episode."""
EMBEDDING = 16
Size = Literal["paper", "fast"]


@dataclass(frozen=True)
class Seen:
    """What a painter sees before each action, time first.

    Attributes:
        canvas: (T, B, C, H, W) in [0, 1].
        previous: (T, B, K), the action before; zeros at the start.
        began: bool (T, B), where an episode begins: memory and previous action do not count.
        noise: (T, B, `NOISE`).
        target: (T, B, C, H, W), what is to be painted; None paints whatever it likes.
    """

    canvas: Tensor
    previous: Tensor
    began: Tensor
    noise: Tensor
    target: Tensor | None = None


@dataclass(frozen=True)
class Decided:
    """What a painter decides.

    Attributes:
        actions: (T, B, K), choices as numbers.
        log_prob: (T, B, K) of each component given those before it, 0 where it is not needed.
        entropy: (T, B, K) in nats, of each component given those before it, 0 where it is not needed.
        value: (T, B).
        memory: what the next call takes.
    """

    actions: Tensor
    log_prob: Tensor
    entropy: Tensor
    value: Tensor
    memory: Memory


Memory = tuple[Tensor, Tensor]
"""Hidden and cell state of the LSTM, (B, H) each."""


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


class Decoder(nn.Module):
    """Decides the components in turn, each given those before it: ``z <- relu(z + MLP([z, embedding]))``."""

    def __init__(self, table: ActionTable, width: int, blocks: int) -> None:
        super().__init__()
        self.table = table
        self.heads = nn.ModuleList(
            PlaceHead(width, c.grid, blocks) if c.grid else nn.Linear(width, c.bins) for c in table.components
        )
        self.embeddings = nn.ModuleList(Embedding(c) for c in table.components[:-1])
        self.updates = nn.ModuleList(
            nn.Sequential(nn.Linear(width + EMBEDDING, width), nn.ReLU(), nn.Linear(width, width))
            for _ in table.components[:-1]
        )

    def forward(self, z: Tensor, actions: Tensor | None, greedy: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Decide, or judge what was decided.

        Args:
            z: (N, W).
            actions: (N, K) that were taken; None takes new ones.
            greedy: take the likeliest choices.

        Returns:
            Actions, their log-probabilities and entropies, (N, K) each, unmasked.
        """
        choices, log_probs, entropies = [], [], []
        for index, head in enumerate(self.heads):
            log_prob = head(z).log_softmax(dim=-1)
            if actions is not None:
                choice = actions[:, index].long()
            elif greedy:
                choice = log_prob.argmax(dim=-1)
            else:
                choice = torch.multinomial(log_prob.exp(), 1)[:, 0]
            choices.append(choice.to(z.dtype))
            log_probs.append(log_prob.gather(1, choice[:, None])[:, 0])
            entropies.append(-(log_prob.exp() * log_prob).sum(dim=-1))
            if index < len(self.updates):
                update = torch.cat([z, self.embeddings[index](choices[-1])], dim=1)
                z = F.relu(z + self.updates[index](update))
        return torch.stack(choices, 1), torch.stack(log_probs, 1), torch.stack(entropies, 1)


class Policy(nn.Module):
    """Canvas, previous action, noise and memory to an action.

    Args:
        table: what an action is; all its components must have bins.
        image_size: height and width of canvases.
        channels: of canvases.
        conditional: whether there are targets.
        blind: whether the canvas is not looked at.
        size: ``paper``, or ``fast`` with a quarter of the channels' work and without deep residual towers.
        width: hidden units of memory and decoder.
    """

    def __init__(
        self,
        table: ActionTable,
        image_size: int = 64,
        channels: int = 3,
        conditional: bool = False,
        blind: bool = False,
        size: Size = "paper",
        width: int = 256,
    ) -> None:
        super().__init__()
        self.table, self.blind, self.conditional, self.width = table, blind, conditional, width
        maps, blocks, kernel = (32, 8, 5) if size == "paper" else (24, 1, 3)
        images = (0 if blind else channels) + (channels if conditional else 0)
        self.first = nn.Conv2d(images + 2, maps, kernel, 1 if size == "paper" else 2, kernel // 2)
        self.action = nn.ModuleList(Embedding(c) for c in table.components)
        self.action_layers = nn.Sequential(mlp(EMBEDDING * len(table), 64, 32), nn.Linear(32, maps))
        self.noise_layers = nn.Sequential(mlp(NOISE, 64, 32), nn.Linear(32, maps))
        halvings = 3 if size == "paper" else 2
        steps = [nn.Sequential(nn.Conv2d(maps, maps, 4, 2, 1), nn.ReLU()) for _ in range(halvings)]
        self.tower = nn.Sequential(
            *steps, nn.Conv2d(maps, maps, 3, padding=1), *(Residual(maps) for _ in range(blocks))
        )
        side = image_size // 8
        self.summary = mlp(maps * side**2, width)
        self.memory = nn.LSTMCell(width, width)
        # A value that learns beside a policy that has learnt by imitation must not pull at its features.
        self.value_apart = size == "fast"
        self.value = nn.Sequential(mlp(width, width), nn.Linear(width, 1)) if self.value_apart else nn.Linear(width, 1)
        self.decoder = Decoder(table, width, blocks if size == "paper" else 0)

    def blank_memory(self, count: int) -> Memory:
        """The memory of B painters that have seen nothing."""
        nothing = torch.zeros(count, self.width, device=next(self.parameters()).device)
        return nothing, nothing

    def forward(
        self, seen: Seen, memory: Memory | None = None, actions: Tensor | None = None, greedy: bool = False
    ) -> Decided:
        """Decide, or judge what was decided ("teacher forcing").

        Args:
            seen: T steps of B painters.
            memory: of the call before; None is blank.
            actions: (T, B, K) that were taken; None takes new ones, for T = 1.
            greedy: take the likeliest choices instead of drawing them.
        """
        length, count = seen.began.shape
        features = self._look(seen).unflatten(0, (length, count))
        hidden, cell = memory if memory is not None else self.blank_memory(count)
        remembered = []
        for step in range(length):
            kept = (~seen.began[step])[:, None]
            hidden, cell = self.memory(features[step], (hidden * kept, cell * kept))
            remembered.append(hidden)
        z = torch.cat(remembered)
        taken = None if actions is None else actions.flatten(0, 1)
        choices, log_prob, entropy = self.decoder(z, taken, greedy)
        used = self.table.used(choices)
        shape = (length, count, len(self.table))
        value = self.value(z.detach() if self.value_apart else z).view(length, count)
        return Decided(
            choices.view(shape), (log_prob * used).view(shape), (entropy * used).view(shape), value, (hidden, cell)
        )

    def _look(self, seen: Seen) -> Tensor:
        """Features (T B, W) of what is seen, without memory."""
        canvas = seen.canvas.flatten(0, 1)
        images = [] if self.blind else [canvas]
        if self.conditional:
            assert seen.target is not None
            images.append(seen.target.flatten(0, 1))
        axis = torch.linspace(-1.0, 1.0, canvas.shape[-1], device=canvas.device)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        places = torch.stack([columns, rows]).expand(len(canvas), -1, -1, -1)
        previous, began = seen.previous.flatten(0, 1), seen.began.flatten()
        counts = (self.table.used(previous) & ~began[:, None]).to(canvas.dtype)
        embedded = [part(previous[:, i]) * counts[:, i : i + 1] for i, part in enumerate(self.action)]
        told = self.action_layers(torch.cat(embedded, 1)) + self.noise_layers(seen.noise.flatten(0, 1))
        looked_at = torch.cat([*images, places], dim=1).contiguous(memory_format=torch.channels_last)
        maps = F.relu(self.first(looked_at) + told[:, :, None, None])
        summary: Tensor = self.summary(self.tower(maps).flatten(1))
        return summary

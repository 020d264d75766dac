"""The painter's policy: sees the canvas, remembers, and decides an action component by component.

Ganin et al. 2018, arXiv:1804.01118, section 3 and appendix; details after the released agents.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.painter.actions import ActionTable
from handgen.painter.decoder import EMBEDDING, Decoder, Embedding, Residual, mlp
from handgen.painter.fit import FEATURES, picture_encoder

NOISE = 10
"""Numbers of the noise that makes one painting differ from the next, drawn once for an episode."""
PLACE_MAPS = 2
"""Maps that tell where each pixel is, beside the pictures that are looked at."""
Size = Literal["paper", "fast"]


@dataclass(frozen=True)
class Seen:
    """What a painter sees before each action, time first.

    Attributes:
        canvas: (T, B, C, H, W) in [0, 1].
        previous: (T, B, K), the action before; zeros at the start.
        began: bool (T, B), where an episode begins: memory and previous action do not count.
        strokes: int64 (T, B), strokes drawn before.
        noise: (T, B, `NOISE`).
        target: (B, C, H, W), what is to be painted; None paints whatever it likes.
    """

    canvas: Tensor
    previous: Tensor
    began: Tensor
    strokes: Tensor
    noise: Tensor
    target: Tensor | None = None


@dataclass(frozen=True)
class Memory:
    """What a painter remembers.

    Attributes:
        hidden: (B, W), of the LSTM.
        cell: (B, W), of the LSTM.
        read: (B, W), what was read off the target before the first action; None where there is none.
    """

    hidden: Tensor
    cell: Tensor
    read: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Memory:
        """The same with every part changed."""
        return Memory(change(self.hidden), change(self.cell), None if self.read is None else change(self.read))


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


class Policy(nn.Module):
    """Canvas, previous action, noise and memory to an action.

    Args:
        table: what an action is.
        image_size: height and width of canvases.
        channels: of canvases.
        conditional: whether there are targets.
        blind: whether the canvas is not looked at.
        size: ``paper``, or ``fast`` with a quarter of the channels' work and without deep residual towers.
        width: hidden units of memory and decoder.
        most_strokes: strokes after which only jumps are possible; None knows no limit.
        glimpse: pixels, side of what is looked at around the end just decided; 0 does not look there.
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
        most_strokes: int | None = None,
        glimpse: int = 0,
    ) -> None:
        super().__init__()
        self.table, self.blind, self.conditional, self.width = table, blind, conditional, width
        self.most_strokes = most_strokes
        maps, blocks, kernel = (32, 8, 5) if size == "paper" else (24, 1, 3)
        images = (0 if blind else channels) + (channels if conditional else 0)
        self.first = nn.Conv2d(images + PLACE_MAPS, maps, kernel, 1 if size == "paper" else 2, kernel // 2)
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
        # Beside the paper's: what `fit` has learnt about pictures is read off the target once, before the first action.
        reads = conditional and size == "fast"
        self.reader = picture_encoder(channels, image_size) if reads else None
        self.told_by_reader = nn.Linear(FEATURES, width) if reads else None
        self.memory = nn.LSTMCell(width, width)
        # A value that learns beside a policy that has learnt by imitation must not pull at its features.
        self.value_apart = size == "fast"
        self.value = nn.Sequential(mlp(width, width), nn.Linear(width, 1)) if self.value_apart else nn.Linear(width, 1)
        self.decoder = Decoder(table, width, blocks if size == "paper" else 0, glimpse, images)

    def first_memory(self, count: int, target: Tensor | None) -> Memory:
        """The memory of B painters before their first action; of targets (B, C, H, W) what there is to be read."""
        nothing = torch.zeros(count, self.width, device=next(self.parameters()).device)
        if self.reader is None or self.told_by_reader is None or target is None:
            return Memory(nothing, nothing)
        return Memory(nothing, nothing, self.told_by_reader(self.reader(1.0 - target)))

    def forward(
        self,
        seen: Seen,
        memory: Memory | None = None,
        actions: Tensor | None = None,
        greedy: bool = False,
        temperature: float = 1.0,
        value_alone: bool = False,
    ) -> Decided:
        """Decide, or judge what was decided ("teacher forcing").

        Args:
            seen: T steps of B painters.
            memory: of the call before; None is blank.
            actions: (T, B, K) that were taken; None takes new ones, for T = 1.
            greedy: take the likeliest choices instead of drawing them.
            temperature: by which the logits of places are divided; of a continuous one, the factor of its SD.
            value_alone: whether the gradient of the value stops at its own layers.
        """
        length, count = seen.began.shape
        looked_at = self._looked_at(seen)
        features = self._look(seen, looked_at).unflatten(0, (length, count))
        memory = memory or self.first_memory(count, seen.target)
        hidden, cell = memory.hidden, memory.cell
        if memory.read is not None:
            features = features + memory.read
        remembered = []
        for step in range(length):
            kept = (~seen.began[step])[:, None]
            hidden, cell = self.memory(features[step], (hidden * kept, cell * kept))
            remembered.append(hidden)
        z = torch.cat(remembered)
        taken = None if actions is None else actions.flatten(0, 1)
        may_draw = (seen.strokes < (math.inf if self.most_strokes is None else self.most_strokes)).flatten()
        choices, log_prob, entropy = self.decoder(z, taken, greedy, may_draw, temperature, looked_at[:, :-PLACE_MAPS])
        used = self.table.used(choices)
        shape = (length, count, len(self.table))
        value = self.value(z.detach() if self.value_apart or value_alone else z).view(length, count)
        return Decided(
            choices.view(shape),
            (log_prob * used).view(shape),
            (entropy * used).view(shape),
            value,
            Memory(hidden, cell, memory.read),
        )

    def _looked_at(self, seen: Seen) -> Tensor:
        """(T B, C' + `PLACE_MAPS`, H, W): canvas and target, each where there is one, and where each pixel is."""
        canvas = seen.canvas.flatten(0, 1)
        images = [] if self.blind else [canvas]
        if self.conditional:
            assert seen.target is not None
            images.append(seen.target.expand(len(seen.began), *seen.target.shape).flatten(0, 1))
        axis = torch.linspace(-1.0, 1.0, canvas.shape[-1], device=canvas.device)
        rows, columns = torch.meshgrid(axis, axis, indexing="ij")
        places = torch.stack([columns, rows]).expand(len(canvas), -1, -1, -1)
        return torch.cat([*images, places], dim=1).contiguous(memory_format=torch.channels_last)

    def _look(self, seen: Seen, looked_at: Tensor) -> Tensor:
        """Features (T B, W) of what is seen, without memory."""
        previous, began = seen.previous.flatten(0, 1), seen.began.flatten()
        counts = (self.table.used(previous) & ~began[:, None]).to(looked_at.dtype)
        embedded = [part(previous[:, i]) * counts[:, i : i + 1] for i, part in enumerate(self.action)]
        told = self.action_layers(torch.cat(embedded, 1)) + self.noise_layers(seen.noise.flatten(0, 1))
        maps = F.relu(self.first(looked_at) + told[:, :, None, None])
        summary: Tensor = self.summary(self.tower(maps).flatten(1))
        return summary

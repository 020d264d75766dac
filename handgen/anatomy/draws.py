"""Counter-based random draws: hand *i* of seed *s* is the same hand in every batch, process and order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

UNIFORMS_PER_HAND = 256
"""Size of the block of uniform numbers that one hand may use; parameters and malformations share it."""


class Draws:
    """A block of uniform numbers for each hand, handed out column by column.

    Each hand owns one Philox stream keyed by (seed, index), so its numbers depend on nothing else. Columns are
    consumed in the order of the calls; a call therefore always sees the same column, whatever the batch.

    Args:
        indices: which hands to draw, (B,) non-negative integers.
        seed: non-negative seed of the whole collection.
    """

    def __init__(self, indices: Sequence[int], seed: int) -> None:
        self.streams = [np.random.Generator(np.random.Philox(key=[seed, int(i)])) for i in indices]
        self.block = torch.from_numpy(np.stack([s.random(UNIFORMS_PER_HAND) for s in self.streams]))
        self.column = 0

    def uniform(self, low: float, high: float, columns: int = 1) -> Tensor:
        """Uniform numbers in [low, high), float64 (B, columns), or (B,) for one column."""
        if self.column + columns > UNIFORMS_PER_HAND:
            raise RuntimeError(f"a hand may use {UNIFORMS_PER_HAND} uniform numbers: raise UNIFORMS_PER_HAND.")
        values = self.block[:, self.column : self.column + columns]
        self.column += columns
        scaled = low + (high - low) * values
        return scaled[:, 0] if columns == 1 else scaled

    def normal(self, mean: float, deviation: float, columns: int = 1, limit: float = 2.0) -> Tensor:
        """Normal numbers cut at `limit` standard deviations, shaped like `uniform`."""
        values = torch.special.ndtri(self.uniform(1e-6, 1 - 1e-6, columns))
        numbers: Tensor = mean + deviation * values.clamp(-limit, limit)
        return numbers

    def chance(self, probability: float) -> Tensor:
        """True with the given probability, bool (B,)."""
        return self.uniform(0.0, 1.0) < probability

    def integer(self, low: int, high: int) -> Tensor:
        """Integers in [low, high], both ends included, int64 (B,)."""
        return self.uniform(float(low), high + 1.0).floor().long().clamp(low, high)

    def noise(self, *shape: int) -> Tensor:
        """Standard normal noise, float32 (B, *shape), from the streams that follow the uniform block."""
        return torch.from_numpy(np.stack([s.standard_normal(shape, dtype=np.float32) for s in self.streams]))

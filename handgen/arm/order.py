"""In which order an environment shows a feed's targets: every one once before any comes again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ShuffledOrder:
    """Numbers of targets, shuffled anew in every lap; its whole state is two numbers.

    Environments side by side have a share of the targets each, so that together they see all of a large data set as
    soon as possible: drawing with replacement would have shown 63% of it after as many episodes.

    Args:
        count: of the targets.
        share: this environment's, counted from 0.
        shares: number of shares; where there are fewer targets, everyone has all of them.
    """

    def __init__(self, count: int, share: int = 0, shares: int = 1) -> None:
        self.rows = np.arange(share, count, shares) if count >= shares else np.arange(count)
        self.seed, self.taken = 0, 0
        self._lap: tuple[int, int] | None = None
        self._order: NDArray[np.int64] = self.rows

    def begin(self, seed: int) -> None:
        """Start anew in an order of this seed."""
        self.seed, self.taken = seed, 0

    def next(self) -> int:
        """The next target."""
        lap, place = divmod(self.taken, len(self.rows))
        if self._lap != (self.seed, lap):
            self._lap = (self.seed, lap)
            self._order = np.random.default_rng(self._lap).permutation(self.rows)
        self.taken += 1
        return int(self._order[place])

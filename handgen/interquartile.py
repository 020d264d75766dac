"""Interquartile means over runs, which one lucky or broken seed does not move.

Agarwal et al. 2021, *Deep reinforcement learning at the edge of the statistical precipice*, arXiv:2108.13264, s. 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2000


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half of the runs; a quarter of them, rounded down, is left out at each end.

    Args:
        values: (n,), at least one.
    """
    ordered = np.sort(np.asarray(values, float))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of `interquartile_mean`, runs drawn with replacement.

    Args:
        values: (n,), at least two.
        seed: of the draws.
    """
    random, runs = np.random.default_rng(seed), np.asarray(values, float)
    drawn = runs[random.integers(len(runs), size=(RESAMPLES, len(runs)))]
    means = [interquartile_mean(row) for row in drawn]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)

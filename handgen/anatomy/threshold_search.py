"""How to share out the refusals of valid hands among several checks, so that most malformed hands are caught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handgen.errors import UserError

ROUNDS, FACTORS = 4, (0.001, 0.25, 0.5, 2.0, 4.0)


@dataclass(frozen=True)
class ValidHands:
    """Hands that shall pass.

    Attributes:
        values: (N, C) of C checks, larger is worse.
        acceptance: share of them that shall pass all checks, in (0, 1).
    """

    values: Tensor
    acceptance: float


def balance_thresholds(valid: Sequence[ValidHands], malformed: Sequence[Tensor]) -> Tensor:
    """Largest accepted value (C,) of each check, found by coordinate ascent.

    Every check has a weight. Within one set of valid hands the share above a check's threshold is its weight times a
    common factor, the largest at which enough of them pass all checks; over several sets the larger threshold holds.
    A weight is changed whenever that catches more malformed hands.

    Args:
        valid: sets of valid hands, such as rendered ones and photographs.
        malformed: (N, C) for each kind of malformed hands; the mean over kinds counts. None leaves all weights equal.

    Raises:
        UserError: with fewer than two valid hands in a set.
    """
    if any(len(hands.values) < 2 for hands in valid):
        raise UserError("thresholds need at least 2 valid hands to be set on: raise --data.val_count")
    weights = torch.ones(valid[0].values.shape[1], dtype=torch.float64)
    thresholds = _thresholds(valid, weights)
    best = _caught(malformed, thresholds)
    for _ in range(ROUNDS if len(malformed) else 0):
        for check in range(len(weights)):
            for factor in FACTORS:
                trial = weights.clone()
                trial[check] *= factor
                found = _thresholds(valid, trial)
                if (caught := _caught(malformed, found)) > best:
                    best, weights, thresholds = caught, trial, found
    return thresholds


def _caught(malformed: Sequence[Tensor], thresholds: Tensor) -> float:
    return sum(float((values > thresholds).any(dim=1).float().mean()) for values in malformed)


def _thresholds(valid: Sequence[ValidHands], weights: Tensor) -> Tensor:
    return torch.stack([_thresholds_of(hands, weights) for hands in valid]).amax(dim=0)


def _thresholds_of(hands: ValidHands, weights: Tensor) -> Tensor:
    """Thresholds at the largest common factor that keeps the acceptance; each half way between two hands' values."""
    values, columns = hands.values, torch.arange(hands.values.shape[1])
    turn = 1 + columns / len(columns)  # checks lose hands one after the other, so that no two hands fall at once
    place = values.argsort(dim=0, descending=True).argsort(dim=0)  # 0 for the worst value of a check
    refused_at = ((place + turn) / weights).amin(dim=1).sort().values  # the factor at which each hand falls
    factor = refused_at[min(len(values) - 1, round((1 - hands.acceptance) * len(values)))]
    refused = (factor * weights - turn - 1e-6).ceil().long().clamp(0, len(values) - 1)
    ordered = values.sort(dim=0, descending=True).values
    beyond = torch.cat([ordered[:1] + 0.1 * values.std(dim=0), ordered])  # a threshold above the worst valid hand
    return 0.5 * (beyond[refused, columns] + beyond[refused + 1, columns])

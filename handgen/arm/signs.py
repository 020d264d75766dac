"""Which digits are raised in hands that somebody has named: all of an open hand, some of a signed digit.

A silhouette does not tell a finger folded before the palm from one that is stretched beside its neighbour; that a hand
is open, or signs a seven, does.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handgen.arm.body import DIGITS

Angles = NDArray[np.float32]

RAISED, TOUCHING, FOLDED, UNKNOWN = (0.0, 0.0), (0.9, 1.1), (1.4, 1.4), (float("nan"), float("nan"))
"""Angles of both joints of a digit, in radians: stretched, bent until it meets the thumb, folded before the palm."""

SIGNS: dict[str, tuple[tuple[float, float], ...]] = {
    "0": (TOUCHING, TOUCHING, TOUCHING, TOUCHING, TOUCHING),
    "1": (FOLDED, RAISED, FOLDED, FOLDED, FOLDED),
    "2": (FOLDED, RAISED, RAISED, FOLDED, FOLDED),
    "3": (RAISED, RAISED, RAISED, FOLDED, FOLDED),
    "4": (FOLDED, RAISED, RAISED, RAISED, RAISED),
    "5": (RAISED, RAISED, RAISED, RAISED, RAISED),
    "6": (TOUCHING, RAISED, RAISED, RAISED, TOUCHING),
    "7": (TOUCHING, RAISED, RAISED, TOUCHING, RAISED),
    "8": (TOUCHING, RAISED, TOUCHING, RAISED, RAISED),
    "9": (TOUCHING, TOUCHING, RAISED, RAISED, RAISED),
}
"""Thumb to little finger of the digits of Sign-Language-Digits (Mavi 2020), as its pictures show them."""
OPEN = SIGNS["5"]
"""A hand shown open, the thumb too: beside the palm or off it, it is not folded before it."""


RAISED_BELOW = 1.0
"""Radians of both joints of a digit together: half of the way from stretched to `TOUCHING`."""


def digits_right(known: Angles, joints: NDArray[np.float64]) -> float:
    """Whether (1 or 0) all digits of which something is known are raised, or not, as they should be; else NaN.

    Args:
        known: (10,) in radians, NaN where unknown.
        joints: (12,) of the arm.
    """
    bent, wanted = joints[:10].reshape(-1, 2).sum(1), known.reshape(-1, 2).sum(1)
    told = ~np.isnan(wanted)
    if not told.any():
        return float("nan")
    return float(((bent < RAISED_BELOW) == (wanted < RAISED_BELOW))[told].all())


def digit_angles(digits: tuple[tuple[float, float], ...] | None) -> Angles:
    """Angles (10,) in radians, in the order of the arm's joints; NaN where nothing is known.

    Args:
        digits: both angles of each digit; None knows nothing.
    """
    return np.array(digits if digits is not None else (UNKNOWN,) * len(DIGITS), np.float32).reshape(-1)

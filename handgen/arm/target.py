"""A hand to imitate, found in a picture and brought to where the arm's is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handgen.arm.framing import frame
from handgen.arm.segmentation import Segmenter, segment
from handgen.arm.thumb_side import looks_left

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SMALLEST_HAND = 0.02
"""Share of the picture; what is smaller is no hand."""


@dataclass(frozen=True)
class Target:
    """A hand to imitate.

    Attributes:
        picture: uint8 (size, size, 3), RGB, framed as the arm sees itself, the thumb on the left.
        mask: bool (size, size).
        joints: (12,) in radians where the truth is known, else None.
    """

    picture: Image
    mask: Mask
    joints: NDArray[np.float64] | None = None


def found_hand(image: Image, segmenter: Segmenter) -> tuple[Image, Mask]:
    """The picture made small, uint8 (h, w, 3), and where its hand is, bool (h, w).

    Args:
        image: uint8 (H, W, 3), RGB.
        segmenter: finds the hand.

    Raises:
        ValueError: if there is none.
    """
    small, mask = segment(image, segmenter)
    if mask.mean() < SMALLEST_HAND:
        raise ValueError("no hand stands out from the background")
    return small, mask


def framed_target(image: Image, segmenter: Segmenter, size: int, thumb_left: bool | None) -> Target:
    """Find a hand, frame it, and put its thumb on the left.

    Args:
        image: uint8 (H, W, 3), RGB.
        segmenter: finds the hand.
        size: height and width of the target in pixels.
        thumb_left: whether the thumb is on the left; None finds out.

    Raises:
        ValueError: if there is no hand.
    """
    small, mask = found_hand(image, segmenter)
    picture, framed = frame(small, mask, size)
    if thumb_left if thumb_left is not None else looks_left(framed):
        return Target(picture, framed)
    small, mask = np.ascontiguousarray(small[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    return Target(*frame(small, mask, size))

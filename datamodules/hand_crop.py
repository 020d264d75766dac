"""The part of a photograph that shows the hand: a square crop, with the background continued where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handgen.anatomy.hand_mask import Image, Mask

TOUCH = 0.04  # a side of the picture counts as touched if the hand covers this share of it


@dataclass(frozen=True)
class Box:
    """The square crop, in pixels of the picture; it may reach beyond the picture."""

    left: int
    top: int
    side: int


def touched_sides(mask: Mask) -> dict[str, bool]:
    """Return which sides of the picture the hand runs into.

    Args:
        mask: bool (h, w).

    Returns:
        top, bottom, left, right.
    """
    lines = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
    return {name: bool(line.mean() >= TOUCH) for name, line in lines.items()}


def square_box(mask: Mask, shape: tuple[int, int], margin: float) -> Box:
    """Return a square around the hand.

    A side at which the hand runs out of the picture gets no margin and is not crossed, so nothing has to be
    painted beyond a cut wrist; elsewhere the square may reach beyond the picture.

    Args:
        mask: bool (h, w) of a picture made small; all False gives the largest centred square.
        shape: Height and width of the picture in pixels.
        margin: Free border as a share of the hand's larger side.

    Returns:
        The square.
    """
    height, width = shape
    scale = height / mask.shape[0], width / mask.shape[1]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        side = min(height, width)
        return Box((width - side) // 2, (height - side) // 2, side)
    touched = touched_sides(mask)
    top, bottom = rows[0] * scale[0], (rows[-1] + 1) * scale[0]
    left, right = columns[0] * scale[1], (columns[-1] + 1) * scale[1]
    free = margin * max(bottom - top, right - left)
    across = right - left + free * (2 - touched["left"] - touched["right"])
    along = bottom - top + free * (2 - touched["top"] - touched["bottom"])
    side = max(1, round(max(across, along)))
    x = _place(left, right, side, width, touched["left"], touched["right"])
    y = _place(top, bottom, side, height, touched["top"], touched["bottom"])
    return Box(x, y, side)


def _place(low: float, high: float, side: int, length: int, at_low: bool, at_high: bool) -> int:
    """Return where the square starts along one axis: at the touched side, else around the hand."""
    if at_high and not at_low:
        return length - side
    if at_low and not at_high:
        return 0
    return round((low + high - side) / 2)


def cut(image: Image, mask: Mask, box: Box) -> Image:
    """Cut the square out of the picture; beyond the picture the background at its border goes on.

    Where a hand touches the border, the border colour is interpolated from its neighbours, so that nothing
    of the hand is smeared outwards.

    Args:
        image: uint8 (H, W, 3).
        mask: bool (h, w), the hand on the picture made small.
        box: The square.

    Returns:
        uint8 (side, side, 3).
    """
    import cv2

    height, width = image.shape[:2]
    top, left = max(0, box.top), max(0, box.left)
    result = image[top : box.top + box.side, left : box.left + box.side]
    before = top - box.top, left - box.left
    after = max(0, box.top + box.side - height), max(0, box.left + box.side - width)
    if not any(before + after):
        return np.ascontiguousarray(result)
    # A blurred edge of the hand is still the hand: widen the mask before trusting what lies beside it.
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((7, 7), np.uint8))
    hand = cv2.resize(wide, (width, height), interpolation=cv2.INTER_NEAREST) > 0
    hand = hand[top : box.top + box.side, left : box.left + box.side]
    plain = np.median(result[~hand], axis=0) if not hand.all() else np.full(3, 255.0)
    for axis in (1, 0):
        lines = [np.moveaxis(result, axis, 0)[end] for end in (0, -1)]
        hidden = [np.moveaxis(hand, axis, 0)[end] for end in (0, -1)]
        first, last = (_plain_line(line, under, plain) for line, under in zip(lines, hidden, strict=True))
        strips = [np.expand_dims(first, axis).repeat(before[axis], axis), result,
                  np.expand_dims(last, axis).repeat(after[axis], axis)]  # fmt: skip
        result = np.concatenate(strips, axis)
        hand = np.pad(hand, [(before[0], after[0]), (0, 0)] if axis == 0 else [(0, 0), (before[1], after[1])])
    return result


def _plain_line(line: Image, hand: Mask, plain: NDArray[np.floating[Any]]) -> Image:
    """Return a border line (L, 3), the hand (L,) bridged and the noise smoothed: it would show as streaks."""
    import cv2

    places = np.arange(len(line))
    if hand.all():
        bridged = np.broadcast_to(plain, line.shape)
    else:
        bridged = np.stack([np.interp(places, places[~hand], line[~hand, c]) for c in range(3)], -1)
    width = max(1, len(line) // 16)
    smooth = cv2.blur(np.ascontiguousarray(bridged[None], np.float32), (width, 1), borderType=cv2.BORDER_REPLICATE)
    plain_line: Image = np.rint(smooth[0]).astype(np.uint8)
    return plain_line

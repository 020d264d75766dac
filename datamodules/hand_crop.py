"""Where the hand is in a photograph on a plain background: mask, square crop, where the fingers point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORKING_SIZE = 200  # larger side of the picture on which the mask is made, in pixels
# Least distance from the background, in units of CIE Lab. Chroma counts fully, darkness by half: cast
# shadows and the vignette of a camera are grey, skin is not.
LEAST_DISTANCE = 9.0
DARKNESS_WEIGHT = 0.5
TOUCH = 0.04  # a side of the picture counts as touched if the hand covers this share of it

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Box:
    """The square crop, in pixels of the picture; it may reach beyond the picture."""

    left: int
    top: int
    side: int


def hand_mask(image: Image) -> Mask:
    """Return where the hand (with sleeve and jewellery) is, on a picture made small.

    The background is a quadratic surface in Lab fitted to the picture's border, twice: the second time
    without the pixels that the first surface does not explain (the wrist). What lies far from it (Otsu's
    threshold) is foreground; of its connected parts the largest stays, with those near to it that are at
    least a fiftieth of its size.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        bool (h, w) with the larger side at most 200; all False where nothing stands out.
    """
    import cv2

    scale = min(1.0, WORKING_SIZE / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
    difference = lab - _background(lab)
    darkness = np.maximum(-difference[..., 0], 0) * DARKNESS_WEIGHT
    distance = np.sqrt(darkness**2 + difference[..., 1] ** 2 + difference[..., 2] ** 2)
    scaled = np.clip(distance * 4, 0, 255).astype(np.uint8)
    threshold, _ = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    mask = (distance > max(LEAST_DISTANCE, 0.7 * threshold / 4)).astype(np.uint8)
    return _main_parts(mask)


def _background(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fit a quadratic surface per channel to the border of the picture."""
    terms, border = _surface_terms(lab.shape[0], lab.shape[1])
    values, rows = lab[border], terms[border]
    # The start is flat, at the median: half of the border is background even where the forearm crosses it.
    fitted = np.broadcast_to(np.median(values, 0), values.shape)
    for _ in range(2):
        error = np.linalg.norm((values - fitted) * (DARKNESS_WEIGHT, 1, 1), axis=1)
        good = error <= max(6.0, float(np.quantile(error, 0.6)))
        solution = np.linalg.lstsq(rows[good], values[good], rcond=None)[0]
        fitted = rows @ solution
    surface: NDArray[np.float32] = (terms @ solution).astype(np.float32)
    return surface


@lru_cache(maxsize=16)
def _surface_terms(height: int, width: int) -> tuple[NDArray[np.float32], Mask]:
    """Return the terms of a quadratic surface, (H, W, 6), and which pixels are the border, (H, W)."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], -1).astype(np.float32)
    frame = max(2, round(0.04 * max(height, width)))
    border = np.ones((height, width), bool)
    border[frame:-frame, frame:-frame] = False
    return terms, border


def _main_parts(mask: NDArray[np.uint8]) -> Mask:
    """Keep the largest connected part and the larger ones near it (a ring or a bracelet parts a hand)."""
    import cv2

    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    joined = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    if count < 2:
        return np.zeros(mask.shape, bool)
    areas = stats[1:, cv2.CC_STAT_AREA]
    main = 1 + int(areas.argmax())
    reach = max(3, round(0.06 * max(mask.shape)))
    near = cv2.dilate((labels == main).astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    kept = [main] + [
        part for part in set(np.unique(labels[near > 0])) - {0, main} if areas[part - 1] * 50 >= areas.max()
    ]
    result: Mask = np.isin(labels, kept) & (mask > 0)
    return result


def zoom(image: Image) -> tuple[Image, Mask]:
    """Return the part of the picture around a hand that is small in it, and the finer mask that this allows.

    Args:
        image: uint8 (H, W, 3), RGB.

    Returns:
        A view of the picture with the hand and half its size of background around, where the picture has
        that; the picture itself if the hand fills more than half of it or none stands out. And its mask.
    """
    mask = hand_mask(image)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0 or 2 * max(np.ptp(rows), np.ptp(columns)) > max(mask.shape):
        return image, mask
    scale = image.shape[0] / mask.shape[0]
    free = max(np.ptp(rows), np.ptp(columns)) * 0.5
    top, left = (max(0, round((line[0] - free) * scale)) for line in (rows, columns))
    bottom, right = (round((line[-1] + 1 + free) * scale) for line in (rows, columns))
    part = image[top:bottom, left:right]
    return part, hand_mask(part)


def touched_sides(mask: Mask) -> dict[str, bool]:
    """Return which sides of the picture the hand runs into.

    Args:
        mask: bool (h, w).

    Returns:
        top, bottom, left, right.
    """
    lines = {"top": mask[0], "bottom": mask[-1], "left": mask[:, 0], "right": mask[:, -1]}
    return {name: bool(line.mean() >= TOUCH) for name, line in lines.items()}


def fingers_up_score(mask: Mask) -> float:
    """Return how surely the fingers point up (positive) or down (negative).

    The wrist runs into the picture's border, or it ends wide where the fingertips end narrow; the palm's
    end of the hand is also the heavier one.

    Args:
        mask: bool (h, w).

    Returns:
        A score in [-2, 2]; its sign is trustworthy from about 0.1 on.
    """
    rows = np.flatnonzero(mask.any(1))
    if len(rows) < 8:
        return 0.0
    widths = mask[rows[0] : rows[-1] + 1].sum(1) / max(1, mask.sum(1).max())
    end = max(1, round(0.06 * len(widths)))
    wide_end = float(widths[-end:].mean() - widths[:end].mean())
    place = np.linspace(-1, 1, len(widths))
    heavy_end = float((place * widths).sum() / widths.sum())
    contact = float(mask[-1].sum() - mask[0].sum()) / max(1, mask.sum(1).max())
    return float(np.clip(contact, -0.5, 0.5) + np.clip(wide_end, -0.75, 0.75) + np.clip(2 * heavy_end, -0.75, 0.75))


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

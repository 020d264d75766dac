"""Which pixels of a photograph on a plain background are hand, and where its fingers point."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

WORKING_SIZE = 200  # larger side of the picture on which the mask is made, in pixels
# Least distance from the background, in units of CIE Lab. Chroma counts fully, darkness by half: cast
# shadows and the vignette of a camera are grey, skin is not.
LEAST_DISTANCE = 9.0
DARKNESS_WEIGHT = 0.5

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


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

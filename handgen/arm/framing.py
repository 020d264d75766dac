"""Puts a hand where the arm's is: at its size, above its elbow."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from handgen.arm.body import CAMERA_DISTANCE, CAMERA_HEIGHT, FITTED
from handgen.arm.geometry import FOCAL_LENGTH

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

PALM_RADIUS = 0.314
"""Of the largest circle inside the arm's palm, in halves of the picture: the median over poses of the arm."""
PALM_X, PALM_HEIGHT = -0.05, 1.4
"""Of its centre, in metres, of an upright arm: the thumb's ball draws it to the left of the forearm's axis. Medians."""
METRES = FOCAL_LENGTH / CAMERA_DISTANCE
"""Of a metre at the arm's distance, in halves of the picture."""
LARGEST_TILT = 0.9
"""Radians."""
FINER = 4
"""Masks are resized over so many finer pixels, and set where at least half of a pixel is covered."""


def palm_circle(mask: Mask) -> tuple[float, float, float]:
    """The largest circle inside a hand: (x, y) of its centre and its radius, in pixels.

    A wrist that is cut off by the lower edge is continued below it, so that the circle does not slip into the cut.

    Args:
        mask: bool (H, W), not empty.
    """
    height = len(mask)
    padded = np.zeros((height + 2 + height // 2, mask.shape[1] + 2), np.uint8)
    padded[1 : height + 1, 1:-1] = mask
    padded[height + 1 :, 1:-1] = mask[-1]
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)
    distance[height + 1 :] = 0.0
    radius = float(distance.max())
    # The mean of the highest pixels: a step of a whole pixel in the centre would turn the arm.
    y, x = np.nonzero(distance > radius - 0.5)
    return float(x.mean()) - 1.0, float(y.mean()) - 1.0, radius


def forearm_tilt(mask: Mask, x: float, y: float, radius: float) -> float:
    """How far the arm leans to the right, in radians: from the middle of its lower end to its axis at the palm.

    Args:
        mask: bool (H, W).
        x: of the palm's centre.
        y: of the palm's centre.
        radius: of the palm.
    """
    rows = np.flatnonzero(mask.any(1))
    end = max(1, round(0.06 * np.ptp(rows)))
    below = rows[-1] - y
    if below < 0.8 * radius:
        return 0.0  # cut through the palm
    lower_x = float(np.nonzero(mask[rows[-1] - end + 1 : rows[-1] + 1])[1].mean())
    # The axis is beside the circle's centre, by as much as in an upright arm.
    below -= (end - 1) / 2
    beside = math.atan2(PALM_X * METRES / PALM_RADIUS * radius, below)
    return float(np.clip(math.atan2(x - lower_x, below) - beside, -LARGEST_TILT, LARGEST_TILT))


def frame(image: Image, mask: Mask, size: int) -> tuple[Image, Mask]:
    """Bring a hand to the arm's size and place: its palm where the arm's would be, leaning as much.

    Pictures of hands come at any size and place; the arm can neither come closer nor walk. Below the picture, the arm
    is continued by its last row.

    Args:
        image: uint8 (H, W, 3).
        mask: bool (H, W).
        size: height and width of the result in pixels.

    Returns:
        Picture uint8 (size, size, 3) and mask bool (size, size).

    Raises:
        ValueError: if the mask is empty.
    """
    if not mask.any():
        raise ValueError("no hand in the picture")
    x, y, radius = palm_circle(mask)
    tilt, half = forearm_tilt(mask, x, y, radius), size / 2
    metre = METRES * half
    elbow = half + (CAMERA_HEIGHT - FITTED.elbow[1]) * metre
    beside, above = PALM_X * metre, (PALM_HEIGHT - FITTED.elbow[1]) * metre
    scale = PALM_RADIUS * half / max(radius, 1.0)
    to_x = half + above * math.sin(tilt) + beside * math.cos(tilt)
    to_y = elbow - above * math.cos(tilt) + beside * math.sin(tilt)
    matrix = np.array([[scale, 0.0, to_x - scale * (x + 0.5)], [0.0, scale, to_y - scale * (y + 0.5)]])
    fine = _warp(mask.astype(np.uint8) * 255, matrix, size)
    fine_picture = _warp(image, matrix, size, cv2.BORDER_REPLICATE)
    picture: Image = np.asarray(cv2.resize(fine_picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    framed: Mask = cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA) > 127
    return picture, framed


def _warp(pixels: Image, matrix: NDArray[np.float64], size: int, border: int = cv2.BORDER_CONSTANT) -> Image:
    """Pixels under an affine map of edges (not centres), several times finer than ``size``."""
    longer = np.concatenate([pixels, np.repeat(pixels[-1:], len(pixels), axis=0)])
    centres = matrix * FINER
    centres[:, 2] += centres[:, :2] @ (0.5, 0.5) - 0.5
    warped = cv2.warpAffine(longer, centres, (size * FINER, size * FINER), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(warped, np.uint8)

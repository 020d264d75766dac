"""Masks of the arm without a renderer: each capsule is a polygon."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.arm.body import DIGITS
from handgen.arm.geometry import pose, project

Mask = NDArray[np.bool_]
Points = NDArray[np.float64]
CORNERS = 24
"""Of the polygon that stands for a capsule."""
FINER = 4
"""Pixels are drawn so many times finer, and set where at least half of them is covered. OpenCV paints the pixels that a
border touches, so that all radii are smaller by half a fine pixel."""
_ARC = np.linspace(-1.0, 1.0, CORNERS // 2)


def outlines(start: Points, end: Points, radii: Points) -> Points:
    """Convex outlines of capsules whose ends have different radii.

    Args:
        start: (N, 2).
        end: (N, 2).
        radii: (N, 2), of start and end.

    Returns:
        (N, C, 2), in order around the capsule: an arc around the end, then one around the start.
    """
    axis = end - start
    distance = np.maximum(np.sqrt((axis * axis).sum(1)), 1e-9)
    # The outer tangents touch the circles at this angle from the axis; of a circle inside the other, nothing is seen.
    touch = np.arccos(np.clip((radii[:, 0] - radii[:, 1]) / distance, -1.0, 1.0))
    direction = np.arctan2(axis[:, 1], axis[:, 0])[:, None]
    angles = np.concatenate([direction + _ARC * touch[:, None], direction + np.pi + _ARC * (np.pi - touch)[:, None]], 1)
    corners = np.stack([np.cos(angles), np.sin(angles)], -1)
    half = len(_ARC)
    corners[:, :half] = end[:, None] + radii[:, 1, None, None] * corners[:, :half]
    corners[:, half:] = start[:, None] + radii[:, 0, None, None] * corners[:, half:]
    return corners


def draw_mask(start: Points, end: Points, radii: Points, size: int) -> Mask:
    """Draw capsules.

    Args:
        start: (N, 2), (x, y) in [-1, 1] of the picture.
        end: (N, 2).
        radii: (N, 2), of start and end.
        size: height and width in pixels.

    Returns:
        bool (size, size).
    """
    fine = size * FINER
    canvas = np.zeros((fine, fine), np.uint8)
    # OpenCV counts from the centre of the first pixel, in sixteenths here.
    corners = np.rint(outlines(start, end, radii - 1.0 / fine) * (8 * fine) + (8 * fine - 8)).astype(np.int32)
    for polygon in corners:
        cv2.fillConvexPoly(canvas, polygon, 255, lineType=cv2.LINE_8, shift=4)
    mask: Mask = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA) > 127
    return mask


def visible_digits(measured: dict[str, Tensor], joints: Tensor, size: int, pixels: int) -> NDArray[np.bool_]:
    """Which digits leave a trace in the silhouette of a pose: without them, more than a few pixels would be gone.

    Args:
        measured: `handgen.arm.geometry.as_tensors` of a body.
        joints: (12,) in radians.
        size: height and width of the silhouette.
        pixels: that a digit must add.

    Returns:
        (5,), in the order of `DIGITS`.
    """
    seen = project(pose(measured, joints[None]))
    start, end = (part[0].double().numpy() for part in (seen.start, seen.end))
    radii = torch.stack([seen.start_radius, seen.end_radius], dim=-1)[0].double().numpy()
    parts = np.arange(len(start))
    whole = draw_mask(start, end, radii, size)
    found = []
    for digit in range(len(DIGITS)):
        # Both parts of each digit are the last capsules, all first parts before all second ones.
        others = (parts != len(parts) - 2 * len(DIGITS) + digit) & (parts != len(parts) - len(DIGITS) + digit)
        without = draw_mask(start[others], end[others], radii[others], size)
        found.append(np.count_nonzero(whole & ~without) > pixels)
    return np.array(found)


def draw_masks(measured: dict[str, Tensor], joints: Tensor, size: int) -> Tensor:
    """Masks of arms (B, 12), uint8 (B, size, size), 0 or 255."""
    seen = project(pose(measured, joints))
    radii = torch.stack([seen.start_radius, seen.end_radius], dim=-1)
    parts = (part.double().numpy() for part in (seen.start, seen.end, radii))
    masks = [draw_mask(start, end, width, size) for start, end, width in zip(*parts, strict=True)]
    return torch.from_numpy(np.stack(masks)).to(torch.uint8) * 255

"""Masks of the arm without a renderer: each capsule is a polygon, as TinyRenderer would draw its mesh."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.arm.geometry import Capsules, pose, project

Mask = NDArray[np.bool_]
CORNERS = 24
"""Of the polygon that stands for a capsule."""
FINER = 4
"""Pixels are drawn so many times finer, and set where at least half of them is covered. OpenCV paints the pixels that a
border touches, so that all radii are smaller by half a fine pixel."""
_CIRCLE = np.stack(
    [np.cos(np.arange(CORNERS) * 2 * np.pi / CORNERS), np.sin(np.arange(CORNERS) * 2 * np.pi / CORNERS)], -1
)


def outlines(start: NDArray[np.float64], end: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convex outlines of capsules whose ends have different radii.

    Args:
        start: (N, 2).
        end: (N, 2).
        radii: (N, 2), of start and end.

    Returns:
        (N, C, 2), in order around the capsule.
    """
    axis = end - start
    distance = np.linalg.norm(axis, axis=1)
    turned = np.arctan2(axis[:, 1], axis[:, 0])
    # The outer tangents touch the circles at this angle from the axis; a circle inside the other has none.
    touch = np.arccos(np.clip((radii[:, 0] - radii[:, 1]) / np.maximum(distance, 1e-9), -1.0, 1.0))
    share = np.linspace(-1.0, 1.0, CORNERS // 2)
    at_end = turned[:, None] + share * touch[:, None]
    at_start = turned[:, None] + np.pi + share * (np.pi - touch)[:, None]
    around_end = end[:, None] + radii[:, 1, None, None] * np.stack([np.cos(at_end), np.sin(at_end)], -1)
    around_start = start[:, None] + radii[:, 0, None, None] * np.stack([np.cos(at_start), np.sin(at_start)], -1)
    return np.concatenate([around_end, around_start], axis=1)


def draw_mask(capsules: Capsules, size: int) -> Mask:
    """Draw projected capsules.

    Args:
        capsules: of one arm, (1, N), in the picture.
        size: height and width in pixels.

    Returns:
        bool (size, size).
    """
    fine = size * FINER
    canvas = np.zeros((fine, fine), np.uint8)
    start, end = capsules.start[0].double().numpy(), capsules.end[0].double().numpy()
    radii = torch.stack([capsules.start_radius[0], capsules.end_radius[0]], dim=-1).double().numpy() - 1.0 / fine
    inside = np.linalg.norm(end - start, axis=1) <= np.abs(radii[:, 0] - radii[:, 1])
    centre = np.where((radii[:, :1] >= radii[:, 1:]), start, end)
    corners = np.where(
        inside[:, None, None], centre[:, None] + radii.max(1)[:, None, None] * _CIRCLE, outlines(start, end, radii)
    )
    # OpenCV counts from the centre of the first pixel, in sixteenths here.
    fixed = np.rint(((corners + 1.0) / 2.0 * fine - 0.5) * 16).astype(np.int32)
    for polygon in fixed:
        cv2.fillConvexPoly(canvas, polygon, 255, lineType=cv2.LINE_8, shift=4)
    mask: Mask = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA) > 127
    return mask


def draw_masks(measured: dict[str, Tensor], joints: Tensor, size: int) -> Tensor:
    """Masks of arms (B, 12), uint8 (B, size, size), 0 or 255."""
    seen = project(pose(measured, joints))
    parts = (seen.start, seen.end, seen.start_radius, seen.end_radius)
    masks = [draw_mask(Capsules(*(part[i : i + 1] for part in parts)), size) for i in range(len(joints))]
    return torch.from_numpy(np.stack(masks)).to(torch.uint8) * 255

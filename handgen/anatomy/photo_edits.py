"""Plant malformations in photographs: remove, duplicate or fuse fingers, with nothing but the hand's mask.

Only hands that are open enough to show separate fingers can lose or gain one; fingers are fused where they are close
to each other. Control edits (a finger cut out and put back, a blurred palm) leave the same traces without changing
anatomy, so that traces alone tell nothing.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handgen.anatomy.finger_fusion import fuse_fingers, smooth_palm

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
EDITS = ("removed", "duplicated", "restored", "fused", "smoothed")


@dataclass
class Finger:
    """One finger of a mask: its pixels (H, W), tip and base (x, y) in pixels."""

    pixels: Mask
    tip: NDArray[np.float64]
    base: NDArray[np.float64]


def find_fingers(mask: Mask) -> list[Finger]:
    """The separate fingers (and thumb) of an upright hand, left to right; fewer where fingers touch.

    Args:
        mask: (H, W), True on the hand, fingers up.
    """
    import cv2

    solid = mask.astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(solid, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    radius = float(depth.max())
    centre = np.array(np.unravel_index(int(depth.argmax()), depth.shape))[::-1].astype(float)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(0.55 * radius) + 1,) * 2)
    palm = cv2.dilate(cv2.morphologyEx(solid, cv2.MORPH_OPEN, kernel), np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(((solid > 0) & (palm == 0)).astype(np.uint8))
    fingers = []
    for label in range(1, count):
        pixels = labels == label
        ys, xs = np.nonzero(pixels)
        distance = np.hypot(xs - centre[0], ys - centre[1])
        tip, base = distance.argmax(), distance.argmin()
        long_enough = distance[tip] - distance[base] > 0.45 * radius
        upward = ys[tip] < centre[1] + 0.5 * radius
        slim = stats[label, cv2.CC_STAT_AREA] < 1.3 * radius * (distance[tip] - distance[base])
        if long_enough and upward and slim and stats[label, cv2.CC_STAT_AREA] > 0.2 * radius**2:
            points = np.stack([xs, ys], axis=1).astype(float)
            near = points[distance < distance[base] + 0.2 * radius].mean(axis=0)
            fingers.append(Finger(pixels, points[tip], near))
    return sorted(fingers, key=lambda finger: float(finger.tip[0]))


def _grow(mask: Mask, by: int) -> Mask:
    import cv2

    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * by + 1, 2 * by + 1), np.uint8)) > 0


def _erase(image: Image, mask: Mask, finger: Finger) -> Image:
    """Paint the background over a finger, feathered."""
    import cv2

    region = _grow(finger.pixels, 2) & ~(mask & ~_grow(finger.pixels, 1))
    blocked = _grow(mask, 2)
    paper = image.copy()
    paper[blocked] = np.median(image[~blocked], axis=0) if (~blocked).any() else 255
    paper = np.asarray(cv2.GaussianBlur(paper, (0, 0), image.shape[0] / 24), dtype=np.uint8)
    weight = cv2.GaussianBlur(region.astype(np.float32), (0, 0), 0.8)[..., None]
    weight = np.where(finger.pixels[..., None], np.maximum(weight, region[..., None]), weight)
    return np.asarray(image * (1 - weight) + paper * weight, dtype=np.uint8)


def _paste(image: Image, source: Image, pixels: Mask, matrix: NDArray[np.float64]) -> Image:
    """Paste the pixels of `source` where an affine map takes them, feathered."""
    import cv2

    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weight = cv2.warpAffine(_grow(pixels, 1).astype(np.float32), matrix, size)
    weight = cv2.GaussianBlur(weight, (0, 0), 0.7)[..., None]
    return np.asarray(image * (1 - weight) + moved * weight, dtype=np.uint8)


def _turn(pivot: NDArray[np.float64], angle: float, scale: float, shift: NDArray[np.float64]) -> NDArray[np.float64]:
    import cv2

    about = (float(pivot[0]), float(pivot[1]))
    matrix = np.asarray(cv2.getRotationMatrix2D(about, angle, scale), dtype=np.float64)
    matrix[:, 2] += shift
    return matrix


def edit_photograph(image: Image, mask: Mask, edit: str, random: np.random.Generator) -> Image | None:
    """Remove, duplicate, or take out and restore one finger; fuse fingers or smooth the palm.

    Args:
        image: uint8 (H, W, 3), fingers up.
        mask: (H, W), True on the hand.
        edit: one of `EDITS`: removed (a finger is gone), duplicated (one more finger), restored (nothing changes but
            the traces of the edit), fused (no line between fingers), smoothed (as blurred as fused, on the palm only).
        random: source of the choices.

    Returns:
        The edited image, or None where the hand shows fewer than four separate digits (removed, duplicated, restored)
        or its fingers stand too far apart to melt (fused).

    Raises:
        ValueError: for an unknown edit.
    """
    if edit not in EDITS:
        raise ValueError(f"unknown edit {edit!r}: choose from {', '.join(EDITS)}.")
    if edit == "fused":
        return fuse_fingers(image, mask, random)
    if edit == "smoothed":
        return smooth_palm(image, mask, random)
    fingers = find_fingers(mask)
    if not 4 <= len(fingers) <= 5:
        return None
    finger = fingers[int(random.integers(len(fingers)))]
    if edit == "removed":
        return _erase(image, mask, finger)
    if edit == "restored":
        small = _turn(finger.base, float(random.uniform(-3, 3)), 1.0, np.zeros(2))
        return _paste(_erase(image, mask, finger), image, finger.pixels, small)
    return _duplicate(image, mask, fingers, random)


def _duplicate(image: Image, mask: Mask, fingers: list[Finger], random: np.random.Generator) -> Image | None:
    """Put a copy of a middle finger into one of the two widest gaps; None where it would hide behind the others."""
    source = fingers[int(random.integers(1, len(fingers) - 1))]
    gaps = sorted(
        itertools.pairwise(fingers),
        key=lambda pair: -float(np.hypot(*(pair[0].tip - pair[1].tip))),
    )
    left, right = gaps[int(random.integers(2))]
    base, goal = 0.5 * (left.base + right.base), 0.5 * (left.tip + right.tip)
    own, new = source.tip - source.base, goal - base
    angle = float(np.degrees(np.arctan2(own[1], own[0]) - np.arctan2(new[1], new[0])))
    inward = base - 0.12 * new
    matrix = _turn(source.base, angle, 0.9, inward - source.base)
    edited = _paste(image, image, source.pixels, matrix)
    new_pixels = (np.abs(edited.astype(int) - image).max(axis=2) > 40) & ~_grow(mask, 1)
    return edited if new_pixels.sum() > 0.35 * source.pixels.sum() else None

"""Melt the fingers of a photographed hand into a mitten, or blur its palm as much and leave the fingers alone.

Blurred generators often draw closed hands without a line between the fingers. Nothing but the hand's mask is needed
to make such hands from photographs: a blur across the fingers, normalised by the mask, erases the lines and keeps the
silhouette. The palm's blur is the control: smoothness alone must tell nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Field = NDArray[np.float32]

OPEN_GAPS = 0.15
"""Gaps between fingers, as a share of the fingers' area, above which a hand counts as open."""
PART_OF_THE_FINGERS = 0.35
"""Share of the fused hands of which only about two neighbouring fingers melt."""


@dataclass
class HandFrame:
    """Where the fingers of an upright hand are.

    Attributes:
        radius: of the largest disc in the mask, the palm's, in pixels.
        up: (2,) unit vector (x, y) from the palm to the fingers.
        height, side: (H, W) coordinates along `up` and across it, in radii from the palm's centre.
    """

    radius: float
    up: NDArray[np.float64]
    height: Field
    side: Field


def hand_frame(mask: Mask) -> HandFrame | None:
    """Frame of the hand in a mask (H, W), fingers up; None where nothing rises above the palm."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    radius = float(depth.max())
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    ys, xs = np.mgrid[: mask.shape[0], : mask.shape[1]]
    x, y = (xs - column) / max(radius, 1.0), (ys - row) / max(radius, 1.0)
    fingers = mask & (y < -0.8) & (np.hypot(x, y) > 1.2) & (np.abs(x) < 1.5 - 0.5 * y)  # wide enough for tilted hands
    if not fingers.any():
        return None
    up = np.array([x[fingers].mean(), y[fingers].mean()])
    up /= np.linalg.norm(up)
    height, side = x * up[0] + y * up[1], y * up[0] - x * up[1]
    return HandFrame(radius, up, height.astype(np.float32), side.astype(np.float32))


def _ramp(values: Field, start: float, width: float) -> Field:
    """From 0 at `start` to 1 at `start + width`."""
    return np.asarray(np.clip((values - start) / width, 0, 1), dtype=np.float32)


def _feather(mask: Mask, sigma: float) -> Field:
    """1 inside the mask, 0 outside, blurred by `sigma` pixels."""
    import cv2

    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma), dtype=np.float32)


def _finger_block(mask: Mask, frame: HandFrame) -> Mask:
    """What rises far above the palm: the fingers, without the thumb."""
    import cv2

    count, labels = cv2.connectedComponents((mask & (frame.height > 0.9)).astype(np.uint8))
    tall = [label for label in range(1, count) if frame.height[labels == label].max() > 1.7]
    return np.isin(labels, tall)


def _close(mask: Mask, diameter: float) -> Mask:
    """Morphological closing: fills notches and gaps narrower than `diameter` pixels."""
    import cv2

    size = 2 * int(diameter / 2) + 1
    padded = np.pad(mask.astype(np.uint8), size)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    return cv2.morphologyEx(padded, cv2.MORPH_CLOSE, disc)[size:-size, size:-size] > 0


def _blend_blurred(image: Image, mask: Mask, frame: HandFrame, weight: Field, random: np.random.Generator) -> Image:
    """Blur the hand across its fingers, mostly, without mixing in the background; blend it in by weight (H, W)."""
    import cv2

    across, along = random.uniform(0.22, 0.4) * frame.radius, random.uniform(0.05, 0.2) * frame.radius
    reach = int(3 * max(across, along))
    ys, xs = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    u, v = xs * frame.up[0] + ys * frame.up[1], ys * frame.up[0] - xs * frame.up[1]
    kernel = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2)).astype(np.float32)
    # The rim of the mask is half background. The small constant covers pixels that no skin reaches.
    skin = cv2.erode(mask.astype(np.float32), np.ones((3, 3), np.uint8)) + 1e-4
    parts = np.dstack([image * skin[..., None], skin])
    parts = cv2.filter2D(parts, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    blurred, weight = parts[..., :3] / np.maximum(parts[..., 3:], 1e-6), weight[..., None]
    return np.asarray(image * (1 - weight) + blurred * weight, dtype=np.uint8)


def fuse_fingers(image: Image, mask: Mask, random: np.random.Generator) -> Image | None:
    """Melt all four fingers, or about two neighbouring ones, into one.

    Args:
        image: uint8 (H, W, 3), fingers up.
        mask: (H, W), True on the hand.
        random: source of the choices.

    Returns:
        The edited image, or None where there are no fingers or they stand too far apart.
    """
    frame = hand_frame(mask)
    block = _finger_block(mask, frame) if frame else mask & False
    if frame is None or not block.any():
        return None
    gaps = (_close(block, 0.6 * frame.radius) & ~block).sum() / block.sum()
    if gaps < OPEN_GAPS:
        region = _close(block, max(0.0, random.uniform(-0.2, 0.35)) * frame.radius)
    else:
        region = _close(block, random.uniform(0.5, 0.7) * frame.radius)
        if (_close(block, 1.5 * frame.radius) & ~region).sum() > OPEN_GAPS * region.sum():
            return None
    weight = _feather(region, 0.7) * np.float32(random.uniform(0.94, 1.0))
    weight = weight * _ramp(frame.height, random.uniform(0.45, 0.85), random.uniform(0.25, 0.5))
    if random.random() < PART_OF_THE_FINGERS:
        weight = weight * _neighbours(frame, block, random)
    return _blend_blurred(image, mask, frame, weight, random)


def _neighbours(frame: HandFrame, block: Mask, random: np.random.Generator) -> Field:
    """Weight (H, W) of a strip half as wide as the fingers: it holds at least one line between two of them."""
    left, right = np.quantile(frame.side[block], [0.02, 0.98])
    half = 0.5 * (right - left) * random.uniform(0.5, 0.65)
    centre = random.choice([left + half, right - half, random.uniform(left + half, right - half)])
    return 1 - _ramp(np.abs(frame.side - np.float32(centre)), half, 0.1)


def smooth_palm(image: Image, mask: Mask, random: np.random.Generator) -> Image | None:
    """Blur palm and wrist as `fuse_fingers` blurs fingers; fingers, thumb and silhouette stay.

    Args:
        image: uint8 (H, W, 3), fingers up.
        mask: (H, W), True on the hand.
        random: source of the choices.

    Returns:
        The edited image, or None where there is no hand.
    """
    import cv2

    frame = hand_frame(mask)
    if frame is None:
        return None
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(0.12 * frame.radius) + 1,) * 2)
    weight = _feather(cv2.erode(mask.astype(np.uint8), disc) > 0, max(0.06 * frame.radius, 0.5))
    weight = weight * (1 - _ramp(frame.height, 0.45, 0.25)) * (1 - _ramp(np.abs(frame.side), 0.5, 0.3))
    return _blend_blurred(image, mask, frame, weight * np.float32(random.uniform(0.94, 1.0)), random)

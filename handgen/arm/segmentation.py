"""Which pixels of a picture are hand: by the published colour range, or by what differs from the background."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handgen.anatomy.hand_mask import WORKING_SIZE, fingers_up_score, zoom

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Segmenter = Literal["robust", "lab"]
SEGMENTERS: tuple[Segmenter, ...] = ("robust", "lab")

LAB_LOW, LAB_HIGH = (40, 120, 120), (255, 170, 170)
"""The published range of skin, in OpenCV's 8-bit Lab. White paper (255, 128, 128) lies in it."""
SURELY_DOWN = -0.1
"""Of `fingers_up_score`: below, the picture is turned by 180 degrees."""


def segment(image: Image, segmenter: Segmenter, upright: bool = True) -> tuple[Image, Mask]:
    """Find the hand in a picture.

    ``robust`` fits the background's colour to the border of the picture and takes what differs from it in hue: white
    paper, plain cloth and shadows drop out (`handgen.anatomy.hand_mask`). ``lab`` is the published range of colours.

    Args:
        image: uint8 (H, W, 3), RGB.
        segmenter: which.
        upright: turn a picture whose fingers clearly point down.

    Returns:
        The part of the picture around the hand, made small, and its mask, bool (h, w); all False where there is none.
    """
    if segmenter == "robust":
        part, mask = zoom(image)
        small = cv2.resize(part, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_AREA)
    else:
        scale = min(1.0, WORKING_SIZE / max(image.shape[:2]))
        height, width = (max(1, round(scale * side)) for side in image.shape[:2])
        small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        mask = cv2.inRange(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), LAB_LOW, LAB_HIGH) > 0
    if upright and segmenter == "robust" and fingers_up_score(mask) < SURELY_DOWN:
        small, mask = small[::-1, ::-1], mask[::-1, ::-1]
    return np.ascontiguousarray(small, np.uint8), np.ascontiguousarray(mask)


def robot_mask_by_grey(image: Image, threshold: int = 127) -> Mask:
    """The published mask of the robot: what is darker than a grey level, the floor's dark tiles too.

    Args:
        image: uint8 (H, W, 3), RGB.
        threshold: published as 127, later 180.
    """
    mask: Mask = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) < threshold
    return mask

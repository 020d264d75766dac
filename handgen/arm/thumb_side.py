"""On which side a hand has its thumb, as far as its silhouette tells."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handgen.arm.body import FITTED
from handgen.arm.drawing import draw_masks
from handgen.arm.geometry import as_tensors, random_joints

Mask = NDArray[np.bool_]

POSES, NEAREST = 4096, 128
"""Drawn poses that a hand of unknown side is compared with, and how many of the most alike decide: the single best one
is often a chance likeness (docs/arm.md has the figures)."""
THUMB_SHARE = 0.25
"""Their thumbs are bent by that share of what they could be: a thumb across the palm comes out on the other side."""


@lru_cache(maxsize=1)
def _known_poses() -> NDArray[np.float32]:
    """Masks (P, 784) of random poses, -1 outside and 1 inside."""
    joints = random_joints(POSES, torch.Generator().manual_seed(0))
    joints[:, :2] *= THUMB_SHARE
    masks = draw_masks(as_tensors(FITTED), joints, 28)
    return masks.view(POSES, -1).numpy().astype(np.float32) / 127.5 - 1.0


def looks_left(mask: Mask) -> bool:
    """Whether a framed silhouette is more like poses of the arm, with its thumb on the left, than its mirror image is.

    Args:
        mask: bool (H, W).
    """
    small = cv2.resize(mask.astype(np.float32), (28, 28), interpolation=cv2.INTER_AREA) * 2.0 - 1.0
    both = np.stack([small.ravel(), small[:, ::-1].ravel()])
    likeness = np.partition(both @ _known_poses().T, -NEAREST, axis=1)[:, -NEAREST:].mean(1)
    return bool(likeness[0] >= likeness[1])

"""What people are shown of an imitation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from handgen.arm.target import Target

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

VIDEO_SIZE = 224


def side_by_side(target: Target, picture: Image, mask: Mask, size: int) -> Image:
    """Target, arm, and masks over each other: white both, yellow the target's alone, blue the arm's alone.

    Args:
        target: what is imitated.
        picture: of the arm, uint8 (h, h, 3).
        mask: of the arm, bool (H, H), as large as the target's.
        size: height of the result.

    Returns:
        uint8 (size, 3 size, 3).
    """
    import cv2

    overlay = np.stack([target.mask, target.mask, mask], axis=-1).astype(np.uint8) * np.uint8(255)
    shown = [cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA) for part in (target.picture, picture)]
    shown.append(cv2.resize(overlay, (size, size), interpolation=cv2.INTER_NEAREST))
    return np.concatenate([np.asarray(part, np.uint8) for part in shown], axis=1)

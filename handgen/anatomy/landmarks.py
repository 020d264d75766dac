"""Landmarks that can be counted: the tips, joints and knuckles of every digit that is really drawn.

`Rendering.keypoints` names 21 points that a correct hand has; these here are anonymous, so that a sixth finger, a
branch or a floating piece counts too, and fused fingers count once.
"""

from __future__ import annotations

import torch
from torch import Tensor

from handgen.anatomy.kinematics import JOINTS, SLOTS, Skeleton
from handgen.anatomy.malformations import EXTRA, KINDS

LANDMARKS = ("finger tip", "thumb tip", "finger joint", "knuckle")
"""Classes of landmarks: tips of fingers and of thumbs, inner joints of fingers, roots of fingers."""
CORRECT_COUNTS = (4, 1, 8, 4)
"""How many of each a correct hand has."""
FINGER_TIP, THUMB_TIP, FINGER_JOINT, KNUCKLE = range(len(LANDMARKS))
ABSENT = -1


def landmark_classes(skeleton: Skeleton, kind: Tensor) -> Tensor:
    """Class of every joint (B, SLOTS, JOINTS): index into `LANDMARKS`, or `ABSENT`.

    A stump or a stub (a digit of one segment) has a knuckle and no tip, but the stump below a floating piece ends in a
    tip. The two bones inside a fused finger do not count, their common axis does.
    """
    segments = skeleton.segments[:, :, None]
    number = torch.arange(JOINTS)[None, None]
    detached = (kind == KINDS.index("detached"))[:, None, None]
    thumb = torch.zeros(len(kind), SLOTS, 1, dtype=torch.bool)
    thumb[:, 0] = True
    thumb[:, EXTRA, 0] = kind == KINDS.index("two_thumbs")
    tip = (number == segments) & ((segments > 1) | (detached & (segments > 0)))
    inner = (number > 0) & (number < segments) & ~thumb
    root = (number == 0) & (segments > 0) & ~thumb
    for name in ("detached", "forked"):  # the slot of the piece or of the branch starts in the middle of a finger
        root[:, EXTRA, 0] &= kind != KINDS.index(name)
    classes = torch.full(tip.shape, ABSENT)
    classes[root], classes[inner] = KNUCKLE, FINGER_JOINT
    classes[tip] = torch.where(thumb, THUMB_TIP, FINGER_TIP).expand_as(tip)[tip]
    return _merge_fused(classes, skeleton, kind == KINDS.index("fused"))


def _merge_fused(classes: Tensor, skeleton: Skeleton, fused: Tensor) -> Tensor:
    """Take out the two fingers that lie inside the fused one."""
    gap = (skeleton.joints[:, 1:5] - skeleton.joints[:, EXTRA : EXTRA + 1]).norm(dim=-1).sum(dim=-1)
    inside = torch.zeros(len(fused), SLOTS, dtype=torch.bool)
    inside.scatter_(1, 1 + gap.topk(2, dim=1, largest=False).indices, True)
    return torch.where((inside & fused[:, None])[..., None], ABSENT, classes)


def density_targets(points: Tensor, classes: Tensor, resolution: int, sigma: float) -> Tensor:
    """Maps whose sum over the picture is the number of landmarks of each class inside it.

    Args:
        points: (B, N, 2) in [-1, 1].
        classes: int64 (B, N), index into `LANDMARKS` or `ABSENT`.
        resolution: pixels per side of the maps.
        sigma: SD of one landmark's blob in [-1, 1] units.

    Returns:
        (B, len(LANDMARKS), resolution, resolution).
    """
    centres = (torch.arange(resolution, device=points.device) + 0.5) * 2 / resolution - 1
    blobs = (-((centres - points[..., None]) ** 2) / (2 * sigma**2)).softmax(dim=-1)  # (B, N, 2, resolution)
    inside = (points.abs() < 1).all(dim=-1)
    member = torch.stack([(classes == c) & inside for c in range(len(LANDMARKS))], dim=1).to(points)  # (B, C, N)
    return torch.einsum("bcn,bnh,bnw->bchw", member, blobs[:, :, 1], blobs[:, :, 0])

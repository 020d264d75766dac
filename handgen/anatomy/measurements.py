"""Measurements of a hand in an image, from 21 keypoints: lengths, proportions, bends, order, distance to the bones."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DIGIT_POINTS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19, 20]])
"""Keypoints of thumb, index, middle, ring and little finger, root to tip; keypoint 0 is the wrist."""
KNUCKLES = torch.tensor([1, 2, 5, 13, 17])
"""Roots whose place in the palm is measured: base and joint of the thumb, knuckles of index, ring and little finger."""
SAMPLES = 6
"""Points looked at along each bone."""
PROPORTION_SIZES = (10, 15, 15)
PROPORTIONS = sum(PROPORTION_SIZES)


def palm_length(keypoints: Tensor) -> Tensor:
    """Distance (B,) from the wrist to the knuckle of the middle finger, at least 1e-3 of a half frame."""
    length: Tensor = (keypoints[:, 9] - keypoints[:, 0]).norm(dim=-1).clamp(min=1e-3)
    return length


def digit_lengths(keypoints: Tensor) -> Tensor:
    """Lengths (B, 5, 3) of the three bones of each digit, in palm lengths."""
    points = keypoints[:, DIGIT_POINTS]
    bones = (points[:, :, 1:] - points[:, :, :-1]).norm(dim=-1)
    relative: Tensor = bones / palm_length(keypoints)[:, None, None]
    return relative


def turns(arms: Tensor) -> Tensor:
    """Signed angles (B, 4) from each of five arms (B, 5, 2) to the next, radians."""
    a, b = arms[:, :-1], arms[:, 1:]
    return torch.atan2(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1))


def thumb_side(keypoints: Tensor) -> Tensor:
    """1 where the digits follow the thumb clockwise as seen in the image, -1 where the other way (B,)."""
    return turns(keypoints[:, [2, 5, 9, 13, 17]] - keypoints[:, :1]).sum(dim=1).sign()


def disorder(keypoints: Tensor) -> Tensor:
    """How far the digits are from lying in the order thumb, index, ... little around the wrist, radians (B,).

    The hand may be seen from either side, so the direction (thumb left or right) is the thumb's own.
    """
    side = thumb_side(keypoints)[:, None]
    knuckles = turns(keypoints[:, [2, 5, 9, 13, 17]] - keypoints[:, :1])
    tips = turns(keypoints[:, [4, 8, 12, 16, 20]] - keypoints[:, :1])
    return torch.maximum(-(side * knuckles).amin(dim=1), -(side * tips).amin(dim=1))


def bend(keypoints: Tensor) -> Tensor:
    """Largest turn in the image between neighbouring bones of each digit, radians (B, 5)."""
    points = keypoints[:, DIGIT_POINTS]
    direction = F.normalize(points[:, :, 1:] - points[:, :, :-1], dim=-1, eps=1e-4)
    cosine = (direction[:, :, 1:] * direction[:, :, :-1]).sum(-1)
    largest: Tensor = torch.acos(cosine.clamp(-0.999, 0.999)).amax(dim=-1)
    return largest


def proportions(keypoints: Tensor) -> Tensor:
    """What a hand's build fixes, (B, PROPORTIONS), in three parts of `PROPORTION_SIZES`.

    Places of the knuckles in the palm (x from the thumb's side, y to the fingers; palm lengths), share of each bone in
    its digit, length of each bone in palm lengths.
    """
    lengths = digit_lengths(keypoints)
    shares = lengths / lengths.sum(dim=-1, keepdim=True).clamp(min=1e-3)
    up = (keypoints[:, 9] - keypoints[:, 0]) / palm_length(keypoints)[:, None]
    across = torch.stack([-up[:, 1], up[:, 0]], dim=-1) * thumb_side(keypoints)[:, None]
    offset = (keypoints[:, KNUCKLES] - keypoints[:, :1]) / palm_length(keypoints)[:, None, None]
    places = torch.stack([(offset * across[:, None]).sum(-1), (offset * up[:, None]).sum(-1)], dim=-1)
    return torch.cat([places.flatten(1), shares.flatten(1), lengths.flatten(1)], dim=1)


def bone_points(keypoints: Tensor) -> Tensor:
    """Points (B, 5, 3 * SAMPLES, 2) along the bones of each digit."""
    points = keypoints[:, DIGIT_POINTS]
    share = (torch.arange(SAMPLES, device=keypoints.device) + 0.5) / SAMPLES
    along = torch.lerp(points[:, :, :-1, None], points[:, :, 1:, None], share[:, None])
    return along.flatten(2, 3)


def distance_to_skeleton(keypoints: Tensor, size: int) -> Tensor:
    """Distance (B, size, size) of each pixel to the nearest bone, in palm lengths.

    Bones are the digits, the metacarpals, the line through the knuckles and the forearm below the wrist.
    """
    roots = keypoints[:, [5, 9, 13, 17]]
    wrist = keypoints[:, :1].expand(-1, 4, -1)
    points = keypoints[:, DIGIT_POINTS]
    heel = torch.lerp(wrist, keypoints[:, 17:18].expand(-1, 4, -1), 0.15)
    starts = torch.cat([points[:, :, :-1].flatten(1, 2), heel, roots[:, :-1], keypoints[:, 1:2], wrist[:, :1]], dim=1)
    below = keypoints[:, :1] + (keypoints[:, :1] - keypoints[:, 9:10]) * 2.0
    ends = torch.cat([points[:, :, 1:].flatten(1, 2), roots, roots[:, 1:], keypoints[:, :1], below], dim=1)
    grid = (torch.arange(size, device=keypoints.device) + 0.5) * 2 / size - 1
    pixels = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1).reshape(1, 1, -1, 2)
    axis = (ends - starts)[:, :, None]
    offset = pixels - starts[:, :, None]
    share = ((offset * axis).sum(-1) / (axis * axis).sum(-1).clamp(min=1e-6)).clamp(0, 1)
    distance = (offset - share[..., None] * axis).norm(dim=-1).amin(dim=1)
    relative: Tensor = (distance / palm_length(keypoints)[:, None]).reshape(-1, size, size)
    return relative

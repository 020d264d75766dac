"""The digits: their relief, and the marks on them (creases, knuckle wrinkles, nails) that follow their joints."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from handgen.anatomy.kinematics import SLOTS, Skeleton
from handgen.anatomy.shape import Frame, Segment, column, gaussian, segment, smooth_maximum, smooth_minimum

FAR_MM = 1e3


@dataclass
class Relief:
    """A hand's surface as maps (B, R, R).

    Attributes:
        distance: signed distance to the silhouette in mm, negative inside. height: of the visible surface, mm.
        crease: 0..1 darkness of folds. nail: 0..1. tip: 0..1 redness of finger ends and knuckles.
    """

    distance: Tensor
    height: Tensor
    crease: Tensor
    nail: Tensor
    tip: Tensor


@dataclass
class Marks:
    """What is drawn on digits: (B,) strengths; `palmar` 1 where the palm is seen; `nail_length` in mm."""

    palmar: Tensor
    crease: Tensor
    nail: Tensor
    nail_length: Tensor


def _nail(part: Segment, length: Tensor, radius: Tensor, extent: Tensor, present: Tensor) -> Tensor:
    """A rounded plate on the back of the last segment, 0..1; `length` of its axis, `extent` of the free edge, mm."""
    half = 0.62 * radius + 0.5 * extent
    centre = length + radius * 0.92 + extent - half
    v = (part.across * column(1.0 / (0.72 * radius))).square_()
    w = (part.along - column(centre)) * column(1.0 / half)
    w = (w * w).square_()
    edge = (v.addcmul_(v, v).mul_(0.5).add_(w).neg_().add_(1.0)).mul_(4.0)
    return edge.clamp_(0.0, 1.0).mul_(column(present))


def _fold(part: Segment, radius: Tensor, palmar: Tensor) -> Tensor:
    """The fold at the root joint of a segment: one line on the palm's side, three faint wrinkles on the back."""
    across = (1.25 - (part.across * column(1.0 / radius)).square_()).clamp_(0.0, 1.0)
    line = gaussian(part.along.square(), 1.0)
    wrinkle = gaussian((part.along.abs() - 2.3).square_(), 0.8).add_(line).mul_(0.4).mul_(across).mul_(across)
    return torch.lerp(wrinkle, line, column(palmar)).mul_(across)


def _tip(
    part: Segment, length: Tensor, radius: Tensor, last: Tensor, nails: Tensor, marks: Marks
) -> tuple[Tensor, Tensor]:
    """Nail and redness of a digit's last segment; (B,) `last` is 1 where this segment is the last one."""
    if not last.any():
        nothing = torch.zeros(1, 1, 1)
        return nothing, nothing
    plate = _nail(part, length, radius, marks.nail_length, last * nails * (1 - marks.palmar) * marks.nail)
    return plate, (part.along * column(1 / (length + radius))).clamp_(0.0, 1.0).square_().mul_(column(last))


def _digit(frame: Frame, s: Skeleton, slot: int, marks: Marks) -> Relief | None:
    """One digit of every hand, or None where no hand of the batch has it."""
    count = s.segments[:, slot]
    if not (count > 0).any():
        return None
    distance = height = crease = nail = tip = torch.empty(0)
    for index in range(int(count.max())):
        present = (count > index).double()
        start, end = s.joints[:, slot, index], s.joints[:, slot, index + 1]
        r_start, r_end = s.radii[:, slot, index], s.radii[:, slot, index + 1]
        part = segment(frame, start, end, r_start, r_end, waist=0.35)
        length = (end - start)[:, :2].norm(dim=1)
        fold = _fold(part, r_start, marks.palmar).mul_(column(present * marks.crease * (1.0 if index else 0.35)))
        plate, red = _tip(part, length, r_end, (count == index + 1).double(), s.nails[:, slot], marks)
        absent = column((1 - present) * FAR_MM)
        if index == 0:
            distance, height = part.distance + absent, part.height - absent
            crease, nail, tip = fold, plate, red
        else:
            distance = torch.minimum(distance, part.distance.add_(absent))
            height = torch.maximum(height, part.height.sub_(absent))
            crease, nail, tip = (
                torch.maximum(crease, fold),
                torch.maximum(nail, plate),
                torch.maximum(tip, red),
            )
    return Relief(distance, height, crease, nail, tip)


def add_digits(frame: Frame, s: Skeleton, palm: Relief, marks: Marks) -> Relief:
    """Join the digits to the palm: filleted with it, in hard contact with each other; the nearest surface is seen."""
    distance, height = palm.distance, palm.height
    crease, nail, tip = palm.crease, palm.nail, palm.tip
    for slot in range(SLOTS):
        digit = _digit(frame, s, slot, marks)
        if digit is None:
            continue
        top = digit.height > height
        joined = smooth_maximum(palm.height, digit.height, 4.0)
        height = torch.maximum(height, joined)
        distance = torch.minimum(distance, smooth_minimum(palm.distance, digit.distance, 7.0))
        crease = torch.where(top, digit.crease, crease)
        nail = torch.where(top, digit.nail, nail)
        tip = torch.where(top, digit.tip, tip)
    return Relief(distance, height, crease, nail, tip)

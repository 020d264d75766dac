"""Forward kinematics: from hand parameters to the joints of every digit in millimetres."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from handgen.anatomy import parameters as tables
from handgen.anatomy.parameters import HandParameters

SLOTS = 7
"""Digit slots: five digits, and two that only malformed hands use."""
JOINTS = 5
"""Points of one slot: its root and the ends of up to four segments."""


@dataclass
class Skeleton:
    """The bones of a batch of hands in the frame of a right hand seen from its palm.

    Attributes:
        joints: (B, SLOTS, JOINTS, 3) in mm; x towards the thumb, y towards the fingers, z out of the palm. Points
            after a digit's last segment repeat its tip.
        radii: (B, SLOTS, JOINTS) in mm.
        segments: (B, SLOTS) number of segments, 0 where there is no digit.
        nails: (B, SLOTS) bool, whether the last segment carries a nail.
        metacarpals: (B, 5, 2, 3) start and end of the metacarpals in mm. `thenar`: (B,) 0..1, bulk of the thumb's base.
        palm: (B,) scale of the palm's half widths.
    """

    joints: Tensor
    radii: Tensor
    segments: Tensor
    nails: Tensor
    metacarpals: Tensor
    thenar: Tensor
    palm: Tensor

    def clone(self) -> Skeleton:
        """A copy whose tensors may be edited."""
        return replace(self, **{name: value.clone() for name, value in vars(self).items()})


def chain(root: Tensor, lengths: Tensor, angle: Tensor, bend: Tensor, sideways: Tensor) -> Tensor:
    """Joints of one digit.

    Args:
        root: (B, 3) first joint.
        lengths: (B, S) of its segments in mm.
        angle: (B,) direction of the first segment in the palm's plane, radians from the y axis.
        bend: (B, S) flexion at the root of each segment, out of the palm's plane, radians.
        sideways: (B, S) turn in the palm's plane at the root of each segment, radians.

    Returns:
        (B, S + 1, 3) joint positions in mm.
    """
    heading = angle[:, None] + sideways.cumsum(dim=1)
    pitch = bend.cumsum(dim=1)
    step = torch.stack([heading.sin() * pitch.cos(), heading.cos() * pitch.cos(), pitch.sin()], dim=-1)
    return torch.cat([root[:, None], root[:, None] + (lengths[..., None] * step).cumsum(dim=1)], dim=1)


def pad_joints(values: Tensor, joints: int = JOINTS) -> Tensor:
    """Repeat the last joint so that (B, J, ...) becomes (B, `joints`, ...)."""
    return torch.cat([values, values[:, -1:].expand(-1, joints - values.shape[1], *values.shape[2:])], dim=1)


def finger_lengths(p: HandParameters, digit: int) -> Tensor:
    """Lengths of the phalanges as drawn, (B, S): the last ends one radius before the tip of the pulp."""
    count = tables.SEGMENTS[digit]
    bones = torch.tensor(tables.PHALANX_MM[digit][:count]).double() * p.bone[:, digit, 1 : 1 + count]
    radius = tables.RADIUS_MM[digit][3] * p.width[:, digit]
    bones[:, -1] += tables.SOFT_TIP_MM - radius
    return bones * p.size[:, None]


def _metacarpals(p: HandParameters) -> Tensor:
    """Start and end of the five metacarpals, (B, 5, 2, 3)."""
    start = (
        torch.tensor(tables.CARPAL_MM).double()[None]
        * torch.stack([p.palm_width, torch.ones_like(p.size)], -1)[:, None]
    )
    fan = torch.deg2rad(torch.tensor(tables.PALM_FAN_DEG).double())[None] * p.palm_width[:, None]
    fan = torch.cat([p.splay[:, :1] + 0.12, fan[:, 1:]], dim=1)
    length = torch.tensor(tables.METACARPAL_MM).double() * p.bone[:, :, 0]
    end = start + length[..., None] * torch.stack([fan.sin(), fan.cos()], dim=-1)
    flat = torch.stack([start, end], dim=2)
    height = torch.tensor([[3.0, 6.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]).double()
    return torch.cat([flat, height.expand(len(flat), 5, 2)[..., None]], dim=-1) * p.size[:, None, None, None]


def pose(p: HandParameters) -> Skeleton:
    """The skeleton of anatomically correct hands, in the frame of a right hand seen from its palm."""
    count = len(p.size)
    metacarpals = _metacarpals(p)
    joints = torch.zeros(count, SLOTS, JOINTS, 3, dtype=torch.float64)
    radii = torch.ones(count, SLOTS, JOINTS, dtype=torch.float64)
    for digit, segments in enumerate(tables.SEGMENTS):
        lengths, angles = finger_lengths(p, digit), p.flexion[:, digit, :segments]
        if digit == 0:  # the thumb bends mostly in the plane of the palm, towards the fingers
            positions = chain(metacarpals[:, 0, 1], lengths, p.splay[:, 0] + 0.05, 0.3 * angles, -0.8 * angles)
        else:
            positions = chain(metacarpals[:, digit, 1], lengths, p.splay[:, digit], angles, 0.0 * angles)
        widths = (
            torch.tensor(tables.RADIUS_MM[digit]).double()[4 - segments - 1 :]
            * p.width[:, digit, None]
            * p.size[:, None]
        )
        joints[:, digit] = pad_joints(positions)
        radii[:, digit] = pad_joints(widths)
    present = torch.tensor([*tables.SEGMENTS, 0, 0]).expand(count, SLOTS).clone()
    return Skeleton(joints, radii, present, present > 0, metacarpals, torch.ones(count).double(), p.palm_width * p.size)

"""The hand as a relief: tapered segments in orthographic projection give a distance and a height for each pixel.

A segment seen from above is a stripe whose cross-section is a circle, so its height is closed-form and a whole hand
costs a few hundred elementwise operations, with exact silhouettes (anti-aliased by distance) and exact occlusion.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from handgen.anatomy.kinematics import Skeleton

PALM_HEIGHT_MM = 11.0
PALM_EDGE_MM = 13.0
FOREARM_MM = -220.0


def column(values: Tensor) -> Tensor:
    """(B,) as float32 (B, 1, 1), to be broadcast over pixels."""
    return values.float()[:, None, None]


@dataclass
class Frame:
    """Where each pixel lies in the hand's plane; all pixel maps are sums of a row and a column vector.

    Attributes:
        x_of, y_of: (B, 3) float64: hand coordinate = a * column + b * row + c with pixel coordinates in [-1, 1].
        resolution: pixels per side. pitch: (B,) mm per pixel.
    """

    x_of: Tensor
    y_of: Tensor
    resolution: int
    pitch: Tensor

    def along(self, direction: Tensor, origin: Tensor) -> Tensor:
        """Signed distance in mm along `direction` (B, 2) from `origin` (B, 2) for each pixel, float32 (B, R, R)."""
        centres = (torch.arange(self.resolution, dtype=torch.float64) + 0.5) * (2.0 / self.resolution) - 1.0
        a = direction[:, :1] * self.x_of + direction[:, 1:] * self.y_of
        constant = a[:, 2] - (direction * origin).sum(dim=1)
        across = a[:, :1] * centres[None] + constant[:, None]
        down = a[:, 1:2] * centres[None]
        return across.float()[:, None, :] + down.float()[:, :, None]


@dataclass
class Segment:
    """A tapered segment seen by every pixel: (B, R, R) each, in mm.

    Attributes:
        along: position along the axis from its start. across: position across it. distance: to the surface in the
        plane, negative inside. height: of the upper surface; falls steeply outside.
    """

    along: Tensor
    across: Tensor
    distance: Tensor
    height: Tensor


def segment(frame: Frame, start: Tensor, end: Tensor, r_start: Tensor, r_end: Tensor, waist: float = 0.0) -> Segment:
    """Project one tapered segment per hand.

    Args:
        frame: the pixels.
        start: (B, 3) axis in mm.
        end: (B, 3) axis in mm.
        r_start: (B,) radii in mm.
        r_end: (B,) radii in mm.
        waist: how much thinner the middle is than the ends, in mm.
    """
    axis = (end - start)[:, :2]
    axis = torch.where(axis.norm(dim=1, keepdim=True) < 1e-3, torch.tensor([0.0, 1e-3]).double(), axis)
    length = axis.norm(dim=1)  # never 0: a segment that points at the camera is a disc
    direction = axis / length[:, None]
    along = frame.along(direction, start[:, :2])
    across = frame.along(torch.stack([direction[:, 1], -direction[:, 0]], dim=1), start[:, :2])
    nearest = along.clamp(min=0.0).minimum(column(length))
    beyond = along - nearest
    squared = torch.addcmul(across * across, beyond, beyond)
    radius = torch.addcmul(column(r_start), nearest, column((r_end - r_start) / length))
    if waist:
        share = nearest / column(length)
        radius = radius - (4.0 * waist) * (share - share * share)
    level = torch.addcmul(column(start[:, 2]), nearest, column((end - start)[:, 2] / length))
    under = torch.addcmul(-squared, radius, radius)
    height = level + under.clamp(min=0.0).sqrt() + 0.3 * under.clamp(max=0.0)
    return Segment(along, across, squared.sqrt() - radius, height)


def smooth_minimum(a: Tensor, b: Tensor, width: float) -> Tensor:
    """Minimum of two distances with a fillet of the given width (polynomial blend, Quilez 2013)."""
    overlap = (1.0 - (a - b).abs() * (1.0 / width)).clamp_(min=0.0)
    return torch.minimum(a, b).addcmul_(overlap, overlap, value=-0.25 * width)


def smooth_maximum(a: Tensor, b: Tensor, width: float) -> Tensor:
    """Maximum of two heights with a fillet of the given width."""
    overlap = (1.0 - (a - b).abs() * (1.0 / width)).clamp_(min=0.0)
    return torch.maximum(a, b).addcmul_(overlap, overlap, value=0.25 * width)


def gaussian(squared: Tensor, width: float) -> Tensor:
    """Close to exp(-d^2 / 2 width^2) of squared distances, which are overwritten.

    A triweight kernel of the same width: exp would spend a third of the renderer's time on denormal numbers.
    """
    hill = squared.mul_(-1.0 / (7.5 * width**2)).add_(1.0).clamp_(min=0.0)
    return hill.pow_(3)


def bump(frame: Frame, centre: Tensor, angle: Tensor, long: float, wide: float) -> Tensor:
    """An elliptical Gaussian hill of height 1: `centre` (B, 2), its long axis at `angle` (B,) from the y axis."""
    direction = torch.stack([angle.sin(), angle.cos()], dim=1)
    along = frame.along(direction, centre)
    across = frame.along(torch.stack([direction[:, 1], -direction[:, 0]], dim=1), centre)
    return gaussian(torch.addcmul(along * along, across, across, value=(long / wide) ** 2), long)


def palm_distance(frame: Frame, s: Skeleton, wrist: Tensor) -> Tensor:
    """Distance to the outline of palm, base of the thumb and forearm, (B, R, R) mm.

    Args:
        frame: the pixels.
        s: the skeleton.
        wrist: (B,) half width of the wrist in mm.
    """
    bone, scale = s.metacarpals, s.palm
    distance: Tensor | None = None
    for digit in (1, 2, 3, 4):
        reach = torch.lerp(bone[:, digit, 0], bone[:, digit, 1], 1.06)
        radius = (12.6, 12.2, 12.0, 11.2)[digit - 1] * scale
        part = segment(frame, bone[:, digit, 0], reach, radius * 1.22, radius).distance
        distance = part if distance is None else smooth_minimum(distance, part, 10.0)
    assert distance is not None
    thumb_end = torch.lerp(bone[:, 0, 0], bone[:, 0, 1], (0.35 + 0.65 * s.thenar)[:, None])
    thumb = segment(frame, bone[:, 0, 0], thumb_end, 15.0 * scale, (14.0 - 2.5 * s.thenar) * scale).distance
    distance = smooth_minimum(distance, thumb, 12.0)
    inner = torch.lerp(bone[:, 1, 0], bone[:, 1, 1], 0.62)
    outer = torch.lerp(inner, torch.lerp(bone[:, 0, 0], bone[:, 0, 1], 0.72), s.thenar[:, None])
    distance = smooth_minimum(distance, segment(frame, inner, outer, 9.0 * scale, 6.0 * scale).distance, 14.0)
    heel = 0.5 * (bone[:, 1, 0] + bone[:, 4, 0])
    forearm = heel * torch.tensor([0.6, 0.0, 0.0]).double()
    far = forearm + torch.tensor([0.0, FOREARM_MM, 0.0]).double()
    arm = segment(frame, forearm + torch.tensor([0.0, 8.0, 0.0]).double(), far, wrist, wrist * 1.5).distance
    hypothenar = torch.lerp(bone[:, 4, 0], bone[:, 4, 1], 0.35) + torch.tensor([-2.0, 0.0, 0.0]).double()
    side = segment(
        frame,
        bone[:, 4, 0] + torch.tensor([-1.0, -6.0, 0.0]).double(),
        hypothenar,
        12.0 * scale,
        14.5 * scale,
    )
    return smooth_minimum(smooth_minimum(distance, side.distance, 12.0), arm, 22.0)


def palm_height(frame: Frame, s: Skeleton, distance: Tensor, palmar: Tensor, tendon: Tensor) -> Tensor:
    """Relief of the palm or the back of the hand, (B, R, R) mm.

    Palmar: the balls of thumb and little finger, pads under the fingers and a hollow between. Dorsal: knuckles and
    extensor tendons.

    Args:
        frame: the pixels.
        s: the skeleton.
        distance: from `palm_distance`.
        palmar: (B,) 1 where the palm is seen, 0 the back.
        tendon: (B,) strength of the tendons.
    """
    depth = (1.0 + distance * (1.0 / PALM_EDGE_MM)).clamp(0.0, 1.0)
    height = PALM_HEIGHT_MM * (1.0 - depth * depth).sqrt() - distance.clamp(min=0.0)
    bone, zero = s.metacarpals, torch.zeros_like(palmar)
    ball = torch.lerp(bone[:, 0, 0], bone[:, 0, 1], 0.45)[:, :2]
    toward = (bone[:, 0, 1] - bone[:, 0, 0])[:, :2]
    angle = torch.atan2(toward[:, 0], toward[:, 1])
    height.addcmul_(bump(frame, ball, angle, 22.0, 13.0), column(palmar * 6.0 * s.thenar))
    heel = torch.lerp(bone[:, 4, 0], bone[:, 4, 1], 0.3)[:, :2]
    height.addcmul_(bump(frame, heel, zero - 0.25, 22.0, 11.0), column(palmar * 4.5))
    hollow = torch.lerp(bone[:, 2, 0], bone[:, 2, 1], 0.55)[:, :2]
    height.addcmul_(bump(frame, hollow, zero, 22.0, 15.0), column(palmar * -2.5))
    for digit in (1, 2, 3, 4):
        end, start = bone[:, digit, 1, :2], bone[:, digit, 0, :2]
        angle = torch.atan2((end - start)[:, 0], (end - start)[:, 1])
        relief = palmar * 1.6 + (1 - palmar) * 2.2
        height.addcmul_(bump(frame, end, angle, 8.0, 6.5), column(relief))
        ridge = bump(frame, torch.lerp(start, end, 0.6), angle, 26.0, 2.4)
        height.addcmul_(ridge, column((1 - palmar) * tendon * 1.1))
    return height


def palm_creases(frame: Frame, s: Skeleton) -> Tensor:
    """The heart, head and life lines, 0..1 (B, R, R), in the plane of the palm."""
    bone = s.metacarpals[..., :2]
    unit = s.palm
    x = frame.along(torch.tensor([[1.0, 0.0]]).double(), torch.zeros(1, 2).double()) / column(unit)
    y = frame.along(torch.tensor([[0.0, 1.0]]).double(), torch.zeros(1, 2).double()) / column(unit)
    knuckle = column((bone[:, 1:, 1, 1]).mean(dim=1) / unit)
    heart = (y - (knuckle - 15.0) - 0.006 * (x + 6.0) ** 2 - 0.02 * x).square_()
    heart = gaussian(heart, 1.1) * ((x + 32.0) * 0.15).clamp(0, 1) * ((14.0 - x) * 0.1).clamp(0, 1)
    head = (y - (knuckle - 31.0) - 0.42 * (x - 8.0) + 0.006 * (x - 8.0) ** 2).square_()
    head = gaussian(head, 1.1) * ((x + 22.0) * 0.1).clamp(0, 1) * ((28.0 - x) * 0.2).clamp(0, 1)
    centre = torch.lerp(bone[:, 0, 0], bone[:, 0, 1], 0.55)
    dx, dy = x - column(centre[:, 0] / unit), y - column(centre[:, 1] / unit)
    life = (torch.addcmul(dx * dx * 1.4, dy, dy, value=0.62).sqrt_() - 26.0).square_()
    life = gaussian(life, 1.2) * ((-dx + 8.0) * 0.08).clamp(0, 1) * ((dy + 34.0) * 0.06).clamp(0, 1) * column(s.thenar)
    return torch.maximum(torch.maximum(heart, head), life)

"""Forward kinematics and the camera in torch: batched, differentiable, and exact for capsules up to perspective."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from handgen.arm.body import CAMERA_DISTANCE, CAMERA_HEIGHT, FIELD_OF_VIEW, HIGH, JOINTS, LOW, Body, measures

FOCAL_LENGTH = 1.0 / math.tan(FIELD_OF_VIEW / 2)
"""In halves of the picture: what is as far away as it is wide fills the picture at 2 tan(30 degrees)."""
FOREARM_BELOW_ELBOW = 1.0
"""Metres of forearm below the elbow, beyond the lower edge of the picture."""


@dataclass(frozen=True)
class Capsules:
    """Segments with a radius.

    Attributes:
        start: (B, N, D). end: (B, N, D). start_radius: (B, N). end_radius: (B, N): they differ once projected.
    """

    start: Tensor
    end: Tensor
    start_radius: Tensor
    end_radius: Tensor


def as_tensors(body: Body) -> dict[str, Tensor]:
    """The measures as tensors, which a fit may ask gradients of."""
    return {name: torch.tensor(value) for name, value in measures(body).items()}


def joint_bounds(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Smallest and largest angles (12,) in radians."""
    return torch.tensor(LOW, device=device), torch.tensor(HIGH, device=device)


def joints_of(action: Tensor) -> Tensor:
    """Actions (..., 12) in [-1, 1] to angles in radians."""
    low, high = joint_bounds(action.device)
    return low + (high - low) * (action + 1.0) / 2.0


def actions_of(joints: Tensor) -> Tensor:
    """Angles (..., 12) in radians to actions in [-1, 1]."""
    low, high = joint_bounds(joints.device)
    return (joints - low) / (high - low) * 2.0 - 1.0


def digit_frames(directions: Tensor, tilts: Tensor) -> tuple[Tensor, Tensor]:
    """Where a digit points when stretched, and where a right angle of flexion turns it to, unit vectors (5, 3)."""
    zero = torch.zeros_like(directions)
    stretched = torch.stack([directions.sin(), zero, directions.cos()], dim=-1)
    sideways = torch.stack([directions.cos(), zero, -directions.sin()], dim=-1)
    to_camera = torch.tensor([0.0, -1.0, 0.0], device=directions.device)
    return stretched, tilts.cos()[:, None] * to_camera + tilts.sin()[:, None] * sideways


def turn(points: Tensor, angle: Tensor) -> Tensor:
    """Turn points (..., 3) about the y axis by angles (...,): up goes to the right."""
    x, y, z = points.unbind(-1)
    return torch.stack([x * angle.cos() + z * angle.sin(), y, z * angle.cos() - x * angle.sin()], dim=-1)


def in_plane(points: Tensor) -> Tensor:
    """Points (..., 2) as (x, z) to (..., 3) with y = 0."""
    return torch.stack([points[..., 0], torch.zeros_like(points[..., 0]), points[..., 1]], dim=-1)


def pose(measured: dict[str, Tensor], joints: Tensor) -> Capsules:
    """The arm in the world: forearm, four palm bones, ball of the thumb, then both parts of each digit.

    Args:
        measured: `as_tensors` of a body.
        joints: (B, 12) in radians.

    Returns:
        16 capsules in metres.
    """
    count, m = len(joints), measured
    elbow_angle, hand_angle = joints[:, 11], joints[:, 11] + joints[:, 10]
    elbow = in_plane(m["elbow"]).expand(count, 3)
    along = turn(torch.tensor([0.0, 0.0, 1.0], device=joints.device).expand(count, 3), elbow_angle)
    wrist = elbow + along * m["forearm"][0]

    def to_world(points: Tensor) -> Tensor:
        return wrist[:, None] + turn(points, hand_angle[:, None].expand(points.shape[:2]))

    palm = in_plane(torch.cat([m["palm_starts"], m["thenar"][None, :2]])).expand(count, -1, -1)
    bases = in_plane(torch.cat([m["thumb_base"][None], m["palm_ends"]])).expand(count, -1, -1)
    stretched, flexed = digit_frames(m["directions"], m["tilts"])
    first = joints[:, 0:10:2, None]
    second = first + joints[:, 1:10:2, None]
    knuckles = bases + (stretched * first.cos() + flexed * first.sin()) * m["lengths"][:, 0, None]
    tips = knuckles + (stretched * second.cos() + flexed * second.sin()) * m["lengths"][:, 1, None]
    bases, knuckles, tips = to_world(bases), to_world(knuckles), to_world(tips)
    start = torch.cat([(elbow - along * FOREARM_BELOW_ELBOW)[:, None], to_world(palm), bases, knuckles], dim=1)
    end = torch.cat([wrist[:, None], bases[:, 1:], bases[:, :1], knuckles, tips], dim=1)
    radius = torch.cat([m["forearm"][1:], m["palm_radii"], m["thenar"][2:], m["radii"][:, 0], m["radii"][:, 1]])
    radius = radius.expand(count, -1)
    return Capsules(start, end, radius, radius)


def project(capsules: Capsules) -> Capsules:
    """Capsules in the world to the picture: (x, y) in [-1, 1], y down, each end as large as it looks."""

    def seen(points: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        scale = FOCAL_LENGTH / (points[..., 1] + CAMERA_DISTANCE)
        return torch.stack([points[..., 0] * scale, (CAMERA_HEIGHT - points[..., 2]) * scale], dim=-1), radius * scale

    start, start_radius = seen(capsules.start, capsules.start_radius)
    end, end_radius = seen(capsules.end, capsules.end_radius)
    return Capsules(start, end, start_radius, end_radius)


@lru_cache(maxsize=8)
def pixel_centres(size: int) -> Tensor:
    """(size * size, 2) as (x, y) in [-1, 1], row by row."""
    line = (torch.arange(size) + 0.5) / size * 2.0 - 1.0
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], dim=-1).view(-1, 2)


def signed_distance(capsules: Capsules, size: int) -> Tensor:
    """Distance of pixels to the nearest of (B, N) projected capsules, negative inside, (B, size, size).

    One capsule at a time: all at once would not stay in the cache.
    """
    pixels = pixel_centres(size).to(capsules.start.device)
    nearest: Tensor | None = None
    axes = capsules.end - capsules.start
    lengths = axes.square().sum(-1).clamp(min=1e-6)
    for n in range(axes.shape[1]):
        offset = pixels - capsules.start[:, n, None]
        along = (torch.einsum("bpd,bd->bp", offset, axes[:, n]) / lengths[:, n, None]).clamp(0.0, 1.0)
        apart = (offset - along[..., None] * axes[:, n, None]).square().sum(-1).add(1e-9).sqrt()
        widening = (capsules.end_radius - capsules.start_radius)[:, n, None]
        distance = apart - capsules.start_radius[:, n, None] - along * widening
        nearest = distance if nearest is None else torch.minimum(nearest, distance)
    assert nearest is not None
    return nearest.view(-1, size, size)


def soft_silhouette(measured: dict[str, Tensor], joints: Tensor, size: int, softness: float) -> Tensor:
    """How much of each pixel is arm, differentiable in joints and measures, (B, size, size) in (0, 1).

    Args:
        measured: `as_tensors` of a body.
        joints: (B, 12) in radians.
        size: height and width in pixels.
        softness: width of the edge, in halves of the picture; 2 / size is a pixel.
    """
    return torch.sigmoid(-signed_distance(project(pose(measured, joints)), size) / softness)


def random_joints(count: int, generator: torch.Generator) -> Tensor:
    """Poses (count, 12): each digit stretched, closed or anywhere; wrist and elbow near the middle.

    Uniform angles would hardly ever show a stretched finger, which is how hands are mostly seen.
    """
    low, high = joint_bounds()

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    anywhere = low + (high - low) * uniform(count, len(JOINTS))
    habit = uniform(count, 5).repeat_interleave(2, dim=1)
    stretched, closed = 0.35 * uniform(count, 10), 1.55 - 0.35 * uniform(count, 10)
    digits = torch.where(habit < 0.45, stretched, torch.where(habit < 0.65, closed, anywhere[:, :10]))
    arm = torch.randn((count, 2), generator=generator) * torch.tensor([0.2, 0.3])
    return torch.cat([digits, arm.clamp(low[10:], high[10:])], dim=1)

"""Render hands: procedural, vectorised, deterministic by seed, with exact ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.anatomy import parameters as tables
from handgen.anatomy.digits import Marks, Relief, add_digits
from handgen.anatomy.draws import Draws
from handgen.anatomy.kinematics import JOINTS, SLOTS, Skeleton, pose
from handgen.anatomy.landmarks import landmark_classes
from handgen.anatomy.malformations import KINDS, VALID, digit_labels, malform
from handgen.anatomy.parameters import HandParameters, sample_parameters, stand_upright
from handgen.anatomy.shape import Frame, palm_creases, palm_distance, palm_height
from handgen.anatomy.skin import add_sleeve, paint_background, shade_hand

RENDERER_VERSION = "1"
"""Part of every cache key: change it whenever a pixel or a label changes."""

CHUNK = 8
"""Hands rendered at once: the maps of eight hands stay in a core's cache."""
KEYPOINT_JOINTS = 4


@dataclass
class Rendering:
    """Images and their ground truth.

    Attributes:
        image: uint8 (B, 3, size, size), sRGB. mask: uint8 (B, 1, size, size), 255 on the hand (not the sleeve).
        keypoints: float32 (B, 21, 2), (x, y) in [-1, 1], y down: wrist, then root, two joints and tip of each digit.
        visible: bool (B, 21): the joint exists, lies in the frame and is not hidden behind another digit.
        landmarks: float32 (B, 35, 2), all joints of all digit slots, (x, y) in [-1, 1]. landmark_class: int64 (B, 35),
            index into `LANDMARKS` or -1 where there is none.
        kind: int64 (B,), index into `KINDS`. valid: bool (B,).
        digits: int64 (B,) digits that a person would count. segments: int64 (B, 5), thumb to little finger.
        side: int64 (B,) 0 right, 1 left. view: int64 (B,) 0 palmar, 1 dorsal.
        parameters: the parameters of each hand, float64, first dimension B.
    """

    image: Tensor
    mask: Tensor
    keypoints: Tensor
    visible: Tensor
    landmarks: Tensor
    landmark_class: Tensor
    kind: Tensor
    valid: Tensor
    digits: Tensor
    segments: Tensor
    side: Tensor
    view: Tensor
    parameters: dict[str, Tensor]


def _orient(s: Skeleton, p: HandParameters) -> Skeleton:
    """Tilt the bones out of the plane and, for the back of the hand, turn them away from the camera."""

    def turn(points: Tensor) -> Tensor:
        shape = (-1, *[1] * (points.dim() - 2))
        x, y, z = points.unbind(dim=-1)
        pitch, roll = p.tilt[:, 0].reshape(shape), p.tilt[:, 1].reshape(shape)
        y, z = y * pitch.cos() - z * pitch.sin(), y * pitch.sin() * 0.4 + z * pitch.cos()
        x, z = x * roll.cos() + z * roll.sin(), z * roll.cos() - x * roll.sin() * 0.4
        facing = (1.0 - 2.0 * p.view).reshape(shape)
        return torch.stack([x, y, z * facing], dim=-1)

    turned = s.clone()
    turned.joints, turned.metacarpals = turn(s.joints), turn(s.metacarpals)
    turned.metacarpals[..., 2] *= 0.3
    return turned


def _frame(correct: Skeleton, s: Skeleton, p: HandParameters, resolution: int) -> Frame:
    """Place the hand in the picture: it and the correct hand it was made from lie within the asked share."""
    mirror = (1.0 - 2.0 * p.view) * (1.0 - 2.0 * p.side)
    cos, sin = p.rotation.cos(), p.rotation.sin()
    drawn = (torch.arange(JOINTS)[None, None] <= s.segments[:, :, None]) & (s.segments[:, :, None] > 0)
    root = s.metacarpals[:, 2, 1][:, None, None]
    digits = torch.where(drawn[..., None], s.joints, root).flatten(1, 2)
    points = torch.cat([correct.joints[:, :5, 1:].flatten(1, 2), digits], dim=1)[..., :2]
    base = torch.stack([torch.stack([x * s.palm, p.cut], -1) for x in (-26.0, 26.0)], dim=1)
    points = torch.cat([points, base, s.metacarpals[:, 4, :, :2]], dim=1)
    x = mirror[:, None] * points[..., 0]
    right = cos[:, None] * x + sin[:, None] * points[..., 1]
    up = -sin[:, None] * x + cos[:, None] * points[..., 1]
    pad = 9.0
    low = torch.stack([right.amin(1), up.amin(1)], -1) - pad
    high = torch.stack([right.amax(1), up.amax(1)], -1) + pad
    span = (high - low).amax(dim=1)
    scale = 2.0 * p.fill / span  # half frames per mm
    slack = 1.0 - 0.5 * scale[:, None] * (high - low)
    centre = 0.5 * (low + high) - p.shift * slack.clamp(min=0.0) / scale[:, None] * 0.7
    inverse = 1.0 / scale
    x_of = torch.stack(
        [mirror * cos * inverse, mirror * sin * inverse, mirror * (cos * centre[:, 0] - sin * centre[:, 1])],
        -1,
    )
    y_of = torch.stack([sin * inverse, -cos * inverse, sin * centre[:, 0] + cos * centre[:, 1]], -1)
    return Frame(x_of, y_of, resolution, 2.0 * inverse / resolution)


def _to_image(frame: Frame, points: Tensor) -> Tensor:
    """Hand coordinates (B, K, 2) in mm to image coordinates in [-1, 1]."""
    forward = torch.linalg.inv(torch.stack([frame.x_of[:, :2], frame.y_of[:, :2]], dim=1))
    offset = torch.stack([frame.x_of[:, 2], frame.y_of[:, 2]], dim=-1)
    placed: Tensor = (points - offset[:, None]) @ forward.transpose(1, 2)
    return placed


def _surface(frame: Frame, s: Skeleton, p: HandParameters) -> Relief:
    """The relief of palm and digits."""
    palmar = 1.0 - p.view
    distance = palm_distance(frame, s, 24.0 * s.palm)
    height = palm_height(frame, s, distance, palmar, p.tendon)
    crease = palm_creases(frame, s) * (palmar * p.crease * 0.8).float()[:, None, None]
    nothing = torch.zeros_like(height)
    return add_digits(
        frame,
        s,
        Relief(distance, height, crease, nothing, nothing),
        Marks(palmar, p.crease, p.nail, p.nail_length),
    )


def _keypoints(frame: Frame, s: Skeleton, relief: Relief) -> tuple[Tensor, Tensor]:
    """Positions (B, 21, 2) and visibility (B, 21) of the wrist and of four points on each digit."""
    wrist = torch.zeros_like(s.metacarpals[:, :1, 0])
    thumb = torch.cat([s.metacarpals[:, :1, 0], s.joints[:, 0, :3]], dim=1)
    points = torch.cat([wrist, thumb, s.joints[:, 1:5, :KEYPOINT_JOINTS].flatten(1, 2)], dim=1)
    position = _to_image(frame, points[..., :2])
    inside = (position.abs() < 1).all(dim=-1)
    column = ((position + 1) * 0.5 * frame.resolution).long().clamp(0, frame.resolution - 1)
    rows = torch.arange(len(points))[:, None]
    covered_by = relief.height[rows, column[..., 1], column[..., 0]] - points[..., 2]
    exists = (s.segments[:, :5, None] > 0).expand(-1, -1, KEYPOINT_JOINTS).flatten(1)
    joint = torch.arange(KEYPOINT_JOINTS)[None, None] <= s.segments[:, :5, None]
    joint[:, 0] = exists[:, :1]
    exists = torch.cat([torch.ones_like(exists[:, :1]), (joint.flatten(1) & exists)], dim=1)
    return position.float(), exists & inside & (covered_by < 22.0)


def _camera(rgb: Tensor, p: HandParameters, size: int, draws: Draws) -> Tensor:
    """Exposure, white balance, sensor noise and sRGB encoding: linear (B, 3, R, R) to uint8 (B, 3, size, size)."""
    if rgb.shape[-1] != size:
        rgb = F.avg_pool2d(rgb, rgb.shape[-1] // size)
    gain = (p.exposure[:, None] * p.white_balance).float()[:, :, None, None]
    linear = (rgb * gain).clamp_(0.0, 1.0)
    encoded = torch.where(linear < 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055)
    encoded = encoded + draws.noise(3, size, size) * p.noise.float()[:, None, None, None]
    return (encoded * 255.0).round_().clamp_(0, 255).to(torch.uint8)


def _render_chunk(indices: Sequence[int], seed: int, size: int, kinds: Sequence[int], upright: bool) -> Rendering:
    """Render up to `CHUNK` hands."""
    draws = Draws(indices, seed)
    kind = torch.tensor(kinds)[draws.integer(0, len(kinds) - 1)]
    p = sample_parameters(draws)
    if upright:
        stand_upright(p)
    noise, fine, cloth = draws.noise(12, 12), draws.noise(32, 32), draws.noise(20, 20)
    correct = pose(p)
    resolution = size * max(1, round(128 / size))
    edited = malform(correct, kind, draws)
    frame = _frame(correct, edited, p, resolution)
    s = _orient(edited, p)
    relief = _surface(frame, s, p)
    cover = (0.5 - relief.distance / frame.pitch.float()[:, None, None]).clamp_(0.0, 1.0)
    hand = shade_hand(frame, relief, p, noise, fine, cover)
    dressed, outline = add_sleeve(frame, hand, cover, relief.distance, p, cloth)
    behind = paint_background(frame, p, noise, outline)
    image = _camera(torch.lerp(behind, dressed, outline[:, None]), p, size, draws)
    mask = F.avg_pool2d(cover[:, None], resolution // size)
    keypoints, visible = _keypoints(frame, s, relief)
    landmarks = _to_image(frame, s.joints[..., :2].flatten(1, 2)).float()
    digits, segments = digit_labels(s, kind)
    return Rendering(
        image, (mask * 255).round().to(torch.uint8), keypoints, visible, landmarks,
        landmark_classes(s, kind).reshape(-1, SLOTS * JOINTS), kind, kind == VALID, digits, segments,
        p.side.long(), p.view.long(), p.as_dict(),
    )  # fmt: skip


def _join(parts: list[Rendering]) -> Rendering:
    """Concatenate chunks."""
    joined = {
        f.name: torch.cat([getattr(r, f.name) for r in parts]) for f in fields(Rendering) if f.name != "parameters"
    }
    names = parts[0].parameters
    return Rendering(**joined, parameters={n: torch.cat([r.parameters[n] for r in parts]) for n in names})


@torch.no_grad()
def render_hands(
    indices: Iterable[int] | Tensor,
    seed: int = 0,
    size: int = 64,
    kinds: Sequence[str] = ("valid",),
    upright: bool = False,
) -> Rendering:
    """Render hands.

    Hand i depends only on (seed, i, kinds, size, upright); the same i keeps its
    pose, skin and camera when only `kinds` changes.

    Args:
        indices: which hands, (B,) non-negative integers.
        seed: non-negative seed of the collection.
        size: pixels per side, a multiple of 16 in 16..1024.
        kinds: names from `KINDS`, drawn from with equal chance; repeat a name to weigh it.
        upright: centred, filling the frame and nearly upright, as photographs cropped to the hand are; otherwise
            anywhere in the frame.

    Returns:
        The images with their ground truth.

    Raises:
        ValueError: for an unknown kind, an impossible size or no indices.
    """
    numbers = [int(i) for i in indices]
    unknown = [k for k in kinds if k not in KINDS]
    if unknown or not kinds:
        raise ValueError(f"unknown kind of hand {unknown}: choose from {', '.join(KINDS)}.")
    if not 16 <= size <= 1024 or size % 16:
        raise ValueError(f"size must be a multiple of 16 between 16 and 1024, not {size}.")
    if not numbers:
        raise ValueError("no hand to render: indices is empty.")
    chosen = [KINDS.index(k) for k in kinds]
    return _join(
        [_render_chunk(numbers[i : i + CHUNK], seed, size, chosen, upright) for i in range(0, len(numbers), CHUNK)]
    )


__all__ = ["KINDS", "RENDERER_VERSION", "VALID", "Rendering", "render_hands", "tables"]

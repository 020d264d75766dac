"""Twelve kinds of malformed hands, made by editing the skeleton of a correct one.

Everything else (pose, skin, light, camera) is drawn before and stays, so nothing but anatomy tells the kinds apart.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from handgen.anatomy.draws import Draws
from handgen.anatomy.kinematics import Skeleton, pad_joints

EXTRA = 5
"""The first of two digit slots that correct hands leave empty."""


def _rows(skeleton: Skeleton) -> Tensor:
    return torch.arange(len(skeleton.segments))


def _copy_digit(s: Skeleton, source: Tensor, target: int) -> None:
    """Copy digit `source` (B,) into slot `target`."""
    rows = _rows(s)
    for tensor in (s.joints, s.radii, s.segments, s.nails):
        tensor[:, target] = tensor[rows, source]


def _rotate(points: Tensor, pivot: Tensor, angle: Tensor) -> Tensor:
    """Turn points (B, J, 3) about pivot (B, 3) in the palm's plane; a positive angle turns towards the thumb."""
    offset = points - pivot[:, None]
    cos, sin = angle.cos()[:, None], angle.sin()[:, None]
    x = cos * offset[..., 0] + sin * offset[..., 1]
    y = -sin * offset[..., 0] + cos * offset[..., 1]
    return pivot[:, None] + torch.stack([x, y, offset[..., 2]], dim=-1)


def _missing(s: Skeleton, draws: Draws) -> None:
    """One finger is not there, or only its short stump."""
    rows, digit = _rows(s), draws.integer(1, 4)
    stump = draws.chance(0.5)
    end = torch.lerp(s.joints[rows, digit, 0], s.joints[rows, digit, 1], draws.uniform(0.45, 0.6)[:, None])
    s.joints[rows, digit, 1:] = end[:, None]
    s.radii[rows, digit, 1:] = s.radii[rows, digit, 1:2]
    s.segments[rows, digit] = stump.long()
    s.nails[rows, digit] = False


def _extra(s: Skeleton, draws: Draws) -> None:
    """A sixth digit: five fingers share the knuckles of four, or one grows beyond the little finger."""
    between, beyond = s.clone(), s
    share = torch.arange(5).double() * 0.75
    low = share.floor().long().clamp(max=2)
    weight = (share - low)[None, :, None, None]
    fingers, widths = s.joints[:, 1:5], s.radii[:, 1:5]
    between.joints[:, 1:6] = torch.lerp(fingers[:, low], fingers[:, low + 1], weight)
    between.radii[:, 1:6] = torch.lerp(widths[:, low], widths[:, low + 1], weight[..., 0]) * 0.86
    middle = between.joints[:, 3:4, :1]  # open the fan a little, so that six do not pile up
    between.joints[:, 1:6] += (between.joints[:, 1:6] - middle) * torch.tensor([0.1, 0.0, 0.0]).double()
    between.segments[:, EXTRA], between.nails[:, EXTRA] = 3, True

    _copy_digit(beyond, torch.full((len(s.segments),), 4), EXTRA)
    root = torch.lerp(s.metacarpals[:, 4, 0], s.metacarpals[:, 4, 1], draws.uniform(0.45, 0.75)[:, None])
    root[:, 0] -= 5.0
    moved = beyond.joints[:, EXTRA] - beyond.joints[:, EXTRA, :1] + root[:, None]
    beyond.joints[:, EXTRA] = _rotate(moved, root, -draws.uniform(0.35, 0.6))
    _choose(s, between, draws.chance(0.6))


def _choose(s: Skeleton, other: Skeleton, use_other: Tensor) -> None:
    """Take the hands of `other` where `use_other` (B,) holds."""
    for name, value in vars(s).items():
        condition = use_other.reshape(-1, *[1] * (value.dim() - 1))
        value.copy_(torch.where(condition, getattr(other, name), value))


def _fused(s: Skeleton, draws: Draws) -> None:
    """Two neighbouring fingers grown together along their whole length."""
    rows, digit = _rows(s), draws.integer(1, 3)
    first, second = s.joints[rows, digit], s.joints[rows, digit + 1]
    straight = 0.5 * (first + second)
    reach = 0.42 * s.radii[rows, digit, 0][:, None, None]
    across = torch.stack(
        [torch.ones_like(reach[..., 0]), torch.zeros_like(reach[..., 0]), torch.zeros_like(reach[..., 0])], -1
    )
    s.joints[rows, digit], s.joints[rows, digit + 1] = (
        straight + 2 * reach * across,
        straight - 2 * reach * across,
    )
    s.joints[:, EXTRA], s.radii[:, EXTRA] = straight, s.radii[rows, digit] * 1.04
    s.segments[:, EXTRA], s.nails[:, EXTRA] = 3, False


def _short(s: Skeleton, draws: Draws) -> None:
    """One finger with two segments."""
    _resegment(s, draws.integer(1, 4), (0, 2))


def _long(s: Skeleton, draws: Draws) -> None:
    """One finger with four segments."""
    _resegment(s, draws.integer(1, 4), (0, 1, 1, 2))


def _resegment(s: Skeleton, digit: Tensor, order: tuple[int, ...]) -> None:
    """Rebuild a finger from its segments in the given order."""
    rows = _rows(s)
    joints, radii = s.joints[rows, digit], s.radii[rows, digit]
    steps = (joints[:, 1:] - joints[:, :-1])[:, list(order)]
    positions = torch.cat([joints[:, :1], joints[:, :1] + steps.cumsum(1)], dim=1)
    inner = torch.stack([torch.lerp(radii[:, 0], radii[:, 3], k / len(order)) for k in range(1, len(order) + 1)], 1)
    s.joints[rows, digit] = pad_joints(positions)
    s.radii[rows, digit] = pad_joints(torch.cat([radii[:, :1], inner], dim=1))
    s.segments[rows, digit] = len(order)


def _no_thumb(s: Skeleton, draws: Draws) -> None:
    """No thumb, and a flat base where it should start."""
    del draws
    s.segments[:, 0], s.nails[:, 0] = 0, False
    s.thenar.zero_()


def _two_thumbs(s: Skeleton, draws: Draws) -> None:
    """A second thumb: beside the first, or on the side of the little finger."""
    _copy_digit(s, torch.zeros(len(s.segments)).long(), EXTRA)
    mirrored = s.clone()
    turn = draws.uniform(0.55, 0.8)
    s.joints[:, EXTRA] = _rotate(s.joints[:, EXTRA], s.metacarpals[:, 0, 1], turn)
    s.joints[:, 0] = _rotate(s.joints[:, 0], s.metacarpals[:, 0, 1], 0.15 - 0.25 * turn)
    root = torch.lerp(s.metacarpals[:, 4, 0], s.metacarpals[:, 4, 1], draws.uniform(0.3, 0.6)[:, None])
    thumb = mirrored.joints[:, 0] - mirrored.joints[:, :1, 0]
    flip = torch.tensor([-1.0, 1.0, 1.0]).double()
    root[:, 0] -= 6.0
    mirrored.joints[:, EXTRA] = _rotate(thumb * flip + root[:, None], root, -draws.uniform(0.1, 0.4))
    _choose(s, mirrored, draws.chance(0.5))


def _detached(s: Skeleton, draws: Draws) -> None:
    """The end of a finger floats away from it."""
    rows, digit, cut = _rows(s), draws.integer(1, 4), draws.integer(1, 2)
    joints, radii = s.joints[rows, digit], s.radii[rows, digit]
    direction = torch.nn.functional.normalize(joints[rows, 3] - joints[rows, 1], dim=-1)
    gap = (radii[rows, cut] + radii[rows, 2]) * draws.uniform(1.25, 1.65)
    shift = direction * gap[:, None] + draws.uniform(-3.0, 3.0)[:, None] * torch.tensor([1.0, 0.0, 0.0]).double()
    step = torch.arange(4)[None]
    loose = joints[rows[:, None], (cut[:, None] + step).clamp(max=3)] + shift[:, None]
    s.joints[:, EXTRA] = pad_joints(loose)
    s.radii[:, EXTRA] = pad_joints(radii[rows[:, None], (cut[:, None] + step).clamp(max=3)])
    s.segments[:, EXTRA], s.nails[:, EXTRA] = 3 - cut, True
    kept = torch.minimum(torch.arange(5)[None], cut[:, None])
    s.joints[rows, digit] = joints[rows[:, None], kept]
    s.radii[rows, digit] = radii[rows[:, None], kept]
    s.segments[rows, digit], s.nails[rows, digit] = cut, False


def _misplaced(s: Skeleton, draws: Draws) -> None:
    """One finger grows from the side of the palm or from the wrist instead of its knuckle."""
    rows, digit = _rows(s), draws.integer(1, 4)
    ulnar = s.metacarpals[:, 4, 0] * torch.tensor([1.0, 0.6, 1.0]).double()
    ulnar = ulnar + draws.uniform(0.0, 22.0)[:, None] * torch.tensor([0.0, 1.0, 0.0]).double()
    ulnar[:, 0] -= 4.0
    moved = s.joints[rows, digit] - s.joints[rows, digit, :1] + ulnar[:, None]
    s.joints[rows, digit] = _rotate(moved, ulnar, -draws.uniform(0.75, 1.25))


def _forked(s: Skeleton, draws: Draws) -> None:
    """A finger that splits in two at its middle joint."""
    rows, digit, at = _rows(s), draws.integer(1, 4), draws.integer(1, 1)
    joints, radii = s.joints[rows, digit], s.radii[rows, digit]
    pivot, spread = joints[rows, at], draws.uniform(0.36, 0.52)
    step = (at[:, None] + torch.arange(4)[None]).clamp(max=3)
    branch = joints[rows[:, None], step]
    s.joints[:, EXTRA] = pad_joints(_rotate(branch, pivot, spread))
    s.radii[:, EXTRA] = pad_joints(radii[rows[:, None], step] * 0.94)
    s.segments[:, EXTRA], s.nails[:, EXTRA] = 3 - at, True
    beyond = torch.arange(5)[None] > at[:, None]
    s.joints[rows, digit] = torch.where(beyond[..., None], _rotate(joints, pivot, -spread), joints)


def _bent(s: Skeleton, draws: Draws) -> None:
    """A finger that bends sideways at a joint, further than any ligament allows."""
    rows, digit, at = _rows(s), draws.integer(1, 4), draws.integer(1, 2)
    joints = s.joints[rows, digit]
    angle = draws.uniform(0.75, 1.2) * torch.where(draws.chance(0.5), 1.0, -1.0).double()
    beyond = torch.arange(5)[None] > at[:, None]
    s.joints[rows, digit] = torch.where(beyond[..., None], _rotate(joints, joints[rows, at], angle), joints)


def _blob(s: Skeleton, draws: Draws) -> None:
    """A lump like a fist with no more than two digits."""
    count = len(s.segments)
    order = draws.uniform(0.0, 1.0, columns=5).argsort(dim=1)
    keep = torch.arange(5)[None] < draws.integer(0, 2)[:, None]
    kept = torch.zeros(count, 5, dtype=torch.bool).scatter(1, order, keep)
    stub = torch.lerp(s.joints[:, :5, :1], s.joints[:, :5, 1:2], 0.5 * draws.uniform(0.6, 1.0)[:, None, None, None])
    s.joints[:, :5] = torch.where(
        kept[..., None, None],
        s.joints[:, :5],
        torch.cat([s.joints[:, :5, :1], stub.expand(-1, -1, 4, -1)], 2),
    )
    s.radii[:, :5] = torch.where(kept[..., None], s.radii[:, :5], s.radii[:, :5, :1].expand(-1, -1, 5))
    s.segments[:, :5] = torch.where(kept, s.segments[:, :5], 1)
    s.nails[:, :5] &= kept


MALFORMATIONS: dict[str, Callable[[Skeleton, Draws], None]] = {
    "missing": _missing,
    "extra": _extra,
    "fused": _fused,
    "short": _short,
    "long": _long,
    "no_thumb": _no_thumb,
    "two_thumbs": _two_thumbs,
    "detached": _detached,
    "misplaced": _misplaced,
    "forked": _forked,
    "bent": _bent,
    "blob": _blob,
}
KINDS: tuple[str, ...] = ("valid", *MALFORMATIONS)
VALID = 0


def malform(skeleton: Skeleton, kind: Tensor, draws: Draws) -> Skeleton:
    """Edit every hand that is not valid.

    Each malformation is applied to the whole batch with the same columns of `draws`, and kept where it is asked for:
    a hand's numbers then do not depend on what its neighbours in the batch are.

    Args:
        skeleton: correct hands.
        kind: (B,) index into `KINDS`.
        draws: numbers of the same hands.

    Returns:
        A new skeleton.
    """
    result, column = skeleton.clone(), draws.column
    for index, edit in enumerate(MALFORMATIONS.values(), start=1):
        if (kind == index).any():
            edited = skeleton.clone()
            draws.column = column
            edit(edited, draws)
            _choose(result, edited, kind == index)
    draws.column = column
    return result


def digit_labels(skeleton: Skeleton, kind: Tensor) -> tuple[Tensor, Tensor]:
    """What a person would count: digits (B,) and segments of thumb to little finger (B, 5).

    A stump or a stub is no digit, fused fingers are one, and a branch or a second thumb is one more. A floating piece
    belongs to the finger that it left.
    """
    names = torch.tensor([KINDS.index(name) for name in ("missing", "blob", "fused", "extra", "two_thumbs", "forked")])
    missing, blob, fused, extra, two_thumbs, forked = (kind == k for k in names)
    segments = skeleton.segments[:, :5].clone()
    segments[missing | blob] = torch.where(segments[missing | blob] == 1, 0, segments[missing | blob])
    digits = (segments > 0).sum(dim=1) - fused.long() + (extra | two_thumbs | forked).long()
    return digits, segments

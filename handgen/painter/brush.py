"""A round brush on tensors: quadratic Bezier strokes as chains of capsules, batched, deterministic, differentiable.

A chain of eight capsules differs by a twentieth of the ink from a finely sampled curve. Only the tiles that a capsule
touches are looked at: most strokes touch few of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

SEGMENTS = 8
TILE = 8
"""Pixels: side of the squares that are looked at or left out."""


def bezier_points(places: Tensor, segments: int = SEGMENTS) -> Tensor:
    """Points (N, segments + 1, 2) at even times of the curves with these start, control and end points (N, 3, 2)."""
    time = torch.linspace(0.0, 1.0, segments + 1, device=places.device)[:, None]
    start, control, end = places[:, None, 0], places[:, None, 1], places[:, None, 2]
    return (1 - time) ** 2 * start + 2 * time * (1 - time) * control + time**2 * end


def capsules(places: Tensor, radius: Tensor, size: int, segments: int = SEGMENTS) -> tuple[Tensor, Tensor]:
    """Ends (N, S, 2, 2) in pixels, as (x, y), and radii there (N, S, 2) of the capsules of strokes.

    Args:
        places: (N, 3, 2) in [0, 1].
        radius: (N, 2) at start and end, as shares of the canvas' side.
        size: height and width of the canvas in pixels.
        segments: S.
    """
    points = size * bezier_points(places, segments)
    time = torch.linspace(0.0, 1.0, segments + 1, device=places.device)
    radii = size * torch.lerp(radius[:, :1], radius[:, 1:], time)
    return points.unfold(1, 2, 1).transpose(2, 3), radii.unfold(1, 2, 1)


def _depth(x: Tensor, y: Tensor, along: Tensor, radii: Tensor) -> Tensor:
    """Radius less distance from the axis, (H, W, P), of places relative to the capsules' starts.

    Capsules come last as that is what a processor's wide registers are filled from.

    Args:
        x: (W, P).
        y: (H, 1, P).
        along: (2, P), from start to end.
        radii: (2, P).
    """
    across, down = along / along.square().sum(0).clamp(min=1e-8)
    # In place where autograd allows it: what is not written anew stays in the processor's cache.
    share = torch.add(x * across, y * down).clamp_(0.0, 1.0)
    sideways = torch.addcmul(y, share, along[1], value=-1)
    distance = torch.addcmul(x, share, along[0], value=-1).square_().addcmul_(sideways, sideways)
    distance.add_(1e-8).sqrt_()  # a root has no gradient at 0
    return torch.addcmul(radii[0], share, radii[1] - radii[0]).sub_(distance)


def coverage(
    places: Tensor, radius: Tensor, size: int, segments: int = SEGMENTS, drawn: Tensor | None = None
) -> Tensor:
    """How much of each pixel strokes cover, (N, size, size) in [0, 1].

    A pixel is covered by ``clip(1/2 + r - d, 0, 1)``, with the distance d of its middle from the nearest capsule's axis
    and the radius r there.

    Args:
        places: (N, 3, 2), start, control and end in [0, 1].
        radius: (N, 2) at start and end, as shares of the canvas' side.
        size: height and width of the canvas in pixels, a multiple of `TILE`.
        segments: capsules of a stroke.
        drawn: bool (N,), which of them cover anything; None are all. The others take no time.
    """
    across = size // TILE
    ends, radii = capsules(places, radius, size, segments)
    touched = _touched(ends, radii, across)  # (T, T, N, S)
    touched = touched if drawn is None else touched & drawn[:, None]
    in_use = touched.any(-1)
    number = in_use.flatten().cumsum(0).view_as(in_use) - 1  # of a tile among those in use
    row, column, stroke, segment = touched.nonzero(as_tuple=True)  # P pairs of a tile and a capsule
    start, stop = ends[stroke, segment].permute(1, 2, 0).contiguous()  # (2, P)
    middles = torch.arange(TILE, device=places.device)[:, None] + 0.5
    x, y = middles + (TILE * column - start[0]), middles + (TILE * row - start[1])
    depth = _depth(x, y[:, None], stop - start, radii[stroke, segment].t().contiguous())
    depth = depth.flatten(0, 1).t().contiguous()  # (P, TILE²)
    used = number[row, column, stroke, None].expand(-1, TILE**2)
    row, column, stroke = in_use.nonzero(as_tuple=True)
    deepest = torch.full((len(stroke), TILE**2), -1.0, device=places.device).scatter_reduce_(0, used, depth, "amax")
    covered = torch.zeros(len(places), across, across, TILE**2, device=places.device)
    covered.index_put_((stroke, row, column), (deepest + 0.5).clamp_(0.0, 1.0))
    return covered.view(-1, across, across, TILE, TILE).transpose(2, 3).reshape(-1, size, size)


def _touched(ends: Tensor, radii: Tensor, across: int) -> Tensor:
    """Which tiles the bounding boxes of capsules touch, bool (T, T, N, S), rows of tiles first.

    Args:
        ends: (N, S, 2, 2).
        radii: (N, S, 2).
        across: T, tiles side by side.
    """
    margin = radii.amax(-1, keepdim=True) + 0.5
    first = ((ends.amin(-2) - margin) / TILE).floor().permute(2, 0, 1).contiguous()
    last = ((ends.amax(-2) + margin) / TILE).ceil().permute(2, 0, 1).contiguous()
    tiles = torch.arange(across, dtype=ends.dtype, device=ends.device)[:, None, None, None]
    columns, rows = ((tiles >= first) & (tiles < last)).unbind(1)
    return rows[:, None] & columns


def paint(canvas: Tensor, covered: Tensor, colour: Tensor, opacity: Tensor) -> Tensor:
    """Canvases (N, C, H, W) with one stroke more each: ``(1 - a) canvas + a colour``, ``a = opacity covered``.

    Args:
        canvas: in [0, 1].
        covered: (N, H, W).
        colour: (N, C) in [0, 1].
        opacity: (N,) in [0, 1]; 0 leaves a canvas as it is.
    """
    share = (opacity[:, None, None] * covered)[:, None]
    return torch.lerp(canvas, colour[:, :, None, None], share)

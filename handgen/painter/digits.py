"""Digits drawn by the brush itself: a data set that needs no download, with the strokes that made it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from handgen.painter.brush import coverage

# Each digit as pen strokes through points of the unit square, (x, y) with y down; curves are smooth between them.
SHAPES: tuple[tuple[tuple[tuple[float, float], ...], ...], ...] = (
    (((0.5, 0.1), (0.2, 0.2), (0.15, 0.5), (0.2, 0.8), (0.5, 0.9), (0.8, 0.8), (0.85, 0.5), (0.8, 0.2), (0.5, 0.1)),),
    (((0.35, 0.25), (0.45, 0.18), (0.55, 0.1)), ((0.55, 0.1), (0.54, 0.5), (0.52, 0.9))),
    (
        ((0.2, 0.3), (0.3, 0.1), (0.7, 0.1), (0.78, 0.35), (0.5, 0.62), (0.2, 0.88)),
        ((0.2, 0.88), (0.5, 0.86), (0.82, 0.88)),
    ),
    (
        ((0.22, 0.15), (0.6, 0.05), (0.8, 0.28), (0.6, 0.46), (0.4, 0.48)),
        ((0.4, 0.48), (0.7, 0.48), (0.85, 0.7), (0.6, 0.95), (0.2, 0.85)),
    ),
    (
        ((0.6, 0.1), (0.4, 0.35), (0.18, 0.62)),
        ((0.18, 0.62), (0.5, 0.61), (0.85, 0.62)),
        ((0.65, 0.35), (0.64, 0.6), (0.63, 0.92)),
    ),
    (
        ((0.78, 0.12), (0.5, 0.11), (0.28, 0.12)),
        ((0.28, 0.12), (0.26, 0.28), (0.25, 0.45)),
        ((0.25, 0.45), (0.6, 0.35), (0.82, 0.6), (0.65, 0.9), (0.2, 0.86)),
    ),
    (((0.65, 0.1), (0.35, 0.3), (0.2, 0.62), (0.35, 0.92), (0.7, 0.9), (0.78, 0.65), (0.5, 0.5), (0.22, 0.68)),),
    (((0.18, 0.14), (0.5, 0.13), (0.82, 0.14)), ((0.82, 0.14), (0.6, 0.5), (0.42, 0.92))),
    (
        ((0.5, 0.48), (0.22, 0.38), (0.28, 0.12), (0.5, 0.08), (0.75, 0.14), (0.76, 0.36), (0.5, 0.48)),
        ((0.5, 0.48), (0.2, 0.6), (0.22, 0.88), (0.5, 0.94), (0.8, 0.88), (0.8, 0.6), (0.5, 0.48)),
    ),
    (
        ((0.78, 0.3), (0.55, 0.52), (0.24, 0.42), (0.28, 0.14), (0.6, 0.06), (0.78, 0.25)),
        ((0.78, 0.25), (0.76, 0.6), (0.6, 0.93)),
    ),
)


def smooth_curves(points: Tensor) -> Tensor:
    """Quadratic curves (n - 2, 3, 2) from the first of n points to the last, bent by those between.

    Each point between is a control point, and curves meet halfway between two of them.
    """
    halfway = 0.5 * (points[1:-2] + points[2:-1])
    starts, ends = torch.cat([points[:1], halfway]), torch.cat([halfway, points[-1:]])
    return torch.stack([starts, points[1:-1], ends], dim=1)


def draw_digits(labels: Tensor, seed: int, size: int = 32) -> Tensor:
    """Digits as somebody writes them: slanted, stretched, wobbling, thin or thick.

    Args:
        labels: int64 (N,), 0 to 9.
        seed: of all that varies; digit i of a seed is always the same.
        size: height and width in pixels, a multiple of 8.

    Returns:
        uint8 (N, 1, size, size), black on white.
    """
    images = [
        _draw(part, seed, start, size)
        for start, part in zip(range(0, len(labels), 256), labels.split(256), strict=False)
    ]
    return torch.cat(images) if images else torch.empty(0, 1, size, size, dtype=torch.uint8)


def _draw(labels: Tensor, seed: int, first: int, size: int) -> Tensor:
    """Digits from number ``first`` on."""
    places, owner, width = [], [], []
    for number, label in enumerate(labels.tolist()):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + first + number)
        curves = _handwriting(label, generator)
        places.append(curves)
        owner += [number] * len(curves)
        width += [0.025 + 0.025 * torch.rand((), generator=generator).item()] * len(curves)
    radius = torch.tensor(width)[:, None].expand(-1, 2)
    covered = coverage(torch.cat(places), radius, size)
    ink = torch.zeros(len(labels), size, size)
    ink.scatter_reduce_(0, torch.tensor(owner)[:, None, None].expand_as(covered), covered, "amax")
    return ((1.0 - ink) * 255.0).round().to(torch.uint8)[:, None]


def _handwriting(label: int, generator: torch.Generator) -> Tensor:
    """Curves (S, 3, 2) of one digit in [0, 1]."""
    turn, slant, wide, tall, x, y = (2.0 * torch.rand(6, generator=generator) - 1.0).tolist()
    angle = 0.15 * turn
    stretch = torch.tensor([[0.55 + 0.15 * wide, 0.2 * slant], [0.0, 0.68 + 0.08 * tall]])
    rotation = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    curves = []
    for points in SHAPES[label]:
        wobbling = torch.tensor(points) + 0.03 * torch.randn(len(points), 2, generator=generator)
        written = (wobbling - 0.5) @ stretch.T @ rotation.T + 0.5 + 0.05 * torch.tensor([x, y])
        curves.append(smooth_curves(written))
    return torch.cat(curves)

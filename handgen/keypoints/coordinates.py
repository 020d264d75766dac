"""From score maps to coordinates and back: soft-argmax, heat maps, transport. Pure functions.

Coordinates are (x, y) in [-1, 1], x to the right, y down; -1 and 1 are the borders of the image, so that the centre of
cell i of n lies at (2 i + 1) / n - 1 at every resolution (``align_corners=False``).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Marginals = Literal["joint", "published"]


def cell_centres(count: int, like: Tensor) -> Tensor:
    """Coordinates (count,) of the centres of ``count`` cells between -1 and 1, on the device of ``like``."""
    return (2.0 * torch.arange(count, device=like.device, dtype=torch.float32) + 1.0) / count - 1.0


def joint_marginals(scores: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Marginals of one softmax over all cells: the spatial soft-argmax of Levine et al. 2016 (arXiv:1504.00702).

    Args:
        scores: score maps (B, K, H, W).
        temperature: scores are divided by it; lower is sharper.

    Returns:
        Distributions over columns (B, K, W) and rows (B, K, H).
    """
    probability = cell_probability(scores, temperature)
    return probability.sum(dim=2), probability.sum(dim=3)


def published_marginals(scores: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Marginals as published with IMM: the *mean* of the scores over the other axis, then a softmax (section 3.1).

    The mean divides the score of a single bright cell by the height of the map, so the network has to grow large
    scores before a point moves.

    Args:
        scores: score maps (B, K, H, W).
        temperature: the means are divided by it; published: 1.

    Returns:
        Distributions over columns (B, K, W) and rows (B, K, H).
    """
    scores = scores.float() / temperature
    return scores.mean(dim=2).softmax(dim=-1), scores.mean(dim=3).softmax(dim=-1)


def cell_probability(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """Softmax of score maps (B, K, H, W) over all cells of each, in float32 whatever the maps are."""
    return (scores.float() / temperature).flatten(2).softmax(dim=-1).view(scores.shape)


def expected_coordinates(columns: Tensor, rows: Tensor) -> Tensor:
    """Mean position under a distribution over columns (B, K, W) and one over rows (B, K, H), as (B, K, 2)."""
    # Sums, not matrix products: these would be bfloat16 under autocast, which rounds coordinates to 1/256.
    x = (columns * cell_centres(columns.shape[-1], columns)).sum(dim=-1)
    y = (rows * cell_centres(rows.shape[-1], rows)).sum(dim=-1)
    return torch.stack([x, y], dim=-1)


def soft_argmax(scores: Tensor, marginals: Marginals = "joint", temperature: float = 1.0) -> Tensor:
    """Coordinates (B, K, 2) of score maps (B, K, H, W), by one of the two kinds of marginals."""
    return expected_coordinates(*marginals_of(scores, marginals, temperature))


def marginals_of(scores: Tensor, marginals: Marginals, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Either kind of marginals of score maps (B, K, H, W): over columns (B, K, W) and over rows (B, K, H)."""
    distributions = joint_marginals if marginals == "joint" else published_marginals
    return distributions(scores, temperature)


def gaussian_heatmaps(keypoints: Tensor, height: int, width: int, sigma: float) -> Tensor:
    """Heat maps ``exp(-d^2 / sigma^2)`` around keypoints, 1 at the point itself.

    The released IMM code has no factor 1/2: the standard deviation is ``sigma / sqrt(2)``.

    Args:
        keypoints: (B, K, 2) as (x, y) in [-1, 1].
        height: rows of the maps.
        width: columns of the maps.
        sigma: width in the same units as the coordinates.

    Returns:
        (B, K, height, width) in (0, 1].
    """
    across = keypoints[..., :1] - cell_centres(width, keypoints)
    down = keypoints[..., 1:] - cell_centres(height, keypoints)
    scaled = 1.0 / sigma**2
    return (-scaled * down.square())[..., :, None].exp() * (-scaled * across.square())[..., None, :].exp()


def transport(source: Tensor, target: Tensor, source_maps: Tensor, target_maps: Tensor) -> Tensor:
    """Erase features at the points of both frames and paste the target's at its points.

    ``(1 - H_s)(1 - H_t) F_s + H_t F_t``, with H the union of the points' heat maps (Kulkarni et al. 2019, Transporter,
    arXiv:1906.11883, eq. 1).

    Args:
        source: features (B, C, H, W) of the source frame.
        target: features of the target frame.
        source_maps: heat maps (B, K, H, W) of the source's points.
        target_maps: heat maps of the target's points.

    Returns:
        Features (B, C, H, W).
    """
    erased, pasted = union(source_maps), union(target_maps)
    return (1 - erased) * (1 - pasted) * source + pasted * target


def union(maps: Tensor) -> Tensor:
    """One map (B, 1, H, W) that is 1 wherever any of (B, K, H, W) is: ``1 - prod(1 - map)``."""
    return 1.0 - (1.0 - maps).prod(dim=1, keepdim=True)

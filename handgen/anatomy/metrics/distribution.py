"""Distances between two sets of images, measured on given feature vectors.

The features are those of a judge trained on hands (`judge_b`), not of an ImageNet network: the figures
compare runs of this project with each other, not with published FID or KID values.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from handgen.anatomy.metrics.rates import Estimate, bootstrap_interval, median_ratio, normal_quantile, share

CHUNK = 1024
"""Rows of a distance matrix held at once: 1024 x 10,000 float32 are 40 MB."""


def kernel_distance(samples: Tensor, reference: Tensor) -> Estimate:
    r"""Kernel distance (KID): unbiased squared MMD, cubic kernel (Binkowski 2018, arXiv:1801.01401).

    $$k(x, y) = (x \cdot y / F + 1)^3, \quad
    \frac{1}{m(m-1)}\sum_{i \ne j} k(x_i, x_j) + \frac{1}{n(n-1)}\sum_{i \ne j} k(y_i, y_j)
    - \frac{2}{mn}\sum_{i,j} k(x_i, y_j)$$

    All samples are used at once, not blocks of them. The interval is the jackknife's (leave one sample or one
    reference out); being unbiased the estimate may be slightly negative for equal distributions.

    Args:
        samples: Features (M, F), M >= 3.
        reference: Features (N, F), N >= 3.

    Returns:
        The squared MMD, in units of the kernel; papers print it times 1000. NaN with fewer than 3 rows.
    """
    x, y = samples.double(), reference.double()
    m, n, width = x.shape[0], y.shape[0], x.shape[1]
    if min(m, n) < 3:
        return Estimate(math.nan, math.nan, math.nan, m)
    within_x = _kernel_row_sums(x, x, width) - _kernel(x, x, width)
    within_y = _kernel_row_sums(y, y, width) - _kernel(y, y, width)
    cross_x = _kernel_row_sums(x, y, width)
    cross_y = _kernel_row_sums(y, x, width)
    total_x, total_y, total_cross = within_x.sum(), within_y.sum(), cross_x.sum()
    mean_x, mean_y, mean_cross = total_x / (m * (m - 1)), total_y / (n * (n - 1)), total_cross / (m * n)
    value = float(mean_x + mean_y - 2 * mean_cross)
    without_x = (total_x - 2 * within_x) / ((m - 1) * (m - 2)) - 2 * (total_cross - cross_x) / ((m - 1) * n)
    without_y = (total_y - 2 * within_y) / ((n - 1) * (n - 2)) - 2 * (total_cross - cross_y) / (m * (n - 1))
    variance = (m - 1) * without_x.var(unbiased=False) + (n - 1) * without_y.var(unbiased=False)
    half = normal_quantile() * math.sqrt(float(variance))
    return Estimate(value, value - half, value + half, m)


def _kernel(x: Tensor, y: Tensor, width: int) -> Tensor:
    """Cubic kernel of paired rows: (N, F), (N, F) -> (N,)."""
    return ((x * y).sum(dim=1) / width + 1) ** 3


def _kernel_row_sums(x: Tensor, y: Tensor, width: int) -> Tensor:
    """Sum over all rows of y of the cubic kernel with each row of x: (M, F), (N, F) -> (M,)."""
    return torch.cat([((part @ y.T / width + 1) ** 3).sum(dim=1) for part in torch.split(x, CHUNK)])


@dataclass(frozen=True)
class Overlap:
    """How two sets of features cover each other (all in [0, 1] but density, which may exceed 1).

    Attributes:
        density: Mean number of reference balls that hold a sample, divided by k. 1 when the sets agree.
        coverage: Share of reference points with at least one sample in their ball. 1 when nothing is missing.
        precision: Share of samples inside any reference ball (for reference: Kynkaanniemi 2019).
        recall: Share of reference points inside any ball of a sample (for reference: Kynkaanniemi 2019).
    """

    density: Estimate
    coverage: Estimate
    precision: Estimate
    recall: Estimate


def neighbour_radii(features: Tensor, k: int = 5) -> Tensor:
    """Distance of every point to its k-th nearest other point of the same set.

    Args:
        features: (N, F), N > k.
        k: Which neighbour, counted without the point itself.

    Returns:
        Radii (N,).

    Raises:
        ValueError: If there are not more than k points.
    """
    if features.shape[0] <= k:
        raise ValueError(f"the {k}-th neighbour needs more than {k} points, got {features.shape[0]}")
    # k + 1 smallest, since every point is its own nearest neighbour at distance 0.
    parts = [_exact_distance(part, features).kthvalue(k + 1, dim=1).values for part in torch.split(features, CHUNK)]
    return torch.cat(parts)


def density_coverage(samples: Tensor, reference: Tensor, k: int = 5) -> Overlap:
    r"""Density and coverage (Naeem 2020, arXiv 2002.09797, eq. 3-4), precision and recall beside them.

    With $B_i$ the ball around reference point $x_i$ that reaches its k-th nearest other reference point:

    $$\mathrm{density} = \frac{1}{kM}\sum_j \sum_i 1[y_j \in B_i], \quad
    \mathrm{coverage} = \frac{1}{N}\sum_i 1[\exists j: y_j \in B_i]$$

    Coverage grows with the number of samples: compare only figures with equal set sizes.

    Args:
        samples: Features y (M, F), M > k.
        reference: Features x (N, F), N > k.
        k: Neighbours that set a ball's radius.

    Returns:
        The four figures; shares carry Wilson intervals, density a bootstrap interval over the samples.
    """
    radii, sample_radii = neighbour_radii(reference, k), neighbour_radii(samples, k)
    balls = torch.zeros(samples.shape[0], dtype=torch.float64)
    covered = torch.zeros(reference.shape[0], dtype=torch.bool)
    recalled = torch.zeros(reference.shape[0], dtype=torch.bool)
    for start in range(0, samples.shape[0], CHUNK):
        rows = slice(start, start + CHUNK)
        distance = _exact_distance(samples[rows], reference)
        inside = distance < radii
        balls[rows] = inside.sum(dim=1).double().cpu()
        covered |= inside.any(dim=0).cpu()
        recalled |= (distance < sample_radii[rows, None]).any(dim=0).cpu()
    per_sample = balls / k
    low, high = bootstrap_interval(lambda drawn: drawn.mean(dim=-1), per_sample)
    density = Estimate(float(per_sample.mean()), low, high, samples.shape[0])
    return Overlap(density, share(covered), share(balls > 0), share(recalled))


def nearest_neighbours(queries: Tensor, database: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest database row of every query, by Euclidean distance.

    Args:
        queries: Features (M, F).
        database: Features (N, F), N >= 1.

    Returns:
        Distances (M,) and indices into `database` (M,).
    """
    indices = torch.cat([torch.cdist(part, database).argmin(dim=1) for part in torch.split(queries, CHUNK)])
    # cdist goes through a matrix product, whose rounding hides copies: measure the winner exactly.
    return (queries - database[indices]).norm(dim=1), indices


def novelty(sample_distances: Tensor, held_out_distances: Tensor) -> Estimate:
    """How far samples keep from the training images, in units of how far held-out images keep.

    Near 1 is right; below 0.5 the samples are copies of training images; above 1.5 they have left the data.

    Args:
        sample_distances: Distance of each sample to its nearest training image (M,), from
            `nearest_neighbours`.
        held_out_distances: The same for held-out images (N,).

    Returns:
        Ratio of the medians with its bootstrap interval.
    """
    return median_ratio(sample_distances, held_out_distances)


def _exact_distance(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (M, N) without the matrix-product shortcut: ties and zeros stay exact."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")

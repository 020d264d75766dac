"""What keypoints know of the truth: regressions from coordinates alone to labels that training never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from handgen.results import Measurement

FIT, GRADE = 0, 1
RESAMPLES = 500
KERNEL_FRAMES = 1000


@dataclass(frozen=True)
class Probed:
    """Keypoints of one evaluation batch with their labels.

    Attributes:
        keypoints: (B, K, 2).
        split: (B,): 0 to fit on, 1 to grade.
        labels: by kind, a key of `PROBES`.
    """

    keypoints: Tensor
    split: Tensor
    labels: dict[str, Tensor]


def figures(probed: Sequence[Probed], intervals: bool = True) -> list[Measurement]:
    """Everything that can be measured of the keypoints kept, for each kind of label that they have.

    Args:
        probed: what was kept of the evaluation.
        intervals: whether with 95% intervals, which take a second.
    """
    if not probed or not probed[0].labels:
        return []
    features = torch.cat([part.keypoints for part in probed]).flatten(1).double()
    split = torch.cat([part.split for part in probed])
    fit, grade = split == FIT, split == GRADE
    if not (fit.any() and grade.any()):
        return []
    found = []
    for kind in probed[0].labels:
        labels = torch.cat([part.labels[kind] for part in probed]).double()
        if not labels.isnan().any():
            found += PROBES[kind](features[fit], labels[fit], features[grade], labels[grade])
    return [figure.measured(intervals) for figure in found]


@dataclass(frozen=True)
class Figure:
    """A figure that is a statistic over graded frames.

    Attributes:
        metric: its name.
        values: (V, N), one column a frame.
        statistic: of (V, N).
    """

    metric: str
    values: Tensor
    statistic: Callable[[Tensor], Tensor]

    def measured(self, interval: bool) -> Measurement:
        """The figure, with its 95% bootstrap interval over frames if asked."""
        value, count = float(self.statistic(self.values)), self.values.shape[1]
        if not interval:
            return Measurement(self.metric, value, n=count)
        draws = torch.randint(count, (RESAMPLES, count), generator=torch.Generator().manual_seed(0))
        resampled = torch.stack([self.statistic(self.values[:, draw]) for draw in draws])
        low, high = resampled.quantile(torch.tensor([0.025, 0.975]).to(resampled)).tolist()
        return Measurement(self.metric, value, low, high, count)


def linear_regression(features: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    """Least squares with an intercept.

    Args:
        features: (N, F).
        labels: (N, L).

    Returns:
        The map from (M, F) to (M, L).
    """
    weights = torch.linalg.lstsq(_with_ones(features), labels, driver="gelsd").solution
    return lambda others: _with_ones(others) @ weights


def kernel_regression(features: Tensor, labels: Tensor, ridge: float = 1e-4) -> Callable[[Tensor], Tensor]:
    """Kernel ridge regression: what the coordinates tell a reader that is not linear.

    Standardised features, a Gaussian kernel as wide as their median distance.

    Args:
        features: (N, F).
        labels: (N, L).
        ridge: added to the diagonal of the kernel.

    Returns:
        The map from (M, F) to (M, L).
    """
    features, labels = features[:KERNEL_FRAMES], labels[:KERNEL_FRAMES]
    mean, deviation, centre = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6), labels.mean(dim=0)
    anchors = (features - mean) / deviation
    width = torch.cdist(anchors, anchors).median()

    def kernel(others: Tensor) -> Tensor:
        return (-(torch.cdist(others, anchors) / width).square()).exp()

    weights = torch.linalg.solve(kernel(anchors) + ridge * torch.eye(len(anchors)).to(features), labels - centre)
    return lambda others: kernel((others - mean) / deviation) @ weights + centre


def cart_pole_figures(fit: Tensor, fit_labels: Tensor, grade: Tensor, labels: Tensor) -> list[Figure]:
    """How well x, sin and cos are read off, by a linear map (``probe/NAME``) and a kernel one (``probe/kernel_NAME``).

    Args:
        fit: features (N, F) to fit on.
        fit_labels: their x (metres), sin and cos (N, 3).
        grade: features (M, F) to grade.
        labels: theirs (M, 3).
    """
    found = []
    for prefix, regression in (("probe/", linear_regression), ("probe/kernel_", kernel_regression)):
        predicted = regression(fit, fit_labels)(grade)
        for column, name in enumerate(("x", "sin", "cos")):
            pair = torch.stack([predicted[:, column], labels[:, column]])
            found.append(Figure(f"{prefix}r2_{name}", pair, lambda p: r_squared(p[0], p[1])))
        angle = angle_error_deg(predicted[:, 1:], labels[:, 1:])
        found.append(Figure(f"{prefix}angle_deg_median", angle[None], lambda e: e[0].median()))
        offset = (predicted[:, 0] - labels[:, 0]).abs()
        found.append(Figure(f"{prefix}x_m_median", offset[None], lambda e: e[0].median()))
    return found


def joint_figures(fit: Tensor, fit_labels: Tensor, grade: Tensor, labels: Tensor) -> list[Figure]:
    """Mean distance of linearly predicted joints from the true ones, as a share of a hand's size; and the mean hand's.

    The size is the distance from the wrist to the tip of the middle finger, joints 0 and 12 of the renderer's 21.

    Args:
        fit: features (N, F) to fit on.
        fit_labels: their joints (N, J, 2).
        grade: features (M, F) to grade.
        labels: theirs (M, J, 2).
    """
    flat = fit_labels.flatten(1)
    predicted = linear_regression(fit, flat)(grade).view_as(labels)
    size = (labels[:, 12] - labels[:, 0]).norm(dim=-1)
    found = []
    for name, guess in (("joint_error", predicted), ("joint_error_constant", flat.mean(dim=0).view(labels.shape[1:]))):
        error = (guess - labels).norm(dim=-1).mean(dim=1) / size
        found.append(Figure(f"probe/{name}", error[None], lambda e: e[0].mean()))
    return found


PROBES = {"state": cart_pole_figures, "joints": joint_figures}
"""What is measured for each kind of label, by the key that a batch holds it under."""


def r_squared(predicted: Tensor, labels: Tensor) -> Tensor:
    """Share of the labels' variance that predictions (N,) explain."""
    return 1.0 - (predicted - labels).square().sum() / (labels - labels.mean()).square().sum()


def angle_error_deg(predicted: Tensor, labels: Tensor) -> Tensor:
    """Absolute difference in degrees (N,) of the angles of (sin, cos) pairs (N, 2), at most 180."""
    difference = torch.atan2(predicted[:, 0], predicted[:, 1]) - torch.atan2(labels[:, 0], labels[:, 1])
    return torch.atan2(difference.sin(), difference.cos()).abs().rad2deg()


def _with_ones(features: Tensor) -> Tensor:
    return torch.cat([features, torch.ones_like(features[:, :1])], dim=1)

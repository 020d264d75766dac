"""The hand metrics as torchmetrics: `update` with batches, `compute` once, summed or gathered over processes.

Each class wraps pure functions of this package. `compute` returns the value alone, so that `self.log` takes
it; `estimate` returns it with its 95% interval.
"""

from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from handgen.anatomy.metrics.appearance import (
    fingers_up_from_keypoints,
    laplacian_variance,
    skin_and_orientation,
)
from handgen.anatomy.metrics.distribution import (
    Overlap,
    density_coverage,
    kernel_distance,
    nearest_neighbours,
    novelty,
)
from handgen.anatomy.metrics.rates import Estimate, corrected_share, median_ratio, wilson_interval


class EstimateMetric(Metric):
    """A metric whose result has an interval."""

    full_state_update = False

    @abstractmethod
    def _estimate(self) -> Estimate:
        """Value and interval from the state of this process, already reduced."""

    def estimate(self) -> Estimate:
        """Value with its 95% interval, over all processes."""
        with self.sync_context():
            return self._estimate()

    def compute(self) -> Tensor:
        """The value alone, a scalar."""
        return torch.tensor(self._estimate().value)


class ShareMetric(EstimateMetric):
    """Share of samples with a property; state: two counts, summed over processes."""

    higher_is_better = True
    successes: Tensor
    trials: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("successes", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("trials", torch.tensor(0), dist_reduce_fx="sum")

    def _count(self, flags: Tensor) -> None:
        self.successes += flags.sum()
        self.trials += flags.numel()

    def _estimate(self) -> Estimate:
        successes, trials = int(self.successes), int(self.trials)
        low, high = wilson_interval(successes, trials)
        return Estimate(successes / trials if trials else float("nan"), low, high, trials)


class ValidRate(ShareMetric):
    """Share of samples a judge accepts as an anatomically valid hand.

    Args:
        sensitivity: Share of truly valid images the judge accepts, in [0, 1].
        specificity: Share of truly malformed images the judge rejects, in [0, 1].
    """

    def __init__(self, sensitivity: float = 1.0, specificity: float = 1.0) -> None:
        super().__init__()
        self.sensitivity = sensitivity
        self.specificity = specificity

    def update(self, valid: Tensor) -> None:
        """Counts verdicts.

        Args:
            valid: Bool (B,), `verdict.valid` of a judge.
        """
        self._count(valid)

    def corrected(self) -> Estimate:
        """The share corrected for the judge's errors (Rogan and Gladen 1978), over all processes."""
        return corrected_share(self.estimate(), self.sensitivity, self.specificity)


class SkinTone(ShareMetric):
    """Share of images whose hand has a human skin tone."""

    def update(self, image: Tensor) -> None:
        """Counts images.

        Args:
            image: Float (B, 3, H, W) in [0, 1].
        """
        self._count(skin_and_orientation(image)[0])


class Orientation(ShareMetric):
    """Share of images with the fingers up."""

    def update(self, image: Tensor | None = None, keypoints: Tensor | None = None) -> None:
        """Counts images, by their keypoints when given, else by their silhouette.

        Args:
            image: Float (B, 3, H, W) in [0, 1].
            keypoints: (B, 21, 2) as (x, y) in [-1, 1], y down.

        Raises:
            ValueError: If neither is given.
        """
        if keypoints is not None:
            self._count(fingers_up_from_keypoints(keypoints))
        elif image is not None:
            self._count(skin_and_orientation(image)[1])
        else:
            raise ValueError("Orientation.update needs an image or keypoints")


class _TwoSets(EstimateMetric):
    """Keeps one tensor per batch of samples and of reference images; gathered over processes."""

    samples: list[Tensor]
    reference: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("samples", [], dist_reduce_fx="cat")
        self.add_state("reference", [], dist_reduce_fx="cat")

    def _keep(self, values: Tensor, real: bool) -> None:
        (self.reference if real else self.samples).append(values.detach())

    def _sets(self) -> tuple[Tensor, Tensor]:
        return dim_zero_cat(self.samples), dim_zero_cat(self.reference)


class KernelDistance(_TwoSets):
    """Kernel distance (KID) between the features of samples and of real images."""

    higher_is_better = False

    def update(self, features: Tensor, real: bool) -> None:
        """Keeps features.

        Args:
            features: (B, F).
            real: Whether they come from real (held-out) images.
        """
        self._keep(features, real)

    def _estimate(self) -> Estimate:
        return kernel_distance(*self._sets())


class Sharpness(_TwoSets):
    """Median Laplacian variance of samples, relative to that of held-out images."""

    def update(self, image: Tensor, real: bool) -> None:
        """Keeps one number per image.

        Args:
            image: Float (B, 3, H, W) in [0, 1].
            real: Whether they are held-out images.
        """
        self._keep(laplacian_variance(image), real)

    def _estimate(self) -> Estimate:
        return median_ratio(*self._sets())


class DensityCoverage(Metric):
    """Density and coverage (Naeem 2020), precision and recall, of samples against real images.

    Args:
        k: Neighbours that set a ball's radius.
    """

    full_state_update = False
    samples: list[Tensor]
    reference: list[Tensor]

    def __init__(self, k: int = 5) -> None:
        super().__init__()
        self.k = k
        self.add_state("samples", [], dist_reduce_fx="cat")
        self.add_state("reference", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, real: bool) -> None:
        """Keeps features.

        Args:
            features: (B, F).
            real: Whether they come from real (held-out) images.
        """
        (self.reference if real else self.samples).append(features.detach())

    def _overlap(self) -> Overlap:
        return density_coverage(dim_zero_cat(self.samples), dim_zero_cat(self.reference), self.k)

    def overlap(self) -> Overlap:
        """The four figures with their intervals, over all processes."""
        with self.sync_context():
            return self._overlap()

    def compute(self) -> dict[str, Tensor]:
        """The four values: "density", "coverage", "precision", "recall"."""
        overlap = self._overlap()
        names = ("density", "coverage", "precision", "recall")
        return {name: torch.tensor(getattr(overlap, name).value) for name in names}


class Novelty(EstimateMetric):
    """Distance of samples to their nearest training image, relative to that of held-out images."""

    sample_features: list[Tensor]
    train_features: list[Tensor]
    held_out_features: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("sample", "train", "held_out"):
            self.add_state(f"{name}_features", [], dist_reduce_fx="cat")

    def update(self, features: Tensor, source: Literal["sample", "train", "held_out"]) -> None:
        """Keeps features.

        Args:
            features: (B, F).
            source: Where the images come from.
        """
        kept: list[Tensor] = getattr(self, f"{source}_features")
        kept.append(features.detach())

    def _estimate(self) -> Estimate:
        train = dim_zero_cat(self.train_features)
        sample, _ = nearest_neighbours(dim_zero_cat(self.sample_features), train)
        held_out, _ = nearest_neighbours(dim_zero_cat(self.held_out_features), train)
        return novelty(sample, held_out)

"""Evaluation of sets of hand images: every figure of a row in the results table, with its interval.

Pure: uint8 images in, `Measurement`s out. `handgen.callbacks.hand_evaluation` feeds it with a model's
    samples.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from handgen.anatomy.metrics import (
    Estimate,
    corrected_share,
    density_coverage,
    kernel_distance,
    laplacian_variance,
    median_ratio,
    nearest_neighbours,
    novelty,
    share,
    skin_and_orientation,
)
from handgen.errors import UserError
from handgen.results import Measurement

HELD_OUT = "heldout"
"""Name of the variant that holds the test images themselves: the ceiling of every other row."""
FEATURE_JUDGE = "judge_b"
"""The judge whose features measure distances between images."""
NEIGHBOURS = 5
_BATCH = 250


class Verdict(Protocol):
    """A judge's answer about a batch of images."""

    @property
    def valid(self) -> Tensor:
        """Bool (B,): an anatomically valid hand."""


class Judge(Protocol):
    """What the evaluation needs of a judge; `handgen.anatomy.judges` holds the real ones."""

    sensitivity: float
    specificity: float

    def verdict(self, image: Tensor) -> Verdict:
        """Judges float images (B, 3, H, W) in [0, 1]."""


@dataclass(frozen=True)
class Cost:
    """What it took to draw the samples of one variant.

    Attributes:
        seconds: Wall time of drawing and decoding, in seconds.
        decoder_calls: Number of images decoded (each counts, also those thrown away).
    """

    seconds: float
    decoder_calls: int


@dataclass(frozen=True)
class Reference:
    """What every variant is compared with; made once per evaluation by `prepare_reference`.

    Attributes:
        train_features: Features of all training images (N, F).
        test_features: Features of held-out images (M, F), in shuffled order.
        train_stand_in: Features of M training images, compared with the test images as the self-baseline.
        held_out_distances: Distance of each held-out image to its nearest training image (M,).
        held_out_sharpness: Laplacian variance of each held-out image (M,).
    """

    train_features: Tensor
    test_features: Tensor
    train_stand_in: Tensor
    held_out_distances: Tensor
    held_out_sharpness: Tensor


def map_batches(function: Callable[[Tensor], Tensor], images: Tensor, device: torch.device | None = None) -> Tensor:
    """Applies a function to uint8 images in batches, without gradients.

    Args:
        function: Maps float (B, 3, H, W) in [0, 1] to a tensor with B rows.
        images: Uint8 (N, 3, H, W), N >= 1.
        device: Where the function runs.

    Returns:
        The rows for all N images, on the CPU.
    """
    with torch.no_grad():
        parts = [function(part.to(device).float() / 255).cpu() for part in torch.split(images, _BATCH)]
    return torch.cat(parts)


def device_of(judge: object) -> torch.device:
    """Device of a judge's weights; the CPU for judges without any."""
    if isinstance(judge, torch.nn.Module):
        for tensor in (*judge.parameters(), *judge.buffers()):
            return tensor.device
    return torch.device("cpu")


def features(images: Tensor, judges: Mapping[str, Judge]) -> Tensor:
    """Features of images by the judge that measures distances.

    Args:
        images: Uint8 (N, 3, H, W).
        judges: Judges by name, with "judge_b" among them.

    Returns:
        Float (N, F).

    Raises:
        UserError: If that judge is missing.
    """
    judge = judges.get(FEATURE_JUDGE)
    compute: Callable[[Tensor], Tensor] | None = getattr(judge, "features", None)
    if compute is None:
        raise UserError(f"the evaluation needs {FEATURE_JUDGE!r} with features(); got judges {sorted(judges)}")
    return map_batches(compute, images, device_of(judge)).flatten(1).float()


def shuffled(count: int, seed: int = 0) -> Tensor:
    """A fixed random order of 0..count-1, so that a part of a sorted data set is a fair sample of it."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def prepare_reference(train: Tensor, test: Tensor, judges: Mapping[str, Judge], samples: int = 1000) -> Reference:
    """Measures the real images once.

    Args:
        train: Uint8 training images (N, 3, H, W).
        test: Uint8 held-out images (M, 3, H, W).
        judges: Judges by name, with "judge_b" among them.
        samples: Held-out images to use at most; the size of the sample sets.

    Returns:
        Features and the held-out images' own figures.

    Raises:
        UserError: If there are too few images to compare with.
    """
    smallest = min(len(train), len(test))
    if smallest <= NEIGHBOURS:
        raise UserError(
            f"the evaluation needs more than {NEIGHBOURS} training and test images each, got {len(train)} "
            f"and {len(test)}: give the data set more images"
        )
    chosen = test[shuffled(len(test))[:samples]]
    train_features, test_features = features(train, judges), features(chosen, judges)
    stand_in = train_features[shuffled(len(train))[: len(chosen)]]
    distances, _ = nearest_neighbours(test_features, train_features)
    sharpness = map_batches(laplacian_variance, chosen)
    return Reference(train_features, test_features, stand_in, distances, sharpness)


def judge_images(images: Tensor, judges: Mapping[str, Judge]) -> dict[str, Tensor]:
    """Verdict of every judge on every image.

    Args:
        images: Uint8 (N, 3, H, W).
        judges: Judges by name.

    Returns:
        Bool (N,) by judge: accepted as a valid hand.
    """

    def verdicts(judge: Judge) -> Tensor:
        return map_batches(lambda image: judge.verdict(image).valid, images, device_of(judge))

    return {name: verdicts(judge) for name, judge in judges.items()}


def evaluate_variant(
    variant: str,
    images: Tensor,
    reference: Reference,
    judges: Mapping[str, Judge],
    rewarded: Collection[str] = (),
    cost: Cost | None = None,
    corrected: bool = True,
) -> list[Measurement]:
    """All figures of one set of images.

    Args:
        variant: Name of the set; "heldout" marks the test images themselves, whose distances to the test set
            are measured on training images instead (the self-baseline).
        images: Uint8 (N, 3, H, W), N > 5, not selected.
        reference: From `prepare_reference`.
        judges: Judges by name.
        rewarded: Judges that an agent was rewarded by: left out of the headline rate.
        cost: What the images cost to draw.
        corrected: Also correct the rates for the judges' reliability, which was measured on rendered hands: not for
            photographs.

    Returns:
        One measurement per metric; what cannot be measured (a cost per valid sample when none was valid) is
        left out.

    Raises:
        UserError: If there are too few images, or every judge gave reward.
    """
    if len(images) <= NEIGHBOURS:
        raise UserError(f"variant {variant!r} has {len(images)} images; the evaluation needs more than {NEIGHBOURS}")
    found = _valid_rates(judge_images(images, judges), judges, rewarded)
    if not corrected:
        found = {metric: rate for metric, rate in found.items() if not metric.startswith("valid_rate_corrected/")}
    found |= _distribution(variant, images, reference, judges)
    found |= _appearance(images, reference)
    if cost is not None:
        found |= _costs(cost, found["valid_rate/strictest"])
    return [
        Measurement(metric, e.value, _finite(e.low), _finite(e.high), e.n, variant)
        for metric, e in found.items()
        if math.isfinite(e.value)
    ]


def _finite(bound: float) -> float | None:
    """An end of an interval, None if it is open: JSON knows no infinity."""
    return bound if math.isfinite(bound) else None


def _valid_rates(
    valid: Mapping[str, Tensor], judges: Mapping[str, Judge], rewarded: Collection[str]
) -> dict[str, Estimate]:
    """Raw and corrected rates per judge, and the minimum over the judges that gave no reward."""
    independent = [name for name in valid if name not in rewarded]
    if not independent:
        raise UserError(f"every judge gave reward ({sorted(rewarded)}): keep one apart to grade the samples")
    raw = {name: share(flags) for name, flags in valid.items()}
    corrected = {
        name: corrected_share(rate, judges[name].sensitivity, judges[name].specificity) for name, rate in raw.items()
    }
    found = {f"valid_rate/{name}": rate for name, rate in raw.items()}
    found["valid_rate/strictest"] = min((raw[name] for name in independent), key=lambda rate: rate.value)
    found |= {f"valid_rate_corrected/{name}": rate for name, rate in corrected.items()}
    usable = [corrected[name] for name in independent if not math.isnan(corrected[name].value)]
    if usable:
        found["valid_rate_corrected/strictest"] = min(usable, key=lambda rate: rate.value)
    return found


def _distribution(
    variant: str, images: Tensor, reference: Reference, judges: Mapping[str, Judge]
) -> dict[str, Estimate]:
    """Kernel distance, density, coverage, precision, recall and novelty by judge B's features."""
    own = features(images, judges)
    compared = reference.train_stand_in if variant == HELD_OUT else own
    # Equal sizes on both sides: coverage grows with the number of samples.
    count = min(len(compared), len(reference.test_features))
    compared, test = compared[:count], reference.test_features[:count]
    overlap = density_coverage(compared, test, NEIGHBOURS)
    distances, _ = nearest_neighbours(own, reference.train_features)
    return {
        "coverage": overlap.coverage,
        "density": overlap.density,
        "precision": overlap.precision,
        "recall": overlap.recall,
        "kid": kernel_distance(compared, test),
        "novelty": novelty(distances, reference.held_out_distances),
    }


def _appearance(images: Tensor, reference: Reference) -> dict[str, Estimate]:
    """Sharpness, skin and orientation, from one pass over the images."""

    def measure(image: Tensor) -> Tensor:
        flags = torch.stack(skin_and_orientation(image), dim=1)
        return torch.cat([laplacian_variance(image)[:, None], flags.float()], dim=1)

    sharpness, skin, upright = map_batches(measure, images).unbind(dim=1)
    return {
        "sharpness": median_ratio(sharpness, reference.held_out_sharpness),
        "skin": share(skin > 0.5),
        "orientation": share(upright > 0.5),
    }


def _costs(cost: Cost, rate: Estimate) -> dict[str, Estimate]:
    """Cost per valid sample by the strictest independent judge; infinite when none was valid."""

    def per_valid(total: float) -> Estimate:
        value, low, high = (
            total / (end * rate.n) if end > 0 else math.inf for end in (rate.value, rate.high, rate.low)
        )
        return Estimate(value, low, high, rate.n)

    return {
        "seconds_per_valid": per_valid(cost.seconds),
        "decoder_calls_per_valid": per_valid(float(cost.decoder_calls)),
    }

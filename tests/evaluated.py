"""Several sets of images measured at once."""

from collections.abc import Collection, Mapping

from torch import Tensor

from handgen.anatomy.evaluation import Cost, Judge, evaluate_variant, prepare_reference
from handgen.results import Measurement


def evaluate_images(
    images_by_variant: Mapping[str, Tensor],
    train: Tensor,
    test: Tensor,
    judges: Mapping[str, Judge],
    rewarded: Collection[str] = (),
    costs: Mapping[str, Cost] | None = None,
) -> list[Measurement]:
    """All figures of several sets of images; the real images are measured once."""
    reference = prepare_reference(train, test, judges, max(map(len, images_by_variant.values())))
    measurements: list[Measurement] = []
    for variant, images in images_by_variant.items():
        measurements += evaluate_variant(variant, images, reference, judges, rewarded, (costs or {}).get(variant))
    return measurements

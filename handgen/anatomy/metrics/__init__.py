"""Metrics of generated hands: rates with intervals, distances between image sets, appearance.

Pure functions for whole sets of images, and the same as torchmetrics (`ValidRate` ... `Orientation`) for
batches. `docs/metrics.md` lists every metric key with its formula and source.
"""

from handgen.anatomy.metrics.appearance import (
    fingers_up_from_keypoints,
    fingers_up_from_mask,
    foreground_mask,
    is_skin_tone,
    laplacian_variance,
    median_skin_colour,
    skin_and_orientation,
    srgb_to_lab,
    typology_angle,
)
from handgen.anatomy.metrics.distribution import (
    Overlap,
    density_coverage,
    kernel_distance,
    nearest_neighbours,
    novelty,
)
from handgen.anatomy.metrics.rates import (
    Estimate,
    bootstrap_interval,
    corrected_share,
    median_ratio,
    rogan_gladen,
    share,
    wilson_interval,
)
from handgen.anatomy.metrics.stateful import (
    DensityCoverage,
    KernelDistance,
    Novelty,
    Orientation,
    Sharpness,
    SkinTone,
    ValidRate,
)

__all__ = [
    "DensityCoverage",
    "Estimate",
    "KernelDistance",
    "Novelty",
    "Orientation",
    "Overlap",
    "Sharpness",
    "SkinTone",
    "ValidRate",
    "bootstrap_interval",
    "corrected_share",
    "density_coverage",
    "fingers_up_from_keypoints",
    "fingers_up_from_mask",
    "foreground_mask",
    "is_skin_tone",
    "kernel_distance",
    "laplacian_variance",
    "median_ratio",
    "median_skin_colour",
    "nearest_neighbours",
    "novelty",
    "rogan_gladen",
    "share",
    "skin_and_orientation",
    "srgb_to_lab",
    "typology_angle",
    "wilson_interval",
]

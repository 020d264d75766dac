import pytest
import torch

from handgen.anatomy import metrics
from handgen.anatomy.metrics import (
    DensityCoverage,
    KernelDistance,
    Novelty,
    Orientation,
    Sharpness,
    SkinTone,
    ValidRate,
)


def gaussian(count: int, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)) + shift


def test_valid_rate_over_batches() -> None:
    rate = ValidRate(sensitivity=0.9, specificity=0.95)
    rate.update(torch.tensor([True] * 10))
    rate.update(torch.tensor([True] * 5 + [False] * 5))
    assert float(rate.compute()) == 0.75
    assert rate.estimate().low == pytest.approx(0.531, abs=1e-3)
    assert rate.corrected().value == pytest.approx(0.70 / 0.85)


def test_reset_forgets() -> None:
    rate = ValidRate()
    rate.update(torch.tensor([True]))
    rate.reset()
    rate.update(torch.tensor([False]))
    assert float(rate.compute()) == 0.0


def test_two_processes_add_up() -> None:
    first, second = ValidRate(), ValidRate()
    first.update(torch.tensor([True, True]))
    second.update(torch.tensor([False, True, False]))
    first.merge_state(second)
    assert float(first.compute()) == pytest.approx(3 / 5)


def test_kernel_distance_equals_the_pure_function_on_all_batches() -> None:
    x, y = gaussian(60), gaussian(50, 1.0, 1)
    metric = KernelDistance()
    for part in x.split(20):
        metric.update(part, real=False)
    for part in y.split(25):
        metric.update(part, real=True)
    assert metric.estimate() == metrics.kernel_distance(x, y)
    assert float(metric.compute()) == pytest.approx(metrics.kernel_distance(x, y).value)


def test_density_coverage_names_its_four_figures() -> None:
    metric = DensityCoverage(k=3)
    x = gaussian(40)
    metric.update(x, real=False)
    metric.update(x, real=True)
    assert {name: float(v) for name, v in metric.compute().items()} == pytest.approx(
        {"density": 1.0, "coverage": 1.0, "precision": 1.0, "recall": 1.0}
    )


def test_novelty_keeps_three_sets_apart_and_still_trains() -> None:
    metric = Novelty()
    metric.update(gaussian(100), "train")
    metric.update(gaussian(40, seed=1), "held_out")
    metric.update(gaussian(100)[:30], "sample")
    assert float(metric.compute()) == 0.0
    assert metric.train() is metric  # Module.train must not be shadowed by a state


def test_sharpness_is_relative_to_held_out_images() -> None:
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    metric = Sharpness()
    metric.update(images, real=True)
    metric.update(0.5 * images, real=False)
    assert float(metric.compute()) == pytest.approx(0.25, rel=1e-3)


def test_skin_and_orientation_count_images() -> None:
    image = torch.full((2, 3, 32, 32), 0.95)
    image[0, :, 16:, 12:20] = torch.tensor([0.79, 0.56, 0.43]).view(3, 1, 1)
    image[0, :, 4:16, 10:12] = torch.tensor([0.79, 0.56, 0.43]).view(3, 1, 1)
    image[0, :, 4:16, 15:17] = torch.tensor([0.79, 0.56, 0.43]).view(3, 1, 1)
    skin, orientation = SkinTone(), Orientation()
    skin.update(image)
    orientation.update(image)
    assert float(skin.compute()) == float(orientation.compute()) == 0.5
    with pytest.raises(ValueError, match="image or keypoints"):
        orientation.update()

import pytest
import torch

from handgen.anatomy.metrics import Estimate, density_coverage, kernel_distance, nearest_neighbours, novelty
from handgen.anatomy.metrics.distribution import neighbour_radii


def gaussian(count: int, shift: float = 0.0, width: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) + shift


def test_kernel_distance_by_hand() -> None:
    # F = 1, k(x, y) = (xy + 1)^3. Samples 0, 0, 1: pairs give 1, 1, 1. Reference 1, 1, 2: 8, 27, 27.
    # Across: 0 with any gives 1 (six times), 1 with 1, 1, 2 gives 8, 8, 27: mean 49 / 9.
    found = kernel_distance(torch.tensor([[0.0], [0.0], [1.0]]), torch.tensor([[1.0], [1.0], [2.0]]))
    assert found.value == pytest.approx(1 + 62 / 3 - 2 * 49 / 9)


def test_kernel_distance_of_shifted_gaussians_is_the_analytic_one() -> None:
    # In one dimension E (xy + 1)^3 = m3 m3' + 3 m2 m2' + 3 m1 m1' + 1; raw moments of N(0,1) and N(1,1).
    mine, other = (0.0, 1.0, 0.0), (1.0, 2.0, 4.0)

    def expected(p: tuple[float, ...], q: tuple[float, ...]) -> float:
        return p[2] * q[2] + 3 * p[1] * q[1] + 3 * p[0] * q[0] + 1

    truth = expected(mine, mine) + expected(other, other) - 2 * expected(mine, other)
    found = kernel_distance(gaussian(6000, width=1), gaussian(6000, 1.0, width=1, seed=1))
    assert found.low < truth < found.high
    assert found.value == pytest.approx(truth, rel=0.15)


def test_kernel_distance_of_equal_distributions_is_about_zero() -> None:
    found = kernel_distance(gaussian(600), gaussian(600, seed=1))
    shifted = kernel_distance(gaussian(600), gaussian(600, 0.5, seed=1))
    assert found.low < 0 < found.high
    assert abs(found.value) < 0.02 * shifted.value
    assert shifted.low > 0


def test_kernel_distance_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = gaussian(50), gaussian(40, 1.0, seed=1)
    whole = kernel_distance(x, y)
    monkeypatch.setattr("handgen.anatomy.metrics.distribution.CHUNK", 7)
    assert kernel_distance(x, y).value == pytest.approx(whole.value)


def test_jackknife_interval_covers_at_about_the_nominal_rate() -> None:
    truth = kernel_distance(gaussian(5000, 0.0, 2, 100), gaussian(5000, 0.7, 2, 101)).value
    runs = [kernel_distance(gaussian(100, 0.0, 2, s), gaussian(100, 0.7, 2, s + 50)) for s in range(40)]
    covered = sum(run.low <= truth <= run.high for run in runs)
    assert covered >= 32


def test_neighbour_radii_on_a_line() -> None:
    assert neighbour_radii(torch.tensor([[0.0], [1.0], [3.0], [7.0]]), k=2).tolist() == [3.0, 2.0, 3.0, 6.0]


def test_density_and_coverage_of_identical_sets_are_one() -> None:
    x = gaussian(200)
    overlap = density_coverage(x, x.clone())
    assert overlap.density.value == pytest.approx(1.0)
    assert overlap.coverage.value == overlap.precision.value == overlap.recall.value == 1.0


def test_density_and_coverage_of_far_sets_are_zero() -> None:
    overlap = density_coverage(gaussian(100, 1000.0), gaussian(100))
    assert overlap.density.value == overlap.coverage.value == 0.0
    assert overlap.precision.value == overlap.recall.value == 0.0


def test_density_and_coverage_by_hand() -> None:
    # k = 1: balls around 0, 1, 10, 12 have radii 1, 1, 2, 2; samples 0.5 (in two), 11 (in two), 50 (in none).
    reference, samples = torch.tensor([[0.0], [1.0], [10.0], [12.0]]), torch.tensor([[0.5], [11.0], [50.0]])
    overlap = density_coverage(samples, reference, k=1)
    assert overlap.density.value == pytest.approx(4 / 3)
    assert overlap.coverage.value == 1.0
    assert overlap.precision.value == pytest.approx(2 / 3)


def test_a_collapsed_sampler_has_density_without_coverage() -> None:
    reference = gaussian(400)
    collapsed = 0.05 * gaussian(400, seed=1)
    overlap = density_coverage(collapsed, reference)
    assert overlap.density.value > 1
    assert overlap.coverage.value < 0.5


def test_density_needs_more_points_than_neighbours() -> None:
    with pytest.raises(ValueError, match="more than 5"):
        density_coverage(gaussian(5), gaussian(50))


def test_nearest_neighbours_see_exact_copies() -> None:
    train = gaussian(3000, 50.0, 64)  # far from the origin, where a matrix product rounds badly
    distances, indices = nearest_neighbours(train[[5, 77]], train)
    assert indices.tolist() == [5, 77]
    assert distances.tolist() == [0.0, 0.0]


def test_novelty_of_copies_fresh_samples_and_strangers() -> None:
    train, held_out = gaussian(500), gaussian(200, seed=1)
    reference, _ = nearest_neighbours(held_out, train)

    def measured(samples: torch.Tensor) -> Estimate:
        return novelty(nearest_neighbours(samples, train)[0], reference)

    assert measured(train[:200]).value == 0.0
    fresh = measured(gaussian(200, seed=2))
    assert fresh.low < 1 < fresh.high
    assert measured(gaussian(200, 5.0, seed=3)).low > 1.5

import math

import pytest
import torch

from handgen.anatomy.metrics import (
    Estimate,
    bootstrap_interval,
    corrected_share,
    median_ratio,
    rogan_gladen,
    share,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (15, 20, 0.531, 0.888),
        (14, 20, 0.481, 0.855),
        (20, 20, 0.839, 1.0),
        (0, 20, 0.0, 0.161),
        (300, 400, 0.705, 0.790),
        (750, 1000, 0.722, 0.776),
    ],
)
def test_wilson_interval_equals_published_figures(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=6e-4)


def test_wilson_interval_without_trials_knows_nothing() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_wilson_interval_refuses_more_successes_than_trials() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        wilson_interval(3, 2)


def test_share_counts_flags() -> None:
    rate = share(torch.tensor([True] * 15 + [False] * 5))
    assert (rate.value, rate.n) == (0.75, 20)
    assert (rate.low, rate.high) == pytest.approx((0.531, 0.888), abs=6e-4)


def test_rogan_gladen_inverts_the_judges_errors() -> None:
    # 60 of 100 hands are valid; the judge accepts 90% of them and 5% of the other 40: 0.54 + 0.02 = 0.56.
    assert rogan_gladen(0.56, sensitivity=0.9, specificity=0.95) == pytest.approx(0.60)


def test_rogan_gladen_is_clipped_and_refuses_a_coin() -> None:
    assert rogan_gladen(0.01, 0.9, 0.95) == 0.0
    assert rogan_gladen(0.99, 0.9, 0.95) == 1.0
    assert math.isnan(rogan_gladen(0.5, 0.5, 0.5))


def test_corrected_share_moves_the_interval_with_the_value() -> None:
    raw = Estimate(0.56, 0.50, 0.62, 100)
    corrected = corrected_share(raw, 0.9, 0.95)
    assert corrected.value == pytest.approx(0.6)
    assert corrected.low == pytest.approx((0.50 - 0.05) / 0.85)
    assert corrected.high == pytest.approx((0.62 - 0.05) / 0.85)


def test_corrected_share_is_wider_when_the_judge_was_measured_on_few() -> None:
    raw = share(torch.arange(100) < 56)
    few = corrected_share(raw, 0.9, 0.95, 50, 50)
    many = corrected_share(raw, 0.9, 0.95, 100_000, 100_000)
    known = corrected_share(raw, 0.9, 0.95)
    assert few.high - few.low > 1.1 * (many.high - many.low)
    assert many.high - many.low == pytest.approx(known.high - known.low, rel=0.01)


def test_bootstrap_interval_of_a_mean_matches_the_normal_one() -> None:
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    low, high = bootstrap_interval(lambda drawn: drawn.mean(dim=-1), values, resamples=2000)
    half = 1.96 * float(values.std()) / 20
    assert low == pytest.approx(float(values.mean()) - half, abs=0.015)
    assert high == pytest.approx(float(values.mean()) + half, abs=0.015)


def test_bootstrap_interval_is_reproducible() -> None:
    values = torch.arange(30.0)
    first, second = (bootstrap_interval(lambda drawn: drawn.mean(-1), values) for _ in range(2))
    assert first == second


def test_median_ratio_of_scaled_values() -> None:
    values = torch.linspace(1, 2, 101)
    ratio = median_ratio(3 * values, values)
    assert ratio.value == pytest.approx(3.0)
    assert ratio.low < 3 < ratio.high < 4

import pytest
import torch

from handgen.episodes import mean_measurement, return_measurement, student_quantile


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (2, 4.303), (10, 2.228), (19, 2.093), (200, 1.972)])
def test_students_quantile(freedom: int, quantile: float) -> None:
    assert student_quantile(freedom) == pytest.approx(quantile, rel=0.001)


def test_mean_with_students_interval() -> None:
    # mean 5.5, SD 3.0277, t(9) = 2.262: half width 2.262 * 3.0277 / sqrt(10) = 2.166
    measured = return_measurement(torch.arange(1.0, 11.0), 10_000, "sac")
    assert (measured.metric, measured.variant, measured.n, measured.value) == ("return@10k", "sac", 10, 5.5)
    assert measured.low == pytest.approx(5.5 - 2.166, abs=0.01)
    assert measured.high == pytest.approx(5.5 + 2.166, abs=0.01)


def test_one_episode_has_no_interval() -> None:
    assert mean_measurement("x", torch.tensor([2.0])).low is None

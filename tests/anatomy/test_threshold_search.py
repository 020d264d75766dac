"""Sharing refusals among checks: the asked acceptance, and more caught than with equal shares."""

import pytest
import torch

from handgen.anatomy.threshold_search import ValidHands, balance_thresholds
from handgen.errors import UserError


def hands() -> tuple[torch.Tensor, torch.Tensor]:
    """Valid and malformed hands; check 0 tells half of them apart, checks 1 to 4 are noise."""
    torch.manual_seed(0)
    valid, malformed = torch.randn(500, 5), torch.randn(500, 5)
    malformed[:, 0] += 2.0
    return valid, malformed


def passed(values: torch.Tensor, thresholds: torch.Tensor) -> float:
    """Share that passes all checks."""
    return float((values <= thresholds).all(dim=1).float().mean())


def test_the_asked_share_of_valid_hands_passes() -> None:
    valid, malformed = hands()
    for acceptance in (0.9, 0.955):
        thresholds = balance_thresholds([ValidHands(valid, acceptance)], [malformed])
        assert abs(passed(valid, thresholds) - acceptance) <= 0.004


def test_equal_shares_among_many_checks_keep_the_asked_acceptance() -> None:
    torch.manual_seed(1)
    valid = torch.randn(800, 13)
    for acceptance in (0.94, 0.955, 0.97):
        assert abs(passed(valid, balance_thresholds([ValidHands(valid, acceptance)], [])) - acceptance) <= 0.0015


def test_thresholds_without_valid_hands_are_refused() -> None:
    with pytest.raises(UserError, match="val_count"):
        balance_thresholds([ValidHands(torch.zeros(1, 3), 0.9)], [])


def test_every_set_of_valid_hands_passes_as_asked() -> None:
    valid, malformed = hands()
    others = valid * torch.tensor([1.0, 3.0, 1.0, 1.0, 1.0])
    thresholds = balance_thresholds([ValidHands(valid, 0.95), ValidHands(others, 0.9)], [malformed])
    assert passed(valid, thresholds) >= 0.948 and passed(others, thresholds) >= 0.898


def test_refusals_go_to_the_check_that_tells_hands_apart() -> None:
    valid, malformed = hands()
    alone = balance_thresholds([ValidHands(valid, 0.95)], [])
    shared = balance_thresholds([ValidHands(valid, 0.95)], [malformed])
    assert shared[0] < alone[0] and (shared[1:] > alone[1:]).all()
    assert passed(malformed, shared) < passed(malformed, alone) - 0.1

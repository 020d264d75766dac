"""Landmarks to count: what each malformation has, and maps whose sum is the number."""

import pytest
import torch

from handgen.anatomy import KINDS, render_hands
from handgen.anatomy.keypoint_module import density_loss
from handgen.anatomy.landmarks import ABSENT, CORRECT_COUNTS, density_targets

COUNTS = {
    "valid": CORRECT_COUNTS,
    "extra": (5, 1, 10, 5),
    "fused": (3, 1, 6, 3),
    "short": (4, 1, 7, 4),
    "long": (4, 1, 9, 4),
    "no_thumb": (4, 0, 8, 4),
    "two_thumbs": (4, 2, 8, 4),
    "detached": (5, 1, 7, 4),
    "misplaced": CORRECT_COUNTS,
    "forked": (5, 1, 9, 4),
    "bent": CORRECT_COUNTS,
}
"""Finger tips, thumb tips, inner finger joints, knuckles that a person would count."""


def counts(kind: str) -> torch.Tensor:
    """Landmarks of each class of 12 hands of one kind, (12, 4)."""
    hands = render_hands(range(12), seed=3, size=16, kinds=(kind,))
    return torch.stack([(hands.landmark_class == c).sum(dim=1) for c in range(4)], dim=1)


@pytest.mark.parametrize("kind", COUNTS)
def test_every_hand_of_a_kind_has_its_landmarks(kind: str) -> None:
    assert counts(kind).tolist() == [list(COUNTS[kind])] * 12


def test_missing_fingers_and_blobs_have_no_tip_where_no_digit_is() -> None:
    missing = counts("missing")
    assert missing[:, :3].tolist() == [[3, 1, 6]] * 12 and set(missing[:, 3].tolist()) == {3, 4}
    assert (counts("blob")[:, :2].sum(dim=1) <= 2).all()
    assert set(COUNTS) | {"missing", "blob"} == set(KINDS)


def test_landmarks_of_a_valid_hand_are_its_keypoints() -> None:
    hands = render_hands(range(6), size=16)
    tips = hands.landmarks[hands.landmark_class == 0].reshape(6, 4, 2)
    assert torch.allclose(tips, hands.keypoints[:, [8, 12, 16, 20]], atol=1e-5)


def test_a_density_sums_to_the_number_inside_the_picture_and_peaks_at_each() -> None:
    points = torch.tensor([[[0.03125, 0.03125], [-0.5, 0.5], [1.2, 0.0], [0.0, 0.0]]])
    density = density_targets(points, torch.tensor([[0, 0, 0, ABSENT]]), resolution=32, sigma=0.05)
    assert density.shape == (1, 4, 32, 32)
    assert density.sum(dim=(2, 3))[0].tolist() == pytest.approx([2.0, 0.0, 0.0, 0.0], abs=1e-5)
    assert density[0, 0].flatten().argmax() == 16 * 32 + 16


def test_density_loss_is_zero_at_the_truth_and_equals_the_poisson_likelihood() -> None:
    target = torch.tensor([[[[0.5, 0.0]]]])
    assert float(density_loss(target.clamp(min=1e-6), target)) == pytest.approx(0.0, abs=1e-5)
    found = torch.tensor([[[[1.0, 0.25]]]])
    expected = (1.0 - 0.5 * 0.0 + 0.5 * torch.tensor(0.5).log() - 0.5) + 0.25
    assert float(density_loss(found, target)) == pytest.approx(float(expected), abs=1e-6)

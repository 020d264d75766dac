"""Planted malformations: fingers are found, removed and added, and a restored hand stays as it was."""

import itertools

import numpy as np
import pytest

from handgen.anatomy import render_hands
from handgen.anatomy.photo_edits import EDITS, edit_photograph, find_fingers


@pytest.fixture(scope="module")
def open_hands() -> list[tuple[np.ndarray, np.ndarray]]:
    """Rendered hands at 128 px whose five digits stand apart: image and mask."""
    hands = render_hands(range(40), size=128, upright=True)
    pairs = [
        (image.permute(1, 2, 0).numpy(), mask[0].numpy() > 127)
        for image, mask in zip(hands.image, hands.mask, strict=True)
    ]
    return [pair for pair in pairs if len(find_fingers(pair[1])) == 5]


def test_fingers_are_found_left_to_right(open_hands: list[tuple[np.ndarray, np.ndarray]]) -> None:
    assert len(open_hands) >= 10, "most open hands show five separate digits"
    for _, mask in open_hands:
        fingers = find_fingers(mask)
        assert all(a.tip[0] < b.tip[0] for a, b in itertools.pairwise(fingers))
        assert all((finger.pixels & ~mask).sum() == 0 for finger in fingers)


def changed_share(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    return float((np.abs(after.astype(int) - before).max(axis=2) > 40).sum() / mask.sum())


def test_edits_change_what_they_say(open_hands: list[tuple[np.ndarray, np.ndarray]]) -> None:
    shares: dict[str, list[float]] = {edit: [] for edit in EDITS}
    for number, (image, mask) in enumerate(open_hands[:12]):
        for edit in EDITS:
            edited = edit_photograph(image, mask, edit, np.random.default_rng(number))
            if edited is not None:
                assert edited.shape == image.shape
                assert edited.dtype == np.uint8
                shares[edit].append(changed_share(image, edited, mask))
    assert np.mean(shares["removed"]) > 0.03
    assert np.mean(shares["duplicated"]) > 0.03
    assert np.mean(shares["restored"]) < 0.6 * np.mean(shares["removed"])


def test_a_removed_finger_is_gone(open_hands: list[tuple[np.ndarray, np.ndarray]]) -> None:
    image, mask = open_hands[0]
    edited = edit_photograph(image, mask, "removed", np.random.default_rng(0))
    assert edited is not None
    gone = np.abs(edited.astype(int) - image).max(axis=2) > 30
    assert len(find_fingers(mask & ~gone)) < 5


def test_closed_hands_cannot_be_edited_and_unknown_edits_are_told() -> None:
    disc = np.hypot(*np.mgrid[-64:64, -64:64]) < 40
    blank = np.zeros((128, 128, 3), np.uint8)
    assert edit_photograph(blank, disc, "removed", np.random.default_rng(0)) is None
    with pytest.raises(ValueError, match="unknown edit"):
        edit_photograph(blank, disc, "polished", np.random.default_rng(0))

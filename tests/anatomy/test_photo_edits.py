"""Planted malformations: fingers are found, removed and added, and a restored hand stays as it was."""

import itertools

import numpy as np
import pytest

from handgen.anatomy import render_hands
from handgen.anatomy.finger_fusion import hand_frame
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
    assert np.mean(shares["fused"]) > 0.03
    assert np.mean(shares["smoothed"]) < 0.01


def test_a_removed_finger_is_gone(open_hands: list[tuple[np.ndarray, np.ndarray]]) -> None:
    image, mask = open_hands[0]
    edited = edit_photograph(image, mask, "removed", np.random.default_rng(0))
    assert edited is not None
    gone = np.abs(edited.astype(int) - image).max(axis=2) > 30
    assert len(find_fingers(mask & ~gone)) < 5


@pytest.fixture(scope="module")
def closed_hand() -> tuple[np.ndarray, np.ndarray]:
    """A drawn hand at 128 px with dark lines between closed fingers above a wider palm: image and mask."""
    mask = np.zeros((128, 128), bool)
    mask[62:128, 34:94] = mask[12:62, 40:88] = True
    image = np.full((128, 128, 3), 245, np.uint8)
    image[mask] = (200, 150, 120)
    for column in (52, 64, 76):
        image[12:56, column - 1 : column + 1] = 60
    return image, mask


def lines(image: np.ndarray, rows: slice) -> float:
    """Mean step between neighbouring columns inside the drawn hand."""
    return float(np.abs(np.diff(image[rows, 44:84].astype(float), axis=1)).mean())


def test_fused_fingers_have_no_line_between_them(closed_hand: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = closed_hand
    left = []
    for number in range(20):
        edited = edit_photograph(image, mask, "fused", np.random.default_rng(number))
        assert edited is not None
        left.append(lines(edited, slice(16, 30)) / lines(image, slice(16, 30)))
        assert np.array_equal(edited[105:], image[105:]), "the palm stays"
    assert max(left) < 0.85, "at least one of three lines is gone"
    assert min(left) < 0.15, "on some hands all of them are"


def test_smoothed_palms_keep_their_fingers(closed_hand: tuple[np.ndarray, np.ndarray]) -> None:
    image, mask = closed_hand
    image = image.copy()
    image[90:120:4, 50:78] = 90
    for number in range(5):
        edited = edit_photograph(image, mask, "smoothed", np.random.default_rng(number))
        assert edited is not None
        assert np.array_equal(edited[:50], image[:50])
        assert np.array_equal(edited[~mask], image[~mask])
        assert edited[90:120, 62:66].std() < 0.8 * image[90:120, 62:66].std()


def test_wide_gaps_are_not_fused(open_hands: list[tuple[np.ndarray, np.ndarray]]) -> None:
    kept = [edit_photograph(image, mask, "fused", np.random.default_rng(0)) is None for image, mask in open_hands]
    assert any(kept)
    assert hand_frame(np.zeros((32, 32), bool)) is None


def test_closed_hands_lose_no_finger_and_unknown_edits_are_told() -> None:
    disc = np.hypot(*np.mgrid[-64:64, -64:64]) < 40
    blank = np.zeros((128, 128, 3), np.uint8)
    assert edit_photograph(blank, disc, "removed", np.random.default_rng(0)) is None
    assert edit_photograph(blank, disc, "fused", np.random.default_rng(0)) is None
    with pytest.raises(ValueError, match="unknown edit"):
        edit_photograph(blank, disc, "polished", np.random.default_rng(0))

import numpy as np
import pytest
import torch
from PIL.Image import Image

from handgen.anatomy.sheets import _NO, _YES, contact_sheet, judge_letter, methods_sheet, neighbour_sheet


def pictures(count: int) -> torch.Tensor:
    """Flat pictures whose grey value is 5 times their number."""
    return (5 * torch.arange(count, dtype=torch.uint8)).view(-1, 1, 1, 1).expand(-1, 3, 64, 64).contiguous()


def colours(page: Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(page) == np.array(colour)).all(axis=-1).sum())


def test_judge_letters() -> None:
    assert [judge_letter(name) for name in ("judge_a", "judge_b", "geometric")] == ["A", "B", "G"]


def test_contact_sheet_shows_every_sample_three_times_as_large() -> None:
    page = np.asarray(contact_sheet(pictures(20), {"judge_a": torch.ones(20, dtype=torch.bool)}, "title"))
    for value in range(0, 100, 5):
        assert (page == value).all(axis=-1).sum() >= 190 * 190


def test_contact_sheet_draws_each_verdict() -> None:
    def page(valid: torch.Tensor) -> Image:
        return contact_sheet(pictures(20), {"judge_a": valid, "judge_b": valid}, "title")

    yes, no = page(torch.ones(20, dtype=torch.bool)), page(torch.zeros(20, dtype=torch.bool))
    # The legend holds one badge of each kind; the samples hold 40 of theirs.
    assert colours(yes, _YES) > 30 * colours(no, _YES)
    assert colours(no, _NO) > 30 * colours(yes, _NO)


def test_contact_sheet_grows_with_notes_and_rows() -> None:
    verdicts = {"judge_a": torch.ones(6, dtype=torch.bool)}
    plain = contact_sheet(pictures(5), verdicts, "title")
    assert contact_sheet(pictures(5), verdicts, "title", ["note"]).height > plain.height
    assert contact_sheet(pictures(6), verdicts, "title").height > plain.height + 192


def test_neighbour_sheet_puts_the_neighbour_below_the_sample() -> None:
    samples = pictures(4)
    page = np.asarray(neighbour_sheet(samples, samples + 100, torch.ones(4), "title"))
    for value in (5, 10, 15):
        above = np.argwhere((page == value).all(axis=-1))
        below = np.argwhere((page == value + 100).all(axis=-1))
        assert len(above) >= 120 * 120
        below = below[np.abs(below[:, 1] - np.median(above[:, 1])) < 60]
        assert np.median(below[:, 0]) - np.median(above[:, 0]) == pytest.approx(130, abs=4)
        assert abs(np.median(below[:, 1]) - np.median(above[:, 1])) <= 2


def test_every_method_has_a_row_of_its_own() -> None:
    def rows(count: int, valid: bool) -> Image:
        verdicts = {"judge_a": torch.full((4,), valid)}
        return methods_sheet({f"method {row}": (pictures(4), verdicts) for row in range(count)}, "title")

    assert rows(3, True).height - rows(2, True).height == rows(2, True).height - rows(1, True).height > 128
    assert colours(rows(3, True), _YES) > 5 * colours(rows(3, False), _YES)

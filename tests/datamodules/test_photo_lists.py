import csv
from pathlib import Path
from typing import Any

import pytest
from hand_photos import write_csv

from handgen.errors import UserError
from handgen.photo_lists import inferred_persons, list_folder, list_hands11k, split_of


def rows_of(root: Path) -> list[dict[str, Any]]:
    with (root / "hands11k" / "HandInfo.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_subject_is_in_one_split_only_whatever_is_filtered_or_absent(make_hands11k: Any) -> None:
    root = make_hands11k(subjects=60) / "hands11k"
    splits: dict[str, set[str]] = {}
    for photo in list_hands11k(root, {}):
        splits.setdefault(photo.columns["id"], set()).add(photo.split)
    assert all(len(names) == 1 for names in splits.values())
    assert {name for names in splits.values() for name in names} == {"train", "val", "test"}
    for file in sorted((root / "Hands").iterdir())[::3]:
        file.unlink()
    for photo in list_hands11k(root, {"genders": ["female"], "aspects": ["palmar right"]}):
        assert splits[photo.columns["id"]] == {photo.split}


def test_split_shares_are_80_10_10_and_fixed() -> None:
    names = [f"{number:07d}" for number in range(10_000)]
    splits = [split_of(name) for name in names]
    shares = [splits.count(split) / len(names) for split in ("train", "val", "test")]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.015)
    assert [split_of(name) for name in names[:12]] == FIRST_TWELVE


# Written down once: another split would make every published figure incomparable.
FIRST_TWELVE = [
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "train",
    "val",
    "train",
    "train",
    "val",
    "train",
]


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"aspects": ["dorsal left"]}, lambda row: row["aspectOfHand"] == "dorsal left"),
        ({"skin_colors": ["dark", "very fair"]}, lambda row: row["skinColor"] in ("dark", "very fair")),
        ({"genders": ["male"]}, lambda row: row["gender"] == "male"),
        ({"accessories": False}, lambda row: row["accessories"] == "0"),
        ({"nail_polish": True}, lambda row: row["nailPolish"] == "1"),
        ({"irregularities": False}, lambda row: row["irregularities"] == "0"),
        ({"age_min": 25, "age_max": 30}, lambda row: 25 <= int(row["age"]) <= 30),
    ],
)
def test_filters_keep_exactly_the_rows_that_they_name(make_hands11k: Any, filters: dict[str, Any], passes: Any) -> None:
    root = make_hands11k()
    expected = [row["imageName"] for row in rows_of(root) if passes(row)]
    assert [photo.path.name for photo in list_hands11k(root / "hands11k", filters)] == expected
    assert len(expected) > 0


def test_metadata_is_typed_and_names_side_and_view(make_hands11k: Any) -> None:
    columns = list_hands11k(make_hands11k() / "hands11k", {})[2].columns
    assert columns["aspectOfHand"] == "dorsal right"
    assert (columns["side"], columns["view"]) == ("right", "dorsal")
    assert columns["age"] == 21
    assert columns["accessories"] is False


def test_filters_that_leave_nothing_say_what_each_kept(make_hands11k: Any) -> None:
    root = make_hands11k(subjects=8) / "hands11k"
    with pytest.raises(UserError, match=r"alone genders=\['male'\] keeps 8, age_min=90 keeps 0"):
        list_hands11k(root, {"genders": ["male"], "age_min": 90})


def test_an_unknown_filter_value_names_the_known_ones(make_hands11k: Any) -> None:
    with pytest.raises(UserError, match=r"skin_colors: 'green' is unknown: choose from very fair, fair"):
        list_hands11k(make_hands11k(subjects=2) / "hands11k", {"skin_colors": ["green"]})


def test_a_missing_folder_csv_or_column_is_named(make_hands11k: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="HANDGEN_DATA"):
        list_hands11k(tmp_path / "nowhere", {})
    root = make_hands11k(subjects=2)
    rows = rows_of(root)
    write_csv(root / "hands11k" / "HandInfo.csv", rows, ("id", "age", "gender", "imageName"))
    with pytest.raises(UserError, match="no column skinColor, accessories, nailPolish, aspectOfHand"):
        list_hands11k(root / "hands11k", {})
    (root / "hands11k" / "HandInfo.csv").unlink()
    with pytest.raises(UserError, match=r"no file .*HandInfo\.csv"):
        list_hands11k(root / "hands11k", {})


@pytest.mark.parametrize("change", [{"age": "old"}, {"aspectOfHand": "palmar"}, {"imageName": "../../x.jpg"}])
def test_an_unreadable_line_is_named(make_hands11k: Any, change: dict[str, str]) -> None:
    root = make_hands11k(subjects=3)
    rows = rows_of(root)
    rows[3].update(change)
    write_csv(root / "hands11k" / "HandInfo.csv", rows)
    with pytest.raises(UserError, match="line 5"):
        list_hands11k(root / "hands11k", {})


def test_a_folder_lists_pictures_only_with_their_labels(make_folder: Any) -> None:
    root = make_folder(12)
    (root / "LICENSE").write_text("text")
    (root / ".hidden.png").write_bytes(b"")
    photos = list_folder(root)
    assert len(photos) == 12
    assert [photo.columns["label"] for photo in photos] == sorted(["0", "1", "2", "3"] * 3)
    assert photos[0].split == split_of("0/000.png")


SIGNS = ["0/IMG_1128.JPG", "1/IMG_1129.JPG", "9/IMG_1138.JPG", "0/IMG_1139.JPG", "4/IMG_1143.JPG", "4/IMG_1155.JPG"]
"""Three persons: a retake moves the first one's 9 by one, the third's 4 comes after a gap."""


def test_the_persons_of_signed_digits_are_told_by_the_numbers_of_their_pictures() -> None:
    persons = inferred_persons([*SIGNS[3:], *SIGNS[:3]])
    assert [persons[name] for name in SIGNS] == [SIGNS[0]] * 3 + [SIGNS[3]] * 2 + [SIGNS[5]]


def test_a_signing_person_is_in_one_split_only(tmp_path: Path) -> None:
    for person in range(40):
        for digit in range(10):
            path = tmp_path / str(digit) / f"IMG_{1000 + 10 * person + digit}.JPG"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"")
    splits: dict[int, set[str]] = {}
    for photo in list_folder(tmp_path):
        splits.setdefault(int(photo.path.stem[4:]) // 10, set()).add(photo.split)
    assert len(splits) == 40 and all(len(names) == 1 for names in splits.values())
    assert {name for names in splits.values() for name in names} == {"train", "val", "test"}


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image"):
        list_folder(tmp_path)
    with pytest.raises(UserError, match="no folder"):
        list_folder(tmp_path / "nowhere")

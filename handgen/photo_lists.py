"""Which photographs there are: the rows of HandInfo.csv or the files of a folder, each with its split."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from handgen.errors import UserError

SPLITS = ("train", "val", "test")
SHARES = (0.8, 0.1, 0.1)
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
COLUMNS = ("id", "age", "gender", "skinColor", "accessories", "nailPolish", "aspectOfHand", "imageName",
           "irregularities")  # fmt: skip
VALUES = {
    "aspects": ("aspectOfHand", ("dorsal right", "dorsal left", "palmar right", "palmar left")),
    "skin_colors": ("skinColor", ("very fair", "fair", "medium", "dark")),
    "genders": ("gender", ("female", "male")),
}
SIGNED_DIGIT = re.compile(r"([0-9])/IMG_([0-9]+)\.[A-Za-z]+")
"""Files of Sign-Language-Digits (Mavi 2020): the digit, and the number that the camera gave."""
NEXT_PERSON = 8
"""A person shows 0 to 9, one picture after the other: camera number less digit stays where it is, up to a retake, and
grows by ten at the next person. In the published files no growth of 7 or 8 occurs."""
SIGNS_FOLDER = "sign_digits"
"""Others call their files so too: only in a folder of this name are they taken for its right hands."""
SIGNING_HANDS = {"side": "right", "view": "palmar"}
"""What every one of its pictures of a five shows: the thumb is on the right."""
FLAGS = {"accessories": "accessories", "nail_polish": "nailPolish", "irregularities": "irregularities"}
WHERE = "set data_root or HANDGEN_DATA to the folder that holds it"

Row = dict[str, Any]


@dataclass(frozen=True)
class Photograph:
    """One photograph.

    Attributes:
        path: The file.
        split: train, val or test.
        columns: Its metadata, plain values; every photograph of a list has the same keys, ``side`` among
            them.
    """

    path: Path
    split: str
    columns: dict[str, Any]


def split_of(name: str) -> str:
    """Return the split that a subject or a file belongs to, whatever else is there or is filtered out.

    Args:
        name: Subject id, or a file's path relative to its folder with ``/`` between the parts.

    Returns:
        ``train`` (80%), ``val`` (10%) or ``test`` (10%), from a hash of the name.
    """
    place = int.from_bytes(hashlib.sha256(f"handgen split {name}".encode()).digest()[:8], "big") / 2**64
    return "train" if place < SHARES[0] else "val" if place < SHARES[0] + SHARES[1] else "test"


def list_hands11k(root: Path, filters: dict[str, Any]) -> list[Photograph]:
    """Return the photographs of the 11k Hands data set (Afifi 2019) that pass the filters, split by subject.

    Args:
        root: Folder with ``HandInfo.csv`` and ``Hands/``.
        filters: Any of aspects, skin_colors, genders (lists of values), accessories, nail_polish,
            irregularities (booleans), age_min, age_max (years); None or absent keeps everything.

    Returns:
        Photographs in the order of the CSV, also those whose file is absent.

    Raises:
        UserError: If the folder, the CSV or a column is missing, a value is unknown, or nothing passes.
    """
    if not (root / "Hands").is_dir():
        raise UserError(f"no folder {root / 'Hands'}: {WHERE} (hands11k/HandInfo.csv and hands11k/Hands/*.jpg)")
    rows = _read_rows(root / "HandInfo.csv")
    kept = _filtered(rows, filters)
    return [Photograph(root / "Hands" / row["imageName"], split_of(str(row["id"])), row) for row in kept]


def _read_rows(path: Path) -> list[Row]:
    """Read HandInfo.csv; ages become integers, flags booleans; side and view are added."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path} has no column {', '.join(missing)}: its header must be {','.join(COLUMNS)}")
            return [_typed(row, path, number) for number, row in enumerate(reader, start=2)]
    except FileNotFoundError:
        raise UserError(f"no file {path}: it belongs to the 11k Hands data set, beside the folder Hands") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {error}") from error


def _typed(row: Row, path: Path, number: int) -> Row:
    try:
        typed: Row = {name: row[name].strip() for name in COLUMNS}
        typed["age"] = int(typed["age"])
        for column in FLAGS.values():
            typed[column] = bool(int(typed[column]))
        typed["view"], typed["side"] = typed["aspectOfHand"].split()
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}, line {number} cannot be read ({error}): correct or remove the line") from error
    if Path(typed["imageName"]).name != typed["imageName"]:
        raise UserError(f"{path}, line {number}: imageName {typed['imageName']!r} must be a bare file name")
    return typed


def _filtered(rows: list[Row], filters: dict[str, Any]) -> list[Row]:
    """Apply every filter; if nothing passes, say how many rows each condition kept on its own."""
    conditions: dict[str, Callable[[Row], bool]] = {}
    for name, value in filters.items():
        if value is not None:
            conditions[f"{name}={value if isinstance(value, int | str) else list(value)}"] = _condition(name, value)
    kept = [row for row in rows if all(passes(row) for passes in conditions.values())]
    if kept:
        return kept
    if not rows:
        raise UserError("HandInfo.csv has a header but no rows")
    each = ", ".join(f"{text} keeps {sum(map(passes, rows))}" for text, passes in conditions.items())
    raise UserError(f"no photograph of {len(rows)} passes the filters together; alone {each}: loosen one")


def _condition(name: str, value: Any) -> Callable[[Row], bool]:
    if name == "age_min":
        return lambda row: bool(row["age"] >= value)
    if name == "age_max":
        return lambda row: bool(row["age"] <= value)
    if name in FLAGS:
        return lambda row: bool(row[FLAGS[name]] == value)
    column, allowed = VALUES[name]
    chosen = [value] if isinstance(value, str) else list(value)
    unknown = [entry for entry in chosen if entry not in allowed]
    if unknown:
        raise UserError(f"{name}: {', '.join(map(repr, unknown))} is unknown: choose from {', '.join(allowed)}")
    return lambda row: row[column] in chosen


def list_folder(root: Path) -> list[Photograph]:
    """Return the image files of a tree of folders, split by a hash of their relative path.

    Sign-Language-Digits, known by its file names, is split by `inferred_persons` instead: nobody's hand is in two
    splits.

    Args:
        root: The folder. The name of the first folder below it is kept as the label
            (``sign_digits/5/a.jpg``: 5).

    Returns:
        Photographs in the order of their paths; hidden files and files that are not images by their suffix
        are left out. Their columns are file, label ("" directly below the root), side and view (None: unknown) and
        person (whose pictures a split keeps together; the file itself where nothing is known).

    Raises:
        UserError: If the folder is missing or holds no image.
    """
    if not root.is_dir():
        raise UserError(f"no folder {root}: set folder to a path, or to a name under data_root (HANDGEN_DATA)")
    found = {}
    for path in sorted(root.rglob("*")):
        inner = path.relative_to(root)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not any(part.startswith(".") for part in inner.parts):
            found[inner.as_posix()] = path
    if not found:
        raise UserError(f"{root} holds no image: looked for {', '.join(SUFFIXES)} in all its folders")
    persons = inferred_persons(list(found)) if all(map(SIGNED_DIGIT.fullmatch, found)) else {}
    seen = SIGNING_HANDS if persons and root.name == SIGNS_FOLDER else {"side": None, "view": None}
    photographs = []
    for name, path in found.items():
        label = name.partition("/")[0] if "/" in name else ""
        person = persons.get(name, name)
        columns = {"file": name, "label": label, **seen, "person": person}
        photographs.append(Photograph(path, split_of(person), columns))
    return photographs


def inferred_persons(names: Sequence[str]) -> dict[str, str]:
    """Return whose hand the files of Sign-Language-Digits show, which the data set does not say.

    Its camera numbers run through the digits person by person: 0/IMG_1128, 1/IMG_1129, ..., 9/IMG_1137, 0/IMG_1138.
    A person is named by the first of their files. Two who follow each other with pictures taken away may pass for one,
    which does no harm to a split.

    Args:
        names: Paths that match `SIGNED_DIGIT`.
    """
    matches = [match for match in map(SIGNED_DIGIT.fullmatch, names) if match]
    numbered = sorted((int(match[2]), int(match[1]), match[0]) for match in matches)
    persons, person, before = {}, "", -NEXT_PERSON
    for number, digit, name in numbered:
        if number - digit - before >= NEXT_PERSON:
            person = name
        persons[name], before = person, number - digit
    return persons

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from handgen.datamodules.photo_lists import COLUMNS

ASPECTS = ("palmar right", "palmar left", "dorsal right", "dorsal left")
SKINS = ("very fair", "fair", "medium", "dark")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


def draw_hand(size: int = 100, thumb_right: bool = True, skin: tuple[int, int, int] = (205, 150, 120)) -> np.ndarray:
    """Draw a plain hand, RGB (size, size, 3): fingers up, the wrist running out of the picture at the bottom."""
    image = np.full((400, 400, 3), 250, np.uint8)
    cv2.rectangle(image, (165, 300), (235, 400), skin, -1)
    cv2.ellipse(image, (200, 270), (62, 70), 0, 0, 360, skin, -1)
    for x, top in ((155, 120), (185, 85), (215, 95), (245, 140)):
        cv2.line(image, (x, 230), (x, top), skin, 22)
    cv2.line(image, (240, 290), (300, 220), skin, 24)
    if not thumb_right:
        image = image[:, ::-1]
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


MakeHands11k = Callable[..., Path]


@pytest.fixture
def make_hands11k(tmp_path: Path) -> MakeHands11k:
    """Return a function that writes a small data set in the layout of 11k Hands and returns its data_root."""

    def make(subjects: int = 40, per_subject: int = 2, size: int = 60, **changes: Any) -> Path:
        root = tmp_path / "data"
        folder = root / "hands11k"
        rows = []
        for subject in range(subjects):
            for copy in range(per_subject):
                number = subject * per_subject + copy
                aspect = ASPECTS[number % 4]
                row = {
                    "id": f"{subject:07d}",
                    "age": 20 + subject % 30,
                    "gender": ("female", "male")[subject % 2],
                    "skinColor": SKINS[subject % 4],
                    "accessories": int(subject % 3 == 0),
                    "nailPolish": int(subject % 5 == 0),
                    "aspectOfHand": aspect,
                    "imageName": f"Hand_{number:07d}.jpg",
                    "irregularities": 0,
                }
                rows.append({**row, **changes})
                save(folder / "Hands" / str(row["imageName"]), draw_hand(size, aspect in (ASPECTS[0], ASPECTS[3])))
        write_csv(folder / "HandInfo.csv", rows)
        return root

    return make


def write_csv(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] = COLUMNS) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a tree of pictures and returns its top folder."""

    def make(count: int = 40, name: str = "pictures", size: int = 60) -> Path:
        for number in range(count):
            save(tmp_path / name / str(number % 4) / f"{number:03d}.png", draw_hand(size))
        return tmp_path / name

    return make


@pytest.fixture
def real_data() -> Path:
    root = Path(os.environ.get("HANDGEN_DATA", ""))
    if not os.environ.get("HANDGEN_DATA") or not (root / "hands11k" / "HandInfo.csv").is_file():
        pytest.skip("set HANDGEN_DATA to a folder that holds hands11k/ and sign_digits/")
    return root

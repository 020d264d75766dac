import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from hand_photos import ASPECTS, draw_hand, save, write_csv

SKINS = ("very fair", "fair", "medium", "dark")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)


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
                hand = draw_hand(size, thumb_right=aspect in ("palmar right", "dorsal left"))
                save(folder / "Hands" / str(row["imageName"]), hand)
        write_csv(folder / "HandInfo.csv", rows)
        return root

    return make


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

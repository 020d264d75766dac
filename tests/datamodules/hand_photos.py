"""Drawn hands and the files of a small photograph collection."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from handgen.photo_lists import COLUMNS

ASPECTS = ("palmar right", "palmar left", "dorsal right", "dorsal left")


SKIN = (205, 150, 120)


def draw_hand(size: int = 100, thumb_right: bool = True, skin: tuple[int, int, int] = SKIN) -> np.ndarray:
    """Draw a plain hand, RGB (size, size, 3): fingers up, the wrist running out at the bottom."""
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


def write_csv(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...] = COLUMNS) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)

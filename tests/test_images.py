"""Sheets of images and PNG files."""

from pathlib import Path

import numpy as np
import pytest
import torch

from handgen.errors import UserError
from handgen.images import make_grid, write_png


def test_images_stand_row_by_row_on_white() -> None:
    images = torch.zeros(3, 3, 4, 5)
    images[1, 0] = 1.0  # the second is red
    sheet = make_grid(images, columns=2, padding=1)
    assert sheet.shape == (2 * 5 + 1, 2 * 6 + 1, 3)
    assert sheet.dtype == np.uint8
    assert (sheet[1:5, 1:6] == 0).all()
    assert (sheet[1:5, 7:12] == [255, 0, 0]).all()
    assert (sheet[6:10, 7:12] == 255).all()  # no fourth image
    assert (sheet[0] == 255).all()


def test_values_outside_are_clipped_and_bytes_are_kept() -> None:
    floats = torch.tensor([-1.0, 0.5, 2.0]).reshape(1, 3, 1, 1)
    assert make_grid(floats, padding=0)[0, 0].tolist() == [0, 128, 255]
    assert make_grid(torch.full((1, 3, 1, 1), 7, dtype=torch.uint8), padding=0)[0, 0].tolist() == [7, 7, 7]


def test_a_wrong_shape_is_named() -> None:
    with pytest.raises(UserError, match=r"\(3, 4, 4\)"):
        make_grid(torch.zeros(3, 4, 4))


def test_a_png_comes_back_as_it_was(tmp_path: Path) -> None:
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    path = write_png(tmp_path / "new" / "image.png", image)
    assert (cv2.imread(str(path))[..., ::-1] == image).all()

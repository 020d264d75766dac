"""Sheets of images, and files of pictures."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.errors import UserError


def make_grid(
    images: Tensor, columns: int | None = None, padding: int = 2, background: float = 1.0
) -> NDArray[np.uint8]:
    """Lay images out on one sheet, row by row.

    Args:
        images: float (N, 3, H, W) in [0, 1] (values outside are clipped), or uint8; N at least 1.
        columns: images in a row; default is the nearest to a square sheet.
        padding: pixels around and between images.
        background: grey level of the padding and of empty places, in [0, 1].

    Returns:
        RGB sheet, uint8 (rows * (H + padding) + padding, columns * (W + padding) + padding, 3).

    Raises:
        UserError: if the shape is not (N, 3, H, W) with N at least 1.
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise UserError(f"make_grid takes images of shape (N, 3, H, W) with N >= 1, got {tuple(images.shape)}")
    images = images.detach().cpu()
    if images.dtype != torch.uint8:
        images = (images.float().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    size = (rows * (height + padding) + padding, columns * (width + padding) + padding, 3)
    sheet = np.full(size, round(background * 255), dtype=np.uint8)
    for i, image in enumerate(images.permute(0, 2, 3, 1).numpy()):
        top, left = padding + i // columns * (height + padding), padding + i % columns * (width + padding)
        sheet[top : top + height, left : left + width] = image
    return sheet


def read_picture(file: Path | BytesIO, size: int, grey: bool = False) -> Tensor:
    """The middle square of a picture, uint8 (3, size, size), or (1, size, size) in grey.

    Raises:
        ValueError: if it cannot be read, or claims to be huge.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            upright = ImageOps.exif_transpose(opened).convert("L" if grey else "RGB")
            fitted = ImageOps.fit(upright, (size, size), Image.Resampling.BOX)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's word for broken chunks of a PNG
        raise ValueError(str(error)) from error
    pixels = torch.frombuffer(bytearray(fitted.tobytes()), dtype=torch.uint8)
    return pixels.view(size, size, -1).permute(2, 0, 1)


def write_png(path: str | Path, image: NDArray[np.uint8]) -> Path:
    """Write an image as PNG, making its folder.

    Args:
        path: file to write.
        image: RGB, uint8 (H, W, 3).

    Returns:
        The path.

    Raises:
        UserError: if the file cannot be written.
    """
    import cv2

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR)):
        raise UserError(f"cannot write {path}: check that the folder is writable and the name ends in .png")
    return path

"""MNIST's own format: IDX files, gzipped or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from handgen.errors import UserError

UNSIGNED_BYTES = 8
LARGEST_BYTES = 2**28
"""An MNIST file has 47 million; a file that claims more than this is not believed."""
CLASSES = 10
ADVICE = "get the four files from https://yann.lecun.com/exdb/mnist or any mirror, gzipped or not"


def read_idx(path: Path) -> Tensor:
    """Read an array of unsigned bytes.

    Args:
        path: with or without ``.gz``; where the one that is named is absent, the other is taken.

    Returns:
        uint8, of the shape that the file tells.

    Raises:
        UserError: if there is no such file, or it is not whole, or of another kind.
    """
    twin = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    chosen = path if path.exists() else twin
    try:
        with gzip.open(chosen) if chosen.suffix == ".gz" else chosen.open("rb") as file:
            zeros, kind, dimensions = file.read(2), file.read(1), file.read(1)
            if zeros != b"\0\0" or kind != bytes([UNSIGNED_BYTES]) or not dimensions or not 1 <= dimensions[0] <= 4:
                raise UserError(f"{chosen} is no IDX file of bytes: {ADVICE}")
            sides = file.read(4 * dimensions[0]).ljust(4 * dimensions[0], b"\xff")
            shape = [int.from_bytes(sides[at : at + 4], "big") for at in range(0, len(sides), 4)]
            count = math.prod(shape)
            if count > LARGEST_BYTES:
                raise UserError(f"{chosen} claims an impossible size of {shape}: {ADVICE}")
            values = file.read(count + 1)  # one more than there should be
    except FileNotFoundError as error:
        raise UserError(f"no {path.name} in {path.parent}: {ADVICE}, and put them there") from error
    except (EOFError, OSError, zlib.error) as error:
        raise UserError(f"{chosen} cannot be read ({error}): {ADVICE}") from error
    if count == 0:
        raise UserError(f"{chosen} is empty: {ADVICE}")
    if len(values) != count:
        raise UserError(f"{chosen} is not whole: {ADVICE}")
    return torch.frombuffer(bytearray(values), dtype=torch.uint8).view(shape)


def read_mnist(folder: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """The digits of a folder.

    Args:
        folder: holds ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``, or ``train-...``, or all four.

    Returns:
        ``train`` and ``t10k``, those of them that are there: images uint8 (N, 28, 28), bright on black, and labels
        int64 (N,).

    Raises:
        UserError: if there is neither, a file is damaged, or images and labels do not belong together.
    """
    parts = [part for part in ("train", "t10k") if list(folder.glob(f"{part}-images-idx3-ubyte*"))] or ["t10k"]
    found = {}
    for part in parts:
        images, labels = read_idx(folder / f"{part}-images-idx3-ubyte"), read_idx(folder / f"{part}-labels-idx1-ubyte")
        if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
            raise UserError(f"{folder}: images and labels of {part} do not belong together: {ADVICE}")
        if int(labels.max()) >= CLASSES:
            raise UserError(f"{folder}: a label of {part} is {int(labels.max())}, not a digit: {ADVICE}")
        found[part] = images, labels.long()
    return found

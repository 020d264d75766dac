"""Pictures for painters: digits, characters, faces, hands, or any folder of images."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen import paths
from handgen.datamodules.idx_files import CLASSES, read_mnist
from handgen.datamodules.omniglot import draw_strokes, read_omniglot
from handgen.errors import UserError
from handgen.images import read_picture
from handgen.painter.digits import draw_digits
from handgen.painter.world import in_channels

Source = Literal["digits", "mnist", "omniglot", "celeba", "hands", "folder"]
SOURCES: tuple[Source, ...] = ("digits", "mnist", "omniglot", "celeba", "hands", "folder")
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg")
MNIST_MARGIN = 2 / 32
"""Blank border around a 28-pixel digit, as a share of the canvas."""
OWN_HANDS = 1_000_003
"""Apart from the seeds of other experiments: what a painter copies is no hand that its copies are judged beside."""
TEST_SHARE = 5
"""One picture of five is kept for tests, where a data set has no split of its own."""
CELEBA_ADVICE = (
    "get img_align_celeba and list_eval_partition.txt from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
)


@dataclass(frozen=True)
class Pictures:
    """Pictures of one split.

    Attributes:
        images: uint8 (N, C, H, W), ink or colour on white.
        labels: int64 (N,); -1 where there are none.
        classes: number of classes, 0 where there are none.
    """

    images: Tensor
    labels: Tensor
    classes: int

    def __len__(self) -> int:
        """Return the number of pictures N."""
        return len(self.images)

    def __getitem__(self, rows: Tensor | slice) -> Pictures:
        """Return some of the pictures."""
        return Pictures(self.images[rows], self.labels[rows], self.classes)


def load_pictures(
    source: Source, size: int, channels: int, train_count: int, seed: int = 0, folder: str | None = None
) -> dict[str, Pictures]:
    """Pictures for training and for tests.

    Args:
        source: ``digits`` (drawn by handgen), ``mnist``, ``omniglot``, ``celeba``, ``hands`` (rendered by handgen) or
            ``folder``.
        size: height and width in pixels.
        channels: 1 for grey, 3 for colour.
        train_count: largest number of training pictures; drawn ones are that many.
        seed: of drawn digits and rendered hands, and of which training pictures of the others are taken. Pictures for
            tests are the same for every seed of the others.
        folder: where the files are; default: a folder named after the source in HANDGEN_DATA, or else in ``data``.

    Returns:
        ``train`` and ``test``.

    Raises:
        UserError: for absent or damaged files, with what to get and where to put it.
    """
    if source not in SOURCES:
        raise UserError(f"there are no pictures of {source!r}: take {', '.join(SOURCES)}")
    root = Path(folder).expanduser() if folder else paths.data_root() / source
    if source == "digits":
        split = _digits(size, train_count, seed)
    elif source == "mnist":
        split = _mnist(root, size)
    elif source == "omniglot":
        split = _omniglot(root, size)
    elif source == "hands":
        split = _hands(size, train_count, seed)
    else:
        split = (_celeba if source == "celeba" else _folder)(root, size, train_count, seed)
    parts = (("train", seed, train_count), ("test", 0, len(split["test"])))
    if not all(len(split[name]) for name, _, _ in parts):
        raise UserError(
            f"{root} has too few pictures: {len(split['train'])} for training and {len(split['test'])} for tests"
        )
    return {name: _in_channels(_shuffled(split[name], own)[:count], channels) for name, own, count in parts}


def _shuffled(pictures: Pictures, seed: int) -> Pictures:
    """In another order: published files have like beside like."""
    return pictures[_order(len(pictures), seed)]


def _order(count: int, seed: int) -> Tensor:
    """Numbers below ``count`` in an order that is a function of the seed."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def _in_channels(pictures: Pictures, channels: int) -> Pictures:
    """Grey pictures in colour, or colour pictures in grey."""
    images = pictures.images
    if images.shape[1] == 1 and channels == 3:
        images = images.expand(-1, 3, -1, -1)
    elif images.shape[1] == 3 and channels == 1:
        images = torch.cat([in_channels(part.float(), 1).round().byte() for part in images.split(1024)])
    return Pictures(images.contiguous(), pictures.labels, pictures.classes)


def _every_fifth(images: Tensor, labels: Tensor, classes: int) -> dict[str, Pictures]:
    """One picture of five for tests."""
    test = torch.arange(len(images)) % TEST_SHARE == TEST_SHARE - 1
    return {name: Pictures(images[rows], labels[rows], classes) for name, rows in (("train", ~test), ("test", test))}


def _digits(size: int, count: int, seed: int) -> dict[str, Pictures]:
    split = {}
    for name, number, own_seed in (("train", count, 2 * seed), ("test", max(10, min(count, 2000)), 2 * seed + 1)):
        labels = torch.arange(number) % 10
        split[name] = Pictures(draw_digits(labels, own_seed, size), labels, 10)
    return split


def _mnist(root: Path, size: int) -> dict[str, Pictures]:
    """The published split where both of its parts are there; of one part alone, every fifth digit is for tests."""
    found = {
        part: Pictures(_black_on_white(images, size), labels, CLASSES)
        for part, (images, labels) in read_mnist(root).items()
    }
    if len(found) == 2:
        return {"train": found["train"], "test": found["t10k"]}
    (alone,) = found.values()
    return _every_fifth(alone.images, alone.labels, CLASSES)


def _black_on_white(images: Tensor, size: int) -> Tensor:
    """Digits (N, 28, 28), bright on black, as pictures (N, 1, size, size) with a margin."""
    margin = round(MNIST_MARGIN * size)
    parts = []
    for part in images.split(4096):
        shrunk = F.interpolate(part[:, None].float(), size=size - 2 * margin, mode="bilinear", antialias=True)
        parts.append(F.pad(shrunk, [margin] * 4, value=0.0).clamp(0, 255).round().to(torch.uint8))
    return 255 - torch.cat(parts)


def _omniglot(root: Path, size: int) -> dict[str, Pictures]:
    """All drawings of the archives and folders; every fifth drawer's are for tests."""
    drawings = read_omniglot(root)
    characters = sorted({drawing.character for drawing in drawings})
    number = {name: index for index, name in enumerate(characters)}
    images = []
    for drawing in drawings:
        is_image = drawing.name.endswith(".png")
        file = io.BytesIO(drawing.content) if is_image else draw_strokes(drawing)
        images.append(_open_picture(file, size, drawing.name, grey=True))
    labels = torch.tensor([number[drawing.character] for drawing in drawings])
    test = torch.tensor([drawing.drawer for drawing in drawings]) % TEST_SHARE == 0
    return {
        name: Pictures(torch.stack(images)[rows], labels[rows], len(characters))
        for name, rows in (("train", ~test), ("test", test))
    }


def _open_picture(file: Path | io.BytesIO, size: int, name: str, grey: bool = False) -> Tensor:
    """The middle square of a picture, uint8 (C, size, size)."""
    try:
        return read_picture(file, size, grey)
    except ValueError as error:
        raise UserError(f"{name} is no picture that can be read ({error}): get it again, or take it away") from error


def _celeba(root: Path, size: int, count: int, seed: int) -> dict[str, Pictures]:
    """Aligned faces, in the published partition: 0 for training, 2 for tests."""
    folder, partition = root / "img_align_celeba", root / "list_eval_partition.txt"
    if not folder.is_dir() or not partition.is_file():
        raise UserError(f"no CelebA in {root}: {CELEBA_ADVICE}, and put both there")
    rows = [
        line.split() for line in partition.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    ]
    if any(len(row) != 2 or row[1] not in ("0", "1", "2") for row in rows):
        raise UserError(f"{partition} is not the published one: {CELEBA_ADVICE}")
    split = {}
    for name, part, own, most in (("train", "0", seed, count), ("test", "2", 0, max(10, count // TEST_SHARE))):
        files = [folder / row[0] for row in rows if row[1] == part]
        split[name] = _unlabelled(_few(files, most, own), size, root, CELEBA_ADVICE)
    return split


def _folder(root: Path, size: int, count: int, seed: int) -> dict[str, Pictures]:
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_ENDINGS)
    if len(files) < TEST_SHARE:
        raise UserError(f"{root} has {len(files)} PNG or JPEG images: a painter needs at least {TEST_SHARE}")
    test = files[TEST_SHARE - 1 :: TEST_SHARE]
    train = [path for number, path in enumerate(files) if number % TEST_SHARE != TEST_SHARE - 1]
    chosen = {"train": _few(train, count, seed), "test": _few(test, max(10, count // TEST_SHARE), 0)}
    return {name: _unlabelled(part, size, root, "put images there") for name, part in chosen.items()}


def _few(files: list[Path], most: int, seed: int) -> list[Path]:
    """So many of the files, chosen by a seed."""
    return [files[row] for row in _order(len(files), seed)[:most].tolist()]


def _unlabelled(files: list[Path], size: int, root: Path, advice: str) -> Pictures:
    """Pictures without labels."""
    if not files:
        raise UserError(f"no images in {root}: {advice}")
    images = torch.stack([_open_picture(path, size, str(path)) for path in files])
    return Pictures(images, torch.full((len(images),), -1), 0)


def _hands(size: int, count: int, seed: int) -> dict[str, Pictures]:
    """Rendered hands that are valid, on white, as a painter's strokes are to go on the hand; they have no classes."""
    from handgen.datamodules.rendered import open_rendered

    counts = {"train": count, "val": 0, "test": max(10, min(count, 1250))}
    cache = open_rendered(paths.cache_root(), size, counts, OWN_HANDS + seed, ("valid",), upright=True, on_white=True)
    split = {}
    for name in ("train", "test"):
        first, last = cache.ranges[name]
        images = torch.as_tensor(cache.images[first:last]).clone()
        split[name] = Pictures(images, torch.full((len(images),), -1), 0)
    return split

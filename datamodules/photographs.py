"""Photographs in a memory map: decoded safely, turned fingers up, cropped to the hand, made small."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgen.anatomy.hand_mask import Image, fingers_up_score, hand_mask, zoom
from handgen.datamodules import hand_crop
from handgen.datamodules.image_cache import Chunk, Columns, ImageCache, build_cache, cache_key, chunks_of, open_cache
from handgen.errors import UserError
from handgen.photo_files import BadImage, read_photograph
from handgen.photo_lists import SPLITS, Photograph
from handgen.processes import usable_cores

PREPROCESS_VERSION = 1  # raise it when a pixel changes: it is part of the memory map's name
CHUNK = 256
SURE = 0.1  # least |score| at which one photograph alone decides where its fingers point
PROBLEM, SCORE = "_problem", "_score"  # columns of the build alone


@dataclass(frozen=True)
class Preprocessing:
    """How a photograph becomes an image.

    Attributes:
        size: Height and width in pixels.
        crop: Whether to crop to the hand.
        margin: Free border as a share of the hand's larger side.
        orientation: Where the fingers point: auto, up or down.
    """

    size: int
    crop: bool
    margin: float
    orientation: str


def open_photographs(
    cache_dir: Path, photographs: Sequence[Photograph], settings: Preprocessing, on_bad_image: str, name: str
) -> ImageCache:
    """Return the photographs as images, decoded now where that has not been done.

    Args:
        cache_dir: Folder of the memory maps.
        photographs: The photographs of all splits.
        settings: How they become images.
        on_bad_image: ``skip`` leaves unusable ones out and says how many and why in one line; ``error``
            stops.
        name: Name of the data set.

    Returns:
        The memory map, split after split; its columns are those of the photographs and ``rotated``, whether
        the photograph was turned by 180 degrees.

    Raises:
        UserError: If a photograph is unusable and may not be skipped, or a split is left empty.
    """
    ordered = [photo for split in SPLITS for photo in photographs if photo.split == split]
    files = [(str(photo.path), photo.columns, _stamp(photo.path)) for photo in ordered]
    everything = {
        "version": PREPROCESS_VERSION,
        "settings": asdict(settings),
        "files": files,
        "bad": on_bad_image,
    }
    folder = cache_dir / f"{name}-{settings.size}-{cache_key(everything)}"
    cache = open_cache(folder)
    if cache is not None:
        return cache
    chunks = chunks_of(len(ordered), CHUNK)

    def produce(missing: list[range]) -> Iterator[Chunk]:
        with ThreadPoolExecutor(usable_cores()) as pool:
            for chunk in missing:
                yield _chunk(pool.map(lambda row: _attempt(ordered[row], settings, on_bad_image), chunk), settings.size)

    def finish(images: Tensor, columns: Columns) -> ImageCache:
        return _finish(images, columns, ordered, settings, name)

    shape = (len(ordered), 3, settings.size, settings.size)
    return build_cache(folder, shape, chunks, produce, finish, f"reading {name} at {settings.size}x{settings.size}")


def preprocess(image: Image, settings: Preprocessing) -> tuple[Image, float]:
    """Crop a photograph to the hand and make it small.

    Args:
        image: uint8 (H, W, 3), RGB.
        settings: How.

    Returns:
        uint8 (size, size, 3), not turned yet, and the score of ``fingers_up_score``.
    """
    import cv2

    if settings.crop:
        image, mask = zoom(image)
        square = hand_crop.cut(image, mask, hand_crop.square_box(mask, image.shape[:2], settings.margin))
    else:
        mask = hand_mask(image)
        side = max(image.shape[:2])
        box = hand_crop.Box((image.shape[1] - side) // 2, (image.shape[0] - side) // 2, side)
        square = hand_crop.cut(image, mask, box)
    # Averaging areas keeps thin fingers whole when shrinking; when enlarging it would only repeat pixels.
    method = cv2.INTER_AREA if square.shape[0] >= settings.size else cv2.INTER_CUBIC
    return _resize(square, settings.size, method), fingers_up_score(mask)


def _resize(image: Image, size: int, method: int) -> Image:
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # no look-up on the network at import
    import albumentations as A

    resized: Image = A.Resize(size, size, interpolation=method, p=1.0)(image=image)["image"]
    return resized


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _attempt(photo: Photograph, settings: Preprocessing, on_bad_image: str) -> tuple[Image | None, float, str]:
    """Return the image, its score and what is wrong with it ("" for nothing)."""
    try:
        # The hand fills a third of the original photographs or more: decode at up to eight times the final
        # size.
        image, score = preprocess(read_photograph(photo.path, 8 * settings.size), settings)
    except BadImage as error:
        if on_bad_image == "error":
            raise UserError(f"{photo.path}: {error}; remove it, or skip such files with on_bad_image='skip'") from error
        return None, 0.0, str(error)
    return image, score, ""


def _chunk(results: Iterable[tuple[Image | None, float, str]], size: int) -> Chunk:
    images, scores, problems = zip(*results, strict=True)
    pixels = np.stack([np.zeros((size, size, 3), np.uint8) if image is None else image for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), {SCORE: list(scores), PROBLEM: list(problems)}


def _finish(
    images: Tensor, columns: Columns, photographs: list[Photograph], settings: Preprocessing, name: str
) -> ImageCache:
    """Leave out what could not be read, turn what points down, and give every image its columns."""
    problems = columns[PROBLEM]
    rows = [row for row, problem in enumerate(problems) if not problem]
    counts = Counter(photographs[row].split for row in rows)
    empty = [split for split in SPLITS if not counts[split]]
    if empty:
        note = _note(problems, photographs, name)
        raise UserError(
            f"{name}: no usable photograph in the split {', '.join(empty)} ({len(rows)} in all): "
            f"loosen the filters or add photographs{'; ' + note if note else ''}"
        )
    rotated = fingers_down([columns[SCORE][row] for row in rows], settings.orientation)
    kept = images[rows]
    turn = torch.tensor(rotated)
    kept[turn] = kept[turn].flip(-1, -2)
    names = photographs[0].columns
    result: dict[str, list[Any]] = {key: [photographs[row].columns[key] for row in rows] for key in names}
    result.setdefault("file", [photographs[row].path.name for row in rows])
    result["rotated"] = rotated
    ends = np.cumsum([counts[split] for split in SPLITS]).tolist()
    ranges = {split: (end - counts[split], end) for split, end in zip(SPLITS, ends, strict=True)}
    return ImageCache(kept, result, ranges, _note(problems, photographs, name))


def fingers_down(scores: Sequence[float], orientation: str) -> list[bool]:
    """Decide which photographs must be turned by 180 degrees (which keeps a right hand a right hand).

    Args:
        scores: ``fingers_up_score`` of each.
        orientation: ``up`` or ``down`` for all, or ``auto``: a clear score decides for its own photograph,
            and the clear ones outvote each other for the rest.

    Returns:
        One truth value per photograph.
    """
    if orientation != "auto":
        return [orientation == "down"] * len(scores)
    clear = [score for score in scores if abs(score) >= SURE]
    majority_down = sum(score < 0 for score in clear) * 2 > len(clear)
    return [score < 0 if abs(score) >= SURE else majority_down for score in scores]


def _note(problems: list[str], photographs: list[Photograph], name: str) -> str:
    """Say in one line how many photographs were left out, why, and one of them for each reason."""
    reasons = Counter(problem for problem in problems if problem)
    parts = []
    for reason, count in reasons.most_common():
        parts.append(f"{count} {reason} (such as {photographs[problems.index(reason)].path.name})")
    if not parts:
        return ""
    return f"{name}: skipped {reasons.total()} of {len(problems)} photographs: {'; '.join(parts)}"

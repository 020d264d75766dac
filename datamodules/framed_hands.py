"""Silhouettes of a feed's hands in a memory map, framed as the arm sees itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from handgen.anatomy import RENDERER_VERSION
from handgen.arm.body import FITTED, measures
from handgen.arm.feeds import Feed, Photographs
from handgen.arm.target import Target
from handgen.arm.thumb_side import WEIGHTS
from handgen.datamodules.image_cache import Chunk, Columns, ImageCache, build_cache, cache_key, chunks_of, open_cache
from handgen.errors import UserError
from handgen.processes import usable_cores

FRAMING_VERSION = 4
"""Raise it when segmenting or framing changes a pixel: it is part of the memory map's name."""
CHUNK = 64


def open_framed(cache_dir: Path, feed: Feed, split: str, size: int, segmenter: str) -> tuple[Tensor, Tensor]:
    """Masks of all hands of a feed, made now where that has not been done, and what is known of their digits.

    Args:
        cache_dir: folder of the memory maps.
        feed: any number of hands, but not a film.
        split: of the feed.
        size: height and width.
        segmenter: that finds the hands.

    Returns:
        uint8 (N, size, size), 0 or 255, and angles (N, 10) in radians, NaN where unknown; pictures that show no hand
        are left out.

    Raises:
        UserError: if none does.
    """
    settings = {"split": split, "size": size, "segmenter": segmenter, **what_decides(feed)}
    folder = cache_dir / f"framed-{feed.name}-{size}-{cache_key(settings)}"
    cache = open_cache(folder)
    if cache is None:
        chunks = chunks_of(len(feed), CHUNK)

        def produce(missing: list[range]) -> Iterator[Chunk]:
            workers = usable_cores() if isinstance(feed, Photographs) else 1  # the renderer has threads of its own
            with ThreadPoolExecutor(workers) as pool:
                for chunk in missing:
                    yield _chunk(list(pool.map(lambda row: _attempt(feed, row, size), chunk)), chunk, size)

        title = f"framing {feed.name} at {size}x{size}"
        cache = build_cache(folder, (len(feed), 1, size, size), chunks, produce, _usable, title)
    if len(cache.images) == 0:
        raise UserError(f"the feed {feed.name} shows no hand in its split {split!r}")
    return cache.images[:, 0], torch.from_numpy(np.stack([feed.digits(row) for row in cache.columns["row"]]))


def what_decides(feed: Feed) -> dict[str, Any]:
    """What silhouettes depend on beside split, size and segmenter.

    The arm's measures: framing brings hands to its place. The built-in hands depend on their renderer, photographs on
    their files and on which side the thumb is said to be, and where nobody says so on the network that does.
    """
    files = [(str(path), path.stat().st_mtime_ns if path.exists() else 0) for path in getattr(feed, "paths", ())]
    versions = {"framing": FRAMING_VERSION, "renderer": RENDERER_VERSION, "body": measures(FITTED)}
    thumbs_left = getattr(feed, "thumbs_left", ())
    if None in thumbs_left:
        versions["thumb_side"] = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    return {"feed": feed.name, "count": len(feed), "files": files, "thumbs_left": thumbs_left, **versions}


def _attempt(feed: Feed, row: int, size: int) -> Target | None:
    try:
        return feed.target(row, size)
    except ValueError:
        return None


def _chunk(targets: list[Target | None], rows: range, size: int) -> Chunk:
    blank = np.zeros((size, size), bool)
    masks = [blank if target is None else target.mask for target in targets]
    images = torch.from_numpy(np.stack(masks)[:, None].astype(np.uint8) * np.uint8(255))
    return images, {"usable": [target is not None for target in targets], "row": list(rows)}


def _usable(images: Tensor, columns: Columns) -> ImageCache:
    rows = [row for row, usable in enumerate(columns["usable"]) if usable]
    kept = images if len(rows) == len(images) else images[rows]
    return ImageCache(kept, {"row": [columns["row"][row] for row in rows]}, {"all": (0, len(rows))})

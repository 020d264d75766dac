"""Rendered hands in a memory map."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from handgen.datamodules.batches import identity
from handgen.datamodules.image_cache import Chunk, Columns, ImageCache, build_cache, cache_key, chunks_of, open_cache
from handgen.errors import UserError
from handgen.processes import usable_cores
from handgen.programs import last_line

# The splits draw from index ranges that can never meet, whatever the counts: hand i is a function of (seed,
# i).
FIRST_INDEX = {"train": 0, "val": 1_000_000_000, "test": 2_000_000_000}
CHUNK = 128
SIDES = ("right", "left")
VIEWS = ("palmar", "dorsal")


def open_rendered(
    cache_dir: Path,
    size: int,
    counts: dict[str, int],
    seed: int,
    kinds: Sequence[str],
    upright: bool,
    on_white: bool = False,
) -> ImageCache:
    """Return the rendered hands of all splits, rendered now where they are not there yet.

    Args:
        cache_dir: Folder of the memory maps.
        size: Height and width in pixels.
        counts: Hands per split.
        seed: Seed of the renderer.
        kinds: Selection of ``handgen.anatomy.KINDS``.
        upright: Whether the hands are centred and upright, as cropped photographs are.
        on_white: Whether all behind the hand, its sleeve too, is white.

    Returns:
        The memory map; its columns are index, kind, valid, digits, side and view.

    Raises:
        UserError: If a kind is unknown or the size cannot be rendered.
    """
    from handgen.anatomy import KINDS, RENDERER_VERSION

    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise UserError(f"kinds={list(kinds)}: choose from {', '.join(KINDS)}")
    check_render_size(size)
    settings = {
        "source": "synthetic",
        "renderer": RENDERER_VERSION,
        "size": size,
        "counts": counts,
        "seed": seed,
        "kinds": list(kinds),
        "upright": upright,
        **({"on_white": True} if on_white else {}),
    }
    folder = cache_dir / f"synthetic-{size}-{cache_key(settings)}"
    cache = open_cache(folder)
    if cache is not None:
        return cache
    indices = torch.cat([torch.arange(count) + FIRST_INDEX[split] for split, count in counts.items()])
    chunks = chunks_of(len(indices), CHUNK)

    def produce(missing: list[range]) -> Iterator[Chunk]:
        rows = [indices[chunk.start : chunk.stop] for chunk in missing]
        yield from render_on_all_cores(rows, render_hands_chunk(seed, size, tuple(kinds), upright, on_white))

    def finish(images: Tensor, columns: Columns) -> ImageCache:
        return ImageCache(images, columns, split_ranges(counts))

    title = f"rendering hands {size}x{size}"
    return build_cache(folder, (len(indices), 3, size, size), chunks, produce, finish, title)


def split_ranges(counts: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the first row and the row after the last of each split, one behind the other.

    Args:
        counts: Images per split.

    Returns:
        (start, stop) per split.
    """
    ranges, start = {}, 0
    for split, count in counts.items():
        ranges[split] = (start, start + count)
        start += count
    return ranges


class RenderingJobs(Dataset[tuple[NDArray[np.uint8], Columns]]):
    """Renders one chunk per item; items are numpy arrays, which need no shared memory between processes.

    Args:
        rows: The hands of each chunk, int64 (n,).
        render: Makes the images and columns of one chunk.
    """

    def __init__(self, rows: list[Tensor], render: Callable[[Tensor], Chunk]) -> None:
        self.rows = rows
        self.render = render

    def __len__(self) -> int:
        """Return the number of chunks."""
        return len(self.rows)

    def __getitem__(self, chunk: int) -> tuple[NDArray[np.uint8], Columns]:
        """Render one chunk.

        Args:
            chunk: Its number.

        Returns:
            uint8 (n, channels, size, size) and the columns.
        """
        images, columns = self.render(self.rows[chunk])
        return images.numpy(), columns


def render_on_all_cores(
    rows: list[Tensor], render: Callable[[Tensor], Chunk], clean_start: bool = False
) -> Iterator[Chunk]:
    """Render chunks in order, one process a core with one thread each.

    Threads inside torch gain little on such small tensors and lose a lot on a busy machine.

    Args:
        rows: The hands of each chunk, int64 (n,).
        render: Makes the images and columns of one chunk.
        clean_start: Start processes anew instead of forking them: a fork of a process that has drawn with OpenGL hangs.

    Yields:
        The images and columns of each chunk.
    """
    data = RenderingJobs(rows, render)
    workers = min(usable_cores(), len(data))
    workers = workers if workers > 1 else 0  # one chunk is not worth a process
    start = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"
    context = start if clean_start and workers else None
    # A loader does it all: processes, order, errors, clean end. Without a generator it would draw from torch's own, and
    # training after rendering would differ from training on what an earlier run has rendered.
    loader = DataLoader(
        data,
        batch_size=None,
        collate_fn=identity,
        num_workers=workers,
        multiprocessing_context=context,
        generator=torch.Generator(),
    )
    try:
        for images, columns in loader:
            yield torch.from_numpy(images), columns
    except UserError as error:  # torch has put the worker's traceback before it
        raise UserError(last_line(str(error)).removeprefix("handgen.errors.UserError: ")) from None


def check_render_size(size: int) -> None:
    """Refuse sizes of pictures that hands are not drawn at.

    Raises:
        UserError: see above.
    """
    if not 16 <= size <= 1024 or size % 16:
        raise UserError(f"image_size={size}: rendered hands need a multiple of 16 between 16 and 1024")


def render_hands_chunk(
    seed: int, size: int, kinds: tuple[str, ...], upright: bool, on_white: bool = False
) -> Callable[[Tensor], Chunk]:
    """Return what renders the hands of one chunk; it can be sent to another process.

    Args:
        seed: Seed of the renderer.
        size: Height and width in pixels.
        kinds: Selection of ``handgen.anatomy.KINDS``.
        upright: Whether the hands are centred and upright.
        on_white: Whether all behind the hand is white.
    """
    return partial(_render, seed=seed, size=size, kinds=kinds, upright=upright, on_white=on_white)


def _render(rows: Tensor, seed: int, size: int, kinds: tuple[str, ...], upright: bool, on_white: bool) -> Chunk:
    from handgen.anatomy import KINDS, render_hands

    hands = render_hands(rows, seed=seed, size=size, kinds=kinds, upright=upright)
    columns: Columns = {
        "index": rows.tolist(),
        "kind": [KINDS[kind] for kind in hands.kind.tolist()],
        "valid": hands.valid.tolist(),
        "digits": hands.digits.tolist(),
        "side": [SIDES[side] for side in hands.side.tolist()],
        "view": [VIEWS[view] for view in hands.view.tolist()],
    }
    if not on_white:
        return hands.image, columns
    share = hands.mask.float() / 255
    return torch.lerp(torch.full_like(share, 255.0), hands.image.float(), share).round().to(torch.uint8), columns

"""A uint8 memory map of images, made once, chunk by chunk, named by a hash of all that shapes it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.whole_files import whole_file

LAYOUT_VERSION = 1
Columns = dict[str, list[Any]]
Chunk = tuple[Tensor, Columns]  # uint8 (n, 3, size, size) and n plain values per column


@dataclass(frozen=True)
class ImageCache:
    """A finished memory map.

    Attributes:
        images: uint8 (N, 3, H, W) over all splits, memory-mapped.
        columns: N plain values per column.
        ranges: First row and row after the last of each split.
        note: What the user should know of it, "" for nothing.
    """

    images: Tensor
    columns: Columns
    ranges: dict[str, tuple[int, int]]
    note: str = ""


def cache_key(settings: dict[str, Any]) -> str:
    """Return a name that changes with any of the settings.

    Args:
        settings: Everything that shapes the images, as JSON values.

    Returns:
        20 hexadecimal digits.
    """
    text = json.dumps({"layout": LAYOUT_VERSION, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def open_cache(folder: Path) -> ImageCache | None:
    """Open a finished memory map.

    Args:
        folder: Where it lies.

    Returns:
        The memory map, or None where there is none or the one that is there is not whole.
    """
    try:
        index = json.loads((folder / "index.json").read_text())
        shape, columns, ranges, note = (index[key] for key in ("shape", "columns", "ranges", "note"))
        size = (folder / "images.u8").stat().st_size
    except (OSError, ValueError, KeyError):
        return None
    if size != torch.Size(shape).numel() or any(len(column) != shape[0] for column in columns.values()):
        return None
    ranges = {split: (start, stop) for split, (start, stop) in ranges.items()}
    return ImageCache(_map(folder / "images.u8", shape, write=False), columns, ranges, note)


def chunks_of(count: int, size: int) -> list[range]:
    """Rows 0 to ``count`` in pieces of ``size``, the last one shorter."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]


def build_cache(
    folder: Path,
    shape: tuple[int, int, int, int],
    chunks: list[range],
    produce: Callable[[list[range]], Iterable[Chunk]],
    finish: Callable[[Tensor, Columns], ImageCache],
    title: str,
) -> ImageCache:
    """Return the memory map at ``folder``, made now where it is missing or not whole.

    The work goes on in ``folder`` + ``.partial``; each chunk is written, flushed and only then noted with its
    checksum, so an interrupted build goes on where it stopped and a damaged chunk is made again. The
    finished folder appears in one step (``os.replace``). A lock lets several processes ask for the same map
    at once.

    Args:
        folder: Where it shall lie; its name should hold ``cache_key``.
        shape: (N, 3, H, W).
        chunks: Consecutive ranges of rows that cover range(N).
        produce: Takes the chunks that are missing and yields (images, columns) for each, in the same order.
        finish: Takes all images (N, 3, H, W) and columns; returns what to keep. After an interruption it
            runs again, so it must not write into its arguments.
        title: Text of the progress bar.

    Returns:
        The memory map.

    Raises:
        UserError: If the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_suffix(".lock")):
            cache = open_cache(folder)
            if cache is None:
                shutil.rmtree(folder, ignore_errors=True)
                _build(folder, shape, chunks, produce, finish, title)
                cache = open_cache(folder)
    except OSError as error:
        reason = error.strerror or error
        advice = "set cache_dir or HANDGEN_CACHE to a writable folder with free space"
        raise UserError(f"cannot write the image cache {folder.parent}: {reason}; {advice}") from error
    if cache is None:
        raise UserError(f"the image cache {folder} is damaged: remove it and run again")
    return cache


def _build(
    folder: Path,
    shape: tuple[int, int, int, int],
    chunks: list[range],
    produce: Callable[[list[range]], Iterable[Chunk]],
    finish: Callable[[Tensor, Columns], ImageCache],
    title: str,
) -> None:
    partial = folder.with_suffix(".partial")
    partial.mkdir(exist_ok=True)
    images = _map(partial / "all.u8", shape, write=True)
    done = _read_done(partial, images, chunks)
    missing = [chunk for chunk in chunks if chunk.start not in done]
    for chunk, (pixels, columns) in zip(missing, _progress(produce(missing), missing, shape[0], title), strict=True):
        images[chunk.start : chunk.stop] = pixels
        _flush(partial / "all.u8")
        done[chunk.start] = columns
        record = {"crc": _checksum(images[chunk.start : chunk.stop]), "columns": columns}
        _write_json(partial / f"chunk{chunk.start}.json", record)
    names = done[chunks[0].start]
    columns = {name: [value for chunk in chunks for value in done[chunk.start][name]] for name in names}
    result = finish(images, columns)
    if result.images is images:
        os.replace(partial / "all.u8", partial / "images.u8")
    else:
        _write_images(partial / "images.u8", result.images)
        (partial / "all.u8").unlink()
    index = {"shape": list(result.images.shape), "columns": result.columns, "ranges": result.ranges}
    _write_json(partial / "index.json", {**index, "note": result.note})
    for note in partial.glob("chunk*.json"):
        note.unlink()
    os.replace(partial, folder)


def _read_done(partial: Path, images: Tensor, chunks: list[range]) -> dict[int, Columns]:
    """Return the columns of the chunks that an interrupted build left whole."""
    done = {}
    for chunk in chunks:
        with contextlib.suppress(OSError, ValueError, KeyError):
            record = json.loads((partial / f"chunk{chunk.start}.json").read_text())
            if record["crc"] == _checksum(images[chunk.start : chunk.stop]):
                done[chunk.start] = record["columns"]
    return done


def _progress(produced: Iterable[Chunk], missing: list[range], total: int, title: str) -> Iterator[Chunk]:
    """Pass the chunks on and draw the progress bar, which starts where the interrupted build had stopped."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*texts, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, completed=total - sum(len(chunk) for chunk in missing))
        for chunk, result in zip(missing, produced, strict=True):
            yield result
            bar.advance(task, len(chunk))


def _map(path: Path, shape: tuple[int, ...] | list[int], write: bool) -> Tensor:
    """Map a file as a tensor; without ``write``, changes of the tensor never reach the file."""
    count = torch.Size(shape).numel()
    if write and (not path.exists() or path.stat().st_size != count):
        with path.open("wb") as file:
            file.truncate(count)
    if count == 0:
        return torch.empty(tuple(shape), dtype=torch.uint8)
    return torch.from_file(str(path), shared=write, size=count, dtype=torch.uint8).view(*shape)


def _checksum(images: Tensor) -> int:
    return zlib.crc32(images.numpy())  # type: ignore[arg-type]


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _write_images(path: Path, images: Tensor) -> None:
    with path.open("wb") as file:
        for start in range(0, len(images), 1024):
            file.write(images[start : start + 1024].contiguous().numpy().data)
        file.flush()
        os.fsync(file.fileno())


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps(value))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock, so that of several processes one builds and the others wait."""
    try:
        import fcntl
    except ImportError:  # not a Unix: os.replace still keeps a finished map whole
        yield
        return
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

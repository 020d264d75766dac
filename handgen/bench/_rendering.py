"""How fast hands are rendered."""

import time
from statistics import median

import torch

from handgen.anatomy import render_hands
from handgen.datamodules.rendered import render_hands_chunk, render_on_all_cores
from handgen.results import Record

ROUNDS = 5
CHUNK, CHUNKS = 64, 8


def _seconds_on_all_cores(size: int, first: int) -> float:
    rows = [torch.arange(CHUNK) + first + i * CHUNK for i in range(CHUNKS)]
    start = time.perf_counter()
    for _ in render_on_all_cores(rows, render_hands_chunk(0, size, ("valid",), True)):
        pass
    return time.perf_counter() - start


def _seconds_on_one_thread(size: int, first: int) -> float:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.perf_counter()
    render_hands(range(first, first + 2 * CHUNK), size=size)
    torch.set_num_threads(threads)
    return time.perf_counter() - start


def measure_size(size: int) -> list[Record]:
    """Alternate both ways and compare medians, start of the processes included.

    Args:
        size: pixels per side.
    """
    _seconds_on_one_thread(size, 0)
    rounds = [(_seconds_on_all_cores(size, i), _seconds_on_one_thread(size, i)) for i in range(ROUNDS)]
    ours = CHUNK * CHUNKS / median(a for a, _ in rounds)
    reference = 2 * CHUNK / median(b for _, b in rounds)
    name = f"renderer_{size}"
    return [
        Record("bench", "synthetic", "images/s", f"{name}/ours", ours, n=ROUNDS),
        Record("bench", "synthetic", "images/s", f"{name}/reference", reference, n=ROUNDS),
        Record("bench", "synthetic", "images/s", f"{name}/ratio", ours / reference, n=ROUNDS),
    ]

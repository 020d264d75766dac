"""A training step of convolutions in processes that keep freed memory and in ones that give it back, steps a second.

Processes alternate, as what is settled at a process' start cannot be undone, and medians of pairs are taken.
"""

from __future__ import annotations

import sys
import time

import torch
from torch import nn

from handgen.bench._sides import compared, in_a_process
from handgen.memory import keep_freed_memory
from handgen.results import Record

BATCH, SIZE, WIDTH = 32, 84, 32


def steps_per_second(steps: int = 12) -> float:
    """Steps a second of a small autoencoder of pictures, after two that warm up."""
    layers = [nn.Conv2d(3, WIDTH, 3, 1, 1), nn.ReLU(), nn.Conv2d(WIDTH, 2 * WIDTH, 3, 2, 1), nn.ReLU()]
    layers += [nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1), nn.ReLU(), nn.Conv2d(WIDTH, 3, 3, 1, 1)]
    net = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)
    image = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    start = 0.0
    for step in range(steps + 2):
        if step == 2:
            start = time.perf_counter()
        optimizer.zero_grad()
        (net(image) - image).square().mean().backward()
        optimizer.step()
    return steps / (time.perf_counter() - start)


def measure(runs: int = 7) -> list[Record]:
    """Measure both in turn.

    Args:
        runs: Pairs of processes.

    Returns:
        ``freed_memory/ours`` (kept) and ``freed_memory/reference`` (given back), steps/s, medians, and
        ``freed_memory/ratio``, with the extremes of the runs as ``low`` and ``high``.
    """
    rates: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(runs):
        for name, argument in (("ours", "keep"), ("reference", "leave")):
            rates[name].append(in_a_process(__name__, argument, torch.get_num_threads()))
    unit = f"steps/s, batch {BATCH}, {SIZE} x {SIZE}, {torch.get_num_threads()} threads"
    return compared("freed_memory", unit, rates["ours"], rates["reference"])


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep_freed_memory()
    torch.set_num_threads(int(sys.argv[2]))
    print(steps_per_second())

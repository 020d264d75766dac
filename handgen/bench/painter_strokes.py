"""Brush strokes: 64 canvases at once on tensors against libmypaint's pen, canvas by canvas, strokes a second.

Both draw the same random strokes in colour on 64 x 64 pixels and hand over the canvases after each; libmypaint takes 50
points for a stroke, as the released environment of SPIRAL does. Runs alternate, and medians of runs side by side
are taken, so that a busy machine slows both.
"""

from __future__ import annotations

import time

import torch

from handgen.bench._sides import compared
from handgen.painter.actions import action_table
from handgen.painter.mypaint import MyPaintEngine
from handgen.painter.rollout import random_programs
from handgen.painter.world import Engine, PaintWorld, TorchEngine
from handgen.results import Record

BATCH, SIZE, SEGMENTS = 64, 64, 50


def seconds(engine: Engine, programs: torch.Tensor) -> float:
    """Seconds for programs (N, T, K), which draw with every action."""
    world = PaintWorld(action_table("paper"), engine)
    world.reset(len(programs))
    start = time.perf_counter()
    for step in range(programs.shape[1]):
        world.step(programs[:, step])
    return time.perf_counter() - start


def measure(runs: int = 41, strokes: int = 20) -> list[Record]:
    """Measure both in turn.

    Args:
        runs: Runs of each.
        strokes: On each canvas in a run.

    Returns:
        ``painter_strokes/ours`` and ``painter_strokes/reference`` (strokes/s, medians) and ``painter_strokes/ratio``,
        with the extremes of the runs as ``low`` and ``high``.

    Raises:
        UserError: if libmypaint is not installed.
    """
    ours, reference = TorchEngine(SIZE, 3), MyPaintEngine(SIZE, 3, "pen", SEGMENTS)
    rates: dict[str, list[float]] = {"ours": [], "reference": []}
    for run in range(runs + 1):
        generator = torch.Generator().manual_seed(run)
        programs = random_programs(action_table("paper"), BATCH, strokes, generator, draw_share=1.0)
        pair = {"ours": seconds(ours, programs), "reference": seconds(reference, programs)}
        for name, taken in pair.items() if run else ():  # the first run warms up
            rates[name].append(BATCH * strokes / taken)
    unit = f"strokes/s, {BATCH} canvases of {SIZE} x {SIZE}, {torch.get_num_threads()} threads"
    return compared("painter_strokes", unit, rates["ours"], rates["reference"])

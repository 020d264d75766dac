"""Scenes of five objects: our model of them against the plainest way to write one, pictures a second.

The reference has a plane for a floor, as MuJoCo's own examples have, a light that casts shadows, and MuJoCo's default
quality; ours has a thin box, few slices, no shadows, no multisampling and no sky. Both show the same objects at 64 x 64
pixels. Runs alternate, and medians of neighbouring runs' ratios are taken, so that a busy machine slows both.
"""

from __future__ import annotations

import re
import time

import torch

from handgen.bench._sides import compared
from handgen.painter import scenes
from handgen.painter.scene_search import random_scene
from handgen.results import Record

FLOOR = re.compile(r'<geom type="box" size="4 4 0.01"[^>]*/>')
PLANE = '<geom type="plane" size="4 4 0.01" rgba="0.85 0.85 0.85 1" contype="0" conaffinity="0"/>'


def plain_model() -> str:
    """The same scene, written without a thought of speed."""
    model = FLOOR.sub(PLANE, scenes.MODEL).replace('castshadow="false"', 'castshadow="true"')
    return re.sub(r"<quality[^>]*/>", "", model)


class PlainWorld(scenes.SceneWorld):
    """Scenes of `plain_model`, with the renderer's default flags."""

    model_text = plain_model()
    without_sky = False


def measure(runs: int = 7, pictures: int = 60, size: int = 64) -> list[Record]:
    """Measure both in turn.

    Args:
        runs: Runs of each.
        pictures: Drawn in a run.
        size: Height and width of a picture.

    Returns:
        ``scenes_render/ours`` and ``scenes_render/reference`` (renders/s, medians) and ``scenes_render/ratio``, with
        the extremes of the runs as ``low`` and ``high``.

    Raises:
        UserError: if MuJoCo is not there or nothing can render.
    """
    worlds = {"ours": scenes.SceneWorld(size=size), "reference": PlainWorld(size=size)}
    rates: dict[str, list[float]] = {name: [] for name in worlds}
    for run in range(runs + 1):
        generator = torch.Generator().manual_seed(run)
        programs = [random_scene(worlds["ours"].table, 5, 5, generator) for _ in range(pictures)]
        for name, world in worlds.items():
            start = time.perf_counter()
            for program in programs:
                world.picture(program)
            if run:  # the first run warms up
                rates[name].append(pictures / (time.perf_counter() - start))
    for world in worlds.values():
        world.close()
    unit = f"renders/s, {size} x {size}, 5 objects"
    return compared("scenes_render", unit, rates["ours"], rates["reference"], "scenes")

"""Scenes of a few objects, with the programs that made them."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from handgen.datamodules.strokes import Pictures
from handgen.painter.actions import draws
from handgen.painter.scene_search import random_scene
from handgen.painter.scenes import SceneWorld

HELD_OUT = 10
"""One scene of so many is never learnt from."""


def is_held_out(program: Tensor) -> bool:
    """Whether a scene, by its program (T, K), is for tests: there are few enough of one object to be drawn twice."""
    return zlib.crc32(program[draws(program)].short().numpy().tobytes()) % HELD_OUT == 0


def random_scenes(
    world: SceneWorld, count: int, most_objects: int, length: int, generator: torch.Generator, held_out: bool = False
) -> Tensor:
    """Programs (N, T, K) of 1 to ``most_objects`` objects each, all of them to learn from or all of them held out."""
    scenes = []
    for objects in torch.randint(1, most_objects + 1, (count,), generator=generator).tolist():
        scene = random_scene(world.table, objects, length, generator)
        while is_held_out(scene) != held_out:
            scene = random_scene(world.table, objects, length, generator)
        scenes.append(scene)
    return torch.stack(scenes)


def scene_pictures(world: SceneWorld, programs: Tensor) -> Pictures:
    """Programs (N, T, K) as they look, without classes."""
    images = torch.stack([(255 * world.picture(program)).round().to(torch.uint8) for program in programs])
    return Pictures(images, torch.full((len(images),), -1), 0)

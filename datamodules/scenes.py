"""Scenes of a few objects, with the programs that made them."""

from __future__ import annotations

import torch
from torch import Tensor

from handgen.datamodules.strokes import Pictures
from handgen.painter.scene_search import random_scene
from handgen.painter.scenes import SceneWorld


def random_scenes(world: SceneWorld, count: int, most_objects: int, length: int, generator: torch.Generator) -> Tensor:
    """Programs (N, T, K) of 1 to ``most_objects`` objects each."""
    objects = torch.randint(1, most_objects + 1, (count,), generator=generator).tolist()
    return torch.stack([random_scene(world.table, each, length, generator) for each in objects])


def scene_pictures(world: SceneWorld, programs: Tensor) -> Pictures:
    """Programs (N, T, K) as they look, without classes."""
    images = torch.stack([(255 * world.picture(program)).round().to(torch.uint8) for program in programs])
    return Pictures(images, torch.full((len(images),), -1), 0)

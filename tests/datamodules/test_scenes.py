"""Scenes to learn from and scenes to be tested on."""

import torch

from handgen.datamodules.scenes import HELD_OUT, is_held_out, random_scenes
from handgen.painter.actions import action_table
from handgen.painter.scene_search import random_scene


class World:
    """What scenes are drawn for; nothing is rendered."""

    table = action_table("scene")


def test_what_is_tested_is_never_learnt() -> None:
    generator = torch.Generator().manual_seed(0)
    learnt, tested = (random_scenes(World(), 2000, 2, 3, generator, held_out) for held_out in (False, True))  # type: ignore[arg-type]
    assert not any(map(is_held_out, learnt)) and all(map(is_held_out, tested))
    for scenes in (learnt, tested):
        assert 0.4 < float((scenes[:, 1, 0] > 0).float().mean()) < 0.6  # half of them have two objects
    longer = torch.nn.functional.pad(tested, (0, 0, 0, 2))
    assert all(map(is_held_out, longer))  # however many actions it may take


def test_a_tenth_is_held_out() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = [is_held_out(random_scene(World.table, 1, 1, generator)) for _ in range(4000)]
    assert abs(sum(drawn) / len(drawn) - 1 / HELD_OUT) < 0.02

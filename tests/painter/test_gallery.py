"""Paintings as files."""

from pathlib import Path

import pytest
import torch

from handgen.datamodules.scenes import random_scenes
from handgen.errors import UserError
from handgen.painter.actions import action_table
from handgen.painter.gallery import write_paintings
from handgen.painter.rollout import random_programs
from handgen.painter.scenes import SceneWorld


def test_strokes_are_written_as_programs_drawings_and_pictures(tmp_path: Path) -> None:
    table, before = action_table("fast"), torch.get_rng_state()
    write_paintings(random_programs(table, 2, 3, torch.Generator().manual_seed(0)), table, 3, tmp_path)
    suffixes = sorted(path.suffix for path in tmp_path.iterdir())
    assert suffixes == [".gif", ".json", ".json", ".png", ".png", ".svg", ".svg"]
    assert torch.equal(torch.get_rng_state(), before)


def test_scenes_are_written_without_drawings_of_strokes(tmp_path: Path) -> None:
    table = action_table("scene")
    try:
        world = SceneWorld(table, 32)
    except UserError as error:
        pytest.skip(str(error))
    write_paintings(random_scenes(world, 2, 2, 3, torch.Generator().manual_seed(0)), table, 3, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".png", ".gif"}

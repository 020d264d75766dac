"""Worlds by their names, on whatever device they are asked for."""

import pytest
import torch

from handgen.errors import UserError
from handgen.painter.actions import action_table
from handgen.painter.rollout import random_programs
from handgen.painter.world import PaintWorld, TorchEngine, in_channels
from handgen.painter.worlds import World, make_world


def world_of(table: str, engine: str = "torch", device: str = "cpu") -> World:
    try:
        return make_world(action_table(table), 32, 3, engine, device=device)
    except UserError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("table", "engine"), [("fast", "torch"), ("compound", "torch"), ("fast", "mypaint")])
def test_what_a_world_makes_is_where_it_was_asked_for(table: str, engine: str) -> None:
    """What is made without a device is made on another one here, where nothing can be computed with it."""
    plain, watched = world_of(table, engine), world_of(table, engine)
    actions = random_programs(action_table(table), 2, 3, torch.Generator().manual_seed(0))
    plain.reset(2)
    for step in range(3):
        expected = plain.step(actions[:, step])
    if engine == "mypaint":
        return  # ctypes' side of it is on the CPU anyway
    with torch.device("meta"):
        watched.reset(2)
        for step in range(3):
            canvas = watched.step(actions[:, step])
    assert canvas.device.type == "cpu" and torch.equal(canvas, expected)


@pytest.mark.parametrize(("table", "engine"), [("fast", "mypaint"), ("scene", "torch")])
def test_engines_of_the_cpu_bring_canvases_to_the_device(table: str, engine: str) -> None:
    world = world_of(table, engine, device="meta")
    actions = random_programs(action_table(table), 2, 1, torch.Generator().manual_seed(0))[:, 0]
    for canvas in (world.reset(2), world.step(actions), world.canvas):
        assert canvas.device.type == "meta" and canvas.shape == (2, 3, 32, 32)


def test_a_painter_moves_with_its_world() -> None:
    world = PaintWorld(action_table("fast_grey"), TorchEngine(16, 1), device="meta")
    assert world.reset(2).device.type == "meta" and world.pen.device.type == "cpu"


def test_grey_canvases_take_a_colours_luminance() -> None:
    green = torch.tensor([[0.0, 1.0, 0.0]])
    assert in_channels(green, 1).tolist() == [[pytest.approx(0.587)]] and in_channels(green, 3) is green
    stroke = torch.tensor([[1.0, 20, 16, 16, 16, 7, 0, 19, 0]])  # green
    for engine in ("torch", "mypaint"):
        try:
            world = make_world(action_table("fast"), 64, 1, engine)
        except UserError:
            continue
        world.reset(1)
        darkest = world.step(stroke).min().item()
        assert darkest == pytest.approx(0.587, abs=0.1), engine


def test_no_brush_draws_scenes_and_scenes_have_their_limits() -> None:
    with pytest.raises(UserError, match="no brush draws them"):
        PaintWorld(action_table("scene"), TorchEngine(32, 3))
    with pytest.raises(UserError, match="in colour"):
        make_world(action_table("scene"), 32, 1)
    with pytest.raises(UserError, match="512"):
        make_world(action_table("scene"), 1024, 3)

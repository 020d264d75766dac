"""Scenes of solid objects."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from handgen.errors import UserError
from handgen.opengl import choose_backend
from handgen.painter.actions import action_table
from handgen.painter.scenes import MOST_OBJECTS, SceneWorld, seen_at


def can_draw() -> bool:
    try:
        choose_backend()
    except UserError:
        return False
    return find_spec("mujoco") is not None


needs_gl = pytest.mark.skipif(not can_draw(), reason="nothing renders here")


def thing(shape: int = 0, place: int = 136, size: int = 2, colour: tuple[int, int, int] = (3, 0, 0)) -> list[float]:
    return [float(n) for n in (1, shape, place, size, *colour)]


@needs_gl
def test_objects_appear_where_and_as_they_are_told() -> None:
    world = SceneWorld(size=64)
    empty = world.reset(4)
    actions = torch.tensor([thing(), thing(place=0), thing(colour=(0, 0, 3)), [0.0] * 7])
    seen = world.step(actions)
    changed = (seen - empty).abs().amax(1) > 0.1
    assert changed.flatten(1).sum(1).tolist()[3] == 0
    rows, columns = zip(*(torch.nonzero(c).float().mean(0).tolist() for c in changed[:2]), strict=True)
    assert rows[1] < rows[0] - 10 and columns[1] < columns[0] - 10  # farther back, farther left
    for picture, channel in ((0, 0), (2, 2)):
        colour = seen[picture][:, changed[picture]].mean(1)
        assert colour.argmax() == channel and colour[channel] > 2 * colour.sum().sub(colour[channel])
    world.close()


@needs_gl
@pytest.mark.parametrize("place", [0, 15, 136, 240, 255])
def test_objects_are_seen_where_the_policy_looks_for_them(place: int) -> None:
    world = SceneWorld(size=64)
    empty, action = world.reset(1), torch.tensor([thing(shape=1, place=place, size=1)])
    ink = (world.step(action) - empty).abs().sum(1)[0]
    axis = (torch.arange(64) + 0.5) / 64
    middle = torch.stack([(ink.sum(0) * axis).sum(), (ink.sum(1) * axis).sum()]) / ink.sum()
    torch.testing.assert_close(seen_at(world.table.decode(action)["end"])[0], middle, atol=0.01, rtol=0)
    world.close()


@needs_gl
def test_shapes_sizes_and_repeats() -> None:
    world = SceneWorld(size=64)
    world.reset(4)
    shapes = world.step(torch.tensor([thing(shape) for shape in range(4)]))
    assert all((shapes[i] - shapes[j]).abs().sum() > 1 for i in range(4) for j in range(i))
    world.reset(4)
    assert torch.equal(world.step(torch.tensor([thing(shape) for shape in range(4)])), shapes)
    empty = world.reset(3)
    ink = (world.step(torch.tensor([thing(size=size) for size in range(3)])) - empty).abs().sum((1, 2, 3))
    assert ink[0] < ink[1] < ink[2]
    world.close()


@needs_gl
def test_a_scene_holds_five_objects() -> None:
    world = SceneWorld(action_table("scene"), size=32)
    world.reset(1)
    seen = [world.step(torch.tensor([thing(place=40 * i)])) for i in range(MOST_OBJECTS + 1)]
    assert not torch.equal(seen[4], seen[3])
    assert torch.equal(seen[5], seen[4])
    world.close()


@needs_gl
def test_python_ends_in_silence() -> None:
    left_open = "from handgen.painter.scenes import SceneWorld; world = SceneWorld(size=8)"
    ended = subprocess.run([sys.executable, "-c", left_open], capture_output=True, text=True, check=True)
    assert "Exception" not in ended.stderr

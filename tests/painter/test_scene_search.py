"""The baseline that searches scenes, and how found scenes are compared with true ones."""

import pytest
import torch

from handgen.errors import UserError
from handgen.painter.actions import action_table
from handgen.painter.scene_search import accuracies, metropolis_hastings, random_scene
from handgen.painter.scenes import SceneWorld

TABLE = action_table("scene")


def scenes(count: int, objects: int = 2, length: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.stack([random_scene(TABLE, objects, length, generator) for _ in range(count)])


def test_the_truth_is_right_in_any_order() -> None:
    true = scenes(6)
    found = true[:, [1, 0, 2, 3, 4]]
    assert all(m.value == 1.0 for m in accuracies(found, true, TABLE, "x"))


def test_each_attribute_is_counted_by_itself() -> None:
    true = scenes(1, 1)
    found = true.clone()
    column = {name: index for index, name in enumerate(TABLE.names)}
    found[0, 0, column["shape"]] = (true[0, 0, column["shape"]] + 1) % 4
    found[0, 0, column["red"]] = (true[0, 0, column["red"]] + 1) % 4
    found[0, 0, column["end"]] = 17.0
    true[0, 0, column["end"]] = 0.0
    values = {m.metric.removeprefix("scenes/"): m.value for m in accuracies(found, true, TABLE, "x")}
    assert values == {
        "type_accuracy": 0.0,
        "position_within_one": 1.0,  # one cell to the right and one down
        "size_accuracy": 1.0,
        "colour_accuracy": 0.0,
        "count_accuracy": 1.0,
    }
    found[0, 0, column["end"]] = 18.0
    assert accuracies(found, true, TABLE, "x")[1].metric == "scenes/position_within_one"
    assert accuracies(found, true, TABLE, "x")[1].value == 0.0


def test_what_was_not_found_is_wrong() -> None:
    true = scenes(2)
    values = {m.metric: m.value for m in accuracies(torch.zeros_like(true), true, TABLE, "x")}
    assert set(values.values()) == {0.0}


def test_the_search_comes_nearer() -> None:
    try:
        world = SceneWorld(size=32)
    except UserError as error:
        pytest.skip(str(error))
    target = world.picture(scenes(1, 1)[0])
    few, many = (
        metropolis_hastings(world, target, renders, 2, torch.Generator().manual_seed(1)) for renders in (2, 400)
    )
    assert many.error < 0.5 * few.error
    torch.testing.assert_close(float((world.picture(many.actions) - target).square().mean()), many.error)
    world.close()

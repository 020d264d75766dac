"""Action tables: choices and values, masks, presets."""

import math

import pytest
import torch

from handgen.errors import UserError
from handgen.painter.actions import TABLES, Component, action_table
from handgen.painter.rollout import random_programs


@pytest.mark.parametrize("name", TABLES)
def test_choices_and_their_values_are_the_same(name: str) -> None:
    table = action_table(name)
    generator = torch.Generator().manual_seed(0)
    actions = random_programs(table, 50, 3, generator)
    assert torch.equal(table.encode(table.decode(actions)), actions)


def test_values_by_hand() -> None:
    values = action_table("paper").decode(torch.tensor([1.0, 33.0, 1023.0, 2.0, 9.0, 0.0, 19.0, 0.0]))
    assert values["end"].tolist() == [1.5 / 32, 1.5 / 32]  # the second column of the second row
    assert values["control"].tolist() == [31.5 / 32, 31.5 / 32]
    assert values["size"].item() == 4 / 64
    assert values["pressure"].item() == pytest.approx(1.0)
    assert [values[name].item() for name in ("red", "green", "blue")] == [0.0, 1.0, 0.0]
    fast = action_table("fast_grey").decode(torch.tensor([1.0, 0.0, 31.0, 3.0, 4.0, 0.0]))
    assert fast["end"].tolist() == pytest.approx([0.5 / 32, 31.5 / 32])
    assert fast["size"].item() == pytest.approx(1.5 / 32)


def test_a_jump_needs_its_end_alone() -> None:
    table = action_table("paper")
    jump, stroke = table.used(torch.tensor([[0.0] * 8, [1.0] + [0.0] * 7]))
    assert [name for name, used in zip(table.names, jump, strict=True) if used] == ["draw", "end"]
    assert stroke.all()


def test_compound_strokes_take_up_their_brush_in_a_jump() -> None:
    table = action_table("compound")
    jump, stroke = table.used(torch.tensor([[0.0] * 7, [1.0] + [0.0] * 6]))
    assert jump.all()
    assert [name for name, used in zip(table.names, stroke, strict=True) if used] == ["draw", "end_x", "end_y"]


def test_the_paper_has_a_trillion_actions() -> None:
    assert math.prod(c.bins for c in action_table("paper").components) == pytest.approx(1.0e12, rel=0.01)


def test_a_continuous_component_is_its_value() -> None:
    free = Component("pressure", low=0.2)
    assert free.decode(free.encode(torch.tensor([0.0, 0.5, 2.0]))).tolist() == pytest.approx([0.2, 0.5, 1.0])


def test_an_unknown_table_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="paper_grey"):
        action_table("papr_grey")

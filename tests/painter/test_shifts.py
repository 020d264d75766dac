"""Programs a little to the side."""

import pytest
import torch

from handgen.painter.actions import action_table
from handgen.painter.rollout import paint_program, random_programs
from handgen.painter.shifts import grid_side, shifted_pictures, shifted_programs, varied_programs
from handgen.painter.worlds import make_world


def programs(table: str, count: int = 12) -> torch.Tensor:
    """Programs that begin with a jump, as fitted ones do, and stay away from the border."""
    actions = random_programs(action_table(table), count, 5, torch.Generator().manual_seed(0))
    for column, component in enumerate(action_table(table).components):
        if component.grid:
            cells = 8 + torch.randint(16, (2, count, 5), generator=torch.Generator().manual_seed(column))
            actions[..., column] = (32 * cells[0] + cells[1]).float()
        elif component.name.startswith(("end", "control")):
            actions[..., column] = 8 + actions[..., column] % 16
    actions[:, 0, 0] = 0.0
    return actions


@pytest.mark.parametrize("table", ["fast_grey", "paper_grey", "compound_grey"])
@pytest.mark.parametrize("size", [32, 64])
def test_a_shifted_program_paints_the_shifted_picture(table: str, size: int) -> None:
    actions = programs(table)
    moved, cells = shifted_programs(action_table(table), actions, 2, torch.Generator().manual_seed(1))
    assert cells.abs().max() == 2 and not torch.equal(moved, actions)
    world = make_world(action_table(table), size, 1)
    before, after = (paint_program(world, each).finished for each in (actions, moved))
    torch.testing.assert_close(after, shifted_pictures(before, cells * (size // 32)), atol=1e-3, rtol=0.0)


def test_nothing_leaves_the_canvas_and_what_is_not_needed_stays() -> None:
    table = action_table("fast_grey")
    row = [[0.0, 0, 31, 0, 0, 0], [1.0, 31, 5, 3, 3, 2], [0.0, 7, 7, 0, 0, 0]]  # from border to border
    moved, cells = shifted_programs(table, torch.tensor([row] * 50), 2, torch.Generator().manual_seed(0))
    assert (cells[:, 0] == 0).all() and set(cells[:, 1].tolist()) == {0, -1, -2}
    assert (moved[:, 0, 3:] == 0).all()


@pytest.mark.parametrize("name", ["fast_grey", "paper_grey", "compound_grey"])
def test_a_varied_program_is_the_same_one_otherwise(name: str) -> None:
    table, actions = action_table(name), programs(name)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(varied_programs(table, actions, generator, angle=0.0, stretch=0.0, jitter=0.0), actions)
    varied = varied_programs(table, actions, generator)
    places = [c.name.startswith(("end", "control")) for c in table.components]
    others = torch.tensor([not place for place in places])
    assert torch.equal(varied[..., others], actions[..., others])
    assert not torch.equal(varied, actions)
    assert torch.equal(varied, varied.round())
    assert torch.equal(varied[~table.used(actions)], actions[~table.used(actions)])


def test_a_line_is_turned_and_stretched_about_its_middle() -> None:
    table = action_table("fast_grey")
    row = [[0.0, 10, 16, 0, 0, 0], [1.0, 22, 16, 16, 16, 2]]  # across, twelve cells long
    actions = torch.tensor([row] * 400)
    generator = torch.Generator().manual_seed(0)
    varied = varied_programs(table, actions, generator, angle=0.5, stretch=0.0, jitter=0.0)
    ends = varied[..., 1:3]
    offset = ends[:, 1] - ends[:, 0]
    torch.testing.assert_close(offset.norm(dim=1), torch.full((400,), 12.0), atol=1.5, rtol=0.0)  # a shear leaves it so
    turned = torch.atan2(offset[:, 1], offset[:, 0])
    assert -0.6 < turned.min() < -0.4 and 0.4 < turned.max() < 0.6
    longer = varied_programs(table, actions, generator, angle=0.0, stretch=0.5, jitter=0.0)
    length = (longer[:, 1, 1] - longer[:, 0, 1]) / 12
    assert 0.4 < length.min() < 0.6 and 1.4 < length.max() < 1.6
    assert (longer[:, :, 2] == 16).all()


def test_tables_without_a_grid_have_none() -> None:
    assert [grid_side(action_table(name)) for name in ("fast", "paper", "free_grey")] == [32, 32, 0]

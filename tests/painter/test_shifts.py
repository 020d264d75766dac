"""Programs a little to the side."""

import pytest
import torch

from handgen.painter.actions import action_table
from handgen.painter.rollout import paint_program, random_programs
from handgen.painter.shifts import grid_side, shifted_pictures, shifted_programs
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


def test_tables_without_a_grid_have_none() -> None:
    assert [grid_side(action_table(name)) for name in ("fast", "paper", "free_grey")] == [32, 32, 0]

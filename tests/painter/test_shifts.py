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
    control = varied[:, 1, 3:5] - varied[:, 0, 1:3]  # lies in the middle of the line, and stays there
    torch.testing.assert_close(control, offset / 2, atol=1.1, rtol=0.0)
    longer = varied_programs(table, actions, generator, angle=0.0, stretch=0.5, jitter=0.0)
    length = (longer[:, 1, 1] - longer[:, 0, 1]) / 12
    assert 0.4 < length.min() < 0.6 and 1.4 < length.max() < 1.6
    assert (longer[:, :, 2] == 16).all()


def test_a_standing_line_is_sheared_and_stretched_by_a_share_of_its_own() -> None:
    table, generator = action_table("fast_grey"), torch.Generator().manual_seed(0)
    corner = [[0.0, 10, 10, 0, 0, 0], [1.0, 22, 10, 16, 10, 2], [0.0, 10, 22, 0, 0, 0], [1.0, 10, 10, 10, 16, 2]]
    actions = torch.tensor([corner] * 400)
    varied = varied_programs(table, actions, generator, angle=0.3, stretch=0.0, jitter=0.0)
    along, down = (varied[:, k, 1:3] - varied[:, 0, 1:3] for k in (1, 2))
    cosine = (along * down).sum(1) / along.norm(dim=1) / down.norm(dim=1)
    assert cosine.std() > 0.1  # a turn alone would keep the right angle
    stretched = varied_programs(table, actions, generator, angle=0.0, stretch=0.4, jitter=0.0)
    width, height = stretched[:, 1, 1] - stretched[:, 0, 1], stretched[:, 2, 2] - stretched[:, 0, 2]
    assert torch.corrcoef(torch.stack([width, height]))[0, 1].abs() < 0.2


def test_places_move_a_little_and_stop_at_the_border() -> None:
    table, generator = action_table("fast_grey"), torch.Generator().manual_seed(0)
    row = [[0.0, 16, 16, 0, 0, 0], [1.0, 0, 31, 16, 16, 2]]
    varied = varied_programs(table, torch.tensor([row] * 400), generator, angle=0.0, stretch=0.0, jitter=2.0)
    assert 1.6 < varied[:, 0, 1].std() < 2.4
    assert varied[:, 1, 1].min() == 0 and varied[:, 1, 2].max() == 31
    assert varied[..., 1:5].min() >= 0 and varied[..., 1:5].max() <= 31


def test_tables_without_a_grid_have_none() -> None:
    assert [grid_side(action_table(name)) for name in ("fast", "paper", "free_grey")] == [32, 32, 0]

"""Strokes found by descent, and their programs."""

import pytest
import torch

from handgen.painter.actions import action_table
from handgen.painter.digits import draw_digits
from handgen.painter.fit import StrokeNet, paint_strokes, rounded, table_sizes, to_actions
from handgen.painter.programs import Program, replay


def test_a_few_digits_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    images = draw_digits(torch.arange(8), 0).float() / 255
    network = StrokeNet(5, 32, 1, width=8)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    for step in range(150):
        error = (paint_strokes(network(images), 32, 1) - images).square().mean()
        if step == 0:
            first = error.item()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    assert error.item() < 0.5 * first


def test_the_program_of_strokes_paints_what_they_paint() -> None:
    generator = torch.Generator().manual_seed(0)
    strokes = {
        "places": (torch.randint(32, (2, 3, 3, 2), generator=generator) + 0.5) / 32,
        "size": torch.full((2, 3), (1.5 + 2 * 5 / 7) / 32),
        "opacity": torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.1, 1.0]]),
        "colour": torch.zeros(2, 3, 3),
    }
    table = action_table("fast_grey")
    actions = to_actions(strokes, table, 8)
    assert actions.shape == (2, 8, 6)
    assert actions[:, :, 0].sum(1).tolist() == [3.0, 2.0]
    strokes["opacity"][1, 1] = 0.0
    painted = paint_strokes(strokes, 32, 1)
    for row in range(2):
        canvas = replay(Program("fast_grey", actions[row], 1), 32)[-1]
        torch.testing.assert_close(canvas, painted[row], atol=1e-4, rtol=0.0)


def test_compound_strokes_go_through_the_middle_of_the_curve() -> None:
    places = torch.tensor([[[[4.5, 8.5], [12.5, 8.5], [12.5, 16.5]]]]) / 32
    strokes = {"places": places, "size": torch.full((1, 1), 0.1), "opacity": torch.ones(1, 1)}
    strokes["colour"] = torch.zeros(1, 1, 3)
    actions = to_actions(strokes, action_table("compound_grey"), 4)
    assert actions[0, :, :3].tolist() == [[0, 4, 8], [1, 10, 10], [1, 12, 16], [0, 12, 16]]
    assert actions[0, 0, 3] > 0 and (actions[0, 1:, 3] == 0).all()  # the size is the jump's to choose
    error = (replay(Program("compound_grey", actions[0], 1), 32)[-1] - paint_strokes(strokes, 32, 1)).square().mean()
    assert error < 0.01


def test_strokes_that_go_on_need_no_jump_and_those_too_many_are_left_out() -> None:
    places = torch.tensor([[[[2.5, 2.5], [4.5, 2.5], [6.5, 2.5]], [[6.5, 2.5], [6.5, 4.5], [6.5, 6.5]]]]) / 16
    strokes = {"places": places, "size": torch.full((1, 2), 0.1), "opacity": torch.ones(1, 2)}
    strokes["colour"] = torch.zeros(1, 2, 3)
    table = action_table("fast_grey")
    assert to_actions(strokes, table, 4)[0, :, 0].tolist() == [0.0, 1.0, 1.0, 0.0]
    assert to_actions(strokes, table, 2)[0, :, 0].tolist() == [0.0, 1.0]
    assert to_actions(strokes, table, 4, most_strokes=1)[0, :, 0].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_a_stroke_that_does_not_fit_makes_way_for_one_that_does() -> None:
    """Of three strokes the second needs a jump, for which there is no room; the third goes on from the first."""
    corners = [[(2, 2), (4, 2), (6, 2)], [(12, 12), (13, 12), (14, 12)], [(6, 2), (6, 4), (6, 6)]]
    places = (torch.tensor([corners]) + 0.5) / 16
    strokes = {"places": places, "size": torch.full((1, 3), 0.1), "opacity": torch.ones(1, 3)}
    strokes["colour"] = torch.zeros(1, 3, 3)
    actions = to_actions(strokes, action_table("fast_grey"), 3)
    assert actions[0, :, 0].tolist() == [0.0, 1.0, 1.0]
    assert actions[0, 2, 1:3].tolist() == [12.0, 12.0]  # where the third ends


def some_strokes(channels: int = 1) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    found = StrokeNet(3, 32, channels, width=8, sizes=table_sizes(action_table("fast_grey")))(
        torch.rand(4, channels, 32, 32)
    )
    found["opacity"] = torch.tensor([0.9, 0.2, 0.7]).expand(4, -1)
    return found


@pytest.mark.parametrize(("table", "channels"), [("fast_grey", 1), ("fast", 3), ("paper", 3)])
def test_rounded_strokes_are_painted_as_their_programs_are(table: str, channels: int) -> None:
    actions = action_table(table)
    strokes = rounded(some_strokes(channels), actions)
    programs = to_actions(some_strokes(channels), actions, 8)
    for row, painted in enumerate(paint_strokes(strokes, 32, channels)):
        canvas = replay(Program(table, programs[row], channels), 32)[-1]
        torch.testing.assert_close(canvas, painted, atol=1e-4, rtol=0.0)


def test_rounding_lets_gradients_through() -> None:
    strokes = {name: value.detach().requires_grad_() for name, value in some_strokes().items()}
    for name, value in rounded(strokes, action_table("fast_grey")).items():
        (gradient,) = torch.autograd.grad(value.sum(), strokes[name])
        assert (gradient == 1.0).all()


def test_strokes_are_as_thick_as_the_table_has_them() -> None:
    smallest, largest = table_sizes(action_table("paper"))
    assert (smallest, largest) == (1 / 64, 24 / 64)
    assert table_sizes(action_table("fast")) == (1.5 / 32, 6.5 / 32)
    network = StrokeNet(5, 32, 1, width=8, sizes=(0.1, 0.2))
    size = network(torch.rand(3, 1, 32, 32))["size"]
    assert size.min() >= 0.1 and size.max() <= 0.2


def test_what_is_made_in_between_is_made_where_the_strokes_are() -> None:
    """Tensors that are made without a device are made on another one here, where nothing can be computed with them."""
    strokes = some_strokes(3)
    for table in ("fast", "paper", "compound"):
        with torch.device("meta"):
            actions = to_actions(strokes, action_table(table), 8)
        assert actions.device.type == "cpu" and torch.equal(actions, to_actions(strokes, action_table(table), 8))

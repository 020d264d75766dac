"""Strokes found by descent, and their programs."""

import torch

from handgen.painter.actions import action_table
from handgen.painter.digits import draw_digits
from handgen.painter.fit import StrokeNet, paint_strokes, to_actions
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

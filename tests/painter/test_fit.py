"""Strokes found by descent, and their programs."""

import pytest
import torch

from handgen.painter import fit
from handgen.painter.actions import action_table
from handgen.painter.digits import draw_digits
from handgen.painter.fit import StrokeNet, fitted, paint_strokes, table_sizes, to_actions
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


@pytest.mark.parametrize("channels", [1, 3])
def test_descent_on_a_picture_brings_its_strokes_nearer(channels: int) -> None:
    torch.manual_seed(0)
    net = StrokeNet(3, 32, channels, width=8)
    with torch.no_grad():
        image = paint_strokes(some_strokes(channels), 32, channels)

    def errors(steps: int) -> torch.Tensor:
        return (paint_strokes(fitted(net, image, steps), 32, channels) - image).square().flatten(1).mean(1)

    assert (errors(20) < 0.8 * errors(0)).all()
    torch.testing.assert_close(
        paint_strokes(fitted(net, image, 0), 32, channels), paint_strokes(net(image), 32, channels)
    )


def test_strokes_of_a_picture_do_not_depend_on_its_neighbours_and_no_weight_moves() -> None:
    torch.manual_seed(0)
    net, image = StrokeNet(3, 32, 1, width=8), torch.rand(4, 1, 32, 32)
    before = [weight.clone() for weight in net.parameters()]
    together, alone = fitted(net, image, 5), fitted(net, image[2:3], 5)
    torch.testing.assert_close(together["places"][2:3], alone["places"], atol=1e-4, rtol=0.0)
    assert all(torch.equal(weight, old) for weight, old in zip(net.parameters(), before, strict=True))
    assert not any(weight.grad is not None for weight in net.parameters())
    assert not any(value.requires_grad for value in together.values())


def test_strokes_are_fitted_in_inference_mode_too() -> None:
    net, image = StrokeNet(3, 32, 1, width=8), torch.rand(2, 1, 32, 32)
    expected = fitted(net, image, 3)["places"]
    with torch.inference_mode():
        torch.testing.assert_close(fitted(net, image + 0.0, 3)["places"], expected)


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


def test_strokes_of_programs_are_opaque_and_so_become_those_that_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    assert (StrokeNet(3, 32, 3)(torch.rand(2, 3, 32, 32))["opacity"] == 1.0).all()
    net, image = StrokeNet(3, 32, 1), paint_strokes(some_strokes(1), 32, 1).detach()

    def undecided(sharpness: float) -> float:
        monkeypatch.setattr(fit, "SHARPNESS", sharpness)
        opacity = fitted(net, image, 40)["opacity"]
        return float(((opacity > 0.1) & (opacity < 0.9)).float().mean())

    assert undecided(4.0) < undecided(1.0)

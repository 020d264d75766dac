"""The brush on tensors: coverage by hand, the fast way equal to the differentiable one, gradients."""

import pytest
import torch

from handgen.painter.brush import bezier_points, capsules, coverage, paint


def strokes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(count, 3, 2, generator=generator) * 1.2 - 0.1  # some of it outside
    return places, torch.rand(count, 2, generator=generator) * 0.1


def test_a_curve_goes_through_its_ends_and_past_its_control_point() -> None:
    points = bezier_points(torch.tensor([[[0.0, 0.0], [0.5, 1.0], [1.0, 0.0]]]), segments=2)
    assert points.tolist() == [[[0.0, 0.0], [0.5, 0.5], [1.0, 0.0]]]


def test_coverage_of_a_straight_line_by_hand() -> None:
    # From (2, 4) to (6, 4) pixels with radius 1 on 8 pixels: rows 3 and 4 have their middles half a pixel away.
    places = torch.tensor([[[2.0, 4.0], [4.0, 4.0], [6.0, 4.0]]]) / 8
    covered = coverage(places, torch.full((1, 2), 1 / 8), 8)[0]
    assert covered[3:5, 2:6].tolist() == [[1.0] * 4] * 2
    assert covered[2:6:3, 2:6].abs().max() == 0.0
    # Beyond the end, the middle (6.5, 4.5) is sqrt(1/2) from it and (7.5, 4.5) is sqrt(2.5).
    assert covered[4, 6].item() == pytest.approx(1.5 - 0.5**0.5, abs=1e-4)
    assert covered[4, 7].item() == 0.0


def everywhere(places: torch.Tensor, radius: torch.Tensor, size: int) -> torch.Tensor:
    """The same coverage by looking at every pixel for every capsule."""
    ends, radii = capsules(places, radius, size)
    middles = torch.arange(size) + 0.5
    pixels = torch.stack(torch.meshgrid(middles, middles, indexing="xy"), dim=-1).view(1, 1, -1, 2)
    start, along = ends[:, :, None, 0], ends[:, :, None, 1] - ends[:, :, None, 0]
    length = along.square().sum(-1).clamp(min=1e-8)
    share = (((pixels - start) * along).sum(-1) / length).clamp(0, 1)
    distance = ((pixels - start - share[..., None] * along).square().sum(-1) + 1e-8).sqrt()
    reach = radii[..., :1] + share * (radii[..., 1:] - radii[..., :1])
    return (reach - distance).amax(1).add(0.5).clamp(0, 1).view(-1, size, size)


@pytest.mark.parametrize("size", [32, 64])
def test_tiles_leave_nothing_out_and_have_the_same_gradients(size: int) -> None:
    found = []
    for covers in (coverage, everywhere):
        places, radius = (part.requires_grad_() for part in strokes(40))
        covered = covers(places, radius, size)
        weights = torch.linspace(0, 1, size)
        found.append((covered, *torch.autograd.grad((covered * weights).sum(), (places, radius))))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-4)


def test_chains_of_capsules_are_close_to_the_curve() -> None:
    places, radius = strokes(40)
    fine = coverage(places, radius, 64, segments=64)
    error = (coverage(places, radius, 64) - fine).abs().sum() / fine.sum()
    assert error < 0.06


def test_gradients_move_a_stroke_towards_a_target() -> None:
    places, radius = strokes(1)
    target = coverage(places + 0.05, radius, 32)
    moved = places.clone().requires_grad_()
    before = (coverage(moved, radius, 32) - target).square().mean()
    (gradient,) = torch.autograd.grad(before, moved)
    after = (coverage(moved - 0.02 * gradient / gradient.norm(), radius, 32) - target).square().mean()
    assert after < before


def test_paint_mixes_by_coverage_and_opacity() -> None:
    canvas, covered = torch.ones(2, 3, 1, 2), torch.tensor([[[0.0, 0.5]], [[1.0, 1.0]]])
    colour, opacity = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([1.0, 0.0])
    painted = paint(canvas, covered, colour, opacity)
    assert painted[0, :, 0].tolist() == [[1.0, 0.5], [1.0, 1.0], [1.0, 0.5]]
    assert torch.equal(painted[1], canvas[1])


def test_what_is_not_drawn_covers_nothing() -> None:
    torch.manual_seed(0)
    places, radius = torch.rand(6, 3, 2), torch.full((6, 2), 0.1)
    drawn = torch.tensor([True, False, True, False, False, True])
    some = coverage(places, radius, 32, drawn=drawn)
    assert torch.equal(some, coverage(places, radius, 32) * drawn[:, None, None])
    assert not coverage(places, radius, 32, drawn=torch.zeros(6, dtype=torch.bool)).any()

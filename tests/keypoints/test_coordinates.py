"""Score maps to coordinates and back, on numbers worked by hand."""

import math

import pytest
import torch

from handgen.keypoints import coordinates


def one_bright_cell(value: float) -> torch.Tensor:
    """A 2x4 map (1, 1, 2, 4) of zeros with one cell in the lower row, third column."""
    scores = torch.zeros(1, 1, 2, 4)
    scores[0, 0, 1, 2] = value
    return scores


def test_cell_centres_lie_inside_the_borders() -> None:
    assert coordinates.cell_centres(4, torch.zeros(1)).tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_joint_marginals_of_a_known_map() -> None:
    # Softmax over 8 cells of which one scores ln 9: it has 9/16, each other 1/16.
    columns, rows = coordinates.joint_marginals(one_bright_cell(math.log(9)))
    torch.testing.assert_close(columns[0, 0], torch.tensor([2.0, 2.0, 10.0, 2.0]) / 16)
    torch.testing.assert_close(rows[0, 0], torch.tensor([4.0, 12.0]) / 16)


def test_published_marginals_take_the_mean_before_the_softmax() -> None:
    # Mean over 2 rows: ln 3 in the third column; mean over 4 columns: ln(9) / 4 = ln(sqrt 3) in the lower row.
    columns, rows = coordinates.published_marginals(one_bright_cell(math.log(9)))
    torch.testing.assert_close(columns[0, 0], torch.tensor([1.0, 1.0, 3.0, 1.0]) / 6)
    root = math.sqrt(3)
    torch.testing.assert_close(rows[0, 0], torch.tensor([1.0, root]) / (1 + root))


@pytest.mark.parametrize(("marginals", "expected"), [("joint", (0.125, 0.25)), ("published", (1 / 12, 0.133975))])
def test_soft_argmax_of_a_known_map(marginals: coordinates.Marginals, expected: tuple[float, float]) -> None:
    # joint x: (-.75 * 2 - .25 * 2 + .25 * 10 + .75 * 2) / 16 = 2 / 16, y: .5 * (12 - 4) / 16
    # published x: (-.75 - .25 + .75 + .75) / 6, y: .5 * (sqrt 3 - 1) / (sqrt 3 + 1)
    found = coordinates.soft_argmax(one_bright_cell(math.log(9)), marginals)
    torch.testing.assert_close(found[0, 0], torch.tensor(expected), atol=1e-5, rtol=0)


def test_a_low_temperature_finds_the_brightest_cell() -> None:
    found = coordinates.soft_argmax(one_bright_cell(1.0), "joint", temperature=0.01)
    torch.testing.assert_close(found[0, 0], torch.tensor([0.25, 0.5]))


def test_coordinates_keep_their_precision_under_autocast() -> None:
    scores = torch.randn(2, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    plain = coordinates.soft_argmax(scores)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = coordinates.soft_argmax(scores)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(plain, mixed, atol=1e-6, rtol=0)


def test_heat_maps_have_no_factor_one_half() -> None:
    # Cells of a 2x2 map lie at +-.5: distances from (.5, .5) are 0, 1, 1 and sqrt 2.
    maps = coordinates.gaussian_heatmaps(torch.tensor([[[0.5, 0.5]]]), 2, 2, sigma=1.0)
    torch.testing.assert_close(maps[0, 0], torch.tensor([[math.exp(-2), math.exp(-1)], [math.exp(-1), 1.0]]))


def test_heat_maps_of_x_and_y_lie_along_columns_and_rows() -> None:
    maps = coordinates.gaussian_heatmaps(torch.tensor([[[-0.75, 0.375]]]), 8, 4, sigma=0.1)
    assert divmod(int(maps[0, 0].argmax()), 4) == (5, 0)  # row 5 of 8 is centred at .375, column 0 of 4 at -.75


def test_transport_erases_at_both_and_pastes_at_the_target() -> None:
    source, target = torch.full((1, 1, 1, 3), 5.0), torch.full((1, 1, 1, 3), 8.0)
    source_maps = torch.tensor([[[[1.0, 0.0, 0.0]]]])
    target_maps = torch.tensor([[[[0.0, 1.0, 0.5]]]])
    found = coordinates.transport(source, target, source_maps, target_maps)
    assert found.flatten().tolist() == [0.0, 8.0, 6.5]


def test_the_union_of_maps_is_at_most_one() -> None:
    maps = torch.tensor([0.5, 0.5, 1.0, 0.0]).view(1, 2, 1, 2)
    assert coordinates.union(maps).flatten().tolist() == [1.0, 0.5]

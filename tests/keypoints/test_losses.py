"""The terms of IMM's loss, and warps, on numbers worked by hand."""

import math

import pytest
import torch

from handgen.keypoints import losses, warps


def test_weighted_squared_error_divides_by_the_weights() -> None:
    image = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
    weight = torch.tensor([1.0, 3.0]).view(1, 1, 1, 2)
    assert losses.weighted_squared_error(image, torch.zeros_like(image), weight).item() == (1 + 27) / 4
    assert losses.squared_error(image, torch.zeros_like(image)).item() == 5.0


def test_equal_weights_are_the_plain_error() -> None:
    image, target = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    plain = losses.squared_error(image, target)
    torch.testing.assert_close(losses.weighted_squared_error(image, target, torch.full((2, 1, 4, 4), 7.0)), plain)


def test_the_foreground_is_what_differs_in_any_channel() -> None:
    image = torch.zeros(1, 3, 1, 3)
    image[0, 1] = torch.tensor([0.0, 0.05, 0.5])
    mask = losses.foreground_mask(image, torch.zeros(3, 1, 3), threshold=0.1)
    torch.testing.assert_close(mask.flatten(), torch.tensor([0.0, 0.5, 1.0]))


def test_equivariance_leaves_out_points_that_left_the_frame() -> None:
    expected = torch.tensor([[[0.0, 0.0], [1.5, 0.0]]])
    assert losses.equivariance(expected + 0.3, expected).item() == pytest.approx(0.18)
    assert losses.equivariance(torch.ones(1, 1, 2), torch.full((1, 1, 2), 2.0)).item() == 0.0
    far = losses.equivariance(expected + 0.3, expected, robust=True).item()
    assert far == pytest.approx((0.18 + 0.01**2) ** 0.5)  # the distance, not its square


def test_separation_of_two_points() -> None:
    points = torch.tensor([[[0.0, 0.0], [0.3, 0.4]]])
    assert losses.separation(points, sigma=0.5).item() == pytest.approx(math.exp(-0.5))
    assert losses.separation(points[:, :1], sigma=0.5).item() == 0.0


def test_concentration_is_the_mean_squared_distance() -> None:
    columns, rows = torch.tensor([0.5, 0.0, 0.0, 0.5]).view(1, 1, 4), torch.ones(1, 1, 1)  # cells at -.75 and .75
    assert losses.concentration(columns, rows, torch.zeros(1, 1, 2)).item() == pytest.approx(0.5625)


def test_a_quarter_turn_moves_points_and_pixels_alike() -> None:
    turn = torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]])  # x to y: to the right becomes down
    moved = warps.warp_points(torch.tensor([[[0.75, 0.25]]]), turn)
    torch.testing.assert_close(moved, torch.tensor([[[-0.25, 0.75]]]))
    image = torch.zeros(1, 1, 4, 4)
    image[0, 0, 2, 3] = 1.0  # centred at (.75, .25)
    found = warps.warp_images(image, turn)[0, 0]
    assert divmod(int(found.argmax()), 4) == (3, 1)  # centred at (-.25, .75)
    assert found.max().item() == pytest.approx(1.0, abs=1e-5)


def test_random_similarities_stay_in_their_ranges() -> None:
    maps = warps.random_similarity(500, torch.device("cpu"), angle=0.5, scale=0.1, shift=0.2)
    size = maps[:, :, 0].norm(dim=1)
    turn = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])
    assert 1 / 1.1 - 1e-5 <= size.min() < 0.95 and 1.05 < size.max() <= 1.1 + 1e-5
    assert turn.abs().max() <= 0.5 and maps[:, :, 2].abs().max() <= 0.2
    torch.testing.assert_close(
        warps.warp_points(warps.warp_points(torch.ones(500, 1, 2), maps), warps.inverse(maps)), torch.ones(500, 1, 2)
    )


@pytest.mark.parametrize("channels", [3, 9])
def test_a_moved_foreground_leaves_the_background_in_place(channels: int) -> None:
    background = torch.rand(channels, 8, 8) * 0.4
    image = background.clone()[None]
    image[0, :, 1, 1] = 1.0
    shift = torch.tensor([[[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]]])  # four pixels to the right and down
    moved = warps.warp_foreground(image, shift, background)[0]
    assert (moved[:, 5, 5] > 0.99).all()
    far = torch.ones(8, 8, dtype=torch.bool)
    far[4:7, 4:7] = False  # the dilated foreground brings a border of one pixel with it
    torch.testing.assert_close(moved[:, far], background[:, far])


def test_crops_are_the_same_for_all_or_each_its_own() -> None:
    ramp = torch.arange(64.0).view(1, 1, 8, 8).expand(32, 1, 8, 8)
    torch.manual_seed(0)
    same = warps.random_crop(ramp, 4, one_for_all=True)
    own = warps.random_crop(ramp, 4, one_for_all=False)
    assert same.shape == own.shape == (32, 1, 4, 4)
    assert len(same[:, 0, 0, 0].unique()) == 1 < len(own[:, 0, 0, 0].unique())

import pytest
import torch
import torch.nn.functional as F

from handgen.anatomy.metrics import (
    fingers_up_from_keypoints,
    fingers_up_from_mask,
    foreground_mask,
    is_skin_tone,
    laplacian_variance,
    median_skin_colour,
    skin_and_orientation,
    srgb_to_lab,
    typology_angle,
)
from handgen.anatomy.metrics.appearance import otsu_threshold

# Monk Skin Tone scale, swatches 1 to 10 (Monk 2019, skintone.google), with their typology angles.
MONK = ("f6ede4", "f3e7db", "f7ead0", "eadaba", "d7bd96", "a07e56", "825c43", "604134", "3a312a", "292420")
MONK_ITA = (83, 80, 72, 65, 50, 11, -20, -55, -78, -84)


def rgb(code: str) -> torch.Tensor:
    return torch.tensor([int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)])


def hand_mask(size: int = 64) -> torch.Tensor:
    """A palm, four fingers, a thumb and a wrist that leaves the picture at the bottom."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[30:52, 18:46] = True
    mask[52:, 24:40] = True
    for left in (18, 26, 34, 41):
        mask[8:30, left : left + 5] = True
    mask[30:40, 46:56] = True
    return mask


def hand_image(colour: torch.Tensor, background: float = 0.9) -> torch.Tensor:
    """A flat hand on a background with a brightness ramp and noise: (1, 3, 64, 64)."""
    ramp = torch.linspace(-0.06, 0.06, 64)
    canvas = background + ramp.view(1, 1, 1, 64).expand(1, 3, 64, 64)
    image = torch.where(hand_mask(), colour.view(1, 3, 1, 1), canvas)
    noise = 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return (image + noise).clamp(0, 1)


def test_lab_of_known_colours() -> None:
    lab = srgb_to_lab(torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    truth = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])
    assert torch.allclose(lab, truth, atol=0.05)


def test_typology_angles_of_the_monk_swatches() -> None:
    lab = srgb_to_lab(torch.stack([rgb(code) for code in MONK]))
    assert typology_angle(lab).tolist() == pytest.approx(MONK_ITA, abs=2.5)


def test_skin_tone_box() -> None:
    skin = srgb_to_lab(torch.stack([rgb(code) for code in ("d7a58c", "a06e56", "604134")]))
    other = srgb_to_lab(torch.tensor([[0.2, 0.4, 0.9], [0.3, 0.8, 0.3], [0.6, 0.6, 0.6], [0.9, 0.1, 0.1]]))
    assert is_skin_tone(skin).all()
    assert not is_skin_tone(other).any()
    assert not is_skin_tone(torch.full((1, 3), float("nan"))).any()


@pytest.mark.parametrize("code", ["ecc8ae", "c98e6e", "7a4a36", "4a2c20"])
def test_foreground_mask_finds_hands_of_all_skins(code: str) -> None:
    found, truth = foreground_mask(hand_image(rgb(code)))[0], hand_mask()
    iou = (found & truth).sum() / (found | truth).sum()
    assert iou > 0.9


def test_a_vivid_sleeve_does_not_hide_the_hand() -> None:
    image = hand_image(rgb("ecc8ae"), background=0.8)
    image[:, :, 52:, 24:40] = torch.tensor([0.15, 0.1, 0.8]).view(1, 3, 1, 1)
    assert foreground_mask(image)[0][hand_mask()].float().mean() > 0.9


def test_median_skin_colour_is_that_of_the_hand() -> None:
    colour = rgb("c98e6e")
    image = hand_image(colour)
    found = median_skin_colour(image, foreground_mask(image))
    assert torch.allclose(found, srgb_to_lab(colour[None]), atol=1.0)


def test_median_skin_colour_of_an_empty_mask_is_nan() -> None:
    assert median_skin_colour(torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)).isnan().all()


def test_skin_and_orientation_tell_hands_from_blue_ones_and_from_nothing() -> None:
    noise = 0.9 + 0.01 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    blue = torch.tensor([0.2, 0.3, 0.9])
    images = torch.cat([hand_image(rgb("c98e6e")), hand_image(blue), noise.clamp(0, 1)])
    skin, upright = skin_and_orientation(images)
    assert skin.tolist() == [True, False, False]
    assert upright.tolist() == [True, True, False]


def test_otsu_threshold_splits_two_modes() -> None:
    values = torch.cat([torch.full((50,), 1.0), torch.full((30,), 5.0)]).view(1, 8, 10)
    assert 1.0 < float(otsu_threshold(values)) < 5.0


def test_laplacian_variance_by_hand() -> None:
    # One white pixel on black: inside the border the 3x3 responses are -4 once, 1 four times, 0 four times.
    image = torch.zeros(1, 3, 5, 5)
    image[:, :, 2, 2] = 1
    assert float(laplacian_variance(image)) == pytest.approx((16 + 4) / 9 - 0.0, abs=1e-5)


def test_blur_lowers_sharpness() -> None:
    image = hand_image(rgb("c98e6e"))
    blurred = F.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False)
    assert float(laplacian_variance(blurred) / laplacian_variance(image)) < 0.5


def test_orientation_from_the_mask_follows_turns() -> None:
    up = hand_mask()[None]
    turned = torch.cat([up, up.flip(1), up.transpose(1, 2), up.transpose(1, 2).flip(2), up.flip(2)])
    assert fingers_up_from_mask(turned).tolist() == [True, False, False, False, True]


def test_orientation_of_nothing_is_false() -> None:
    assert not fingers_up_from_mask(torch.zeros(1, 16, 16, dtype=torch.bool)).any()


def test_orientation_from_keypoints() -> None:
    keypoints = torch.zeros(4, 21, 2)
    keypoints[:, 9] = torch.tensor([[0.1, -0.5], [0.1, 0.5], [0.5, -0.1], [-0.2, -0.3]])
    assert fingers_up_from_keypoints(keypoints).tolist() == [True, False, False, True]

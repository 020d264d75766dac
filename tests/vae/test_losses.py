"""The VAE's losses against numbers worked by hand."""

import math

import pytest
import torch

from handgen.vae import losses


def test_kl_of_the_standard_normal_is_zero() -> None:
    assert losses.kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).abs().max() == 0


def test_kl_by_hand() -> None:
    # 1/2 (1 + 4 - 1 - ln 4) = 1.3069 for mean 1 and variance 4
    kl = losses.kl_divergence(torch.tensor([[1.0]]), torch.tensor([[math.log(4.0)]]))
    assert kl.item() == pytest.approx(0.5 * (4.0 - math.log(4.0)))


def test_kl_agrees_with_torch() -> None:
    mu, log_var = torch.randn(5, 7), torch.randn(5, 7)
    posterior = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    expected = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(losses.kl_divergence(mu, log_var), expected)


def test_free_bits_take_the_maximum_of_the_batch_mean() -> None:
    kl = torch.tensor([[0.0, 2.0], [1.0, 4.0]])  # means 0.5 and 3
    assert losses.free_bits(kl, 0.0).item() == pytest.approx(3.5)
    assert losses.free_bits(kl, 1.0).item() == pytest.approx(4.0)


def test_free_bits_stop_the_gradient_of_a_dimension_below_the_allowance() -> None:
    kl = torch.tensor([[0.5, 3.0]], requires_grad=True)
    losses.free_bits(kl, 1.0).backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize(("step", "steps", "weight"), [(0, 4, 0.25), (3, 4, 1.0), (9, 4, 1.0), (0, 0, 1.0)])
def test_warmup(step: int, steps: int, weight: float) -> None:
    assert losses.linear_warmup(step, steps) == weight


def test_unit_gaussian_is_half_the_squared_error_of_an_image() -> None:
    recon = torch.full((2, 1, 2, 2), 0.5)
    assert losses.unit_gaussian_nll(recon, torch.zeros(2, 1, 2, 2)).item() == pytest.approx(0.5)


def test_calibrated_gaussian_by_hand() -> None:
    # every error 0.1: sigma^2 = 0.01; D/2 (log(2 pi 0.01) + 1) with D = 3
    image, recon = torch.zeros(4, 3, 1, 1), torch.full((4, 3, 1, 1), 0.1)
    expected = 1.5 * (math.log(2 * math.pi * 0.01) + 1)
    assert losses.calibrated_gaussian_nll(recon, image).item() == pytest.approx(expected, rel=1e-5)


def test_calibrated_gaussian_is_the_minimum_over_all_variances() -> None:
    image, recon = torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2)
    best = losses.calibrated_gaussian_nll(recon, image)
    for sigma in (0.2, 0.4, 0.8):
        nll = -torch.distributions.Normal(recon, sigma).log_prob(image).sum() / 4
        assert nll >= best


def test_per_channel_scale_is_the_sum_of_the_channels() -> None:
    image, recon = torch.zeros(1, 2, 1, 1), torch.tensor([0.1, 0.2]).reshape(1, 2, 1, 1)
    expected = sum(0.5 * (math.log(2 * math.pi * e * e) + 1) for e in (0.1, 0.2))
    nll = losses.calibrated_gaussian_nll(recon, image, scale="channel")
    assert nll.item() == pytest.approx(expected, rel=1e-5)


def test_a_scale_for_each_image_weighs_relative_errors_equally() -> None:
    # the mean of the two images own values, and gradients of one size for relative errors
    recon = torch.tensor([0.1, 0.2]).reshape(2, 1, 1, 1).requires_grad_()
    nll = losses.calibrated_gaussian_nll(recon, torch.zeros(2, 1, 1, 1), scale="image")
    expected = sum(0.5 * (math.log(2 * math.pi * e * e) + 1) for e in (0.1, 0.2)) / 2
    assert nll.item() == pytest.approx(expected, rel=1e-5)
    nll.backward()
    assert recon.grad is not None
    relative = recon.grad * recon.detach()
    assert relative[0].item() == pytest.approx(relative[1].item(), rel=1e-5)


def test_calibrated_likelihoods_stay_finite_when_perfect() -> None:
    image = torch.rand(2, 3, 4, 4)
    for nll in (losses.calibrated_gaussian_nll, losses.calibrated_laplace_nll):
        recon = image.clone().requires_grad_()
        value = nll(recon, image)
        value.backward()
        assert value.isfinite()
        assert recon.grad is not None
        assert recon.grad.isfinite().all()


def test_calibrated_laplace_by_hand() -> None:
    image, recon = torch.zeros(1, 1, 1, 2), torch.tensor([0.1, 0.3]).reshape(1, 1, 1, 2)  # b = 0.2
    expected = 2 * (math.log(0.4) + 1)
    assert losses.calibrated_laplace_nll(recon, image).item() == pytest.approx(expected, rel=1e-5)


def test_pyramid_ignores_a_constant_and_sees_a_checkerboard() -> None:
    flat = torch.full((1, 1, 8, 8), 0.5)
    assert losses.laplacian_pyramid_loss(flat, torch.zeros(1, 1, 8, 8)).item() == 0
    board = (torch.arange(8)[:, None] + torch.arange(8)).remainder(2).float()[None, None]
    # the first band is +-1/2 everywhere, the others vanish: 0.5 / 3 levels
    assert losses.laplacian_pyramid_loss(board, torch.zeros(1, 1, 8, 8)).item() == pytest.approx(0.5 / 3)


def test_active_units_counts_the_dimensions_that_vary() -> None:
    means = torch.tensor([[0.0, 1.0, 0.05], [0.0, -1.0, -0.05]])  # variances 0, 2, 0.005
    assert losses.active_units(means).item() == 1


def test_pyramid_bands_add_up_to_the_image() -> None:
    image = torch.rand(2, 3, 16, 16)
    bands = losses.pyramid_bands(image)
    rebuilt = bands[-1]
    for band in reversed(bands[:-1]):
        rebuilt = band + torch.nn.functional.interpolate(rebuilt, scale_factor=2.0)
    assert torch.allclose(rebuilt, image, atol=1e-6)


def test_pyramid_likelihood_on_hand_worked_numbers() -> None:
    """A uniform error of 0.1 lives in the last band alone: its weighted mean square is 1/2 * 4 * 0.01 = 0.02."""
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(4, 4).expand(1, 3, 8, 8)
    contrast = (float(board[0, 0].var()) + losses.LEAST_VARIANCE) / losses.TYPICAL_VARIANCE
    shared = 0.02 / contrast + math.exp(2 * losses.MIN_LOG_SCALE)
    expected = 0.5 * 192 * (math.log(shared) + math.log(2 * math.pi) + 1)
    assert float(losses.calibrated_pyramid_nll(board + 0.1, board)) == pytest.approx(expected, rel=1e-4)


def test_pale_and_dark_hands_weigh_alike() -> None:
    """The same relative error costs the same at half the contrast; a plain squared error would count a quarter."""
    torch.manual_seed(0)
    dark = torch.rand(1, 3, 16, 16)
    errors = [float(losses.calibrated_pyramid_nll(x * 0.5, x)) for x in (dark, 0.5 * dark)]
    plain = [float(losses.calibrated_gaussian_nll(x * 0.5, x)) for x in (dark, 0.5 * dark)]
    assert abs(errors[0] - errors[1]) < 0.02 * abs(plain[0] - plain[1])

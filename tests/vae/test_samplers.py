"""Priors on latents whose distribution is known."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.vae.samplers import (
    SAMPLERS,
    Sampler,
    fit_gaussian,
    fit_mixture,
    fit_sampler,
    joint_log_prob,
    kmeans,
    standard_normal,
)
from handgen.vae.second_stage import fit_flow, fit_second_vae


def ring(count: int, seed: int = 0) -> Tensor:
    """A noisy circle in two dimensions: an aggregate posterior with a hole in the middle."""
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(count, generator=generator)
    noise = 0.02 * torch.randn(count, 2, generator=generator)
    return torch.stack([angle.cos(), angle.sin()], 1) + noise


def clusters(count: int = 1500) -> tuple[Tensor, Tensor, Tensor]:
    """Three separated normals with weights 1/2, 1/3, 1/6."""
    generator = torch.Generator().manual_seed(1)
    means = torch.tensor([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    shapes = torch.tensor([[[1.0, 0.0], [0.8, 0.6]], [[0.5, 0.0], [0.0, 0.5]], [[1.0, 0.0], [0.0, 0.3]]])
    which = torch.cat([torch.full((count // k,), i) for i, k in enumerate((2, 3, 6))])
    noise = torch.randn(len(which), 2, 1, generator=generator)
    return means[which] + (shapes[which] @ noise)[..., 0], means, shapes @ shapes.mT


def off_ring(latents: Tensor) -> float:
    """Mean distance from the circle."""
    return (latents.norm(dim=1) - 1).abs().mean().item()


def test_gaussian_recovers_mean_and_covariance() -> None:
    tril = torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    data = torch.tensor([1.0, -1.0]) + torch.randn(20000, 2, generator=torch.Generator().manual_seed(0)) @ tril.T
    fitted = fit_gaussian(data)
    drawn = fitted.sample(20000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(0), torch.tensor([1.0, -1.0]), atol=0.06, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), tril @ tril.T, atol=0.15, rtol=0)


def test_joint_log_prob_agrees_with_torch() -> None:
    weights, means = torch.tensor([0.25, 0.75]), torch.randn(2, 3)
    trils = torch.tril(torch.randn(2, 3, 3)) + 3 * torch.eye(3)
    x = torch.randn(5, 3)
    expected = torch.distributions.MultivariateNormal(means, scale_tril=trils).log_prob(x[:, None])
    torch.testing.assert_close(joint_log_prob(x, weights, means, trils), expected + weights.log())


def test_kmeans_separates_clusters_and_is_seeded() -> None:
    data, _, _ = clusters()
    first = kmeans(data, 3, torch.Generator().manual_seed(0))
    for size, true in zip(sorted(torch.bincount(first).tolist()), (250, 500, 750), strict=True):
        assert abs(size - true) < 20
    assert torch.equal(first, kmeans(data, 3, torch.Generator().manual_seed(0)))


def test_mixture_recovers_weights_means_and_covariances() -> None:
    data, means, covariances = clusters()
    fitted = fit_mixture(data, components=3, shrinkage=0.0)
    order = fitted.weights.argsort(descending=True)
    torch.testing.assert_close(fitted.weights[order], torch.tensor([1 / 2, 1 / 3, 1 / 6]), atol=0.01, rtol=0)
    torch.testing.assert_close(fitted.means[order], means, atol=0.15, rtol=0)
    found = fitted.scale_trils @ fitted.scale_trils.mT
    torch.testing.assert_close(found[order], covariances, atol=0.2, rtol=0)


def test_mixture_fits_better_than_one_gaussian() -> None:
    held_out = ring(500, seed=1)
    one, many = (fit_mixture(ring(2000), components, shrinkage=2.0) for components in (1, 12))
    assert many.log_prob(held_out).mean() > one.log_prob(held_out).mean() + 0.5


def test_shrinkage_keeps_a_component_of_few_points_regular() -> None:
    fitted = fit_mixture(torch.randn(12, 8, generator=torch.Generator().manual_seed(0)), components=40)
    assert fitted.means.shape[0] == 6
    assert fitted.scale_trils.isfinite().all()
    assert fitted.sample(10).isfinite().all()


@pytest.mark.parametrize("fit", [fit_flow, fit_second_vae])
def test_second_stage_beats_the_standard_normal_on_a_ring(fit: Callable[..., Sampler]) -> None:
    mu, log_var = ring(2000), torch.full((2000, 2), -8.0)
    before = torch.get_rng_state()
    fitted = fit(mu, log_var, steps=400, batch_size=256, width=64, learning_rate=5e-3)
    assert torch.equal(torch.get_rng_state(), before)
    drawn = fitted.sample(1000, torch.Generator().manual_seed(0))
    plain = standard_normal(2).sample(1000, torch.Generator().manual_seed(0))
    assert off_ring(drawn) < 0.5 * off_ring(plain)
    # all around the ring, not one arc of it
    assert torch.histc(torch.atan2(drawn[:, 1], drawn[:, 0]), 8, -torch.pi, torch.pi).min() > 40


def test_reencode_returns_posterior_samples_of_training_images() -> None:
    mu = torch.tensor([[0.0, 0.0], [5.0, 5.0]])
    drawn = fit_sampler("reencode", mu, torch.full((2, 2), -12.0)).sample(200, torch.Generator().manual_seed(0))
    assert torch.cdist(drawn, mu).min(1).values.max() < 0.05
    assert 60 < (drawn[:, 0] > 2.5).sum() < 140


def test_temperature_scales_the_prior() -> None:
    mu = torch.zeros(4, 3)
    drawn = fit_sampler("temperature_0.8", mu, mu).sample(20000, torch.Generator().manual_seed(0))
    assert drawn.std().item() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_seed_gives_one_set_of_latents(name: str) -> None:
    mu, log_var = ring(64), torch.full((64, 2), -4.0)
    drawn = []
    for _ in range(2):
        sampler = fit_sampler(name, mu, log_var, components=3, second_stage_steps=5)
        drawn.append(sampler.sample(7, torch.Generator().manual_seed(3)))
    assert drawn[0].shape == (7, 2)
    assert torch.equal(drawn[0], drawn[1])


def test_an_unknown_sampler_is_named_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'gnn'.*gmm"):
        fit_sampler("gnn", torch.zeros(4, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("name", ["gaussian", "gmm"])
def test_too_few_training_images_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="training images"):
        fit_sampler(name, torch.zeros(1, 2), torch.zeros(1, 2))

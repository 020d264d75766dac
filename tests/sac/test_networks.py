"""Actor, critics and target networks: shapes, densities, gradients."""

import copy

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from handgen.sac.networks import Actor, Critics, EnsembleLinear, Value, polyak_update, tanh_normal_log_prob


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_log_prob_is_that_of_the_transformed_normal(scale: float) -> None:
    torch.manual_seed(0)
    mean, log_std, noise = (scale * torch.randn(64, 3, dtype=torch.float64) for _ in range(3))
    pre_tanh = mean + log_std.exp() * noise
    normal = Independent(Normal(mean, log_std.exp()), 1)
    reference = TransformedDistribution(normal, [TanhTransform(cache_size=1)])
    action = reference.transforms[0](pre_tanh)  # cached, so that the inverse loses no digits
    torch.testing.assert_close(tanh_normal_log_prob(noise, log_std, pre_tanh), reference.log_prob(action))


def test_log_prob_stays_finite_where_tanh_is_flat() -> None:
    extreme = torch.tensor([[40.0], [-40.0]])
    assert tanh_normal_log_prob(torch.zeros(2, 1), torch.zeros(2, 1), extreme).isfinite().all()


def test_density_integrates_to_one() -> None:
    actor = Actor(1, 1, (4,))
    action = torch.linspace(-1 + 1e-4, 1 - 1e-4, 20_001)[:, None]
    mean, log_std = actor(torch.zeros(1, 1))
    pre_tanh = torch.atanh(action)
    density = tanh_normal_log_prob((pre_tanh - mean) / log_std.exp(), log_std, pre_tanh).exp()
    assert torch.trapezoid(density, action[:, 0]).item() == pytest.approx(1.0, abs=1e-3)


def test_actor_shapes_bounds_and_mean() -> None:
    actor = Actor(3, 2, (8, 8), log_std_bounds=(-4.0, 1.0))
    features = 100 * torch.randn(5, 7, 3)
    mean, log_std = actor(features)
    assert mean.shape == log_std.shape == (5, 7, 2)
    assert log_std.min() >= -4.0
    assert log_std.max() <= 1.0
    action, log_prob = actor.sample(features)
    assert action.shape == (5, 7, 2)
    assert log_prob.shape == (5, 7)
    assert action.abs().max() <= 1.0
    torch.testing.assert_close(actor.act(features, deterministic=True), torch.tanh(mean))


def test_actions_differ_between_draws_and_repeat_with_the_seed() -> None:
    actor, features = Actor(3, 2, (8,)), torch.randn(4, 3)
    torch.manual_seed(1)
    first, second = actor.act(features), actor.act(features)
    torch.manual_seed(1)
    assert torch.equal(actor.act(features), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_critics_equal_separate_networks(layer_norm: bool) -> None:
    torch.manual_seed(0)
    critics = Critics(3, 2, (8, 8), members=2, layer_norm=layer_norm)
    features, action = torch.randn(5, 3), torch.randn(5, 2)
    q = critics(features, action)
    assert q.shape == (2, 5)
    for member in range(2):
        layers: list[nn.Module] = []
        for layer in critics.layers:
            assert isinstance(layer, EnsembleLinear)
            linear = nn.Linear(layer.weight.shape[1], layer.weight.shape[2])
            linear.weight.data, linear.bias.data = layer.weight[member].T, layer.bias[member, 0]
            layers += [linear, *([nn.LayerNorm(linear.out_features)] if layer_norm else []), nn.ReLU()]
        del layers[-2 if layer_norm else -1 :]
        alone = nn.Sequential(*layers)(torch.cat([features, action], 1))[:, 0]
        torch.testing.assert_close(q[member], alone)


def test_each_critic_starts_with_its_own_weights() -> None:
    q = Critics(3, 2, (8, 8))(torch.randn(5, 3), torch.randn(5, 2))
    assert not torch.allclose(q[0], q[1])


def test_frozen_critics_pass_gradients_to_actions_only() -> None:
    critics, features = Critics(3, 2, (8, 8)), torch.randn(5, 3)
    action = torch.randn(5, 2, requires_grad=True)
    frozen = critics(features, action, frozen=True)
    torch.testing.assert_close(frozen, critics(features, action))
    frozen.sum().backward()
    assert action.grad is not None
    assert action.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in critics.parameters())


def test_value_shape() -> None:
    assert Value(3, (8,))(torch.randn(5, 3)).shape == (5,)


def test_polyak_is_exact_and_leaves_the_source() -> None:
    source, target = Critics(3, 2, (8,)), Critics(3, 2, (8,))
    before, kept = copy.deepcopy(target), copy.deepcopy(source)
    polyak_update(target, source, 0.1)
    for new, old, online in zip(target.parameters(), before.parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * online)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), kept.parameters(), strict=True))
    polyak_update(target, source, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(target.parameters(), source.parameters(), strict=True))

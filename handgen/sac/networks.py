"""Networks of SAC: a squashed Gaussian actor, critics evaluated side by side, and an optional value network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOG_2PI = math.log(2 * math.pi)


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them.

    Args:
        sizes: inputs, hidden units of each layer, outputs.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def tanh_normal_log_prob(noise: Tensor, log_std: Tensor, pre_tanh: Tensor) -> Tensor:
    """Log-density of ``tanh(u)``, ``u = mean + exp(log_std) noise``: SAC v2 eq. 26 (appendix C), summed over actions.

    ``log(1 - tanh(u)^2)`` is written as ``2 (log 2 - u - softplus(-2 u))``, which keeps its digits for large |u|.

    Args:
        noise: (..., A), standard normal.
        log_std: (..., A).
        pre_tanh: (..., A), u.

    Returns:
        (...,) in nats.
    """
    normal = -0.5 * noise.square() - log_std - 0.5 * LOG_2PI
    squashing = 2.0 * (math.log(2.0) - pre_tanh - F.softplus(-2.0 * pre_tanh))
    return (normal - squashing).sum(-1)


class Actor(nn.Module):
    """Gaussian policy squashed into the box (-1, 1)^A by tanh: SAC v1 and v2, appendix C.

    Args:
        feature_dim: number of features F.
        action_dim: number of actions A.
        hidden_dims: hidden units of each layer.
        log_std_bounds: range of the log standard deviation, reached smoothly through tanh.
        trunk: layers of the actor's own between what it is given and its F features.
    """

    def __init__(
        self,
        feature_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        log_std_bounds: tuple[float, float] = (-5.0, 2.0),
        trunk: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.trunk = trunk if trunk is not None else nn.Identity()
        self.net = mlp([feature_dim, *hidden_dims, 2 * action_dim])
        self.log_std_bounds = log_std_bounds

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation before the tanh.

        Args:
            features: (..., F), or what the trunk takes.

        Returns:
            (..., A) each.
        """
        mean, raw = self.net(self.trunk(features)).chunk(2, dim=-1)
        low, high = self.log_std_bounds
        return mean, low + 0.5 * (high - low) * (torch.tanh(raw) + 1.0)

    def sample(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """One reparameterised action for each row of features (SAC v2 eq. 8).

        Args:
            features: (..., F).

        Returns:
            ``action`` (..., A) in (-1, 1) and its log-density (...,) in nats.
        """
        return self.drawn(*self(features))

    @staticmethod
    def drawn(mean: Tensor, log_std: Tensor) -> tuple[Tensor, Tensor]:
        """The same from what `forward` returns, (..., A) each."""
        noise = torch.randn_like(mean)
        pre_tanh = mean + log_std.exp() * noise
        return torch.tanh(pre_tanh), tanh_normal_log_prob(noise, log_std, pre_tanh)

    def act(self, features: Tensor, deterministic: bool = False) -> Tensor:
        """An action to take: sampled, or the squashed mean.

        Args:
            features: (..., F).
            deterministic: take the squashed mean.

        Returns:
            (..., A) in (-1, 1).
        """
        mean, log_std = self(features)
        return torch.tanh(mean if deterministic else mean + log_std.exp() * torch.randn_like(mean))


class EnsembleLinear(nn.Module):
    """C linear layers side by side in one batched product, initialised as ``nn.Linear``.

    Args:
        members: C.
        inputs: inputs of each.
        outputs: outputs of each.
    """

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights."""
        bound = 1.0 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor, frozen: bool = False) -> Tensor:
        """(C, B, inputs) to (C, B, outputs); ``frozen`` lets gradients through to x but not to the weights."""
        weight, bias = (self.weight.detach(), self.bias.detach()) if frozen else (self.weight, self.bias)
        return torch.baddbmm(bias, x, weight)


class Critics(nn.Module):
    """C state-action values; two of them are the twin critics of SAC v2 (after Fujimoto et al. 2018, arXiv:1802.09477).

    Args:
        feature_dim: number of features F.
        action_dim: number of actions A.
        hidden_dims: hidden units of each layer of each critic.
        members: C.
        layer_norm: normalise each hidden layer before its ReLU, which keeps values bounded off the data when there are
            many updates for each decision (Hiraoka et al. 2022, arXiv:2110.02034; Ball et al. 2023, arXiv:2302.02948).
    """

    def __init__(
        self,
        feature_dim: int,
        action_dim: int,
        hidden_dims: Sequence[int] = (256, 256),
        members: int = 2,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        sizes = [feature_dim + action_dim, *hidden_dims, 1]
        self.members, self.layer_norm = members, layer_norm
        self.layers = nn.ModuleList(EnsembleLinear(members, inputs, outputs) for inputs, outputs in pairwise(sizes))

    def forward(self, features: Tensor, action: Tensor, frozen: bool = False) -> Tensor:
        """Values of B pairs.

        Args:
            features: (B, F).
            action: (B, A) in (-1, 1).
            frozen: give no gradient to the critics' weights, only to features and action: what the actor's loss needs.

        Returns:
            (C, B).
        """
        x = torch.cat([features, action], dim=-1).expand(self.members, -1, -1)
        for layer in self.layers[:-1]:
            x = layer(x, frozen)
            if self.layer_norm:
                x = F.layer_norm(x, x.shape[-1:])
            x = x.relu_()  # in place: the product is not needed again, and memory is what is slow
        q: Tensor = self.layers[-1](x, frozen)
        return q.squeeze(-1)


class Value(nn.Module):
    """State value, for SAC v1 and the printed equations.

    Args:
        feature_dim: number of features F.
        hidden_dims: hidden units of each layer.
    """

    def __init__(self, feature_dim: int, hidden_dims: Sequence[int] = (256, 256)) -> None:
        super().__init__()
        self.net = mlp([feature_dim, *hidden_dims, 1])

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) to (B,)."""
        value: Tensor = self.net(features)
        return value.squeeze(-1)


class ValueNetworks(nn.Module):
    """All that is trained to predict returns; the agent holds it twice, online and as a slow target copy.

    Args:
        encoder: observations (B, ...) to what actor and critics share, (B, E).
        critics: features and actions to values.
        value: features to state values, for the forms that have such a network.
        trunk: what is shared to features (B, F) of the critics' own; None takes it as it is.
    """

    def __init__(
        self, encoder: nn.Module, critics: Critics, value: Value | None = None, trunk: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.trunk = trunk if trunk is not None else nn.Identity()
        self.critics = critics
        self.value = value

    def state_value(self, features: Tensor) -> Tensor:
        """(B, F) to (B,), where there is a value network."""
        assert self.value is not None
        state_value: Tensor = self.value(features)
        return state_value


@torch.no_grad()
def polyak_update(target: nn.Module, source: nn.Module, tau: float) -> None:
    """Move target weights a little: ``target <- (1 - tau) target + tau source``, all tensors in one call.

    Args:
        target: network updated in place.
        source: network of the same structure.
        tau: share of the source, in (0, 1].
    """
    pairs = list(zip(target.parameters(), source.parameters(), strict=True))
    if pairs:
        torch._foreach_lerp_([t for t, _ in pairs], [s for _, s in pairs], tau)

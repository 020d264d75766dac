"""Learned priors over the latents of a frozen VAE: a flow-matching network and a second VAE."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

from handgen.random_state import seeded
from handgen.vae.losses import kl_divergence, linear_warmup
from handgen.vae.networks import update_average


class ResidualMLP(nn.Module):
    """Pre-normalised residual perceptron, (N, inputs) to (N, outputs).

    Args:
        inputs: input dimensions.
        outputs: output dimensions.
        width: hidden units.
        depth: residual blocks.
    """

    def __init__(self, inputs: int, outputs: int, width: int = 512, depth: int = 3) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, width)) for _ in range(depth)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs) to (N, outputs)."""
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        out: Tensor = self.leave(x)
        return out


def time_features(time: Tensor, count: int = 16) -> Tensor:
    """Sines and cosines of times in [0, 1] at ``count`` octaves of half a turn, (N, 1) to (N, 2 * count)."""
    angles = time * (math.pi * 2.0 ** torch.linspace(0.0, 6.0, count))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def velocity(network: nn.Module, x: Tensor, time: Tensor) -> Tensor:
    """Velocity field of the flow at (N, L) points and (N, 1) times, (N, L)."""
    out: Tensor = network(torch.cat([x, time_features(time)], dim=1))
    return out


@dataclass(frozen=True)
class FlowSampler:
    """Flow sampler: integrates the learned velocity from N(0, I) at time 0 to the latents at time 1.

    Attributes:
        network: velocity field in standardised latents.
        mean: (L,), of the aggregate posterior.
        std: (L,), of the aggregate posterior.
        steps: Heun steps (two evaluations each).
    """

    network: nn.Module
    mean: Tensor
    std: Tensor
    steps: int = 24

    @torch.no_grad()
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        x = torch.randn(count, len(self.mean), generator=generator)
        for i in range(self.steps):
            now, after = torch.full((count, 1), i / self.steps), torch.full((count, 1), (i + 1) / self.steps)
            slope = velocity(self.network, x, now)
            end = velocity(self.network, x + slope / self.steps, after)
            x = x + 0.5 * (slope + end) / self.steps
        return self.mean + self.std * x


@dataclass(frozen=True)
class SecondVAESampler:
    """Samples of the second-stage VAE: decode N(0, I), add its learned observation noise.

    Attributes:
        decoder: second-stage latents to standardised first-stage latents.
        scale: standard deviation of the observation noise, scalar tensor.
        mean: (L,), of the aggregate posterior.
        std: (L,), of the aggregate posterior.
    """

    decoder: nn.Module
    scale: Tensor
    mean: Tensor
    std: Tensor

    @torch.no_grad()
    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        noise = torch.randn(2, count, len(self.mean), generator=generator)
        latent: Tensor = self.mean + self.std * (self.decoder(noise[0]) + self.scale * noise[1])
        return latent


def aggregate_moments(mu: Tensor, log_var: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the aggregate posterior in each dimension, (L,) each."""
    variance = mu.var(0, correction=0) + log_var.exp().mean(0)
    return mu.mean(0), variance.sqrt().clamp(min=1e-6)


def posterior_batch(mu: Tensor, log_var: Tensor, size: int, generator: Generator) -> Tensor:
    """Posterior samples of ``size`` random training images, (size, L)."""
    rows = torch.randint(len(mu), (size,), generator=generator)
    noise = torch.randn(size, mu.shape[1], generator=generator)
    latent: Tensor = mu[rows] + noise * (0.5 * log_var[rows]).exp()
    return latent


def cosine_rate(step: int, steps: int) -> float:
    """Learning-rate factor: 50 steps of linear warm-up, then half a cosine down to zero."""
    return linear_warmup(step, 50) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def fit_flow(
    mu: Tensor,
    log_var: Tensor,
    steps: int = 1500,
    batch_size: int = 256,
    width: int = 512,
    learning_rate: float = 2e-3,
    seed: int = 0,
) -> FlowSampler:
    """Fit a flow-matching prior to the aggregate posterior.

    Lipman et al. 2023 (arXiv:2210.02747), optimal-transport path: with ``x_t = (1 - t) e + t z``, ``e ~ N(0,
    I)``, the network regresses ``z - e`` on ``(x_t, t)``. The sampler keeps the moving average of the
    weights.

    Args:
        mu: posterior means, (N, L).
        log_var: posterior log variances, (N, L).
        steps: optimiser steps.
        batch_size: latents in a step.
        width: hidden units.
        learning_rate: of Adam, at its peak.
        seed: of initial weights and noise; torch's global generator is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, std = aggregate_moments(mu, log_var)
    with seeded(seed, mu.device), torch.enable_grad():
        network = ResidualMLP(mu.shape[1] + 32, mu.shape[1], width)
        average = ResidualMLP(mu.shape[1] + 32, mu.shape[1], width).requires_grad_(False)
        optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine_rate(step, steps))
        for step in range(steps):
            latent = (posterior_batch(mu, log_var, batch_size, generator) - mean) / std
            noise = torch.randn(latent.shape, generator=generator)
            time = torch.rand(batch_size, 1, generator=generator)
            path = (1.0 - time) * noise + time * latent
            loss = (velocity(network, path, time) - (latent - noise)).square().mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            update_average(average, network, min(0.995, step / (step + 10)))
    return FlowSampler(average.eval(), mean, std)


def fit_second_vae(
    mu: Tensor,
    log_var: Tensor,
    steps: int = 1500,
    batch_size: int = 256,
    width: int = 512,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> SecondVAESampler:
    """Fit a second VAE to the latents of the first.

    The second stage of Dai and Wipf 2019 (arXiv:1903.05789, section 4).
    Both stages have the same number of dimensions and the observation noise is learned, so that the second
    stage can match the aggregate posterior exactly in the limit.

    Args:
        mu: posterior means, (N, L).
        log_var: posterior log variances, (N, L).
        steps: optimiser steps.
        batch_size: latents in a step.
        width: hidden units.
        learning_rate: of Adam, at its peak.
        seed: of initial weights and noise; torch's global generator is left alone.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, std = aggregate_moments(mu, log_var)
    size = mu.shape[1]
    with seeded(seed, mu.device), torch.enable_grad():
        encoder, decoder = ResidualMLP(size, 2 * size, width), ResidualMLP(size, size, width)
        log_scale = torch.full((), -2.0, requires_grad=True)  # from 0 the codes collapse
        parameters = [*encoder.parameters(), *decoder.parameters(), log_scale]
        optimiser = torch.optim.Adam(parameters, lr=learning_rate)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: cosine_rate(step, steps))
        for _ in range(steps):
            latent = (posterior_batch(mu, log_var, batch_size, generator) - mean) / std
            centre, spread = encoder(latent).chunk(2, dim=1)
            spread = spread.clamp(-12.0, 6.0)
            code = centre + torch.randn(centre.shape, generator=generator) * (0.5 * spread).exp()
            error = (latent - decoder(code)).square() * (-2.0 * log_scale).exp()
            loss = (0.5 * error + log_scale + kl_divergence(centre, spread)).sum(1).mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    return SecondVAESampler(decoder.eval().requires_grad_(False), log_scale.detach().exp(), mean, std)

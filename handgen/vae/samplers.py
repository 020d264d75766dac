"""Priors for a frozen decoder: where to draw latents from, all fitted on encoded training images.

A VAE trained for sharp reconstructions leaves a *prior hole*: N(0, I) seldom hits the region that the encoder
uses. Ghosh et al. 2020 (RAE, arXiv:1903.12436) fit a density to the latents after training; Dai and Wipf 2019
(arXiv:1903.05789) train a second stage on them. Samplers live on the CPU, so that one seed gives one set of
latents on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Generator, Tensor

from handgen.errors import UserError
from handgen.vae.second_stage import fit_flow, fit_second_vae

SAMPLERS = ("prior", "temperature_0.8", "gaussian", "gmm", "second_stage", "reencode")
"""Names of the samplers, from the plainest to the ceiling."""


class Sampler(Protocol):
    """Anything that draws latents."""

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw ``count`` latents, float32 (count, L) on the CPU; reproducible given the generator."""


@dataclass(frozen=True)
class GaussianSampler:
    """Multivariate normal.

    Attributes:
        mean: (L,).
        scale_tril: lower Cholesky factor of the covariance, (L, L).
    """

    mean: Tensor
    scale_tril: Tensor

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        noise = torch.randn(count, len(self.mean), generator=generator)
        return self.mean + noise @ self.scale_tril.T


@dataclass(frozen=True)
class MixtureSampler:
    """Mixture of K multivariate normals.

    Attributes:
        weights: (K,), summing to one.
        means: (K, L).
        scale_trils: lower Cholesky factors of the covariances, (K, L, L).
    """

    weights: Tensor
    means: Tensor
    scale_trils: Tensor

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        which = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator)
        out = self.means[which]
        for k in sorted(set(which.tolist())):  # by component: gathering (count, L, L) factors would take gigabytes
            rows = which == k
            out[rows] += noise[rows] @ self.scale_trils[k].T
        return out

    def log_prob(self, latents: Tensor) -> Tensor:
        """Log density of (N, L) latents, (N,) nats."""
        return torch.logsumexp(joint_log_prob(latents, self.weights, self.means, self.scale_trils), dim=1)


@dataclass(frozen=True)
class ReencodeSampler:
    """Posterior sample of a random training image: the aggregate posterior itself, the ceiling of any prior.

    Attributes:
        mu: posterior means of the training images, (N, L).
        log_var: their log variances, (N, L).
    """

    mu: Tensor
    log_var: Tensor

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        rows = torch.randint(len(self.mu), (count,), generator=generator)
        noise = torch.randn(count, self.mu.shape[1], generator=generator)
        return self.mu[rows] + noise * (0.5 * self.log_var[rows]).exp()


def standard_normal(latent_dim: int, temperature: float = 1.0) -> GaussianSampler:
    """N(0, temperature^2 I) over ``latent_dim`` dimensions."""
    return GaussianSampler(torch.zeros(latent_dim), temperature * torch.eye(latent_dim))


def cholesky(covariance: Tensor) -> Tensor:
    """Lower Cholesky factor of (..., L, L) covariances, with a millionth of the mean variance added."""
    jitter = 1e-6 * covariance.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] + 1e-10
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype)
    factor: Tensor = torch.linalg.cholesky(covariance + jitter * identity)
    return factor


def fit_gaussian(latents: Tensor) -> GaussianSampler:
    """Maximum-likelihood full-covariance normal of (N, L) latents."""
    if len(latents) < 2:
        raise UserError(f"a Gaussian prior needs at least 2 training images, got {len(latents)}")
    return GaussianSampler(latents.mean(0), cholesky(torch.cov(latents.T, correction=0)))


def joint_log_prob(latents: Tensor, weights: Tensor, means: Tensor, scale_trils: Tensor) -> Tensor:
    """``log(w_k N(x; mean_k, cov_k))`` of every latent under every component, (N, K) nats."""
    columns = []
    for weight, mean, tril in zip(weights, means, scale_trils, strict=True):
        white = torch.linalg.solve_triangular(tril, (latents - mean).T, upper=False)
        log_det = tril.diagonal().log().sum()
        columns.append(weight.log() - log_det - 0.5 * white.square().sum(0))
    return torch.stack(columns, 1) - 0.5 * latents.shape[1] * math.log(2.0 * math.pi)


def kmeans(latents: Tensor, components: int, generator: Generator, iterations: int = 10) -> Tensor:
    """Seeded k-means++ (Arthur and Vassilvitskii 2007) followed by Lloyd's iterations.

    Args:
        latents: (N, L), N at least ``components``.
        components: number of clusters K.
        generator: source of the seeding.
        iterations: Lloyd iterations.

    Returns:
        Cluster of each latent, int64 (N,).
    """
    first = torch.randint(len(latents), (1,), generator=generator)
    centres = latents[first]
    for _ in range(components - 1):
        distance = torch.cdist(latents, centres).min(1).values.square() + 1e-12
        centres = torch.cat([centres, latents[torch.multinomial(distance, 1, generator=generator)]])
    nearest = torch.cdist(latents, centres).argmin(1)
    for _ in range(iterations):
        sums = torch.zeros_like(centres).index_add_(0, nearest, latents)
        counts = torch.bincount(nearest, minlength=components)[:, None]
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
        nearest = torch.cdist(latents, centres).argmin(1)
    return nearest


def fit_mixture(
    latents: Tensor,
    components: int = 40,
    iterations: int = 40,
    shrinkage: float = 64.0,
    seed: int = 0,
) -> MixtureSampler:
    """Gaussian mixture with full covariances by expectation-maximisation from k-means.

    Covariances are shrunk to the pooled within-component one, ``(n_k S_k + s S) / (n_k + s)``, the posterior
    mode under an inverse-Wishart prior worth ``s`` observations: a component of 250 points in 64 dimensions
    would otherwise be nearly singular. EM stops early once the mean log-likelihood gains less than 1e-3 nats.

    Args:
        latents: (N, L).
        components: number of components K; at most N / 2 are used.
        iterations: most EM iterations.
        shrinkage: pseudo-observations s of the pooled covariance.
        seed: of the k-means start.
    """
    if len(latents) < 4:
        raise UserError(f"a mixture prior needs at least 4 training images, got {len(latents)}")
    components = min(components, len(latents) // 2)
    generator = torch.Generator().manual_seed(seed)
    nearest = kmeans(latents, components, generator)
    responsibility = torch.nn.functional.one_hot(nearest, components).to(latents.dtype)
    previous = -math.inf
    for _ in range(iterations):
        weights, means, trils = maximise(latents, responsibility, shrinkage)
        joint = joint_log_prob(latents, weights, means, trils)
        evidence = torch.logsumexp(joint, 1, keepdim=True)
        if (current := evidence.mean().item()) - previous < 1e-3:
            break
        previous, responsibility = current, (joint - evidence).exp()
    return MixtureSampler(weights, means, trils)


def maximise(latents: Tensor, responsibility: Tensor, shrinkage: float) -> tuple[Tensor, Tensor, Tensor]:
    """M step of :func:`fit_mixture`.

    Args:
        latents: (N, L).
        responsibility: share of each component in each latent, (N, K), rows summing to one.
        shrinkage: pseudo-observations of the pooled covariance.

    Returns:
        Weights (K,), means (K, L) and Cholesky factors (K, L, L).
    """
    counts = responsibility.sum(0).clamp(min=1e-6)
    means = (responsibility.T @ latents) / counts[:, None]
    scatters = []
    for k in range(len(counts)):
        centred = latents - means[k]
        scatters.append((centred * responsibility[:, k : k + 1]).T @ centred)
    scatter = torch.stack(scatters)
    pooled = scatter.sum(0) / counts.sum()
    covariances = (scatter + shrinkage * pooled) / (counts[:, None, None] + shrinkage)
    return counts / counts.sum(), means, cholesky(covariances)


def temperature(name: str) -> float:
    """The number in ``temperature_T``.

    Raises:
        UserError: if it is none, or not positive.
    """
    try:
        value = float(name.removeprefix("temperature_"))
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise UserError(f"{name!r} is no sampler: give a positive number, as in temperature_0.8")
    return value


def fit_sampler(
    name: str,
    mu: Tensor,
    log_var: Tensor,
    components: int = 40,
    second_stage: Literal["flow", "vae"] = "flow",
    second_stage_steps: int = 1500,
    seed: int = 0,
) -> Sampler:
    """Build one sampler by name from the encoded training images.

    Args:
        name: one of :data:`SAMPLERS`, or ``temperature_T`` with any positive T.
        mu: posterior means of the training images, (N, L).
        log_var: their log variances, (N, L).
        components: of the mixture.
        second_stage: kind of the second stage.
        second_stage_steps: optimiser steps of the second stage.
        seed: of everything random in the fit.

    Raises:
        UserError: if the name is unknown.
    """
    mu, log_var = mu.float().cpu(), log_var.float().cpu()
    latent_dim = mu.shape[1]
    if name == "prior":
        return standard_normal(latent_dim)
    if name.startswith("temperature_"):
        return standard_normal(latent_dim, temperature(name))
    if name == "gaussian":
        return fit_gaussian(mu)
    if name == "gmm":
        return fit_mixture(mu, components, seed=seed)
    if name == "second_stage":
        fit = fit_flow if second_stage == "flow" else fit_second_vae
        return fit(mu, log_var, steps=second_stage_steps, seed=seed)
    if name == "reencode":
        return ReencodeSampler(mu, log_var)
    raise UserError(f"unknown sampler {name!r}: choose one of {', '.join(SAMPLERS)}")

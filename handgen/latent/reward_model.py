"""The reward as one module: terms of the image, terms of the latent, and discriminators that keep learning."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handgen.anatomy.judges import LearnedJudge
from handgen.anatomy.metrics import laplacian_variance
from handgen.latent.discriminator import Discriminator, discriminator_loss
from handgen.latent.reward import (
    MEASURED,
    Measured,
    RewardWeights,
    displacement_cost,
    measure,
    mmd_witness,
    prior_cost,
)
from handgen.vae.second_stage import aggregate_moments, posterior_batch


class RewardModel(nn.Module):
    """Potential of latents, costs of actions, and the loss of the discriminators.

    Latents are standardised, ``u = (z - mean) / SD`` with the moments of the aggregate posterior, so that a step of
    one length means the same in every dimension.

    Args:
        latent_dim: L.
        judge: the judge that gives reward; it gets no gradient and is not saved with the weights.
        weights: of the terms.
        views: views that the judge sees of each image.
        bank: real and own samples that the diversity term compares with.
        noise: standard deviation of Gaussian noise on what the latents' discriminator learns from, in standardised
            units; it keeps two sets that hardly overlap comparable (Arjovsky and Bottou 2017, arXiv:1701.04862).
    """

    mean: Tensor
    deviation: Tensor
    sharpness: Tensor
    real_features: Tensor

    def __init__(
        self,
        latent_dim: int,
        judge: LearnedJudge,
        weights: RewardWeights,
        views: int = 2,
        bank: int = 512,
        noise: float = 0.0,
    ) -> None:
        super().__init__()
        self.weights, self.views, self.bank, self.noise = weights, views, bank, noise
        self._judge = (judge.eval().requires_grad_(False),)  # hidden from state_dict, parameters() and train()
        features = judge.network.project.out_features
        self.latent_realism = Discriminator(latent_dim)
        self.feature_realism = Discriminator(features)
        # Weights that no loss reaches would stop a training on several processes.
        self.latent_realism.requires_grad_("latent_realism" in weights.used)
        self.feature_realism.requires_grad_("feature_realism" in weights.used)
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("deviation", torch.ones(latent_dim))
        self.register_buffer("sharpness", torch.ones(()))
        self.register_buffer("real_features", torch.zeros(0, features), persistent=False)
        self.encoded = (torch.zeros(0, latent_dim), torch.zeros(0, latent_dim))

    @property
    def judge(self) -> LearnedJudge:
        """The rewarded judge, on the device of the rest."""
        return self._judge[0].to(self.mean.device)

    def measure(self, image: Tensor, views: int | None = None) -> Measured:
        """See what decoded images (B, 3, H, W) in [0, 1] show; in one view, chance has no part in it."""
        return measure(image, self.judge, self.weights, views or self.views, self.sharpness)

    def potential(self, latent: Tensor, terms: Tensor, features: Tensor, own_features: Tensor) -> dict[str, Tensor]:
        """Terms that belong to a state, by name, (B,) each; those of weight 0 are left out.

        Args:
            latent: (B, L) standardised.
            terms: (B, len(MEASURED)), of its decoded image.
            features: (B, F), of the same.
            own_features: (M, F) recent samples of the tuner, for the diversity term.
        """
        used = self.weights.used
        found = {name: value for name, value in zip(MEASURED, terms.unbind(1), strict=True) if name in used}
        if "latent_realism" in used:
            found["latent_realism"] = self.latent_realism.log_odds(latent)
        if "feature_realism" in used:
            found["feature_realism"] = self.feature_realism.log_odds(features)
        if "diversity" in used:
            found["diversity"] = mmd_witness(features, self.real_features[: self.bank], own_features[: self.bank])
        return found

    def costs(self, start: Tensor, latent: Tensor, action: Tensor) -> dict[str, Tensor]:
        """Terms that belong to a step, by name, (B,) each.

        Args:
            start: (B, L) standardised latent before the action.
            latent: (B, L) after it.
            action: (B, L) in [-1, 1].
        """
        found = {}
        if "displacement" in self.weights.used:
            found["displacement"] = displacement_cost(action)
        if "prior" in self.weights.used:
            found["prior"] = prior_cost(self.to_latent(latent), self.to_latent(start))
        return found

    def loss(self, own: Tensor, own_features: Tensor) -> Tensor:
        """Loss of the discriminators, scalar: the tuner's samples against posterior samples of training images.

        Args:
            own: (B, L) standardised latents of the policy as it is now.
            own_features: (B, F) of recently decoded samples of the tuner.
        """
        losses = []
        if "latent_realism" in self.weights.used:
            noisy = [x + self.noise * torch.randn_like(x) for x in (self.real_latents(len(own)), own)]
            losses.append(discriminator_loss(*(self.latent_realism(x) for x in noisy)))
        if "feature_realism" in self.weights.used:
            rows = torch.randint(len(self.real_features), (len(own_features),), device=own.device)
            real = self.feature_realism(self.real_features[rows])
            losses.append(discriminator_loss(real, self.feature_realism(own_features)))
        return torch.stack(losses).sum() if losses else own.new_zeros(())

    @torch.no_grad()
    def set_moments(self, mu: Tensor, log_var: Tensor) -> None:
        """Keep the posterior of the training images, (N, L) each, and the moments of the aggregate posterior.

        Moments that came with a checkpoint stay: they are the units that the policy was trained in.
        """
        self.encoded = (mu, log_var)
        if not self.mean.any():
            mean, deviation = aggregate_moments(mu, log_var)
            self.mean.copy_(mean)
            self.deviation.copy_(deviation)

    @torch.no_grad()
    def set_reference(self, image: Tensor) -> None:
        """Measure sharpness and features against what the decoder makes of training images.

        Args:
            image: decoded posterior samples (N, 3, H, W) in [0, 1].
        """
        self.sharpness.copy_(laplacian_variance(image).median())
        self.real_features = torch.cat([self.measure(part).features for part in image.split(128)])

    def real_latents(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Standardised posterior samples of random training images, (count, L)."""
        generator = generator or torch.default_generator
        return self.standardise(posterior_batch(*self.encoded, count, generator).to(self.mean.device))

    def standardise(self, latent: Tensor) -> Tensor:
        """(B, L) latents in units of the aggregate posterior: ``(z - mean) / SD``."""
        return (latent - self.mean) / self.deviation

    def to_latent(self, standardised: Tensor) -> Tensor:
        """The latents that the decoder takes: ``mean + SD u``, (B, L)."""
        return self.mean + self.deviation * standardised

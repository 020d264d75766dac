"""``handgen/LatentTuner-v0``: the original's agent as a Gymnasium environment, for any library to train on."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from handgen.errors import UserError
from handgen.latent.transform import (
    LatentTransform,
    check_lambda,
    loss_delta_reward,
    observation,
    observation_size,
    probe_deviation,
)
from handgen.vae import VAE

Vector = NDArray[np.float32]


class LatentTunerEnv(gymnasium.Env[Vector, Vector]):
    """A VAE in training; a decision sets a shift and scale of its latent space, a step trains it for some batches.

    The observation is `handgen.latent.transform.observation`; the action, in [-1, 1]^(2L), names shifts and log-scales
    as shares of their bounds; the reward is ``-lambda (L_t - L_{t-1})`` of the mean training loss of the step. A reset
    begins an episode of ``episode_length`` decisions, not a new VAE: that goes on learning from one to the next, as the
    original trains both together, and ``options={"restart": True}`` puts the first weights back.

    Args:
        vae: what is trained, in place.
        images: uint8 (N, 3, H, W).
        batch_size: images of a batch.
        batches: batches of a step.
        lr: learning rate of the VAE's Adam.
        scale: lambda.
        episode_length: decisions of an episode; 1 as in the original.
        max_shift: bound of the shift, in standard deviations.
        max_log_scale: bound of the log-scale.
        probe: images that the observation is measured on.
    """

    metadata = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own name and type

    def __init__(
        self,
        vae: VAE,
        images: Tensor,
        batch_size: int = 32,
        batches: int = 1,
        lr: float = 1e-3,
        scale: float = 1.0,
        episode_length: int = 1,
        max_shift: float = 0.25,
        max_log_scale: float = 0.25,
        probe: int = 256,
    ) -> None:
        check_lambda(scale)
        if episode_length < 1 or batches < 1 or len(images) < 2:
            raise UserError("LatentTuner-v0 needs at least 2 images, and episode_length and batches of at least 1")
        self.vae, self.images, self.batch_size, self.batches = vae, images, min(batch_size, len(images)), batches
        self.scale, self.episode_length, self.probe = scale, episode_length, images[:probe].float() / 255.0
        size = int(vae.hparams["latent_dim"])
        self.transform = LatentTransform(size, max_shift, max_log_scale)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (observation_size(size),), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2 * size,), np.float32)
        self.lr, self.decisions = lr, 0
        self.loss: float | None = None
        self.first = {name: value.clone() for name, value in vae.state_dict().items()}
        self.optimiser = torch.optim.Adam(vae.networks.parameters(), lr=lr)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Begin an episode; with a seed or ``{"restart": True}`` the VAE begins anew too."""
        super().reset(seed=seed)
        self.decisions = 0
        if seed is not None or (options or {}).get("restart"):
            self.vae.load_state_dict(self.first)
            self.optimiser = torch.optim.Adam(self.vae.networks.parameters(), lr=self.lr)
            self.transform.set(torch.zeros(self.action_space.shape or ()), torch.ones_like(self.transform.shift))
            self.loss = None
        return self._observe(), {}

    def step(self, action: Vector) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Set the transform, train, and reward the fall of the loss."""
        mu, log_var = self._encode()
        self.transform.set(torch.from_numpy(np.array(action, np.float32)), probe_deviation(mu, log_var))
        loss = float(np.mean([self._train() for _ in range(self.batches)]))
        reward = loss_delta_reward(loss, loss if self.loss is None else self.loss, self.scale)  # nothing at t = 1
        self.loss, self.decisions = loss, self.decisions + 1
        return self._observe(), reward, self.decisions >= self.episode_length, False, {"loss": loss}

    def _train(self) -> float:
        """One optimiser step on a random batch, through the transform; returns the loss."""
        rows = self.np_random.integers(len(self.images), size=self.batch_size)
        generator = torch.Generator().manual_seed(int(self.np_random.integers(2**31)))
        image = self.images[torch.from_numpy(rows)].float() / 255.0
        self.vae.networks.train()
        loss = self._loss(image, generator)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.optimiser.step()
        return float(loss.detach())

    def _loss(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """The VAE's loss of a batch whose latents are transformed before they are decoded, at full KL weight."""
        mu, log_var = self.vae.networks.encoder(self.vae.layout(image))
        noise = torch.randn(mu.shape, generator=generator)
        recon = self.vae.networks.decoder(self.transform(mu + noise * (0.5 * log_var).exp()))
        steps = int(self.vae.hparams["kl_warmup_steps"])
        total: Tensor = self.vae.objective(recon, image, mu, log_var, steps)["total"]
        return total

    @torch.no_grad()
    def _encode(self) -> tuple[Tensor, Tensor]:
        """Posterior of the probe batch, by the weights in training."""
        mu, log_var = self.vae.networks.eval().encoder(self.vae.layout(self.probe))
        return mu, log_var

    def _observe(self) -> Vector:
        """The observation as Gymnasium wants it."""
        found: Vector = observation(*self._encode(), self.transform, self.loss or 0.0).numpy()
        return found

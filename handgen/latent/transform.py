"""The original's tuner: one bounded shift and scale of the latent space, chosen from its statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from handgen.errors import UserError
from handgen.vae.second_stage import aggregate_moments


class LatentTransform(nn.Module):
    """Per-dimension affine map of latents, ``T(z) = exp(log_scale) z + shift``; the identity at first.

    Args:
        latent_dim: L.
        max_shift: largest shift, in standard deviations of the aggregate posterior.
        max_log_scale: largest logarithm of the scale.
    """

    shift: Tensor
    log_scale: Tensor

    def __init__(self, latent_dim: int, max_shift: float = 0.25, max_log_scale: float = 0.25) -> None:
        super().__init__()
        if max_shift <= 0.0 or max_log_scale <= 0.0:
            raise UserError(f"max_shift and max_log_scale must be positive, got {max_shift} and {max_log_scale}")
        self.max_shift, self.max_log_scale = max_shift, max_log_scale
        self.register_buffer("shift", torch.zeros(latent_dim))
        self.register_buffer("log_scale", torch.zeros(latent_dim))

    def forward(self, latent: Tensor) -> Tensor:
        """Transform (B, L) latents."""
        return self.log_scale.exp() * latent + self.shift

    def inverse(self, latent: Tensor) -> Tensor:
        """Undo the transform of (B, L) latents."""
        return (latent - self.shift) * (-self.log_scale).exp()

    @torch.no_grad()
    def set(self, action: Tensor, deviation: Tensor) -> None:
        """Take an action: the transform that it names replaces the one before.

        Args:
            action: (2L,) in [-1, 1]: shifts, then log-scales, as shares of their bounds.
            deviation: (L,) standard deviations of the aggregate posterior.
        """
        shift, log_scale = action.to(self.shift.device).chunk(2)
        self.shift.copy_(self.max_shift * deviation.to(self.shift.device) * shift)
        self.log_scale.copy_(self.max_log_scale * log_scale)


def observation_size(latent_dim: int) -> int:
    """Length of `observation`: five numbers for each dimension and the loss."""
    return 5 * latent_dim + 1


@torch.no_grad()
def observation(mu: Tensor, log_var: Tensor, transform: LatentTransform, loss: float) -> Tensor:
    """The original's state, the collection of latent variables, made finite-dimensional.

    Args:
        mu: posterior means (N, L) of a probe batch, which is always the same images.
        log_var: their log variances (N, L).
        transform: as it is now.
        loss: last loss, nats per image value; 0 before there is one.

    Returns:
        (5L + 1,): mean and standard deviation of mu over the batch, mean of log_var, shift, log-scale, loss.
    """
    parts = [mu.mean(0), mu.std(0, correction=0), log_var.mean(0), transform.shift, transform.log_scale]
    return torch.cat([*parts, mu.new_tensor([loss])]).float().cpu()


def probe_deviation(mu: Tensor, log_var: Tensor) -> Tensor:
    """Standard deviation of the aggregate posterior of a probe batch (N, L), (L,)."""
    return aggregate_moments(mu, log_var)[1]


def loss_delta_reward(loss: float, previous: float, scale: float) -> float:
    """Reward of the original: ``R_t = -lambda (L_t - L_{t-1})``, for t > 1.

    Over a run it adds up to ``lambda (L_1 - L_T)`` whatever was done in between: most of what it pays for is the
    progress of gradient descent, which comes with every action (docs/vae_sac.md).

    Args:
        loss: L_t.
        previous: L_{t-1}.
        scale: lambda, positive.

    Raises:
        UserError: if a loss is not a number, or lambda is not positive.
    """
    check_lambda(scale)
    if not abs(loss) < float("inf"):
        raise UserError(f"the loss became {loss}: lower model.lr, or look at the data; no reward follows from it")
    return -scale * (loss - previous)


def check_lambda(scale: float) -> None:
    """Refuse a reward that would pay for getting worse.

    Raises:
        UserError: if lambda is not positive.
    """
    if not scale > 0.0:
        raise UserError(f"lambda must be positive, got {scale}: it weighs the fall of the loss as reward")

"""The temperature alpha: fixed, learnt as in SAC v2, or moved as printed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from handgen.sac import losses
from handgen.sac.equations import TemperatureStep
from handgen.sac.losses import Sign


class Temperature(nn.Module):
    """Weight of the entropy against the reward.

    Args:
        initial: alpha at the start.
        target_entropy: H in nats that the policy's entropy is steered to.
        learn: whether alpha moves at all.
        step: ``log`` (a gradient step of the optimiser on log alpha, down a loss of log alpha), ``alpha`` (the same,
            down a loss of alpha) or ``additive`` (a clipped step on alpha).
        sign: ``correct`` or ``printed``.
        lr: step size of the additive step.
        bounds: smallest and largest alpha of the additive step.
    """

    def __init__(
        self,
        initial: float,
        target_entropy: float,
        learn: bool = True,
        step: TemperatureStep = "log",
        sign: Sign = "correct",
        lr: float = 3e-4,
        bounds: tuple[float, float] = (1e-3, 10.0),
    ) -> None:
        super().__init__()
        self.target_entropy, self.sign, self.lr, self.bounds = target_entropy, sign, lr, bounds
        self.step = step
        self.by_gradient = learn and step in ("log", "alpha")
        self.by_addition = learn and step == "additive"
        self.log_alpha = nn.Parameter(torch.tensor(math.log(initial)), requires_grad=self.by_gradient)

    @property
    def value(self) -> Tensor:
        """Alpha as it is now, scalar without gradient."""
        return self.log_alpha.detach().exp()

    def loss(self, log_prob: Tensor) -> Tensor:
        """Loss of log alpha, for the optimiser.

        Args:
            log_prob: (B,), without gradient.
        """
        what = self.log_alpha if self.step == "log" else self.log_alpha.exp()
        return losses.temperature_loss(what, log_prob, self.target_entropy, self.sign)

    @torch.no_grad()
    def add(self, log_prob: Tensor) -> None:
        """Take the additive step; the same on every process, for no gradient is averaged here.

        Args:
            log_prob: (B,).
        """
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            log_prob = log_prob.mean()
            torch.distributed.all_reduce(log_prob)
            log_prob = log_prob / torch.distributed.get_world_size()
        alpha = losses.additive_temperature(self.value, log_prob, self.target_entropy, self.lr, self.bounds, self.sign)
        self.log_alpha.copy_(alpha.log())

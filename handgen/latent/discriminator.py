"""Tells the tuner's own samples from what training images give: the part of the reward that learns while it is hacked.

A fixed judge is soon fooled by whoever optimises it (Gao et al. 2023, arXiv:2210.10760). A discriminator that is
refreshed on the tuner's newest samples closes each loophole as it opens (Goodfellow et al. 2014, arXiv:1406.2661).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLIP = 6.0
"""Largest log-odds that count as reward: beyond it the discriminator is certain, and only its scale would grow."""


class Discriminator(nn.Module):
    """Perceptron from points (B, F) to log-odds (B,) of being real.

    Args:
        inputs: dimensions F of a point.
        width: hidden units of both layers.
    """

    def __init__(self, inputs: int, width: int = 256) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(inputs, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Map (B, F) to (B,)."""
        logits: Tensor = self.net(points)
        return logits.squeeze(-1)

    @torch.no_grad()
    def log_odds(self, points: Tensor) -> Tensor:
        """Log-odds of being real, clipped to +-`CLIP`, (B, F) to (B,): the reward ``log D / (1 - D)``.

        At the optimum of the discriminator this is the log-ratio of the two densities, so that its mean over the
        tuner's samples is minus the KL divergence from the tuner's distribution to the real one.
        """
        logits: Tensor = self(points)
        return logits.clamp(-CLIP, CLIP)


def discriminator_loss(real: Tensor, fake: Tensor, decay: float = 1e-3) -> Tensor:
    """Logistic loss, ``E[softplus(-D(real))] + E[softplus(D(fake))] + decay (E[D(real)^2] + E[D(fake)^2])``.

    The decay keeps the log-odds, which are the reward, from growing without end where the two sides are separable
    (the drift term of Karras et al. 2018, arXiv:1710.10196, appendix A.1).

    Args:
        real: (B,) log-odds of real points.
        fake: (B,) log-odds of the tuner's points.
        decay: weight of the squared log-odds.
    """
    logistic = F.softplus(-real).mean() + F.softplus(fake).mean()
    return logistic + decay * (real.square().mean() + fake.square().mean())

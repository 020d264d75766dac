"""Losses and rewards of painters and their discriminators, as pure functions of tensors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

# How near a painting is to a picture.


def pyramid_error(painted: Tensor, image: Tensor, levels: int = 4, coarse: float = 1.0) -> Tensor:
    """Mean squared error, and twice ``coarse`` that of both halved, halved again and so on, scalar.

    A stroke's edge is as wide as a pixel: only coarse pictures tell a stroke that misses its line where the line is.

    Args:
        painted: (B, C, H, W).
        image: of the same shape.
        levels: pictures of different sizes; 1 is the mean squared error.
        coarse: weight of the smaller ones.
    """
    difference = painted - image
    error = difference.square().mean()
    for _ in range(levels - 1):
        difference = F.avg_pool2d(difference, 2)
        error = error + 2.0 * coarse * difference.square().mean()
    return error


# What a painting is worth.


def credit(scores: Tensor) -> Tensor:
    """Rewards by temporal credit assignment: ``r_t = D(c_(t+1)) - D(c_t)`` (SPIRAL++, arXiv:1910.01007, section 3.2).

    Without discounting they sum to the last score less the first.

    Args:
        scores: (T + 1, B), of the canvases from the blank one to the finished one.

    Returns:
        (T, B).
    """
    return scores[1:] - scores[:-1]


def at_the_end(scores: Tensor) -> Tensor:
    """The last score as the last reward, 0 before (SPIRAL, arXiv:1804.01118, eq. 3); shapes as of `credit`."""
    rewards = torch.zeros_like(scores[1:])
    rewards[-1] = scores[-1]
    return rewards


def new_strokes(drawn: Tensor) -> Tensor:
    """Where a stroke begins that continues none, bool (T, B), from ``drawn`` bool (T, B)."""
    before = torch.cat([torch.zeros_like(drawn[:1]), drawn[:-1]])
    return drawn & ~before


# Learning from it.


def generalised_advantages(reward: Tensor, value: Tensor, gamma: float, trace: float) -> Tensor:
    """``A_t = sum_k (gamma lambda)^k delta_(t+k)``, ``delta_t = r_t + gamma V_(t+1) - V_t`` (Schulman et al. 2016).

    An episode ends with the last step: nothing is worth anything after it.

    Args:
        reward: (T, B).
        value: (T, B).
        gamma: discount.
        trace: lambda; 1 gives the return less the value.

    Returns:
        (T, B).
    """
    advantage, following = torch.zeros_like(reward), torch.zeros_like(reward[0])
    next_value = torch.zeros_like(reward[0])
    for step in range(len(reward) - 1, -1, -1):
        error = reward[step] + gamma * next_value - value[step]
        following = error + gamma * trace * following
        advantage[step], next_value = following, value[step]
    return advantage


def vtrace(
    log_ratio: Tensor,
    reward: Tensor,
    value: Tensor,
    gamma: float,
    trace: float = 1.0,
    clip_rho: float = 1.0,
    clip_c: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Value targets and advantages of data from an older policy (Espeholt et al. 2018, arXiv:1802.01561, eq. 1).

    With equal policies the targets are the discounted returns.

    Args:
        log_ratio: (T, B), log pi(a | s) of the policy less that of the one that acted.
        reward: (T, B).
        value: (T, B).
        gamma: discount.
        trace: lambda, a factor of what is passed back (remark 2 of the paper).
        clip_rho: largest importance weight of an error.
        clip_c: largest importance weight that is passed back.

    Returns:
        Targets and advantages, (T, B) each.
    """
    ratio = log_ratio.exp()
    rho, passed = ratio.clamp(max=clip_rho), trace * ratio.clamp(max=clip_c)
    next_value = torch.cat([value[1:], torch.zeros_like(value[:1])])
    error = rho * (reward + gamma * next_value - value)
    correction, following = torch.zeros_like(value), torch.zeros_like(value[0])
    for step in range(len(value) - 1, -1, -1):
        following = error[step] + gamma * passed[step] * following
        correction[step] = following
    target = value + correction
    next_target = torch.cat([target[1:], torch.zeros_like(value[:1])])
    return target, rho * (reward + gamma * next_target - value)


def less_group_mean(advantage: Tensor, group: int) -> Tensor:
    """Advantages (T, B) less their mean over the paintings of the same target, of which ``group`` stand side by side.

    What paintings of one target have in common says nothing about which of them was better: a baseline that no network
    has to learn (Shao et al. 2024, arXiv:2402.03300, section 4.1).
    """
    each = advantage.unflatten(1, (-1, group))
    less: Tensor = (each - each.mean(dim=2, keepdim=True)).flatten(1)
    return less


def clipped_policy_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """``-E[min(w A, clip(w, 1 - e, 1 + e) A)]``, ``w = pi / pi_old`` (PPO, Schulman et al. 2017, eq. 7), scalar.

    Args:
        log_prob: (N,) of whole actions.
        old_log_prob: (N,) when they were taken.
        advantage: (N,).
        clip: e.
    """
    ratio = (log_prob - old_log_prob).exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage).mean()


def policy_gradient_loss(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """``-E[log pi(a | s) A]`` (A2C, Mnih et al. 2016), scalar; (N,) each."""
    return -(log_prob * advantage).mean()


# The discriminator.


def wasserstein_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``E[D(fake)] - E[D(real)]`` of raw scores (Arjovsky et al. 2017), scalar."""
    return fake.mean() - real.mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """``E[(|grad D(x)|_2 - 1)^2]`` at ``x = share real + (1 - share) fake`` (WGAN-GP, Gulrajani et al. 2017, eq. 3).

    Args:
        critic: images (B, ...) to raw scores (B,).
        real: (B, ...).
        fake: (B, ...).
        share: (B,) uniform in [0, 1].
    """
    between = torch.lerp(fake, real, share.view(-1, *[1] * (real.dim() - 1))).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (gradient.flatten(1).norm(dim=1) - 1.0).square().mean()
    return penalty


def logistic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """``E[softplus(-D(real))] + E[softplus(D(fake))]`` of raw scores (Goodfellow et al. 2014), scalar."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()

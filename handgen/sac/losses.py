"""The losses of SAC as pure functions of tensors, each with its equation, beside the printed forms that differ.

Sources, by short name:

- **SAC v1**: Haarnoja et al., *Soft Actor-Critic*, ICML 2018, arXiv:1801.01290.
- **SAC v2**: Haarnoja et al., *Soft Actor-Critic Algorithms and Applications*, 2018, arXiv:1812.05905.
- **the printed equations 1-4**: those of the work this suite started from (docs/sac.md shows them and what differs).

Shapes: B transitions, C critics, K candidate actions, n steps. Actions lie in (-1, 1), densities are over that box.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Sign = Literal["correct", "printed"]


def n_step_return(reward: Tensor, counted: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """Sum of discounted rewards up to the end of the window or of the episode, and the discount that follows it.

    Args:
        reward: (B, n) of n consecutive decisions.
        counted: bool (B, n), false after the end of the episode; the first is always true.
        gamma: discount per decision.

    Returns:
        ``sum_k gamma^k r_k`` (B,) and ``gamma^m`` (B,), with m the number of rewards counted.
    """
    weight = gamma ** torch.arange(reward.shape[1], device=reward.device) * counted
    return (reward * weight).sum(1), gamma ** counted.sum(1).to(reward.dtype)


def soft_value(q: Tensor, log_prob: Tensor, temperature: Tensor) -> Tensor:
    """Soft state value of one sampled action, SAC v2 eq. 3, with the smaller of the critics (section 6 there).

    ``V(s) = min_j Q_j(s, a) - alpha log pi(a | s)``, a ~ pi.

    Args:
        q: (C, B).
        log_prob: (B,) in nats.
        temperature: scalar alpha.
    """
    return q.amin(0) - temperature * log_prob


def td_target(reward: Tensor, discount: Tensor, terminated: Tensor, next_value: Tensor) -> Tensor:
    """Target of the critics, SAC v2 inside eq. 5: ``y = r + gamma (1 - d) V(s')``.

    Args:
        reward: (B,), over one or several steps.
        discount: (B,), gamma to the number of these steps.
        terminated: bool (B,); true where the episode ended by itself. Where a time limit cut it off, it went on.
        next_value: (B,) soft value of the state after them.
    """
    return reward + discount * ~terminated * next_value


def td_target_undiscounted_bonus(
    reward: Tensor, discount: Tensor, terminated: Tensor, next_q: Tensor, next_log_prob: Tensor, temperature: Tensor
) -> Tensor:
    """Printed eq. 1 read literally: ``y = r + gamma (1 - d) Q(s', a') - (1 - d) alpha log pi(a' | s')``.

    In SAC v2 gamma multiplies the entropy bonus too; without it the soft value counts 1 / gamma of the entropy.

    Args:
        reward: (B,).
        discount: (B,).
        terminated: bool (B,). The printed equation knows no end of episodes; a bootstrap beyond it is left out here.
        next_q: (B,).
        next_log_prob: (B,).
        temperature: scalar alpha.
    """
    return reward + ~terminated * (discount * next_q - temperature * next_log_prob)


def minimum_over_actions(q: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
    """Printed eq. 1: ``min_a' Q(s', a')`` over sampled actions, where SAC v2 takes the minimum over two critics.

    The support of the policy is the whole box of actions, so that the minimum over K samples falls towards the
    minimum over all actions as K grows: the value of the worst action.

    Args:
        q: (K, B), of K sampled actions each.
        log_prob: (K, B).

    Returns:
        The smallest Q value (B,) and the log-density of that action (B,).
    """
    smallest, which = q.min(0)
    return smallest, log_prob.gather(0, which[None])[0]


def critic_loss(q: Tensor, target: Tensor) -> Tensor:
    """Soft Bellman residual, SAC v2 eq. 5, added up over the critics: ``sum_j E[(Q_j(s, a) - y)^2 / 2]``.

    Args:
        q: (C, B).
        target: (B,), without gradient.
    """
    return 0.5 * (q - target).square().mean(1).sum()


def actor_loss(log_prob: Tensor, q: Tensor, temperature: Tensor) -> Tensor:
    """Policy objective, SAC v2 eq. 9 and printed eq. 3: ``E[alpha log pi(a | s) - min_j Q_j(s, a)]``.

    Args:
        log_prob: (B,) of reparameterised actions.
        q: (C, B) of the same actions, from critics that get no gradient.
        temperature: scalar alpha, without gradient.
    """
    return (temperature * log_prob - q.amin(0)).mean()


def value_loss(value: Tensor, soft: Tensor) -> Tensor:
    """Squared residual of the value network, SAC v1 eq. 5: ``E[(V(s) - (min_j Q_j(s, a) - alpha log pi))^2 / 2]``.

    Args:
        value: (B,).
        soft: (B,), `soft_value` of the same states, without gradient.
    """
    return 0.5 * (value - soft).square().mean()


def value_loss_kl(log_prob: Tensor, q: Tensor, temperature: Tensor) -> Tensor:
    """Printed eq. 2, the "value loss": ``KL(pi(. | s) || exp(Q(s, .) / alpha))``, estimated from one action.

    That is the *policy* objective (SAC v1 eq. 10), and the density on its right is not normalised (log Z is
    missing). No parameter of a value network stands in it: its gradient there is zero, and V stays as it began.

    Args:
        log_prob: (B,).
        q: (C, B) of the same actions.
        temperature: scalar alpha.
    """
    return (log_prob - q.amin(0) / temperature).mean()


def temperature_loss(
    log_temperature: Tensor, log_prob: Tensor, target_entropy: float, sign: Sign = "correct"
) -> Tensor:
    """Temperature objective, SAC v2 eq. 18, for log alpha: ``E[-log alpha (log pi(a | s) + H)]``; or alpha, as printed.

    Where the policy has less entropy than H, alpha grows. ``printed`` is the sign of printed eq. 4: alpha grows
    where there is too *much* entropy, which makes more of it.

    Args:
        log_temperature: scalar log alpha, in place of alpha as in the authors' code; or alpha itself.
        log_prob: (B,), without gradient.
        target_entropy: H in nats.
        sign: ``correct`` or ``printed``.
    """
    loss = -log_temperature * (log_prob + target_entropy).mean()
    return loss if sign == "correct" else -loss


def additive_temperature(
    temperature: Tensor,
    log_prob: Tensor,
    target_entropy: float,
    lr: float,
    bounds: tuple[float, float],
    sign: Sign = "printed",
) -> Tensor:
    """Printed eq. 4, brackets repaired: ``alpha <- clip(alpha + lr (E[-log pi(a | s)] - H))``.

    A step on alpha itself and not on its logarithm, so that only the clipping keeps it positive.

    Args:
        temperature: scalar alpha.
        log_prob: (B,).
        target_entropy: H in nats.
        lr: step size eta.
        bounds: alpha's smallest and largest value.
        sign: ``printed`` (too much entropy raises alpha) or ``correct``.

    Returns:
        The new alpha, scalar.
    """
    step = lr * (-log_prob.mean() - target_entropy)
    return (temperature + (step if sign == "printed" else -step)).clamp(*bounds)

"""What a policy learns from paintings that it made, by PPO or by A2C with V-trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from handgen.painter import losses
from handgen.painter.policy import Decided, Policy
from handgen.painter.rollout import Rollout

Settings = Mapping[str, Any]


@torch.no_grad()
def advantages(policy: Policy, rollout: Rollout, reward: Tensor, h: Settings) -> tuple[Tensor, Tensor]:
    """Advantages, normalised over the batch, and targets of the value, (T, B) each.

    PPO's are generalised advantages. A2C's are V-trace's, weighted by how much likelier the policy, which may have
    moved since, would take each action now.

    Args:
        policy: as it is now.
        rollout: B paintings.
        reward: (T, B).
        h: settings of the painter.
    """
    now = policy(rollout.seen(), actions=rollout.actions, temperature=h["temperature"])
    if h["algorithm"] == "a2c":
        log_ratio = now.log_prob.sum(-1) - rollout.log_prob
        returns, advantage = losses.vtrace(log_ratio, reward, now.value, h["gamma"], h["trace"])
    else:
        advantage = losses.generalised_advantages(reward, now.value, h["gamma"], h["trace"])
        returns = advantage + now.value
    if h["paintings_of_a_target"] > 1:
        advantage = losses.less_group_mean(advantage, h["paintings_of_a_target"])
    return (advantage - advantage.mean()) / advantage.std().clamp(min=1e-6), returns


def policy_loss(decided: Decided, old_log_prob: Tensor, advantage: Tensor, h: Settings) -> Tensor:
    """What a policy loses, less what its entropy is worth, scalar.

    Args:
        decided: of N paintings, teacher-forced.
        old_log_prob: (T, N), when the actions were taken.
        advantage: (T, N).
        h: settings of the painter.
    """
    log_prob = decided.log_prob.sum(-1)
    if h["algorithm"] == "ppo":
        loss = losses.clipped_policy_loss(log_prob, old_log_prob, advantage, h["clip"])
    else:
        loss = losses.policy_gradient_loss(log_prob, advantage)
    entropy: Tensor = decided.entropy.sum(-1).mean()
    return loss - float(h["entropy_weight"]) * entropy

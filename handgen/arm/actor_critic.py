"""The original's first script: an online actor-critic on MobileNetV2 features, as a LightningModule."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import functional as F

from handgen.arm.body import HIGH, JOINTS, LOW
from handgen.arm.geometry import actions_of
from handgen.arm.mobilenet import FEATURES, MobileNetV2, calibrate
from handgen.errors import check_ranges
from handgen.results import Measurement
from handgen.sac.networks import mlp

Batch = dict[str, Any]
SMALLEST_SIGMA = 1e-4
HIDDEN = (128, 32)
CALIBRATION = 64
"""Pictures that set the means and variances of a random trunk's batch normalisation."""


def td_error(reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """``delta = r + gamma (1 - d) V(s') - V(s)``, the error of TD(0) (Sutton and Barto 2018, eq. 6.5), (B,)."""
    return reward + gamma * (~terminated) * next_value - value


def policy_gradient_loss(log_prob: Tensor, delta: Tensor) -> Tensor:
    """``E[-log pi(a|s) delta]`` (Sutton and Barto 2018, section 13.5), delta without gradient."""
    return -(log_prob * delta.detach()).mean()


class ArmActorCritic(LightningModule):
    """Online TD(0) actor-critic with two heads, as in the first script of *Hand Imitation* (hex-plex 2020).

    ``N(mu, softplus(sigma))`` over joint angles, clipped to their ranges; each transition is learnt from once, when it
    happens. Differences from the original, numbered as in docs/arm.md:

    1. Several arms act side by side; their gradients are averaged.
    2. The trunk is randomly initialised unless a weights file is given: ImageNet's weights are not shipped. The batch
       normalisation of a random one is set by pictures of the feed before the first update, and stays as it is.
    3. Rewards are divided by ``reward_scale``; minus hundreds of pixels would saturate every head.

    Batches hold ``obs`` and ``next_obs`` uint8 (N, 3, H, 2 H), ``action`` (N, 12) in [-1, 1], ``reward`` (N, 1),
    ``terminated`` bool (N,) and ``env_steps``, as from :class:`handgen.datamodules.arm_rollouts.ArmRollouts` with
    ``newest_only``.

    Args:
        weights: file of MobileNetV2's weights; None draws random ones.
        freeze: leave the trunk as it is, as published.
        actor_lr: learning rate of Adam for the actor's head (and the trunk, where it learns); critic_lr: the critic's.
        gamma: discount per decision.
        reward_scale: see 3.
    """

    env_steps: Tensor

    def __init__(
        self,
        weights: str | None = None,
        freeze: bool = True,
        actor_lr: float = 1e-4,
        critic_lr: float = 1e-3,
        gamma: float = 0.99,
        reward_scale: float = 300.0,
    ) -> None:
        super().__init__()
        check_ranges(
            actor_lr=(actor_lr, 0.0 < actor_lr < math.inf, "be positive"),
            critic_lr=(critic_lr, 0.0 < critic_lr < math.inf, "be positive"),
            gamma=(gamma, 0.0 <= gamma <= 1.0, "lie in [0, 1]"),
            reward_scale=(reward_scale, reward_scale > 0.0, "be positive"),
        )
        self.save_hyperparameters()
        self.trunk = MobileNetV2(weights).requires_grad_(not freeze)
        self.actor = mlp([FEATURES, *HIDDEN, 2 * len(JOINTS)])
        self.critic = mlp([FEATURES, *HIDDEN, 1])
        self.register_buffer("low", torch.tensor(LOW), persistent=False)
        self.register_buffer("high", torch.tensor(HIGH), persistent=False)
        self.register_buffer("env_steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("calibrated", torch.tensor(weights is not None))
        self.eval_returns = torch.empty(0)
        self.measurements: list[Measurement] = []

    low: Tensor
    high: Tensor
    calibrated: Tensor

    # Use.

    def on_fit_start(self) -> None:
        """Show a random trunk some pictures of the feed, once: its normalisation is part of the checkpoint."""
        if not self.calibrated:
            source: Any = self.trainer.datamodule  # type: ignore[attr-defined]
            self.calibrate(source.pictures(CALIBRATION).to(self.device))

    def calibrate(self, obs: Tensor) -> None:
        """Set the trunk's batch normalisation by observations uint8 (N, 3, H, 2 H)."""
        calibrate(self.trunk, obs.float() / 255.0)
        self.calibrated.fill_(True)

    def features(self, obs: Tensor) -> Tensor:
        """Pictures uint8 (N, 3, H, 2 H) to features (N, 1280).

        The trunk stays in evaluation mode, also where it learns: the statistics of the few newest pictures are no
        normalisation, and a policy that acts on others than it learns with is another one.
        """
        self.trunk.eval()
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.hparams["freeze"]):
            features: Tensor = self.trunk(obs.float() / 255.0)
        return features

    def policy(self, features: Tensor) -> torch.distributions.Normal:
        """The distribution of joint angles (N, 12) in radians, before they are clipped."""
        mu, sigma = self.actor(features).chunk(2, dim=-1)
        return torch.distributions.Normal(mu, F.softplus(sigma) + SMALLEST_SIGMA, validate_args=False)

    @torch.no_grad()
    def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        """Choose actions.

        Args:
            obs: uint8 (N, 3, H, 2 H).
            deterministic: take the mean.

        Returns:
            (N, 12) in [-1, 1].
        """
        policy = self.policy(self.features(obs))
        joints = policy.mean if deterministic else policy.sample()
        return actions_of(torch.minimum(torch.maximum(joints, self.low), self.high))

    # Training.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update on the newest transitions."""
        self.env_steps.fill_(batch["env_steps"])
        features = self.features(batch["obs"])
        with torch.no_grad():
            next_value = self.critic(self.features(batch["next_obs"]))[:, 0]
        reward = batch["reward"][:, 0] / self.hparams["reward_scale"]
        delta = td_error(reward, self.critic(features)[:, 0], next_value, batch["terminated"], self.hparams["gamma"])
        joints = self.low + (self.high - self.low) * (batch["action"] + 1.0) / 2.0
        log_prob = self.policy(features).log_prob(joints).sum(-1)
        losses = {"critic": delta.square().mean(), "actor": policy_gradient_loss(log_prob, delta)}
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self.log_dict({f"loss/{name}": value.detach() for name, value in losses.items()})
            self.log("train/reward", batch["reward"].mean())
        return losses["critic"] + losses["actor"]

    # Evaluation, on episodes of the mean action.

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log ``eval/return`` and ``eval/episode_length``."""
        self.eval_returns = self.all_gather(batch["episode_return"]).flatten()  # type: ignore[union-attr]
        self.log("eval/return", batch["episode_return"].mean(), sync_dist=True, prog_bar=True, batch_size=1)
        self.log("eval/episode_length", batch["episode_length"].mean(), sync_dist=True, batch_size=1)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure nothing: returns are of all feeds together, and `ArmEvaluation` tells these apart."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam with a group for each head: their losses move no parameter of the other."""
        groups: list[dict[str, Any]] = [
            {"name": "actor", "params": [*self.actor.parameters()], "lr": self.hparams["actor_lr"]},
            {"name": "critic", "params": [*self.critic.parameters()], "lr": self.hparams["critic_lr"]},
        ]
        if not self.hparams["freeze"]:
            groups.append({"name": "trunk", "params": [*self.trunk.parameters()], "lr": self.hparams["actor_lr"]})
        return torch.optim.Adam(groups)

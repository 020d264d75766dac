"""Soft actor-critic as a LightningModule."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from handgen.episodes import return_measurement
from handgen.errors import check_at_least, check_positive, check_ranges
from handgen.results import Measurement
from handgen.sac import losses
from handgen.sac.equations import (
    Bootstrap,
    EntropyBonus,
    TargetMinimum,
    TemperatureStep,
    ValueLoss,
    Variant,
    choose_equations,
)
from handgen.sac.fresh_starts import FreshStarts
from handgen.sac.losses import Sign
from handgen.sac.networks import Actor, Critics, Value, ValueNetworks, polyak_update
from handgen.sac.temperature import Temperature

Batch = dict[str, Any]
DelaysCount = Literal["updates", "decisions"]


class SAC(FreshStarts):
    """Soft actor-critic: Haarnoja et al. 2018 (SAC v2, arXiv:1812.05905; v1, arXiv:1801.01290).

    Minimises the sum of the terms that one batch gives, each of which moves its own parameters only::

        sum_j E[(Q_j(s, a) - y)^2 / 2]                         critics      v2 eq. 5
        E[alpha log pi(a' | s) - min_j Q_j(s, a')]             actor        v2 eq. 9, critics frozen
        E[-log alpha (log pi(a' | s) + H)]                     temperature  v2 eq. 18

    with ``y = r + gamma (1 - d) (min_j Q_target_j(s', a'') - alpha log pi(a'' | s'))``. ``variant: seed`` takes the
    printed equations of the work this suite started from instead; each deviation is a flag (docs/sac.md).
    Differences from the papers, numbered as there:

    1. One optimiser steps all terms at once: the actor's term sees the critics before their step, not after it.
    2. The log standard deviation is kept in its bounds by tanh instead of clipping.
    3. Rewards may be summed over several steps (``n_step`` of the data), without the entropy of those in between.

    A batch holds ``obs`` (B, ...), ``action`` (B, A) in [-1, 1], ``reward`` (B, n), ``counted`` bool (B, n) (which of
    these belong to the episode), ``next_obs`` (B, ...) after them, ``terminated`` bool (B,) and ``env_steps``, the
    environment steps taken so far. Evaluation batches hold ``episode_return`` and ``episode_length`` (n,).

    Args:
        obs_dim: length of an observation vector; with an encoder, unused.
        action_dim: number of actions A.
        hidden_dims: hidden units of each layer of actor, critics and value network.
        encoder: turns observations into (B, F) features and has an attribute ``feature_dim``; trained by the critics'
            loss (and `auxiliary_losses`), never by the actor's. None takes the observation as it is.
        trunk: makes the layers after the encoder that actor and critics have one each of, trained by their own losses:
            (B, F) to (B, ``feature_dim``). None has none.
        variant: ``sac`` or ``seed``, the preset of the flags below.
        gamma: discount per decision; 0 is a bandit and leaves the bootstrap out.
        tau: share of the critics in one step of their targets.
        encoder_tau: the same for encoder and trunk; default ``tau``.
        lr: learning rate of Adam.
        actor_lr: that of the actor, if different; critic_lr: of critics, value and encoder; temperature_lr: of alpha.
        initial_temperature: alpha at the start.
        learn_temperature: whether alpha moves.
        temperature_beta1: Adam's first decay rate for alpha; SAC+AE takes 0.5.
        temperature_bounds: smallest and largest alpha of the additive step.
        target_entropy: H in nats; default minus the number of actions.
        log_std_bounds: range of the log standard deviation before the tanh.
        actor_every_updates: updates between two of actor and temperature.
        target_every_updates: updates between two of the target networks.
        delays_count: what these two count, ``updates`` or ``decisions``: while updates are made up for the random
            decisions, the count of decisions stands still.
        target_actions: actions sampled for ``target_minimum: actions``.
        target_minimum: ``critics`` or ``actions``; None leaves this and the following to the variant.
        entropy_bonus: ``discounted`` or ``undiscounted``.
        bootstrap: ``critics`` or ``value``.
        value_loss: ``none``, ``squared`` or ``kl``.
        temperature_step: ``log``, ``alpha`` or ``additive``.
        temperature_sign: ``correct`` or ``printed``.
        critics: number of critics.
        critic_layer_norm: normalise the critics' hidden layers, for several updates a decision.
        mean_actor_tau: share of the actor in one step of the running mean of its weights, which then acts wherever
            the mean action is asked for (Polyak and Juditsky 1992); 1/n after the first n updates, where that is
            more, as the weights that were drawn at random are no part of it. None asks the actor itself.
        resets_env_steps: environment steps after which actor and critics start anew from random weights, on the replay
            as it is (Nikishin et al. 2022, arXiv:2205.07802): an agent that has settled on its first successes, and
            would need very long to better them, learns more from the same experience when it comes to it fresh.
    """

    env_steps: Tensor

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        hidden_dims: tuple[int, ...] = (256, 256),
        encoder: nn.Module | None = None,
        trunk: Callable[[], nn.Module] | None = None,
        variant: Variant = "sac",
        gamma: float = 0.99,
        tau: float = 0.005,
        encoder_tau: float | None = None,
        lr: float = 3e-4,
        actor_lr: float | None = None,
        critic_lr: float | None = None,
        temperature_lr: float | None = None,
        initial_temperature: float = 1.0,
        learn_temperature: bool = True,
        temperature_beta1: float = 0.9,
        temperature_bounds: tuple[float, float] = (1e-3, 10.0),
        target_entropy: float | None = None,
        log_std_bounds: tuple[float, float] = (-5.0, 2.0),
        actor_every_updates: int = 1,
        target_every_updates: int = 1,
        delays_count: DelaysCount = "updates",
        target_actions: int = 10,
        target_minimum: TargetMinimum | None = None,
        entropy_bonus: EntropyBonus | None = None,
        bootstrap: Bootstrap | None = None,
        value_loss: ValueLoss | None = None,
        temperature_step: TemperatureStep | None = None,
        temperature_sign: Sign | None = None,
        critics: int | None = None,
        critic_layer_norm: bool = False,
        mean_actor_tau: float | None = None,
        resets_env_steps: Sequence[int] = (),
    ) -> None:
        super().__init__()
        check_ranges(
            gamma=(gamma, 0.0 <= gamma <= 1.0, "lie in [0, 1]"),
            tau=(tau, 0.0 < tau <= 1.0, "lie in (0, 1]"),
            encoder_tau=(encoder_tau, encoder_tau is None or 0.0 < encoder_tau <= 1.0, "lie in (0, 1]"),
            log_std_bounds=(log_std_bounds, log_std_bounds[0] < log_std_bounds[1], "rise"),
            mean_actor_tau=(mean_actor_tau, mean_actor_tau is None or 0.0 < mean_actor_tau <= 1.0, "lie in (0, 1]"),
            resets_env_steps=(
                list(resets_env_steps),
                sorted(resets_env_steps) == list(resets_env_steps) and all(steps > 0 for steps in resets_env_steps),
                "be positive and in order",
            ),
        )
        check_positive(lr=lr, actor_lr=actor_lr, critic_lr=critic_lr, temperature_lr=temperature_lr)
        check_positive(initial_temperature=initial_temperature)
        check_at_least(1, actor_every_updates=actor_every_updates, target_every_updates=target_every_updates)
        self.save_hyperparameters(ignore=["encoder", "trunk"])
        self.seed = torch.initial_seed()  # the run's, the same in all processes
        self.equations = choose_equations(
            variant,
            target_minimum=target_minimum,
            entropy_bonus=entropy_bonus,
            bootstrap=bootstrap,
            value_loss=value_loss,
            temperature_step=temperature_step,
            temperature_sign=temperature_sign,
            critics=critics,
        )
        shared = int(encoder.feature_dim) if encoder is not None else obs_dim  # type: ignore[arg-type]
        own, critics_own = (trunk(), trunk()) if trunk is not None else (None, None)
        features = int(own.feature_dim) if own is not None else shared  # type: ignore[arg-type]
        self.actor = Actor(features, action_dim, hidden_dims, log_std_bounds, own)
        value = Value(features, hidden_dims) if self.equations.value_loss != "none" else None
        if value is not None and self.equations.value_loss == "kl":
            value.requires_grad_(False)  # no gradient can reach it: losses.value_loss_kl
        self.online = ValueNetworks(
            encoder if encoder is not None else nn.Identity(),
            Critics(features, action_dim, hidden_dims, self.equations.critics, critic_layer_norm),
            value,
            critics_own,
        )
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.mean_actor = None if mean_actor_tau is None else copy.deepcopy(self.actor).requires_grad_(False)
        self.temperature = Temperature(
            initial_temperature,
            -float(action_dim) if target_entropy is None else target_entropy,
            learn_temperature,
            self.equations.temperature_step,
            self.equations.temperature_sign,
            temperature_lr or lr,
            temperature_bounds,
        )
        self.register_buffer("env_steps", torch.zeros((), dtype=torch.int64))
        self.averaged_updates = 0
        self.decisions = 0
        self.eval_returns = torch.empty(0)
        self.measurements: list[Measurement] = []

    # Use.

    @property
    def label(self) -> str:
        """The variant with its deviations, which tells the records of different forms apart."""
        return self.equations.label

    @torch.no_grad()
    def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        """Choose actions.

        Args:
            obs: (N, ...).
            deterministic: take the squashed mean instead of a sample.

        Returns:
            (N, A) in [-1, 1].
        """
        actor = self.mean_actor if deterministic and self.mean_actor is not None else self.actor
        return actor.act(self.online.encoder(obs), deterministic)

    def forward(self, obs: Tensor) -> Tensor:
        """The action to take when nothing more is to be learnt: the squashed mean, (N, ...) to (N, A)."""
        return self.act(obs, deterministic=True)

    # Training.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update on a batch of transitions."""
        self.begin_update(batch)
        temperature = self.temperature.value  # of before this update, in all terms
        terms, shared, features = self.critic_losses(batch, temperature)
        if self.moves_actor:
            terms |= self.policy_losses(shared.detach(), features.detach(), temperature)
        terms |= self.auxiliary_losses(batch, shared)
        self.log_terms(terms)
        return total(terms)

    def begin_update(self, batch: Batch) -> None:
        """Start anew where that is due, and note how many decisions there were."""
        if self._starts_anew(batch["env_steps"]):
            self.start_anew()
        self.decisions = batch.get("decisions", 0)

    @property
    def turn(self) -> int:
        """What tells whose turn it is: updates before this one, or decisions before it."""
        return self.global_step if self.hparams["delays_count"] == "updates" else self.decisions

    @property
    def moves_actor(self) -> bool:
        """Whether it is the turn of actor and temperature."""
        return bool(self.turn % self.hparams["actor_every_updates"] == 0)

    def critic_losses(self, batch: Batch, temperature: Tensor) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """The critics' term, and what encoder (B, E) and critics' trunk (B, F) make of the observations.

        Args:
            batch: transitions.
            temperature: scalar alpha.
        """
        shared = self.online.encoder(batch["obs"])
        features = self.online.trunk(shared)
        q = self.online.critics(features, batch["action"])
        if self.logs_now:
            self.log("train/q", q.detach().mean())
            self.log("train/temperature", temperature)
        return {"critic": losses.critic_loss(q, self.td_target(batch, temperature))}, shared, features

    def log_terms(self, terms: dict[str, Tensor]) -> None:
        """Log the terms of the loss, where it is their turn."""
        if self.logs_now:
            self.log_dict({f"loss/{name}": value.detach() for name, value in terms.items()})

    @property
    def logs_now(self) -> bool:
        """Whether the loggers take what this update logs; logging every update would cost a tenth of its time."""
        return (self.global_step + 1) % self.trainer.log_every_n_steps == 0  # type: ignore[attr-defined, no-any-return]

    @torch.no_grad()
    def td_target(self, batch: Batch, temperature: Tensor) -> Tensor:
        """What the critics are regressed to, (B,); all forms of it are in :mod:`handgen.sac.losses`.

        Args:
            batch: transitions.
            temperature: scalar alpha.
        """
        reward, discount = losses.n_step_return(batch["reward"], batch["counted"], self.hparams["gamma"])
        if self.hparams["gamma"] == 0.0:
            return reward
        terminated, next_obs = batch["terminated"], batch["next_obs"]
        features = self.target.trunk(self.target.encoder(next_obs))
        if self.equations.bootstrap == "value":
            return losses.td_target(reward, discount, terminated, self.target.state_value(features))
        next_q, log_prob = self.next_values(self.online.encoder(next_obs), features)
        if self.equations.entropy_bonus == "undiscounted":
            return losses.td_target_undiscounted_bonus(reward, discount, terminated, next_q, log_prob, temperature)
        return losses.td_target(reward, discount, terminated, losses.soft_value(next_q[None], log_prob, temperature))

    def next_values(self, shared: Tensor, target_features: Tensor) -> tuple[Tensor, Tensor]:
        """Value of the next action by the target critics, and its log-density.

        Args:
            shared: (B, E) of the next states, for the policy.
            target_features: (B, F) of the same, by the target encoder and trunk.

        Returns:
            (B,) each.
        """
        if self.equations.target_minimum == "critics":
            action, log_prob = self.actor.sample(shared)
            return self.target.critics(target_features, action).amin(0), log_prob
        count, rows = self.hparams["target_actions"], len(shared)
        action, log_prob = self.actor.sample(shared.expand(count, -1, -1))
        q = self.target.critics(target_features.repeat(count, 1), action.flatten(0, 1))
        return losses.minimum_over_actions(q.mean(0).view(count, rows), log_prob)

    def policy_losses(self, shared: Tensor, features: Tensor, temperature: Tensor) -> dict[str, Tensor]:
        """Terms of actor, temperature and value network, which share one sampled action for each state.

        Args:
            shared: (B, E) for the actor, without gradient.
            features: (B, F) for the critics, without gradient.
            temperature: scalar alpha.
        """
        mean, log_std = self.actor(shared)
        action, log_prob = self.actor.drawn(mean, log_std)
        q = self.online.critics(features, action, frozen=True)
        terms = {"actor": losses.actor_loss(log_prob, q, temperature)}
        fixed_q, fixed_log_prob = q.detach(), log_prob.detach()
        if self.temperature.by_gradient:
            terms["temperature"] = self.temperature.loss(fixed_log_prob)
        if self.temperature.by_addition:
            self.temperature.add(fixed_log_prob)
        if self.equations.value_loss == "squared":
            soft = losses.soft_value(fixed_q, fixed_log_prob, temperature)
            terms["value"] = losses.value_loss(self.online.state_value(features), soft)
        if self.equations.value_loss == "kl":
            terms["value"] = losses.value_loss_kl(fixed_log_prob, fixed_q, temperature)
        if self.logs_now:
            self.log("train/entropy", -fixed_log_prob.mean())
        return terms | self.mean_losses(mean, shared)

    def mean_losses(self, mean: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """Further terms of the actor's mean before the tanh, (B, A), on what it was given (B, E); none here."""
        del mean, shared
        return {}

    def auxiliary_losses(self, batch: Batch, shared: Tensor) -> dict[str, Tensor]:
        """Further terms for the encoder, for agents that learn from pixels; none here.

        Args:
            batch: transitions.
            shared: (B, E), what the encoder makes of ``batch["obs"]``, with gradient.
        """
        del batch, shared
        return {}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the target networks (SAC v2, algorithm 1).

        It is done here rather than in ``on_train_batch_end`` because callbacks run before the module there,
        and a checkpoint would hold the targets of the step before.
        """
        turn = self.turn
        super().optimizer_step(*args, **kwargs)
        self.follow(turn)

    def follow(self, turn: int) -> None:
        """Move the running mean of the actor and, where it is their turn, the target networks.

        Args:
            turn: as it was before the update.
        """
        if self.mean_actor is not None:
            self.averaged_updates += 1  # the plain mean at first, which forgets the weights that were drawn
            polyak_update(self.mean_actor, self.actor, max(self.hparams["mean_actor_tau"], 1 / self.averaged_updates))
        if turn % self.hparams["target_every_updates"] == 0:
            tau = self.hparams["tau"]
            encoder_tau = self.hparams["encoder_tau"] or tau
            polyak_update(self.target.encoder, self.online.encoder, encoder_tau)
            polyak_update(self.target.trunk, self.online.trunk, encoder_tau)
            polyak_update(self.target.critics, self.online.critics, tau)
            if self.online.value is not None and self.target.value is not None:
                polyak_update(self.target.value, self.online.value, tau)

    # Resuming.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how many updates the mean of the actor is taken over."""
        checkpoint["averaged_updates"] = self.averaged_updates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up; earlier versions had none, and moved the mean at one rate all the time."""
        self.averaged_updates = checkpoint.get("averaged_updates", sys.maxsize)

    # Evaluation, on episodes of the mean action.

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log ``eval/return`` and ``eval/episode_length``."""
        self.eval_returns = self.all_gather(batch["episode_return"]).flatten()  # type: ignore[union-attr]
        count = len(batch["episode_return"])
        for name in ("return", "episode_length"):
            values = batch["episode_return" if name == "return" else name]
            self.log(f"eval/{name}", values.mean(), batch_size=count, sync_dist=True, prog_bar=name == "return")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure ``return@STEPS`` for ``result.json``."""
        returns = self.all_gather(batch["episode_return"]).flatten()  # type: ignore[union-attr]
        self.measurements = [return_measurement(returns, int(self.env_steps), self.label)]

    # Optimisation.

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Named groups of the optimiser; a group whose term is left out has no gradient and stays as it is."""
        h = self.hparams
        groups: list[tuple[str, nn.Module, float | None]] = [
            ("actor", self.actor, h["actor_lr"]),
            ("critic", self.online, h["critic_lr"]),
            ("temperature", self.temperature, h["temperature_lr"]),
        ]
        trained = [
            {"name": name, "lr": lr or h["lr"], "params": [p for p in module.parameters() if p.requires_grad]}
            for name, module, lr in groups
        ]
        trained[2]["betas"] = (h["temperature_beta1"], 0.999)
        return [group for group in trained if group["params"]]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One Adam over all groups; fused, which takes a tenth off an update of small networks on a CPU."""
        return torch.optim.Adam(self.parameter_groups(), fused=True)


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum of those terms that move anything, scalar."""
    return torch.stack([term for term in terms.values() if term.requires_grad]).sum()

"""SPIRAL as a LightningModule: a painter that learns to write programs of strokes, improved by an adversary."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.errors import UserError, check_ranges
from handgen.painter import losses
from handgen.painter.actions import FLAG, action_table
from handgen.painter.discriminator import Discriminator
from handgen.painter.fit import StrokeNet, paint_strokes, to_actions
from handgen.painter.gallery import write_paintings
from handgen.painter.policy import NOISE, Policy, Size
from handgen.painter.rollout import Rollout, paint_freely
from handgen.painter.world import CHANNELS
from handgen.painter.worlds import World, make_world
from handgen.precision import Compute, autocast
from handgen.random_state import seeded

Batch = dict[str, Any]
BLANK = 0.999
"""Mean brightness from which a canvas counts as blank."""


class Painter(LightningModule):
    """Image-maker method: SPIRAL, Ganin et al. 2018 (arXiv:1804.01118), with SPIRAL++ (arXiv:1910.01007).

    Three stages, each of which a batch belongs to:

    1. ``fit``: a network turns pictures into strokes, learnt through the differentiable brush by the squared error.
    2. ``distill``: the policy learns to write these strokes, as programs, by their cross-entropy.
    3. ``rl``: the policy paints, a discriminator tells paintings from pictures, and its score is the reward::

           r_t = D(c_(t+1)) - D(c_t) - new_stroke_penalty [a stroke begins] - blank_penalty [T, canvas blank]

       The policy follows PPO or A2C, the discriminator WGAN-GP or the logistic loss with spectral normalisation.

    ``fit`` and ``distill`` are ours; without their updates (``data.fit_updates=0``, ``data.distill_updates=0``) the
    method is the papers'. docs/spiral.md lists all differences.

    Args:
        table: what an action is, a preset of `handgen.painter.actions`.
        image_size: height and width of canvases in pixels.
        channels: 1 (grey) or 3.
        length: T, actions of a painting.
        strokes: strokes of the fitted programs.
        conditional: paint a given picture instead of whatever looks like one.
        blind: never look at the canvas.
        policy_size: ``paper`` or ``fast``.
        width: hidden units of the policy's memory.
        adversary: ``wgan_gp`` or ``spectral``.
        discriminator_width: channels of the discriminator's first layer.
        discriminator_updates: of the discriminator for each batch of paintings.
        reward: ``discriminator``, or ``l2``: less the mean squared error from the target (conditional painters only).
        credit: ``difference`` rewards each action by what it changes (SPIRAL++), ``end`` only the last (SPIRAL).
        complement: show the discriminator half of the target and half of the painting (SPIRAL++, section 3.3).
        joint: show the discriminator programs beside their pictures: of paintings those that made them, of real
            pictures those fitted to them (with ``adversary=spectral``).
        algorithm: ``ppo`` or ``a2c``.
        policy_epochs: passes over a batch of paintings (``ppo``).
        minibatches: of a pass.
        clip: of the probability ratio (``ppo``).
        gamma: discount.
        trace: lambda of the advantages.
        value_weight: of the squared error of the value.
        entropy_weight: of the entropy of actions.
        imitation_weight: of the cross-entropy of fitted programs beside the reward.
        new_stroke_penalty: for a stroke that continues none.
        blank_penalty: for an empty canvas at the end.
        instance_noise: SD of the noise on all that the discriminator sees, so that it judges shapes, not the pixels at
            their edges, which no brush can get right (Sønderby et al. 2017, arXiv:1610.04490).
        fit_lr: Adam's rate of ``fit``, falling to 0.
        distill_lr: of ``distill``, falling to a tenth.
        rl_lr: of the policy in ``rl``.
        discriminator_lr: of the discriminator.
        gradient_penalty: of WGAN-GP.
        max_grad_norm: largest norm of the policy's gradients.
        compute: number format of imitation: ``auto``, ``float32`` or ``bfloat16`` (`handgen.precision`); rewards,
            ratios of probabilities and the strokes' places are float32 always.

    Raises:
        UserError: for settings that contradict each other.
    """

    def __init__(
        self,
        table: str = "fast_grey",
        image_size: int = 32,
        channels: int = 1,
        length: int = 10,
        strokes: int = 5,
        conditional: bool = False,
        blind: bool = False,
        policy_size: Size = "fast",
        width: int = 256,
        adversary: Literal["wgan_gp", "spectral"] = "wgan_gp",
        discriminator_width: int = 32,
        discriminator_updates: int = 1,
        reward: Literal["discriminator", "l2"] = "discriminator",
        credit: Literal["difference", "end"] = "difference",
        complement: bool = False,
        joint: bool = False,
        algorithm: Literal["ppo", "a2c"] = "ppo",
        policy_epochs: int = 2,
        minibatches: int = 2,
        clip: float = 0.2,
        gamma: float = 1.0,
        trace: float = 0.95,
        value_weight: float = 0.5,
        entropy_weight: float = 0.001,
        imitation_weight: float = 0.0,
        new_stroke_penalty: float = 0.0,
        blank_penalty: float = 1.0,
        instance_noise: float = 0.0,
        fit_lr: float = 2e-3,
        distill_lr: float = 1e-3,
        rl_lr: float = 1e-4,
        discriminator_lr: float = 1e-4,
        gradient_penalty: float = 10.0,
        max_grad_norm: float = 1.0,
        compute: Compute = "auto",
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        check_ranges(
            length=(length, length >= 1, "be at least 1"),
            strokes=(strokes, strokes >= 1, "be at least 1"),
            channels=(channels, channels in CHANNELS, "be 1 or 3"),
            policy_epochs=(policy_epochs, policy_epochs >= 1, "be at least 1"),
            discriminator_updates=(discriminator_updates, discriminator_updates >= 1, "be at least 1"),
            gamma=(gamma, 0 <= gamma <= 1, "lie in [0, 1]"),
        )
        if (reward == "l2" or complement) and not conditional:
            raise UserError("reward=l2 and complement=true need a picture to paint: set model.conditional=true")
        if joint and (adversary != "spectral" or conditional or reward == "l2"):
            raise UserError("joint=true is for painters of nothing in particular with adversary=spectral")
        self.table = action_table(table)
        self.policy = Policy(self.table, image_size, channels, conditional, blind, policy_size, width)
        self.distilled = Policy(self.table, image_size, channels, conditional, blind, policy_size, width)
        self.distilled.requires_grad_(False)
        self.register_buffer("rewarded", torch.tensor(False))  # whether `rl` has begun; before, `distilled` is nothing
        self.rewarded: Tensor
        self.stroke_net = StrokeNet(strokes, image_size, channels)
        pair = 2 if conditional and not complement else 1
        programs = (self.table, length) if joint else None
        self.discriminator = Discriminator(
            image_size, pair * channels, discriminator_width, adversary == "spectral", programs
        )
        self.to(memory_format=torch.channels_last)
        self.score_mean: Tensor
        self.score_sd: Tensor
        self.register_buffer("score_mean", torch.zeros(()))
        self.register_buffer("score_sd", torch.ones(()))
        self._world: World | None = None

    # Use.

    def world(self) -> World:
        """What is painted in where nothing else is asked for: scenes, or canvases of the brush on tensors."""
        if self._world is None:
            size, channels = self.hparams["image_size"], self.hparams["channels"]
            self._world = make_world(self.table, size, channels, device=self.device)
        return self._world

    def paint(
        self,
        world: World,
        count: int,
        target: Tensor | None = None,
        greedy: bool = False,
        policy: Policy | None = None,
    ) -> Rollout:
        """Paint ``count`` pictures, or the targets (B, C, H, W) in [0, 1], with the global random state."""
        noise = torch.randn(count, NOISE, device=self.device)
        return paint_freely(policy or self.policy, world, self.hparams["length"], noise, target, greedy)

    @torch.no_grad()
    def programs(self, image: Tensor) -> Tensor:
        """Fitted programs (B, T, K) of pictures (B, C, H, W) in [0, 1]."""
        self.stroke_net.eval()
        return to_actions(self.stroke_net(image), self.table, self.hparams["length"])

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, sampler: str | None = None) -> Tensor:
        """Paintings (N, 3, H, W) in [0, 1] of nothing in particular, by the policy ``rl`` or ``distilled``."""
        finished = self._sampled(count, seed, sampler).finished
        return finished.expand(-1, 3, -1, -1)

    @torch.no_grad()
    def write_programs(self, folder: Path, count: int, seed: int = 0, sampler: str | None = None) -> Path:
        """The same paintings as programs, drawings and a film in a folder; returns the film."""
        actions = self._sampled(count, seed, sampler).actions.transpose(0, 1)
        return write_paintings(actions, self.table, self.hparams["channels"], folder)

    def _sampled(self, count: int, seed: int, sampler: str | None) -> Rollout:
        """Paintings of a seed.

        Raises:
            UserError: for a conditional painter, or a policy that there is not.
        """
        if self.hparams["conditional"]:
            raise UserError("this painter copies pictures: it has nothing of its own to sample (see make eval)")
        policies = {"rl": self.policy, "distilled": self.distilled}
        if sampler is not None and sampler not in policies:
            raise UserError(f"there is no sampler {sampler!r}: take rl or distilled")
        with seeded(seed, self.device):
            return self.paint(self.world(), count, policy=policies[sampler or "rl"])

    # Training.

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One update of the stage that the batch belongs to."""
        step = {"fit": self._fit, "distill": self._distill, "rl": self._reinforce}[batch["stage"]]
        step(batch)

    def _fit(self, batch: Batch) -> None:
        """One update of the strokes on ``image`` (B, C, H, W)."""
        fitter, _, _ = self.optimizers()  # type: ignore[attr-defined]
        self.stroke_net.train()
        strokes = self.stroke_net(batch["image"])
        painted = paint_strokes(strokes, self.hparams["image_size"], self.hparams["channels"])
        loss = losses.pyramid_error(painted, batch["image"])
        # Strokes that a first large step pushes off the canvas never come back.
        rising = min(1.0, (1.0 + 30.0 * batch["progress"]) / 2.0)
        _set_rate(fitter, self.hparams["fit_lr"] * rising * (1.0 - batch["progress"]))
        self._step(fitter, loss, None)
        self.log("train/fit_error", loss.detach(), prog_bar=True)

    def _distill(self, batch: Batch) -> None:
        """One update of the policy on ``rollout``, paintings of programs."""
        _, policy_optimiser, _ = self.optimizers()  # type: ignore[attr-defined]
        loss = self.imitation(batch["rollout"])
        _set_rate(policy_optimiser, self.hparams["distill_lr"] * (1.0 - 0.9 * batch["progress"]))
        self._step(policy_optimiser, loss, self.policy)
        self.log("train/program_nll", loss.detach(), prog_bar=True)

    def imitation(self, rollout: Rollout) -> Tensor:
        """``-log pi`` of whole programs, mean over paintings, in nats."""
        with autocast(self.device, self.hparams["compute"]):
            decided = self.policy(rollout.seen(), actions=rollout.actions)
        log_prob: Tensor = decided.log_prob.float()
        return -log_prob.sum(dim=(0, 2)).mean()

    def _reinforce(self, batch: Batch) -> None:
        """Updates of discriminator and policy on ``rollout``, ``image`` (pictures) and ``fake`` (older paintings)."""
        if batch["first"]:
            self.distilled.load_state_dict(self.policy.state_dict())
            self.rewarded.fill_(True)
        rollout: Rollout = batch["rollout"]
        if self.hparams["reward"] == "discriminator":
            names = [name for name in ("image", "actions", "fake", "fake_target", "fake_actions") if name in batch]
            parts = [batch[name].chunk(self.hparams["discriminator_updates"]) for name in names]
            for part in zip(*parts, strict=True):
                self._discriminate(dict(zip(names, part, strict=True)))
        with torch.no_grad():
            reward, score = self.rewards(rollout)
        self._improve(rollout, reward, batch.get("programs"), batch["warming"])
        drawn = rollout.actions[..., self.table.names.index(FLAG)] > 0
        self.log("train/reward", reward.sum(0).mean(), prog_bar=True)
        self.log("train/score", score)
        self.log("train/strokes", drawn.float().sum(0).mean())

    # The discriminator.

    def score(
        self, image: Tensor, target: Tensor | None, mask: Tensor | None = None, actions: Tensor | None = None
    ) -> Tensor:
        """Raw scores (B,) of paintings (B, C, H, W), of pairs with targets or programs, or of halves of both."""
        if mask is not None and target is not None:
            image, target = torch.where(mask, image, target), None
        scores: Tensor = self.discriminator(image, target, actions)
        return scores

    def _discriminate(self, batch: Batch) -> None:
        """One update of the discriminator."""
        _, _, optimiser = self.optimizers()  # type: ignore[attr-defined]
        real, fake = self._noisy(batch["image"]), self._noisy(batch["fake"])
        target = batch.get("fake_target")
        mask = _half(fake) if self.hparams["complement"] else None
        real_score = self.score(real, None if target is None else real, mask, batch.get("actions"))
        fake_score = self.score(fake, target, mask, batch.get("fake_actions"))
        if self.hparams["adversary"] == "spectral":
            loss = losses.logistic_loss(real_score, fake_score)
        else:
            loss = losses.wasserstein_loss(real_score, fake_score)
            if target is not None:
                pair = mask is None
                real = torch.cat([real, real], 1) if pair else real
                fake = torch.cat([fake, target], 1) if pair else torch.where(mask, fake, target)  # type: ignore[arg-type]
            share = torch.rand(len(real), device=self.device)
            penalty = losses.gradient_penalty(self.discriminator, real, fake, share)
            loss = loss + self.hparams["gradient_penalty"] * penalty
        self._step(optimiser, loss, None)
        self.log("loss/discriminator", loss.detach())
        self.log("train/score_gap", (real_score.mean() - fake_score.mean()).detach())

    def _noisy(self, image: Tensor) -> Tensor:
        """Pictures as the discriminator sees them."""
        deviation = float(self.hparams["instance_noise"])
        return image + deviation * torch.randn_like(image) if deviation > 0 else image

    def rewards(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Rewards (T, B), and the mean of the finished paintings' scores.

        Scores are divided by their running standard deviation, so that one set of weights suits every discriminator.
        """
        canvases, target = rollout.canvases, rollout.target
        length, count = canvases.shape[:2]
        goal = None if target is None else target.expand(length, *target.shape).flatten(0, 1)
        if self.hparams["reward"] == "l2":
            assert goal is not None
            scores = -(canvases.flatten(0, 1) - goal).square().flatten(1).mean(1)
        else:
            mask = _half(rollout.finished).repeat(length, 1, 1, 1) if self.hparams["complement"] else None
            # The same noise at all times of a painting: a score changes by what is painted alone.
            seen = canvases + self._noisy(torch.zeros_like(canvases[0]))
            programs = taken_so_far(rollout.actions).flatten(0, 1) if self.hparams["joint"] else None
            rows = torch.arange(length * count, device=self.device).split(256)
            parts = (
                [None if x is None else x[row] for x in (seen.flatten(0, 1), goal, mask, programs)] for row in rows
            )
            scores = torch.cat([self.score(*part) for part in parts])  # type: ignore[arg-type]
        scores = scores.view(length, count)
        self._follow_scores(scores[-1])
        worth = (scores - self.score_mean) / self.score_sd.clamp(min=1e-6)
        reward = losses.credit(worth) if self.hparams["credit"] == "difference" else losses.at_the_end(worth)
        drawn = rollout.actions[..., self.table.names.index(FLAG)] > 0
        reward = reward - self.hparams["new_stroke_penalty"] * losses.new_strokes(drawn)
        blank = rollout.finished.flatten(1).mean(1) >= BLANK
        reward[-1] -= self.hparams["blank_penalty"] * blank
        return reward, scores[-1].mean()

    def _follow_scores(self, scores: Tensor) -> None:
        """Move the running mean and standard deviation of finished paintings' scores."""
        rate = 0.05 if self.score_mean != 0 else 1.0
        self.score_mean.lerp_(scores.mean(), rate)
        self.score_sd.lerp_(scores.std(), rate)

    # The policy.

    def _improve(self, rollout: Rollout, reward: Tensor, programs: Rollout | None, warming: bool) -> None:
        """Updates of the policy by the rewards (T, B) of a batch of paintings; in ``warming``, of the value alone."""
        _, optimiser, _ = self.optimizers()  # type: ignore[attr-defined]
        _set_rate(optimiser, self.hparams["rl_lr"])
        ppo = self.hparams["algorithm"] == "ppo"
        seen = rollout.seen()
        with torch.no_grad():
            before = self.policy(seen, actions=rollout.actions)
        advantage = losses.generalised_advantages(reward, before.value, self.hparams["gamma"], self.hparams["trace"])
        returns = advantage + before.value
        advantage = (advantage - advantage.mean()) / advantage.std().clamp(min=1e-6)
        for epoch in range(self.hparams["policy_epochs"] if ppo else 1):
            for rows in self._split(reward.shape[1]):
                part = rollout.rows(rows)
                decided = self.policy(part.seen(), actions=part.actions)
                log_prob = decided.log_prob.sum(-1)
                if ppo:
                    loss = losses.clipped_policy_loss(log_prob, part.log_prob, advantage[:, rows], self.hparams["clip"])
                else:
                    loss = losses.policy_gradient_loss(log_prob, advantage[:, rows])
                entropy = decided.entropy.sum(-1).mean()
                value_loss = F.mse_loss(decided.value, returns[:, rows])
                loss = loss - self.hparams["entropy_weight"] * entropy
                # While discriminator and value have only begun, advantages are of no use.
                loss = self.hparams["value_weight"] * value_loss + (0.0 if warming else loss)
                if programs is not None and epoch == 0:
                    loss = loss + self.hparams["imitation_weight"] * self.imitation(programs.rows(rows))
                self._step(optimiser, loss, self.policy)
        self.log("train/entropy", entropy.detach())
        self.log("loss/value", value_loss.detach())

    def _split(self, count: int) -> Iterator[Tensor]:
        """Rows of the minibatches of whole paintings."""
        order = torch.randperm(count, device=self.device)
        yield from order.chunk(self.hparams["minibatches"] if self.hparams["algorithm"] == "ppo" else 1)

    # Evaluation: callbacks look at what is painted.

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: `handgen.callbacks.painting_evaluation` paints and measures."""

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing, as in validation."""

    # Optimisers.

    def _step(self, optimiser: Any, loss: Tensor, clipped: nn.Module | None) -> None:
        optimiser.zero_grad()
        self.manual_backward(loss)
        if clipped is not None:
            nn.utils.clip_grad_norm_(clipped.parameters(), self.hparams["max_grad_norm"])
        optimiser.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Three Adams: strokes, policy, discriminator."""
        h = self.hparams
        return [
            torch.optim.Adam(self.stroke_net.parameters(), lr=h["fit_lr"]),
            torch.optim.Adam(self.policy.parameters(), lr=h["distill_lr"]),
            torch.optim.Adam(self.discriminator.parameters(), lr=h["discriminator_lr"], betas=(0.5, 0.999)),
        ]


def _set_rate(optimiser: Any, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def _half(image: Tensor) -> Tensor:
    """A random half of each picture, in squares of four pixels, bool (B, 1, H, W)."""
    count, _, height, width = image.shape
    coarse = torch.rand(count, 1, height // 4, width // 4, device=image.device) < 0.5
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)


def taken_so_far(actions: Tensor) -> Tensor:
    """Programs (T + 1, B, T, K) as they are at each time, from actions (T, B, K); what is yet to come is -1."""
    length = len(actions)
    taken = torch.ones(length + 1, length, dtype=torch.bool, device=actions.device).tril(-1)
    return torch.where(taken[:, None, :, None], actions.transpose(0, 1), -1.0)

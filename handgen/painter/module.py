"""SPIRAL as a LightningModule: a painter that learns to write programs of strokes, improved by an adversary."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.errors import UserError
from handgen.painter import losses
from handgen.painter.actions import action_table, draws
from handgen.painter.advantages import advantages, policy_loss
from handgen.painter.checks import check_painter
from handgen.painter.discriminator import Discriminator
from handgen.painter.evaluation import Painted, paint_many
from handgen.painter.fit import StrokeNet, fitted, paint_strokes, table_sizes, to_actions
from handgen.painter.gallery import some_pictures, write_paintings
from handgen.painter.policy import NOISE, Policy, Size
from handgen.painter.rollout import Rollout, paint_freely
from handgen.painter.scoring import half, noisy, score_canvases, score_steps, shown
from handgen.painter.worlds import World, make_world
from handgen.precision import Compute, autocast
from handgen.random_state import seeded

Batch = dict[str, Any]
FINE_SHARE = 1 / 3
"""Share of ``fit``, at its end, over which the errors of smaller pictures fade away."""


class Painter(LightningModule):
    """Image-maker method: SPIRAL, Ganin et al. 2018 (arXiv:1804.01118), with SPIRAL++ (arXiv:1910.01007).

    Three stages, each of which a batch belongs to:

    1. ``fit``: a network turns pictures into strokes, learnt through the differentiable brush by the squared error.
    2. ``distill``: the policy learns to write these strokes, as programs, by their cross-entropy.
    3. ``rl``: the policy paints, a discriminator tells paintings from pictures, and its score is the reward::

           r_t = D(c_(t+1)) - D(c_t) - new_stroke_penalty [a stroke begins] - blank_penalty [T, canvas blank]

       The policy follows PPO, or A2C with V-trace, the discriminator WGAN-GP, or the logistic loss with spectral
       normalisation.

    ``fit`` and ``distill`` are ours; without their updates (``data.fit_updates=0``, ``data.distill_updates=0``) what is
    left is the papers' method but for what docs/spiral.md lists.

    Args:
        table: what an action is, a preset of `handgen.painter.actions`.
        image_size: height and width of canvases in pixels.
        channels: 1 (grey) or 3.
        length: T, actions of a painting.
        strokes: strokes of the fitted programs.
        most_strokes: actions of a painting that may draw; null knows no limit but T.
        conditional: paint a given picture instead of whatever looks like one.
        blind: never look at the canvas.
        policy_size: ``paper`` or ``fast``.
        width: hidden units of the policy's memory.
        glimpse: pixels, side of what the policy looks at again around each end that it decides; 0 does not look.
        adversary: ``wgan_gp`` or ``spectral``.
        discriminator_width: channels of the discriminator's first layer.
        discriminator_updates: of the discriminator for each batch of paintings.
        reward: ``discriminator``, or ``l2``: less the mean squared error from the target (conditional painters only).
        credit: ``difference`` rewards each action by what it changes (SPIRAL++), ``end`` only the last (SPIRAL).
        complement: show the discriminator half of the target and half of the painting (SPIRAL++, section 3.3).
        joint: show the discriminator programs beside their pictures: of paintings those that made them, of real
            pictures those fitted to them (with ``adversary=spectral``).
        algorithm: ``ppo`` or ``a2c``.
        policy_epochs: passes over a batch of paintings.
        minibatches: of a pass (``ppo``).
        clip: of the probability ratio (``ppo``).
        gamma: discount.
        trace: lambda of the advantages.
        value_weight: of the squared error of the value.
        entropy_weight: of the entropy of actions.
        imitation_weight: of the cross-entropy of fitted programs beside the reward.
        imitation_falls: let that weight fall evenly to 0 over ``rl``.
        paintings_of_a_target: how often each target of a batch is painted; where that is more than once, advantages are
            less their mean over the paintings of a target.
        temperature: by which the logits of places are divided wherever the policy paints, in ``rl`` too; imitation
            judges it at 1.
        new_stroke_penalty: for a stroke that continues none.
        blank_penalty: for an empty canvas at the end.
        instance_noise: SD of the noise on all that the discriminator sees, so that it judges shapes, not the pixels at
            their edges, which no brush can get right (Sønderby et al. 2017, arXiv:1610.04490).
        fit_steps: of descent by which the strokes proposed for a picture are moved (`handgen.painter.fit.fitted`).
        fit_lr: Adam's rate of ``fit``, falling to 0.
        distill_lr: of ``distill``, falling to a tenth.
        rl_lr: of the policy in ``rl``.
        discriminator_lr: of the discriminator.
        gradient_penalty: of WGAN-GP.
        max_grad_norm: largest norm of the policy's gradients.
        compute: number format of imitation and of what a spectral discriminator learns: ``auto``, ``float32`` or
            ``bfloat16`` (`handgen.precision`). All else has the Trainer's.

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
        most_strokes: int | None = None,
        conditional: bool = False,
        blind: bool = False,
        policy_size: Size = "fast",
        width: int = 256,
        glimpse: int = 0,
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
        imitation_falls: bool = False,
        paintings_of_a_target: int = 1,
        temperature: float = 1.0,
        new_stroke_penalty: float = 0.0,
        blank_penalty: float = 1.0,
        instance_noise: float = 0.0,
        fit_steps: int = 40,
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
        self._stepped: list[Tensor] = []
        self.automatic_optimization = False
        check_painter(self.hparams)
        self.table = action_table(table)
        sizes = (image_size, channels, conditional, blind, policy_size, width, most_strokes, glimpse)
        self.policy, self.distilled = Policy(self.table, *sizes), Policy(self.table, *sizes)
        self.distilled.requires_grad_(False)
        self.register_buffer("rewarded", torch.tensor(False))  # whether `rl` has begun; before, `distilled` is nothing
        self.rewarded: Tensor
        self.stroke_net = StrokeNet(strokes, image_size, channels, sizes=table_sizes(self.table))
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
        self.paint_with("torch", "pen")
        self.to_copy: Tensor | None = None

    # Use.

    def paint_with(self, engine: str, brush: str) -> None:
        """Paint with an engine of `handgen.painter.worlds`, and MyPaint with this brush."""
        self.engine, self.brush, self._worlds = engine, brush, dict[torch.device, World]()

    def prepare_sampling(self, datamodule: Any) -> None:
        """Paint samples with what training painted with; a painter that copies copies held-out pictures."""
        if datamodule is not None:
            self.paint_with(datamodule.hparams["engine"], datamodule.hparams["brush"])
            self.to_copy = datamodule.held_out(self) if self.hparams["conditional"] else None

    def world(self) -> World:
        """What is painted in: scenes, or canvases of the engine, on the painter's device."""
        if self.device not in self._worlds:
            size, channels = self.hparams["image_size"], self.hparams["channels"]
            self._worlds[self.device] = make_world(self.table, size, channels, self.engine, self.brush, self.device)
        return self._worlds[self.device]

    def paint(
        self,
        world: World,
        count: int,
        target: Tensor | None = None,
        greedy: bool = False,
        policy: Policy | None = None,
    ) -> Rollout:
        """Paint ``count`` pictures, or the targets (B, C, H, W) in [0, 1], with the global random state."""
        noise, h = torch.randn(count, NOISE, device=self.device), self.hparams
        return paint_freely(policy or self.policy, world, h["length"], noise, target, greedy, h["temperature"])

    @torch.no_grad()
    def programs(self, image: Tensor) -> Tensor:
        """Fitted programs (B, T, K) of pictures (B, C, H, W) in [0, 1]."""
        return to_actions(self.strokes(image), self.table, self.hparams["length"], self.hparams["most_strokes"])

    def strokes(self, image: Tensor) -> dict[str, Tensor]:
        """Fitted strokes of pictures (B, C, H, W) in [0, 1], as of `handgen.painter.fit.StrokeNet`."""
        return fitted(self.stroke_net, image, self.hparams["fit_steps"])

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, sampler: str | None = None) -> Tensor:
        """Paintings (N, 3, H, W) in [0, 1] by the policy ``rl`` or ``distilled``; a conditional one copies pictures."""
        return self._sampled(count, seed, sampler).finished.expand(-1, 3, -1, -1)

    @torch.no_grad()
    def write_programs(self, folder: Path, count: int, seed: int = 0, sampler: str | None = None) -> Path:
        """The same paintings as programs, drawings and a film in a folder; returns the film."""
        actions = self._sampled(count, seed, sampler).actions
        return write_paintings(actions, self.table, self.hparams["channels"], folder, self.engine, self.brush)

    def _sampled(self, count: int, seed: int, sampler: str | None) -> Painted:
        """Paintings of a seed.

        Raises:
            UserError: for a policy that there is not, or more copies than there are pictures to copy.
        """
        policies = {"rl": self.policy, "distilled": self.distilled}
        if sampler is not None and sampler not in policies:
            raise UserError(f"there is no sampler {sampler!r}: take rl or distilled")
        target = None
        with seeded(seed, self.device):
            if self.hparams["conditional"]:
                target = some_pictures(self.to_copy, count).to(self.device)
            policy = policies[sampler or "rl"]
            return paint_many(self, count, target, policy)

    # Training.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update of the stage that the batch belongs to; returns the sum of its losses, for callbacks."""
        self._stepped = []
        {"fit": self._fit, "distill": self._distill, "rl": self._reinforce}[batch["stage"]](batch)
        return torch.stack(self._stepped).sum()

    def _fit(self, batch: Batch) -> None:
        """One update of the strokes on ``image`` (B, C, H, W)."""
        fitter, _, _ = self.optimizers()  # type: ignore[attr-defined]
        self.stroke_net.train()
        progress, image = batch["progress"], batch["image"]
        painted = paint_strokes(self.stroke_net(image), self.hparams["image_size"], self.hparams["channels"])
        # Once strokes are where the lines are, what counts is what they look like.
        loss = losses.pyramid_error(painted, image, coarse=min(1.0, (1.0 - progress) / FINE_SHARE))
        # Strokes that a first large step pushes off the canvas never come back.
        rising = min(1.0, (1.0 + 30.0 * progress) / 2.0)
        _set_rate(fitter, self.hparams["fit_lr"] * rising * (1.0 - progress))
        self._step(fitter, loss, None)
        self.log("train/fit_error", loss.detach(), prog_bar=True)

    def _distill(self, batch: Batch) -> None:
        """One update of the policy on ``rollout``, paintings of programs."""
        _, policy_optimiser, _ = self.optimizers()  # type: ignore[attr-defined]
        if batch["progress"] == 0.0 and self.policy.reader is not None:
            self.policy.reader.load_state_dict(self.stroke_net.encoder.state_dict())
        loss = self.program_nll(batch["rollout"]).mean()
        _set_rate(policy_optimiser, self.hparams["distill_lr"] * (1.0 - 0.9 * batch["progress"]))
        self._step(policy_optimiser, loss, self.policy)
        self.log("train/program_nll", loss.detach(), prog_bar=True)

    def program_nll(self, rollout: Rollout, policy: Policy | None = None) -> Tensor:
        """``-log pi`` of whole programs (B,), in nats."""
        with autocast(self.device, self.hparams["compute"]):
            decided = (policy or self.policy)(rollout.seen(), actions=rollout.actions)
        log_prob: Tensor = decided.log_prob
        return -log_prob.sum(dim=(0, 2))

    def _reinforce(self, batch: Batch) -> None:
        """Updates of discriminator and policy on ``rollout``, ``image`` (pictures) and ``fake`` (older paintings)."""
        if batch["first"]:
            self.distilled.load_state_dict(self.policy.state_dict())
            self.rewarded.fill_(True)
            _, policy_optimiser, _ = self.optimizers()  # type: ignore[attr-defined]
            policy_optimiser.state.clear()  # Adam's moments of the cross-entropy: the reward's gradients are others
        rollout: Rollout = batch["rollout"]
        if self.hparams["reward"] == "discriminator":
            names = [name for name in ("image", "actions", "fake", "fake_target", "fake_actions") if name in batch]
            parts = [batch[name].chunk(self.hparams["discriminator_updates"]) for name in names]
            for part in zip(*parts, strict=True):
                self._discriminate(dict(zip(names, part, strict=True)))
        with torch.no_grad():
            reward, score = self.rewards(rollout)
        if batch["warming"]:
            self._improve(rollout, reward, value_alone=True)
        else:
            falling = 1.0 - batch["progress"] if self.hparams["imitation_falls"] else 1.0
            self._improve(rollout, reward, batch.get("programs"), falling * self.hparams["imitation_weight"])
        self.log("train/reward", reward.sum(0).mean(), prog_bar=True)
        self.log("train/score", score)
        self.log("train/strokes", draws(rollout.actions).float().sum(0).mean())

    # The discriminator.

    def _discriminate(self, batch: Batch) -> None:
        """One update of the discriminator."""
        _, _, optimiser = self.optimizers()  # type: ignore[attr-defined]
        target = batch.get("fake_target")
        mask = half(batch["fake"]) if self.hparams["complement"] else None
        noise = self.hparams["instance_noise"]
        real = noisy(shown(batch["image"], None if target is None else batch["image"], mask), noise)
        fake = noisy(shown(batch["fake"], target, mask), noise)
        spectral = self.hparams["adversary"] == "spectral"
        with autocast(self.device, self.hparams["compute"]) if spectral else nullcontext():
            real_score = self.discriminator(real, actions=batch.get("actions")).float()
            fake_score = self.discriminator(fake, actions=batch.get("fake_actions")).float()
        if spectral:
            loss = losses.logistic_loss(real_score, fake_score)
        else:
            loss = losses.wasserstein_loss(real_score, fake_score)
            share = torch.rand(len(real), device=self.device)
            loss += self.hparams["gradient_penalty"] * losses.gradient_penalty(self.discriminator, real, fake, share)
        self._step(optimiser, loss, None)
        self.log("loss/discriminator", loss.detach())
        self.log("train/score_gap", (real_score.mean() - fake_score.mean()).detach())

    def rewards(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Rewards (T, B), and the mean of the finished paintings' scores.

        Scores are divided by their running standard deviation, so that one set of weights suits every discriminator.
        """
        scores = score_steps(self.discriminator, rollout, self.hparams)
        self._follow_scores(scores[-1])
        worth = self._in_units(scores)
        reward = losses.credit(worth) if self.hparams["credit"] == "difference" else losses.at_the_end(worth)
        reward = reward - self.hparams["new_stroke_penalty"] * losses.new_strokes(draws(rollout.actions))
        reward[-1] -= self.hparams["blank_penalty"] * rollout.blank
        return reward, scores[-1].mean()

    def worth(self, canvas: Tensor, target: Tensor | None = None) -> Tensor:
        """What canvases (B, C, H, W) are worth, (B,), in the units of rewards and of the value."""
        return self._in_units(score_canvases(self.discriminator, canvas, target, self.hparams))

    def _in_units(self, scores: Tensor) -> Tensor:
        """Raw scores less their running mean, in their running standard deviations."""
        return (scores - self.score_mean) / self.score_sd.clamp(min=1e-6)

    def _follow_scores(self, scores: Tensor) -> None:
        """Move the running mean and standard deviation of finished paintings' scores."""
        rate = 0.05 if self.score_mean != 0 else 1.0
        self.score_mean.lerp_(scores.mean(), rate)
        self.score_sd.lerp_(scores.std(), rate)

    # The policy.

    def _improve(
        self,
        rollout: Rollout,
        reward: Tensor,
        programs: Rollout | None = None,
        imitation_weight: float = 0.0,
        value_alone: bool = False,
    ) -> None:
        """Updates of the policy by the rewards (T, B) of a batch of paintings, or of its value alone."""
        _, optimiser, _ = self.optimizers()  # type: ignore[attr-defined]
        _set_rate(optimiser, self.hparams["rl_lr"])
        for epoch in range(self.hparams["policy_epochs"]):
            if epoch == 0 or self.hparams["algorithm"] == "a2c":  # V-trace weighs what this policy would have done
                advantage, returns = advantages(self.policy, rollout, reward, self.hparams)
            order = torch.randperm(reward.shape[1], device=self.device)  # of whole paintings
            splits = order.chunk(self.hparams["minibatches"] if self.hparams["algorithm"] == "ppo" else 1)
            taught = [] if programs is None else torch.arange(programs.actions.shape[1]).tensor_split(len(splits))
            for number, rows in enumerate(splits):
                part = rollout.rows(rows)
                heat = self.hparams["temperature"]
                decided = self.policy(part.seen(), actions=part.actions, temperature=heat, value_alone=value_alone)
                value_loss = F.mse_loss(decided.value, returns[:, rows])
                loss = self.hparams["value_weight"] * value_loss
                if not value_alone:  # advantages are of use only once discriminator and value have learnt
                    loss = loss + policy_loss(decided, part.log_prob, advantage[:, rows], self.hparams)
                if programs is not None and epoch == 0 and imitation_weight > 0:
                    part = programs.rows(taught[number].to(self.device))
                    loss = loss + imitation_weight * self.program_nll(part).mean()
                self._step(optimiser, loss, self.policy)
        self.log("loss/value", value_loss.detach())
        self._log_entropy(decided.entropy.detach())

    def _log_entropy(self, entropy: Tensor) -> None:
        """Log the mean entropy of actions, and of each component, from (T, B, K)."""
        self.log("train/entropy", entropy.sum(-1).mean())
        for name, part in zip(self.table.names, entropy.mean(dim=(0, 1)), strict=True):
            self.log("/".join(("train/entropy", name)), part)

    # Evaluation: callbacks look at what is painted.

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing: `handgen.callbacks.painting_evaluation` paints and measures."""

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Do nothing, as in validation."""

    # Optimisers.

    def _step(self, optimiser: Any, loss: Tensor, clipped: nn.Module | None) -> None:
        self._stepped.append(loss.detach())
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

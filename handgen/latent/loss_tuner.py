"""The original's method as a LightningModule: a VAE in training whose latent space an agent shifts and scales."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from handgen.errors import UserError
from handgen.latent.transform import LatentTransform, observation, observation_size, probe_deviation
from handgen.processes import from_first_process
from handgen.sac import SAC
from handgen.sac import losses as sac_losses
from handgen.sac.equations import PRESETS, Variant
from handgen.sac.losses import Sign
from handgen.sac.networks import polyak_update
from handgen.vae import VAE
from handgen.vae.samplers import SAMPLERS, Sampler

UNTRANSFORMED = "prior_untransformed"
"""Sampler of N(0, I) without the learnt transform: what is left of the prior if the agent is taken away."""
PROBE_IMAGES = 256


class Agent(SAC):
    """SAC as a part of another module, which logs for it."""

    @property
    def logs_now(self) -> bool:
        """Never: Lightning takes metrics of the outermost module only."""
        return False


@dataclass(frozen=True)
class Untransformed:
    """Latents that the transform inside the decoder turns into those of another sampler.

    Attributes:
        sampler: what the decoder proper shall see.
        transform: what stands before it.
    """

    sampler: Sampler
    transform: LatentTransform

    def sample(self, count: int, generator: Generator | None = None) -> Tensor:
        """Draw (count, L) latents."""
        latent = self.sampler.sample(count, generator).to(self.transform.shift.device)
        return self.transform.inverse(latent).cpu()


class LossTuner(VAE):
    """VAE and agent trained together; the agent is rewarded by the fall of the VAE's loss.

    Before the decoder stands a shift and a scale of each latent, `LatentTransform`, which the agent sets. Its
    observation are the latents' statistics on a probe batch, the transform and the loss. The callback
    ``LossDeltaReward`` calls :meth:`choose_transform` when a window of training begins (an epoch, or so many batches)
    and :meth:`receive_reward` with ``R_t = -lambda (L_t - L_{t-1})`` when it ends. The transform is part of the
    decoder, so that all samplers draw through it; what is evaluated has the last one that was trained with.

    Loss and agent share an optimiser with groups of their own; the agent's gradients are clipped apart.

    Args:
        agent_variant: form of SAC's equations, ``sac`` (the literature) or ``seed`` (as printed).
        agent_lr: learning rate of the agent.
        agent_batch_size: transitions of one of its updates, drawn from all so far.
        agent_hidden_dims: hidden units of actor and critics.
        random_actions: uniformly random actions at the beginning.
        episode_length: decisions of an episode; 1 as in the original, "one state per episode".
        gamma: discount, for longer episodes.
        max_shift: largest shift, in standard deviations of the aggregate posterior.
        max_log_scale: largest logarithm of the scale.
        temperature_sign: ``correct`` or ``printed``; None leaves it to the variant.
        kwargs: those of :class:`handgen.vae.VAE`.
    """

    def __init__(
        self,
        agent_variant: Variant = "sac",
        agent_lr: float = 1e-3,
        agent_batch_size: int = 32,
        agent_hidden_dims: tuple[int, ...] = (256, 256),
        random_actions: int = 4,
        episode_length: int = 1,
        gamma: float = 0.99,
        max_shift: float = 0.25,
        max_log_scale: float = 0.25,
        temperature_sign: Sign | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if agent_variant not in PRESETS:
            raise UserError(f"unknown agent_variant {agent_variant!r}: choose one of {', '.join(PRESETS)}")
        if episode_length < 1:
            raise UserError(f"episode_length must be at least 1, got {episode_length}")
        size = int(self.hparams["latent_dim"])
        self.transform = LatentTransform(size, max_shift, max_log_scale)
        for networks in (self.networks, self.average):
            networks.decoder = nn.Sequential(self.transform, networks.decoder)  # type: ignore[assignment]
        self.agent = Agent(
            obs_dim=observation_size(size),
            action_dim=2 * size,
            hidden_dims=agent_hidden_dims,
            variant=agent_variant,
            gamma=gamma,
            lr=agent_lr,
            temperature_sign=temperature_sign,
        )
        self.experience: dict[str, Tensor] = {}
        self.pending: dict[str, Tensor] = {}
        self.decisions = 0

    @property
    def label(self) -> str:
        """Form of the agent's equations, which tells the records of different agents apart: empty for ``sac``."""
        return "" if self.agent.label == "sac" else self.agent.label

    # The agent's side of the loop.

    @torch.no_grad()
    def receive_reward(self, reward: float | None, loss: float) -> None:
        """Take the reward of the transform in use, which stays until :meth:`choose_transform`.

        Args:
            reward: R_t; None at t = 1, when there is no loss before.
            loss: L_t, part of the next observation.
        """
        if reward is None or not self.pending:
            return
        ended = torch.tensor([self.decisions % self.hparams["episode_length"] == 0])
        next_obs = self._observe(loss)[0][None]
        self._store({**self.pending, "reward": torch.tensor([[reward]]), "next_obs": next_obs, "terminated": ended})

    @torch.no_grad()
    def choose_transform(self, loss: float) -> None:
        """Choose the transform of the window that begins.

        Args:
            loss: L_t of the window before.
        """
        obs, deviation = self._observe(loss)
        size = 2 * int(self.hparams["latent_dim"])
        if self.decisions < self.hparams["random_actions"]:
            action = torch.rand(1, size) * 2.0 - 1.0
        else:
            action = self.agent.act(obs[None].to(self.device)).cpu()
        action = from_first_process(action)  # whose transform all processes are given at their next forward pass
        self.transform.set(action[0], deviation)
        self.pending = {"obs": obs[None], "action": action}
        self.decisions += 1

    def _observe(self, loss: float) -> tuple[Tensor, Tensor]:
        """The observation (O,), and the standard deviation (L,) of the latents on the probe batch."""
        mu, log_var = self.evaluated.encoder(self.layout(self.probe_images()))
        return observation(mu, log_var, self.transform, loss), probe_deviation(mu, log_var)

    def probe_images(self) -> Tensor:
        """The same training images every time, (256, 3, H, W) in [0, 1]."""
        images: Tensor = self.trainer.datamodule.images("train")[:PROBE_IMAGES]  # type: ignore[attr-defined]
        return images.to(self.device).float() / 255.0

    def _store(self, transition: dict[str, Tensor]) -> None:
        """Add one transition to the experience, which is never so long that it would have to forget."""
        if self.experience:
            transition = {name: torch.cat([self.experience[name], value]) for name, value in transition.items()}
        self.experience = transition

    def experience_batch(self) -> dict[str, Any]:
        """Transitions drawn with replacement."""
        count = len(self.experience["obs"])
        rows = torch.randint(count, (self.hparams["agent_batch_size"],))
        batch: dict[str, Any] = {name: value[rows].to(self.device) for name, value in self.experience.items()}
        return {**batch, "counted": torch.ones_like(batch["reward"], dtype=torch.bool)}

    # Training.

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """One step of the VAE, and one of the agent as soon as it has experience."""
        loss = super().training_step(batch, batch_idx)
        if self.experience:
            return loss + self.agent_loss()
        # Without a term the agent's weights would have no gradient, which several processes could not average.
        return loss + 0.0 * torch.stack([p.sum() for p in self.agent.parameters() if p.requires_grad]).sum()

    def agent_loss(self) -> Tensor:
        """The sum of SAC's terms on a batch of experience."""
        agent, batch = self.agent, self.experience_batch()
        temperature = agent.temperature.value
        q = agent.online.critics(batch["obs"], batch["action"])
        terms = {"critic": sac_losses.critic_loss(q, agent.td_target(batch, temperature))}
        terms |= agent.policy_losses(batch["obs"], batch["obs"], temperature)
        self.log("train/temperature", temperature)
        self.log("train/q", q.detach().mean())
        with torch.no_grad():
            self.log("train/entropy", -agent.actor.sample(batch["obs"])[1].mean())
        self.log_dict({f"loss/{name}": value.detach() for name, value in terms.items()})
        return torch.stack([term for term in terms.values() if term.requires_grad]).sum()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the averaged weights of the VAE and the agent's target networks."""
        super().optimizer_step(*args, **kwargs)
        polyak_update(self.agent.target, self.agent.online, self.agent.hparams["tau"])

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip each group by its own norm: an agent's error must not slow the VAE down."""
        del gradient_clip_algorithm
        if gradient_clip_val:
            for group in optimizer.param_groups:
                torch.nn.utils.clip_grad_norm_(group["params"], gradient_clip_val)

    def configure_optimizers(self) -> Any:
        """The VAE's optimiser and schedule, with groups for the agent at constant rates."""
        chosen = super().configure_optimizers()
        rate = chosen["lr_scheduler"]["scheduler"].lr_lambdas[0]
        groups = [
            {"params": list(self.networks.parameters()), "name": "vae", **chosen["optimizer"].defaults},
            *[{**group, "weight_decay": 0.0} for group in self.agent.parameter_groups()],
        ]
        optimiser = type(chosen["optimizer"])(groups, lr=self.hparams["lr"])
        constant = [lambda step: 1.0 for _ in groups[1:]]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, [rate, *constant])
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the experience."""
        checkpoint["loss_tuner"] = {
            "experience": self.experience,
            "pending": self.pending,
            "decisions": self.decisions,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the experience."""
        saved = checkpoint.get("loss_tuner", {})
        self.experience = dict(saved.get("experience", {}))
        self.pending, self.decisions = dict(saved.get("pending", {})), int(saved.get("decisions", 0))

    # Use.

    def samplers(
        self, train_images: Tensor, names: Iterable[str] = (UNTRANSFORMED, *SAMPLERS), seed: int = 0
    ) -> dict[str, Sampler]:
        """The VAE's samplers, all through the transform, and N(0, I) past it."""
        names = list(names)
        found = super().samplers(train_images, [name for name in names if name != UNTRANSFORMED], seed)
        if UNTRANSFORMED in names:
            prior = self.priors.get("prior")
            found = {UNTRANSFORMED: Untransformed(prior, self.transform), **found}
        return {name: found[name] for name in names}

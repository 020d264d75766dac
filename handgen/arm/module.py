"""SAC that drives the arm, after a warm start by imitation, as a LightningModule."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from handgen.arm.body import FITTED, JOINTS, SIDEWAYS
from handgen.arm.critics import LookingCritics, TargetMask
from handgen.arm.drawing import draw_masks
from handgen.arm.env import ArmImitation
from handgen.arm.film import photographed
from handgen.arm.geometry import as_tensors, joints_of, soft_silhouette
from handgen.arm.losses import joint_loss, posture_loss, silhouette_loss
from handgen.arm.networks import ImitationEncoder, SideBySide
from handgen.errors import UserError
from handgen.sac import SAC

Batch = dict[str, Any]
CHANNELS = {"masks": 1, "pictures": 3}
DECISIONS, PHOTOGRAPH = 3, 64
"""Of a sample: decisions until it is photographed, and pixels of the photograph."""
SILHOUETTE_SIZE = 28
SOFTNESS = 0.03
"""Width of a silhouette's edge in halves of the picture: four fifths of a pixel of 56."""


class ArmSAC(SAC):
    """SAC for ``handgen/ArmImitation-v0``: the target beside the arm in, twelve joint angles out.

    Haarnoja et al. 2018 (arXiv:1812.05905) with a layer-normalised CNN, as in the second script of *Hand Imitation*
    (2020). Three things are added (docs/arm.md):

    1. **Warm start.** The actor first learns poses by itself: angles of random poses of the arm, whose pictures cost
       nothing, and silhouettes of training hands, through the arm's differentiable geometry, with what is known of
       their digits. The terms stay while SAC rewards the actor, weighing ``imitation_weight`` times as much::

           w_j E[|q - q*|^2]  +  w_d E[|q_d - q_d*|^2]  +  w_s E[(s(q) - m)^2]  +  w_p E[q_u^2]

       with q the actor's mean, q_d the digits known to be raised or folded, s its silhouette, m the target; w_p, for
       digits of which nothing is known, prefers stretched ones to bent ones where both look alike. While SAC rewards
       the actor, w_d is ``held_digits_weight`` and errors within ``held_digits_slack`` cost nothing.

    2. **Hindsight.** A pose just reached is a target with a known best reward (data module).
    3. Actor and critics have an encoder each, so that the critics' learning leaves the actor's poses alone. Critics of
       silhouettes are shown the target and the one that an action would have, and nothing else (`LookingCritics`).

    Two kinds of batches come from :class:`handgen.datamodules.arm_rollouts.ArmRollouts`: for the warm start, ``obs``
    uint8 (B, C, H, 2 H), ``mask`` uint8 (B, H, H) and ``joints`` (B, 12), NaN where unknown; then those of
    :class:`handgen.sac.SAC` with ``hindsight`` bool (B,) and ``known``, a batch like the first.

    Args:
        observe: ``masks`` or ``pictures``, as the environment.
        size: height and width H of a picture, as the environment's.
        feature_dim: features of the encoders.
        joints_weight: w_j.
        digits_weight: w_d.
        held_digits_weight: replaces w_d while SAC rewards the actor.
        held_digits_slack: radians that a joint of a known digit may then be off for nothing: rewards may tip a finger
            forward, but not fold it.
        silhouette_weight: w_s.
        posture_weight: w_p.
        finger_weight: how much more a pixel of a finger weighs than others in the silhouette's error.
        imitation_weight: share of these terms that the actor keeps while SAC rewards it; without those of angles it
            comes to prefer other poses that look alike.
        critic_updates_first: updates of SAC before the critics move the actor.
        imitation_lr: largest learning rate of the actor in the warm start; it falls to ``actor_lr``.
        kwargs: those of :class:`handgen.sac.SAC`. With ``observe: masks`` the critics have layers of their own:
            ``hidden_dims`` are the actor's alone, and ``critic_layer_norm`` has no effect.

    Raises:
        UserError: in `setup`, if the environment shows or does what the silhouettes of our own arm do not fit.
    """

    def __init__(
        self,
        observe: Literal["masks", "pictures"] = "masks",
        size: int = 56,
        feature_dim: int = 256,
        joints_weight: float = 1.0,
        digits_weight: float = 2.0,
        held_digits_weight: float = 60.0,
        held_digits_slack: float = 0.33,
        silhouette_weight: float = 20.0,
        posture_weight: float = 0.02,
        finger_weight: float = 2.0,
        imitation_weight: float = 1.0,
        critic_updates_first: int = 500,
        imitation_lr: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        seen = SideBySide(CHANNELS[observe])

        def trunk() -> nn.Module:
            return ImitationEncoder(seen.feature_dim, size, feature_dim)

        super().__init__(obs_dim=0, action_dim=len(JOINTS), encoder=seen, trunk=trunk, **kwargs)
        self.save_hyperparameters(ignore=["encoder", "trunk"])
        for name in ("obs_dim", "action_dim"):
            self.hparams.pop(name)  # no arguments here: load_from_checkpoint would pass them on
        self.measured = as_tensors(FITTED)
        if observe == "masks":
            self.online.trunk = TargetMask(SILHOUETTE_SIZE)
            self.online.critics = LookingCritics(self.measured, self.equations.critics, SILHOUETTE_SIZE, SOFTNESS)  # type: ignore[assignment]
            self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.imitator = copy.deepcopy(self.actor).requires_grad_(False)
        self.register_buffer("rewarded", torch.zeros((), dtype=torch.bool))
        self.register_buffer("rewarded_updates", torch.zeros((), dtype=torch.int64))

    rewarded: Tensor
    rewarded_updates: Tensor

    def imitate(self, obs: Tensor) -> Tensor:
        """Actions (N, 12) of the actor as it was before it was rewarded."""
        actor = self.imitator if bool(self.rewarded) else self.mean_actor or self.actor
        with torch.no_grad():
            return actor.act(self.online.encoder(obs), deterministic=True)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, sampler: str | None = None) -> Tensor:
        """Pictures (N, 3, 64, 64) in [0, 1] of the arm in the poses of as many held-out built-in hands.

        Args:
            count: N.
            seed: chooses the hands.
            sampler: the policy ``rl``, or ``imitation``, what it was before it was rewarded.

        Raises:
            UserError: for a policy that there is not.
        """
        policies = {"rl": lambda obs: self.act(obs, True), "imitation": self.imitate}
        if sampler is not None and sampler not in policies:
            raise UserError(f"there is no sampler {sampler!r}: take rl or imitation")
        settings = {"size": self.hparams["size"], "observe": self.hparams["observe"]}
        env = ArmImitation(feed="synthetic", split="test", episode_decisions=DECISIONS, **settings)
        chosen = torch.randperm(len(env.feeds[0]), generator=torch.Generator().manual_seed(seed))[:count].tolist()
        try:
            return photographed(env, policies[sampler or "rl"], chosen, PHOTOGRAPH)
        finally:
            env.close()

    def setup(self, stage: str) -> None:
        """Compare the environment with what the networks were made for.

        Raises:
            UserError: see the class.
        """
        settings = getattr(getattr(self.trainer, "datamodule", None), "env_kwargs", None)
        if settings is None:
            return  # batches from elsewhere
        wanted = {"observe": settings.get("observe", "pictures"), "size": settings.get("size", 56)}
        for name, value in wanted.items():
            if self.hparams[name] != value:
                raise UserError(f"the arm shows {name}={value}: set --model.{name}={value}, or data.env_kwargs.{name}")
        foreign = {"action": "increments", "mirror": True, "urdf": settings.get("urdf") or "a file"}
        for name, value in foreign.items():
            if self.hparams["observe"] == "masks" and settings.get(name) == value:
                raise UserError(
                    f"warm start and critics draw silhouettes of our own arm from its angles: leave out "
                    f"data.env_kwargs.{name}={value}, or set observe=pictures with data.imitation_updates=0"
                )

    # Training.

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One update of the warm start, or one of SAC."""
        if "joints" in batch:
            terms = self.imitation_losses(batch)
            self.log_terms(terms)
            return self.imitation_loss(terms)
        if not self.rewarded:
            self.imitator.load_state_dict((self.mean_actor or self.actor).state_dict())
            self.rewarded.fill_(True)
        self.rewarded_updates += 1
        if self.logs_now:
            own = ~batch["hindsight"] if "hindsight" in batch else slice(None)
            self.log("train/reward", batch["reward"][own].mean())
        return super().training_step(batch, batch_idx)

    def imitation_loss(self, terms: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the warm start's terms."""
        total = torch.zeros(())
        for name, term in terms.items():
            total = total + self.hparams[f"{name}_weight"] * term
        return total

    def imitation_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Terms of the warm start; only the actor has a gradient."""
        joints = self.mean_joints(self.online.encoder(batch["obs"]))
        return {
            **self.pose_losses(joints, batch["joints"]),
            "silhouette": self.silhouette(joints, batch["mask"]),
        }

    def pose_losses(self, joints: Tensor, truth: Tensor, slack: float = 0.0) -> dict[str, Tensor]:
        """The warm start's terms of angles, by name.

        Args:
            joints: (B, 12) in radians.
            truth: (B, 12), NaN where unknown: all of a pose of the arm is known, of a hand at most the digits.
            slack: radians that a joint of a hand's known digits may be off.
        """
        hand = truth.isnan().any(dim=1)
        digits, known = joints[hand, :SIDEWAYS], truth[hand, :SIDEWAYS]
        return {
            "joints": joint_loss(joints[~hand], truth[~hand]),
            "digits": joint_loss(digits, known, slack),
            "posture": posture_loss(digits, known),
        }

    def mean_losses(self, mean: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """The warm start's term of silhouettes, which stays while the actor is rewarded, where targets are masks.

        With ``imitation_weight`` and its own.
        """
        weight = self.hparams["imitation_weight"] * self.hparams["silhouette_weight"]
        if not weight or self.hparams["observe"] != "masks":
            return {}
        target = (255.0 * (shared[:, 0] + 0.5)).round()  # what `SideBySide` has made of the target's mask
        return {"kept_silhouette": weight * self.silhouette(joints_of(torch.tanh(mean)), target)}

    def auxiliary_losses(self, batch: Batch, shared: Tensor) -> dict[str, Tensor]:
        """The warm start's terms of angles on a ``known`` batch, with ``imitation_weight`` and their own.

        Known digits are held: bent, closed fingers would fit the picture better.
        """
        weight = self.hparams["imitation_weight"]
        if not weight or "known" not in batch:
            return {}
        joints = self.mean_joints(self.online.encoder(self.answered(batch["known"]["obs"])))
        terms = self.pose_losses(joints, batch["known"]["joints"], self.hparams["held_digits_slack"])
        weights = {name: self.hparams[f"{name}_weight"] for name in terms} | {
            "digits": self.hparams["held_digits_weight"]
        }
        return {f"kept_{name}": weight * weights[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def answered(self, obs: Tensor) -> Tensor:
        """Observations uint8 (B, 1, H, 2 H), every other one with the arm where the actor would put it.

        Episodes go on from there. Held beside arms anywhere alone, the actor would fold a digit as soon as it sees that
        it has stretched it.
        """
        arms = draw_masks(self.measured, self.mean_joints(self.online.encoder(obs[::2])).cpu(), obs.shape[2])
        obs = obs.clone()
        obs[::2, 0, :, obs.shape[2] :] = arms.to(obs.device)
        return obs

    def mean_joints(self, shared: Tensor) -> Tensor:
        """The actor's mean pose (B, 12) in radians on images (B, 2 C, H, H)."""
        mean, _ = self.actor(shared)
        return joints_of(torch.tanh(mean))

    def silhouette(self, joints: Tensor, mask: Tensor) -> Tensor:
        """How far the silhouettes of poses are from masks (B, H, H), 0 or 255."""
        measured = {name: value.to(joints.device) for name, value in self.measured.items()}
        soft = soft_silhouette(measured, joints, SILHOUETTE_SIZE, SOFTNESS)
        return silhouette_loss(soft, mask, self.hparams["finger_weight"])

    def policy_losses(self, shared: Tensor, features: Tensor, temperature: Tensor) -> dict[str, Tensor]:
        """Those of SAC; the actor's only after a while."""
        terms = super().policy_losses(shared, features, temperature)
        if self.rewarded_updates <= self.hparams["critic_updates_first"]:
            terms.pop("actor")  # critics that know nothing yet would spoil poses that are good already
        return terms

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure nothing: returns are of all feeds together, and `ArmEvaluation` tells these apart."""

    def configure_optimizers(self) -> Any:
        """One Adam; the actor's rate falls during the warm start, as a cosine, to that of SAC."""
        optimiser = torch.optim.Adam(self.parameter_groups(), fused=True)
        updates = self.trainer.datamodule.imitation_updates  # type: ignore[attr-defined]
        largest = float(self.hparams["imitation_lr"] / (self.hparams["actor_lr"] or self.hparams["lr"]))

        def actor(step: int) -> float:
            if step >= updates:
                return 1.0
            return 1.0 + (largest - 1.0) * 0.5 * (1.0 + math.cos(math.pi * step / updates))

        rates = [actor if group["name"] == "actor" else lambda step: 1.0 for group in optimiser.param_groups]
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rates)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

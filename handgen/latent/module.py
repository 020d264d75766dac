"""The tuner as a LightningModule: soft actor-critic on the latents of a frozen VAE."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor

from handgen.anatomy.evaluation import FEATURE_JUDGE
from handgen.anatomy.judges import LEARNED, WEIGHTS, load_learned_judge
from handgen.errors import UserError, check_ranges
from handgen.latent.frozen import SETTINGS, open_vae
from handgen.latent.ladder import Rungs
from handgen.latent.repair import LatentRepair, check_repair_settings, displace
from handgen.latent.reward import MEASURED, RewardWeights, improvement
from handgen.latent.reward_model import RewardModel
from handgen.latent.tuned import keep_better
from handgen.random_state import seeded
from handgen.sac import SAC
from handgen.sac.equations import Variant
from handgen.vae.samplers import SAMPLERS, Sampler, temperature

Batch = dict[str, Any]
REFERENCE_IMAGES = 512
"""Training images that are reconstructed to know how sharp the decoder can be, and what features it gives."""


class TrainingImages(Protocol):
    """A source of images for :meth:`LatentTuner.prepare_sampling`."""

    def setup(self, stage: str) -> None:
        """Make the images available."""

    def images(self, split: str) -> Tensor:
        """Images of one split, uint8 (N, 3, H, W)."""


class LatentTuner(SAC):
    """Soft actor-critic that moves a VAE's latents to where the decoder draws right hands.

    The decoder is frozen; a decision displaces one latent, ``z' = z + scale * SD * a``; the reward looks at the decoded
    image. Closest in the literature: RL-GAN-Net (Sarmad et al. 2019, arXiv:1904.12304), which picks the input of a
    frozen generator, and DSRL (Wagenmaker et al. 2025, arXiv:2506.15799), SAC on the noise of a frozen diffusion model.
    With episodes of one step gamma is 0 (else 1) and the critics are a learnt model of the reward, which can choose
    among candidates without decoding any.

    Everything that optimises one judge alone deceives it (docs/vae_sac.md). Against that, numbered as there:

    1. the judge sees augmented views, of which the worst counts, and its log-probability saturates;
    2. discriminators, refreshed on the tuner's newest samples, ask whether they could come from training images;
       rewards of stored transitions are computed anew with them whenever they are drawn;
    3. displacements are bounded and cost something;
    4. the policy stays random while it learns: the temperature pays for entropy.

    Args:
        vae: checkpoint or run folder of a trained VAE (or of a tuner, for its VAE).
        latent_dim: number of latent dimensions L, which must be that of the VAE.
        start: sampler of the VAE that episodes begin with: ``prior``, ``gaussian``, ``gmm``, ``second_stage`` ...
        starts: latents drawn from it once, which episodes begin with.
        scale: largest displacement of a step, in standard deviations of the aggregate posterior.
        episode_length: steps of an episode, 1 to 5; above 1 the reward is the improvement.
        rewarded: the judge that gives reward, ``judge_a``; judge B's features measure coverage and distances.
        views: views of an image that the judge sees.
        judge_weight: weight of the judge in the reward; 0 leaves a term out.
        latent_realism_weight: of the discriminator of latents.
        feature_realism_weight: of the discriminator of the judge's features.
        diversity_weight: of the MMD witness of these features.
        sharpness_weight: of the penalty for blur.
        skin_weight: of the penalty for what has no skin tone.
        prior_weight: of the loss of log-density under N(0, I).
        displacement_weight: of the mean squared action.
        discriminator_lr: learning rate of the discriminators.
        discriminator_noise: standard deviation of noise on what the discriminator of latents learns from.
        sampler: what :meth:`sample` draws from by default, a name of :data:`handgen.latent.ladder.LADDER`.
        hidden_dims: hidden units of actor and critics.
        lr: learning rate of actor, critics and temperature.
        initial_temperature: alpha at the start.
        target_entropy: in nats; default ``-L``.
        tau: share of the critics in one step of their targets (episodes of several steps).
        variant: form of SAC's equations, ``sac`` or ``seed``.
    """

    def __init__(
        self,
        vae: str | None = None,
        latent_dim: int = 64,
        start: str = "gmm",
        starts: int = 16_384,
        scale: float = 1.0,
        episode_length: int = 1,
        rewarded: str = "judge_a",
        views: int = 2,
        judge_weight: float = 1.0,
        latent_realism_weight: float = 1.0,
        feature_realism_weight: float = 0.0,
        diversity_weight: float = 0.0,
        sharpness_weight: float = 0.1,
        skin_weight: float = 0.5,
        prior_weight: float = 0.0,
        displacement_weight: float = 1.0,
        discriminator_lr: float = 1e-3,
        discriminator_noise: float = 0.0,
        sampler: str = "tuner",
        hidden_dims: tuple[int, ...] = (256, 256),
        lr: float = 1e-3,
        initial_temperature: float = 0.1,
        target_entropy: float | None = None,
        tau: float = 0.005,
        variant: Variant = "sac",
    ) -> None:
        check_settings(vae, start, rewarded)
        check_repair_settings(scale, episode_length)
        check_ranges(
            views=(views, views >= 1, "be at least 1"),
            starts=(starts, starts >= 1, "be at least 1"),
            discriminator_lr=(discriminator_lr, 0.0 < discriminator_lr < math.inf, "be positive"),
            discriminator_noise=(discriminator_noise, 0.0 <= discriminator_noise < math.inf, "be 0 or more"),
        )
        several = episode_length > 1
        super().__init__(
            obs_dim=latent_dim + several,
            action_dim=latent_dim,
            hidden_dims=hidden_dims,
            variant=variant,
            gamma=float(several),
            tau=tau,
            lr=lr,
            initial_temperature=initial_temperature,
            target_entropy=target_entropy,
        )
        self.vae = open_vae(str(vae), latent_dim)
        weights = RewardWeights(
            judge_weight,
            latent_realism_weight,
            feature_realism_weight,
            diversity_weight,
            sharpness_weight,
            skin_weight,
            prior_weight,
            displacement_weight,
        )
        judge = load_learned_judge(WEIGHTS / f"{rewarded}.pt")
        self.reward = RewardModel(latent_dim, judge, weights, views, noise=discriminator_noise)
        self.starts = torch.zeros(0, latent_dim)

    # The world, made from training images.

    def prepare(self, train_images: Tensor) -> None:
        """Encode training images; everything that the world and the samplers need follows from them.

        Args:
            train_images: uint8 (N, 3, H, W).
        """
        if train_images.shape[-1] != (size := self.vae.hparams["image_size"]):
            raise UserError(f"the VAE takes images of {size} pixels, the data have {train_images.shape[-1]}")
        encoded = self.vae.encode_images(train_images)
        self.vae.priors.prepare(encoded)
        self.reward.set_moments(*encoded)
        generator = torch.Generator().manual_seed(0)
        real = self.reward.real_latents(REFERENCE_IMAGES, generator)
        with torch.no_grad(), seeded(0, self.device):
            images = [self.vae.decode(part) for part in self.reward.to_latent(real).split(128)]
            self.reward.set_reference(torch.cat(images))

    def world(self, count: int) -> LatentRepair:
        """Worlds side by side, for the source of experience; needs :meth:`prepare`."""
        if len(self.starts) == 0:
            generator = torch.Generator().manual_seed(0)
            drawn = self.start_sampler.sample(self.hparams["starts"], generator)
            self.starts = self.reward.standardise(drawn.to(self.device))
        h = self.hparams
        return LatentRepair(self.vae.decode, self.reward, self.starts, count, h["scale"], h["episode_length"])

    @property
    def start_sampler(self) -> Sampler:
        """Where episodes begin."""
        return self.vae.priors.get(self.hparams["start"])

    # Training.

    @torch.no_grad()
    def td_target(self, batch: Batch, temperature: Tensor) -> Tensor:
        """The target of SAC, on rewards that the discriminators give as they are now, (B,)."""
        terms = self.reward_terms(batch)
        reward = self.reward.weights.total(terms)
        if self.logs_now:
            named = {f"reward_{name}": value for name, value in terms.items()}
            self.log("train/reward", reward.mean(), prog_bar=True)
            self.log_dict({f"train/{name}": value.mean() for name, value in named.items()})
        return super().td_target({**batch, "reward": reward[:, None]}, temperature)

    def reward_terms(self, batch: Batch) -> dict[str, Tensor]:
        """Every term of the reward of stored transitions, (B,) each."""
        length, own = self.hparams["latent_dim"], batch["recent_features"]
        start, latent = batch["obs"][:, :length], batch["next_obs"][:, :length]
        terms = self.reward.potential(latent, batch["terms"], batch["features"], own)
        if self.hparams["episode_length"] > 1:
            before = self.reward.potential(start, batch["terms_before"], batch["features_before"], own)
            terms = {name: improvement(value, before[name], gamma=1.0) for name, value in terms.items()}
        return terms | self.reward.costs(start, latent, batch["action"])

    def auxiliary_losses(self, batch: Batch, shared: Tensor) -> dict[str, Tensor]:
        """The discriminators' loss, on what the policy would do now from the batch's states."""
        with torch.no_grad():
            action, _ = self.actor.sample(shared.detach())
            own = displace(shared[:, : self.hparams["latent_dim"]], action, self.hparams["scale"])
        loss = self.reward.loss(own, batch["recent_features"])
        return {"discriminator": loss} if loss.requires_grad else {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Those of SAC, and the discriminators with the short memory that alternating games need."""
        group = {"name": "discriminator", "lr": self.hparams["discriminator_lr"], "betas": (0.5, 0.99)}
        trained = [p for p in self.reward.parameters() if p.requires_grad]
        return [*super().parameter_groups(), {**group, "params": trained}] if trained else super().parameter_groups()

    @property
    def rewarded_judges(self) -> tuple[str, ...]:
        """Judges that gave reward, which may not grade."""
        return (self.hparams["rewarded"],)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure nothing: returns by a reward that learns cannot be compared between runs."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the settings of the VAE beside its weights, so that the checkpoint stands alone."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[SETTINGS] = dict(self.vae.hparams)

    # Use.

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior means and log variances (B, L) of images (B, 3, H, W) in [0, 1]."""
        return self.vae.encode(image)

    def decode(self, latent: Tensor) -> Tensor:
        """Decode (B, L) latents to (B, 3, H, W) images in [0, 1]."""
        return self.vae.decode(latent)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Reconstruct images (B, 3, H, W) in [0, 1] by the VAE alone."""
        return self.vae.reconstruct(image)

    def move(self, latent: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Play an episode without looking: (B, L) standardised latents to tuned ones.

        Args:
            latent: (B, L).
            generator: of sampled actions; None takes the mean action.
        """
        length = self.hparams["episode_length"]
        for step in range(length):
            mean, log_std = self.actor(self.observe(latent, step))
            if generator is not None:
                noise = torch.randn(mean.shape, generator=generator).to(mean.device)
                mean = mean + log_std.exp() * noise
            latent = displace(latent, torch.tanh(mean), self.hparams["scale"])
        return latent

    def observe(self, latent: Tensor, step: int) -> Tensor:
        """Observation (B, O) of standardised latents (B, L) before a step."""
        length = self.hparams["episode_length"]
        if length == 1:
            return latent
        return torch.cat([latent, latent.new_full((len(latent), 1), step / length)], dim=1)

    @torch.no_grad()
    def value(self, latent: Tensor) -> Tensor:
        """What the critics expect of standardised latents (B, L) under the mean action, (B,); nothing is decoded."""
        obs = self.observe(latent, 0)
        values: Tensor = self.online.critics(obs, self.actor.act(obs, deterministic=True))
        return values.amin(0)

    @torch.no_grad()
    def potential(self, latent: Tensor) -> Tensor:
        """Reward of standardised latents (B, L) without costs, (B,); decodes them."""
        seen = self.reward.measure(self.decode(self.reward.to_latent(latent)))
        return self.reward.weights.total(self.reward.potential(latent, seen.terms, seen.features, seen.features))

    @torch.no_grad()
    def quality(self, latent: Tensor) -> Tensor:
        """What is seen in the images of standardised latents (B, L), weighted, (B,): what the gate compares.

        The discriminators have no say: they learnt to tell the tuner's samples from real ones, so that they would take
        back nearly every move, and good ones first. The judge sees one view, without chance: both sides alike.
        """
        seen = self.reward.measure(self.decode(self.reward.to_latent(latent)), views=1)
        return self.reward.weights.total(dict(zip(MEASURED, seen.terms.unbind(1), strict=True)))

    @torch.no_grad()
    def repair(self, image: Tensor, gate: bool = True) -> Tensor:
        """Encode images, tune their latents, decode: image-conditional tuning.

        Args:
            image: (B, 3, H, W) in [0, 1].
            gate: keep the plain reconstruction where it looks better (:meth:`quality`).

        Returns:
            (B, 3, H, W) in [0, 1].
        """
        start = self.reward.standardise(self.encode(image)[0])
        tuned = self.move(start)
        if gate:
            tuned = keep_better(start, tuned, self.quality)
        return self.decode(self.reward.to_latent(tuned))

    def samplers(self, train_images: Tensor, names: Iterable[str] | None = None) -> dict[str, Sampler]:
        """The ladder: plain priors, searches and the tuner, all with the same decoder.

        Args:
            train_images: uint8 (N, 3, H, W).
            names: which rungs (:mod:`handgen.latent.ladder`); None takes all.
        """
        if self.vae.priors.encoded is None:
            self.prepare(train_images)
        return Rungs(self).samplers(names)

    @torch.inference_mode(False)
    def prepare_sampling(self, datamodule: TrainingImages) -> None:
        """Encode a data module's training images, for :meth:`sample`."""
        datamodule.setup("fit")
        if self.vae.priors.encoded is None:
            self.prepare(datamodule.images("train"))

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, sampler: str | None = None, batch_size: int = 256) -> Tensor:
        """Draw images.

        Args:
            count: number of images.
            seed: the same seed gives the same images.
            sampler: name of a rung; default is the constructor's.
            batch_size: images decoded at a time.

        Returns:
            (count, 3, H, W) in [0, 1].
        """
        name = sampler or self.hparams["sampler"]
        latent = Rungs(self).samplers([name])[name].sample(count, torch.Generator().manual_seed(seed))
        return torch.cat([self.decode(part.to(self.device)) for part in torch.split(latent, batch_size)])


def check_settings(vae: str | None, start: str, rewarded: str) -> None:
    """Refuse settings that cannot work before anything is read.

    Raises:
        UserError: naming the setting and what it takes.
    """
    if not vae:
        raise UserError("the tuner needs a trained VAE: give --model.vae=RUN_FOLDER (or starts_from, which finds one)")
    if start.startswith("temperature_"):
        temperature(start)
    elif start not in SAMPLERS:
        raise UserError(f"unknown start {start!r}: choose one of {', '.join(SAMPLERS)}")
    allowed = [name for name in LEARNED if name != FEATURE_JUDGE]
    if rewarded not in allowed:
        raise UserError(f"rewarded must be {' or '.join(allowed)}, not {rewarded!r}: {FEATURE_JUDGE} measures coverage")

"""The convolutional variational auto-encoder as a LightningModule."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Literal, Protocol

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from handgen.errors import UserError, check_at_least, check_positive, check_ranges
from handgen.precision import Compute, autocast
from handgen.vae import losses
from handgen.vae.fitted import FittedSamplers
from handgen.vae.losses import Scale
from handgen.vae.networks import Autoencoder, Norm, update_average
from handgen.vae.objective import Likelihood, Objective
from handgen.vae.samplers import SAMPLERS, Sampler


class TrainingImages(Protocol):
    """A source of images for :meth:`VAE.prepare_sampling`, such as ``HandsDataModule``."""

    def setup(self, stage: str) -> None:
        """Make the images available."""

    def images(self, split: str) -> Tensor:
        """Images of one split, uint8 (N, 3, H, W)."""


class VAE(LightningModule):
    """Convolutional VAE: Kingma and Welling 2014 (arXiv:1312.6114), with a calibrated decoder by default.

    Minimises, in nats per image value::

        loss = (NLL(x | z) + beta * warmup * KL(q(z | x) || N(0, I)) + detail) / D

    where NLL is one of the likelihoods of :mod:`handgen.vae.losses`: ``calibrated`` (sigma-VAE, Rybkin et al.
    2021, arXiv:2006.13202), ``laplace`` (the same with an absolute error), ``pyramid`` (the same over frequency bands
    and relative to each image's contrast) or ``beta`` (squared error of unit
    variance, beta-VAE, Higgins et al. 2017). Differences from those papers, numbered as in ``docs/vae.md``:

    1. The weight ``beta`` applies under every likelihood, and its default is below 1.
    2. A likelihood over frequency bands (``pyramid``), and an optional term that sharpens edges (``detail_weight``).
    3. The evaluated weights are a moving average of the trained ones (``ema_decay``).
    4. Samples come from a prior fitted to encoded training images after training (``sampler``).
    5. The network (`handgen.vae.networks`). 6. The learning rate's schedule. 7. Validation has its own noise.

    Args:
        image_size: side of the square images in pixels: 16, 32, 64, 128 or 256.
        latent_dim: number of latent dimensions L.
        width: channels of the stage of highest resolution; doubled at each halving.
        max_width: most channels of any stage.
        norm: ``batch`` or ``group`` normalisation.
        blocks: residual blocks at each stage of 16x16 and below.
        likelihood: ``pyramid`` (calibrated over bands and contrasts), ``calibrated``, ``laplace`` or ``beta``.
        scale: what shares a calibrated scale: the batch (``shared``), each ``channel`` or each ``image``.
        beta: weight of the KL term.
        kl_warmup_steps: optimiser steps over which the KL weight grows from 0.
        free_bits_nats: free allowance of each latent dimension, nats (Kingma et al. 2016, arXiv:1606.04934).
        detail_weight: weight of the Laplacian-pyramid term, relative to the likelihood; 0 is off.
        ema_decay: decay of the weights' moving average per step, in [0, 1); 0 is off.
        optimizer: ``adam`` or ``adamw``.
        lr: peak learning rate.
        weight_decay: of AdamW.
        lr_warmup_steps: optimiser steps of linear warm-up.
        lr_schedule: ``cosine`` to zero at the end of training, or ``constant``.
        channels_last: memory layout of images and weights; faster on CPUs and GPUs with tensor cores.
        compute: number format of the training step's forward pass: ``auto`` takes bfloat16 where the hardware is
            faster with it (`handgen.precision`), ``float32`` or ``bfloat16``.
        sampler: where :meth:`sample` draws latents by default, one of :data:`handgen.vae.samplers.SAMPLERS`.
        gmm_components: components of the ``gmm`` sampler.
        second_stage_kind: ``flow`` (flow matching) or ``vae`` (Dai and Wipf 2019) behind ``second_stage``.
        second_stage_steps: optimiser steps of the second stage.
    """

    def __init__(
        self,
        image_size: int = 64,
        latent_dim: int = 64,
        width: int = 32,
        max_width: int = 256,
        norm: Norm = "batch",
        blocks: int = 0,
        likelihood: Likelihood = "calibrated",
        scale: Scale = "shared",
        beta: float = 0.2,
        kl_warmup_steps: int = 300,
        free_bits_nats: float = 0.0,
        detail_weight: float = 0.0,
        ema_decay: float = 0.995,
        optimizer: Literal["adam", "adamw"] = "adam",
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        lr_warmup_steps: int = 100,
        lr_schedule: Literal["cosine", "constant"] = "cosine",
        channels_last: bool = True,
        compute: Compute = "auto",
        sampler: str = "gmm",
        gmm_components: int = 40,
        second_stage_kind: Literal["flow", "vae"] = "flow",
        second_stage_steps: int = 1500,
    ) -> None:
        super().__init__()
        if sampler not in SAMPLERS:
            raise UserError(f"unknown sampler {sampler!r}: choose one of {', '.join(SAMPLERS)}")
        check_ranges(ema_decay=(ema_decay, 0.0 <= ema_decay < 1.0, "lie in [0, 1)"))
        check_positive(lr=lr)
        check_at_least(0, weight_decay=weight_decay, lr_warmup_steps=lr_warmup_steps)
        check_at_least(1, gmm_components=gmm_components, second_stage_steps=second_stage_steps)
        self.save_hyperparameters()
        self.networks = Autoencoder(image_size, latent_dim, width, max_width, norm, blocks)
        if channels_last:
            self.networks = self.networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.networks).requires_grad_(False)
        self.objective = Objective(likelihood, scale, beta, kl_warmup_steps, free_bits_nats, detail_weight)
        self.priors = FittedSamplers(latent_dim, gmm_components, second_stage_kind, second_stage_steps)
        self.eval_means: list[Tensor] = []

    # Use: everything below works on the averaged weights, in evaluation mode.

    @property
    def evaluated(self) -> Autoencoder:
        """The averaged networks in evaluation mode, whatever mode Lightning has put the module in."""
        return self.average.eval()

    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images.

        Args:
            image: (B, 3, H, W) in [0, 1].

        Returns:
            ``mu`` and ``log_var`` of the posterior, (B, L) each.
        """
        mu, log_var = self.evaluated.encoder(self.layout(image))
        return mu, log_var

    def decode(self, latent: Tensor) -> Tensor:
        """Decode (B, L) latents to (B, 3, H, W) images in [0, 1]; differentiable in the latent."""
        image: Tensor = self.evaluated.decoder(latent)
        return image

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct images: :meth:`reconstruct`."""
        return self.reconstruct(image)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Decode the posterior mean of (B, 3, H, W) images in [0, 1]."""
        return self.decode(self.encode(image)[0])

    @torch.no_grad()
    def interpolate(self, first: Tensor, second: Tensor, steps: int = 8) -> Tensor:
        """Decode the straight line between the posterior means of two batches of images.

        Args:
            first: (B, 3, H, W) in [0, 1].
            second: (B, 3, H, W) in [0, 1].
            steps: points on the line, both ends included.

        Returns:
            (B, steps, 3, H, W) in [0, 1].
        """
        start, end = self.encode(first)[0], self.encode(second)[0]
        points = [torch.lerp(start, end, share) for share in torch.linspace(0.0, 1.0, steps).tolist()]
        return torch.stack([self.decode(point) for point in points], dim=1)

    @torch.no_grad()
    def traverse(self, image: Tensor, dimension: int, span: float = 2.0, steps: int = 9) -> Tensor:
        """Decode one image's latent with one dimension moved along a range.

        Args:
            image: (1, 3, H, W) in [0, 1].
            dimension: latent dimension that moves.
            span: largest displacement to either side, in standard deviations of the prior.
            steps: points of the range.

        Returns:
            (steps, 3, H, W) in [0, 1]; the middle one of an odd number is the reconstruction.
        """
        latent = self.encode(image)[0].repeat(steps, 1)
        latent[:, dimension] += torch.linspace(-span, span, steps, device=latent.device)
        return self.decode(latent)

    @torch.no_grad()
    def encode_images(self, images: Tensor, batch_size: int = 256) -> tuple[Tensor, Tensor]:
        """Encode a whole split.

        Args:
            images: uint8 (N, 3, H, W).
            batch_size: images encoded at a time.

        Returns:
            ``mu`` and ``log_var``, (N, L) each, on the CPU.
        """
        pairs = [self.encode(chunk.to(self.device).float() / 255.0) for chunk in torch.split(images, batch_size)]
        mu, log_var = (torch.cat(parts).cpu() for parts in zip(*pairs, strict=True))
        return mu, log_var

    def samplers(self, train_images: Tensor, names: Iterable[str] = SAMPLERS, seed: int = 0) -> dict[str, Sampler]:
        """Fit samplers to encoded training images.

        Args:
            train_images: uint8 (N, 3, H, W).
            names: which ones.
            seed: of everything random in the fits.

        Returns:
            Samplers by name.
        """
        priors = dataclasses.replace(self.priors, encoded=self.encode_images(train_images), seed=seed, fitted={})
        return {name: priors.get(name) for name in names}

    @torch.inference_mode(False)
    def prepare_sampling(self, datamodule: TrainingImages) -> None:
        """Encode a data module's training images; :meth:`sample` fits its sampler to them on first use."""
        datamodule.setup("fit")
        self.priors.prepare(self.encode_images(datamodule.images("train")))

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0, sampler: str | None = None, batch_size: int = 256) -> Tensor:
        """Draw images from a prior.

        Args:
            count: number of images.
            seed: the same seed gives the same images on every device, up to rounding.
            sampler: name of the sampler; default is the constructor's.
            batch_size: images decoded at a time.

        Returns:
            (count, 3, H, W) in [0, 1].

        Raises:
            UserError: if the sampler needs training images and :meth:`prepare_sampling` has not been called.
        """
        name = sampler or self.hparams["sampler"]
        latent = self.priors.get(name).sample(count, torch.Generator().manual_seed(seed)).to(self.device)
        return torch.cat([self.decode(chunk) for chunk in torch.split(latent, batch_size)])

    def layout(self, image: Tensor) -> Tensor:
        """The image in the memory layout of the weights."""
        return image.contiguous(memory_format=torch.channels_last) if self.hparams["channels_last"] else image

    # Training.

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """One step on ``batch["image"]``, float (B, 3, H, W) in [0, 1]."""
        image = self.layout(batch["image"])
        with autocast(self.device, self.hparams["compute"]):
            recon, mu, log_var = self.networks(image)
        terms = self.objective(recon, image, mu, log_var, self.global_step)
        self.log("train/loss", terms["total"], prog_bar=True)
        self.log("train/mse", (recon.detach() - image).square().mean())
        self.log_dict({f"loss/{name}": value for name, value in terms.items() if name != "total"})
        return terms["total"]

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the averaged weights.

        Early steps n use a shorter memory, ``min(decay, (1 + n) / (10 + n))``.
        It is done here rather than in ``on_train_batch_end`` because callbacks run before the module there,
        and a checkpoint would hold the average of the step before.
        """
        super().optimizer_step(*args, **kwargs)
        n = self.global_step
        update_average(self.average, self.networks, min(self.hparams["ema_decay"], (1 + n) / (10 + n)))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Forget samplers fitted on older weights."""
        self.priors.prepare(None)

    # Evaluation, on held-out images only.

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log ``eval/loss``, ``eval/recon``, ``eval/kl``, ``eval/elbo`` (nats per image) and ``eval/mse``."""
        image = self.layout(batch["image"])
        # Its own noise: evaluation is repeatable, and leaves the random numbers of training as they are.
        recon, mu, log_var = self.evaluated(image, torch.Generator(self.device).manual_seed(batch_idx))
        terms = self.objective(recon, image, mu, log_var, step=self.hparams["kl_warmup_steps"])
        metrics = {"eval/loss": terms["total"], "eval/recon": terms["recon"], "eval/kl": terms["kl"]}
        metrics["eval/elbo"] = -terms["recon"] - terms["kl"]
        metrics["eval/mse"] = (self.decode(mu) - image).square().mean()
        self.log_dict(metrics, on_epoch=True, sync_dist=True, batch_size=len(image))
        self.eval_means.append(mu.detach())

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """The same as validation, on the test split."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log ``eval/active_units``: latent dimensions whose mean varies over the held-out images."""
        means = torch.cat(self.eval_means) if self.eval_means else torch.zeros(2, 1)
        self.eval_means.clear()
        self.log("eval/active_units", losses.active_units(means), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        """The same as after validation."""
        self.on_validation_epoch_end()

    # Optimisation.

    def configure_optimizers(self) -> Any:
        """One optimiser; linear warm-up, then a constant rate or half a cosine down to zero."""
        h = self.hparams
        parameters = list(self.networks.parameters())
        optimiser: torch.optim.Optimizer = torch.optim.Adam(parameters, lr=h["lr"])
        if h["optimizer"] == "adamw":
            optimiser = torch.optim.AdamW(parameters, lr=h["lr"], weight_decay=h["weight_decay"])
        total = self.trainer.estimated_stepping_batches if h["lr_schedule"] == "cosine" else math.inf

        def rate(step: int) -> float:
            return losses.linear_warmup(step, h["lr_warmup_steps"]) * cosine(step / total)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def cosine(progress: float) -> float:
    """Half a cosine from 1 at progress 0 to 0 at progress 1 and beyond."""
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))

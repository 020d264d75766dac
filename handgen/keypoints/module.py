"""IMM as a LightningModule: keypoints learnt without labels by redrawing one frame from the looks of another."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from handgen.errors import UserError, check_choices, check_ranges
from handgen.keypoints import losses, warps
from handgen.keypoints.coordinates import Marginals, gaussian_heatmaps, marginals_of
from handgen.keypoints.networks import GenNet, KeyNet, Layers
from handgen.keypoints.probe import PROBES, Probed, figures
from handgen.precision import Compute, autocast
from handgen.results import Measurement

Batch = dict[str, Tensor]
Source = Literal["another", "bent"]
Crop = Literal["none", "same", "independent"]
Schedule = Literal["cosine", "constant"]
BACKGROUND_FRAMES = 500
BENT, BEND = (0.26, 0.15, 0.15), 0.08
"""How sources are bent: rotation (radians), zoom and shift, and displacements ([-1, 1] units) of a lattice."""


class IMM(LightningModule):
    """Image-maker method: Jakab, Gupta, Bilen and Vedaldi 2018 (arXiv:1806.07823).

    KeyNet finds K points in a target frame x'; GenNet redraws x' from the heat maps of these points and from another
    frame x, which shows what things look like but not where they are (eq. 1)::

        loss = sum w |GenNet(x, heatmaps(KeyNet(x'))) - x'|^2 / sum w
               + equivariance_weight * mean |KeyNet(T x') - T KeyNet(x')|^2

               + separation_weight * mean_jk exp(-|p_j - p_k|^2 / (2 separation_sigma^2))
               + concentration_weight * variance of the score maps around their points

    Differences from the paper, numbered as in ``docs/imm.md``; ``experiments/paper/imm.yaml`` undoes 1 to 7:

    1. A small network with score maps at half the image's resolution (``layers``, `handgen.keypoints.networks`).
    2. One softmax over all cells instead of softmaxes of means (``marginals``).
    3. Pixels that differ from the median background weigh more (``foreground_weight``).
    4. Points must follow when the foreground is turned, scaled and shifted (``equivariance_weight``), after Thewlis
       et al. 2017 (arXiv:1705.02193).
    5. Points repel each other and score maps are compact (``separation_weight``, ``concentration_weight``), after
       Zhang et al. 2018 (arXiv:1804.04412).
    6. A learning rate that falls to zero along half a cosine (``lr_schedule``).
    7. No crop by default; one crop for source and target is possible (``crop``).
    8. Pixels instead of a perceptual loss. 9. Two frames of a video instead of two warps of a photograph.
    10. Coordinates have -1 and 1 at the borders of the frame, at every resolution.

    An option beside these: transported features (``transporter``), after Kulkarni et al. 2019 (arXiv:1906.11883).

    Args:
        keypoints: K, at least 1.
        image_size: side of the square frames in pixels, at least 16.
        width: channels of the first layers.
        layers: ``small`` or ``published``.
        map_reduction: of the frame's side by the score maps, 2 or 4 (``small`` alone).
        marginals: ``joint`` or ``published``.
        temperature: of the marginals' softmax.
        sigma: width of the heat maps ``exp(-d^2 / sigma^2)``, in [-1, 1] units.
        source: where a target's source comes from: ``another`` frame of the batch, for videos, or the target ``bent``,
            for photographs.
        transporter: transport features of the target instead of concatenating heat maps.
        foreground_weight: weight of surely foreground pixels, on top of 1; 0 needs no background.
        foreground_threshold: difference from the background, in [0, 1], from which a pixel surely is foreground.
        foreground_warp: whether ``equivariance_weight`` turns the foreground alone, which needs a fixed camera, or the
            whole frame.
        equivariance_weight: weight of the equivariance term; 0 is off.
        robust_equivariance: take the distance in it, not its square.
        rotation_deg: largest rotation of the warp, degrees.
        zoom: largest change of size of the warp; 0.1 is from 1/1.1 to 1.1.
        shift: largest shift of the warp, in [-1, 1] units.
        separation_weight: weight of the repulsion between points; 0 is off.
        separation_sigma: distance over which points repel, in [-1, 1] units.
        concentration_weight: weight of the spread of the score maps; 0 is off.
        concentration_from_step: optimiser step from which this term grows to its weight, over as many steps again:
            points must find their places first.
        crop: ``none``, ``same`` for source and target, or ``independent``, which asks of the points to tell the offset.
        crop_share: side of the cropped square as a share of the frame's.
        lr: Adam's peak learning rate.
        lr_schedule: ``cosine`` to zero at the end of training, or ``constant``.
        lr_warmup_steps: optimiser steps of linear warm-up.
        image_channels: C, 3 for single frames, 3 T for stacks of T.
        compute: number format of training: ``auto``, ``float32`` or ``bfloat16`` (`handgen.precision`).

    Raises:
        UserError: for K < 1, an image smaller than the encoder allows, or a crop that is.
    """

    def __init__(
        self,
        keypoints: int = 8,
        image_size: int = 84,
        width: int = 16,
        layers: Layers = "small",
        map_reduction: int = 2,
        marginals: Marginals = "joint",
        temperature: float = 1.0,
        sigma: float = 0.1,
        source: Source = "another",
        transporter: bool = False,
        foreground_weight: float = 20.0,
        foreground_threshold: float = 0.1,
        foreground_warp: bool = True,
        equivariance_weight: float = 0.3,
        robust_equivariance: bool = False,
        rotation_deg: float = 180.0,
        zoom: float = 0.1,
        shift: float = 0.2,
        separation_weight: float = 0.0,
        separation_sigma: float = 0.1,
        concentration_weight: float = 0.0,
        concentration_from_step: int = 250,
        crop: Crop = "none",
        crop_share: float = 0.9,
        lr: float = 1e-3,
        lr_schedule: Schedule = "cosine",
        lr_warmup_steps: int = 50,
        compute: Compute = "auto",
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        check_choices(  # an agent's settings of IMM come past the command line's own check
            layers=(layers, Layers),
            marginals=(marginals, Marginals),
            source=(source, Source),
            crop=(crop, Crop),
            lr_schedule=(lr_schedule, Schedule),
            compute=(compute, Compute),
        )
        check_ranges(
            keypoints=(keypoints, isinstance(keypoints, int), "be a whole number"),
            width=(width, isinstance(width, int) and width >= 1, "be a whole number of at least 1"),
            lr=(lr, 0.0 <= lr < math.inf, "be 0 or more"),
        )
        side = image_size if crop == "none" else int(crop_share * image_size)
        if sigma <= 0 or temperature <= 0 or not 0 < crop_share <= 1:
            raise UserError("sigma and temperature must be positive, crop_share in (0, 1]")
        self.keynet = KeyNet(keypoints, side, width, layers, marginals, temperature, map_reduction, image_channels)
        self.gennet = GenNet(keypoints, width, layers, transporter, image_channels)
        self.to(memory_format=torch.channels_last)
        self.background: Tensor
        self.register_buffer("background", torch.full((image_channels, image_size, image_size), math.nan))
        self.probed: list[Probed] = []
        self.measurements: list[Measurement] = []

    # Use.

    def forward(self, image: Tensor) -> Tensor:
        """Keypoints (B, K, 2) as (x, y) in [-1, 1] of frames (B, 3, H, W) in [0, 1]."""
        keypoints: Tensor = self.keynet(image.contiguous(memory_format=torch.channels_last))
        return keypoints

    def heatmaps(self, keypoints: Tensor, height: int, width: int) -> Tensor:
        """Heat maps (B, K, height, width) of keypoints (B, K, 2)."""
        return gaussian_heatmaps(keypoints, height, width, self.hparams["sigma"])

    def reconstruct(self, source: Tensor, target: Tensor) -> Tensor:
        """The target (B, 3, H, W) redrawn from its keypoints and the source's looks, in [0, 1]."""
        return self._generate(source, target, self(target), self(source)).clamp(0.0, 1.0)

    @torch.no_grad()
    def fit_background(self, frames: Tensor) -> None:
        """Take the median over frames, uint8 (N, 3, H, W), for the background of a camera that does not move."""
        spread = frames[:: max(1, len(frames) // BACKGROUND_FRAMES)]
        self.background.copy_(spread.to(self.background.device).median(dim=0).values.float() / 255)

    @property
    def needs_background(self) -> bool:
        """Whether any term asks what is foreground."""
        h = self.hparams
        return bool(h["foreground_weight"] > 0 or (h["equivariance_weight"] > 0 and h["foreground_warp"]))

    def sources(self, image: Tensor) -> Tensor:
        """The frames (B, C, H, W) that each of a batch is redrawn from; evaluation leaves training's random numbers."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            return image.roll(1, 0) if self.hparams["source"] == "another" else self._bend(image)

    # Training.

    def on_fit_start(self) -> None:
        """Take the background from the training frames, once.

        Raises:
            UserError: if the frames are of another size than ``image_size``.
        """
        frames = self.trainer.datamodule.images("train")  # type: ignore[attr-defined]
        if frames.shape[2:] != self.background.shape[1:]:
            size, expected = frames.shape[-1], self.background.shape[-1]
            raise UserError(f"data.image_size={size} and model.image_size={expected} must be the same")
        if self.needs_background and self.background.isnan().any():
            self.fit_background(frames)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on ``batch["image"]``, float (B, 3, H, W) in [0, 1]; each frame's source is the one before it."""
        terms = self.terms(batch["image"])
        loss = self.total(terms, self.global_step)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/mse", terms["mse"])
        self.log_dict({f"loss/{name}": term.detach() for name, term in terms.items() if name != "mse"})
        return loss

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """The terms of the loss on frames (B, 3, H, W) in [0, 1], and ``mse``, which is only to be watched."""
        image, background = self._crop(image)
        image = image.contiguous(memory_format=torch.channels_last)
        scores, terms = self._scores_and_equivariance(image, background)
        keypoints = self.keynet.read(scores)
        terms |= self._reconstruction(image, background, keypoints)
        if self.hparams["separation_weight"] > 0:
            terms["separation"] = losses.separation(keypoints, self.hparams["separation_sigma"])
        if self.hparams["concentration_weight"] > 0:
            columns, rows = marginals_of(scores, self.keynet.marginals, self.keynet.temperature)
            terms["concentration"] = losses.concentration(columns, rows, keypoints)
        return terms

    def total(self, terms: dict[str, Tensor], step: int) -> Tensor:
        """The loss, scalar.

        Args:
            terms: of :meth:`terms`.
            step: updates of the keypoints before this one.
        """
        return torch.stack([self.term_weight(name, step) * terms[name] for name in terms if name != "mse"]).sum()

    def term_weight(self, name: str, step: int) -> float:
        """Weight of a term of the loss at a step."""
        weight = 1.0 if name == "recon" else float(self.hparams[f"{name}_weight"])
        if name != "concentration":
            return weight
        start = max(1, int(self.hparams["concentration_from_step"]))
        return weight * min(1.0, max(0.0, step / start - 1.0))

    def _scores_and_equivariance(self, image: Tensor, background: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Score maps of the frames, and how badly the points of warped frames follow; one pass for both."""
        h = self.hparams
        if h["equivariance_weight"] == 0:
            with autocast(self.device, h["compute"]):
                return self.keynet.score_maps(image), {}
        maps = warps.random_similarity(len(image), image.device, math.radians(h["rotation_deg"]), h["zoom"], h["shift"])
        if h["foreground_warp"]:
            moved = warps.warp_foreground(image, maps, background, h["foreground_threshold"])
        else:
            moved = warps.warp_images(image, maps)
        both = torch.cat([image, moved]).contiguous(memory_format=torch.channels_last)
        with autocast(self.device, h["compute"]):
            scores, moved_scores = self.keynet.score_maps(both).chunk(2)
        expected = warps.warp_points(self.keynet.read(scores), maps)
        return scores, {
            "equivariance": losses.equivariance(self.keynet.read(moved_scores), expected, h["robust_equivariance"])
        }

    def _reconstruction(self, image: Tensor, background: Tensor, keypoints: Tensor) -> dict[str, Tensor]:
        """The weighted error ``recon`` of the frames redrawn from their keypoints and sources, and the plain one."""
        h = self.hparams
        if h["source"] == "another":
            redrawn = self._generate(image.roll(1, 0), image, keypoints, keypoints.roll(1, 0))
        else:
            source = self._bend(image)
            redrawn = self._generate(source, image, keypoints, self.keynet(source) if h["transporter"] else keypoints)
        error = losses.squared_error(redrawn, image)
        if h["foreground_weight"] == 0:
            return {"recon": error, "mse": error.detach()}
        mask = losses.foreground_mask(image, background, h["foreground_threshold"])
        weighted = losses.weighted_squared_error(redrawn, image, 1.0 + h["foreground_weight"] * mask)
        return {"recon": weighted, "mse": error.detach()}

    def _generate(self, source: Tensor, target: Tensor, keypoints: Tensor, source_keypoints: Tensor) -> Tensor:
        """The target redrawn, not clipped."""
        size = self.gennet.map_size(*source.shape[2:])
        maps, source_maps = (self.heatmaps(points, *size) for points in (keypoints, source_keypoints))
        with autocast(self.device, self.hparams["compute"] if self.training else "float32"):
            image: Tensor = self.gennet(source, maps, target, source_maps)
        return image.float()

    def _bend(self, image: Tensor) -> Tensor:
        """The frames turned a little, scaled, shifted and bent: other places, the same looks."""
        maps = warps.random_similarity(len(image), image.device, *BENT)
        return warps.warp_elastic(image, maps, BEND).contiguous(memory_format=torch.channels_last)

    def _crop(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The frames and the background behind them, cropped as asked."""
        background = self.background.expand_as(image)
        if self.hparams["crop"] == "none":
            return image, background
        side = int(self.hparams["crop_share"] * image.shape[-1])
        one = self.hparams["crop"] == "same"
        both = warps.random_crop(torch.cat([image, background], dim=1), side, one_for_all=one)
        return both[:, : image.shape[1]], both[:, image.shape[1] :]

    # Evaluation, with labels that training never sees.

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the keypoints of the probe's frames (``split`` 0) and of the test frames (1)."""
        image = batch["image"]
        labels = {name: batch[name].cpu() for name in PROBES if name in batch}
        if batch_idx == 0:
            self.log("eval/mse", losses.squared_error(self.reconstruct(self.sources(image), image), image))
        if labels:
            self.probed.append(Probed(self(image).cpu(), batch["split"].cpu(), labels))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """The same as validation."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Fit the probes on one half of the labelled frames, and log how they do on the other."""
        self._measure(intervals=False)

    def on_test_epoch_end(self) -> None:
        """The same as after validation, with intervals."""
        self._measure(intervals=True)

    def _measure(self, intervals: bool) -> None:
        self.measurements = figures(self.probed, intervals)
        self.probed = []
        self.log_dict({f"eval/{m.metric}": m.value for m in self.measurements})

    # Optimisation.

    def configure_optimizers(self) -> Any:
        """Adam; linear warm-up, then a constant rate or half a cosine down to zero."""
        optimiser = torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.lr_factor(step, total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def lr_factor(self, step: int, total: int) -> float:
        """Share of the peak learning rate after ``step`` of ``total`` updates of the keypoints."""
        warm: float = min(1.0, (step + 1) / (self.hparams["lr_warmup_steps"] + 1))
        if self.hparams["lr_schedule"] == "constant":
            return warm
        return warm * 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / total)))


def build_imm(settings: dict[str, Any] | None, **sizes: Any) -> IMM:
    """Keypoints for an agent.

    Args:
        settings: arguments of `IMM`, as written in an experiment.
        sizes: arguments that follow from the agent; ``settings`` may say otherwise, but for the shape of its images.

    Raises:
        UserError: for a setting that there is not, or of the wrong type.
    """
    own = {"image_size", "image_channels"} & set(settings or {})
    if own:
        raise UserError(f"imm: {', '.join(sorted(own))} cannot be set: keypoints see what the agent sees")
    try:
        return IMM(**{**sizes, **(settings or {})})
    except TypeError as error:
        raise UserError(
            f"imm: {str(error).removeprefix('IMM.__init__() ')} (--model.help=handgen.keypoints.IMM)"
        ) from error

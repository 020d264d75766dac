"""Training the judges: two classifiers and the keypoint regressor behind the geometric judge.

The classifiers learn validity, kind and number of digits at once; only validity is used afterwards, but the other
two make it learn anatomy. Photographs, where there are some, are assumed valid and never labelled by hand; edited
copies with a planted malformation are their negatives (`handgen.anatomy.photo_edits`).

Sources: automatic good/bad pairs made by degrading real hands are from HandEval (arXiv 2510.08978); domain
randomisation from Tobin et al. 2017 (arXiv 1703.06907).
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F

from handgen.anatomy import degradation
from handgen.anatomy.geometric import GeometricJudge
from handgen.anatomy.judge_networks import JudgeNetwork, expected_position
from handgen.anatomy.judge_reliability import BLURS, acceptance_threshold, reliability
from handgen.anatomy.judges import WEIGHTS, LearnedJudge, save_judge
from handgen.precision import autocast
from handgen.results import Measurement

Batch = dict[str, Tensor]
ACCEPTANCE = 0.955
"""Share of held-out valid hands that a judge is set to accept, with a little room above the 95% it is asked for."""
MILD_BLUR = BLURS["mild"]
CROSS_WEIGHT, POSITION_WEIGHT = 0.15, 4.0
"""Weights that make both terms of `keypoint_loss` about equal once training has settled."""


class JudgeTraining(LightningModule):
    """What both kinds of judge share: the optimiser, calibration on validation hands, the test table, the export."""

    name: str
    judge: LearnedJudge | GeometricJudge

    def __init__(self, lr: float, weight_decay: float, install: bool) -> None:
        super().__init__()
        self.lr = lr
        self.weight_decay = weight_decay
        self.install = install
        self.measurements: list[Measurement] = []
        self._held_out: dict[str, list[Tensor]] = {}

    @abstractmethod
    def calibrate(self, valid: Tensor) -> None:
        """Set the threshold from valid hands (N, 3, H, W) that were not trained on."""

    def facts(self) -> dict[str, Any]:
        """Plain values that belong to the saved weights."""
        return {"sensitivity": self.judge.sensitivity, "specificity": self.judge.specificity}

    def _collect(self, name: str, values: Tensor) -> None:
        self._held_out.setdefault(name, []).append(values.cpu())

    def _take(self) -> dict[str, Tensor]:
        taken = {name: torch.cat(values) for name, values in self._held_out.items()}
        self._held_out = {}
        return taken

    def on_test_start(self) -> None:
        """Calibrate on the validation hands, so that the test hands stay unseen."""
        self._held_out = {}
        hands = self.trainer.datamodule.hands("val")  # type: ignore[attr-defined]
        chosen = hands.labels["valid"].nonzero()[:, 0]
        images = hands.pixels[chosen, :3].float().to(self.device) / 255
        self.calibrate(degradation.gaussian_blur(images, torch.full((len(images),), MILD_BLUR, device=self.device)))

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Collect scores on held-out hands at every blur level, or on held-out photographs."""
        if "planted" in batch:
            self._collect("planted", batch["planted"])
            self._collect("photo_score", self.judge.verdict(batch["image"]).score)
            return
        self._collect("kind", batch["kind"])
        for name, sigma in BLURS.items():
            blurred = degradation.gaussian_blur(batch["image"], batch["image"].new_full((len(batch["image"]),), sigma))
            self._collect(f"score/{name}", self.judge.verdict(blurred).score)

    def on_test_epoch_end(self) -> None:
        """Measure reliability, write the judge's file in the run folder, install it if asked."""
        self.measurements = reliability(self._take())
        found = {(m.metric, m.variant): m.value for m in self.measurements}
        self.judge.sensitivity, self.judge.specificity = (
            found["sensitivity/valid", "mild"],
            found["specificity", "mild"],
        )
        if not self.trainer.is_global_zero:
            return
        save_judge(self.judge, self.facts(), Path(self.trainer.default_root_dir) / f"{self.name}.pt")
        if self.install:
            save_judge(self.judge, self.facts(), WEIGHTS / f"{self.name}.pt")

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle learning rate (Smith 2018), stepped per batch."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=steps, pct_start=0.15)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def classification_loss(outputs: tuple[Tensor, Tensor, Tensor], valid: Tensor, kind: Tensor, digits: Tensor) -> Tensor:
    """Binary cross-entropy of validity plus 0.5 and 0.25 times those of kind and digits; labels below 0 are ignored.

    Args:
        outputs: logits of `JudgeNetwork`.
        valid: bool (B,).
        kind: int64 (B,), -1 where unknown.
        digits: int64 (B,), -1 where unknown.
    """
    validity, kinds, counts = outputs
    loss = F.binary_cross_entropy_with_logits(validity, valid.float())
    for weight, logits, labels in ((0.5, kinds, kind), (0.25, counts, digits)):
        known = (labels >= 0).float()
        loss = loss + weight * F.cross_entropy(logits, labels, ignore_index=-1, reduction="sum") / known.sum().clamp(
            min=1
        )
    return loss


class JudgeClassifier(JudgeTraining):
    """Judge A or judge B.

    Args:
        name: ``judge_a`` or ``judge_b``, the name of the weights.
        trunk: ``plain`` or ``residual``.
        lr: largest learning rate. weight_decay: of AdamW.
        ghost_share: share of a batch that becomes ghosts (blends and smears), which are no hands.
        install: whether testing puts the weights into the package.
    """

    judge: LearnedJudge

    def __init__(
        self,
        name: str = "judge_a",
        trunk: str = "plain",
        lr: float = 2e-3,
        weight_decay: float = 0.02,
        ghost_share: float = 0.06,
        install: bool = False,
    ) -> None:
        super().__init__(lr, weight_decay, install)
        self.save_hyperparameters()
        self.name = name
        self.ghost_share = ghost_share
        self.judge = LearnedJudge(trunk)

    @property
    def network(self) -> JudgeNetwork:
        """The classifier."""
        return self.judge.network

    def forward(self, image: Tensor) -> Tensor:
        """Log-odds of validity (B,)."""
        score: Tensor = self.judge(image)
        return score

    def augment(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Degraded images (B, 3, H, W) with validity, kind and digits; photographs and ghosts included."""
        image = degradation.bleach_background(batch["image"], batch["mask"])
        kind, valid, digits = batch["kind"], batch["valid"], batch["digits"]
        if "photo" in batch:
            unknown = torch.full_like(batch["photo_valid"], -1, dtype=torch.int64)
            image, valid = torch.cat([image, batch["photo"]]), torch.cat([valid, batch["photo_valid"]])
            kind, digits = (
                torch.cat([kind, unknown.masked_fill(batch["photo_valid"], 0)]),
                torch.cat([digits, unknown]),
            )
        count = int(self.ghost_share * len(image))
        if count > 1:
            rows = torch.randperm(len(image), device=image.device)[:count]
            image = image.index_copy(0, rows, degradation.ghosts(image[rows]))
            valid = valid.index_fill(0, rows, False)
            kind, digits = kind.index_fill(0, rows, -1), digits.index_fill(0, rows, -1)
        image = degradation.warp(image, degradation.random_affine(len(image), image.device))
        return degradation.soften(degradation.recolour(image)), valid, kind, digits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on degraded hands."""
        image, valid, kind, digits = self.augment(batch)
        with autocast(self.device, "auto"):
            outputs = self.network(image.contiguous(memory_format=torch.channels_last))
        outputs = (outputs[0].float(), outputs[1].float(), outputs[2].float())
        loss = classification_loss(outputs, valid, kind, digits)
        self.log("train/loss", loss)
        self.log("train/accuracy", ((outputs[0] > 0) == valid).float().mean(), prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Area under the ROC curve needs all scores: collect them."""
        if "planted" not in batch:
            self._collect("score", self.judge(batch["image"]).float())
            self._collect("valid", batch["valid"])

    def on_validation_epoch_end(self) -> None:
        """Log the share of malformed hands caught when 95.5% of the valid ones are accepted."""
        held_out = self._take()
        good, bad = held_out["score"][held_out["valid"]], held_out["score"][~held_out["valid"]]
        caught = (
            (bad <= acceptance_threshold(good, ACCEPTANCE)).float().mean()
            if len(good) and len(bad)
            else torch.tensor(0.0)
        )
        self.log("eval/caught", caught, prog_bar=True)

    def calibrate(self, valid: Tensor) -> None:
        """Put the threshold where 95.5% of the valid hands pass."""
        self.judge.threshold = 0.0
        scores = torch.cat([self.judge.verdict(part).score for part in valid.split(250)])
        self.judge.threshold = float(acceptance_threshold(scores, ACCEPTANCE))

    def on_test_start(self) -> None:
        """Calibrate, and standardise the features over the validation hands, photographs included."""
        super().on_test_start()
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        sets = [data.hands("val").pixels, *([data.planted("val").pixels] if data.photographs else [])]
        self.judge.standardise(*(pixels[:, :3].float().to(self.device) / 255 for pixels in sets))

    def facts(self) -> dict[str, Any]:
        """Trunk and threshold beside the reliability."""
        return {"trunk": self.judge.trunk, "threshold": self.judge.threshold, **super().facts()}


class KeypointRegressor(JudgeTraining):
    """The network behind the geometric judge: keypoints, their visibility, and the hand's silhouette.

    Args:
        lr: largest learning rate. weight_decay: of AdamW.
        sigma: width of the target heat maps in [-1, 1] units.
        install: whether testing puts the weights into the package.
    """

    judge: GeometricJudge
    name = "geometric"

    def __init__(
        self, lr: float = 3e-3, weight_decay: float = 0.01, sigma: float = 0.05, install: bool = False
    ) -> None:
        super().__init__(lr, weight_decay, install)
        self.save_hyperparameters()
        self.sigma = sigma
        self.judge = GeometricJudge()

    def forward(self, image: Tensor) -> Tensor:
        """Smallest margin of the geometric checks (B,)."""
        margin: Tensor = self.judge(image)
        return margin

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on degraded hands; photographs teach silhouette and, where intact, visibility."""
        image = degradation.bleach_background(batch["image"], batch["mask"])
        keypoints, visible, mask = batch["keypoints"], batch["visible"].float(), batch["mask"]
        inverse = degradation.random_affine(len(image), image.device)
        warped = degradation.warp(torch.cat([image, mask], dim=1), inverse)
        image, mask = degradation.soften(degradation.recolour(warped[:, :3])), warped[:, 3:]
        loss = self._loss(image, degradation.warp_points(keypoints, inverse), visible, mask)
        if "photo" in batch:
            loss = loss + 0.5 * self._photo_loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _loss(self, image: Tensor, keypoints: Tensor, visible: Tensor, mask: Tensor) -> Tensor:
        with autocast(self.device, "auto"):
            heatmaps, visibility, silhouette = self.judge.network(image.contiguous(memory_format=torch.channels_last))
        inside = visible * (keypoints.abs() < 1).all(dim=-1)
        position = keypoint_loss(heatmaps.float(), keypoints, inside, self.sigma)
        small = F.adaptive_avg_pool2d(mask, silhouette.shape[-1])
        seen = F.binary_cross_entropy_with_logits(visibility.float(), inside)
        return position + seen + F.binary_cross_entropy_with_logits(silhouette.float(), small)

    def _photo_loss(self, batch: Batch) -> Tensor:
        inverse = degradation.random_affine(len(batch["photo"]), batch["photo"].device)
        warped = degradation.warp(torch.cat([batch["photo"], batch["photo_mask"]], dim=1), inverse)
        image = degradation.soften(degradation.recolour(warped[:, :3]))
        with autocast(self.device, "auto"):
            _, visibility, silhouette = self.judge.network(image.contiguous(memory_format=torch.channels_last))
        small = F.adaptive_avg_pool2d(warped[:, 3:], silhouette.shape[-1])
        loss = F.binary_cross_entropy_with_logits(silhouette.float(), small)
        intact = batch["photo_valid"]
        if intact.any():
            target = torch.full_like(visibility[intact].float(), 0.97)
            loss = loss + F.binary_cross_entropy_with_logits(visibility[intact].float(), target)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the mean error of visible keypoints in half frames."""
        if "planted" in batch:
            return
        found = expected_position(self.judge.network(batch["image"])[0].float())
        error = ((found - batch["keypoints"]).norm(dim=-1) * batch["visible"]).sum() / batch["visible"].sum()
        self.log("eval/keypoint_error", error, prog_bar=True, batch_size=len(found))

    def calibrate(self, valid: Tensor) -> None:
        """Set proportions and thresholds where 95.5% of the valid hands pass every check."""
        self.judge.calibrate(valid, ACCEPTANCE)


def keypoint_loss(heatmaps: Tensor, keypoints: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Cross-entropy with Gaussian maps plus the L1 error of the soft-argmax (after Nibali et al. 2018, DSNT).

    Args:
        heatmaps: logits (B, K, H, W).
        keypoints: (B, K, 2) in [-1, 1].
        weight: (B, K), 0 leaves a keypoint out.
        sigma: SD of the target maps in [-1, 1] units.
    """
    height, width = heatmaps.shape[2:]
    xs = (torch.arange(width, device=heatmaps.device) + 0.5) * 2 / width - 1
    ys = (torch.arange(height, device=heatmaps.device) + 0.5) * 2 / height - 1
    across, down = (xs - keypoints[..., :1]) ** 2, (ys - keypoints[..., 1:]) ** 2  # (B, K, W), (B, K, H)
    target = (-(across[..., None, :] + down[..., :, None]) / (2 * sigma**2)).flatten(2).softmax(dim=-1)
    cross = -(target * heatmaps.flatten(2).log_softmax(dim=-1)).sum(dim=-1)
    error = (expected_position(heatmaps) - keypoints).abs().sum(dim=-1)
    total: Tensor = ((CROSS_WEIGHT * cross + POSITION_WEIGHT * error) * weight).sum()
    return total / weight.sum().clamp(min=1)

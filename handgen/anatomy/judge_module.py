"""Training the judges: what all of them share, and the two classifiers.

The classifiers learn validity, kind and number of digits at once; only validity is used afterwards, but the other
two make it learn anatomy. Photographs, where there are some, are assumed valid and never labelled by hand; edited
copies with a planted malformation are their negatives (`handgen.anatomy.photo_edits`).

Sources: automatic good/bad pairs made by degrading real hands are from HandEval (arXiv 2510.08978); domain
randomisation from Tobin et al. 2017 (arXiv 1703.06907).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn import functional as F

from handgen.anatomy import degradation
from handgen.anatomy.geometric import GeometricJudge
from handgen.anatomy.judge_networks import JudgeNetwork
from handgen.anatomy.judge_reliability import BLURS, acceptance_threshold, reliability
from handgen.anatomy.judges import WEIGHTS, LearnedJudge, save_judge
from handgen.anatomy.malformations import VALID
from handgen.errors import check_at_least, check_positive
from handgen.precision import autocast
from handgen.results import Measurement

Batch = dict[str, Tensor]
ACCEPTANCE = 0.955
"""Share of held-out valid hands that a judge is set to accept, with a little room above the 95% it is asked for."""
MILD_BLUR = BLURS["mild"]


class JudgeTraining(LightningModule):
    """What both kinds of judge share: the optimiser, calibration on validation hands, the test table, the export."""

    name: str
    judge: LearnedJudge | GeometricJudge

    def __init__(self, lr: float, weight_decay: float, install: bool) -> None:
        super().__init__()
        check_positive(lr=lr)
        check_at_least(0, weight_decay=weight_decay)
        self.lr = lr
        self.weight_decay = weight_decay
        self.install = install
        self.measurements: list[Measurement] = []
        self._held_out: dict[str, list[Tensor]] = {}

    def calibrate(self, image: Tensor, kind: Tensor) -> None:
        """Set the threshold from hands (N, 3, H, W) of kinds (N,) that were not trained on; kind 0 is valid."""
        raise NotImplementedError

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
        images = hands.pixels[:, :3].float().to(self.device) / 255
        blurred = degradation.gaussian_blur(images, torch.full((len(images),), MILD_BLUR, device=self.device))
        self.calibrate(blurred, hands.labels["kind"].to(self.device))

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
        name: Literal["judge_a", "judge_b"] = "judge_a",
        trunk: Literal["plain", "residual"] = "plain",
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
        self.log("eval/caught", caught, prog_bar=True, sync_dist=True)

    def calibrate(self, image: Tensor, kind: Tensor) -> None:
        """Put the threshold where 95.5% of the valid hands pass."""
        self.judge.threshold = 0.0
        scores = torch.cat([self.judge.verdict(part).score for part in image[kind == VALID].split(250)])
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

"""Training the network behind the geometric judge: named keypoints, silhouette, and landmarks to count.

Rendered hands teach all of it. Photographs have no keypoints: their silhouette comes from the hand's mask, an intact
one has the right number of landmarks, one with a finger removed or duplicated has a tip less or more, and the
skeleton found in an intact one must be the same in a mirrored view, lie in the silhouette, explain it, and have the
proportions of a hand.

Sources: heat maps with a soft-argmax after Nibali et al. 2018 (DSNT, arXiv 1801.07372); counting by the integral of a
density after Lempitsky & Zisserman 2010; domain randomisation after Tobin et al. 2017 (arXiv 1703.06907).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.anatomy import degradation, measurements
from handgen.anatomy.geometric import NEAR, Findings, GeometricJudge
from handgen.anatomy.judge_module import ACCEPTANCE, Batch, JudgeTraining
from handgen.anatomy.judge_networks import KeypointOutput, expected_position
from handgen.anatomy.judge_reliability import HEALTHY, PLANTED
from handgen.anatomy.landmarks import CORRECT_COUNTS, FINGER_TIP, THUMB_TIP, density_targets
from handgen.precision import autocast

CROSS_WEIGHT, POSITION_WEIGHT = 0.15, 4.0
"""Weights that make both terms of `keypoint_loss` about equal once training has settled."""
COUNT_WEIGHT = 0.3
EQUAL_WEIGHT = 2.0
TIP_CHANGE = {"removed": -1, "duplicated": 1}
"""Tips (of fingers and thumb) that a planted photograph has more than a hand."""
PHOTO = ("photo", "photo_mask", "photo_planted")
THUMB_END = 4
"""The keypoint at the tip of the thumb."""
ODD = 2.5
"""SDs over rendered valid hands beyond which a proportion found in an intact photograph is pulled back."""
PHOTO_ACCEPTANCE = 0.92
"""Share of the validation photographs without a planted fault that is accepted: few, from few subjects."""
STRAIGHT, APART = 0.15, 0.06
"""Radians: fingers of an intact photograph bend sideways at most so much and lie at least so far apart."""


class KeypointRegressor(JudgeTraining):
    """The network behind the geometric judge.

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
        """One step on degraded rendered hands and two views of each photograph, in one forward pass."""
        targets = self._rendered(batch)
        images = [targets["image"]]
        if "photo" in batch:
            photographs = self._photographs(batch)
            images.append(photographs["image"])
        with autocast(self.device, "auto"):
            seen = self.judge.network(torch.cat(images).contiguous(memory_format=torch.channels_last))
        rendered, photographed = _split(seen, len(targets["image"]))
        loss = self._rendered_loss(rendered, targets)
        if "photo" in batch:
            loss = loss + self._photo_loss(photographed, photographs)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def _photographs(self, batch: Batch) -> Batch:
        """Two differently degraded and moved views (one after the other) of half of the photographs."""
        count = (len(batch["photo"]) + 1) // 2
        image, mask, planted = (batch[name][:count].repeat(2, *[1] * (batch[name].dim() - 1)) for name in PHOTO)
        inverse = degradation.random_affine(len(image), self.device, 0.35, (0.75, 1.0), 0.08)
        moved = degradation.warp(torch.cat([image, mask], dim=1), inverse)
        return {"image": _finish(moved[:, :3]), "mask": moved[:, 3:], "planted": planted, "inverse": inverse}

    def _rendered(self, batch: Batch) -> Batch:
        """Degraded images with their labels moved along."""
        image = degradation.bleach_background(batch["image"], batch["mask"])
        inverse = degradation.random_affine(len(image), self.device, 0.35, (0.75, 1.15))
        moved = degradation.warp(torch.cat([image, batch["mask"]], dim=1), inverse)
        return {
            "image": _finish(moved[:, :3]),
            "mask": moved[:, 3:],
            "keypoints": degradation.warp_points(batch["keypoints"], inverse),
            "landmarks": degradation.warp_points(batch["landmarks"], inverse),
            "landmark_class": batch["landmark_class"],
            "visible": batch["visible"].float(),
        }

    def _rendered_loss(self, seen: KeypointOutput, targets: Batch) -> Tensor:
        inside = targets["visible"] * (targets["keypoints"].abs() < 1).all(dim=-1)
        position = keypoint_loss(seen.heatmaps, targets["keypoints"], inside, self.sigma)
        visible = F.binary_cross_entropy_with_logits(seen.visible, inside)
        silhouette = _silhouette_loss(seen.mask, targets["mask"])
        density = density_targets(targets["landmarks"], targets["landmark_class"], seen.density.shape[-1], self.sigma)
        counted = (seen.density - density).sum(dim=(2, 3)).abs().mean()
        self.log("loss/count", counted)
        return position + visible + silhouette + COUNT_WEIGHT * (density_loss(seen.density, density) + counted)

    def _photo_loss(self, seen: KeypointOutput, views: Batch) -> Tensor:
        surplus = seen.density.sum(dim=(2, 3)) - seen.density.new_tensor(CORRECT_COUNTS)
        planted = views["planted"]
        loss = COUNT_WEIGHT * miscount(surplus, planted)
        healthy = torch.isin(planted, planted.new_tensor([PLANTED.index(name) for name in HEALTHY]))
        if not healthy.any():
            return loss
        loss = loss + _silhouette_loss(seen.mask[healthy], views["mask"][healthy])  # the mask knows of no edit
        visible = seen.visible[healthy]
        loss = loss + F.binary_cross_entropy_with_logits(visible, torch.full_like(visible, 0.98))
        keypoints = expected_position(seen.heatmaps)
        thumb = expected_position((seen.density[:, THUMB_TIP : THUMB_TIP + 1] + 1e-6).log())[:, 0]
        loss = loss + (keypoints[:, THUMB_END] - thumb)[healthy].abs().sum(dim=-1).mean()
        loss = loss + EQUAL_WEIGHT * disagreement(keypoints, views["inverse"], healthy)
        return loss + self._trust() * self._misfit(keypoints[healthy], views["mask"][healthy])

    def _trust(self) -> float:
        """How far skeletons in photographs are pulled into shape: only once rendered hands have taught thumbs."""
        progress = self.global_step / max(1, int(self.trainer.estimated_stepping_batches)) if self._trainer else 1.0
        return min(1.0, max(0.0, (progress - 0.15) / 0.25))

    def _misfit(self, keypoints: Tensor, mask: Tensor) -> Tensor:
        """How badly a skeleton fits the silhouette (B, 1, H, W) of an intact hand and the build of hands."""
        where = measurements.bone_points(keypoints).flatten(1, 2)[:, :, None]
        off = 1 - F.grid_sample(mask, where, padding_mode="border", align_corners=False).mean()
        coarse = F.adaptive_avg_pool2d(mask, 32)[:, 0]
        distance = measurements.distance_to_skeleton(keypoints, 32)
        unexplained = ((distance - NEAR).clamp(0, 1) * coarse).sum(dim=(1, 2)) / coarse.sum(dim=(1, 2)).clamp(min=1.0)
        oddness = ((measurements.proportions(keypoints) - self.judge.mean) / self.judge.deviation).abs()
        odd = (oddness - ODD).clamp(0, 5).mean()
        bent = (measurements.bend(keypoints)[:, 1:] - STRAIGHT).clamp(min=0).sum(dim=1).mean()
        crossed = (measurements.disorder(keypoints) + APART).clamp(min=0).mean()
        return off + 5 * unexplained.mean() + 0.3 * odd + bent + crossed

    def on_fit_start(self) -> None:
        """The proportions of correct hands, measured on the true keypoints of the training hands."""
        hands = self.trainer.datamodule.hands("train").labels  # type: ignore[attr-defined]
        shown = hands["valid"] & hands["visible"].all(dim=1)
        values = measurements.proportions(hands["keypoints"][shown]).to(self.device)
        if len(values) > 1:
            self.judge.mean.copy_(values.mean(dim=0))
            self.judge.deviation.copy_(values.std(dim=0).clamp(min=1e-3))

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Log the mean error of visible keypoints in half frames, and how often all landmarks are counted right."""
        found: Findings = self.judge.look(batch["image"])
        error = ((found.keypoints - batch["keypoints"]).norm(dim=-1) * batch["visible"]).sum() / batch["visible"].sum()
        self.log("eval/keypoint_error", error, prog_bar=True, batch_size=len(batch["image"]))
        true = density_targets(batch["landmarks"], batch["landmark_class"], 32, self.sigma).sum(dim=(2, 3))
        right = (found.counts.round() == true.round()).all(dim=1).float().mean()
        self.log("eval/counts_right", right, prog_bar=True, batch_size=len(batch["image"]))

    def calibrate(self, image: Tensor, kind: Tensor) -> None:
        """Set proportions and thresholds where 95.5% of valid hands, and 92% of photographs, pass every check."""
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        photographs = None
        if data.photographs:
            planted = data.planted("val")
            healthy = torch.cat([planted.rows[name] for name in HEALTHY])
            photographs = planted.pixels[healthy, :3].float().to(self.device) / 255
        self.judge.calibrate(image, kind, ACCEPTANCE, photographs, PHOTO_ACCEPTANCE)


def _finish(images: Tensor) -> Tensor:
    """Colours, blur and noise of a camera or of a decoder."""
    return degradation.soften(degradation.mix_colours(degradation.recolour(images)), high=1.5)


def _split(seen: KeypointOutput, count: int) -> tuple[KeypointOutput, KeypointOutput]:
    """Float32 outputs of the first `count` images and of the others."""
    whole = [part.float() for part in seen]
    return KeypointOutput(*(part[:count] for part in whole)), KeypointOutput(*(part[count:] for part in whole))


def _silhouette_loss(logits: Tensor, mask: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, F.adaptive_avg_pool2d(mask, logits.shape[-1]))


def miscount(surplus: Tensor, planted: Tensor) -> Tensor:
    """How far the landmarks counted in photographs are from what was planted there, mean over photographs.

    Args:
        surplus: (B, len(LANDMARKS)), landmarks counted beyond those of a correct hand.
        planted: int64 (B,), index into `PLANTED`.

    Returns:
        Mean error over the classes for a healthy hand; error of all tips together, fingers' and thumb's, where one was
        removed or duplicated; finger tips beyond three where fingers were fused.
    """
    total = surplus.new_zeros(())
    for name in HEALTHY:
        total = total + surplus[planted == PLANTED.index(name)].abs().mean(dim=1).sum()
    for name, change in TIP_CHANGE.items():
        tips = surplus[planted == PLANTED.index(name)][:, [FINGER_TIP, THUMB_TIP]].sum(dim=1)
        total = total + (tips - change).abs().sum()
    fused = surplus[planted == PLANTED.index("fused"), FINGER_TIP]
    total = total + (fused + 1).clamp(min=0).sum()
    return total / len(planted)


def disagreement(keypoints: Tensor, inverse: Tensor, healthy: Tensor) -> Tensor:
    """Mean distance between the keypoints found in two views of the same photographs, seen from the photograph.

    Half of the views are mirrored: a network that calls whatever is on the left a thumb disagrees with itself.

    Args:
        keypoints: (2 B, K, 2) in [-1, 1], the second views after the first ones.
        inverse: (2 B, 2, 3), the maps that made the views (`degradation.random_affine`).
        healthy: bool (2 B,), photographs that count.
    """
    original = keypoints @ inverse[:, :, :2].transpose(1, 2) + inverse[:, None, :, 2]
    first, second = original.chunk(2)
    chosen = healthy[: len(first)]
    distance: Tensor = (first - second).norm(dim=-1)[chosen].mean()
    return distance


def density_loss(density: Tensor, target: Tensor) -> Tensor:
    """Poisson negative log-likelihood of a density, summed over the picture, up to a constant.

    Args:
        density: (B, C, H, W), positive.
        target: (B, C, H, W), its integral is the true count.

    Returns:
        sum(density - target log density), mean over B and C; smallest where the two are equal.
    """
    pixels = density - torch.xlogy(target, density.clamp(min=1e-6)) + torch.xlogy(target, target)
    return (pixels - target).sum(dim=(2, 3)).mean()


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

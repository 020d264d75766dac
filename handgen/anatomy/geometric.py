"""The geometric judge: find keypoints, silhouette and landmarks, then check what a textbook of anatomy checks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.anatomy import measurements
from handgen.anatomy.judge_networks import KeypointNetwork, expected_position
from handgen.anatomy.judges import Verdict, read_judge, readable, to_judge_size
from handgen.anatomy.landmarks import CORRECT_COUNTS, LANDMARKS
from handgen.anatomy.threshold_search import ValidHands, balance_thresholds

COUNTS = tuple(f"number of {name}s" for name in LANDMARKS)
CHECKS = (
    *COUNTS,
    "hidden digit",
    "knuckle place",
    "phalanx ratio",
    "digit length",
    "digit order",
    "sideways bend",
    "bone off the hand",
    "unexplained skin",
    "missing skin",
)
"""Each check is a number that is larger the less a hand looks like a correct one."""
NEAR, CLOSE = 0.13, 0.035
"""Palm lengths: skin further than this from every bone is unexplained; background closer than this is a hole."""


@dataclass
class Findings:
    """What the network sees in B images.

    Attributes:
        keypoints: (B, 21, 2) in [-1, 1]. visible: (B, 21) in [0, 1]. mask: (B, 1, H/2, W/2) in [0, 1].
        counts: (B, len(LANDMARKS)) landmarks of each class.
    """

    keypoints: Tensor
    visible: Tensor
    mask: Tensor
    counts: Tensor


class GeometricJudge(nn.Module):
    """Checks on what a keypoint network finds; a hand is valid when it passes every one of them.

    Args:
        sensitivity, specificity: measured on held-out hands.

    Attributes:
        thresholds: largest accepted value of each of `CHECKS`.
        spread: scale of each check, to express the margin in comparable units.
        mean, deviation: (D,) mean and SD over valid hands of the proportions (`proportions`).
    """

    thresholds: Tensor
    spread: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, sensitivity: float = 1.0, specificity: float = 1.0) -> None:
        super().__init__()
        self.network = KeypointNetwork()
        self.sensitivity = sensitivity
        self.specificity = specificity
        self.register_buffer("thresholds", torch.zeros(len(CHECKS)))
        self.register_buffer("spread", torch.ones(len(CHECKS)))
        self.register_buffer("mean", torch.zeros(measurements.PROPORTIONS))
        self.register_buffer("deviation", torch.ones(measurements.PROPORTIONS))

    def look(self, image: Tensor) -> Findings:
        """What the network sees in images (B, 3, 64, 64) in [0, 1]."""
        seen = self.network(image)
        return Findings(
            expected_position(seen.heatmaps), seen.visible.sigmoid(), seen.mask.sigmoid(), seen.density.sum((2, 3))
        )

    def check(self, found: Findings) -> Tensor:
        """The value of each check, (B, len(CHECKS)); larger is worse."""
        keypoints, mask = found.keypoints, found.mask
        miscounted = (found.counts - found.counts.new_tensor(CORRECT_COUNTS)).abs()
        oddness = ((measurements.proportions(keypoints) - self.mean) / self.deviation).abs()
        knuckles, ratios, lengths = (part.amax(dim=1) for part in oddness.split(measurements.PROPORTION_SIZES, dim=1))
        where = measurements.bone_points(keypoints).flatten(1, 2)[:, :, None]
        under = F.grid_sample(mask, where, align_corners=False)[:, 0, :, 0].reshape(len(mask), 5, -1)
        distance = measurements.distance_to_skeleton(keypoints, mask.shape[-1])
        area = mask.mean(dim=(1, 2, 3)).clamp(min=1e-3)
        far = ((distance - NEAR) / 0.05).clamp(0, 1) * (mask[:, 0] > 0.5)
        empty = (distance < CLOSE) * (1 - mask[:, 0])
        others = [
            1 - found.visible[:, measurements.DIGIT_POINTS].amin(dim=(1, 2)),
            knuckles,
            ratios,
            lengths,
            measurements.disorder(keypoints),
            measurements.bend(keypoints)[:, 1:].amax(dim=1),
            1 - under.mean(dim=-1).amin(dim=1),
            far.mean(dim=(1, 2)) / area,
            empty.mean(dim=(1, 2)) / area,
        ]
        return torch.cat([miscounted, torch.stack(others, dim=1)], dim=1)

    def measure(self, image: Tensor) -> Tensor:
        """The value of each check, (B, len(CHECKS)), of images (B, 3, 64, 64) in [0, 1]; larger is worse."""
        return self.check(self.look(image))

    def margins(self, image: Tensor) -> Tensor:
        """How far each check is on the good side of its threshold, in SDs over valid hands, (B, len(CHECKS))."""
        return (self.thresholds - self.measure(image)) / self.spread

    def forward(self, image: Tensor) -> Tensor:
        """The smallest margin (B,) of images (B, 3, 64, 64) in [0, 1]; positive is valid."""
        return self.margins(image).amin(dim=1)

    @torch.no_grad()
    def verdict(self, image: Tensor) -> Verdict:
        """Judge images (B, 3, H, W) in [0, 1]; larger ones than 64 px are shrunk."""
        found = self.look(to_judge_size(image))
        score = ((self.thresholds - self.check(found)) / self.spread).amin(dim=1)
        return Verdict(score > 0, score, found.counts[:, :2].sum(dim=1).round().long())

    @torch.no_grad()
    def calibrate(
        self,
        image: Tensor,
        kind: Tensor,
        acceptance: float = 0.955,
        photographs: Tensor | None = None,
        photo_acceptance: float = 0.92,
    ) -> None:
        """Set proportions, scales and thresholds from held-out hands.

        Args:
            image: (N, 3, 64, 64) in [0, 1], rendered.
            kind: int64 (N,), 0 is valid; the others decide how the refusals of valid hands are shared out among checks.
            acceptance: share of the valid rendered hands that passes all checks, at least.
            photographs: (M, 3, 64, 64) of hands taken for valid.
            photo_acceptance: share of them that passes all checks, at least.
        """
        found = [self.look(part) for part in image.split(250)]
        kind = kind.cpu()
        proportions = torch.cat([measurements.proportions(f.keypoints) for f in found])[kind == 0]
        self.mean.copy_(proportions.mean(dim=0))
        self.deviation.copy_(proportions.std(dim=0).clamp(min=1e-3))
        values = torch.cat([self.check(f) for f in found]).cpu()
        self.spread.copy_(values[kind == 0].std(dim=0).clamp(min=1e-4))
        valid = [ValidHands(values[kind == 0], acceptance)]
        if photographs is not None and len(photographs):
            seen = torch.cat([self.measure(part) for part in photographs.split(250)]).cpu()
            valid.append(ValidHands(seen, photo_acceptance))
        malformed = [values[kind == k] for k in kind.unique().tolist() if k != 0]
        self.thresholds.copy_(balance_thresholds(valid, malformed))
        self.thresholds += 1e-4 * self.spread  # a hand at the threshold passes: some checks are 0 for most


def load_geometric_judge(path: Path) -> GeometricJudge:
    """The geometric judge from its file.

    Raises:
        UserError: if the file is missing or damaged.
    """
    saved = read_judge(path)
    with readable(path):
        judge = GeometricJudge(saved["sensitivity"], saved["specificity"])
        judge.load_state_dict(saved["weights"])
    return judge.eval().requires_grad_(False)

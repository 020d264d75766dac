"""The geometric judge: find 21 keypoints and the silhouette, then measure what a textbook of anatomy measures."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from handgen.anatomy.judge_networks import KeypointNetwork, expected_position
from handgen.anatomy.judges import Verdict, read_judge, to_judge_size

DIGIT_POINTS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19, 20]])
"""Keypoints of thumb, index, middle, ring and little finger, root to tip; keypoint 0 is the wrist."""
SAMPLES = 6
"""Points looked at along each bone."""

CHECKS = (
    "hidden digit",
    "vague keypoints",
    "phalanx ratio",
    "digit length",
    "digit order",
    "sideways bend",
    "bone off the hand",
    "unexplained skin",
    "missing skin",
)
"""Each check is a number that is larger the less a hand looks like a correct one."""


def digit_lengths(keypoints: Tensor) -> Tensor:
    """Lengths (B, 5, 3) of the three bones of each digit, in units of the wrist-to-middle-knuckle distance."""
    points = keypoints[:, DIGIT_POINTS]
    bones = (points[:, :, 1:] - points[:, :, :-1]).norm(dim=-1)
    palm = (keypoints[:, 9] - keypoints[:, 0]).norm(dim=-1).clamp(min=1e-3)
    relative: Tensor = bones / palm[:, None, None]
    return relative


def bend(keypoints: Tensor) -> Tensor:
    """Largest turn in the image between neighbouring bones of each digit, radians (B, 5)."""
    points = keypoints[:, DIGIT_POINTS]
    direction = F.normalize(points[:, :, 1:] - points[:, :, :-1], dim=-1, eps=1e-4)
    cosine = (direction[:, :, 1:] * direction[:, :, :-1]).sum(-1)
    largest: Tensor = torch.acos(cosine.clamp(-0.999, 0.999)).amax(dim=-1)
    return largest


def disorder(keypoints: Tensor) -> Tensor:
    """How far the digits are from lying in the order thumb, index, ... little around the wrist, radians (B,).

    The hand may be seen from either side, so the direction (thumb left or right) is the thumb's own.
    """
    knuckles = keypoints[:, [2, 5, 9, 13, 17]] - keypoints[:, :1]
    tips = keypoints[:, [4, 8, 12, 16, 20]] - keypoints[:, :1]

    def steps(arms: Tensor) -> Tensor:
        a, b = arms[:, :-1], arms[:, 1:]
        return torch.atan2(a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1))

    side = steps(knuckles).sum(dim=1).sign()[:, None]
    return torch.maximum(-(side * steps(knuckles)).amin(dim=1), -(side * steps(tips)).amin(dim=1))


def bone_points(keypoints: Tensor) -> Tensor:
    """Points (B, 5, 3 * SAMPLES, 2) along the bones of each digit."""
    points = keypoints[:, DIGIT_POINTS]
    share = (torch.arange(SAMPLES, device=keypoints.device) + 0.5) / SAMPLES
    along = torch.lerp(points[:, :, :-1, None], points[:, :, 1:, None], share[:, None])
    return along.flatten(2, 3)


def distance_to_skeleton(keypoints: Tensor, size: int) -> Tensor:
    """Distance (B, size, size) of each pixel to the nearest bone, digits and metacarpals, in palm lengths."""
    roots = keypoints[:, [5, 9, 13, 17]]
    wrist = keypoints[:, :1].expand(-1, 4, -1)
    palm_length = (keypoints[:, 9] - keypoints[:, 0]).norm(dim=-1).clamp(min=1e-3)
    points = keypoints[:, DIGIT_POINTS]
    heel = torch.lerp(wrist, keypoints[:, 17:18].expand(-1, 4, -1), 0.15)
    starts = torch.cat([points[:, :, :-1].flatten(1, 2), heel, roots[:, :-1], keypoints[:, 1:2], wrist[:, :1]], dim=1)
    below = keypoints[:, :1] + (keypoints[:, :1] - keypoints[:, 9:10]) * 2.0
    ends = torch.cat([points[:, :, 1:].flatten(1, 2), roots, roots[:, 1:], keypoints[:, :1], below], dim=1)
    grid = (torch.arange(size, device=keypoints.device) + 0.5) * 2 / size - 1
    pixels = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1).reshape(1, 1, -1, 2)
    axis = (ends - starts)[:, :, None]
    offset = pixels - starts[:, :, None]
    share = ((offset * axis).sum(-1) / (axis * axis).sum(-1).clamp(min=1e-6)).clamp(0, 1)
    distance = (offset - share[..., None] * axis).norm(dim=-1).amin(dim=1)
    relative: Tensor = (distance / palm_length[:, None]).reshape(-1, size, size)
    return relative


class GeometricJudge(nn.Module):
    """Checks on predicted keypoints and silhouette; a hand is valid when it passes every one of them.

    Args:
        thresholds: largest accepted value of each of `CHECKS`, or None before calibration.
        spread: scale of each check, to express the margin in comparable units.
        mean, deviation: (2, 5, 3) mean and SD over valid hands of bone lengths and of each bone's share of its digit.
        sensitivity, specificity: measured on held-out hands.
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
        self.register_buffer("mean", torch.zeros(2, 5, 3))
        self.register_buffer("deviation", torch.ones(2, 5, 3))

    def look(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Keypoints (B, 21, 2), their visibility (B, 21) and sharpness (B, 21) in [0, 1], mask (B, 1, H/2, W/2)."""
        heatmaps, visible, mask = self.network(image)
        peak = heatmaps.flatten(2).softmax(dim=-1).amax(dim=-1)
        return expected_position(heatmaps), visible.sigmoid(), peak, mask.sigmoid()

    def proportions(self, keypoints: Tensor) -> Tensor:
        """Bone lengths, and each bone's share of its digit, (B, 2, 5, 3)."""
        lengths = digit_lengths(keypoints)
        return torch.stack([lengths, lengths / lengths.sum(dim=-1, keepdim=True).clamp(min=1e-3)], dim=1)

    def measure(self, image: Tensor) -> Tensor:
        """The value of each check, (B, len(CHECKS)); larger is worse."""
        keypoints, visible, peak, mask = self.look(image)
        deviation = ((self.proportions(keypoints) - self.mean) / self.deviation).abs()
        where = bone_points(keypoints).flatten(1, 2)[:, :, None]
        under = F.grid_sample(mask, where, align_corners=False)[:, 0, :, 0].reshape(len(image), 5, -1)
        distance = distance_to_skeleton(keypoints, mask.shape[-1])
        area = mask.mean(dim=(1, 2, 3)).clamp(min=1e-3)
        far = ((distance - 0.13) / 0.05).clamp(0, 1) * (mask[:, 0] > 0.5)
        empty = (distance < 0.035) * (1 - mask[:, 0])
        digit_visible = visible[:, DIGIT_POINTS].amin(dim=-1)
        return torch.stack(
            [
                1 - digit_visible.amin(dim=1),
                1 - peak[:, 1:].topk(6, dim=1, largest=False).values.mean(dim=1),
                deviation[:, 1].flatten(1).amax(dim=1),
                deviation[:, 0].flatten(1).amax(dim=1),
                disorder(keypoints),
                bend(keypoints)[:, 1:].amax(dim=1),
                1 - under.mean(dim=-1).amin(dim=1),
                far.mean(dim=(1, 2)) / area,
                empty.mean(dim=(1, 2)) / area,
            ],
            dim=1,
        )

    def margins(self, image: Tensor) -> Tensor:
        """How far each check is on the good side of its threshold, in SDs over valid hands, (B, len(CHECKS))."""
        return (self.thresholds - self.measure(image)) / self.spread

    def forward(self, image: Tensor) -> Tensor:
        """The smallest margin (B,) of images (B, 3, 64, 64) in [0, 1]; positive is valid."""
        return self.margins(image).amin(dim=1)

    @torch.no_grad()
    def verdict(self, image: Tensor) -> Verdict:
        """Judge images (B, 3, H, W) in [0, 1]; larger ones than 64 px are shrunk."""
        small = to_judge_size(image)
        score = self(small)
        visible = self.look(small)[1]
        digits = (visible[:, DIGIT_POINTS].amin(dim=-1) > 0.5).sum(dim=1)
        return Verdict(score > 0, score, digits)

    @torch.no_grad()
    def calibrate(self, valid: Tensor, acceptance: float = 0.955) -> None:
        """Set proportions, scales and thresholds from held-out valid hands (N, 3, 64, 64) in [0, 1].

        Every check gets the same quantile of the valid hands as its threshold; the quantile is the one at which
        the share `acceptance` of them passes all checks.
        """
        batches = valid.split(250)
        proportions = torch.cat([self.proportions(self.look(batch)[0]) for batch in batches])
        self.mean.copy_(proportions.mean(dim=0))
        self.deviation.copy_(proportions.std(dim=0).clamp(min=1e-3))
        values = torch.cat([self.measure(batch) for batch in batches])
        self.spread.copy_(values.std(dim=0).clamp(min=1e-4))
        rank = values.argsort(dim=0).argsort(dim=0).amax(dim=1).sort().values
        allowed = int(rank[round(acceptance * (len(rank) - 1))])
        ordered = values.sort(dim=0).values
        between = 0.5 * (ordered[allowed] + ordered[min(allowed + 1, len(rank) - 1)])
        self.thresholds.copy_(between + 1e-4 * self.spread)  # the last accepted value passes, ties too


def load_geometric_judge(path: Path) -> GeometricJudge:
    """The geometric judge from its file.

    Raises:
        UserError: if the file is missing or damaged.
    """
    saved = read_judge(path)
    judge = GeometricJudge(saved["sensitivity"], saved["specificity"])
    judge.load_state_dict(saved["weights"])
    return judge.eval().requires_grad_(False)

"""Judges of anatomy: given an image, is this a hand with everything in its place?

Two learned judges of different build and training half, and a geometric one (`handgen.anatomy.geometric`). An agent
may be rewarded by one of them; it is graded by the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from handgen.anatomy.judge_networks import JudgeNetwork
from handgen.errors import UserError
from handgen.whole_files import whole_file

if TYPE_CHECKING:
    from handgen.anatomy.evaluation import Judge

WEIGHTS = Path(__file__).parent / "weights"
LEARNED = {"judge_a": "plain", "judge_b": "residual"}
"""Names of the learned judges and their trunks."""
SMALLEST_DEVIATION = 0.1
"""Smallest SD by which a feature is divided, as a share of the median SD: a silent unit must not outweigh others."""


@dataclass
class Verdict:
    """What a judge says of B images.

    Attributes:
        valid: bool (B,), accepted as an anatomically correct hand.
        score: float (B,), valid is score > 0: log-odds of validity above the threshold; for the geometric judge the
            smallest margin of its checks in SDs.
        digits: int64 (B,), number of digits that it counts.
    """

    valid: Tensor
    score: Tensor
    digits: Tensor


class LearnedJudge(nn.Module):
    """A trained classifier with its threshold and its measured reliability.

    Args:
        trunk: ``plain`` (judge A) or ``residual`` (judge B).
        threshold: log-odds above which an image is accepted.
        sensitivity: share of held-out valid hands accepted. specificity: share of held-out malformed hands caught.
    """

    def __init__(self, trunk: str, threshold: float = 0.0, sensitivity: float = 1.0, specificity: float = 1.0) -> None:
        super().__init__()
        self.network = JudgeNetwork(trunk)
        self.trunk = trunk
        self.threshold = threshold
        self.sensitivity = sensitivity
        self.specificity = specificity
        self.feature_mean: Tensor
        self.feature_deviation: Tensor
        self.register_buffer("feature_mean", torch.zeros(self.network.project.out_features))
        self.register_buffer("feature_deviation", torch.ones(self.network.project.out_features))

    def forward(self, image: Tensor) -> Tensor:
        """Log-odds of validity above the threshold (B,), differentiable, of images (B, 3, H, W) in [0, 1]."""
        valid: Tensor = self.network(image)[0]
        return valid - self.threshold

    @torch.no_grad()
    def verdict(self, image: Tensor) -> Verdict:
        """Judge images (B, 3, H, W) in [0, 1]; larger ones than 64 px are shrunk, as the judges learnt at 64 px."""
        valid, _, digits = self.network(to_judge_size(image))
        score = valid - self.threshold
        return Verdict(score > 0, score, digits.argmax(dim=1))

    @torch.no_grad()
    def features(self, image: Tensor) -> Tensor:
        """Features (B, 128) for distances between sets of images; standardised, so that each weighs the same."""
        return (self.network.features(to_judge_size(image)) - self.feature_mean) / self.feature_deviation

    def standardise(self, *sets: Tensor) -> None:
        """Give features mean 0 and SD 1 over sets of images of equal weight; saved with the weights.

        The sets should hold all that a judge may see, malformed hands too: it finds valid ones so alike that their own
        SD would blow up everything else.

        Args:
            sets: each (N, 3, H, W) in [0, 1].
        """
        self.feature_mean.zero_()
        self.feature_deviation.fill_(1.0)
        features = [torch.cat([self.features(part) for part in images.split(250)]) for images in sets]
        mean = torch.stack([values.mean(dim=0) for values in features]).mean(dim=0)
        deviation = torch.stack([(values - mean).square().mean(dim=0) for values in features]).mean(dim=0).sqrt()
        self.feature_mean.copy_(mean)
        self.feature_deviation.copy_(deviation.clamp(min=float(SMALLEST_DEVIATION * deviation.median())))


JUDGE_SIZE = 64


def to_judge_size(image: Tensor) -> Tensor:
    """Images (B, 3, H, W) at the judges' 64 px, by area averaging.

    Raises:
        ValueError: if the images are smaller than 64 px or not square.
    """
    size = image.shape[-1]
    if image.shape[-2] != size or size < JUDGE_SIZE:
        raise ValueError(f"judges need square images of at least {JUDGE_SIZE} px, not {tuple(image.shape[-2:])}.")
    if size == JUDGE_SIZE:
        return image
    return nn.functional.interpolate(image, size=(JUDGE_SIZE, JUDGE_SIZE), mode="area")


def save_judge(judge: nn.Module, facts: dict[str, Any], path: Path) -> None:
    """Write a judge's weights and facts (plain values) as one file, atomically."""
    with whole_file(path) as partial:
        torch.save({"weights": judge.state_dict(), **facts}, partial)


def read_judge(path: Path) -> dict[str, Any]:
    """Read what `save_judge` wrote, without running code.

    Raises:
        UserError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise UserError(f"no weights of {path.stem} at {path}: {_advice(path)}")
    with readable(path):
        contents: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return contents


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say in one line that a judge's file cannot be used, whatever is wrong with it.

    Raises:
        UserError: if the block fails.
    """
    try:
        yield
    except Exception as error:
        problem = f"the weights of {path.stem} at {path} are damaged or of another version"
        raise UserError(f"{problem} ({type(error).__name__}): {_advice(path)}") from error


def _advice(path: Path) -> str:
    experiment = {"geometric": "judge_keypoints"}.get(path.stem, path.stem)
    return f"train it with `make train EXP={experiment}`, then `make eval EXP={experiment} ARGS=--model.install=true`"


def load_learned_judge(path: Path) -> LearnedJudge:
    """A learned judge from its file.

    Raises:
        UserError: if the file is missing or damaged.
    """
    saved = read_judge(path)
    with readable(path):
        judge = LearnedJudge(saved["trunk"], saved["threshold"], saved["sensitivity"], saved["specificity"])
        judge.load_state_dict(saved["weights"])
    return judge.eval().requires_grad_(False)


@cache
def load_judges() -> dict[str, Judge]:
    """The judges that ship with the package: ``judge_a``, ``judge_b`` and ``geometric``, in evaluation mode.

    Raises:
        UserError: if weights are missing.
    """
    from handgen.anatomy.geometric import load_geometric_judge

    judges: dict[str, Judge] = {name: load_learned_judge(WEIGHTS / f"{name}.pt") for name in LEARNED}
    return {**judges, "geometric": load_geometric_judge(WEIGHTS / "geometric.pt")}

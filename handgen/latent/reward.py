"""What a tuned latent is worth: a judge's opinion, hedged in every way that keeps the tuner from deceiving it.

All terms are pure functions of tensors, one number for each sample; `RewardModel` puts them together. The terms of the
image are never positive, so that nothing is gained by exaggerating what is right already.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.anatomy.degradation import random_affine, soften, warp
from handgen.anatomy.judges import LearnedJudge, to_judge_size
from handgen.anatomy.metrics import laplacian_variance, skin_and_orientation
from handgen.errors import check_ranges

MEASURED = ("judge", "sharpness", "skin")
"""Terms of the image, which never change once it is decoded; the others are computed anew from stored latents."""
SHARPNESS_FLOOR = -3.0


@dataclass(frozen=True)
class RewardWeights:
    """Weight of each term of the reward; 0 leaves it out.

    Attributes:
        judge: pessimistic log-probability of validity, `judge_term`.
        latent_realism: log-odds of a discriminator of latents.
        feature_realism: log-odds of a discriminator of the rewarded judge's features.
        diversity: `mmd_witness` of these features.
        sharpness: `sharpness_term`.
        skin: `skin_term`.
        prior: minus `prior_cost`.
        displacement: minus `displacement_cost`.
    """

    judge: float = 1.0
    latent_realism: float = 1.0
    feature_realism: float = 0.0
    diversity: float = 0.0
    sharpness: float = 0.1
    skin: float = 0.5
    prior: float = 0.0
    displacement: float = 1.0

    def __post_init__(self) -> None:
        """Refuse weights that would pay for what they are to prevent."""
        for name, weight in asdict(self).items():
            check_ranges(**{f"{name}_weight": (weight, 0.0 <= weight < float("inf"), "be 0 or more")})

    @property
    def used(self) -> tuple[str, ...]:
        """Names of the terms that count."""
        return tuple(item.name for item in fields(self) if getattr(self, item.name) != 0.0)

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Weighted sum of terms (B,), costs subtracted."""
        signed = {name: -weight if name in COSTS else weight for name, weight in asdict(self).items()}
        return torch.stack([signed[name] * value for name, value in terms.items()]).sum(0)


COSTS = ("prior", "displacement")


def judge_term(scores: Tensor) -> Tensor:
    """Pessimistic log-probability of validity: ``min_v log sigmoid(score_v)``.

    The logarithm saturates at 0: a hand that is right beyond doubt earns nothing by looking more so, which is where
    the hacking of log-odds begins.

    Args:
        scores: (V, B) log-odds of validity above the judge's threshold, of V views of each image.

    Returns:
        (B,), at most 0.
    """
    return F.logsigmoid(scores).amin(0)


def sharpness_term(sharpness: Tensor, reference: Tensor) -> Tensor:
    """Penalty for blur: ``clip(log(sharpness / reference), -3, 0)``; more than the reference earns nothing.

    Args:
        sharpness: (B,) Laplacian variance.
        reference: scalar, the median of reconstructions, which bound what the decoder can draw.

    Returns:
        (B,) in [-3, 0].
    """
    return (sharpness.clamp(min=1e-12) / reference).log().clamp(SHARPNESS_FLOOR, 0.0)


def skin_term(is_skin: Tensor) -> Tensor:
    """Penalty for what is no human skin tone: bool (B,) to 0 or -1."""
    return is_skin.float() - 1.0


def displacement_cost(action: Tensor) -> Tensor:
    """Mean squared action, (B, A) to (B,) in [0, 1]."""
    return action.square().mean(1)


def prior_cost(latent: Tensor, start: Tensor) -> Tensor:
    """Loss of log-density under N(0, I): ``(|z'|^2 - |z|^2) / 2`` nats, the KL-like cost of leaving the prior.

    Args:
        latent: (B, L) z', after the action.
        start: (B, L) z, before it.
    """
    return 0.5 * (latent.square().sum(1) - start.square().sum(1))


def mmd_witness(points: Tensor, real: Tensor, own: Tensor) -> Tensor:
    """Where the tuner's samples are too few: ``mean_i k(x, real_i) - mean_j k(x, own_j)``, k Gaussian.

    The witness function of the maximum mean discrepancy (Gretton et al. 2012, JMLR 13, eq. 6): its mean over real
    points minus its mean over the tuner's is the squared MMD. It is positive where real samples are denser than the
    tuner's and negative where the tuner crowds, so that rewarding it spreads the samples as the data are spread.

    Args:
        points: (B, F).
        real: (N, F).
        own: (M, F) recent samples of the tuner.

    Returns:
        (B,) in [-1, 1]; the kernel is ``exp(-d^2 / m)`` with m the median squared distance of ``points`` and ``real``.
    """
    to_real, to_own = torch.cdist(points, real).square(), torch.cdist(points, own).square()
    width = to_real.median().clamp(min=1e-12)
    return (-to_real / width).exp().mean(1) - (-to_own / width).exp().mean(1)


def improvement(after: Tensor, before: Tensor, gamma: float) -> Tensor:
    """Potential-based reward ``gamma Phi(s') - Phi(s)`` (Ng, Harada and Russell 1999), (B,) each.

    Over an episode it adds up to the potential of the last state minus that of the first: no path to it pays more.
    """
    return gamma * after - before


def augmented_views(image: Tensor, views: int) -> Tensor:
    """The image and changed copies of it that show the same anatomy.

    Copies are mirrored (half of them), turned, scaled and shifted a little, and finished with blur and noise, as the
    images were that the judges learnt from. What convinces a judge in one exact arrangement of pixels seldom
    survives that.

    Args:
        image: (B, 3, H, W) in [0, 1].
        views: V, at least 1.

    Returns:
        (V, B, 3, H, W); the first view is the image itself.
    """
    copies = [image]
    for _ in range(views - 1):
        maps = random_affine(len(image), image.device, turn=0.1, scale=(0.95, 1.05), shift=0.04)
        copies.append(soften(warp(image, maps), 0.0, 0.6))
    return torch.stack(copies)


@dataclass(frozen=True)
class Measured:
    """What is seen in B decoded images.

    Attributes:
        terms: (B, len(MEASURED)) in that order.
        features: (B, F) of the rewarded judge.
    """

    terms: Tensor
    features: Tensor


@torch.no_grad()
def measure(
    image: Tensor, judge: LearnedJudge, weights: RewardWeights, views: int, reference_sharpness: Tensor
) -> Measured:
    """The terms of decoded images; a term of weight 0 is not computed and stays 0.

    Args:
        image: (B, 3, H, W) in [0, 1].
        judge: the rewarded judge, in evaluation mode.
        weights: which terms count.
        views: views that the judge sees of each image.
        reference_sharpness: scalar, for `sharpness_term`.
    """
    small = to_judge_size(image.clamp(0.0, 1.0))
    seen = augmented_views(small, views)
    features = judge.network.features(seen.flatten(0, 1))
    scores = judge.network.heads(features)[:, 0].view(views, -1) - judge.threshold
    blank = torch.zeros(len(image), device=image.device)
    sharpness = sharpness_term(laplacian_variance(image), reference_sharpness) if weights.sharpness else blank
    skin = skin_term(skin_and_orientation(small)[0]) if weights.skin else blank
    own = (features[: len(image)] - judge.feature_mean) / judge.feature_deviation
    return Measured(torch.stack([judge_term(scores), sharpness, skin], dim=1), own)

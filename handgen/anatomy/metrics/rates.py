"""Rates and their uncertainty: Wilson interval, Rogan-Gladen correction, bootstrap.

Every figure a reader sees carries a 95% interval. A share of yes/no answers takes the Wilson interval, a
share read by an imperfect judge is also shown corrected for that judge's errors, everything else takes a
bootstrap interval.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import torch
from torch import Tensor

CONFIDENCE = 0.95
"""Coverage of every interval in the project."""


@dataclass(frozen=True)
class Estimate:
    """A measured value with its 95% interval.

    Attributes:
        value: The point estimate, in the metric's own unit.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of independent samples behind the value.
    """

    value: float
    low: float
    high: float
    n: int


def normal_quantile(confidence: float = CONFIDENCE) -> float:
    """Two-sided normal quantile: 1.96 for a confidence of 0.95.

    Args:
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        The number of standard errors on each side of the value.
    """
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    r"""Wilson score interval of a share (Wilson 1927, JASA 22, eq. 2; no continuity correction).

    $$\frac{p + z^2/2n \pm z\sqrt{p(1-p)/n + z^2/4n^2}}{1 + z^2/n}$$

    It stays inside [0, 1] and is sensible at 0 and at `trials` successes, where the textbook interval has no
    width.

    Args:
        successes: Number of yes answers, 0..trials.
        trials: Number of answers.
        confidence: Coverage of the interval, in (0, 1).

    Returns:
        Lower and upper end, in [0, 1]; (0, 1) without any trial.

    Raises:
        ValueError: If `successes` lies outside 0..trials.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes must lie between 0 and trials, got {successes} of {trials}")
    if trials == 0:
        return 0.0, 1.0
    z2 = normal_quantile(confidence) ** 2
    share = successes / trials
    centre = share + z2 / (2 * trials)
    half = math.sqrt(z2 * (share * (1 - share) / trials + z2 / (4 * trials**2)))
    scale = 1 + z2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def share(flags: Tensor) -> Estimate:
    """Share of true flags with its Wilson interval.

    Args:
        flags: Bool (N,).

    Returns:
        The share in [0, 1]; NaN with interval (0, 1) when there is no flag.
    """
    trials, successes = flags.numel(), int(flags.sum())
    low, high = wilson_interval(successes, trials)
    return Estimate(successes / trials if trials else math.nan, low, high, trials)


def rogan_gladen(rate: float, sensitivity: float, specificity: float) -> float:
    r"""True share behind a share read by an imperfect judge (Rogan and Gladen 1978, Am J Epidemiol 107:71).

    $$p = \frac{r + \mathrm{spec} - 1}{\mathrm{sens} + \mathrm{spec} - 1}$$ clipped to [0, 1].

    Args:
        rate: Share the judge accepts, in [0, 1].
        sensitivity: Share of truly valid images the judge accepts, in [0, 1].
        specificity: Share of truly malformed images the judge rejects, in [0, 1].

    Returns:
        The corrected share in [0, 1]; NaN when the judge is no better than a coin (sens + spec <= 1).
    """
    skill = sensitivity + specificity - 1
    if skill <= 0:
        return math.nan
    return min(1.0, max(0.0, (rate + specificity - 1) / skill))


def corrected_share(
    raw: Estimate,
    sensitivity: float,
    specificity: float,
    sensitivity_trials: int | None = None,
    specificity_trials: int | None = None,
) -> Estimate:
    """Rogan-Gladen corrected share with its interval.

    With both trial counts the interval also holds the uncertainty of the judge's own sensitivity and
    specificity (delta method, Greiner and Gardner 2000, Prev Vet Med 45:3). Without them the judge is taken
    as exactly known and the ends of the raw Wilson interval are corrected like the value itself.

    Args:
        raw: Share accepted by the judge, from `share`.
        sensitivity: Share of truly valid images the judge accepts, in [0, 1].
        specificity: Share of truly malformed images the judge rejects, in [0, 1].
        sensitivity_trials: Number of valid images behind `sensitivity`.
        specificity_trials: Number of malformed images behind `specificity`.

    Returns:
        The corrected share; NaN with interval (0, 1) when the judge is no better than a coin.
    """
    value = rogan_gladen(raw.value, sensitivity, specificity)
    if math.isnan(value):
        return Estimate(math.nan, 0.0, 1.0, raw.n)
    if not (sensitivity_trials and specificity_trials):
        low, high = (rogan_gladen(end, sensitivity, specificity) for end in (raw.low, raw.high))
        return Estimate(value, low, high, raw.n)
    # The Wilson half width keeps the sampling part positive at shares of 0 and 1.
    sampling = ((raw.high - raw.low) / (2 * normal_quantile())) ** 2
    variance = sampling + value**2 * sensitivity * (1 - sensitivity) / sensitivity_trials
    variance += (1 - value) ** 2 * specificity * (1 - specificity) / specificity_trials
    half = normal_quantile() * math.sqrt(variance) / (sensitivity + specificity - 1)
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), raw.n)


def bootstrap_interval(
    statistic: Callable[..., Tensor],
    *groups: Tensor,
    resamples: int = 400,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron 1979, Ann Stat 7:1).

    Args:
        statistic: Maps resampled groups, each (resamples, N_i), to (resamples,): it reduces the last
            dimension.
        groups: Values per sample, each (N_i,); every group is resampled with replacement on its own.
        resamples: Number of bootstrap draws.
        confidence: Coverage of the interval, in (0, 1).
        seed: Seed of the draws, so that a repeated evaluation prints the same interval.

    Returns:
        Lower and upper end; (NaN, NaN) when a group is empty.
    """
    if any(group.numel() == 0 for group in groups):
        return math.nan, math.nan
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for group in groups:
        values = group.detach().cpu().double()
        picks = torch.randint(values.numel(), (resamples, values.numel()), generator=generator)
        drawn.append(values[picks])
    outcome = statistic(*drawn)
    tail = (1 - confidence) / 2
    low, high = torch.quantile(outcome.double(), torch.tensor([tail, 1 - tail], dtype=torch.double)).tolist()
    return low, high


def median_ratio(numerator: Tensor, denominator: Tensor) -> Estimate:
    """Ratio of two medians with its bootstrap interval.

    Args:
        numerator: Values (N,).
        denominator: Values (M,), with a positive median.

    Returns:
        median(numerator) / median(denominator); n is N.
    """

    def ratio(top: Tensor, bottom: Tensor) -> Tensor:
        return top.median(dim=-1).values / bottom.median(dim=-1).values.clamp_min(1e-12)

    top, bottom = numerator.detach().cpu().double(), denominator.detach().cpu().double()
    if top.numel() == 0 or bottom.numel() == 0:
        return Estimate(math.nan, math.nan, math.nan, top.numel())
    low, high = bootstrap_interval(ratio, top, bottom)
    return Estimate(float(ratio(top, bottom)), low, high, top.numel())

"""What episodes are worth: the mean return with its interval, named by the environment steps behind it."""

from __future__ import annotations

from torch import Tensor

from handgen.results import Measurement


def steps_name(env_steps: int) -> str:
    """Environment steps as metric names write them: ``500``, ``25k``, ``1M``."""
    if env_steps and env_steps % 1_000_000 == 0:
        return f"{env_steps // 1_000_000}M"
    return f"{env_steps // 1000}k" if env_steps and env_steps % 1000 == 0 else str(env_steps)


def steps_of(name: str) -> int:
    """The inverse of `steps_name`."""
    scale = {"k": 1_000, "M": 1_000_000}.get(name[-1:], 1)
    return int(name.rstrip("kM")) * scale


def student_quantile(freedom: int) -> float:
    """97.5% quantile of Student's t with 1, 2, ... degrees of freedom."""
    from scipy.stats import t  # a second, for those who need it

    return float(t.ppf(0.975, freedom))


def mean_measurement(metric: str, values: Tensor, variant: str = "") -> Measurement:
    """A mean with Student's 95% interval.

    Args:
        metric: name of the metric.
        values: (n,) one for each episode.
        variant: which of several ways.
    """
    values = values.double().cpu()
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return Measurement(metric, mean, n=count, variant=variant)
    half = student_quantile(count - 1) * float(values.std()) / count**0.5
    return Measurement(metric, mean, mean - half, mean + half, count, variant)


def return_measurement(returns: Tensor, env_steps: int, variant: str = "") -> Measurement:
    """``return@STEPS``: mean undiscounted return of evaluation episodes after that many environment steps.

    Args:
        returns: (n,).
        env_steps: environment steps trained.
        variant: which of several agents.
    """
    return mean_measurement(f"return@{steps_name(env_steps)}", returns, variant)

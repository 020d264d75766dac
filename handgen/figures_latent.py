"""The ladder of latent tuners: valid rate against decoder calls, drawn from result records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from handgen.results import Record

TUNERS = ("vae_sac", "vae_sac_hands11k")
STRICTEST = "valid_rate/strictest"
COST = "decoder_calls_per_valid"
CEILINGS = ("heldout", "reconstruction", "reencode")
OURS = "tuner"
LOSS_TUNER = ("vae_sac_loss", "prior")
"""Experiment and variant of the agent that is rewarded by the fall of the loss."""


def draw_ladders(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw the ladder of every data set that has records.

    Args:
        records: all committed records.
        folder: where the pictures go.

    Returns:
        The files written.
    """
    written = []
    for experiment in TUNERS:
        chosen = [record for record in records if record.experiment == experiment]
        points = ladder_points(chosen)
        if points:
            written.append(
                _draw(points | loss_tuner_point(records, chosen), chosen, folder / f"{experiment}_ladder.png")
            )
    return written


def ladder_points(records: Sequence[Record]) -> dict[str, tuple[float | None, float]]:
    """Decoder calls per sample, None for images that no sampler drew, and valid rate of each variant, over seeds.

    Records hold calls per *valid* sample by the strictest judge; the product with its rate are calls per sample.

    Args:
        records: of one experiment.
    """
    values: dict[str, dict[tuple[int, ...], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in records:
        if record.metric in (STRICTEST, COST):
            values[record.variant][tuple(record.seeds)][record.metric] = record.value
    found: dict[str, tuple[float | None, float]] = {}
    for variant, seeds in values.items():
        rates = [metrics[STRICTEST] for metrics in seeds.values() if STRICTEST in metrics]
        calls = [metrics[COST] * metrics[STRICTEST] for metrics in seeds.values() if COST in metrics]
        if rates:
            found[variant] = (fmean(calls) if calls else None, fmean(rates))
    return found


def loss_tuner_point(records: Sequence[Record], beside: Sequence[Record]) -> dict[str, tuple[float | None, float]]:
    """The loss-delta tuner: N(0, I) through the transform that it learnt, with a VAE of its own.

    Args:
        records: all records.
        beside: of the experiment whose data set the figure is about.
    """
    data = {record.dataset for record in beside}
    own = [r for r in records if (r.experiment, r.variant) == LOSS_TUNER and r.dataset in data]
    points = list(ladder_points(own).values())
    return {"loss-delta tuner": points[0]} if points else {}


def _draw(points: dict[str, tuple[float | None, float]], records: Sequence[Record], path: Path) -> Path:
    """One figure: points for samplers, dotted lines for ceilings."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    for variant, (calls, rate) in points.items():
        if variant in CEILINGS:
            axes.axhline(rate, color="0.6", linestyle=":", linewidth=1)
            axes.annotate(variant, (0.995, rate), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=7)
            continue
        calls = 1.0 if calls is None else max(calls, 1.0)  # no valid one, no cost per valid one: a plain draw
        colour = "C3" if variant.startswith(OURS) else "C0"
        axes.plot(calls, rate, "o", color=colour)
        axes.annotate(variant, (calls, rate), xytext=(5, 2), textcoords="offset points", size=7, color=colour)
    axes.set(xscale="log", xlabel="images decoded for each sample", ylim=(0, 1), xlim=(0.8, 150))
    axes.set_ylabel("valid rate, the strictest judge that gave no reward")
    axes.set_title(f"{records[0].experiment}: same decoder, {len({s for r in records for s in r.seeds})} seeds")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path

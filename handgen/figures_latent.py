"""The ladder of latent tuners: valid rate against decoder calls, drawn from result records."""

from __future__ import annotations

import math
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
FEWEST = 0.003
"""Share refused at the top of the figure: a thousand samples cannot tell smaller ones apart."""
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


def joined(points: dict[str, tuple[float, float]]) -> list[tuple[str, float, float]]:
    """Points that lie on each other, under one label.

    Args:
        points: images decoded for a sample, and share refused, by name.

    Returns:
        Label, images and share of each place.
    """
    found: list[tuple[str, float, float]] = []
    for name, (calls, refused) in sorted(points.items(), key=lambda item: item[1]):
        if (
            found
            and math.isclose(calls, found[-1][1], rel_tol=0.1)
            and math.isclose(refused, found[-1][2], rel_tol=0.1)
        ):
            found[-1] = (f"{found[-1][0]}, {name}", *found[-1][1:])
        else:
            found.append((name, calls, refused))
    return found


def _draw(points: dict[str, tuple[float | None, float]], records: Sequence[Record], path: Path) -> Path:
    """One figure: points for samplers, dotted lines for ceilings; refusals on a logarithmic axis, few at the top."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8.5, 5), layout="constrained")
    refused = {variant: max(1.0 - rate, FEWEST) for variant, (_, rate) in points.items()}
    for label, _, share in joined({name: (1.0, refused[name]) for name in points if name in CEILINGS}):
        axes.axhline(share, color="0.6", linestyle=":", linewidth=1)
        axes.annotate(label, (0.995, share), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=7)
    for ours in (False, True):
        # No valid sample, no cost per valid one: a plain draw.
        chosen = {
            name: (max(calls or 1.0, 1.0), refused[name])
            for name, (calls, _) in points.items()
            if name not in CEILINGS and name.startswith(OURS) == ours
        }
        colour, side, shift = ("C3", "right", -6) if ours else ("C0", "left", 6)
        for label, calls, share in joined(chosen):
            axes.plot(calls, share, "o", color=colour)
            axes.annotate(
                label, (calls, share), xytext=(shift, -3), textcoords="offset points", ha=side, size=7, color=colour
            )
    axes.set(xscale="log", yscale="log", xlabel="images decoded for each sample", xlim=(0.25, 250), ylim=(1.3, FEWEST))
    axes.set_ylabel("refused by the strictest judge that gave no reward")
    seeds = len({seed for record in records for seed in record.seeds})
    title = f"{records[0].experiment}: same decoder, {seeds} seed{'s' * (seeds > 1)}"
    axes.set_title(f"{title}; better is higher, cheaper further left")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path

"""Learning curves of painters that copy, drawn from result records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handgen.figures_agents import Curve, curves, draw_curve
from handgen.results import Record

METRIC = "recon/mse_of_blank"
REWARDS = {
    "spiral_mnist_recon": "rewarded by the squared error itself",
    "spiral_mnist_recon_discriminator": "rewarded by a discriminator of pairs",
}
"""What painters of the same digits are rewarded by, in the order of docs/spiral.md."""


def draw_painters(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw how the error of copies changes over the paintings made, if there are records of both rewards.

    Args:
        records: all committed records.
        folder: where the pictures go.

    Returns:
        The files written.
    """
    chosen = since_the_start(records)
    found = {name: curves([r for r in chosen if r.experiment == name], METRIC).get("rl", {}) for name in REWARDS}
    return [_draw(found, folder / "spiral_rewards.png")] if all(found.values()) else []


def since_the_start(records: Sequence[Record]) -> list[Record]:
    """Errors of curves as shares of the same seed's error before rewards: seeds start from painters of their own."""
    first = {(r.experiment, *r.seeds): r.value for r in records if r.metric == f"{METRIC}@0"}
    points = [r for r in records if r.metric.startswith(f"{METRIC}@") and (r.experiment, *r.seeds) in first]
    return [replace(r, value=r.value / first[r.experiment, *r.seeds]) for r in points]


def _draw(found: dict[str, Curve], path: Path) -> Path:
    """Means over seeds, each seed a dot."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for position, (name, points) in enumerate(found.items()):
        seeds = max(len(values) for values in points.values())
        draw_curve(axes, points, f"{REWARDS[name]}, {seeds} seed{'s' * (seeds > 1)}", f"C{position}")
    axes.set(xlabel="paintings made", ylabel="squared error, as a share of that before")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path

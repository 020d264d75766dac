"""How the arm's error falls over updates, drawn from result records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handgen.episodes import steps_of
from handgen.results import Record

ARMS = {
    "arm_sac": "SAC after a warm start",
    "arm_sac_photographs": "the same, learnt from photographs too",
    "arm_actor_critic": "online actor-critic (the original's)",
}
SHOWN = {
    "rendered": "poses of the arm",
    "synthetic": "built-in hands",
    "hands11k": "photographs of 11k Hands",
    "sign_digits": "photographs of signed digits",
}
PUBLISHED = ((0, 600 / 3136), (13_000_000, 800 / 3136), (20_000_000, 470 / 3136))
"""Updates (one for each environment step) and share of the pixels: *Hand Imitation* (2020), its smoothed reward read at
its start, worst and end, on hands of its own."""
UPDATES = "_updates"


def draw_arms(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw ``arm_curves.png``, where there are records of more than one agent.

    The axis holds every update, those of a warm start too, which takes no environment steps: its part of a curve is
    dotted.

    Args:
        records: all committed records.
        folder: where the picture goes.
    """
    curves = read_curves(records)
    if len({experiment for experiment, _ in curves}) < 2:
        return []
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    first = min(steps for curve in curves.values() for steps in curve if steps)
    figure, panels = plt.subplots(1, len(SHOWN), figsize=(14, 3.6), sharey=True, layout="constrained", squeeze=False)
    known = {experiment for experiment, _ in curves}
    for panel, (dataset, title) in zip(panels[0], SHOWN.items(), strict=True):
        for number, (experiment, label) in enumerate(ARMS.items()):
            if experiment not in known:
                continue
            curve = curves.get((experiment, dataset), {})
            taken = max((record.env_steps or 0 for record in records if record.experiment == experiment), default=0)
            named = f"{label}; {taken:,} environment steps" if taken else label
            draw_curve(panel, curve, warm_start_end(records, experiment), f"C{number}", named)
        points = [(max(steps, first), 100 * value) for steps, value in PUBLISHED]
        panel.plot(
            *zip(*points, strict=True), "k.--", label="original (start, worst, end); 20,000,000 environment steps"
        )
        panel.set(title=title, xlabel="updates (dotted: of the warm start)", xscale="log", ylim=(0, None))
    panels[0][0].set_ylabel("pixels that differ, %")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    path = folder / "arm_curves.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return [path]


def draw_curve(panel: Any, curve: dict[int, list[float]], warm: int, colour: str, label: str) -> None:
    """Draw the mean over seeds, dotted during the warm start, and a dot for each seed.

    Args:
        panel: matplotlib's axes.
        curve: values of all seeds by updates.
        warm: updates of the warm start.
        colour: of the line.
        label: in the legend.
    """
    updates = sorted(steps for steps in curve if steps)
    means = {steps: 100 * sum(curve[steps]) / len(curve[steps]) for steps in updates}
    before = [steps for steps in updates if steps <= warm]
    after = [*before[-1:], *(steps for steps in updates if steps > warm)]
    panel.plot(before, [means[steps] for steps in before], ":", color=colour)
    panel.plot(after, [means[steps] for steps in after], "-", color=colour, label=label)
    seeds = [(steps, 100 * value) for steps in updates for value in curve[steps]]
    panel.plot(*zip(*seeds, strict=True) if seeds else ((), ()), ".", markersize=3, color=colour)


def read_curves(records: Sequence[Record]) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Values of all seeds by updates, by experiment and data set."""
    curves: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if is_point(record):
            curves[record.experiment, record.dataset][updates_of(record)].append(record.value)
    return {key: dict(curve) for key, curve in curves.items()}


def warm_start_end(records: Sequence[Record], experiment: str) -> int:
    """Updates of the last evaluation during the warm start, 0 where there was none."""
    during = (record for record in records if is_point(record) and record.variant == "imitation")
    return max((updates_of(record) for record in during if record.experiment == experiment), default=0)


def is_point(record: Record) -> bool:
    """Whether a record is a point of an arm's curve, ``mismatch@2k_updates``."""
    return record.experiment in ARMS and record.metric.startswith("mismatch@")


def updates_of(record: Record) -> int:
    """The updates that a point's name holds."""
    return steps_of(record.metric.partition("@")[2].removesuffix(UPDATES))

"""How the arm's error falls over environment steps, drawn from result records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from handgen.episodes import steps_of
from handgen.results import Record

ARMS = {
    "arm_sac": "SAC after a warm start",
    "arm_sac_photographs": "the same, learnt from photographs too",
    "arm_actor_critic": "online actor-critic (the original's)",
}
SHOWN = {"rendered": "poses of the arm", "synthetic": "built-in hands", "sign_digits": "photographs of signed digits"}
PUBLISHED = 0.15
"""Hand Imitation (2020) after 20 million environment steps."""


def draw_arms(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw ``arm_curves.png``, where there are records of more than one agent.

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

    figure, panels = plt.subplots(1, len(SHOWN), figsize=(11, 3.4), sharey=True, layout="constrained", squeeze=False)
    for panel, (dataset, title) in zip(panels[0], SHOWN.items(), strict=True):
        for number, (experiment, label) in enumerate(ARMS.items()):
            curve = curves.get((experiment, dataset), {})
            steps = sorted(curve)
            means = [100 * sum(curve[step]) / len(curve[step]) for step in steps]
            panel.plot([step / 1000 for step in steps], means, color=f"C{number}", label=label)
            seeds = [(step / 1000, 100 * value) for step in steps for value in curve[step]]
            panel.plot(*zip(*seeds, strict=True) if seeds else ((), ()), ".", markersize=3, color=f"C{number}")
        panel.axhline(100 * PUBLISHED, ls=":", c="k", label="original, after 20,000 thousand steps")
        panel.set(title=title, xlabel="thousand environment steps", ylim=(0, None))
    panels[0][0].set_ylabel("pixels that differ, %")
    panels[0][0].legend(frameon=False, fontsize=8)
    path = folder / "arm_curves.png"
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return [path]


def read_curves(records: Sequence[Record]) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Values of all seeds by environment steps, by experiment and data set."""
    curves: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        name, _, steps = record.metric.partition("@")
        if record.experiment in ARMS and name == "mismatch" and steps:
            curves[record.experiment, record.dataset][steps_of(steps)].append(record.value)
    return {key: dict(curve) for key, curve in curves.items()}

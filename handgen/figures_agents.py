"""Learning curves of agents, drawn from result records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from handgen.episodes import steps_of
from handgen.results import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PEERS = ("sac_pendulum", "sac_inverted_pendulum")
DEVIATIONS = "sac_deviations"
PIXELS = {
    "sac_state": "true state",
    "sac_imm": "keypoints, learnt first (ours)",
    "sac_ae_imm": "keypoints and autoencoder, learnt first (ours)",
    "sac_ae": "autoencoder (SAC+AE)",
    "sac_ae_imm_poster": "autoencoder and keypoints of stacks",
    "sac_imm_poster": "keypoints of stacks, learnt beside",
}
"""Agents on cart-pole swing-up, in the order of the table of returns in docs/pixels.md."""
REMEDIES = {
    "sac_imm_poster": "the original: keypoints of stacks, learnt beside the agent",
    "sac_imm_first": "keypoints learnt first, then fixed",
    "sac_imm_updates": "eight updates a decision, normalised critics, n-step targets, mean actor",
    "sac_imm_uncropped": "no random crops, one softmax over all cells",
    "sac_imm_pole": "foreground weight, equivariance, separation, concentration",
    "sac_imm_frames": "points of single frames, and their differences",
    "sac_imm_settled": "reliable directions, past actions",
    "sac_imm": "fresh starts: ours",
}
"""From the original to ours: each experiment adds one remedy to the one before, in the order of docs/pixels.md."""
TOLD = {
    "sac_imm_frames": "neither, without fresh starts",
    "sac_imm_reliable": "reliable directions, without fresh starts",
    "sac_imm_settled": "both, without fresh starts",
    "sac_imm_untold": "neither, with fresh starts",
    "sac_imm": "both, with fresh starts: ours",
}
"""What the agent is told beside the points and their differences, in the order of docs/pixels.md."""
PUBLISHED_AT_100K = {"SAC+AE, published": 311.0, "best from pixels, published": 851.0}
"""Returns after 100,000 environment steps: Srinivas et al. 2020 (arXiv:2004.04136), Simoun (ICCV 2023)."""
FORMS = {
    "sac": "SAC v2",
    "sac bootstrap=value value_loss=squared": "SAC v1 (value network)",
    "sac target_minimum=actions": "min over actions",
    "sac entropy_bonus=undiscounted": "bonus undiscounted",
    "sac bootstrap=value value_loss=kl": "value loss is KL",
    "sac temperature_step=additive": "additive temperature",
    "sac temperature_sign=printed": "printed temperature sign",
    "seed": "printed equations",
}
"""Variants of the ablation, in the order of docs/sac.md."""

Curve = dict[int, list[float]]


def draw_agents(records: Sequence[Record], folder: Path) -> list[Path]:
    """Draw every figure that the records can fill.

    Args:
        records: all committed records.
        folder: where the pictures go.

    Returns:
        The files written.
    """
    written = []
    tasks = [name for name in PEERS if any(r.experiment == name for r in records)]
    if tasks:
        written.append(_draw_peers(records, tasks, folder / "sac_peer.png"))
    # The correct form is the experiment itself, with the seeds of the deviations.
    seeds = {seed for r in records if r.experiment == DEVIATIONS for seed in r.seeds}
    own = [r for r in records if r.experiment == PEERS[0] and r.variant == "sac" and set(r.seeds) <= seeds]
    deviating = [r for r in records if r.experiment == DEVIATIONS]
    if deviating:
        written.append(_draw_deviations([*own, *deviating], folder / "sac_deviations.png"))
    seeing = {name: [r for r in records if r.experiment == name] for name in PIXELS}
    if any(seeing.values()):
        written.append(_draw_pixels(seeing, folder / "pixels_returns.png"))
    remedied = {name: [r for r in records if r.experiment == name] for name in REMEDIES}
    if len([name for name in remedied if remedied[name]]) > 2:
        written.append(_draw_remedies(remedied, folder / "pixels_remedies.png"))
    return written


def curves(records: Sequence[Record], metric: str) -> dict[str, Curve]:
    """Values of ``metric@STEPS`` by variant and environment steps, one for each seed."""
    found: dict[str, Curve] = defaultdict(lambda: defaultdict(list))
    for record in records:
        name, _, steps = record.metric.partition("@")
        if name == metric and steps:
            found[record.variant][steps_of(steps)].append(record.value)
    return {variant: dict(sorted(points.items())) for variant, points in found.items()}


def draw_curve(axes: Axes, points: Curve, label: str, colour: str | tuple[float, ...]) -> None:
    """The mean over seeds, with every seed as a dot."""
    steps = list(points)
    axes.plot(steps, [sum(points[s]) / len(points[s]) for s in steps], color=colour, label=label)
    for s in steps:
        axes.plot([s] * len(points[s]), points[s], ".", color=colour, markersize=4, alpha=0.5)


def _draw_peers(records: Sequence[Record], tasks: Sequence[str], path: Path) -> Path:
    """One panel for each task: ours and the peer's evaluations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(tasks), figsize=(4.6 * len(tasks), 3.2), layout="constrained", squeeze=False)
    for axes, task in zip(panels[0], tasks, strict=True):
        chosen = [r for r in records if r.experiment == task]
        found = curves(chosen, "return")
        for variant, label, colour in (("stable_baselines3", "Stable-Baselines3", "C1"), ("sac", "ours", "C0")):
            if variant in found:
                draw_curve(axes, found[variant], label, colour)
        axes.set_title(chosen[0].dataset)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("return of the mean action")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _draw_pixels(agents: dict[str, list[Record]], path: Path) -> Path:
    """Returns of all agents on cart-pole swing-up over environment steps, and published ones."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 5.0), layout="constrained")
    for position, (name, label) in enumerate(PIXELS.items()):
        for points in curves(agents[name], "return").values():
            seeds = max(len(values) for values in points.values())
            draw_curve(axes, points, f"{label}, {seeds} seed{'s' * (seeds > 1)}", f"C{position}")
    for label, value in PUBLISHED_AT_100K.items():
        axes.plot(100_000, value, "k*", markersize=8)
        axes.annotate(
            label, (100_000, value), xytext=(4, 8), textcoords="offset points", ha="right", va="bottom", size=8
        )
    axes.set(xlabel="environment steps, random ones included", ylabel="return of the mean action", ylim=(0, 950))
    axes.grid(alpha=0.3)
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _draw_remedies(agents: dict[str, list[Record]], path: Path) -> Path:
    """Returns from the original to ours, a remedy at a time; of ours as much as the others had."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = {name: points for name in REMEDIES for points in curves(agents[name], "return").values()}
    longest = max(max(points) for name, points in found.items() if name != "sac_imm")
    figure, axes = plt.subplots(figsize=(8, 5.2), layout="constrained")
    for position, (name, points) in enumerate(found.items()):
        shown = {steps: values for steps, values in points.items() if steps <= longest}
        plus = "+ " * (position > 0)
        colour = plt.get_cmap("viridis_r")(0.1 + 0.9 * position / len(found))
        seeds = max(len(values) for values in shown.values())
        draw_curve(axes, shown, f"{plus}{REMEDIES[name]}, {seeds} seed{'s' * (seeds > 1)}", colour)
    axes.set(xlabel="environment steps, random ones included", ylabel="return of the mean action", ylim=(0, 900))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _draw_deviations(records: Sequence[Record], path: Path) -> Path:
    """Return, temperature and entropy of each form of the equations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for axes, metric in zip(panels, ("return", "temperature", "entropy"), strict=True):
        found = curves(records, metric)
        for position, (variant, label) in enumerate(FORMS.items()):
            if variant in found:
                draw_curve(axes, found[variant], label, "k" if variant == "sac" else f"C{position}")
        axes.set_xlabel("environment steps")
        axes.set_title({"return": "return of the mean action", "entropy": "entropy (nats)"}.get(metric, metric))
    panels[1].set_yscale("log")
    panels[2].axhline(-1.0, color="k", linewidth=0.6, linestyle=":")  # the target
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path

"""What came of a sweep: a table, a file and a picture."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handgen.sweeps.plan import Parameter
from handgen.sweeps.server import Sweep, Trial


def ranked(sweep: Sweep) -> list[Trial]:
    """Runs, the best first; those without the metric last."""
    sign = -1.0 if sweep.plan.maximise else 1.0

    def place(trial: Trial) -> float:
        value = sweep.value(trial)
        return math.inf if value is None or not math.isfinite(value) else sign * value

    return sorted(sweep.trials.values(), key=place)


def write_table(sweep: Sweep, path: Path) -> Path:
    """``sweep.csv``: one row for each run, the best first."""
    names = list(sweep.plan.parameters)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["run", *names, sweep.plan.metric or "metric", "exit_code"])
        for trial in ranked(sweep):
            value = sweep.value(trial)
            row = [trial.settings[name] for name in names]
            writer.writerow([trial.run_id, *row, "" if value is None else value, trial.exit_code])
    return path


def print_table(sweep: Sweep) -> None:
    """The same in the terminal."""
    from rich.console import Console
    from rich.table import Table

    varied = [name for name, parameter in sweep.plan.parameters.items() if parameter.distribution != "constant"]
    table = Table(title=f"{len(sweep.trials)} runs, the best first")
    for heading in ("run", *varied, sweep.plan.metric or "metric"):
        table.add_column(heading)
    for trial in ranked(sweep):
        value = sweep.value(trial)
        shown = f"{value:.5g}" if value is not None else "failed" if trial.exit_code else "not reported"
        table.add_row(trial.run_id, *(_text(trial.settings[name]) for name in varied), shown)
    Console().print(table)


def _text(value: Any) -> str:
    """A setting as a person reads it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw(sweep: Sweep, path: Path) -> Path | None:
    """Parallel coordinates: an axis for each setting and one for the metric, a line for each run.

    Returns:
        The file, or None where fewer than two runs reported the metric.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    trials = [trial for trial in ranked(sweep) if sweep.value(trial) is not None]
    if len(trials) < 2:
        return None
    varied = {name: p for name, p in sweep.plan.parameters.items() if p.distribution != "constant"}
    results = [sweep.value(trial) or 0.0 for trial in trials]
    figure, axes = plt.subplots(figsize=(2.2 * (len(varied) + 1), 4.2), layout="constrained")
    columns = [[_height(parameter, trial.settings[name]) for trial in trials] for name, parameter in varied.items()]
    low, high = min(results), max(results)
    columns.append([(value - low) / (high - low or 1.0) for value in results])
    colours = plt.get_cmap("viridis")
    for place in reversed(range(len(trials))):  # the best on top
        share = place / (len(trials) - 1)
        heights = [column[place] for column in columns]
        axes.plot(range(len(columns)), heights, color=colours(1.0 - share), linewidth=2.2 - share)
    for position, (name, parameter) in enumerate(varied.items()):
        _ticks(axes, position, name, _labels(parameter))
    _ticks(axes, len(varied), sweep.plan.metric, [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")])
    axes.set(xlim=(-0.3, len(varied) + 0.5), ylim=(-0.14, 1.08))
    axes.axis("off")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path


def _height(parameter: Parameter, value: Any) -> float:
    """Where a value lies on its axis, 0 to 1."""
    if parameter.values:
        return parameter.values.index(value) / max(1, len(parameter.values) - 1)
    if parameter.distribution == "log_uniform_values":
        return math.log(value / parameter.low) / math.log(parameter.high / parameter.low)
    return (float(value) - parameter.low) / (parameter.high - parameter.low)


def _labels(parameter: Parameter) -> list[tuple[float, str]]:
    """Heights and names of an axis' ticks."""
    if parameter.values:
        return [(_height(parameter, value), _text(value)) for value in parameter.values]
    return [(0.0, _text(parameter.low)), (1.0, _text(parameter.high))]


def _ticks(axes: Any, position: int, name: str, labels: Sequence[tuple[float, str]]) -> None:
    """One axis with its name below."""
    axes.plot([position, position], [0, 1], color="0.4", linewidth=1)
    axes.text(position, -0.1, name, ha="center", va="center", size=9)
    for height, label in labels:
        axes.text(position + 0.04, height, label, size=8, va="center", color="0.25")

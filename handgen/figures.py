"""The pictures of README.md and docs/: rendered hands, and sheets copied from evaluated runs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from handgen.figures_agents import draw_agents
from handgen.figures_arm import draw_arms
from handgen.figures_latent import draw_ladders
from handgen.figures_painter import draw_painters
from handgen.report import RESULTS
from handgen.results import Record, read_records

FOLDER = Path("docs", "images")
HEADLINE = {"judge_a": "judge A", "judge_b": "judge B", "geometric": "geometric"}


def write_figures(paths: Sequence[str | Path], root: Path) -> list[Path]:
    """Draw what code and records can draw, and copy the sheets of the given runs.

    Args:
        paths: run folders; the sheets of a run replace those of an earlier run of the same experiment.
        root: root of the checkout, with the committed records.

    Returns:
        The files written.
    """
    records = read_records(root / RESULTS / "results.json")
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    written = [draw_hands(folder / "hands.png"), draw_malformed(folder / "malformed.png")]
    pages = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    text = "".join(page.read_text(encoding="utf-8") for page in pages if page.is_file())
    for run in map(Path, paths):
        written += copy_sheets(run, folder, text)
    for experiment in ("vae", "vae_hands11k"):
        chosen = [r for r in records if r.experiment == experiment and r.metric.startswith("valid_rate/")]
        if chosen:
            written.append(draw_rates(chosen, folder / f"{experiment}_rates.png"))
    drawn = (draw_agents, draw_ladders, draw_painters, draw_arms)
    return written + [path for draw in drawn for path in draw(records, folder)]


def draw_hands(path: Path) -> Path:
    """A sheet of 24 unselected valid hands at 128 px."""
    from handgen.anatomy import render_hands
    from handgen.images import make_grid, write_png

    return write_png(path, make_grid(render_hands(range(24), seed=7, size=128, upright=True).image, columns=8))


def draw_malformed(path: Path) -> Path:
    """The same two hands with each of the twelve malformations, two rows of twelve at 96 px."""
    import torch

    from handgen.anatomy import KINDS, render_hands
    from handgen.images import make_grid, write_png

    rows = [
        [render_hands([hand], seed=7, size=96, kinds=(kind,), upright=True).image for kind in KINDS[1:]]
        for hand in (1, 2)
    ]
    return write_png(path, make_grid(torch.cat([image for row in rows for image in row]), columns=len(KINDS) - 1))


def on_the_page() -> set[str]:
    """Names of the pictures of the page of results."""
    from handgen.report_page import SECTIONS  # which draws nothing itself

    return {file for section in SECTIONS for file, _ in section.pictures}


def copy_sheets(run: Path, folder: Path, pages: str) -> list[Path]:
    """Copy a run's pictures as EXPERIMENT_NAME.png, those that a page shows under that name.

    They are those in the run folder itself, and the last of ``images/``: ``images/rl-final.gif`` is called ``rl.gif``.

    Args:
        run: run folder, or a result file, which has no pictures.
        folder: where they go.
        pages: text of all pages.

    Returns:
        The files written.
    """
    records = read_records(run / "result.json") if run.is_dir() else []
    experiment = records[0].experiment if records else run.parent.name
    copied = []
    final = [(path, path.name.replace("-final", "").replace("-", "_")) for path in run.glob("images/*-final.*")]
    for picture, name in sorted([*((path, path.name) for path in run.glob("*.png")), *final]):
        target = folder / f"{experiment}_{name}"
        if f"images/{target.name})" in pages or target.name in on_the_page():
            shutil.copyfile(picture, target)
            copied.append(target)
    return copied


def draw_rates(records: Sequence[Record], path: Path) -> Path:
    """Valid rate of each source of images by each judge: bars of the mean over seeds, dots for the seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from handgen.report_tables import SOURCES

    sources = [name for name in SOURCES if any(r.variant == name for r in records)]
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    for offset, (judge, label) in enumerate(HEADLINE.items()):
        for position, source in enumerate(sources):
            metric = f"valid_rate/{judge}"
            values = [r.value for r in records if r.variant == source and r.metric == metric]
            if not values:
                continue
            x = position + 0.27 * (offset - 1)
            name = label if position == 0 else None
            axes.bar(x, sum(values) / len(values), width=0.25, color=f"C{offset}", alpha=0.75, label=name)
            axes.plot([x] * len(values), values, "k.", markersize=3)
    axes.set_xticks(range(len(sources)), [name.replace("_", "\n") for name in sources])
    axes.set_ylim(0, 1)
    axes.set_ylabel("accepted as a valid hand")
    axes.set_title(f"{records[0].experiment}: {records[0].n} images for each bar and seed")
    axes.legend(frameon=False, loc="center right")
    figure.savefig(path, dpi=110)
    plt.close(figure)
    return path

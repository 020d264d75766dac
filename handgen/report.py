"""``make report``: the tables and pictures of README.md and docs/ come from records and runs, never by hand.

A table stands between ``<!-- table:NAME -->`` and ``<!-- /table:NAME -->``:
`handgen.report_tables` says what it holds.
"""

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handgen.episodes import student_quantile
from handgen.errors import UserError
from handgen.report_tables import TABLES, Table
from handgen.results import Record, merge_results, read_records

RESULTS = Path("experiments", "results")
MARKED = re.compile(r"(<!-- table:(?P<name>[\w.-]+) -->\n).*?(<!-- /table:(?P=name) -->)", re.DOTALL)
ABSENT = "-"
FOLDED = "<details><summary>how these were measured: seeds, steps, time, machine, commit, command</summary>"
COSTS = ("decoder_calls_per_valid", "seconds_per_valid")
SHARES = ("valid_rate", "coverage", "skin", "orientation", "precision", "recall", "sensitivity", "specificity", "real_")
"""Metrics, by their beginnings, that are shares of something."""


def write_report(paths: Sequence[str | Path] = (), root: Path | None = None) -> list[Path]:
    """Add runs to the committed records and rewrite every table.

    Args:
        paths: Run folders or ``result.json`` files to merge into ``experiments/results/results.json`` first.
        root: Root of the checkout; the working directory by default.

    Returns:
        The pages whose text changed.

    Raises:
        UserError: A path holds no results, or a page names an unknown table.
    """
    root = root or Path.cwd()
    pages = [path for path in (root / "README.md", *sorted((root / "docs").glob("*.md"))) if path.is_file()]
    if not pages:
        raise UserError("no README.md or docs/ here: `handgen report` is for the root of a checkout")
    records = merge_results(paths, root / RESULTS / "results.json")
    records += read_records(root / RESULTS / "bench.json")
    return [page for page in pages if _rewrite(page, records)]


def _rewrite(page: Path, records: Sequence[Record]) -> bool:
    """Rewrite the tables of one page; whether its text changed."""
    before = page.read_text(encoding="utf-8")

    def table(match: re.Match[str]) -> str:
        if match["name"] not in TABLES:
            raise UserError(f"{page} names the unknown table {match['name']!r}: known are {', '.join(TABLES)}")
        return f"{match[1]}{render(TABLES[match['name']], records)}\n{match[3]}"

    after = MARKED.sub(table, before)
    if after == before:
        return False
    page.write_text(after, encoding="utf-8")
    return True


def render(table: Table, records: Sequence[Record]) -> str:
    """A table as Markdown, followed by one line per set of runs that its figures come from.

    Args:
        table: What to show.
        records: All records.
    """
    columns = list(table.columns)
    heads = [*table.row_heads, *(table.columns[column] for column in columns)]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for called, found in rows_of(table, records):
        cells = [cell(pool(found[column])) if column in found else ABSENT for column in columns]
        lines.append("| " + " | ".join((*called, *cells)) + " |")
    for published in table.published:
        labels = [published.label, *[""] * (len(table.row_heads) - 1)]
        lines.append("| " + " | ".join((*labels, *(published.cells.get(column, ABSENT) for column in columns))) + " |")
    notes = [f"\n{note}" for note in footnotes([record for record in records if table.holds(record)])]
    return "\n".join([*lines, *([f"\n{FOLDED}", *notes, "\n</details>"] if notes else [])])


def rows_of(table: Table, records: Sequence[Record]) -> list[tuple[tuple[str, ...], dict[str, list[Record]]]]:
    """What a table shows, row by row: what the row is called, and the records of each column that has any."""
    rows: dict[tuple[str, ...], dict[str, list[Record]]] = defaultdict(dict)
    for record in records:
        if table.holds(record):
            row, column = table.place(record)
            rows[row].setdefault(column, []).append(record)
    return [((table.names.get(row[0], row[0]), *row[1:]), rows[row]) for row in table.ordered(rows)]


def pool(records: Sequence[Record]) -> Record:
    """One record for the same figure measured with several seeds.

    The value is the mean over seeds. The interval is the wider of two: Student's 95% interval of that mean, and the
    mean interval of the single records (seeds that agree, or that share their test images, prove no more than those).
    A single record keeps its own interval; a share stays within [0, 1].

    Args:
        records: At least one record of one figure.
    """
    if len(records) == 1:
        return records[0]
    values = [record.value for record in records]
    mean = statistics.fmean(values)
    half = student_quantile(len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    own = [(r.high - r.low) / 2 for r in records if r.low is not None and r.high is not None]
    half = max(half, statistics.fmean(own)) if own else half
    low, high = mean - half, mean + half
    if records[0].metric.startswith(SHARES):
        low, high = max(low, 0.0), min(high, 1.0)
    if records[0].metric.startswith(COSTS):
        low = max(low, 0.0)
    seeds = sorted({seed for record in records for seed in record.seeds})
    count = sum(record.n or 0 for record in records) or None
    return replace(records[0], value=mean, low=low, high=high, seeds=seeds, n=count)


def cell(record: Record) -> str:
    """``value [low, high]`` with three significant digits."""
    if record.low is None or record.high is None:
        return number(record.value)
    return f"{number(record.value)} [{number(record.low)}, {number(record.high)}]"


def number(value: float) -> str:
    """A figure with three significant digits, without exponent below a million."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = 2 if value == 0 else max(0, 2 - _magnitude(value))
        return f"{value:,.{digits}f}"
    return f"{value:.2e}"


def _magnitude(value: float) -> int:
    """Decimal exponent of a number."""
    return int(f"{abs(value):e}".partition("e")[2])


def footnotes(records: Sequence[Record]) -> list[str]:
    """Where a table's figures come from: one line for each experiment, machine and command.

    Data sets share it where their figures come from the same runs.
    """
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        groups[record.experiment, record.dataset, record.machine, _without_seed(record)].append(record)
    shared: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for (experiment, _, machine, command), group in groups.items():
        shared[experiment, "; ".join([*_runs(group), machine, *_commits(group)]), command].extend(group)
    return [_footnote(*key, group=group) for key, group in shared.items()]


def _without_seed(record: Record) -> str:
    """The command without its seed and the run it started from or went on with: runs of several seeds share a line."""
    command = re.sub(r" (--seed_everything[= ]\S+|--seeds( \d+)+|--(model\.vae|ckpt_path)=\S+)", "", record.command)
    head, *options = command.split(" --")
    return " --".join([head, *sorted(options)])


def _footnote(experiment: str, runs: str, command: str, group: Sequence[Record]) -> str:
    """The line of one group."""
    name = ", ".join(filter(None, (experiment, *dict.fromkeys(record.dataset for record in group))))
    facts = (_span("n {}", [record.n for record in group]), runs, f"`{command}`" if command else "")
    return f"<sub>{name}: {'; '.join(filter(None, facts))}</sub>"


def _runs(group: Sequence[Record]) -> list[str]:
    """Seeds and costs of the runs behind a group of figures."""
    seeds = sorted({seed for record in group for seed in record.seeds})
    facts = [f"seeds {', '.join(map(str, seeds))}" if seeds else ""]
    facts.append(_span("{} env steps", [record.env_steps for record in group]))
    facts.append(_span("{} images seen", [record.images_seen for record in group]))
    facts.append(_span("{} s of training", [record.wall_s for record in group]))
    return [*filter(None, facts)]


def _commits(group: Sequence[Record]) -> list[str]:
    """The commits that a group of figures was measured at."""
    return [f"commit {', '.join(sorted({record.commit for record in group}))}"]


def _span(form: str, values: Sequence[float | None]) -> str:
    """``n 100`` or ``n 100 to 2,000``; empty if nothing is known."""
    known = sorted({value for value in values if value is not None})
    if not known:
        return ""
    ends = [f"{value:,.0f}" for value in (known[0], known[-1])]
    return form.format(" to ".join(dict.fromkeys(ends)))

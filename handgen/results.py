"""Result records: what every evaluated run leaves in ``result.json`` and what README's tables are made of."""

import json
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from handgen.errors import UserError
from handgen.processes import usable_cores
from handgen.whole_files import whole_file

VERSIONED = ("torch", "lightning", "numpy")


@dataclass(frozen=True)
class Measurement:
    """One measured figure, before it is known in which run it was measured.

    A module or callback that lists its measurements in an attribute ``measurements`` during a test run gets
    their intervals and counts into ``result.json``; a logged metric without one gets its value only.

    Attributes:
        metric: Name from the list in docs/metrics.md, without prefix, for example ``valid_rate/judge_a``.
        value: The figure.
        low: Lower end of its 95% interval.
        high: Upper end.
        n: Number of things it was measured on.
        variant: Which of several ways (for a VAE the sampler), empty if there is one.
        dataset: Name of the data set, empty for the run's.
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    variant: str = ""
    dataset: str = ""


@dataclass(frozen=True)
class Record:
    """A measured figure with everything needed to judge and repeat it; one object of the flat JSON list.

    Attributes:
        experiment: Name of the experiment.
        dataset: Name of the data set or env id.
        variant: Which of several ways, empty if there is one.
        metric: Name of the metric.
        value: The figure.
        low: Lower end of its 95% interval, or None.
        high: Upper end, or None.
        n: Number of things it was measured on, or None.
        seeds: Seeds of the runs it stands for.
        env_steps: Environment steps trained, or None.
        images_seen: Training images seen, or None.
        wall_s: Training time in seconds, or None.
        machine: Processor, cores and accelerator.
        versions: Python and main libraries.
        commit: Git commit of the code, ``unknown`` outside a checkout.
        command: The command line.
    """

    experiment: str
    dataset: str
    variant: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    seeds: list[int] = field(default_factory=list)
    env_steps: int | None = None
    images_seen: int | None = None
    wall_s: float | None = None
    machine: str = field(default_factory=lambda: machine())
    versions: str = field(default_factory=lambda: versions())
    commit: str = field(default_factory=lambda: commit())
    command: str = ""

    @property
    def key(self) -> tuple[str, str, str, str, tuple[int, ...]]:
        """What the figure is of; a newer record with the same key replaces it."""
        return (self.experiment, self.dataset, self.variant, self.metric, tuple(self.seeds))


def machine() -> str:
    """Processor, usable cores and accelerator, for example ``AMD EPYC 7B13, 2 cores``."""
    parts = [_processor(), f"{usable_cores()} cores"]
    import torch

    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def _processor() -> str:
    """Model name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def versions() -> str:
    """Versions of Python and the main libraries, in one line."""
    named = [f"{name} {metadata.version(name)}" for name in VERSIONED]
    return ", ".join([f"python {platform.python_version()}", *named])


def commit() -> str:
    """Git commit of the code, with ``+changes`` if the checkout differs from it, ``unknown`` outside one."""
    folder = Path(__file__).resolve().parent
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def _git(folder: Path, *words: str) -> str:
    """Output of a git command."""
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def write_json(path: Path, records: Iterable[Record]) -> None:
    """Write records as a JSON list, whole or not at all: readers never see half a file."""
    lines = (json.dumps(asdict(record), allow_nan=False) for record in records)
    text = "[\n" + ",\n".join(lines) + "\n]\n"  # a line for each: thousands of records, and git compares lines
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_records(path: Path) -> list[Record]:
    """Read a list of records; an absent file is an empty list.

    Raises:
        UserError: The file is no list of records.
    """
    if not path.is_file():
        return []
    try:
        return [_record(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, AttributeError) as error:  # no text, no JSON, no list of objects
        raise UserError(f"{path} is no list of result records: {error}") from error


def _record(entry: dict[str, Any]) -> Record:
    """A record from its JSON object; this machine's facts are never filled in for another's."""
    names = {item.name for item in fields(Record)}
    unknown = set(entry) - names
    if unknown:
        raise TypeError(f"unknown fields {sorted(unknown)}")
    return Record(**{"machine": "unknown", "versions": "unknown", "commit": "unknown", **entry})


def merge(old: Sequence[Record], new: Sequence[Record]) -> list[Record]:
    """Records of both lists, a new one replacing the old one with its `Record.key`, sorted by key."""
    merged = {record.key: record for record in (*old, *new)}
    return [merged[key] for key in sorted(merged)]


def result_files(paths: Sequence[str | Path]) -> list[Path]:
    """The ``result.json`` files that run folders or files name.

    Raises:
        UserError: One of them holds none.
    """
    found = []
    for path in map(Path, paths):
        file = path / "result.json" if path.is_dir() else path
        if not file.is_file():
            raise UserError(f"no result.json at {path}: name run folders that were evaluated (`handgen test`)")
        found.append(file)
    return found


def merge_results(paths: Sequence[str | Path], into: Path) -> list[Record]:
    """Merge runs' records into a committed file.

    Args:
        paths: Run folders or ``result.json`` files.
        into: ``experiments/results/results.json``.

    Returns:
        All records of the file.

    Raises:
        UserError: A path holds no results.
    """
    new = [record for file in result_files(paths) for record in read_records(file)]
    records = merge(read_records(into), new)
    if new:
        write_json(into, records)
    return records

"""``python -m handgen.bench [what ...]``: run all comparisons, or the named ones, and keep the records."""

import argparse
import importlib
import pkgutil
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from handgen.bench import __path__ as _folder
from handgen.errors import UserError
from handgen.memory import keep_freed_memory
from handgen.paths import experiments_root
from handgen.results import Record, merge, read_records, write_json


def known() -> list[str]:
    """Names of the comparisons: modules of this package with a function ``measure() -> list[Record]``."""
    names = (item.name for item in pkgutil.iter_modules(_folder))
    return sorted(name for name in names if not name.startswith("_"))


def run(what: Sequence[str], into: Path) -> list[Record]:
    """Measure and merge the records into a JSON file.

    Args:
        what: Names of comparisons; empty means all.
        into: JSON list of records; kept where it holds other comparisons.

    Returns:
        The new records.

    Raises:
        UserError: If a name is unknown, or needs a library that is absent.
    """
    unknown = sorted(set(what) - set(known()))
    if unknown:
        raise UserError(f"unknown bench {', '.join(unknown)}: choose from {', '.join(known())}")
    command = shlex.join(["python", "-m", "handgen.bench", *what])
    records: list[Record] = []
    keep_freed_memory()  # as training does
    for name in what or known():
        try:
            module = importlib.import_module(f"handgen.bench.{name}")
        except ModuleNotFoundError as error:
            raise UserError(f"bench {name} needs {error.name}: pip install -c constraints.txt -e '.[dev]'") from error
        new = [replace(record, command=command) for record in module.measure()]
        for record in new:
            print(f"{record.metric:<28} {record.value:10.3f}  {record.variant}")
        records += new
    write_json(into, merge(read_records(into), records))
    return records


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="handgen bench", description=__doc__)
    parser.add_argument("what", nargs="*", help=f"one or more of: {', '.join(known())} (default: all)")
    parser.add_argument("--out", type=Path, help="file of records (default: experiments/results/bench.json)")
    options = parser.parse_args(args)
    try:
        run(options.what, options.out or experiments_root() / "results" / "bench.json")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: ``python -m handgen COMMAND`` (also installed as ``handgen``).

This file answers what can be answered without importing torch and hands the rest to `handgen.commands`.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from handgen import __version__
from handgen.errors import UserError

TRAINER_COMMANDS = ("fit", "validate", "test", "predict", "sample", "video", "frames")
ALIASES = {"train": "fit", "evaluate": "test", "eval": "test"}

HELP = """\
usage: handgen COMMAND [options]      (handgen COMMAND --help says more)

Generative models and reinforcement learning that draw anatomically correct human hands.

  list        the experiments, one line each
  fit         train an experiment:            handgen fit --config vae
  test        evaluate its newest run:        handgen test --config vae     (also: evaluate)
  sample      draw unselected samples:        handgen sample --config vae --count 20
  video       film an arm that follows a film, pictures or a camera: handgen video --config arm_sac --feed 0
  frames      render an experiment's images ahead, once: handgen frames --config imm
  validate    one pass over the validation data
  predict     the module's predictions
  sweep       try many settings with wandb agents: handgen sweep vae --count 10 (no account needed)
  population  population-based training on Ray: handgen population spiral_mnist --members 4
  report      rewrite the tables of README.md and docs/, figures and report.html from experiments/results
  leaderboard hands of every method that has been trained, judged by the same judges
  demo        one small result of each method in a few minutes, on one page of pictures
  bench       compare speeds with reference implementations
  doctor      what this machine can do, and what to install for the rest

Any setting can be given on the command line: handgen fit --config vae --model.lr=3e-4 --trainer.max_epochs=5
The same command with --ckpt_path=last continues the newest run of that experiment and seed.
"""


def script() -> None:
    """Entry point of the installed program: run `main` and exit with its code."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: The words after ``handgen``; None takes them from ``sys.argv``.

    Returns:
        The exit code: 0 done, 2 something was asked that cannot be done, 130 interrupted.
    """
    words = list(sys.argv[1:] if args is None else args)
    try:
        return dispatch(words)
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        if os.environ.get("HANDGEN_TRACEBACK") == "1":
            traceback.print_exc()
        print(f"error: {described(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def described(error: UserError | OSError) -> str:
    """One line: of what the system refuses, the file that it is about."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def dispatch(words: list[str]) -> int:
    """Run the command that the first word names.

    Raises:
        UserError: There is no such command.
    """
    command, rest = (ALIASES.get(words[0], words[0]), words[1:]) if words else ("--help", [])
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
    elif command == "--version":
        print(f"handgen {__version__}")
    elif command == "list":
        from handgen.experiment import describe_experiments

        print(describe_experiments())
    elif command in TRAINER_COMMANDS:
        from handgen.experiment_arguments import prepare

        prepared = prepare(command, rest)
        from handgen.commands import run

        return run(prepared)
    elif command == "doctor":
        from handgen.doctor import examine

        print(examine())
    elif command == "report":
        return report(rest)
    elif command == "bench":
        return bench(rest)
    elif command == "sweep":
        from handgen.sweeps.command import main as run_sweep

        return run_sweep(rest)
    elif command == "leaderboard":
        from handgen.leaderboard import main as judge_all

        return judge_all(rest)
    elif command == "demo":
        from handgen.demo import main as run_demo

        return run_demo(rest)
    elif command == "population":
        from handgen.sweeps.population import main as run_population

        return run_population(rest)
    else:
        raise UserError(f"unknown command {command!r}: `handgen --help` lists the commands")
    return 0


def report(words: list[str]) -> int:
    """Merge the given runs' results into the committed records; rewrite tables, pictures and docs/report.html."""
    from handgen.figures import write_figures
    from handgen.report import RESULTS, write_report
    from handgen.report_page import photograph, write_page
    from handgen.results import read_records

    parser = argparse.ArgumentParser("handgen report", description=report.__doc__)
    parser.add_argument("runs", nargs="*", help="run folders or result.json files to add to the committed records")
    runs = parser.parse_args(words).runs
    written = [*write_report(runs), *write_figures(runs, Path.cwd())]
    records = [record for name in ("results", "bench") for record in read_records(RESULTS / f"{name}.json")]
    page = write_page(records, Path.cwd())
    picture = None
    try:
        picture = photograph(Path("docs", "report.html"), Path("docs", "images", "report.png"))
    except UserError as error:
        print(f"note: {error}", file=sys.stderr)
    for path in [*written, *filter(None, (page, picture))]:
        print(f"wrote {path}")
    return 0


def bench(words: list[str]) -> int:
    """Run the benchmarks named (all of them without a name)."""
    from handgen.bench.__main__ import main as run_benchmarks

    return run_benchmarks(words)

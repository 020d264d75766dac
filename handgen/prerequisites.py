"""Experiments that start from another one's result: find its newest run, or train it first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from handgen import runs

Train = Callable[[Sequence[str]], int]
"""Runs ``handgen`` with the words given and returns its exit code."""


def trained_run(root: Path, experiment: str, seed: int, train: Train) -> Path:
    """Run folder of another experiment: the newest with this seed, else the newest of all, else a new one.

    Args:
        root: folder of the run folders.
        experiment: its name.
        seed: preferred seed, and that of the training.
        train: trains what there is not.

    Raises:
        KeyboardInterrupt: if the training was interrupted.
    """
    found = _newest(root, experiment, seed)
    if found is None:
        print(f"no run of {experiment} under {root}: training it first", flush=True)
        words = [f"--config={experiment}", f"--runs={root}", f"--seed_everything={seed}"]
        if train(["fit", *words, "--evaluate_after_fit=false"]) != 0:
            raise KeyboardInterrupt
        found = runs.newest_run_or_error(root, experiment, seed)
    print(f"starting from {found}", flush=True)
    return found


def _newest(root: Path, experiment: str, seed: int) -> Path | None:
    """The newest run folder with a checkpoint, one of the seed before all others."""
    others = runs.runs_with_checkpoint(root, experiment)
    return runs.newest_run(root, experiment, seed) or (others[-1] if others else None)

"""Experiments that start from another one's result: find its newest run, or train it first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from handgen import runs
from handgen.checkpoints import read_checkpoint

Train = Callable[[Sequence[str]], int]
"""Runs ``handgen`` with the words given and returns its exit code."""


def trained_run(root: Path, experiment: str, seed: int, train: Train) -> Path:
    """Run folder of another experiment: the newest with this seed, finished if it was not, else a new one.

    A run of another seed would do, but the seeds of what starts from it would not be independent then.

    Args:
        root: folder of the run folders.
        experiment: its name.
        seed: of the run, and of the training.
        train: trains what there is not.

    Raises:
        KeyboardInterrupt: if the training was interrupted.
    """
    found = runs.newest_run(root, experiment, seed)
    if found is None or not finished(found):
        words = [f"--config={experiment}", f"--runs={root}", f"--seed_everything={seed}", "--evaluate_after_fit=false"]
        if found is None:
            print(f"no run of {experiment} with seed {seed} under {root}: training it first", flush=True)
        else:
            print(f"{found} is not finished: going on with it first", flush=True)
            words.append("--ckpt_path=last")
        if train(["fit", *words]) != 0:
            raise KeyboardInterrupt
        found = runs.newest_run_or_error(root, experiment, seed)
    print(f"starting from {found}", flush=True)
    return found


def finished(folder: Path) -> bool:
    """Whether a run has trained all epochs that its settings ask for."""
    settings = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    epochs = settings["trainer"].get("max_epochs")
    reached = int(read_checkpoint(folder / runs.LAST_CHECKPOINT).get("epoch", 0)) + 1
    return epochs is None or reached >= int(epochs)

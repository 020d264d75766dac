"""Run folders: ``runs/<experiment>/<DATE>-seed<SEED>/`` and the checkpoints in them."""

import os
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from handgen.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

LAST_CHECKPOINT = Path("checkpoints", "last.ckpt")
SWEEP_RUN = re.compile(r"-seed\d+-[0-9a-z]{8}(-\d+)?$")
"""The end of a folder's name with wandb's id of the run, as `new_run_folder` writes it."""


def run_folder(trainer: "Trainer") -> Path:
    """Folder of the run, where callbacks put ``images/``, ``videos/`` and ``result.json``."""
    return Path(trainer.default_root_dir)


def run_date() -> str:
    """Date and time that name a new run, ``HANDGEN_DATE`` if set (tests, the ranks of one ddp run)."""
    return os.environ.get("HANDGEN_DATE") or datetime.now().strftime("%Y%m%d-%H%M%S")


def new_run_folder(runs: Path, experiment: str, seed: int) -> Path:
    """A folder that no earlier run used; it is named here and created by `create`.

    The runs of a wandb sweep carry their run id, for several may start within a second.
    """
    sweep_run = f"-{os.environ['WANDB_RUN_ID']}" if os.environ.get("WANDB_SWEEP_ID") else ""
    first = runs / experiment / f"{run_date()}-seed{seed}{sweep_run}"
    folder, number = first, 1
    while folder.exists():
        number += 1
        folder = first.with_name(f"{first.name}-{number}")
    return folder


def create(folder: Path) -> None:
    """Create a run folder.

    Raises:
        UserError: It cannot be created or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise UserError(f"cannot create the run folder {folder} ({error.strerror}): give --runs=DIR") from error
    if not writable:
        raise UserError(f"cannot write to the run folder {folder}: give --runs=DIR")


def seed_of(folder: Path) -> int | None:
    """Seed in a run folder's name, None if the name holds none."""
    digits = folder.name.partition("-seed")[2].partition("-")[0]
    return int(digits) if digits.isdigit() else None


def runs_with_checkpoint(runs: Path, experiment: str) -> list[Path]:
    """The experiment's run folders that hold a last checkpoint, oldest first; not those of sweeps.

    Who continues or grades the newest run means one that a person has started.
    """
    found = [path for path in (runs / experiment).glob("*") if (path / LAST_CHECKPOINT).is_file()]
    folders = [path for path in found if not SWEEP_RUN.search(path.name)]
    return sorted(folders, key=lambda folder: (folder / LAST_CHECKPOINT).stat().st_mtime)


def newest_run(runs: Path, experiment: str, seed: int) -> Path | None:
    """The newest run folder of that experiment and seed that holds a last checkpoint."""
    folders = [folder for folder in runs_with_checkpoint(runs, experiment) if seed_of(folder) == seed]
    return folders[-1] if folders else None


def newest_run_or_error(runs: Path, experiment: str, seed: int) -> Path:
    """As `newest_run`.

    Raises:
        UserError: There is none; the message names the seeds that there are.
    """
    folder = newest_run(runs, experiment, seed)
    if folder is not None:
        return folder
    seeds = sorted({seed_of(path) for path in runs_with_checkpoint(runs, experiment)} - {None}, key=str)
    there = f"there are runs with seed {', '.join(map(str, seeds))}" if seeds else "train it first"
    raise UserError(
        f"no checkpoint of {experiment} with seed {seed} under {runs / experiment}: {there}, or give --ckpt_path=FILE"
    )


def folder_of_checkpoint(checkpoint: Path) -> Path | None:
    """The run folder that a checkpoint lies in, None if it lies elsewhere."""
    folder = checkpoint.parent.parent
    return (
        folder if checkpoint.parent.name == LAST_CHECKPOINT.parent.name and (folder / "config.yaml").is_file() else None
    )

"""What every run writes: ``metrics.csv`` and a wandb run, offline unless ``WANDB_MODE`` says otherwise."""

import csv
import os
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger

from handgen.errors import UserError

PROJECT = "handgen"


class MetricsFile(CSVLogger):
    """`CSVLogger` straight into a run folder, that continues ``metrics.csv`` where the weights continue.

    Lightning's logger deletes the file of the run that it resumes.

    Args:
        folder: The run folder.
        before_step: Rows logged at this step or later are dropped: they come from after the checkpoint that
            the run continues from, and will be logged again.
    """

    def __init__(self, folder: Path, before_step: int | None = None) -> None:
        path = folder / "metrics.csv"
        kept = _rows(path)
        if before_step is not None:
            kept = [row for row in kept if int(row["step"]) < before_step]
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=50)
        if kept:
            path.unlink()
            self.experiment.metrics_keys = sorted(kept[0])
            _write(path, kept)

    @property
    def log_dir(self) -> str:
        """The run folder itself."""
        return str(self.save_dir)


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics file, none if there is no file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows that share their keys."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=sorted(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def run_loggers(folder: Path, experiment: str, before_step: int | None = None) -> list[Logger]:
    """The loggers of a run: the metrics file first, then wandb unless ``WANDB_MODE=disabled``.

    Args:
        folder: The run folder.
        experiment: The wandb run is named ``<experiment>/<run folder>``.
        before_step: As in `MetricsFile`.

    Raises:
        UserError: ``WANDB_MODE=online`` without a key.
    """
    loggers: list[Logger] = [MetricsFile(folder, before_step)]
    mode = os.environ.setdefault("WANDB_MODE", "offline")
    if mode == "disabled":
        return loggers
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "20")  # the default waits more than 100 s for a server out of reach
    if mode == "online":
        require_key()
    wandb = WandbLogger(project=PROJECT, save_dir=str(folder), name=f"{experiment}/{folder.name}")
    wandb._wandb_init.pop("anonymous", None)  # lightning 2.6 passes it always, wandb 0.31 warns that it is ignored
    return [*loggers, wandb]


def require_key() -> None:
    """Check that wandb has a key.

    Raises:
        UserError: It has none.
    """
    import wandb

    if not wandb.login(prompt=False, verify=False):
        raise UserError(
            "WANDB_MODE=online needs a key: set WANDB_API_KEY or run `wandb login`, or leave WANDB_MODE out"
        )


def finish_wandb() -> None:
    """Close the wandb run of this process, if there is one; a second run would silently continue it."""
    import sys

    if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
        sys.modules["wandb"].finish()

"""What every run writes: ``metrics.csv`` and a wandb run, offline unless ``WANDB_MODE`` says otherwise."""

import csv
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from handgen.errors import UserError
from handgen.processes import process_rank
from handgen.whole_files import whole_file

PROJECT = "handgen"


class WholeMetrics(ExperimentWriter):
    """Lightning's writer; that one deletes the file of a run that is resumed, and adds columns in place.

    Args:
        folder: Of ``metrics.csv``.
        kept: Rows to begin with, which replace those in the file.
    """

    def __init__(self, folder: Path, kept: list[dict[str, str]]) -> None:
        super().__init__(log_dir=str(folder))
        if kept:
            self.metrics_keys = sorted(kept[0])
            _write(Path(self.metrics_file_path), self.metrics_keys, kept)

    def _check_log_dir_exists(self) -> None:
        """Delete nothing."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Rewrite the file whole or not at all."""
        path = Path(self.metrics_file_path)
        _write(path, fieldnames, _rows(path))


class MetricsFile(CSVLogger):
    """`CSVLogger` straight into a run folder, that continues ``metrics.csv`` where the weights continue.

    What is logged is written at once: a killed run has all rows from before its last checkpoint.

    Args:
        folder: The run folder.
        before_step: Rows logged at this step or later are dropped: they come from after the checkpoint that
            the run continues from, and will be logged again.
    """

    def __init__(self, folder: Path, before_step: int | None = None) -> None:
        super().__init__(save_dir=folder, name="", version="", flush_logs_every_n_steps=1)
        self._before_step = before_step

    @property
    def experiment(self) -> Any:
        """The writer, made when it is first asked for, in the first process alone: others would race for the file."""
        if self._experiment is None and process_rank() == 0:
            kept = _rows(Path(self.log_dir) / "metrics.csv")
            if self._before_step is not None:
                kept = [row for row in kept if int(row["step"]) < self._before_step]
            self._experiment = WholeMetrics(Path(self.log_dir), kept)
        return super().experiment

    @property
    def log_dir(self) -> str:
        """The run folder itself."""
        return str(self.save_dir)


def log_metrics(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Log what a callback has measured after the last update, in the row of that update.

    ``trainer.global_step`` would count the steps of each optimiser; rows are counted in batches.
    """
    step = trainer.fit_loop.epoch_loop._batches_that_stepped  # as Lightning counts what modules log
    for logger in trainer.loggers:
        logger.log_metrics(metrics, step=step)


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of a metrics file, none if there is no file; without one that a kill cut short."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values() and str(row.get("step")).isdigit()]


def _write(path: Path, keys: Sequence[str], rows: list[dict[str, str]]) -> None:
    """Write rows, whole or not at all."""
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=keys)
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
    asked_by_agent = "WANDB_SWEEP_ID" in os.environ  # a sweep that hears nothing of its runs is none
    mode = os.environ.setdefault("WANDB_MODE", "online" if asked_by_agent else "offline")
    if mode == "disabled":
        return loggers
    os.environ.setdefault("WANDB_SILENT", "true")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_INIT_TIMEOUT", "20")  # the default waits more than 100 s for a server out of reach
    if mode == "online":
        require_key()
    tracked = _wandb_logger(folder, experiment)
    if mode == "online" and not _reaches_server(tracked):
        tracked = _wandb_logger(folder, experiment, offline=True)
    return [*loggers, tracked]


def _wandb_logger(folder: Path, experiment: str, offline: bool = False) -> WandbLogger:
    """A wandb run in a run folder, begun when it is first logged to; ``offline`` whatever the environment says."""
    logger = WandbLogger(project=PROJECT, save_dir=str(folder), name=f"{experiment}/{folder.name}")
    if offline:
        logger._wandb_init["mode"] = "offline"
    logger._wandb_init.pop("anonymous", None)  # lightning 2.6 passes it always, wandb 0.31 warns that it is ignored
    return logger


def _reaches_server(logger: WandbLogger) -> bool:
    """Begin the run; without an answer say so and that nothing is lost."""
    import wandb

    try:
        _ = logger.experiment
    except (wandb.errors.CommError, wandb.errors.UsageError) as error:
        said = str(error).strip().partition("\n")[0][:120]
        print(f"wandb cannot be reached ({said}): the run is kept offline, `wandb sync` uploads it", file=sys.stderr)
        return False
    return True


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


def finish_wandb(exit_code: int) -> None:
    """Close the wandb run of this process, if there is one; a second run would silently continue it.

    Args:
        exit_code: what wandb is told; a sweep takes a run that is closed with 0 for a success.
    """
    if "wandb" in sys.modules and sys.modules["wandb"].run is not None:
        sys.modules["wandb"].finish(exit_code=exit_code)

"""Leaves the figures of an evaluated run in ``result.json``."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.callbacks.throughput import Throughput
from handgen.results import Measurement, Record, commit, merge, read_records, write_json

PREFIXES = ("eval/", "test/")


class ResultWriter(Callback):
    """Writes ``result.json`` in the run folder when a test run ends.

    Every logged scalar ``eval/NAME`` (or ``test/NAME``) becomes a record of metric ``NAME``. Measurements
    (with intervals, counts and variants) that the module or a callback lists in an attribute ``measurements``
    go first.

    Args:
        experiment: Name of the experiment.
        seed: Seed of the run.
        command: The command line.
    """

    def __init__(self, experiment: str, seed: int, command: str) -> None:
        self.experiment = experiment
        self.seed = seed
        self.command = command
        self.started = time.monotonic()
        self.commit = commit()  # of the code that is running, even if the checkout moves on meanwhile

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the records, replacing those of an earlier evaluation of the same run."""
        if not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        path = Path(trainer.default_root_dir) / "result.json"
        earlier = read_records(path)
        facts = self._facts(trainer, pl_module, earlier)
        records = [self._record(measured, trainer, facts) for measured in measurements(trainer, pl_module)]
        write_json(path, merge(earlier, records))

    def _facts(self, trainer: Trainer, module: LightningModule, earlier: list[Record]) -> dict[str, Any]:
        """What the training took; a later evaluation keeps what the training wrote."""
        throughput = next((item for item in trainer.callbacks if isinstance(item, Throughput)), None)  # type: ignore[attr-defined]
        if throughput is not None and throughput.wall_s:
            return {
                "env_steps": getattr(trainer.datamodule, "env_steps", None),  # type: ignore[attr-defined]
                "images_seen": throughput.items_seen or None,
                "wall_s": round(throughput.wall_s, 1),
            }
        names = ("env_steps", "images_seen", "wall_s")
        return {name: getattr(earlier[0], name) if earlier else None for name in names}

    def _record(self, measured: Measurement, trainer: Trainer, facts: dict[str, Any]) -> Record:
        """The record of one measurement."""
        dataset = measured.dataset or getattr(trainer.datamodule, "dataset", "") or ""  # type: ignore[attr-defined]
        return Record(
            experiment=self.experiment,
            dataset=str(dataset),
            variant=measured.variant,
            metric=measured.metric,
            value=measured.value,
            low=measured.low,
            high=measured.high,
            n=measured.n,
            seeds=[self.seed],
            command=self.command,
            commit=self.commit,
            **facts,
        )


def measurements(trainer: Trainer, module: LightningModule) -> list[Measurement]:
    """What the test run measured: listed measurements first, then logged metrics that none of them covers."""
    listed = [m for part in (module, *trainer.callbacks) for m in getattr(part, "measurements", ())]  # type: ignore[attr-defined]
    covered = {m.metric for m in listed} | {f"{m.metric}/{m.variant}" for m in listed}
    return listed + [m for m in _logged(trainer) if m.metric not in covered]


def _logged(trainer: Trainer) -> Iterator[Measurement]:
    """The finite logged evaluation metrics, without their prefix."""
    for key, value in trainer.callback_metrics.items():
        prefix = next((prefix for prefix in PREFIXES if key.startswith(prefix)), None)
        if prefix and math.isfinite(float(value)):
            yield Measurement(key.removeprefix(prefix), float(value))

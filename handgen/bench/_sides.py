"""What comparisons share: training under a bare Trainer, timed, and a side in a process of its own."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.results import Record


class StepClock(Callback):
    """Seconds from the end of the first step, or a later one, to the end of the last.

    Args:
        skip: further steps that warm up.
    """

    def __init__(self, skip: int = 0) -> None:
        self.skip = skip
        self.first = self.last = math.nan

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the clock."""
        self.last = time.perf_counter()
        if batch_idx == self.skip:
            self.first = self.last


def seconds_of_training(module: LightningModule, data: Any, skip: int = 0) -> float:
    """Seconds of an epoch under a Trainer without validation, logger, checkpoints and progress bar.

    Args:
        module: is trained.
        data: a data module, or what yields batches.
        skip: steps besides the first that warm up and are not timed.
    """
    clock = StepClock(skip)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[clock],
    )
    trainer.fit(module, data)
    return clock.last - clock.first


def compared(
    what: str, unit: str, ours: Sequence[float], reference: Sequence[float], dataset: str = ""
) -> list[Record]:
    """``WHAT/ours``, ``WHAT/reference`` and ``WHAT/ratio``: medians, with the extremes of the runs.

    Args:
        what: name of the comparison.
        unit: of the rates, and the conditions.
        ours: a rate for each run.
        reference: that of its neighbour; the ratio is of neighbours, which a busy machine slows alike.
        dataset: of the records.
    """
    ratios = [a / b for a, b in zip(ours, reference, strict=True)]
    sides = {"ours": ours, "reference": reference, "ratio": ratios}
    return [
        Record("bench", dataset, unit, f"{what}/{name}", median(values), min(values), max(values), len(ratios))
        for name, values in sides.items()
    ]


def in_a_process(module: str, *words: object) -> float:
    """The number that ``python -m module words...`` prints last."""
    command = [sys.executable, "-m", module, *map(str, words)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

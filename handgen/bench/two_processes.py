"""Training a VAE in two processes (ddp, gloo) against one, a thread and 64 images a batch each, images a second.

What two cores are worth: 2 would be all of both. The clock runs from the end of the first epoch to the end of the last,
so that starting processes and rendering hands do not count. Runs alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import csv
import os
import tempfile
from pathlib import Path

from handgen.bench._sides import compared
from handgen.programs import HANDGEN, run_program
from handgen.results import Record


def images_per_second(processes: int, images: int, epochs: int, words: tuple[str, ...] = ()) -> float:
    """Images that are learnt from in a second, of all processes together.

    Args:
        processes: side by side, that share the images of an epoch.
        images: of an epoch.
        epochs: at least 2, of which the first warms up.
        words: further settings.
    """
    flags = [f"--trainer.devices={processes}", *(["--trainer.strategy=ddp"] if processes > 1 else [])]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *HANDGEN, "fit", "--config=vae", "--trainer.accelerator=cpu", *flags, "--threads=1", "--data.batch_size=64",
            f"--data.train_count={images}", "--data.val_count=64", "--data.test_count=64",
            f"--trainer.max_epochs={epochs}", f"--trainer.check_val_every_n_epoch={epochs + 1}",
            "--evaluate_after_fit=false", f"--runs={folder}", *words,
        ]  # fmt: skip
        run_program(command, "training failed", env={**os.environ, "WANDB_MODE": "disabled"})
        (path,) = Path(folder).rglob("metrics.csv")
        with path.open() as file:
            clock = [float(row["time/wall_s"]) for row in csv.DictReader(file) if row.get("time/wall_s")]
    return images * (len(clock) - 1) / (clock[-1] - clock[0])


def measure(runs: int = 5, images: int = 2048, epochs: int = 4, words: tuple[str, ...] = ()) -> list[Record]:
    """Measure both in turn.

    Args:
        runs: of each.
        images: of an epoch.
        epochs: at least 2.
        words: further settings of the VAE.

    Returns:
        ``two_processes/ours`` and ``two_processes/reference`` (images/s, medians) and ``two_processes/ratio``, with the
        extremes of the runs as ``low`` and ``high``.

    Raises:
        UserError: if a run fails.
    """
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(runs):
        for count, found in rates.items():
            found.append(images_per_second(count, images, epochs, words))
    unit = "images/s, 64 x 64, batch 64 in each process, 1 thread in each"
    return compared("two_processes", unit, rates[2], rates[1], "synthetic")

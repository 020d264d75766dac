"""One way to keep a picture of a run: a PNG in the run folder, and wandb where it is attached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from numpy.typing import NDArray

from handgen.images import write_png


def log_image(trainer: Trainer, key: str, image: NDArray[np.uint8], path: Path) -> None:
    """Write a PNG and hand it to every attached WandbLogger.

    Args:
        trainer: whose loggers and step are used.
        key: metric-like key of the picture in wandb.
        image: RGB, uint8 (H, W, 3).
        path: PNG to write; its folder is made.
    """
    write_png(path, image)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [str(path)])

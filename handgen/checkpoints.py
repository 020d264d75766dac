"""Checkpoints: written whole; read as weights and plain values only, and never for their hyperparameters."""

import pickle
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.io import TorchCheckpointIO

from handgen.errors import UserError
from handgen.whole_files import whole_file

FORMAT = 1
"""Raised when a checkpoint is kept in another way, so that a reader that is older says so; older ones go on loading."""
UNREADABLE = (RuntimeError, pickle.UnpicklingError, EOFError, KeyError, ValueError, OSError)


class WholeCheckpoints(TorchCheckpointIO):
    """Lightning's plugin that writes checkpoints: here whole or not at all, straight into their folder.

    Lightning's own builds each file in memory, then in the folder for temporary files, which may be on another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: what to write.
            path: the file.
            storage_options: not used, as in Lightning's own.

        Raises:
            OSError: the disk is full or cannot be written to.
        """
        try:
            with whole_file(Path(path)) as partial, partial.open("wb") as file:
                torch.save({**checkpoint, "handgen_format": FORMAT}, file)
        except RuntimeError as error:  # torch hides what the disk said
            raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Args:
        path: A file written by Lightning's ModelCheckpoint.

    Raises:
        UserError: The file is absent, damaged, no checkpoint, or of a later version of handgen.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}: give --ckpt_path=FILE, or --ckpt_path=last for the newest run")
    try:
        checkpoint: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except UNREADABLE as error:
        reason = str(error).strip().partition("\n")[0][:120] or type(error).__name__
        raise UserError(f"cannot read the checkpoint {path} ({reason}): it is damaged or no checkpoint") from error
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is no checkpoint of a Lightning module: it holds no state_dict")
    if checkpoint.get("handgen_format", 0) > FORMAT:
        raise UserError(f"{path} was written by a later version of handgen: update handgen to read it")
    return checkpoint


def load_weights(module: LightningModule, path: Path) -> None:
    """Load a checkpoint's weights into a module that was built from the command line.

    Lightning's own command line would let the hyperparameters stored in the checkpoint beat the ones asked
    for; here the command line says what the module is, and a checkpoint that does not fit is refused.

    Raises:
        UserError: The checkpoint cannot be read or does not fit the module.
    """
    checkpoint = read_checkpoint(path)
    module.on_load_checkpoint(checkpoint)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        reason = lines[1] if len(lines) > 1 else lines[0]
        raise UserError(
            f"{path} does not fit this {type(module).__name__} ({reason[:160]}): give the --model settings"
            " that it was trained with (config.yaml in its run folder)"
        ) from error


def trained_batches(checkpoint: dict[str, Any]) -> int:
    """How many batches had been learnt from when it was written; ``global_step`` counts the steps of each optimiser."""
    loop = checkpoint.get("loops", {}).get("fit_loop")
    if not loop:
        return int(checkpoint.get("global_step", 0))
    progress = loop["epoch_loop.batch_progress"]["total"]
    # Lightning counts a batch after the hook in which Ctrl-C saves.
    return int(loop["epoch_loop.state_dict"]["_batches_that_stepped"] + progress["processed"] - progress["completed"])

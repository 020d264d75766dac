"""Saves the global random states in every checkpoint, which Lightning does not, so that resuming is exact."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from handgen.processes import gathered, process_count, process_rank, seed_of_process


class TorchRandomState(Callback):
    """Saves and restores the random states of torch (CPU and CUDA), Python and numpy.

    They are kept as tensors and plain numbers, so that checkpoints load with ``weights_only=True``. They are
    restored as soon as the checkpoint is read, before Lightning makes the first iterator of the training
    data: its shuffling draws from torch's state. Random states of envs and loaders belong to the data
    (``DataModule.state_dict``).

    Of several processes each has a torch state of its own in training, or they would explore with the same noise.
    """

    def __init__(self) -> None:
        self.restored = False

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed torch anew in all processes but the first, where no checkpoint has."""
        if trainer.global_rank > 0 and not self.restored:
            torch.manual_seed(seed_of_process(torch.initial_seed(), trainer.global_rank))

    def state_dict(self) -> dict[str, Any]:
        """The random states of all processes, as tensors and plain numbers."""
        return {"processes": gathered(self._own_state())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the random states of this process, if there were as many."""
        states = state_dict.get("processes", [state_dict])  # one alone in checkpoints of earlier versions
        if len(states) == process_count():
            self._load_own_state(states[process_rank()])
            self.restored = True

    def _own_state(self) -> dict[str, Any]:
        """The random states of this process."""
        version, words, gauss = random.getstate()
        numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002  # the global state is what is saved
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
            "numpy": {
                "key": torch.tensor(numpy_state["state"]["key"].astype(np.int64)),
                "pos": int(numpy_state["state"]["pos"]),
                "has_gauss": int(numpy_state["has_gauss"]),
                "gauss": float(numpy_state["gauss"]),
            },
        }

    def _load_own_state(self, state_dict: dict[str, Any]) -> None:
        """Restore random states; those of another number of GPUs are left as they are."""
        torch.set_rng_state(state_dict["torch"])
        if torch.cuda.is_available() and len(state_dict["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(state_dict["cuda"])
        python = state_dict["python"]
        random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
        stored = state_dict["numpy"]
        np.random.set_state(  # noqa: NPY002
            (
                "MT19937",
                stored["key"].numpy().astype(np.uint32),
                stored["pos"],
                stored["has_gauss"],
                stored["gauss"],
            )
        )

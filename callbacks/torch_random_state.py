"""Saves the global random states in every checkpoint, which Lightning does not, so that resuming is exact."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback


class TorchRandomState(Callback):
    """Saves and restores the random states of torch (CPU and CUDA), Python and numpy.

    They are kept as tensors and plain numbers, so that checkpoints load with ``weights_only=True``. They are
    restored as soon as the checkpoint is read, before Lightning makes the first iterator of the training
    data: its shuffling draws from torch's state. Random states of envs and loaders belong to the data
    (``DataModule.state_dict``).
    """

    def state_dict(self) -> dict[str, Any]:
        """The random states, as tensors and plain numbers."""
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

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the random states; those of another number of GPUs are left as they are."""
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

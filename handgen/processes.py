"""Several processes of one run: states of each in one checkpoint, and random numbers that differ."""

from __future__ import annotations

import os
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import _get_rank
from torch import Tensor

APART = 1_000_003
"""Between the seeds of two processes: runs of neighbouring seeds are not to share any."""


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seed_of_process(seed: int, rank: int) -> int:
    """A process' own seed; that of the first is the run's."""
    return seed + APART * rank


def process_count() -> int:
    """Number of the run's processes."""
    return torch.distributed.get_world_size() if _several() else 1


def processes_here() -> int:
    """Number of the run's processes on this machine, as far as their launcher tells (torchrun, SLURM); all if not."""
    told = os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("SLURM_NTASKS_PER_NODE")
    return int(told) if told and told.isdigit() and _several() else process_count()


def process_rank() -> int:
    """Which of them this is; as its launcher says (torchrun, SLURM, Lightning) before they talk to each other."""
    return torch.distributed.get_rank() if _several() else _get_rank() or 0


def _several() -> bool:
    """Whether processes talk to each other."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def gathered(own: Any) -> list[Any]:
    """What every process has to keep, in the order of their ranks, for the first one to save.

    Args:
        own: tensors and plain values.
    """
    if not _several():
        return [own]
    states: list[Any] = [None] * process_count()
    torch.distributed.all_gather_object(states, own)
    return states


def from_first_process(value: Tensor) -> Tensor:
    """The first process' tensor, on the CPU, in all of them."""
    if not _several():
        return value
    values = [value]
    torch.distributed.broadcast_object_list(values, src=0)
    return values[0]

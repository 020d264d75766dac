"""Random numbers of a seed of their own, without a trace in the random numbers of the run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Draw from torch's global random state as if it had just been seeded; restore it afterwards.

    Args:
        seed: of what is drawn inside.
        device: where it is drawn, besides the CPU: `torch.manual_seed` seeds every device, and each must be restored.
    """
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield

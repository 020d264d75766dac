"""When to compute in bfloat16: where the hardware multiplies it faster than float32, and nowhere else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

Compute = Literal["auto", "float32", "bfloat16"]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether there are instructions for bfloat16: AMX or AVX-512 BF16 on a CPU, what torch says of a CUDA GPU.

    On a CPU with neither the conversions cost more than they gain.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # new in torch 2.12 or so
    return device.type == "cpu" and any(capabilities.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def autocast(device: torch.device, compute: Compute) -> AbstractContextManager[None]:
    """Mixed precision for forward passes; weights and losses stay float32.

    Args:
        device: where the step runs.
        compute: ``auto`` chooses bfloat16 where it is faster; the others force one.
    """
    bfloat16 = compute == "bfloat16" or (compute == "auto" and multiplies_bfloat16(device))
    context: AbstractContextManager[None] = torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)
    return context

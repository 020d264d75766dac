"""Memory that a training step frees is kept for the next one."""

from __future__ import annotations

import ctypes
import os

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Numbers of the settings in glibc's ``malloc.h``."""


def keep_freed_memory() -> bool:
    """Tell the C library not to give freed memory back to the system; whether it does as told.

    By default glibc returns large blocks at once. The next step asks for them again, and the system clears them page by
    page, which takes longer than an addition of the numbers in them does (``make bench WHAT=freed_memory``). The price:
    a process keeps the most memory that it has ever used.

    Other C libraries, and settings given in the environment (``MALLOC_...``), are left as they are.
    """
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return False
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, 2**31 - 1))

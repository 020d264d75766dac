"""Rendering hands at 128x128: images a second on all cores, against one process with one thread.

The reference of the ratio is the same renderer in one process; the figure that counts is images a second.
"""

from handgen.bench._rendering import measure_size
from handgen.results import Record


def measure() -> list[Record]:
    """Records of ``renderer_128``."""
    return measure_size(128)

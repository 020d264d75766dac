"""Where handgen keeps what it makes, finds real photographs, and finds its own experiments."""

import os
from pathlib import Path


def cache_root(cache_dir: str | None = None) -> Path:
    """Folder for renderings and other things that can be made again.

    Args:
        cache_dir: A folder, or None for the variable ``HANDGEN_CACHE`` or else ``~/.cache/handgen``.
    """
    chosen = cache_dir or os.environ.get("HANDGEN_CACHE") or "~/.cache/handgen"
    return Path(chosen).expanduser()


def data_root(data_dir: str | None = None) -> Path:
    """Folder of the real data sets, one folder per data set (for example ``<root>/hands11k``).

    Args:
        data_dir: A folder, or None for the environment variable ``HANDGEN_DATA`` or else ``data`` under the
            working directory.
    """
    chosen = data_dir or os.environ.get("HANDGEN_DATA") or "data"
    return Path(chosen).expanduser()


def experiments_root() -> Path:
    """Folder of the experiments' YAML files: ``experiments/`` of a checkout, or installed package data."""
    import handgen.experiments

    return Path(next(iter(handgen.experiments.__path__)))

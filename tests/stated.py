"""What an experiment's files say, laid over each other."""

from pathlib import Path
from typing import Any

import yaml

from handgen.experiment import layers


def settings(path: Path, part: str) -> dict[str, Any]:
    """Settings of ``model`` or ``data`` of an experiment, those of the files that it is laid over among them.

    Args:
        path: its file.
        part: ``model`` or ``data``.
    """
    said = [yaml.safe_load(layer.read_text()) for layer in layers(path)]
    return {name: value for layer in said for name, value in layer.get(part, {}).get("init_args", {}).items()}

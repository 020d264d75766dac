"""The house's own rules (CONTRIBUTING.md): who may import whom, and how long a thing may be."""

import ast
from pathlib import Path

import pytest

import handgen

ROOT = Path(handgen.__file__).parent
LINKED = ("callbacks", "datamodules")  # folders of the top level
FILES = sorted({*ROOT.rglob("*.py"), *(path for name in LINKED for path in (ROOT / name).glob("*.py"))})
BUILDS_ON = {
    "anatomy": set(),
    "sac": set(),
    "keypoints": set(),
    "vae": set(),
    "latent": {"vae", "sac", "anatomy"},
    "pixels": {"sac", "keypoints"},
    "painter": {"anatomy"},
    "arm": {"sac", "anatomy"},
}
"""Methods and the parts that they share; whoever adds a line here has a reason."""
LONGEST_FUNCTION, LONGEST_CONSTRUCTOR, LONGEST_FILE = 60, 95, 430
"""Lines; constructors are lists of settings with their checks."""


def part(path: Path) -> str:
    """The subpackage that a file belongs to; empty for files on the top level."""
    inner = path.relative_to(ROOT)
    return inner.parts[0] if len(inner.parts) > 1 else ""


def imported(path: Path) -> set[str]:
    """Subpackages of handgen that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module == "handgen":
            names += [f"handgen.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("handgen.")}
    return found


def test_every_file_is_looked_at() -> None:
    assert {"callbacks", "datamodules", *BUILDS_ON} <= {part(path) for path in FILES}


@pytest.mark.parametrize("method", BUILDS_ON)
def test_a_method_knows_neither_data_nor_callbacks_nor_other_methods(method: str) -> None:
    others = {part(path) for path in FILES} - {""} - BUILDS_ON[method] - {method}
    for path in FILES:
        if part(path) == method:
            assert not imported(path) & others, f"{path.relative_to(ROOT)} imports {imported(path) & others}"


def test_new_subpackages_are_known_here() -> None:
    services = {"", "bench", "callbacks", "datamodules", "experiments", "peers", "sweeps"}
    assert {part(path) for path in FILES} - services == BUILDS_ON.keys()


def test_data_does_not_know_who_watches() -> None:
    for path in FILES:
        if part(path) == "datamodules":
            assert "callbacks" not in imported(path), path


def test_nothing_is_called_utils() -> None:
    assert not [path for path in FILES if path.stem in ("utils", "util", "helpers", "common", "misc")]


def test_functions_and_files_stay_readable() -> None:
    for path in FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= LONGEST_FILE, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                longest = LONGEST_CONSTRUCTOR if node.name == "__init__" else LONGEST_FUNCTION
                assert (node.end_lineno or 0) - node.lineno + 1 <= longest, f"{path}: {node.name}"

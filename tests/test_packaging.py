"""The package: what is in the tree is in the wheel, and nothing else lands in site-packages."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = {"callbacks", "datamodules", "experiments"}


IMPORTED_AS = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml", "pybullet_data": "pybullet",
               "stable_baselines3": "stable-baselines3"}  # fmt: skip


def declared() -> set[str]:
    """Names of all requirements."""
    groups = [SETTINGS["project"]["dependencies"], *SETTINGS["project"]["optional-dependencies"].values()]
    return {re.split(r"[\[<>=!~; ]", line)[0] for group in groups for line in group}


def in_tree_files() -> list[Path]:
    """Python files of the package, where they lie in the tree."""
    own = [path for path in (ROOT / "handgen").rglob("*.py") if path.relative_to(ROOT).parts[1] not in FOLDERS]
    return own + [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]


def in_tree(pattern: str) -> set[str]:
    """Files of the package, by the path they are installed under."""
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "handgen").rglob(pattern)}
    own = {path for path in own if path.split("/")[1] not in FOLDERS}
    mapped = {
        f"handgen/{path.relative_to(ROOT).as_posix()}" for folder in FOLDERS for path in (ROOT / folder).rglob(pattern)
    }
    return own | mapped


def test_every_package_is_listed() -> None:
    packages = {Path(path).parent.as_posix().replace("/", ".") for path in in_tree("*.py")}
    assert packages == set(SETTINGS["tool"]["setuptools"]["packages"])


def test_links_are_relative_and_lead_to_the_folders() -> None:
    for folder in FOLDERS:
        link = ROOT / "handgen" / folder
        assert link.is_symlink()
        assert link.readlink() == Path("..", folder)


def test_versions_agree() -> None:
    from handgen import __version__

    assert SETTINGS["project"]["version"] == __version__


def test_every_dependency_is_explained() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for name in declared():
        assert f"`{name}`" in page or name == "handgen", name


def test_every_import_is_declared() -> None:
    for path in sorted(in_tree_files()):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for name in {name.split(".")[0] for name in names} - {"handgen", *sys.stdlib_module_names}:
                assert IMPORTED_AS.get(name, name) in declared(), f"{path} imports {name}"


def test_constraints_name_no_place_and_no_build() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or ("==" in line and "+" not in line and "@" not in line and "/" not in line), line


@pytest.mark.slow
def test_wheel_holds_the_tree(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = in_tree("*.py") | in_tree("*.pt") | {"handgen/py.typed"}
    expected |= {name for name in in_tree("*.yaml") if name.startswith("handgen/experiments/")}
    assert names == expected

import ast
import re
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from evaluated import evaluate_images
from torch import Tensor

from handgen.anatomy.evaluation import Cost

ROOT = Path(__file__).parents[1]
KEY = re.compile(r"(train|eval|loss|env|time)/[\w*./@-]+")


def glossary() -> set[str]:
    """Every name in backticks in the first column of a table of docs/metrics.md."""
    rows = [line for line in (ROOT / "docs/metrics.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    names = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    return names | {"eval/sheets/", "eval/sheets/x"}


def literal(node: ast.AST) -> str | None:
    """A string literal, with a star for every placeholder of an f-string."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def logged_keys() -> dict[str, str]:
    """Key-like strings of the code, with the file that holds them."""
    files = [path for folder in ("handgen", "callbacks", "datamodules") for path in (ROOT / folder).rglob("*.py")]
    found = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            key = literal(node)
            if key and KEY.fullmatch(key):
                found[key] = path.name
    return found


def test_every_logged_key_is_in_the_glossary() -> None:
    names, keys = glossary(), logged_keys()
    assert len(keys) > 5
    per_variant = {f"eval/{name}/x" for name in names}
    unknown = {k: file for k, file in keys.items() if not any(fnmatchcase(n, k) for n in names | per_variant)}
    assert not unknown, f"add to docs/metrics.md: {unknown}"


def test_every_measured_name_is_in_the_glossary() -> None:
    measured = set()
    for path in [*(ROOT / "handgen").rglob("*.py"), *(ROOT / "callbacks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if called in ("Measurement", "mean_measurement") and node.args:
                measured.add(literal(node.args[0]))
    names = {name.split("`")[0] for name in glossary()}
    wanted = {name for name in measured if name and name.count("*") < 2}
    assert len(wanted) > 6
    missing = {name for name in wanted if not any(fnmatchcase(known, name) for known in names)}
    assert not missing, f"add to docs/metrics.md: {missing}"


def test_every_loss_and_time_key_of_the_glossary_is_logged() -> None:
    keys = logged_keys()
    listed = {name for name in glossary() if KEY.fullmatch(name)}
    stale = {name for name in listed if not any(fnmatchcase(name, key) for key in keys)}
    assert not stale, f"remove from docs/metrics.md: {stale}"


class Judge:
    sensitivity, specificity = 0.9, 0.9

    def verdict(self, image: Tensor) -> SimpleNamespace:
        return SimpleNamespace(valid=torch.ones(len(image), dtype=torch.bool))

    def features(self, image: Tensor) -> Tensor:
        return image.flatten(1)


@pytest.mark.parametrize("variant", ["prior", "heldout"])
def test_every_metric_of_the_hand_evaluation_is_in_the_glossary(variant: str) -> None:
    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8)
    judges = {name: Judge() for name in ("judge_a", "judge_b", "geometric")}
    measured = evaluate_images({variant: images}, images, images, judges, costs={variant: Cost(1.0, 12)})
    assert {m.metric for m in measured} <= glossary()

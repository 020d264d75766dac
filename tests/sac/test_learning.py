"""The agent solves real tasks; minutes."""

import json
from pathlib import Path

import pytest

from handgen import cli


@pytest.mark.slow
def test_swings_the_pendulum_up(tmp_path: Path) -> None:
    assert cli.main(["fit", "--config=sac_pendulum", "--seed_everything=7", "--threads=1", f"--runs={tmp_path}"]) == 0
    (result,) = tmp_path.rglob("result.json")
    returns = {r["metric"]: r["value"] for r in json.loads(result.read_text()) if r["metric"].startswith("return@")}
    assert returns["return@6k"] > -250.0  # random actions: about -1,200; solved: about -150

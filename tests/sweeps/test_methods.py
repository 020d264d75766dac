"""Every method under the real ``wandb agent``: one tiny run each, whose metric arrives."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_runs import SMALL, newest, trained_vae, variables

pytest.importorskip("wandb")


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("name", SMALL)
def test_a_method_is_swept_by_an_agent(name: str, tmp_path: Path) -> None:
    words = [*SMALL[name], "--threads=1", f"--runs={tmp_path}", "--trainer.check_val_every_n_epoch=1"]
    if name == "vae_sac":
        words.append(f"--model.vae={trained_vae()}")
    sweep = [sys.executable, "-m", "handgen", "sweep", name, "--local", "--count=1", *words]
    done = subprocess.run(sweep, env=variables(tmp_path), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with newest(tmp_path, "sweep.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["exit_code"] == "0"
    (metric,) = [key for key in row if key.startswith("eval/")]
    assert math.isfinite(float(row[metric]))

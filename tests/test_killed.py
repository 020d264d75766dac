"""Training that is killed without warning, again and again, ends as if nothing had happened.

``HANDGEN_KILLS=20 make test-slow ARGS="tests/test_killed.py"`` kills every method twenty times.
"""

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from test_processes import SHRUNK

KILLS = int(os.environ.get("HANDGEN_KILLS", "2"))
ARM = [
    "--model.size=28", "--model.feature_dim=16", "--model.hidden_dims=[16]", "--data.env_kwargs.size=28",
    "--data.drawn_hands=8", "--data.poses=64", "--data.imitation_updates=12", "--data.imitation_batch_size=8",
    "--data.batch_size=8", "--data.num_envs=2", "--data.warmup_decisions=10", "--data.epoch_env_steps=16",
    "--data.eval_episodes=2",
]  # fmt: skip
METHODS = {**SHRUNK, "arm_sac": ARM}
LASTING = ["--trainer.max_epochs=6", "--evaluate_after_fit=false", "--threads=1", "--trainer.log_every_n_steps=1"]
CLOCK = ("time/", "env/wall")
"""Columns of metrics.csv that tell the time, which no two runs share."""


def command(name: str, folder: Path) -> list[str]:
    words = [word for word in METHODS[name] if not word.startswith(("--trainer.max_epochs", "--evaluate"))]
    return [sys.executable, "-m", "handgen", "fit", f"--config={name}", *words, *LASTING, f"--runs={folder}"]


def variables(tmp_path: Path) -> dict[str, str]:
    kept = {"HANDGEN_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled"}
    return {**os.environ, **kept, "PYTHONPATH": str(Path(__file__).parents[1])}


def uninterrupted(name: str, tmp_path: Path) -> float:
    """Train at once; returns the seconds that it took."""
    start = time.monotonic()
    subprocess.run(command(name, tmp_path / "whole"), env=variables(tmp_path), check=True, capture_output=True)
    return time.monotonic() - start


def killed(name: str, tmp_path: Path, seconds: float) -> int:
    """Train with kills at random moments, then to the end; returns how many runs were killed."""
    moments = random.Random(f"{name} {KILLS}")
    done = 0
    for _ in range(KILLS):
        words = [*command(name, tmp_path / "parts"), "--ckpt_path=last"]
        process = subprocess.Popen(words, env=variables(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(moments.uniform(0.3, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
        for checkpoint in (tmp_path / "parts").rglob("*.ckpt"):
            torch.load(checkpoint, weights_only=True)  # whole, whenever it was killed
    words = [*command(name, tmp_path / "parts"), "--ckpt_path=last"]
    subprocess.run(words, env=variables(tmp_path), check=True, capture_output=True)
    return done


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.rglob(pattern), key=lambda path: path.stat().st_mtime)


def rows(folder: Path) -> list[dict[str, str]]:
    """What was logged of the run that came to the end, without the clock's columns."""
    with newest(folder, "metrics.csv").open() as file:
        logged = list(csv.DictReader(file))
    kept = [{k: v for k, v in row.items() if v and not k.startswith(CLOCK)} for row in logged]
    return [row for row in kept if set(row) - {"epoch", "step"}]


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("name", METHODS)
def test_killed_training_ends_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    seconds = uninterrupted(name, tmp_path)
    assert killed(name, tmp_path, seconds) >= 1
    whole, parts = (torch.load(newest(tmp_path / kind, "last.ckpt"), weights_only=True) for kind in ("whole", "parts"))
    assert whole["global_step"] == parts["global_step"] > 0
    assert whole["state_dict"].keys() == parts["state_dict"].keys()
    for key, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][key]), key
    assert json.dumps(rows(tmp_path / "whole")[-3:]) == json.dumps(rows(tmp_path / "parts")[-3:])

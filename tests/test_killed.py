"""Training that is killed without warning, again and again, ends as if nothing had happened; and so does a second run.

``HANDGEN_KILLS=20 make test-slow ARGS="tests/test_killed.py"`` kills every method twenty times.
"""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from small_runs import SMALL, command, logged, newest, variables, weights

KILLS = int(os.environ.get("HANDGEN_KILLS", "2"))
LASTING = ["--trainer.max_epochs=6", "--evaluate_after_fit=false"]


def train(name: str, tmp_path: Path, kind: str) -> float:
    """Train without being disturbed, or to the end; returns the seconds that it took."""
    start = time.monotonic()
    words = command(name, tmp_path / kind, *LASTING, "--ckpt_path=last")
    subprocess.run(words, env=variables(tmp_path), check=True, capture_output=True)
    return time.monotonic() - start


def killed(name: str, tmp_path: Path, seconds: float) -> int:
    """Train with kills at random moments, the first after a first checkpoint; returns how many runs were killed."""
    moments = random.Random(f"{name} {KILLS}")
    done = 0
    for _ in range(KILLS):
        words = command(name, tmp_path / "parts", *LASTING, "--ckpt_path=last")
        nowhere = subprocess.DEVNULL
        process = subprocess.Popen(words, env=variables(tmp_path), stdout=nowhere, stderr=nowhere)
        least, most = 0.3, 0.8  # of the time that training takes, if there is a checkpoint to begin with
        while process.poll() is None and not any((tmp_path / "parts").rglob("last.ckpt")):
            least, most = 0.0, 0.05
            time.sleep(0.05)
        try:
            process.wait(moments.uniform(least, most) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
        for checkpoint in (tmp_path / "parts").rglob("*.ckpt"):
            torch.load(checkpoint, weights_only=True)  # whole, whenever it was killed
    return done


def interrupted(name: str, tmp_path: Path) -> int:
    """Train with a Ctrl-C as soon as something has been logged; returns the update that it stopped after."""
    words = command(name, tmp_path / "stopped", *LASTING, "--ckpt_path=last")
    process = subprocess.Popen(words, env=variables(tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while process.poll() is None and not list((tmp_path / "stopped").rglob("metrics.csv")):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 130 and "interrupted: continue with" in said, said
    steps: int = torch.load(newest(tmp_path / "stopped", "last.ckpt"), weights_only=True)["global_step"]
    return steps


def assert_equal(tmp_path: Path, kind: str) -> None:
    """A run ended as the undisturbed one did, in all its weights and in what it logged."""
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / kind)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key
    wanted, had = logged(tmp_path / "whole"), logged(tmp_path / kind)
    assert wanted and len(wanted) == len(had)
    for row, other in zip(wanted, had, strict=True):
        # What an earlier stage of the same epoch has logged last is logged again and again, but not after a Ctrl-C.
        assert {name: row[name] for name in other} == other and (kind == "stopped" or row.keys() == other.keys())


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.parametrize("name", SMALL)
def test_killed_or_repeated_training_ends_as_if_nothing_had_happened(name: str, tmp_path: Path) -> None:
    seconds = train(name, tmp_path, "whole")
    train(name, tmp_path, "again")
    assert_equal(tmp_path, "again")
    assert killed(name, tmp_path, seconds) >= 1
    train(name, tmp_path, "parts")
    assert_equal(tmp_path, "parts")
    assert interrupted(name, tmp_path) > 0
    train(name, tmp_path, "stopped")
    assert_equal(tmp_path, "stopped")

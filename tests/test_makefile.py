"""The Makefile: lists itself, and sends settings on as the command line wants them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(
    not shutil.which("make") or not (ROOT / "Makefile").is_file(), reason="needs make and a checkout"
)


def make(*words: str) -> str:
    """What make would run."""
    done = subprocess.run(
        ["make", "--no-print-directory", "-o", "setup", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_help_lists_every_target() -> None:
    listed = make("help")
    targets = re.findall(r"^\.PHONY: (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert len(targets) > 10
    for target in targets:
        assert re.search(rf"^  {target} +\S", listed, re.MULTILINE), target


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["train", "EXP=vae"], "-m handgen fit --config=vae"),
        (
            ["train", "EXP=vae", "SEED=3", "CKPT=last"],
            "fit --config=vae --seed_everything=3 --ckpt_path=last",
        ),
        (["train", "EXP=vae", "PRESET=paper"], "fit --config=paper/vae"),
        (
            ["train", "EXP=vae", "ARGS=--model.lr=3e-4 --data.batch_size=8"],
            "--model.lr=3e-4 --data.batch_size=8",
        ),
        (["eval", "EXP=vae", "CKPT=a.ckpt"], "-m handgen test --config=vae"),
        (["sample", "EXP=vae"], "-m handgen sample --config=vae"),
        (["report", "RUNS=runs/a runs/b"], "-m handgen report runs/a runs/b"),
    ],
)
def test_targets_send_settings_on(words: list[str], command: str) -> None:
    assert command in " ".join(make("-n", *words).split())


def test_train_and_test_set_up_first() -> None:
    text = (ROOT / "Makefile").read_text()
    for target in ("train", "test"):
        assert re.search(rf"^{target}: setup\b", text, re.MULTILINE)


def test_a_sweep_without_a_name_lists_the_sweeps() -> None:
    assert "error: name a sweep with EXP=" in make("sweep")

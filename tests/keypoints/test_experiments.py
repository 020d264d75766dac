"""Every experiment of IMM, shrunk, through the command line in this process; and rendering ahead."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from opengl import needs_gl

from handgen import cli
from handgen.experiment import known_experiments

EXPERIMENTS = sorted(
    name
    for name, path in known_experiments().items()
    if yaml.safe_load(path.read_text()).get("model", {}).get("class_path") == "handgen.keypoints.IMM"
)
SHRUNK = [
    "--threads=1",
    "--model.width=8",
    "--data.batch_size=6",
    "--trainer.max_epochs=2",
    "--trainer.check_val_every_n_epoch=1",
    "--trainer.log_every_n_steps=2",
]
FRAMES = [
    "--model.image_size=32",
    "--data.image_size=32",
    "--data.train_count=20",
    "--data.probe_count=30",
    "--data.test_count=20",
    "--data.batches_per_epoch=3",
]
HANDS = [
    "--model.image_size=32",
    "--data.image_size=32",
    "--data.train_count=18",
    "--data.val_count=4",
    "--data.test_count=4",
    "--data.probe_count=40",
    "--data.graded_count=20",
]


def words_for(name: str, folder: Path) -> list[str]:
    hands = "hands" in name
    return ["--config", name, *SHRUNK, *(HANDS if hands else FRAMES), f"--runs={folder}"]


@needs_gl
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "paper" in name else []) for name in EXPERIMENTS]
)
def test_experiment_trains_resumes_and_leaves_a_figure(name: str, tmp_path: Path) -> None:
    words = ["fit", *words_for(name, tmp_path)]
    assert cli.main(words) == 0
    (run,) = [path.parent for path in tmp_path.rglob("result.json")]
    metrics = {r["metric"]: r for r in json.loads((run / "result.json").read_text())}
    headline = "probe/joint_error" if "hands" in name else "probe/r2_sin"
    assert metrics[headline]["n"] == 20 and metrics[headline]["low"] <= metrics[headline]["value"]
    assert (run / "keypoints.png").stat().st_size > 10_000
    assert cli.main([*words, "--ckpt_path=last", "--trainer.max_epochs=3"]) == 0
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["eval/mse"] and row["epoch"] == "2"]) >= 1
    assert {"train/loss", "train/mse", "loss/recon"} <= set(rows[0])


@needs_gl
def test_frames_are_rendered_ahead_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["frames", *words_for("imm", tmp_path / "runs")]) == 0
    assert "rendered: 20 training images" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
    assert list((tmp_path / "cache").glob("frames-cartpole_swingup-32-*/images.u8"))


def test_there_are_experiments() -> None:
    assert set(EXPERIMENTS) == {"imm", "imm_hands", "paper/imm"}

"""The command line: run folders, resuming, evaluation, and one clear line for every mistake."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from handgen.cli import main

FIT = ["fit", "--config=toy.yaml"]


def only_run(runs: Path) -> Path:
    """The one run folder that there is."""
    (folder,) = runs.iterdir()
    return folder


def weights(folder: Path) -> torch.Tensor:
    """All weights of a run's last checkpoint."""
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return torch.cat([tensor.flatten() for tensor in state.values()])


def metrics(folder: Path, key: str) -> list[tuple[int, float]]:
    """Step and value of a logged metric."""
    with (folder / "metrics.csv").open() as file:
        return [(int(row["step"]), float(row[key])) for row in csv.DictReader(file) if row.get(key)]


def test_help_is_quick_and_needs_no_torch() -> None:
    program = "import sys; from handgen.cli import main; main(['--help']); assert 'torch' not in sys.modules"
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert time.monotonic() - start < 3
    assert "fit" in done.stdout
    assert "sample" in done.stdout


def test_fit_leaves_a_whole_run_folder(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDGEN_DATE", "20300102-030405")
    assert main([*FIT, "--seed_everything=3", "--model.lr=0.01"]) == 0
    folder = only_run(toy)
    assert folder.name == "20300102-030405-seed3"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["model"]["init_args"]["lr"] == 0.01
    assert config["name"] == "toy"
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert [step for step, _ in metrics(folder, "eval/error")][:2] == [3, 7]
    assert len(metrics(folder, "time/images_per_second")) == 2
    (record,) = json.loads((folder / "result.json").read_text())
    assert (record["experiment"], record["dataset"], record["metric"]) == ("toy", "toy", "error")
    assert (record["seeds"], record["images_seen"]) == ([3], 64)
    assert record["value"] == pytest.approx(metrics(folder, "eval/error")[-1][1])
    assert record["command"] == "handgen fit --config=toy.yaml --seed_everything=3 --model.lr=0.01"


def test_evaluation_after_fit_can_be_left_out(toy: Path) -> None:
    assert main([*FIT, "--evaluate_after_fit=false", "--trainer.max_epochs=1"]) == 0
    assert not (only_run(toy) / "result.json").exists()


def test_two_runs_of_the_same_second_do_not_share_a_folder(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDGEN_DATE", "now")
    for _ in range(2):
        assert main([*FIT, "--trainer.max_epochs=1"]) == 0
    assert sorted(path.name for path in toy.iterdir()) == ["now-seed0", "now-seed0-2"]


def test_a_resumed_run_equals_an_uninterrupted_one(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "--trainer.max_epochs=4", "--name=whole"]) == 0
    assert main([*FIT, "--trainer.max_epochs=2"]) == 0
    half = weights(only_run(toy))
    assert main([*FIT, "--trainer.max_epochs=4", "--ckpt_path=last"]) == 0
    whole = only_run(toy.parent / "whole")
    folder = only_run(toy)
    assert not torch.equal(weights(folder), half)
    assert torch.equal(weights(folder), weights(whole))  # shuffling and dropout drew the same numbers
    assert metrics(folder, "eval/error") == metrics(whole, "eval/error")
    assert "continuing from" in capsys.readouterr().out


def test_resuming_without_a_run_starts_fresh_and_says_so(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "--trainer.max_epochs=1", "--ckpt_path=last"]) == 0
    assert "starting fresh" in capsys.readouterr().out


def test_interrupting_says_how_to_continue(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "--model.stop_in_epoch=1"]) == 130
    assert "continue with python -m handgen fit --config=toy.yaml" in capsys.readouterr().err
    assert (only_run(toy) / "checkpoints" / "last.ckpt").is_file()
    assert main([*FIT, "--ckpt_path=last"]) == 0
    assert [step for step, _ in metrics(only_run(toy), "eval/error")][:2] == [3, 7]


def test_the_command_that_continues_has_one_checkpoint(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "--ckpt_path", "none", "--model.stop_in_epoch=1"]) == 130
    said = capsys.readouterr().err.strip()
    assert said.endswith("--model.stop_in_epoch=1 --ckpt_path=last") and "none" not in said


def test_none_as_agents_of_wandb_write_it_is_null(toy: Path) -> None:
    assert main([*FIT, "--trainer.gradient_clip_val=None"]) == 0
    config = yaml.safe_load((only_run(toy) / "config.yaml").read_text())
    assert config["trainer"]["gradient_clip_val"] is None


def test_evaluation_uses_the_newest_run_and_the_command_lines_settings(toy: Path) -> None:
    assert main([*FIT, "--model.lr=0.2"]) == 0
    folder = only_run(toy)
    trained = json.loads((folder / "result.json").read_text())[0]
    rows = metrics(folder, "time/wall_s")
    (folder / "result.json").unlink()
    assert main(["evaluate", "--config=toy.yaml", "--model.lr=0.3"]) == 0
    assert json.loads((folder / "result.json").read_text())[0]["value"] == pytest.approx(trained["value"])
    saved = yaml.safe_load((folder / "config-test.yaml").read_text())
    assert saved["model"]["init_args"]["lr"] == 0.3  # the checkpoint says 0.2
    assert metrics(folder, "time/wall_s") == rows  # evaluating loses nothing of the training


def test_sample_writes_a_sheet_and_every_image(toy: Path) -> None:
    from PIL import Image

    assert main([*FIT, "--trainer.max_epochs=1"]) == 0
    assert main(["sample", "--config=toy.yaml", "--count=5", "--out=drawn"]) == 0
    assert sorted(path.name for path in Path("drawn").iterdir()) == [
        *(f"sample-{index:03d}.png" for index in range(5)),
        "samples.json",
        "sheet.png",
    ]
    assert Image.open("drawn/sample-000.png").size == (8, 8)
    assert Image.open("drawn/sheet.png").size == (3 * 10 + 2, 2 * 10 + 2)


def test_an_installed_experiment_is_found_by_its_bare_name(toy: Path) -> None:
    from handgen.experiment import find_config, known_experiments

    for name, path in known_experiments().items():
        assert find_config(name) == find_config(f"experiments/{name}.yaml") == path  # from any folder
        assert path.read_text().startswith("# "), f"{path} needs a header comment"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fit", "--config=nope"], "unknown experiment 'nope'"),
        (["fit"], "name an experiment with --config"),
        (["paint"], "unknown command 'paint'"),
        ([*FIT, "--model.lrr=1"], "no such setting of ToyModel: model.lrr"),
        ([*FIT, "--model.lr=fast"], "model.lr: expected float, got 'fast'"),
        ([*FIT, "--trainer.max_epochs=x"], "trainer.max_epochs: expected int, got 'x'"),
        ([*FIT, "--trainer.max_epoch=1"], "trainer.max_epoch"),
        ([*FIT, "--model=handgen_toy.Nothing"], "there is no class 'handgen_toy.Nothing'"),
        ([*FIT, "--ckpt_path=absent.ckpt"], "no checkpoint at absent.ckpt"),
        ([*FIT, "--ckpt_path=toy.yaml"], "cannot read the checkpoint toy.yaml"),
        (["test", "--config=toy.yaml", "--seed_everything=7"], "no checkpoint of toy with seed 7"),
        ([*FIT, "--runs=toy.yaml"], "cannot create the run folder"),
    ],
)
def test_mistakes_get_one_clear_line(
    toy: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error
    assert len(error.partition("Known experiments:")[0].strip().splitlines()) == 1
    assert not toy.exists(), "a command that cannot run leaves no run folder"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_absent_gpu_gets_one_clear_line(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "--trainer.accelerator=gpu"]) == 2
    assert "no GPU is visible" in capsys.readouterr().err


def test_a_checkpoint_of_another_shape_is_refused(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*FIT, "--trainer.max_epochs=1"]) == 0
    assert main(["test", "--config=toy.yaml", "--model.width=9"]) == 2
    assert "does not fit this ToyModel" in capsys.readouterr().err


def test_the_environment_is_given_back(toy: Path) -> None:
    before = dict(os.environ)
    assert main([*FIT, "--trainer.max_epochs=1"]) == 0
    assert dict(os.environ) == before


def test_wandb_runs_offline_by_default(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    assert main([*FIT, "--trainer.max_epochs=1"]) == 0
    assert list((only_run(toy) / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.integration
def test_wandb_out_of_reach_costs_nothing_but_the_upload(toy: Path) -> None:
    with socket.socket() as found:  # nobody listens there any more
        found.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{found.getsockname()[1]}"
    wandb = {"WANDB_MODE": "online", "WANDB_API_KEY": 40 * "a", "WANDB_BASE_URL": server, "WANDB_INIT_TIMEOUT": "3"}
    path = os.pathsep.join([str(Path.cwd()), str(Path(__file__).parents[1])])
    variables = {**os.environ, **wandb, "PYTHONPATH": path}
    words = [sys.executable, "-m", "handgen", *FIT]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("wandb cannot be reached") == 1
    assert len(metrics(only_run(toy), "eval/error")) == 3
    assert list(only_run(toy).glob("wandb/offline-run-*"))


def test_wandb_online_without_a_key_gets_one_clear_line(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(toy.parent / "no-netrc"))
    monkeypatch.setenv("HOME", str(toy.parent))
    assert main(FIT) == 2
    assert "needs a key" in capsys.readouterr().err


def test_what_the_system_refuses_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(words: list[str]) -> int:
        raise PermissionError(13, "Permission denied", "docs/report.html")

    monkeypatch.setattr("handgen.cli.report", refused)
    assert main(["report"]) == 2
    assert capsys.readouterr().err == "error: docs/report.html: Permission denied\n"

"""The real ``wandb agent`` against the sweep server: runs of a tiny experiment that differ in their settings."""

import csv
from pathlib import Path

import pytest
import yaml

from handgen import cli
from handgen.runs import newest_run
from handgen.sweeps.command import run_online, settled
from handgen.sweeps.plan import read_plan
from handgen.sweeps.search import make_search
from handgen.sweeps.server import Sweep, SweepServer

pytest.importorskip("wandb")


def write_sweep(folder: Path, **content: object) -> Path:
    path = folder / "toy_sweep.yaml"
    command = ["${env}", "${interpreter}", "-m", "handgen", "fit", "--config=toy.yaml", "${args}"]
    path.write_text(yaml.safe_dump({
        "method": "grid", "metric": {"name": "eval/error", "goal": "minimize"},
        "parameters": {"model.lr": {"values": [0.001, 0.1]}}, "command": command, **content,
    }))  # fmt: skip
    return path


@pytest.mark.integration
def test_agents_run_all_settings_and_their_metric_arrives(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{toy.parent.parent}:{Path(cli.__file__).parent.parent}")
    sweep = write_sweep(toy.parent.parent)
    assert cli.main(["sweep", str(sweep), "--local", "--trainer.max_epochs=2"]) == 0
    (table,) = Path("runs/sweeps").rglob("sweep.csv")
    rows = list(csv.DictReader(table.open()))
    assert [row["exit_code"] for row in rows] == ["0", "0"]
    assert {row["model.lr"] for row in rows} == {"0.001", "0.1"}
    assert float(rows[0]["eval/error"]) < float(rows[1]["eval/error"])
    assert table.with_name("sweep.png").is_file()
    configs = [yaml.safe_load(path.read_text()) for path in toy.glob("*/config.yaml")]
    assert {config["model"]["init_args"]["lr"] for config in configs} == {0.001, 0.1}
    assert all(config["trainer"]["max_epochs"] == 2 for config in configs)
    assert "run 2: eval/error" in capsys.readouterr().out
    assert newest_run(Path("runs"), "toy", 0) is None  # of a sweep: nobody continues or grades it by mistake


@pytest.mark.integration
def test_a_run_that_fails_after_it_has_reported_has_failed(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{toy.parent.parent}:{Path(cli.__file__).parent.parent}")
    sweep = write_sweep(toy.parent.parent, parameters={"model.stop_in_epoch": {"values": [1]}})
    assert cli.main(["sweep", str(sweep), "--local"]) == 1
    assert "every run failed" in capsys.readouterr().err
    (table,) = Path("runs/sweeps").rglob("sweep.csv")
    (row,) = csv.DictReader(table.open())
    assert row["exit_code"] != "0" and row["eval/error"] == ""


@pytest.mark.integration
def test_failing_runs_are_told_although_the_agent_returns_0(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = toy.parent.parent
    (folder / "fails.py").write_text("raise SystemExit(3)")
    command = ["${env}", "${interpreter}", str(folder / "fails.py"), "${args}"]
    assert cli.main(["sweep", str(write_sweep(folder, command=command)), "--local"]) == 1
    assert "every run failed" in capsys.readouterr().err


@pytest.mark.integration
def test_a_metric_that_no_run_reports_is_told(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{toy.parent.parent}:{Path(cli.__file__).parent.parent}")
    sweep = write_sweep(toy.parent.parent, metric={"name": "eval/return", "goal": "maximize"})
    assert cli.main(["sweep", str(sweep), "--local", "--count=1"]) == 1
    assert "no run reported eval/return" in capsys.readouterr().err


@pytest.mark.integration
def test_settings_that_the_experiment_does_not_know_stop_a_sweep(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = toy.parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(cli.__file__).parent.parent}")
    sweep = write_sweep(folder, parameters={"model.lrr": {"values": [1]}})
    assert cli.main(["sweep", str(sweep), "--local"]) == 2
    assert "no such setting of ToyModel: model.lrr" in capsys.readouterr().err


@pytest.mark.integration
def test_with_an_account_the_sweep_is_registered_with_all_its_settings(
    toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = toy.parent.parent
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(cli.__file__).parent.parent}")
    plan = settled(read_plan(write_sweep(folder)), ["--trainer.max_epochs=1"], count=1)
    sweep = Sweep(plan, make_search(plan))
    with SweepServer(sweep) as server:  # stands for wandb's
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("WANDB_MODE")  # as it is where somebody has logged in and said nothing more
        assert run_online(plan, agents=1) == 0
    assert sweep.registered is not None and yaml.safe_load(sweep.registered) == yaml.safe_load(plan.text)
    (trial,) = sweep.trials.values()
    assert trial.exit_code == 0 and trial.settings == {"model.lr": 0.001, "trainer.max_epochs": 1}

"""Population-based training: rounds continue checkpoints, the worse take from the better, and mistakes are named."""

import csv
import os
import re
import sys
from pathlib import Path

import pytest
import yaml

from handgen import cli
from handgen.errors import UserError
from handgen.sweeps.plan import find_plan, read_plan
from handgen.sweeps.population import Round, config_of

POPULATION = """\
method: random
metric:
  name: eval/error
  goal: minimize
parameters:
  model.lr:
    distribution: log_uniform_values
    min: 1.0e-9
    max: 0.05
command: [python, -m, handgen, fit, --config=TOY, "${args}"]
"""


@pytest.fixture
def population(toy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A population of the toy experiment; its rate of learning decides all."""
    folder = toy.parents[1]
    path = folder / "toys.yaml"
    path.write_text(POPULATION.replace("TOY", str(folder / "toy.yaml")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(Path(__file__).parents[2])]))
    return path


def test_a_round_goes_on_where_the_one_before_ended(population: Path, tmp_path: Path) -> None:
    task = Round(config_of(read_plan(population)), "eval/error", 1, 0, (), 1)
    first = task.train({"model.lr": 0.001}, None, 1, tmp_path / "a")
    second = task.train({"model.lr": 0.02}, first / "checkpoints" / "last.ckpt", 3, tmp_path / "b")
    with (second / "metrics.csv").open() as file:
        epochs = {row["epoch"] for row in csv.DictReader(file) if row["epoch"]}
    assert epochs == {"1", "2"}
    assert task.value(second) < task.value(first)
    assert "lr: 0.02" in (second / "config.yaml").read_text()


def test_a_member_that_fails_says_why(population: Path, tmp_path: Path) -> None:
    task = Round(config_of(read_plan(population)), "eval/error", 1, 0, ("--model.nothing=1",), 1)
    with pytest.raises(UserError, match=r"a member failed: .*nothing"):
        task.train({}, None, 1, tmp_path / "a")
    good = Round(config_of(read_plan(population)), "eval/beauty", 1, 0, (), 1)
    with pytest.raises(UserError, match="eval/beauty was not logged"):
        good.value(good.train({}, None, 1, tmp_path / "b"))


@pytest.mark.parametrize(
    ("words", "message"),
    [(["nowhere"], "no population 'nowhere': known are spiral_mnist"), (["spiral_mnist", "--members=1"], "--members")],
)
def test_mistakes_are_named(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["population", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_shipped_population_varies_what_spiral_varied() -> None:
    plan = read_plan(find_plan("population", "spiral_mnist"))
    assert set(plan.parameters) == {"model.rl_lr", "model.entropy_weight"} and plan.maximise
    assert config_of(plan) == "experiments/spiral_mnist.yaml"
    root = Path(__file__).parents[2]
    settings = yaml.safe_load((root / config_of(plan)).read_text())
    data = settings["data"]["init_args"]
    unrewarded = (data["fit_updates"] + data["distill_updates"] + data["warming_updates"]) // data["epoch_updates"]
    advised = {
        int(n) for f in ("docs/running.md", "Makefile") for n in re.findall(r"--first=(\d+)", (root / f).read_text())
    }
    assert advised == {unrewarded}  # members that part earlier would not differ: the settings are of `rl`


@pytest.mark.slow
@pytest.mark.integration
def test_the_worse_take_from_the_better(
    population: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    words = [str(population), "--members=3", "--rounds=3", "--epochs=1", "--first=1", f"--out={tmp_path / 'out'}"]
    assert cli.main(["population", *words]) == 0
    said = capfd.readouterr().out
    (table,) = (tmp_path / "out").rglob("population.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["member"] for row in rows} == {"0", "1", "2"}
    last = [float(row["eval/error"]) for row in rows if row["round"] == "2"]
    began = [float(row["eval/error"]) for row in rows if row["round"] == "0"]
    assert len(last) == 3 and max(last) < max(began)
    rates = {member: {row["model.lr"] for row in rows if row["member"] == member} for member in "012"}
    assert any(len(found) > 1 for found in rates.values())  # somebody took over and explored
    (best,) = (tmp_path / "out").rglob("best.ckpt")
    found = re.search(r"best: eval/error (\S+)", said)
    assert found and float(found[1]) == pytest.approx(min(last), rel=1e-3)
    assert cli.main(["test", f"--config={config_of(read_plan(population))}", f"--ckpt_path={best}"]) == 0

"""Sweep files: what they may say, and that every shipped one says only what its experiment knows."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from stated import settings

from handgen.errors import UserError
from handgen.experiment import known_experiments
from handgen.paths import experiments_root
from handgen.sweeps.command import check_settings, settled
from handgen.sweeps.plan import Parameter, find_plan, parse_plan, read_plan

SHIPPED = sorted((experiments_root() / "sweeps").glob("*.yaml"))


def plan_of(tmp_path: Path, **content: object) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        yaml.safe_dump({"method": "random", "parameters": {"model.lr": {"min": 0.1, "max": 1.0}}, **content})
    )
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_can_be_served(path: Path) -> None:
    plan = read_plan(path)
    assert plan.metric and plan.run_cap
    command = yaml.safe_load(plan.text)["command"]
    assert f"--config=experiments/{path.stem}.yaml" in command and command[-1] == "${args}"


def test_every_experiment_has_a_sweep() -> None:
    assert {path.stem for path in SHIPPED} == {name for name in known_experiments() if "/" not in name}


@pytest.mark.slow
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_fit_their_experiments(path: Path) -> None:
    check_settings(read_plan(path))


def test_parameters_are_read_as_wandb_reads_them(tmp_path: Path) -> None:
    plan = read_plan(plan_of(tmp_path, parameters={
        "a": {"value": 3}, "b": {"values": [1, "x"]}, "c": {"min": 1, "max": 5}, "d": {"min": 0.0, "max": 1.0},
        "e": {"distribution": "log_uniform_values", "min": 1e-4, "max": 1e-2},
    }))  # fmt: skip
    assert plan.parameters == {
        "a": Parameter("constant", (3,)), "b": Parameter("categorical", (1, "x")),
        "c": Parameter("int_uniform", (), 1, 5), "d": Parameter("uniform", (), 0, 1),
        "e": Parameter("log_uniform_values", (), 1e-4, 1e-2),
    }  # fmt: skip


def test_settings_of_all_runs_and_their_number_are_in_the_text_that_wandb_gets(tmp_path: Path) -> None:
    plan = settled(read_plan(plan_of(tmp_path)), ["--trainer.max_epochs=2", "--model.name=x"], count=3)
    assert plan.parameters["trainer.max_epochs"] == Parameter("constant", (2,)) and plan.run_cap == 3
    assert parse_plan(plan.text) == plan
    with pytest.raises(UserError, match=r"cannot understand 'model\.lr'"):
        settled(plan, ["model.lr"], None)


@pytest.mark.parametrize(("content", "words"), [
    ({"method": "magic"}, "method must be one of"),
    ({"method": "bayes"}, "needs a metric"),
    ({"metric": {"name": "x", "goal": "up"}}, "goal must be minimize or maximize"),
    ({"parameters": {}}, "at least one setting"),
    ({"parameters": {"a": {"values": []}}}, "not empty"),
    ({"parameters": {"a": {"min": 2, "max": 1}}}, "min < max"),
    ({"parameters": {"a": {"min": 1, "max": 2, "distribution": "beta"}}}, "distribution must be"),
    ({"parameters": {"a": {"min": 0.0, "max": 2.0, "distribution": "log_uniform_values"}}}, "must be positive"),
    ({"method": "grid"}, "needs value or values"),
    ({"run_cap": 0}, "run_cap must be"),
    ({"methods": "grid"}, "unknown methods"),
])  # fmt: skip
def test_what_cannot_be_served_is_told(content: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        read_plan(plan_of(tmp_path, **content))


def test_files_that_are_no_sweeps_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no sweep 'none': known are .*sac_imm"):
        find_plan("sweep", "none")
    with pytest.raises(UserError, match="there is no sweep"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(UserError, match="cannot read the sweep"):
        read_plan(tmp_path / "bad.yaml")
    (tmp_path / "tag.yaml").write_text("a: !!python/object/apply:os.system ['true']")
    with pytest.raises(UserError, match="cannot read the sweep"):
        read_plan(tmp_path / "tag.yaml")


def test_shipped_sweeps_fit_wandbs_own_schema() -> None:
    jsonschema, sweeps = pytest.importorskip("jsonschema"), importlib.util.find_spec("sweeps")
    if sweeps is None or sweeps.origin is None:
        pytest.skip("wandb's package sweeps is not installed (`make setup` does so)")
    schema = json.loads((Path(sweeps.origin).parent / "config" / "schema.json").read_text())
    check = jsonschema.Draft7Validator(schema)
    for path in SHIPPED:
        content = yaml.safe_load(path.read_text())
        assert check.is_valid(content), path.name
        assert not check.is_valid({**content, "method": "magic"})


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_sweep_contains_what_its_experiment_has(path: Path) -> None:
    own_settings = {part: settings(experiments_root() / path.name, part) for part in ("model", "data")}
    for name, parameter in read_plan(path).parameters.items():
        own: Any = own_settings
        for part in name.split("."):
            own = own.get(part) if isinstance(own, dict) else None
        if own is not None:
            within = own in parameter.values if parameter.values else parameter.low <= own <= parameter.high
            assert within, f"{name}: {own} is none of {parameter}"

"""What the callbacks for agents log and keep."""

import csv
from pathlib import Path

import pytest
from lightning.pytorch.loggers import CSVLogger
from toy_agent import echo_data, make_trainer, tiny_agent

from handgen.callbacks.env_steps import EnvSteps
from handgen.callbacks.results import measurements
from handgen.callbacks.return_curve import ReturnCurve
from handgen.callbacks.throughput import Throughput


@pytest.fixture
def rows(tmp_path: Path) -> list[dict[str, str]]:
    """The metrics file of two epochs of thirty updates, logged every five."""
    curve = ReturnCurve(["train/temperature"])
    trainer = make_trainer(
        tmp_path,
        max_epochs=2,
        logger=CSVLogger(tmp_path, "", ""),
        callbacks=[Throughput(), EnvSteps(), curve],
    )
    trainer.fit(tiny_agent(), echo_data())
    with (tmp_path / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def column(rows: list[dict[str, str]], key: str) -> list[float]:
    return [float(row[key]) for row in rows if row.get(key)]


def test_every_row_says_after_how_many_environment_steps(rows: list[dict[str, str]]) -> None:
    assert all(row["env_steps"] for row in rows)
    updates = [(int(row["step"]), float(row["env_steps"])) for row in rows if row["loss/critic"]]
    assert updates == [(step, step + 1 + 20) for step in range(4, 60, 5)]
    evaluated = [float(row["env_steps"]) for row in rows if row["eval/return"]]
    assert evaluated == [50.0, 80.0]


def test_metrics_of_an_agent(rows: list[dict[str, str]]) -> None:
    for key in ("train/q", "train/temperature", "train/entropy", "loss/actor", "loss/critic", "loss/temperature"):
        assert len(column(rows, key)) == 12, key
    assert column(rows, "env/return")
    assert min(column(rows, "time/env_steps_per_second")) > 0
    assert len(column(rows, "time/updates_per_second")) == len(column(rows, "time/wall_s")) == 2
    assert "time/images_per_second" not in rows[0], "experience is not counted in images"


def test_measurements_of_a_run(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[EnvSteps(), ReturnCurve(["train/temperature"])])
    agent, data = tiny_agent(temperature_sign="printed"), echo_data(test_episodes=6)
    trainer.fit(agent, data)
    trainer.test(agent, datamodule=data, verbose=False)
    found = {m.metric: m for m in measurements(trainer, agent)}
    assert set(found) == {"return@50", "return@80", "temperature@50", "temperature@80"}
    assert {m.variant for m in found.values()} == {"sac temperature_sign=printed"}
    final, earlier = found["return@80"], found["return@50"]
    assert (final.n, earlier.n) == (6, 2)
    assert final.low is not None
    assert final.low < final.value < (final.high or 0.0)

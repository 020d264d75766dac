"""Every experiment of the shared agent, shrunk, through the command line in this process."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from handgen import cli
from handgen.paths import experiments_root

CONFIGS = {path.stem: yaml.safe_load(path.read_text()) for path in experiments_root().glob("sac_*.yaml")}
EXPERIMENTS = sorted(  # those of the suite's own worlds: tests/pixels
    name
    for name, config in CONFIGS.items()
    if config["model"]["class_path"] == "handgen.sac.SAC"
    and not config["data"]["init_args"]["env_id"].startswith("handgen")
)
SHRUNK = [
    "--threads=1",
    "--model.hidden_dims=[16,16]",
    "--data.batch_size=8",
    "--data.warmup_decisions=50",
    "--data.epoch_env_steps=60",
    "--data.replay_capacity_transitions=200",
    "--data.eval_episodes=2",
    "--data.test_episodes=3",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=10",
]


def test_there_are_experiments() -> None:
    assert "sac_pendulum" in EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_trains_and_resumes(name: str, tmp_path: Path) -> None:
    words = ["fit", "--config", name, *SHRUNK, f"--runs={tmp_path}"]
    assert cli.main(words) == 0
    (run,) = [path.parent for path in tmp_path.rglob("result.json")]
    records = {(r["metric"], r["variant"]): r for r in json.loads((run / "result.json").read_text())}
    final = records["return@170", "sac"]
    assert (final["env_steps"], final["n"], final["images_seen"]) == (170, 3, None)
    assert ("return@110", "sac") in records
    assert cli.main([*words, "--ckpt_path=last", "--trainer.max_epochs=3"]) == 0
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["env_steps"]) for row in rows if row["eval/return"]] == [110.0, 170.0, 230.0]
    resumed = {(r["metric"], r["env_steps"]) for r in json.loads((run / "result.json").read_text())}
    assert ("return@230", 230) in resumed


def test_an_evaluation_alone_knows_what_the_weights_have_seen(tmp_path: Path) -> None:
    words = ["--config", "sac_pendulum", *SHRUNK, f"--runs={tmp_path}"]
    assert cli.main(["fit", *words, "--evaluate_after_fit=false"]) == 0
    assert cli.main(["test", *words]) == 0
    (result,) = tmp_path.rglob("result.json")
    assert [r["metric"] for r in json.loads(result.read_text())] == ["return@170"]

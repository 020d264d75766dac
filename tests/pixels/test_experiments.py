"""The experiments on cart-pole, shrunk, through the command line in this process."""

import json
from pathlib import Path

import pytest
from opengl import needs_gl

from handgen import cli

SHRUNK = [
    "--threads=1",
    "--model.hidden_dims=[16,16]",
    "--data.batch_size=8",
    "--data.warmup_decisions=10",
    "--data.epoch_env_steps=160",
    "--data.replay_capacity_transitions=200",
    "--data.eval_episodes=2",
    "--data.test_episodes=2",
    "--trainer.max_epochs=2",
    "--trainer.log_every_n_steps=10",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac_state", pytest.param("sac_ae", marks=needs_gl)])
def test_experiment_trains_and_resumes(name: str, tmp_path: Path) -> None:
    words = ["fit", "--config", name, *SHRUNK, f"--runs={tmp_path}", "--data.num_processes=0"]
    assert cli.main(words) == 0
    (run,) = [path.parent for path in tmp_path.rglob("result.json")]
    # Two epochs of 20 decisions, the random ones among them, 8 environment steps each.
    records = {(r["metric"], r["env_steps"]) for r in json.loads((run / "result.json").read_text())}
    assert {("return@160", 320), ("return@320", 320)} <= records
    assert cli.main([*words, "--ckpt_path=last", "--trainer.max_epochs=3"]) == 0
    records = {(r["metric"], r["env_steps"]) for r in json.loads((run / "result.json").read_text())}
    assert ("return@480", 480) in records

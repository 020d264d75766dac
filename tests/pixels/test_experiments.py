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

KEYPOINTS = [
    "--data.keypoint_updates=3",
    "--data.keypoint_batch_size=2",
    "--model.smallest_reliability=0",
    "--model.smallest_slowness=0",
]
SEEING = ["sac_ae", "sac_ae_imm_poster", "sac_imm_poster", "sac_imm", "sac_ae_imm"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sac_state", *(pytest.param(name, marks=needs_gl) for name in SEEING)])
def test_experiment_trains_and_resumes(name: str, tmp_path: Path) -> None:
    words = ["fit", "--config", name, *SHRUNK, f"--runs={tmp_path}", "--data.num_processes=0"]
    words += KEYPOINTS if name in ("sac_imm", "sac_ae_imm") else []
    assert cli.main(words) == 0
    (run,) = [path.parent for path in tmp_path.rglob("result.json")]
    # Two epochs of 20 decisions of 8 environment steps each; where nothing catches up, 10 random ones come on top.
    on_top = 0 if name in ("sac_ae", "sac_ae_imm_poster", "sac_imm_poster") else 80
    records = {(r["metric"], r["env_steps"]) for r in json.loads((run / "result.json").read_text())}
    assert {(f"return@{steps + on_top}", 320 + on_top) for steps in (160, 320)} <= records
    assert (run / "videos" / "episode.gif").stat().st_size > 1000
    assert cli.main([*words, "--ckpt_path=last", "--trainer.max_epochs=3"]) == 0
    records = {(r["metric"], r["env_steps"]) for r in json.loads((run / "result.json").read_text())}
    assert (f"return@{480 + on_top}", 480 + on_top) in records

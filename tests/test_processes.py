"""Two processes, on one machine and as two nodes: the same weights at the end, one set of files, seeds of their own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

CHECK = '''
from pathlib import Path

import torch
from lightning.pytorch import Callback


class Checksum(Callback):
    """Writes what each process ended with."""

    def on_fit_end(self, trainer, pl_module):
        total = sum(float(p.detach().double().abs().sum()) for p in pl_module.parameters())
        seeds = getattr(trainer.datamodule, "generator", None)
        drawn = float(torch.rand(1, generator=seeds)) if seeds is not None else trainer.global_rank
        Path(f"rank-{trainer.global_rank}.txt").write_text(f"{total} {drawn} {trainer.global_step}")
'''
EXTRA = """\
trainer:
  accelerator: cpu
  devices: 2
  strategy: STRATEGY
  callbacks+:
    - class_path: checksum.Checksum
"""
SHRUNK = {
    "vae": [
        "--model.image_size=32", "--data.image_size=32", "--model.width=8", "--model.latent_dim=4",
        "--data.train_count=32", "--data.val_count=8", "--data.test_count=8", "--data.batch_size=8",
        "--trainer.max_epochs=2", "--evaluate_after_fit=false",
    ],
    "sac_pendulum": [
        "--data.epoch_env_steps=200", "--data.warmup_decisions=50", "--trainer.max_epochs=2",
        "--data.eval_episodes=2", "--data.test_episodes=2", "--model.hidden_dims=[16,16]",
    ],
    "sac_imm": [
        "--data.epoch_env_steps=800", "--data.warmup_decisions=20", "--data.keypoint_updates=4", "--data.batch_size=8",
        "--data.keypoint_batch_size=4", "--data.replay_capacity_transitions=500", "--data.eval_episodes=2",
        "--data.test_episodes=2", "--data.num_processes=0", "--data.updates_per_decision=0.2",
        "--model.smallest_reliability=null", "--model.hidden_dims=[16,16]", "--model.resets_env_steps=[600]",
        "--trainer.max_epochs=2",
    ],
    "spiral_digits": [
        "--model.image_size=16", "--model.width=16", "--model.length=3", "--model.strokes=2",
        "--model.discriminator_width=4", "--data.train_count=40", "--data.fit_updates=2", "--data.distill_updates=2",
        "--data.batch_size=4", "--data.fit_batch_size=4", "--data.epoch_updates=4", "--data.warming_updates=1",
        "--trainer.max_epochs=2", "--evaluate_after_fit=false",
    ],
}  # fmt: skip
PLAIN = ("vae", "sac_pendulum")
"""Methods whose every update moves all weights; others need to be told which it does not."""


@pytest.mark.integration
@pytest.mark.parametrize("name", SHRUNK)
def test_two_processes_end_with_the_same_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / "checksum.py").write_text(CHECK)
    (tmp_path / "extra.yaml").write_text(
        EXTRA.replace("STRATEGY", "ddp" if name in PLAIN else "ddp_find_unused_parameters_true")
    )
    words = ["fit", "--config=extra.yaml", f"--config={name}", "--threads=1", *SHRUNK[name]]
    root = Path(__file__).parents[1]
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}:{root}", "HANDGEN_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "handgen", *words],
        cwd=tmp_path,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (weights, drawn, steps), (others, otherwise, also) = (
        (tmp_path / f"rank-{rank}.txt").read_text().split() for rank in (0, 1)
    )
    assert float(weights) == pytest.approx(float(others), rel=1e-6) and steps == also and int(steps) > 0
    assert drawn != otherwise
    (run,) = (tmp_path / "runs" / name).iterdir()
    assert (run / "metrics.csv").is_file() and (run / "checkpoints" / "last.ckpt").is_file()
    if "--evaluate_after_fit=false" not in words:
        assert any("return@" in r["metric"] for r in json.loads((run / "result.json").read_text()))


@pytest.mark.integration
def test_two_nodes_under_torchrun_end_with_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "checksum.py").write_text(CHECK)
    extra = EXTRA.replace("STRATEGY", "ddp").replace("devices: 2", "devices: 1\n  num_nodes: 2")
    (tmp_path / "extra.yaml").write_text(extra)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1"]
    words = [
        "-m",
        "handgen",
        "fit",
        "--config=extra.yaml",
        "--config=sac_pendulum",
        "--threads=1",
        *SHRUNK["sac_pendulum"],
    ]
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}", "OMP_NUM_THREADS": "1"}
    nodes = [
        subprocess.Popen(
            [sys.executable, *launch, f"--master-port={port}", f"--node-rank={rank}", *words],
            cwd=tmp_path,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], said[0][-2000:] + said[1][-2000:]
    (weights, drawn, steps), (others, otherwise, also) = (
        (tmp_path / f"rank-{rank}.txt").read_text().split() for rank in (0, 1)
    )
    assert float(weights) == pytest.approx(float(others), rel=1e-6) and steps == also and int(steps) > 0
    assert drawn != otherwise
    assert len(list(tmp_path.rglob("last.ckpt"))) == len(list(tmp_path.rglob("result.json"))) == 1

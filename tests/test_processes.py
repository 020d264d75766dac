"""Two processes, on one machine and as two nodes: the same weights at the end, one set of files, seeds of their own."""

import json
import socket
import subprocess
from pathlib import Path

import pytest
from small_runs import PLAIN, ROOT, SMALL, command, variables

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
SLOW = ("imm", "sac_ae", "vae_sac_loss", "arm_sac", "arm_actor_critic")


@pytest.mark.integration
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SMALL]
)
def test_two_processes_end_with_the_same_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / "checksum.py").write_text(CHECK)
    strategy = "ddp" if name in PLAIN else "ddp_find_unused_parameters_true"
    (tmp_path / "extra.yaml").write_text(EXTRA.replace("STRATEGY", strategy))
    words = command(name, tmp_path / "runs", "--config=extra.yaml", "--name=small")
    environment = {**variables(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (weights, drawn, steps), (others, otherwise, also) = (
        (tmp_path / f"rank-{rank}.txt").read_text().split() for rank in (0, 1)
    )
    assert float(weights) == pytest.approx(float(others), rel=1e-6) and steps == also and int(steps) > 0
    assert drawn != otherwise
    (run,) = (tmp_path / "runs" / "small").iterdir()
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
    words = command("sac_pendulum", tmp_path / "runs", "--config=extra.yaml", "--name=small")
    environment = {**variables(tmp_path), "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    nodes = [
        subprocess.Popen(
            [words[0], *launch, f"--master-port={port}", f"--node-rank={rank}", *words[1:]],
            cwd=tmp_path,
            env=environment,
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
    assert len(list((tmp_path / "runs" / "small").iterdir())) == 1
    assert len(list(tmp_path.rglob("last.ckpt"))) == len(list(tmp_path.rglob("result.json"))) == 1

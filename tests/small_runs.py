"""Every method shrunk to seconds, as a command of its own: for tests that end it, repeat it or run several of it."""

import atexit
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
SAC = ["--data.eval_episodes=2", "--data.test_episodes=2", "--model.hidden_dims=[16,16]"]
PIXELS = [
    *SAC, "--data.epoch_env_steps=800", "--data.warmup_decisions=20", "--data.batch_size=8",
    "--data.replay_capacity_transitions=500", "--data.num_processes=0", "--data.updates_per_decision=0.2",
    "--trainer.max_epochs=2",
]  # fmt: skip
ARM = [
    "--data.num_envs=2", "--data.eval_episodes=2", "--data.test_episodes=2", "--trainer.max_epochs=3",
    "--evaluate_after_fit=false",
]  # fmt: skip
VAE = [
    "--model.image_size=32", "--data.image_size=32", "--model.width=8", "--model.latent_dim=4", "--data.train_count=32",
    "--data.val_count=8", "--data.test_count=8", "--data.batch_size=8", "--trainer.max_epochs=2",
    "--evaluate_after_fit=false",
]  # fmt: skip
SMALL: dict[str, list[str]] = {
    "vae": VAE,
    "vae_sac_loss": VAE,
    "vae_sac": [
        "--model.latent_dim=4", "--model.start=prior", "--model.starts=64", "--model.hidden_dims=[16]",
        "--data.images.image_size=64", "--data.images.train_count=32", "--data.images.val_count=8",
        "--data.images.test_count=8", "--data.epoch_env_steps=64", "--data.batch_size=8", "--data.num_envs=8",
        "--data.warmup_decisions=16", "--trainer.max_epochs=3", "--evaluate_after_fit=false",
    ],
    "judge_a": [
        "--data.train_count=64", "--data.val_count=26", "--data.test_count=26", "--data.batch_size=8",
        "--trainer.max_epochs=2", "--evaluate_after_fit=false",
    ],
    "sac_pendulum": [*SAC, "--data.epoch_env_steps=200", "--data.warmup_decisions=50", "--trainer.max_epochs=2"],
    "imm": [
        "--model.width=8", "--model.image_size=32", "--data.image_size=32", "--data.batch_size=6",
        "--data.train_count=20", "--data.probe_count=30", "--data.test_count=20", "--data.batches_per_epoch=8",
        "--trainer.max_epochs=2", "--evaluate_after_fit=false",
    ],
    "sac_imm": [
        *PIXELS, "--data.keypoint_updates=4", "--data.keypoint_batch_size=4", "--model.smallest_reliability=null",
        "--model.resets_env_steps=[600]",
    ],
    "sac_ae_imm": [
        *PIXELS, "--data.keypoint_updates=4", "--data.keypoint_batch_size=4", "--model.smallest_reliability=null",
        "--model.smallest_slowness=null", "--model.autoencoder.filters=4",
    ],
    "sac_ae": PIXELS,
    "spiral_digits": [
        "--model.image_size=16", "--model.width=16", "--model.length=3", "--model.strokes=2",
        "--model.discriminator_width=4", "--data.train_count=40", "--data.fit_updates=2", "--data.distill_updates=2",
        "--data.batch_size=4", "--data.fit_batch_size=4", "--data.epoch_updates=4", "--data.warming_updates=1",
        "--trainer.max_epochs=2", "--evaluate_after_fit=false",
    ],
    "arm_sac": [
        *ARM, "--model.size=28", "--model.feature_dim=16", "--model.hidden_dims=[16]", "--data.env_kwargs.size=28",
        "--data.drawn_hands=8", "--data.poses=64", "--data.imitation_updates=12", "--data.imitation_batch_size=8",
        "--data.batch_size=8", "--data.warmup_decisions=10", "--data.epoch_env_steps=16",
    ],
    "arm_actor_critic": [
        *ARM, "--data.env_kwargs.size=32", "--data.env_kwargs.episode_decisions=4", "--data.updates_per_decision=0.5",
        "--data.warmup_decisions=2", "--data.epoch_env_steps=8",
    ],
}  # fmt: skip
PLAIN = ("vae", "judge_a", "sac_pendulum", "imm")
"""Methods whose every update moves all weights; several processes must be told if an update does not."""
CLOCK = ("time/", "env/wall")
"""Columns of metrics.csv that tell the time, which no two runs share."""


def command(name: str, folder: Path, *words: str) -> list[str]:
    """The command that trains a method; later words beat earlier ones."""
    fit = [sys.executable, "-m", "handgen", "fit", f"--config={name}", *SMALL[name], "--threads=1"]
    if name == "vae_sac":
        fit.append(f"--model.vae={trained_vae()}")
    return [*fit, "--trainer.log_every_n_steps=1", f"--runs={folder}", *words]


@cache
def trained_vae() -> Path:
    """The run of a VAE, for methods that begin with one."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    sizes = ["--model.image_size=64", "--data.image_size=64"]
    subprocess.run(command("vae", folder / "runs", *sizes), env=variables(folder), check=True, capture_output=True)
    return newest(folder, "last.ckpt")


def variables(tmp_path: Path) -> dict[str, str]:
    """Its environment."""
    kept = {"HANDGEN_CACHE": str(tmp_path / "cache"), "HANDGEN_DATA": str(tmp_path / "none")}
    return {**os.environ, **kept, "OMP_NUM_THREADS": "1", "WANDB_MODE": "disabled", "PYTHONPATH": str(ROOT)}


def newest(folder: Path, name: str) -> Path:
    """The newest file of that name."""
    return max(folder.rglob(name), key=lambda path: path.stat().st_mtime)


def logged(folder: Path) -> list[dict[str, str]]:
    """What the newest run logged, without the clock's columns."""
    with newest(folder, "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    kept = [{k: v for k, v in row.items() if v and not k.startswith(CLOCK)} for row in rows]
    return [row for row in kept if set(row) - {"epoch", "step"}]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights that the newest run ended with."""
    state: dict[str, torch.Tensor] = torch.load(newest(folder, "last.ckpt"), weights_only=True)["state_dict"]
    return state

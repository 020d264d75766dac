"""Stable-Baselines3's SAC on our experiments: ``python -m handgen.peers.stable_baselines3 sac_pendulum --seeds 0 1``.

The same environment, budget, random decisions, network sizes, batches, learning rate, discount and target rate, all
read from the experiment's YAML; the peer's own code acts, learns and keeps its replay. Evaluation is ours: the mean
action on the same seeds at the same environment steps. Each seed leaves a run folder with a ``result.json``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from handgen.datamodules.evaluation_episodes import play_episodes
from handgen.datamodules.replay import ReplayDataModule
from handgen.episodes import return_measurement
from handgen.errors import UserError
from handgen.experiment import experiment_name, find_config
from handgen.results import Measurement, Record, write_json
from handgen.runs import new_run_folder

VARIANT = "stable_baselines3"


@dataclass(frozen=True)
class Task:
    """What an experiment's YAML asks for.

    Attributes:
        name: of the experiment.
        model: arguments of our module.
        data: our data module, for its settings and its evaluation environments.
        epochs: evaluations; the budget is as many epochs of the data module, and the random decisions before them.
    """

    name: str
    model: dict[str, Any]
    data: ReplayDataModule
    epochs: int


class PeerAgent:
    """The peer's policy as an agent that our evaluation can play with.

    Args:
        peer: a ``stable_baselines3.SAC``.
    """

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.device = torch.device("cpu")

    def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        """(N, O) to (N, A) in [-1, 1]; the peer answers in the environment's units."""
        action, _ = self.peer.predict(obs.numpy(), deterministic=deterministic)
        return torch.from_numpy(np.asarray(self.peer.policy.scale_action(action), dtype=np.float32))


def read_task(text: str) -> Task:
    """Read an experiment.

    Args:
        text: its name or file.

    Raises:
        UserError: If it is not one of the shared agent on a Gymnasium environment.
    """
    path = find_config(text)
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    classes = (config["model"]["class_path"], config["data"]["class_path"])
    if classes != ("handgen.sac.SAC", "handgen.datamodules.replay.ReplayDataModule"):
        raise UserError(f"{text} is no experiment of handgen.sac.SAC on a Gymnasium environment")
    data = ReplayDataModule(**config["data"]["init_args"])
    return Task(experiment_name(path), config["model"]["init_args"], data, config["trainer"]["max_epochs"])


def train_peer(task: Task, seed: int) -> tuple[list[Measurement], float]:
    """Train and evaluate once.

    Args:
        task: the experiment.
        seed: of the run.

    Returns:
        The evaluations, and the seconds of training without them.

    Raises:
        UserError: If Stable-Baselines3 is not installed.
    """
    try:
        from stable_baselines3 import SAC
    except ImportError as error:
        raise UserError("this needs stable-baselines3: pip install -c constraints.txt -e '.[peers]'") from error
    data, model = task.data, task.model
    peer = SAC(
        "MlpPolicy",
        data.env_id,
        learning_rate=model.get("lr", 3e-4),
        batch_size=data.batch_size,
        buffer_size=data.replay_capacity_transitions,
        learning_starts=data.warmup_decisions,
        gamma=model.get("gamma", 0.99),
        tau=model.get("tau", 0.005),
        policy_kwargs={"net_arch": list(model.get("hidden_dims", (256, 256)))},
        device="cpu",
        seed=seed,
    )
    agent, found, seconds = PeerAgent(peer), [], 0.0
    for epoch in range(task.epochs):
        started = time.monotonic()
        peer.learn(data.epoch_env_steps + (data.warmup_decisions if epoch == 0 else 0), reset_num_timesteps=False)
        seconds += time.monotonic() - started
        final = epoch == task.epochs - 1
        seeds = (data.test_dataloader() if final else data.val_dataloader()).seeds
        returns = play_episodes(data.make_envs(len(seeds)), agent, seeds)["episode_return"]
        found.append(return_measurement(returns, int(peer.num_timesteps), VARIANT))
        print(f"seed {seed}  {found[-1].metric} {found[-1].value:.1f}", flush=True)
    return found, seconds


def run(task: Task, seed: int, runs: Path, command: str) -> Path:
    """Train with one seed and write its records; returns the run folder."""
    found, seconds = train_peer(task, seed)
    env_steps = task.data.warmup_decisions + task.epochs * task.data.epoch_env_steps
    folder = new_run_folder(runs, f"{task.name}_{VARIANT}", seed)
    records = [
        Record(
            experiment=task.name,
            dataset=task.data.env_id,
            variant=VARIANT,
            metric=measured.metric,
            value=measured.value,
            low=measured.low,
            high=measured.high,
            n=measured.n,
            seeds=[seed],
            env_steps=env_steps,
            wall_s=round(seconds, 1),
            command=command,
        )
        for measured in found
    ]
    write_json(folder / "result.json", records)
    return folder


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    words = list(sys.argv[1:] if args is None else args)
    parser = argparse.ArgumentParser(prog="python -m handgen.peers.stable_baselines3", description=__doc__)
    parser.add_argument("experiment", help="name of an experiment of handgen.sac.SAC")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds of the runs")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the run folders")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    command = shlex.join(["python", "-m", "handgen.peers.stable_baselines3", *words])
    try:
        task = read_task(options.experiment)
        for seed in options.seeds:
            print(f"run folder: {run(task, seed, options.runs, command)}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A toy world that is learnt in seconds, settings of a tiny agent, and a silent trainer."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from handgen.datamodules.replay import ReplayDataModule
from handgen.sac import SAC

ENV_ID = "handgen-tests/Echo-v0"
TINY: dict[str, Any] = {"obs_dim": 2, "action_dim": 2, "hidden_dims": (16, 16)}
DATA: dict[str, Any] = {
    "batch_size": 16,
    "replay_capacity_transitions": 200,
    "warmup_decisions": 20,
    "epoch_env_steps": 30,
    "eval_episodes": 2,
    "test_episodes": 2,
    "seed": 5,
}


class Echo(gymnasium.Env[np.ndarray, np.ndarray]):
    """Repeat the two numbers that are seen; each decision costs the squared error. The best return is 0.

    Episodes end by themselves at times where the error is large, and by a time limit of five decisions.
    """

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gymnasium.spaces.Box(np.array([-1.0, -2.0], np.float32), np.array([1.0, 2.0], np.float32))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return self._draw(), {}

    def _draw(self) -> np.ndarray:
        self.shown = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.shown

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        error = float(np.square(action / np.array([1, 2]) - self.shown).sum())
        ends = bool(error > 3.0 and self.np_random.random() < 0.5)
        return self._draw(), -error, ends, False, {}


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point=Echo, max_episode_steps=5)


def echo_data(**settings: Any) -> ReplayDataModule:
    """The toy world's data module."""
    return ReplayDataModule(ENV_ID, **{**DATA, **settings})


def tiny_agent(**settings: Any) -> SAC:
    """A tiny agent for it."""
    return SAC(**{**TINY, **settings})


def toy_batch(rows: int = 8, n_step: int = 1, seed: int = 0) -> dict[str, Any]:
    """Random transitions of the toy world's shapes."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    return {
        "obs": rand(rows, 2),
        "action": rand(rows, 2),
        "reward": rand(rows, n_step),
        "counted": torch.ones(rows, n_step, dtype=torch.bool),
        "next_obs": rand(rows, 2),
        "terminated": torch.arange(rows) % 4 == 0,
        "env_steps": 7,
    }


def make_trainer(folder: Path, **settings: Any) -> Trainer:
    """A silent trainer on the CPU."""
    return Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 5,
            **settings,
        }
    )

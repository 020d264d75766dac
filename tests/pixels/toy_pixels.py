"""A world of tiny images that is played in a moment, and an agent that fits it."""

from typing import Any

import gymnasium
import numpy as np
import torch

from handgen.datamodules.replay import ReplayDataModule

ENV_ID = "handgen-tests/Spot-v0"
SIZE = 16
AGENT: dict[str, Any] = {
    "action_dim": 1,
    "image_size": SIZE,
    "frame_stack": 2,
    "filters": 4,
    "latent_dim": 5,
    "hidden_dims": (16, 16),
}


class Spot(gymnasium.Env[np.ndarray, np.ndarray]):
    """A bright column that the action moves; it pays where it is in the middle. Two frames, five decisions."""

    observation_space = gymnasium.spaces.Box(0, 255, (6, SIZE, SIZE), np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    frame_stack, action_repeat = 2, 3

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.decisions, self.place = 0, float(self.np_random.uniform(2, SIZE - 3))
        self.frames = [self.draw()] * 2
        return np.concatenate(self.frames), {}

    def draw(self) -> np.ndarray:
        frame = np.full((3, SIZE, SIZE), 40, np.uint8)
        frame[:, :, round(self.place)] = 220
        return frame

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.decisions += 1
        self.place = float(np.clip(self.place + 3 * action[0], 0, SIZE - 1))
        self.frames = [self.frames[1], self.draw()]
        reward = 1.0 - abs(self.place - SIZE / 2) / SIZE
        return np.concatenate(self.frames), reward, False, self.decisions == 5, {}


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point=Spot)


def spot_data(**settings: Any) -> ReplayDataModule:
    """Experience of that world."""
    chosen = {
        "batch_size": 8,
        "replay_capacity_transitions": 60,
        "warmup_decisions": 12,
        "epoch_env_steps": 30,
        "eval_episodes": 2,
        "test_episodes": 2,
        "seed": 3,
    }
    return ReplayDataModule(ENV_ID, **{**chosen, **settings})


def spot_batch(count: int = 8) -> dict[str, Any]:
    """Transitions drawn from nowhere."""
    generator = torch.Generator().manual_seed(0)
    obs, next_obs = torch.randint(0, 256, (2, count, 6, SIZE, SIZE), generator=generator, dtype=torch.uint8)
    return {
        "obs": obs,
        "next_obs": next_obs,
        "action": torch.rand(count, 1, generator=generator) * 2 - 1,
        "reward": torch.rand(count, 1, generator=generator),
        "counted": torch.ones(count, 1, dtype=torch.bool),
        "terminated": torch.zeros(count, dtype=torch.bool),
        "env_steps": 0,
    }

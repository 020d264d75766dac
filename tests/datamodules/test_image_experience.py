"""Images from environment to batch: types, counting of repeated actions, replay of frames, exact resuming."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from opengl import needs_gl
from torch import Tensor

from handgen.datamodules.env_processes import EnvProcesses
from handgen.datamodules.envs import GymEnvs
from handgen.datamodules.pixel_replay import FrameReplay
from handgen.datamodules.replay import ReplayDataModule
from handgen.errors import UserError

ENV_ID = "handgen-tests/Noise-v0"
PIXELS = "handgen/CartpolePixels-v0"
SMALL: dict[str, Any] = {
    "batch_size": 8,
    "replay_capacity_transitions": 40,
    "warmup_decisions": 12,
    "epoch_env_steps": 40,
    "eval_episodes": 2,
    "seed": 3,
}


class Noise(gymnasium.Env[np.ndarray, np.ndarray]):
    """Stacks of two noisy frames as bright as the last action; three simulator steps a decision, five decisions."""

    observation_space = gymnasium.spaces.Box(0, 255, (6, 4, 4), np.uint8)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    frame_stack, action_repeat = 2, 3

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.decisions = 0
        self.frames = [self.draw(0.0)] * 2
        return np.concatenate(self.frames), {}

    def draw(self, level: float) -> np.ndarray:
        return (100 + 50 * level + self.np_random.integers(50, size=(3, 4, 4))).astype(np.uint8)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.decisions += 1
        self.frames = [self.frames[1], self.draw(float(action[0]))]
        return np.concatenate(self.frames), float(action[0]), False, self.decisions == 5, {}


if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point=Noise)


class Wiggle:
    """Acts by what it sees."""

    device = torch.device("cpu")

    def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        assert obs.dtype == torch.uint8
        return (obs.float().mean((1, 2, 3)) - 120)[:, None].sin()


def ready(monkeypatch: pytest.MonkeyPatch, env_id: str = ENV_ID, **settings: Any) -> ReplayDataModule:
    monkeypatch.setattr(ReplayDataModule, "agent", property(lambda self: Wiggle()))
    data = ReplayDataModule(env_id, **{**SMALL, **settings})
    data.setup("fit")
    return data


def test_images_keep_their_type() -> None:
    envs = GymEnvs(ENV_ID, 2)
    assert (envs.obs_shape, envs.obs_dtype, envs.frame_stack) == ((6, 4, 4), torch.uint8, 2)
    assert envs.reset([1, 2]).dtype == torch.uint8
    step = envs.step(torch.zeros(2, 1))
    assert step.obs.dtype == step.next_obs.dtype == torch.uint8


def test_repeats_inside_the_environment_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready(monkeypatch)
    batches = list(data.train_dataloader())
    assert len(batches) == 40 // 3
    assert [batch["env_steps"] for batch in batches] == [3 * (12 + update) for update in range(1, 14)]
    with pytest.raises(UserError, match=r"data\.env_kwargs\.action_repeat"):
        GymEnvs(ENV_ID, action_repeat=2)


def test_image_worlds_get_a_replay_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready(monkeypatch, num_envs=2)
    batch = list(data.train_dataloader())[-1]
    assert isinstance(data.replay, FrameReplay)
    assert data.replay.frame_stack == 2
    assert batch["obs"].shape == (8, 6, 4, 4) and batch["obs"].dtype == torch.uint8
    later = batch["next_obs"][:, -3:].float().mean((1, 2, 3))
    assert (later - 125 - 50 * batch["action"][:, 0]).abs().max() < 12  # the frame that the action led to


def test_an_evaluation_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    data = ready(monkeypatch)
    (first,), (second,) = list(data.val_dataloader()), list(data.val_dataloader())
    assert first["episode_length"].tolist() == [5, 5]
    assert torch.equal(first["episode_return"], second["episode_return"])


def resumed_equals_uninterrupted(data: ReplayDataModule, other: ReplayDataModule, file: Path) -> None:
    """Draw batches, save, and compare what follows with what follows in another module that has loaded it."""
    for _ in range(9):
        data.next_batch()
    torch.save(data.state_dict(), file)
    other.load_state_dict(torch.load(file, weights_only=True))
    for _ in range(9):
        first, second = data.next_batch(), other.next_batch()
        for name, value in first.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(second[name])), name


def test_resuming_is_exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {"num_envs": 2, "replay_capacity_transitions": 26}
    first, second = ready(monkeypatch, **settings), ready(monkeypatch, **settings, seed=8)
    resumed_equals_uninterrupted(first, second, tmp_path / "state")


@needs_gl
def test_resuming_cart_pole_is_exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {"env_kwargs": {"size": 24, "action_repeat": 50}, "epoch_env_steps": 500}  # episodes of 20 decisions
    first, second = ready(monkeypatch, PIXELS, **settings), ready(monkeypatch, PIXELS, **settings, seed=8)
    resumed_equals_uninterrupted(first, second, tmp_path / "state")
    assert first.env_steps == 50 * first.decisions


@needs_gl
@pytest.mark.slow
def test_cart_pole_resumes_and_is_evaluated_in_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = {"env_kwargs": {"size": 24}, "num_envs": 2}
    first, second = ready(monkeypatch, PIXELS, **settings), ready(monkeypatch, PIXELS, **settings, num_processes=2)
    assert isinstance(second._envs, EnvProcesses)
    assert torch.equal(first._obs, second._obs)
    resumed_equals_uninterrupted(first, second, tmp_path / "state")
    second._envs.close()
    loaders = [data.val_dataloader() for data in (first, second)]
    (here,), (there,) = map(list, loaders)
    assert torch.equal(here["episode_return"], there["episode_return"])
    assert isinstance(loaders[1].envs, EnvProcesses)
    loaders[1].envs.close()


def test_worlds_of_numbers_are_refused_only_if_they_are_no_vectors() -> None:
    gymnasium.register("handgen-tests/Grid-v0", entry_point=Grid)
    with pytest.raises(UserError, match="vector or a uint8 image"):
        GymEnvs("handgen-tests/Grid-v0")


class Grid(Noise):
    """Images of floats, which no replay here keeps."""

    observation_space = gymnasium.spaces.Box(0.0, 1.0, (6, 4, 4), np.float32)

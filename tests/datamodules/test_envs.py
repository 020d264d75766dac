"""Gymnasium environments as tensors: scaling, ends of episodes, repeats, exact state."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from toy_agent import ENV_ID, Echo

from handgen.datamodules.envs import GymEnvs
from handgen.errors import UserError


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space.*")  # unequal ranges are what is tested here
def test_the_toy_world_keeps_gymnasiums_rules() -> None:
    check_env(gymnasium.make(ENV_ID).unwrapped, skip_render_check=True)


def test_actions_are_scaled_to_the_box() -> None:
    envs = GymEnvs(ENV_ID)
    obs = envs.reset([3])
    step = envs.step(obs.clone())  # the second action's range is twice as large
    assert step.reward.item() == pytest.approx(0.0, abs=1e-10)
    assert envs.step(torch.ones(1, 2)).next_obs.dtype == torch.float32


def test_a_time_limit_truncates_and_the_next_episode_begins() -> None:
    envs = GymEnvs(ENV_ID)
    envs.reset([0])
    steps = [envs.step(torch.zeros(1, 2)) for _ in range(5)]
    assert [bool(step.truncated) for step in steps] == [False] * 4 + [True]
    assert not any(step.terminated for step in steps)
    assert torch.equal(steps[3].obs, steps[3].next_obs)
    assert not torch.equal(steps[4].obs, steps[4].next_obs)


def test_pendulum_equals_gymnasiums_own() -> None:
    envs, own = GymEnvs("Pendulum-v1"), gymnasium.make("Pendulum-v1")
    own.reset(seed=7)  # GymEnvs seeds with one reset and begins with another
    expected, _ = own.reset()
    np.testing.assert_array_equal(envs.reset([7])[0], expected)
    for action in np.linspace(-1, 1, 20, dtype=np.float32):
        obs, reward, *_ = own.step(np.array([2 * action], np.float32))
        step = envs.step(torch.tensor([[action]]))
        np.testing.assert_allclose(step.obs[0], obs, rtol=1e-5)
        assert step.reward.item() == pytest.approx(reward, rel=1e-6)


def test_action_repeat_sums_rewards_and_stops_at_the_end() -> None:
    once, twice = GymEnvs("Pendulum-v1"), GymEnvs("Pendulum-v1", action_repeat=2)
    once.reset([1])
    twice.reset([1])
    action = torch.tensor([[0.3]])
    single = [once.step(action) for _ in range(2)]
    double = twice.step(action)
    torch.testing.assert_close(double.reward, single[0].reward + single[1].reward)
    assert torch.equal(double.obs, single[1].obs)
    three = GymEnvs(ENV_ID, action_repeat=3)
    three.reset([0])
    assert [bool(three.step(torch.zeros(1, 2)).truncated) for _ in range(2)] == [False, True]


@pytest.mark.parametrize("env_id", [ENV_ID, "Pendulum-v1", "InvertedPendulum-v5", "Hopper-v5"])
def test_a_saved_state_continues_exactly(env_id: str, tmp_path: Path) -> None:
    first, second = GymEnvs(env_id, num_envs=2), GymEnvs(env_id, num_envs=2)
    first.reset([1, 2])
    generator = torch.Generator().manual_seed(0)
    actions = [torch.rand(2, first.action_dim, generator=generator) * 2 - 1 for _ in range(70)]
    for action in actions[:33]:
        step = first.step(action)
    torch.save(first.state_dict(), tmp_path / "state")
    obs = second.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert torch.equal(obs, step.obs)
    for action in actions[33:]:
        a, b = first.step(action), second.step(action)
        for name in ("obs", "next_obs", "reward", "terminated", "truncated"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("CartPole-v1", "finite bounds"),
        ("NoSuchWorld-v0", "cannot make"),
    ],
)
def test_worlds_that_do_not_fit_are_refused(env_id: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        GymEnvs(env_id)


def test_an_argument_that_there_is_not_is_refused() -> None:
    with pytest.raises(UserError, match="colour"):
        GymEnvs(ENV_ID, env_kwargs={"colour": "red"})


def test_another_number_of_environments_is_refused() -> None:
    with pytest.raises(UserError, match="num_envs"):
        GymEnvs(ENV_ID).load_state_dict({"began": [{}, {}], "taken": [torch.empty(0, 2)] * 2})


def test_echo_is_registered_for_these_tests() -> None:
    assert isinstance(gymnasium.make(ENV_ID).unwrapped, Echo)

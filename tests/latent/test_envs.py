"""The two environments are Gymnasium environments like any other, and the batched world keeps its promises."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from toy_tuner import LATENTS, toy_tuner

from handgen.errors import UserError
from handgen.latent.transform import observation_size
from handgen.vae import VAE

TINY_VAE: dict[str, Any] = {"image_size": 16, "latent_dim": 3, "width": 4, "kl_warmup_steps": 0}


def tuner_env(**settings: Any) -> gymnasium.Env:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return gymnasium.make("handgen/LatentTuner-v0", vae=VAE(**TINY_VAE), images=images, batch_size=4, **settings)


@pytest.mark.filterwarnings("ignore:.*infinity.*")
def test_the_latent_tuner_is_a_gymnasium_environment() -> None:
    check_env(tuner_env().unwrapped, skip_render_check=True)


@pytest.mark.filterwarnings("ignore:.*infinity.*")
@pytest.mark.parametrize("length", [1, 2])
def test_the_latent_repair_is_a_gymnasium_environment(
    length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = toy_tuner(tmp_path, monkeypatch, episode_length=length).world(1)
    env = gymnasium.make("handgen/LatentRepair-v0", world=world, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.reset(seed=0)
    ended = [env.step(env.action_space.sample())[2] for _ in range(length)]
    assert ended == [False] * (length - 1) + [True]
    assert env.render().shape == (64, 64, 3)


def test_the_tuner_is_rewarded_by_the_fall_of_the_loss() -> None:
    env = tuner_env(scale=2.0, episode_length=2)
    obs, _ = env.reset(seed=0)
    assert obs.shape == (observation_size(3),) and env.action_space.shape == (6,)
    obs, reward, terminated, _, first = env.step(np.zeros(6, np.float32))
    assert reward == 0.0  # at t = 1 there is no loss to fall from
    assert obs[-1] == pytest.approx(first["loss"]) and not terminated
    _, reward, terminated, _, second = env.step(np.zeros(6, np.float32))
    assert reward == pytest.approx(-2.0 * (second["loss"] - first["loss"]), rel=1e-4) and terminated
    env.reset()  # the VAE goes on
    _, reward, _, _, third = env.step(np.zeros(6, np.float32))
    assert reward == pytest.approx(-2.0 * (third["loss"] - second["loss"]), rel=1e-4)


def test_an_action_is_a_bounded_shift_and_scale_of_the_latents() -> None:
    env = tuner_env(max_shift=0.5, max_log_scale=0.25).unwrapped
    env.reset(seed=0)
    env.transform.set(torch.tensor([1.0, -1.0, 0.0, 1.0, 0.0, -1.0]), torch.tensor([2.0, 4.0, 1.0]))
    torch.testing.assert_close(env.transform.shift, torch.tensor([1.0, -2.0, 0.0]))
    torch.testing.assert_close(env.transform.log_scale, torch.tensor([0.25, 0.0, -0.25]))
    latent = torch.randn(5, 3)
    torch.testing.assert_close(env.transform.inverse(env.transform(latent)), latent)


@pytest.mark.parametrize("settings", [{"scale": 0.0}, {"scale": -1.0}, {"episode_length": 0}, {"max_shift": 0.0}])
def test_settings_without_sense_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UserError):
        tuner_env(**settings)


def test_a_displacement_is_bounded_and_in_standard_deviations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, scale=0.5)
    tuner.reward.deviation.fill_(3.0)
    world = tuner.world(4)
    start = world.reset([1, 2, 3, 4])
    step = world.step(torch.ones(4, LATENTS))
    torch.testing.assert_close(step.next_obs, start + 0.5)
    torch.testing.assert_close(tuner.reward.to_latent(step.next_obs), tuner.reward.to_latent(start) + 1.5)
    assert step.terminated.all() and not step.truncated.any()


def test_seeds_decide_the_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = toy_tuner(tmp_path, monkeypatch).world(3)
    first = world.reset([7, 8, 9])
    assert not torch.equal(world.reset([7, 8, 10]), first)
    assert torch.equal(world.reset([7, 8, 9]), first)


def test_longer_episodes_are_paid_for_improvement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuner = toy_tuner(tmp_path, monkeypatch, episode_length=3, displacement_weight=0.0, views=1)
    world = tuner.world(4)
    start = world.reset([1, 2, 3, 4])[:, :LATENTS]
    steps = [world.step(torch.full((4, LATENTS), action)) for action in (0.2, -0.5, 0.9)]
    last = steps[-1].next_obs[:, :LATENTS]
    gained = torch.stack([step.reward for step in steps]).sum(0)
    torch.testing.assert_close(gained, tuner.potential(last) - tuner.potential(start))
    assert [float(step.next_obs[0, -1]) for step in steps] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert steps[-1].obs[0, -1] == 0.0

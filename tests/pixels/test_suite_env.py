"""Suite tasks as stacks of frames: stacking, repeats, seeds, ends, the renderers, clear refusals."""

import os
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from opengl import needs_gl

import handgen.pixels  # noqa: F401  # registers the environment
from handgen.errors import UserError

pytest.importorskip("dm_control")
ENV_ID = "handgen/CartpolePixels-v0"


def make(**settings: Any) -> gymnasium.Env:
    """The world itself, small unless said otherwise."""
    return gymnasium.make(ENV_ID, **{"size": 32, **settings}).unwrapped


@needs_gl
@pytest.mark.filterwarnings("ignore:.*image.*")
def test_pixels_keep_gymnasiums_rules() -> None:
    check_env(make(render_mode="rgb_array"))


@pytest.mark.filterwarnings("ignore:.*infinity.*")
def test_numbers_keep_gymnasiums_rules() -> None:
    env = make(observe="state")
    check_env(env, skip_render_check=True)
    obs, info = env.reset(seed=0)
    x, cosine, sine = obs[:3]
    assert obs.shape == (5,) and obs.dtype == np.float32
    np.testing.assert_allclose((x, cosine, sine), (info["x"], np.cos(info["angle"]), np.sin(info["angle"])), atol=1e-6)


@needs_gl
def test_the_defaults_are_those_of_the_papers() -> None:
    env = gymnasium.make(ENV_ID)
    obs, _ = env.reset(seed=0)
    assert obs.shape == (9, 84, 84) and obs.dtype == np.uint8
    assert env.unwrapped.action_repeat == 8
    assert env.action_space == gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)


@needs_gl
def test_a_stack_holds_the_last_frames_newest_last() -> None:
    stacked, single = make(), make(frame_stack=1)
    first, _ = single.reset(seed=4)
    obs, _ = stacked.reset(seed=4)
    frames = [first] * 3
    np.testing.assert_array_equal(obs, np.concatenate(frames))
    for action in ([1.0], [1.0], [-1.0], [1.0]):
        frames = [*frames[1:], single.step(np.array(action, np.float32))[0]]
        np.testing.assert_array_equal(stacked.step(np.array(action, np.float32))[0], np.concatenate(frames))
    assert (frames[0] != frames[2]).any()


def test_a_decision_is_eight_steps_of_the_simulator() -> None:
    repeated, single = make(observe="state"), make(observe="state", action_repeat=1)
    repeated.reset(seed=1)
    single.reset(seed=1)
    action = np.array([0.7], np.float32)
    obs, reward, *_ = repeated.step(action)
    steps = [single.step(action) for _ in range(8)]
    np.testing.assert_array_equal(obs, steps[-1][0])
    assert reward == pytest.approx(sum(step[1] for step in steps))


@pytest.mark.parametrize(("action_repeat", "decisions"), [(8, 125), (300, 4)])
def test_an_episode_is_cut_off_after_a_thousand_steps(action_repeat: int, decisions: int) -> None:
    env = make(observe="state", action_repeat=action_repeat)
    env.reset(seed=0)
    ends = [env.step(np.zeros(1, np.float32))[2:4] for _ in range(decisions)]
    assert ends == [(False, False)] * (decisions - 1) + [(False, True)]


def test_a_task_can_end_by_itself() -> None:
    env = make(domain="lqr", task="lqr_2_1", observe="state", action_repeat=50)  # ends where the state is near zero
    env.reset(seed=0, options={"physics_state": np.zeros(4)})
    assert env.step(np.zeros(1, np.float32))[2:4] == (True, False)


def test_seeds_decide_episodes_and_nothing_else_does() -> None:
    first, second = make(observe="state"), make(observe="state")
    first.reset(seed=9)
    np.random.seed(0)  # noqa: NPY002  # the global state must not matter
    second.reset(seed=9)
    for env in (first, second):
        env.step(np.ones(1, np.float32))
    np.testing.assert_array_equal(first.reset()[0], second.reset()[0])
    assert (first.reset()[0] != first.reset()[0]).any()


@needs_gl
def test_an_episode_begins_where_it_is_told_to() -> None:
    env = make()
    state = np.array([0.3, -0.5, 0.1, 0.2])
    obs, info = env.reset(seed=0, options={"physics_state": state})
    np.testing.assert_array_equal(info["physics_state"], state)
    assert info["position"].dtype == info["velocity"].dtype == np.float64
    assert (info["x"], info["angle"]) == pytest.approx((0.3, -0.5))
    other, _ = env.reset(seed=0, options={"physics_state": np.array([0.3, 0.5, 0.1, 0.2])})
    assert (obs != other).any()


@pytest.mark.parametrize(
    ("angle", "wrapped"), [(np.pi, np.pi), (-np.pi, np.pi), (3.5, 3.5 - 2 * np.pi), (7.0, 7.0 - 2 * np.pi)]
)
def test_the_angle_is_wrapped(angle: float, wrapped: float) -> None:
    info = make(observe="state").reset(options={"physics_state": np.array([0.0, angle, 0.0, 0.0])})[1]
    assert info["angle"] == pytest.approx(wrapped)


@needs_gl
def test_paper_frames_are_those_of_dm_control() -> None:
    env = make(render="paper", frame_stack=1, size=84)
    obs, _ = env.reset(seed=0)
    np.testing.assert_array_equal(obs.transpose(1, 2, 0), env.physics.render(84, 84, camera_id=0))
    fast, _ = make(frame_stack=1, size=84).reset(seed=0)
    assert 0 < np.abs(obs.astype(float) - fast).mean() < 5  # no shadow, jagged edges, the same scene


@needs_gl
def test_supersampling_is_the_mean_of_finer_pixels() -> None:
    fine, _ = make(frame_stack=1, size=64).reset(seed=0)
    smooth, _ = make(frame_stack=1, size=32, supersampling=2).reset(seed=0)
    np.testing.assert_allclose(smooth, fine.reshape(3, 32, 2, 32, 2).mean((2, 4)), atol=0.5)


@needs_gl
def test_videos_are_larger_than_observations() -> None:
    env = make(render_mode="rgb_array", video_size=720)
    obs, _ = env.reset(seed=0)
    assert env.render().shape == (720, 720, 3)
    np.testing.assert_array_equal(obs[-3:], env._frame(32))  # drawing one does not disturb the other
    assert env.metadata["render_fps"] == 12
    assert make().render() is None


@needs_gl
def test_other_tasks_are_worlds_too() -> None:
    env = make(domain="reacher", task="easy", action_repeat=4)
    obs, info = env.reset(seed=0)
    assert obs.shape == (9, 32, 32) and env.action_space.shape == (2,) and "x" not in info


def test_a_task_without_a_time_limit_is_cut_off() -> None:
    env = make(domain="lqr", task="lqr_2_1", action_repeat=100, observe="state")
    env.reset(seed=0)
    # Random forces may throw this world beyond what MuJoCo can follow.
    still = np.zeros(env.action_space.shape, np.float32)
    ends = [env.step(still)[2:4] for _ in range(10)]
    assert ends == [(False, False)] * 9 + [(False, True)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "swingop"}, "cartpole swingup"),
        ({"domain": "cart_pole"}, "cartpole swingup"),
        ({"size": 15}, "16 or more"),
        ({"frame_stack": 0}, "frame_stack"),
        ({"action_repeat": 0}, "action_repeat"),
        ({"supersampling": 0}, "supersampling"),
        ({"camera": 7}, "cameras 0 to 1"),
        ({"render": "nice"}, "fast or paper"),
        ({"observe": "sound"}, "pixels or state"),
        ({"size": "large"}, "whole number"),
        ({"camera": "side"}, "whole number"),
    ],
)
def test_bad_settings_get_one_clear_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make(**{"observe": "state", **settings})
    assert "\n" not in str(caught.value)


def test_numbers_need_no_opengl_and_pixels_say_so() -> None:
    program = f"""
import gymnasium
import handgen.pixels
from handgen.errors import UserError

assert gymnasium.make("{ENV_ID}", observe="state").reset(seed=0)[0].shape == (5,)
try:
    gymnasium.make("{ENV_ID}").reset(seed=0)
except UserError as error:
    print(error)
"""
    surroundings = {**os.environ, "MUJOCO_GL": "off"}
    done = subprocess.run([sys.executable, "-c", program], env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cannot render with MUJOCO_GL=off") and done.stdout.count("\n") == 1

"""Painting as Gymnasium environments."""

from typing import cast

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import handgen.painter
from handgen.errors import UserError
from handgen.painter.env import ScenesEnv


def make(**settings: object) -> gymnasium.Env:
    assert handgen.painter.__doc__  # importing it registers the environments
    return gymnasium.make("handgen/Paint-v0", **settings)


@pytest.mark.parametrize("table", ["fast", "fast_grey", "paper"])
def test_keeps_to_gymnasiums_rules(table: str) -> None:
    channels = 1 if table.endswith("grey") else 3
    check_env(make(table=table, size=32, channels=channels, length=3).unwrapped, skip_render_check=True)
    target = np.zeros((32, 32, channels), np.uint8)
    check_env(make(table=table, size=32, channels=channels, target=target).unwrapped, skip_render_check=True)


def test_continuous_actions_have_names() -> None:
    env = make(table="free_grey", size=32, channels=1, length=3).unwrapped
    check_env(env, skip_render_check=True)
    env.reset(seed=0)
    action = dict.fromkeys(env.table.names, 0.1) | {"draw": 1}
    obs, *_ = env.step(action)
    assert obs["canvas"].min() < 128
    with pytest.raises(UserError, match=r"end_x lies in \[0, 1\]"):
        env.step(action | {"end_x": 1.5})


def test_ink_on_a_black_target_pays_what_the_error_loses() -> None:
    env = make(table="fast_grey", size=32, channels=1, length=2, target=np.zeros((32, 32, 1), np.uint8))
    obs, info = env.reset(seed=0)
    assert obs["canvas"].min() == 255 and info["actions_left"] == 2
    obs, reward, terminated, truncated, _ = env.step(np.array([1, 31, 31, 16, 16, 7]))
    error = (obs["canvas"] / 255.0).astype(np.float64)
    assert reward == pytest.approx(1.0 - np.square(error).mean(), abs=1e-2) and reward > 0
    assert not terminated and not truncated
    assert env.step(np.zeros(6, np.int64))[3]
    assert env.unwrapped.render().shape == (32, 32, 3)


def test_bad_input_is_told_in_one_line() -> None:
    env = make(size=32)
    env.reset(seed=0)
    with pytest.raises(UserError, match="choices"):
        env.unwrapped.step(np.array([2, 0, 0, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(UserError, match="not a number"):
        env.unwrapped.step(np.full(9, np.nan))
    with pytest.raises(UserError, match="has also draw"):
        env.unwrapped.step({})
    with pytest.raises(UserError, match="without a target"):
        env.reset(options={"target": np.zeros((32, 32, 3), np.uint8)})
    with pytest.raises(UserError, match="as the canvas is"):
        make(size=32, target=np.zeros((28, 28, 3), np.uint8))
    with pytest.raises(UserError, match="engine"):
        make(engine="oil")
    with pytest.raises(UserError, match="multiple"):
        make(size=30)


@pytest.mark.parametrize("table", ["scene", "scene_place_first"])
def test_scenes_keep_to_gymnasiums_rules(table: str) -> None:
    try:
        env = gymnasium.make("handgen/Scenes-v0", table=table, size=32)
    except UserError as error:
        pytest.skip(str(error))
    check_env(env.unwrapped, skip_render_check=True)
    assert cast(ScenesEnv, env.unwrapped).table.name == table
    env.close()
    with pytest.raises(UserError, match="is of strokes"):
        gymnasium.make("handgen/Scenes-v0", table="fast")

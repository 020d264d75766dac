"""``handgen/ArmImitation-v0``: Gymnasium's contract, the published reward, and one line for whatever is wrong."""

from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from hand_pictures import write_hands

from handgen.arm.body import HIGH, LOW
from handgen.arm.env import ArmImitation
from handgen.arm.feeds import Film
from handgen.arm.target import Target
from handgen.datamodules.envs import GymEnvs
from handgen.errors import UserError


def make(**kwargs: Any) -> ArmImitation:
    return ArmImitation(**{"observe": "masks", "renderer": "drawn", "epsilon": 0, **kwargs})


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"observe": "masks", "renderer": "drawn"}, {"observe": "dict", "action": "increments", "reward": "mix"}],
)
@pytest.mark.filterwarnings("ignore:.*symmetric and normalized space")
@pytest.mark.filterwarnings("ignore:.*not have.*image")
def test_gymnasium_s_own_check(kwargs: dict[str, Any]) -> None:
    check_env(gymnasium.make("handgen/ArmImitation-v0", **kwargs).unwrapped, skip_render_check=True)


def test_the_published_observation_target_beside_arm() -> None:
    env = ArmImitation()
    obs, _ = env.reset(seed=0)
    assert obs.shape == (3, 56, 112) and obs.dtype == np.uint8
    np.testing.assert_array_equal(obs[:, :, :56], np.moveaxis(env.target.picture, 2, 0))
    np.testing.assert_array_equal(obs[:, :, 56:], np.moveaxis(env.simulator.camera(56)[0], 2, 0))


@pytest.mark.parametrize("renderer", ["bullet", "drawn"])
def test_the_published_reward_counts_pixels(renderer: str) -> None:
    env = make(renderer=renderer, feed="synthetic")
    env.reset(seed=1)
    obs, reward, *_, info = env.step(np.zeros(12, np.float32))
    target, arm = obs[0, :, :56] > 0, obs[0, :, 56:] > 0
    assert reward == -float((target != arm).sum()) and info["mismatch"] == pytest.approx(-reward / 3136)
    assert info["iou"] == pytest.approx((target & arm).sum() / (target | arm).sum())
    assert "joint_error" not in info


def test_the_other_rewards() -> None:
    joints = np.full(12, 0.5, np.float32)
    for reward in ("iou", "mix"):
        env = make(reward=reward, reward_scale=2.0)
        env.reset(seed=2)
        before = env.joints
        _, value, *_, info = env.step(joints)
        cost = 0.02 * np.abs(info["joints"] - before).mean() if reward == "mix" else 0.0
        assert value == pytest.approx(2.0 * (info["iou"] - cost))


def test_the_true_pose_succeeds() -> None:
    env = ArmImitation(episode_decisions=3)
    env.reset(seed=3)
    assert env.target.joints is not None
    _, reward, terminated, truncated, info = env.step(env.target.joints.astype(np.float32))
    assert terminated and not truncated and info["success"]
    assert info["joint_error"] < 0.02 and info["iou"] > 0.97 and reward > -40


def test_a_time_limit_truncates() -> None:
    env = make(episode_decisions=2)
    env.reset(seed=4)
    ends = [env.step(np.zeros(12, np.float32))[2:4] for _ in range(2)]
    assert ends == [(False, False), (False, True)]


def test_increments_move_from_where_the_arm_is() -> None:
    env = make(action="increments", episode_decisions=9)
    env.reset(seed=5)
    for _ in range(3):
        *_, info = env.step(np.full(12, 0.2, np.float32))
    np.testing.assert_allclose(info["joints"][:10], 0.6, atol=0.02)
    for _ in range(5):
        *_, info = env.step(np.full(12, -0.4, np.float32))
    np.testing.assert_allclose(info["joints"], LOW, atol=0.02)
    assert np.all(info["joints"] <= np.array(HIGH))


def test_seeds_decide() -> None:
    first, second = make(feed=["rendered", "synthetic"]), make(feed=["rendered", "synthetic"])
    shown = []
    for env in (first, second):
        env.reset(seed=6)
        shown.append([(env.reset()[1]["dataset"], env.target_index) for _ in range(6)])
    assert shown[0] == shown[1] and {name for name, _ in shown[0]} == {"rendered", "synthetic"}


def test_a_target_can_be_asked_for() -> None:
    env = make(feed="rendered", split="test")
    masks = [env.reset(options={"index": 7})[0] for _ in range(2)]
    np.testing.assert_array_equal(*masks)
    assert env.target_index == 7


def test_the_mirrored_arm_sees_the_mirror_image() -> None:
    plain, mirrored = make(), make(mirror=True)
    left, right = (env.reset(options={"index": 1})[0][0, :, :56] for env in (plain, mirrored))
    np.testing.assert_array_equal(left, right[:, ::-1])
    joints = np.array([0.2] * 10 + [0.3, -0.4], np.float32)
    turned = joints * np.array([1.0] * 10 + [-1.0, -1.0], np.float32)
    one, other = (env.step(angles)[0][0, :, 56:] > 0 for env, angles in ((plain, joints), (mirrored, turned)))
    assert (one != other[:, ::-1]).mean() < 0.02


def test_the_mirrored_arm_s_true_pose_is_that_of_the_mirror_image() -> None:
    env = ArmImitation(mirror=True, observe="masks")
    _, info = env.reset(seed=8)
    while np.abs(env.target.joints[10:]).min() < 0.1:  # type: ignore[index]
        env.reset()
    *_, info = env.step(env.target.joints.astype(np.float32))  # type: ignore[union-attr]
    assert info["joint_error"] < 0.02 and info["iou"] > 0.97


class Blank(Film):
    """A camera before a white wall."""

    def __init__(self) -> None:
        self.name, self.looks = "0", 0

    def __len__(self) -> int:
        return 0

    def target(self, index: int, size: int) -> Target:
        self.looks += 1
        raise ValueError("no hand stands out from the background")


def test_a_camera_that_shows_no_hand_is_given_up() -> None:
    env, camera = make(), Blank()
    env.feeds = [camera]
    with pytest.raises(UserError, match="the feed 0 shows no hand in 100 pictures"):
        env.reset(seed=0)
    assert camera.looks == 100


def test_every_target_is_shown_once_before_any_comes_again() -> None:
    env = make(count=7)
    laps = [
        [env.reset(seed=3 if lap + place == 0 else None)[1]["target_index"] for place in range(7)] for lap in (0, 1)
    ]
    assert [sorted(lap) for lap in laps] == [list(range(7))] * 2 and laps[0] != laps[1]


def test_shares_of_the_targets_do_not_meet() -> None:
    shown = []
    for share in range(2):
        env = make(count=7, share=share, shares=2)
        shown.append({env.reset(seed=5 + share if n == 0 else None)[1]["target_index"] for n in range(4)})
    assert shown == [{0, 2, 4, 6}, {1, 3, 5}]


def test_the_order_of_targets_goes_on_where_it_was_saved() -> None:
    kwargs = {"observe": "masks", "renderer": "drawn", "count": 9, "episode_decisions": 2, "epsilon": 0}
    envs = GymEnvs("handgen/ArmImitation-v0", 2, env_kwargs=kwargs)
    envs.reset([1, 2])
    actions = torch.rand(12, 2, 12, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    for action in actions[:5]:
        envs.step(action)
    saved = envs.state_dict()
    wanted = [envs.step(action).obs for action in actions[5:]]
    again = GymEnvs("handgen/ArmImitation-v0", 2, env_kwargs=kwargs)
    again.load_state_dict(saved)
    assert all(torch.equal(again.step(action).obs, obs) for action, obs in zip(actions[5:], wanted, strict=True))
    envs.close()
    again.close()


def test_closing_closes_every_world() -> None:
    env = ArmImitation(feed="rendered")
    assert env.poser is not None
    env.close()
    assert env.simulator.client == env.poser.client == -1


class Film(Blank):
    """Three pictures without a hand."""

    def __len__(self) -> int:
        return 3

    def target(self, index: int, size: int) -> Target:
        if index == 3:
            raise IndexError(index)
        return super().target(index, size)


def test_a_film_without_a_hand_is_told_as_such() -> None:
    env = make()
    env.feeds = [Film()]
    with pytest.raises(UserError, match="shows no hand in 3 pictures: no hand stands out"):
        env.reset()


def test_a_film_is_followed_and_its_end_is_told(tmp_path: Path) -> None:
    write_hands(tmp_path, 2)
    env = make(feed=str(tmp_path / "hand_%04d.png"))
    assert [env.reset()[1]["target_index"] for _ in range(2)] == [0, 1]
    with pytest.raises(UserError, match="has ended after 2 pictures"):
        env.reset()


def test_pictures_of_any_aspect_are_framed(tmp_path: Path) -> None:
    write_hands(tmp_path, 1)
    picture = cv2.imread(str(tmp_path / "hand_0000.png"))
    wide = cv2.copyMakeBorder(picture, 0, 0, 90, 150, cv2.BORDER_REPLICATE)
    cv2.imwrite(str(tmp_path / "hand_0000.png"), wide)
    obs, _ = make(feed=str(tmp_path), split="all").reset(seed=0)
    assert obs.shape == (1, 56, 112) and 0.1 < (obs[..., :56] > 0).mean() < 0.5


def test_what_is_shown_to_people() -> None:
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None and picture.shape == (224, 672, 3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"observe": "smells"}, "unknown observe 'smells'"),
        ({"reward": "money"}, "unknown reward 'money'"),
        ({"size": 8}, "size"),
        ({"episode_decisions": 0}, "episode_decisions"),
        ({"renderer": "drawn", "observe": "pictures"}, "renderer=drawn knows masks"),
        ({"feed": []}, "the feed is empty"),
        ({"mirror": True, "urdf": "arm.urdf"}, "mirror=true turns our own arm alone"),
        ({"split": "tset"}, "rendered has no split 'tset'"),
        ({"feed": "nowhere"}, "no such feed"),
    ],
)
def test_impossible_settings_are_named(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ArmImitation(**kwargs)


def test_an_action_that_is_no_number_is_refused() -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(UserError, match="finite"):
        env.step(np.full(12, np.nan, np.float32))

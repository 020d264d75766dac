"""Grading and filming the arm: a policy that knows the truth is graded perfect, and a film is followed to its end."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hand_pictures import write_hands
from torch import Tensor

from handgen.arm.body import FITTED
from handgen.arm.drawing import visible_digits
from handgen.arm.env import ArmImitation
from handgen.arm.evaluation import chosen, imitate_targets, joint_errors, measure, person_measurement
from handgen.arm.film import DECISIONS, follow
from handgen.arm.fit_body import descend, search
from handgen.arm.geometry import actions_of, as_tensors, joints_of, random_joints, soft_silhouette
from handgen.arm.signs import OPEN, SIGNS, UNKNOWN, digit_angles, digits_right
from handgen.callbacks.arm_evaluation import ArmEvaluation, usable
from handgen.errors import UserError


def arm(**kwargs: object) -> ArmImitation:
    return ArmImitation(**{"observe": "masks", "episode_decisions": 2, **kwargs})  # type: ignore[arg-type]


def test_who_knows_the_pose_is_graded_perfect() -> None:
    env = arm(feed="rendered", split="test", epsilon=30)

    def truth(obs: Tensor) -> Tensor:
        assert env.target.joints is not None and obs.shape == (1, 1, 56, 112)
        return actions_of(torch.from_numpy(env.target.joints).float())[None]

    found = imitate_targets(env, truth, [0, 5, 9], shown=2, size=64)
    assert float(found.mismatch.max()) < 0.01 and float(found.joint_error.max()) < 0.01
    assert found.success.tolist() == [1.0, 1.0, 1.0]
    assert len(found.pictures) == 2 and found.pictures[0].shape == (64, 192, 3)


def test_who_does_nothing_is_graded_by_what_it_looks_like() -> None:
    env = arm(feed="synthetic", split="test")
    found = imitate_targets(env, lambda obs: torch.zeros(1, 12), [0, 1])
    env.reset(options={"index": 1})
    for _ in range(2):
        *_, info = env.step(joints_of(torch.zeros(12)).numpy())
    assert float(found.mismatch[1]) == pytest.approx(info["mismatch"])
    named = {m.metric: m for m in measure(found, "synthetic", "rl")}
    assert set(named) == {"mismatch", "mismatch_first", "iou", "success", "digits_right"}
    assert named["iou"].n == 2 and named["iou"].dataset == "synthetic" and named["iou"].variant == "rl"


def test_joints_of_fingers_that_no_silhouette_shows_are_left_out() -> None:
    truth, found = np.zeros(12), np.zeros(12)
    truth[6:8] = 1.55  # the ring finger lies before the palm
    assert visible_digits(as_tensors(FITTED), torch.from_numpy(truth).float(), 56, 10).tolist() == [True] * 3 + [
        False,
        True,
    ]
    found[6:8] += 0.6
    found[11] = 0.1
    every, visible = joint_errors(truth, found, 56)
    assert every == pytest.approx((2 * 0.95 + 0.1) / 12) and visible == pytest.approx(0.1 / 10)
    assert np.isnan(joint_errors(None, found, 56)).all()


def test_digits_are_right_if_all_that_are_known_are_raised_or_folded_as_said() -> None:
    seven = digit_angles(SIGNS["7"])  # thumb and ring finger meet
    joints = np.zeros(12)
    assert digits_right(seven, joints) == 0.0
    joints[[0, 1, 6, 7]] = 0.7
    assert digits_right(seven, joints) == 1.0
    joints[2:4] = 0.6  # a forefinger that is bent by more than half of the way
    assert digits_right(seven, joints) == 0.0
    folded = np.full(12, 1.5)
    folded[2:10] = 0.2
    assert digits_right(digit_angles(OPEN), folded) == 0.0  # an open hand's thumb is stretched
    assert digits_right(digit_angles((UNKNOWN, *OPEN[1:])), folded) == 1.0
    assert np.isnan(digits_right(digit_angles(None), folded))


def test_a_person_s_pictures_count_as_one() -> None:
    generator = torch.Generator().manual_seed(0)
    of_person = torch.randn(20, generator=generator).double()
    values, persons = of_person.repeat_interleave(10), [str(n) for n in range(20) for _ in range(10)]
    alike = person_measurement("mismatch", values, persons)
    apart = person_measurement("mismatch", values, [str(n) for n in range(200)])
    assert alike.value == pytest.approx(apart.value) and alike.n == 200
    half = 2.0 * float(of_person.std()) / 20**0.5
    assert alike.high - alike.low == pytest.approx(2 * half, rel=0.2)  # type: ignore[operator]
    assert apart.high - apart.low < 0.4 * (alike.high - alike.low)  # type: ignore[operator]


class Run:
    """A trainer with settings of a data module."""

    def __init__(self, **env_kwargs: object) -> None:
        self.env_kwargs, self.feeds, self.imitation_updates = env_kwargs, ["rendered"], 0
        self.datamodule = self


def test_all_methods_are_graded_by_the_same_epsilon() -> None:
    grading = ArmEvaluation(epsilon=150)
    for epsilon, size, wanted in ((0, 56, 150), (300, 56, 150), (0, 28, 38)):
        env = grading._open(Run(observe="masks", epsilon=epsilon, size=size), "rendered", "val")  # type: ignore[arg-type]
        assert env is not None and env.epsilon == wanted
        env.close()


def test_a_misspelt_data_set_is_told_and_one_that_is_learnt_from_must_be_there() -> None:
    run = Run()
    with pytest.warns(UserWarning, match="the arm is not graded on hand11k: no such feed"):
        assert ArmEvaluation()._open(run, "hand11k", "val") is None  # type: ignore[arg-type]
    run.feeds = ["hand11k"]
    with pytest.raises(UserError, match="no such feed"):
        ArmEvaluation()._open(run, "hand11k", "val")  # type: ignore[arg-type]


class Policy:
    """One that has been rewarded."""

    rewarded = torch.tensor(True)

    def act(self, obs: Tensor, deterministic: bool) -> Tensor:
        return torch.zeros(1, 12)

    def imitate(self, obs: Tensor) -> Tensor:
        return torch.ones(1, 12)


def test_without_a_warm_start_there_is_no_imitation_to_grade(monkeypatch: pytest.MonkeyPatch) -> None:
    graded: list[float] = []
    monkeypatch.setattr(
        ArmEvaluation, "_imitate", lambda self, trainer, name, split, act, *rest: graded.append(float(act(None).mean()))
    )
    run = Run()
    run.is_global_zero, run.loggers = True, []  # type: ignore[attr-defined]
    for updates, wanted in ((0, [0.0]), (5, [1.0, 0.0])):
        graded.clear()
        run.imitation_updates = updates
        ArmEvaluation(feeds=["rendered"]).on_test_end(run, Policy())  # type: ignore[arg-type]
        assert graded == wanted


def test_targets_without_a_hand_are_left_out_and_none_at_all_is_refused(tmp_path: Path) -> None:
    write_hands(tmp_path, 2)
    (tmp_path / "a.png").write_bytes(b"no picture")
    env = arm(feed=str(tmp_path), split="all")
    assert usable(env, [0, 1, 2]) == [1, 2]
    with pytest.raises(UserError, match="shows no hand in 1 targets"):
        usable(env, [0])
    with pytest.raises(UserError, match="there is none"):
        usable(env, [])


def test_targets_are_chosen_evenly() -> None:
    assert chosen(101, 5) == [0, 25, 50, 75, 100] and chosen(3, 9) == [0, 1, 2] and chosen(3, 0) == []


def test_a_film_is_followed_to_its_end(tmp_path: Path) -> None:
    write_hands(tmp_path, 3)
    env = arm(feed=str(tmp_path / "hand_%04d.png"))
    frames = follow(env, lambda obs: torch.full((1, 12), 0.2), count=10)
    assert frames.shape == (3 * DECISIONS, 3, 224, 672) and frames.dtype == torch.uint8
    assert not torch.equal(frames[0, :, :, :224], frames[-1, :, :, :224])


def test_between_pictures_the_arm_stays_as_it_is(tmp_path: Path) -> None:
    write_hands(tmp_path, 2)
    env = arm(feed=str(tmp_path), split="all")
    env.reset(options={"index": 0})
    env.step(np.full(12, 0.5, np.float32))
    _, info = env.reset(options={"index": 1, "keep_pose": True})
    np.testing.assert_allclose(info["joints"], 0.5, atol=0.02)


def test_a_feed_without_hands_cannot_be_followed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="shows no hand"):
        follow(arm(feed=str(tmp_path), split="all"), lambda obs: torch.zeros(1, 12), 2)


def test_poses_and_measures_are_found_again() -> None:
    measured, generator = as_tensors(FITTED), torch.Generator().manual_seed(0)
    longer = {**measured, "lengths": measured["lengths"] * 1.2}
    truth = random_joints(4, generator)
    truth[:, :10] *= 0.2
    target = (soft_silhouette(longer, truth, 56, 0.01) > 0.5).float()
    poses = search(measured, target, generator)
    _, _, stiff = descend(measured, poses, target, 60, (0.06, 0.02))
    learnt, _, free = descend(measured, poses, target, 60, (0.06, 0.02), lr=0.01, drawn=measured)
    assert float(free.mean()) < 0.8 * float(stiff.mean())
    assert float(learnt["lengths"][1:4].sum()) > float(measured["lengths"][1:4].sum())
    assert torch.equal(learnt["elbow"], measured["elbow"])

"""The arm's experience: hindsight, the newest transitions, and the warm start's batches."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from handgen.arm import sway
from handgen.arm.body import DRAWN, FITTED
from handgen.arm.drawing import draw_masks
from handgen.arm.env import ArmImitation
from handgen.arm.feeds import Photographs
from handgen.arm.geometry import as_tensors
from handgen.datamodules import arm_rollouts, framed_hands
from handgen.datamodules.arm_replay import ArmReplay, NewestTransitions
from handgen.datamodules.arm_rollouts import ArmRollouts
from handgen.datamodules.image_cache import cache_key
from handgen.errors import UserError

SIZE = 4


def transition(number: int, envs: int = 1) -> dict[str, Tensor]:
    """Target, arm before and arm after are constant pictures with values of their own."""

    def picture(value: int) -> Tensor:
        return torch.full((envs, 1, SIZE, SIZE), value, dtype=torch.uint8)

    target, before, after = picture(number), picture(100 + number), picture(200 + number)
    return {
        "obs": torch.cat([target, before], -1),
        "next_obs": torch.cat([target, after], -1),
        "action": torch.full((envs, 12), float(number)),
        "reward": torch.full((envs,), -float(number) - 1.0),
        "terminated": torch.zeros(envs, dtype=torch.bool),
        "truncated": torch.zeros(envs, dtype=torch.bool),
    }


def filled(hindsight: float) -> ArmReplay:
    replay = ArmReplay(8, 1, (1, SIZE, 2 * SIZE), 12, hindsight, best_reward=5.0)
    for number in range(6):
        replay.add(transition(number))
    return replay


def test_what_is_stored_comes_back() -> None:
    batch = filled(0.0).sample(64, torch.Generator().manual_seed(0))
    number = batch["action"][:, 0]
    for name, arm in (("obs", 100), ("next_obs", 200)):
        assert torch.equal(batch[name][:, 0, 0, 0], number.to(torch.uint8))
        assert torch.equal(batch[name][:, 0, 0, SIZE], (number + arm).to(torch.uint8))
    assert torch.equal(batch["reward"][:, 0], -number - 1.0) and not bool(batch["terminated"].any())


def test_in_hindsight_the_pose_reached_was_the_target() -> None:
    batch = filled(0.5).sample(400, torch.Generator().manual_seed(0))
    number = batch["action"][:, 0]
    changed = batch["terminated"]
    assert 0.4 < float(changed.float().mean()) < 0.6
    for name in ("obs", "next_obs"):
        assert torch.equal(batch[name][changed, 0, 0, 0], (number[changed] + 200).to(torch.uint8))
        assert torch.equal(batch[name][~changed, 0, 0, 0], number[~changed].to(torch.uint8))
    assert bool((batch["reward"][changed] == 5.0).all()) and bool((batch["reward"][~changed] < 0).all())
    assert torch.equal(batch["obs"][:, 0, 0, SIZE], (number + 100).to(torch.uint8))  # the arm before stays
    assert torch.equal(batch["hindsight"], changed)


def test_other_observations_are_refused() -> None:
    with pytest.raises(UserError, match="side by side"):
        ArmReplay(8, 1, (3, 8, 8), 12)


def test_the_newest_transitions_are_those_of_the_last_step() -> None:
    newest = NewestTransitions(2, (1, SIZE, 2 * SIZE), 12, torch.uint8)
    for number in range(3):
        newest.add(transition(number, envs=2))
    batch = newest.sample(17, torch.Generator())
    assert batch["action"][:, 0].tolist() == [2.0, 2.0] and batch["reward"].shape == (2, 1)


def rollouts(**kwargs: Any) -> ArmRollouts:
    settings = {"feeds": ["rendered", "synthetic"], "imitation_updates": 5, "imitation_batch_size": 8, "poses": 32}
    source = ArmRollouts(
        **{**settings, "drawn_hands": 6, "env_kwargs": {"observe": "masks", "renderer": "drawn", "size": 28}, **kwargs},
        seed=0,
        epoch_env_steps=60,
        warmup_decisions=4,
        replay_capacity_transitions=16,
    )
    source.setup("fit")
    return source


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path))


def test_half_of_the_warm_start_is_poses_and_half_hands() -> None:
    source = rollouts()
    batch = source.next_batch()
    assert batch["obs"].shape == (8, 1, 28, 56) and batch["mask"].shape == (8, 28, 28)
    assert torch.equal(batch["obs"][:, 0, :, :28], batch["mask"])
    known = ~batch["joints"].isnan()
    assert bool(known[:4].all())
    assert known[4:].tolist() == [[*[True] * 10, False, False]] * 4  # open hands: of the wrist nothing is known
    assert bool((batch["joints"][4:, :10] == 0.0).all())
    assert torch.equal(draw_masks(as_tensors_of_ours(), batch["joints"][:4], 28), batch["mask"][:4])
    hands = source.hands()[0].flatten(1)
    for mask in batch["mask"][4:].flatten(1):  # one of them, turned and scaled a little
        assert 0.0 < (hands != mask).float().mean(1).min() < 0.2


def as_tensors_of_ours() -> dict[str, Tensor]:
    return as_tensors(FITTED)


def test_poses_are_renewed() -> None:
    source = rollouts()
    source.next_batch()
    before = source._pool()[0].clone()
    source.next_batch()
    changed = (source._pool()[0] != before).any(1)
    assert 1 <= int(changed.sum()) <= 2


def test_the_warm_start_goes_on_where_it_was_interrupted() -> None:
    source = rollouts()
    for _ in range(2):
        source.next_batch()
    saved = source.own_state()
    pool = saved["joints"].clone()
    wanted = [source.next_batch() for _ in range(2)]
    assert torch.equal(saved["joints"], pool)  # what is replaced afterwards is not what was saved
    again = rollouts()
    again.load_own_state(saved)
    for batch in wanted:
        other = again.next_batch()
        assert torch.equal(batch["obs"], other["obs"])
        torch.testing.assert_close(batch["joints"], other["joints"], equal_nan=True)


def test_a_longer_warm_start_is_not_made_up_for_after_rewards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArmRollouts, "agent", Still())
    source = rollouts(imitation_updates=1)
    source.next_batch()
    source.next_batch()
    assert source.env_steps > 0
    again = rollouts(imitation_updates=3)
    again.load_own_state(source.own_state())
    assert "known" in again.next_batch()


def test_a_warm_start_needs_masks() -> None:
    with pytest.raises(UserError, match="silhouettes alone"):
        rollouts(env_kwargs={"observe": "pictures"})


class Still:
    """Does nothing."""

    device = torch.device("cpu")

    def act(self, obs: Tensor, deterministic: bool = False) -> Tensor:
        return torch.zeros(len(obs), 12)


def test_transitions_come_with_what_the_warm_start_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArmRollouts, "agent", Still())
    source = rollouts(imitation_updates=1, known_poses=4)
    assert "known" not in source.next_batch()
    known = source.next_batch()["known"]
    assert known["obs"].shape == (4, 1, 28, 56)
    assert known["joints"].isnan().any(1).tolist() == [False, False, True, True]
    assert torch.equal(draw_masks(as_tensors_of_ours(), known["joints"][:2], 28), known["obs"][:2, 0, :, :28])
    for kwargs in ({"known_poses": 0}, {"imitation_updates": 0}):
        source = rollouts(**{"imitation_updates": 1, **kwargs})
        assert all("known" not in source.next_batch() for _ in range(2))


def test_environments_share_the_targets() -> None:
    source = rollouts(num_envs=3, feeds=["rendered"])
    rows = [set(env.unwrapped.orders[0].rows.tolist()) for env in source._envs.envs]  # type: ignore[union-attr]
    assert sum(map(len, rows)) == len(set.union(*rows)) == 50_000


@pytest.mark.slow
def test_environments_in_processes_share_the_targets_and_resume_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArmRollouts, "agent", Still())
    settings = {"num_envs": 2, "feeds": ["rendered"], "imitation_updates": 0}
    sources = [rollouts(**settings, num_processes=count) for count in (0, 2)]
    for _ in range(4):
        here, there = (source.next_batch() for source in sources)
        assert torch.equal(here["obs"], there["obs"])
    again = rollouts(**settings, num_processes=2)
    again.load_own_state(sources[0].own_state())
    assert torch.equal(again.next_batch()["obs"], sources[0].next_batch()["obs"])
    for source in (sources[1], again):
        source._envs.close()  # type: ignore[union-attr]


@pytest.mark.parametrize(("feed", "split"), [("rendered", "test"), ("hands11k", "test"), ("mine", "all")])
def test_films_of_data_sets_show_the_test_split(
    feed: str, split: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {}

    class Noted(ArmImitation):
        def __init__(self, **kwargs: Any) -> None:
            asked.update(kwargs)
            raise UserError("noted")

    monkeypatch.setattr(arm_rollouts, "ArmImitation", Noted)
    with pytest.raises(UserError, match="noted"):
        rollouts().film(Still(), feed, 2)
    assert (asked["feed"], asked["split"]) == (feed, split)


def test_pictures_of_the_feed_are_the_same_every_time() -> None:
    pictures = [rollouts(imitation_updates=0).pictures(3) for _ in range(2)]
    assert pictures[0].shape == (3, 1, 28, 56) and torch.equal(*pictures)
    assert not torch.equal(pictures[0][0], pictures[0][1])


def test_worlds_of_evaluations_are_closed() -> None:
    source = rollouts()
    envs = source.val_dataloader().make_envs()
    source.teardown("fit")
    assert all(env.unwrapped.simulator.client == -1 for env in envs.envs)  # type: ignore[attr-defined]


@pytest.mark.parametrize("feed", ["0", "hand_%04d.png", "film.mp4"])
def test_films_and_cameras_are_no_feeds_to_learn_from(feed: str) -> None:
    with pytest.raises(UserError, match="films and cameras are no feeds to learn from"):
        rollouts(feeds=["rendered", feed])


def test_hindsight_cannot_know_the_cost_of_motion() -> None:
    with pytest.raises(UserError, match="hindsight does not know"):
        rollouts(env_kwargs={"observe": "masks", "renderer": "drawn", "size": 28, "reward": "mix"})


def test_silhouettes_are_framed_anew_when_anything_they_depend_on_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def key() -> str:
        return cache_key(framed_hands.what_decides(feed))

    feed = Photographs([Path("a.png")], "mine", [True])
    keys = [key()]
    feed.thumbs_left = [False]
    keys.append(key())
    monkeypatch.setattr(framed_hands, "FITTED", DRAWN)
    keys.append(key())
    monkeypatch.setattr(framed_hands, "RENDERER_VERSION", "other")
    keys.append(key())
    feed.thumbs_left = [None]
    keys.append(key())
    (tmp_path / "other.pt").write_bytes(b"other weights")
    monkeypatch.setattr(framed_hands, "WEIGHTS", tmp_path / "other.pt")
    keys.append(key())
    assert len(set(keys)) == 6


def test_swayed_hands_are_as_if_the_arm_leant_and_stood_nearer_or_farther(monkeypatch: pytest.MonkeyPatch) -> None:
    upright, leaning = draw_masks(as_tensors(FITTED), torch.stack([torch.zeros(12), torch.eye(12)[11] * 0.1]), 56)
    generator = torch.Generator().manual_seed(0)
    many = sway.swayed(upright.expand(200, -1, -1), generator)
    assert set(many.unique().tolist()) == {0, 255} and many.dtype == torch.uint8
    apart = (many != leaning).float().mean((1, 2))
    assert apart.min() < 0.02 < (upright != leaning).float().mean() / 5  # one of them leans as much, and is as large
    ink = (many > 0).float().mean((1, 2)) / (upright > 0).float().mean()
    assert 0.88 < ink.min() < 0.94 and 1.06 < ink.max() < 1.12
    monkeypatch.setattr(sway, "SWAY_RAD", 0.0)
    monkeypatch.setattr(sway, "SWAY_SIZE", 0.0)
    assert torch.equal(sway.swayed(upright[None], generator)[0], upright)


@pytest.mark.parametrize("wrong", [{"drawn_hands": 0}, {"known_poses": -1}])
def test_counts_out_of_range_are_named(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        ArmRollouts(env_kwargs={"observe": "masks"}, **wrong)  # type: ignore[arg-type]

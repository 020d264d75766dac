"""The replay of single frames: whatever is drawn equals what the environments showed, compared with a plain list."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from handgen.datamodules import replay_buffer
from handgen.datamodules.pixel_replay import FrameReplay
from handgen.errors import UserError

SHAPE = (2, 4, 3)  # of a frame
Settings = dict[str, Any]


class World:
    """Environments that show random frames, in episodes of random lengths from 1 to 7."""

    def __init__(self, num_envs: int, stack: int, seed: int = 0) -> None:
        self.num_envs, self.stack = num_envs, stack
        self.generator = torch.Generator().manual_seed(seed)
        self.frames = [[self.draw()] * stack for _ in range(num_envs)]
        self.left = [self.number(7) + 1 for _ in range(num_envs)]
        self.time = itertools.count()

    def number(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self.generator))

    def draw(self) -> Tensor:
        return torch.randint(256, SHAPE, generator=self.generator).to(torch.uint8)

    def shown(self) -> Tensor:
        return torch.stack([torch.cat(frames) for frames in self.frames])

    def step(self) -> dict[str, Tensor]:
        """What `FrameReplay.add` takes; rewards and actions are numbers that tell the transitions apart."""
        obs, time = self.shown(), next(self.time)
        self.frames = [[*frames[1:], self.draw()] for frames in self.frames]
        next_obs = self.shown()
        self.left = [left - 1 for left in self.left]
        ended = torch.tensor([left == 0 for left in self.left])
        terminated = ended & torch.tensor([bool(self.number(2)) for _ in self.left])
        for env in ended.nonzero()[:, 0].tolist():
            self.frames[env], self.left[env] = [self.draw()] * self.stack, self.number(7) + 1
        number = time * self.num_envs + torch.arange(self.num_envs, dtype=torch.float32)
        flags = {"terminated": terminated, "truncated": ended & ~terminated}
        return {"obs": obs, "action": number[:, None], "reward": number, "next_obs": next_obs, **flags}


def buffer(rows: int = 20, num_envs: int = 1, n_step: int = 1, stack: int = 3) -> FrameReplay:
    shape = (stack * SHAPE[0], *SHAPE[1:])
    return FrameReplay(rows * num_envs, num_envs, shape, 1, n_step, frame_stack=stack)


def draw(replay: FrameReplay, count: int = 600) -> dict[str, Tensor]:
    return replay.sample(count, torch.Generator().manual_seed(0))


def expected(story: list[dict[str, Tensor]], env: int, start: int, n_step: int) -> dict[str, Tensor]:
    """The sample that begins at a time, from the whole story as it happened."""
    window = story[start : start + n_step]
    ends = [bool(step["terminated"][env] | step["truncated"][env]) for step in window]
    length = ends.index(True) + 1 if any(ends) else n_step
    last = window[length - 1]
    return {
        "obs": window[0]["obs"][env],
        "action": window[0]["action"][env],
        "reward": torch.stack([step["reward"][env] for step in window]),
        "counted": torch.arange(n_step) < length,
        "next_obs": last["next_obs"][env],
        "terminated": last["terminated"][env],
    }


@pytest.mark.parametrize("steps", [4, 13, 20, 21, 57])  # of 20 rows: before, at and after the ring is full
@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("stack", [1, 2, 3])
def test_every_sample_is_what_happened(steps: int, n_step: int, num_envs: int, stack: int) -> None:
    replay, world = buffer(20, num_envs, n_step, stack), World(num_envs, stack, seed=steps)
    story = [world.step() for _ in range(steps)]
    for step in story:
        replay.add(step)
    batch = draw(replay)
    seen = set()
    for place in range(len(batch["reward"])):
        start, env = divmod(int(batch["action"][place]), num_envs)
        seen.add((start, env))
        for name, value in expected(story, env, start, n_step).items():
            assert torch.equal(batch[name][place], value), (name, start, env)
    oldest = steps - 20 + stack - 1 if steps >= 20 else 0
    assert seen == set(itertools.product(range(oldest, steps - n_step + 1), range(num_envs)))
    assert batch["obs"].dtype == batch["next_obs"].dtype == torch.uint8
    assert len(replay) == min(steps, 20) * num_envs


def test_every_moment_of_a_ring_that_turns() -> None:
    replay, world, story = buffer(8, num_envs=2), World(2, 3), []
    for time in range(40):
        story.append(world.step())
        replay.add(story[-1])
        batch = draw(replay, 40)
        for place in range(40):
            start, env = divmod(int(batch["action"][place]), 2)
            assert time - 8 < start <= time
            for name in ("obs", "next_obs"):
                assert torch.equal(batch[name][place], expected(story, env, start, 1)[name])


def test_single_frames_oldest_first() -> None:
    replay, world = buffer(6, num_envs=2), World(2, 3)
    story = [world.step() for _ in range(9)]
    for step in story:
        replay.add(step)
    frames = replay.frames(torch.arange(len(replay)))
    newest = torch.stack([step["obs"][env, -SHAPE[0] :] for step in story[3:] for env in range(2)])
    assert torch.equal(frames, newest)
    drawn = replay.sample_frames(300, torch.Generator().manual_seed(0))
    assert {frame.numpy().tobytes() for frame in drawn} == {frame.numpy().tobytes() for frame in newest}


def test_frames_beside_the_ring_are_few() -> None:
    replay, world = buffer(20), World(1, 3)
    ended = []
    for _ in range(70):
        step = world.step()
        replay.add(step)
        ended.append(bool(step["terminated"] | step["truncated"]))
    assert len(replay.following) == sum(ended[-20:]) + (not ended[-1])


@pytest.mark.parametrize("steps", [1, 5, 33])
def test_saved_frames_continue_in_another_buffer(steps: int, tmp_path: Path) -> None:
    first, second, world = buffer(12, 2, n_step=1), buffer(12, 2, n_step=1), World(2, 3)
    for _ in range(steps):
        first.add(world.step())
    torch.save(first.state_dict(), tmp_path / "replay")
    second.load_state_dict(torch.load(tmp_path / "replay", weights_only=True))
    for more in range(6):
        assert all(torch.equal(value, draw(second)[name]) for name, value in draw(first).items()), more
        step = world.step()
        first.add(step)
        second.add(step)


def test_a_half_filled_replay_is_saved_small(tmp_path: Path) -> None:
    replay, world = buffer(100_000), World(1, 3)
    for _ in range(5):
        replay.add(world.step())
    torch.save(replay.state_dict(), tmp_path / "replay")
    assert (tmp_path / "replay").stat().st_size < 10_000


def test_a_frame_is_stored_once() -> None:
    columns = FrameReplay(1000, 1, (9, 84, 84), 1, frame_stack=3).columns
    assert sum(column.nbytes for column in columns.values()) < 1000 * 21_200


@pytest.mark.parametrize("change", ["unlike the step before", "a start that is not repeated", "order"])
def test_observations_that_are_no_stacks_are_refused(change: str) -> None:
    replay, world = buffer(), World(1, 3)
    step = world.step()
    if change == "order":
        step = {**step, "obs": step["next_obs"].flip(1), "next_obs": step["obs"]}
    else:
        step["next_obs" if change == "unlike the step before" else "obs"][:, 0] += 1
    with pytest.raises(UserError, match="newest last"):
        replay.add(step)


def test_impossible_sizes_get_a_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="stacks of 2 frames"):
        FrameReplay(100, 1, (9, 8, 8), 1, frame_stack=2)
    with pytest.raises(UserError, match="too small for n_step=3"):
        buffer(5, n_step=3)
    with pytest.raises(UserError, match="warmup_decisions"):
        buffer().sample_frames(1, torch.Generator())
    other = buffer(8)
    with pytest.raises(UserError, match="settings"):
        other.load_state_dict(buffer(9).state_dict())
    monkeypatch.setattr(replay_buffer, "free_bytes", lambda device: 2**30)
    with pytest.raises(UserError, match="replay_capacity_transitions"):
        FrameReplay(100_000, 1, (9, 84, 84), 1, frame_stack=3)

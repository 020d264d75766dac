"""The ring of transitions: what is drawn, windows of several steps, memory, saving."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from handgen.datamodules import replay_buffer
from handgen.datamodules.replay_buffer import ReplayBuffer
from handgen.errors import UserError


def fill(buffer: ReplayBuffer, steps: int, ends: dict[int, str] | None = None, start: int = 0) -> None:
    """Write steps whose observation is their number (plus 1000 for each further environment)."""
    for t in range(start, start + steps):
        obs = t + 1000.0 * torch.arange(buffer.num_envs)[:, None]
        end = (ends or {}).get(t, "")
        flags = {name: torch.full((buffer.num_envs,), end == name) for name in ("terminated", "truncated")}
        reward = torch.full((buffer.num_envs,), float(t))
        buffer.add({"obs": obs, "action": -obs, "reward": reward, "next_obs": obs + 1, **flags})


def draw(buffer: ReplayBuffer, count: int = 2000) -> dict[str, Tensor]:
    return buffer.sample(count, torch.Generator().manual_seed(0))


def seen(batch: dict[str, Tensor]) -> set[int]:
    return set(batch["obs"][:, 0].int().tolist())


def test_single_steps_come_back_as_they_were_stored() -> None:
    buffer = ReplayBuffer(100, 1, (1,), 1)
    fill(buffer, 10, {4: "terminated", 7: "truncated"})
    batch = draw(buffer)
    assert seen(batch) == set(range(10))
    assert len(buffer) == 10
    torch.testing.assert_close(batch["reward"][:, 0], batch["obs"][:, 0])
    torch.testing.assert_close(batch["next_obs"], batch["obs"] + 1)
    torch.testing.assert_close(batch["action"], -batch["obs"])
    assert torch.equal(batch["terminated"], batch["obs"][:, 0] == 4)  # a time limit is no end
    assert batch["counted"].all()


def test_the_oldest_are_overwritten() -> None:
    buffer = ReplayBuffer(6, 1, (1,), 1)
    fill(buffer, 10)
    assert len(buffer) == 6
    assert seen(draw(buffer)) == {4, 5, 6, 7, 8, 9}


def test_environments_side_by_side_share_the_capacity() -> None:
    buffer = ReplayBuffer(12, 3, (1,), 1)
    fill(buffer, 9)
    assert len(buffer) == 12
    assert seen(draw(buffer)) == {env + t for env in (0, 1000, 2000) for t in (5, 6, 7, 8)}


@pytest.mark.parametrize("steps", [10, 25])  # before and after the ring is full
def test_windows_stop_at_ends_and_at_the_newest_row(steps: int) -> None:
    buffer = ReplayBuffer(32, 2, (1,), 1, n_step=3)
    fill(buffer, steps, {4: "terminated", 7: "truncated", 18: "terminated"})
    batch = draw(buffer)
    first = batch["obs"][:, 0] % 1000
    oldest = max(0, steps - 16)
    assert set(first.int().tolist()) == set(range(oldest, steps - 2))
    for t, reward, counted, after, ended in zip(
        first.int().tolist(),
        batch["reward"],
        batch["counted"],
        (batch["next_obs"][:, 0] % 1000).int().tolist(),
        batch["terminated"].tolist(),
        strict=True,
    ):
        end = next((e for e in (4, 7, 18) if t <= e < t + 3), None)
        length = 3 if end is None else end - t + 1
        assert counted.tolist() == [True] * length + [False] * (3 - length)
        assert reward[:length].tolist() == [t + k for k in range(length)]
        assert after == t + length
        assert ended == (end in (4, 18))


def test_draws_are_uniform_and_repeat_with_the_generator() -> None:
    buffer = ReplayBuffer(10, 1, (1,), 1)
    fill(buffer, 10)
    batch = draw(buffer, 20_000)
    counts = torch.bincount(batch["obs"][:, 0].long())
    assert (counts - 2000).abs().max() < 250
    assert torch.equal(batch["obs"], draw(buffer, 20_000)["obs"])


def test_saved_rows_continue_in_another_buffer() -> None:
    first, second = ReplayBuffer(8, 1, (1,), 1, n_step=2), ReplayBuffer(8, 1, (1,), 1, n_step=2)
    fill(first, 11, {9: "truncated"})
    second.load_state_dict(first.state_dict())
    for buffer in (first, second):
        fill(buffer, 2, start=11)
    assert all(torch.equal(value, draw(second)[name]) for name, value in draw(first).items())


def test_a_half_filled_replay_is_saved_small() -> None:
    buffer = ReplayBuffer(10_000, 1, (1,), 1)
    fill(buffer, 5)
    assert all(column.untyped_storage().nbytes() <= 5 * 4 for column in buffer.state_dict()["columns"].values())


def test_impossible_sizes_get_a_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="must hold n_step=3"):
        ReplayBuffer(2, 1, (1,), 1, n_step=3)
    with pytest.raises(UserError, match="n_step must be at least 1"):
        ReplayBuffer(2, 1, (1,), 1, n_step=0)
    buffer = ReplayBuffer(8, 1, (1,), 1, n_step=3)
    fill(buffer, 2)
    with pytest.raises(UserError, match="warmup_decisions"):
        draw(buffer)
    with pytest.raises(UserError, match="settings"):
        ReplayBuffer(9, 1, (1,), 1).load_state_dict(buffer.state_dict())
    monkeypatch.setattr(replay_buffer, "free_bytes", lambda device: 2**30)
    with pytest.raises(UserError, match="replay_capacity_transitions"):
        ReplayBuffer(1_000_000, 1, (100, 100), 1)


def test_memory_is_that_of_all_processes_of_a_machine_and_of_its_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_buffer, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(replay_buffer, "processes_here", lambda: 2)
    replay_buffer.check_memory(250, torch.device("cpu"))
    with pytest.raises(UserError, match="2 processes"):
        replay_buffer.check_memory(251, torch.device("cpu"))
    replay_buffer.check_memory(1000, torch.device("cuda"))


def test_a_container_has_what_it_is_granted(tmp_path: Path) -> None:
    (tmp_path / "group").write_text("0::/job\n", encoding="utf-8")
    (tmp_path / "job").mkdir()
    for name, text in {"max": "1000", "current": "700", "stat": "anon 1\ninactive_file 200\n"}.items():
        (tmp_path / "job" / f"memory.{name}").write_text(text, encoding="utf-8")
    assert replay_buffer._free_of_group(tmp_path, tmp_path / "group") == 500
    (tmp_path / "job" / "memory.max").write_text("max", encoding="utf-8")
    assert replay_buffer._free_of_group(tmp_path, tmp_path / "group") is None

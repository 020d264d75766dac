"""Frames of control tasks: what is rendered, kept, drawn and refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from opengl import needs_gl

from handgen.datamodules.frames import FramesDataModule, plan
from handgen.errors import UserError

SMALL: dict[str, Any] = {
    "image_size": 24,
    "train_count": 130,
    "probe_count": 40,
    "test_count": 30,
    "batch_size": 8,
    "batches_per_epoch": 3,
}


def test_chunks_cover_every_frame_once_and_never_mix_splits() -> None:
    chunks, jobs = plan({"train": 260, "probe": 10, "test": 125})
    assert [row for chunk in chunks for row in chunk] == list(range(395))
    assert [job.tolist() for job in jobs.values()] == [[0, 0, 125], [0, 1, 125], [0, 2, 10], [1, 0, 10], [2, 0, 125]]


@needs_gl
def test_frames_are_rendered_once_and_found_again(tmp_path: Path) -> None:
    data = FramesDataModule(**SMALL, cache_dir=str(tmp_path))
    assert data.images("train").shape == (130, 3, 24, 24) and data.images("test").shape == (30, 3, 24, 24)
    (folder,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    made = (folder / "images.u8").stat().st_mtime_ns
    again = FramesDataModule(**SMALL, cache_dir=str(tmp_path))
    assert torch.equal(again.images("probe"), data.images("probe"))
    assert (folder / "images.u8").stat().st_mtime_ns == made
    other = FramesDataModule(**SMALL, cache_dir=str(tmp_path), seed=1)
    assert not torch.equal(other.images("probe"), data.images("probe"))


@needs_gl
def test_a_process_that_has_drawn_can_start_others_that_draw(tmp_path: Path) -> None:
    env = FramesDataModule(**SMALL, cache_dir=str(tmp_path)).scene.make_env()
    env.reset(seed=0)
    assert FramesDataModule(**SMALL, cache_dir=str(tmp_path), seed=2).images("train").shape[0] == 130
    env.close()


@needs_gl
def test_evaluation_covers_all_angles_and_its_state_is_where_the_pole_is(tmp_path: Path) -> None:
    data = FramesDataModule(**{**SMALL, "probe_count": 200}, cache_dir=str(tmp_path), farthest_m=0.5, supersampling=2)
    state = data.states("probe")
    assert state[:, 0].abs().max() <= 0.5
    torch.testing.assert_close(state[:, 1].square() + state[:, 2].square(), torch.ones(200))
    assert (state[:, 2] > 0.7).float().mean() > 0.15 and (state[:, 2] < -0.7).float().mean() > 0.15
    frames = data.images("probe").float()
    bright = (frames - frames.median(dim=0).values).abs().amax(dim=1) > 20
    up, down = bright[:, :9].sum(dim=(1, 2)), bright[:, 16:].sum(dim=(1, 2))  # rows above and below the cart
    assert (up[state[:, 2] > 0.9] > 0).all() and (down[state[:, 2] < -0.9] > 0).all()
    assert (up[state[:, 2] < -0.5] == 0).all() and (down[state[:, 2] > 0.5] == 0).all()


@needs_gl
def test_batches_are_a_function_of_seed_and_step(tmp_path: Path) -> None:
    data = FramesDataModule(**SMALL, cache_dir=str(tmp_path), shuffle_seed=3)
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == 3
    assert torch.equal(data.draw(1)["image"], batches[1]["image"])
    assert not torch.equal(batches[0]["image"], batches[1]["image"])
    other = FramesDataModule(**SMALL, cache_dir=str(tmp_path), shuffle_seed=4)
    assert not torch.equal(other.draw(1)["image"], batches[1]["image"])
    moved = data.on_after_batch_transfer(batches[0], 0)["image"]
    assert moved.dtype == torch.float32 and 0 <= moved.min() < moved.max() <= 1


@needs_gl
def test_other_tasks_have_frames_and_no_labels(tmp_path: Path) -> None:
    data = FramesDataModule(**SMALL, domain="pendulum", task="swingup", cache_dir=str(tmp_path))
    assert data.dataset == "pendulum_swingup" and data.states("test").isnan().all()
    assert data.images("test").float().std() > 0


@pytest.mark.parametrize("name", ["train_count", "probe_count", "test_count", "batch_size", "batches_per_epoch"])
def test_counts_must_be_positive(name: str) -> None:
    with pytest.raises(UserError, match=f"{name}=0"):
        FramesDataModule(**{**SMALL, name: 0})


def test_a_batch_holds_a_pair() -> None:
    with pytest.raises(UserError, match="at least 2"):
        FramesDataModule(**{**SMALL, "batch_size": 1})


@needs_gl
def test_an_unknown_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no task 'cartpole swingdown'"):
        FramesDataModule(**SMALL, task="swingdown", cache_dir=str(tmp_path)).setup()

"""Checkpoints on disk: whole, or as they were."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from small_runs import SMALL

from handgen import cli
from handgen.checkpoints import FORMAT, WholeCheckpoints, read_checkpoint

EARLIER = Path(__file__).parent / "earlier"
"""Checkpoints of commit 10f4e48, before they told their format; without the folders they were made in."""
SHAPES = {
    "vae": [*SMALL["vae"], "--model.image_size=16", "--data.image_size=16", "--model.width=4", "--model.latent_dim=2",
            "--data.train_count=16"],
    "sac_pendulum": [*SMALL["sac_pendulum"], "--data.epoch_env_steps=100"],
}  # fmt: skip


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The disk takes no more than that many bytes of a file, and says so as a full one does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path: Path) -> None:
    path, plugin = tmp_path / "last.ckpt", WholeCheckpoints()
    plugin.save_checkpoint({"state_dict": {"weight": torch.ones(2)}}, str(path))
    with largest_file(100_000), pytest.raises(OSError, match="too large"):
        plugin.save_checkpoint({"state_dict": {"weight": torch.ones(100_000)}}, str(path))
    assert torch.equal(torch.load(path, weights_only=True)["state_dict"]["weight"], torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_in_one_line_and_costs_one_epoch(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fit", "--config=toy.yaml", "--ckpt_path=last", "--model.width=20000", "--evaluate_after_fit=false"]
    assert cli.main([*words, "--trainer.max_epochs=1"]) == 0
    (last,) = toy.rglob("last.ckpt")
    before = read_checkpoint(last)
    with largest_file(400_000):
        assert cli.main([*words, "--trainer.max_epochs=2"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: the disk is full (File too large") and "CKPT=last" in said
    assert read_checkpoint(last)["global_step"] == before["global_step"]
    assert cli.main([*words, "--trainer.max_epochs=2"]) == 0
    assert read_checkpoint(last)["global_step"] == 2 * before["global_step"]


@pytest.mark.parametrize("name", SHAPES)
def test_training_goes_on_from_an_earlier_version(name: str, tmp_path: Path) -> None:
    words = [
        "fit",
        f"--config={name}",
        *SHAPES[name],
        "--threads=1",
        f"--runs={tmp_path}",
        "--evaluate_after_fit=false",
    ]
    assert cli.main([*words, f"--ckpt_path={EARLIER / name}.ckpt", "--trainer.max_epochs=2"]) == 0
    (last,) = tmp_path.rglob("last.ckpt")
    earlier, later = read_checkpoint(EARLIER / f"{name}.ckpt"), read_checkpoint(last)
    assert later["epoch"] == earlier["epoch"] + 1 and later["global_step"] == 2 * earlier["global_step"] > 0


def test_a_later_version_is_told(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": {}, "handgen_format": FORMAT + 1}, "later.ckpt")
    assert cli.main(["test", "--config=toy.yaml", "--ckpt_path=later.ckpt"]) == 2
    assert "written by a later version" in capsys.readouterr().err

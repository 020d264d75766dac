"""Checkpoints on disk: whole, or as they were."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from handgen import cli
from handgen.checkpoints import WholeCheckpoints, read_checkpoint


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

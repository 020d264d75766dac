"""Checkpoints on disk: whole, or as they were."""

from pathlib import Path

import pytest
import torch

from handgen.checkpoints import WholeCheckpoints


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plugin = tmp_path / "last.ckpt", WholeCheckpoints()
    plugin.save_checkpoint({"state_dict": {"weight": torch.ones(2)}}, str(path))

    def full(_: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        plugin.save_checkpoint({"state_dict": {}}, str(path))
    assert torch.equal(torch.load(path, weights_only=True)["state_dict"]["weight"], torch.ones(2))
    assert list(tmp_path.iterdir()) == [path]

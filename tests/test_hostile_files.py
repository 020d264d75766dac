"""Files made to do harm: each is refused with one line, and none of them runs anything or fills the memory."""

import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch

from handgen import cli
from handgen.datamodules.strokes import load_pictures
from handgen.errors import UserError


class Payload:
    """Whoever unpickles this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_checkpoint_with_a_payload_is_refused(
    command: str, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}, "extra": Payload(tmp_path / "ran")}, tmp_path / "evil.ckpt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"state_dict": Payload(tmp_path / "ran")}))
    for name in ("evil.ckpt", "evil.pkl"):
        assert cli.main([command, "--config", "toy.yaml", f"--ckpt_path={tmp_path / name}"]) == 2
        assert "cannot read the checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_an_experiment_with_a_python_tag_is_refused(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (tmp_path / "toy.yaml").read_text() + f"name: !!python/object/apply:os.system ['touch {tmp_path / 'ran'}']\n"
    (tmp_path / "evil.yaml").write_text(text)
    assert cli.main(["fit", "--config", "evil.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "ran").exists()


def archive(folder: Path, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "images_background_small1.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in entries.items():
            opened.writestr(name, content)


@pytest.mark.parametrize(("name", "reason"), [
    ("images_background_small1/Latin/character01/0001_01.png", "too large for a drawing"),
    ("../../../0001_01.png", "is not where drawings are"),
    ("images/../../0001_01.png", "is not where drawings are"),
    ("/etc/passwd_1.png", "is not where drawings are"),
])  # fmt: skip
def test_archives_that_burst_or_climb_are_refused(name: str, reason: str, tmp_path: Path) -> None:
    content = bytes(300_000_000) if reason.startswith("too large") else b"png"  # 300 MB in 300 kB
    archive(tmp_path, {name: content})
    with pytest.raises(UserError, match=reason):
        load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["images_background_small1.zip"]
    assert not (tmp_path / name).resolve().exists()


def test_an_archive_of_very_many_drawings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handgen.datamodules.omniglot.LARGEST_ARCHIVE_BYTES", 1000)
    folder = "images_background_small1/Latin/character01"
    archive(tmp_path, {f"{folder}/0001_{number:02d}.png": bytes(200) for number in range(1, 9)})
    with pytest.raises(UserError, match="is too large for drawings"):
        load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = (header, b"IDAT" + zlib.compress(b""))
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    for number in range(12):
        (tmp_path / f"{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(UserError, match=r"\.png"):
        load_pictures("folder", 16, 3, 100, folder=str(tmp_path))

"""Pictures for painters, from files as they are published, whole and damaged."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from handgen.datamodules.strokes import OMNIGLOT_ADVICE, load_pictures
from handgen.errors import UserError


def png(side: int = 20, level: int = 0, mode: str = "L") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (side, side), level if mode == "L" else (level, level, level)).save(file, "PNG")
    return file.getvalue()


def idx(values: torch.Tensor) -> bytes:
    sides = b"".join(side.to_bytes(4, "big") for side in values.shape)
    return b"\0\0\x08" + bytes([values.dim()]) + sides + values.to(torch.uint8).numpy().tobytes()


def omniglot(folder: Path, drawers: int = 10) -> Path:
    with zipfile.ZipFile(folder / "images_background_small1.zip", "w") as archive:
        for character in (1, 2):
            for drawer in range(1, drawers + 1):
                name = f"images_background_small1/Latin/character{character:02d}/{character:04d}_{drawer:02d}.png"
                archive.writestr(name, png(level=10 * drawer))
    return folder / "images_background_small1.zip"


def test_drawn_digits_have_splits_of_their_own() -> None:
    found = load_pictures("digits", 16, 1, 30)
    assert found["train"].images.shape == (30, 1, 16, 16) and found["train"].classes == 10
    assert not torch.equal(found["train"].images[:10], found["test"].images[:10])
    assert torch.equal(found["train"].images, load_pictures("digits", 16, 1, 30)["train"].images)
    assert load_pictures("digits", 16, 3, 30)["train"].images.shape == (30, 3, 16, 16)


def test_mnist_is_black_on_white_and_every_fifth_is_for_tests(tmp_path: Path) -> None:
    images = torch.zeros(10, 28, 28)
    images[:, 10:18, 10:18] = 255
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(torch.arange(10))))
    found = load_pictures("mnist", 32, 1, 100, folder=str(tmp_path))
    assert found["test"].labels.tolist() == [4, 9] and len(found["train"]) == 8
    picture = found["train"].images[0, 0]
    assert picture[0, 0] == 255 and picture[16, 16] == 0 and picture.shape == (32, 32)


def test_omniglot_is_split_by_who_drew(tmp_path: Path) -> None:
    omniglot(tmp_path)
    found = load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))
    assert len(found["train"]) == 16 and len(found["test"]) == 4 and found["train"].classes == 2
    assert sorted({int(image[0, 0, 0]) for image in found["test"].images}) == [50, 100]  # drawers 5 and 10
    with zipfile.ZipFile(tmp_path / "images_background_small1.zip") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "images_background_small1.zip").unlink()
    again = load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))
    assert torch.equal(again["train"].images, found["train"].images)


def test_a_hostile_archive_is_not_opened(tmp_path: Path) -> None:
    path = omniglot(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("images_background_small1/Latin/character01/../../../../0001_01.png", png())
    with pytest.raises(UserError, match="not where drawings are"):
        load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images_background_small1/Latin/character01/0001_01.png", b"\0" * 2**21)
    with pytest.raises(UserError, match="too large"):
        load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="damaged"):
        load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))


def test_celeba_keeps_to_the_published_partition(tmp_path: Path) -> None:
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    rows = []
    for number in range(12):
        (folder / f"{number:06d}.jpg").write_bytes(png(24, 20 * number, "RGB"))
        rows.append(f"{number:06d}.jpg {0 if number < 9 else 2}")
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(rows))
    found = load_pictures("celeba", 16, 3, 100, folder=str(tmp_path))
    assert len(found["train"]) == 9 and len(found["test"]) == 3 and found["train"].classes == 0
    (tmp_path / "list_eval_partition.txt").write_text("nonsense")
    with pytest.raises(UserError, match="not the published one"):
        load_pictures("celeba", 16, 3, 100, folder=str(tmp_path))


def test_any_folder_will_do_and_a_broken_picture_is_named(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(30, 9 * number, "RGB"))
    found = load_pictures("folder", 16, 1, 100, folder=str(tmp_path))
    assert len(found["train"]) == 8 and len(found["test"]) == 2 and found["test"].images.shape[1] == 1
    (tmp_path / "3.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3\.png"):
        load_pictures("folder", 16, 1, 100, folder=str(tmp_path))


@pytest.mark.parametrize(
    ("source", "message"),
    [("omniglot", OMNIGLOT_ADVICE.split()[1]), ("celeba", "img_align_celeba"), ("mnist", "t10k"), ("folder", "images")],
)
def test_what_is_absent_is_told_with_what_to_get(source: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_pictures(source, 16, 1, 100, folder=str(tmp_path))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no pictures of"):
        load_pictures("oil", 16, 1, 100)  # type: ignore[arg-type]

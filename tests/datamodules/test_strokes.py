"""Pictures for painters, from files as they are published, whole and damaged."""

import gzip
import io
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from handgen.datamodules.omniglot import LARGEST_FILE_BYTES, OMNIGLOT_ADVICE, Drawing, strokes_of
from handgen.datamodules.strokes import load_pictures
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
    assert sorted(found["test"].labels.tolist()) == [4, 9] and len(found["train"]) == 8
    picture = found["train"].images[0, 0]
    assert picture[0, 0] == 255 and picture[16, 16] == 0 and picture.shape == (32, 32)


def test_mnists_own_split_is_kept_where_both_parts_are_there(tmp_path: Path) -> None:
    for part, digit, count in (("train", 3, 12), ("t10k", 7, 5)):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(torch.full((count, 28, 28), 20 * digit)))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(torch.full((count,), digit)))
    found = load_pictures("mnist", 16, 1, 10, folder=str(tmp_path))
    assert found["train"].labels.tolist() == [3] * 10 and found["test"].labels.tolist() == [7] * 5
    assert (found["test"].images[:, 0, 8, 8] == 255 - 140).all()


def test_those_left_out_are_drawn_by_the_seed_and_tests_are_the_same_for_all(tmp_path: Path) -> None:
    omniglot(tmp_path)
    one, other = (load_pictures("omniglot", 16, 1, 8, seed=seed, folder=str(tmp_path)) for seed in (0, 1))
    assert set(one["train"].labels.tolist()) == {0, 1}  # not the first character alone
    assert not torch.equal(one["train"].images, other["train"].images)
    assert torch.equal(one["test"].images, other["test"].images)


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


STROKES = """START
20,-20,0
20,-80,90
BREAK
50.5,-30,200
80,-30,300
BREAK
"""


def test_omniglots_strokes_are_drawings_too_and_make_way_for_images(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "strokes_background.zip", "w") as archive:
        for drawer in range(1, 11):
            archive.writestr(f"strokes_background/Latin/character01/0001_{drawer:02d}.txt", STROKES)
    found = load_pictures("omniglot", 105, 1, 100, folder=str(tmp_path))
    assert len(found["train"]) == 8 and len(found["test"]) == 2
    ink = found["test"].images[0, 0] < 128
    assert ink[25:75, 20].all() and ink[30, 55:75].all() and not ink[60, 60] and not ink[:15].any()
    assert 2.5 < ink[25:75].sum(1).float().median() < 3.5  # three pixels wide, as in the images
    omniglot(tmp_path)
    both = load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))
    assert len(both["train"]) == 16 and both["train"].images[:, 0, 0, 0].max() <= 100  # the dark squares alone


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "nan,0,0", "\xff"])
def test_strokes_that_are_none_get_one_line(text: str) -> None:
    with pytest.raises(UserError, match="no strokes as Omniglot writes them") as error:
        strokes_of(Drawing("strokes_x/A/c/1_01.txt", text.encode("latin-1")))
    assert "\n" not in str(error.value)


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
    (tmp_path / "list_eval_partition.txt").write_bytes(b"\xff\xfe\x00 0 binary")
    with pytest.raises(UserError, match="not the published one"):
        load_pictures("celeba", 16, 3, 100, folder=str(tmp_path))
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


def test_a_damaged_or_locked_archive_is_named(tmp_path: Path) -> None:
    path = omniglot(tmp_path, drawers=2)
    whole = path.read_bytes()
    first = whole.index(b"PK\x01\x02")  # of the central directory
    locked = bytearray(whole)
    locked[6] |= 1
    locked[first + 8] |= 1
    packed = bytearray(whole)
    packed[8] = packed[first + 10] = 97  # a packing that Python does not know
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images_background_small1/Latin/character01/0001_01.png", bytes(range(256)) * 40)
    broken = bytearray(path.read_bytes())
    start = broken.index(b"0001_01.png") + len(b"0001_01.png")
    broken[start : start + 20] = b"\xff" * 20
    for content in (locked, packed, broken):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged or locked"):
            load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))


def test_an_entry_is_unpacked_no_further_than_a_drawing_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    omniglot(tmp_path)
    asked: list[int] = []
    plain = zipfile.ZipExtFile.read

    def watched(self: zipfile.ZipExtFile, count: int = -1) -> bytes:
        asked.append(count)
        return plain(self, count)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", watched)
    load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))
    assert set(asked) == {LARGEST_FILE_BYTES + 1}


def test_a_stray_picture_among_drawings_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "images_background_small1" / "Latin" / "character01"
    folder.mkdir(parents=True)
    (folder / "0001_01.png").write_bytes(png())
    (folder / "thumbnail.png").write_bytes(png())
    with pytest.raises(UserError, match=r"thumbnail\.png is not a drawing"):
        load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))


def test_a_split_without_pictures_is_told(tmp_path: Path) -> None:
    omniglot(tmp_path, drawers=4)  # every fifth drawer's are for tests
    with pytest.raises(UserError, match="0 for tests"):
        load_pictures("omniglot", 16, 1, 100, folder=str(tmp_path))


def test_a_png_with_a_broken_chunk_is_named(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.png").write_bytes(png(30, 9 * number, "RGB"))
    whole = png(30, 9, "RGB")
    start = whole.index(b"IDAT") - 4
    half = b"IDAT" + whole[start + 8 : start + 12]  # of its pixels, and then a chunk that is none
    chunk = (len(half) - 4).to_bytes(4, "big") + half + zlib.crc32(half).to_bytes(4, "big")
    (tmp_path / "3.png").write_bytes(whole[:start] + chunk + b"\0\0\0\x04!!!!" + bytes(40))
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


def test_hands_for_painters_are_on_white(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path))
    images = load_pictures("hands", 32, 3, 12)["train"].images
    white = (images == 255).all(1)
    assert 0.2 < white.float().mean() < 0.95
    assert white[:, 0, [0, -1]].float().mean() > 0.9

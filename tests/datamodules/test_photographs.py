import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hand_photos import SKIN, draw_hand, save
from PIL import Image

from handgen.anatomy.hand_mask import fingers_up_score, hand_mask, zoom
from handgen.datamodules import HandsDataModule
from handgen.datamodules.photographs import Preprocessing, fingers_down, preprocess
from handgen.errors import UserError
from handgen.photo_files import BadImage, read_photograph

SETTINGS = Preprocessing(size=64, crop=True, margin=0.08, orientation="auto")


def foreground(image: np.ndarray) -> np.ndarray:
    return np.asarray(image.astype(int).sum(2) < 650)


def on_canvas(hand: np.ndarray, height: int, width: int, top: int, left: int) -> np.ndarray:
    canvas = np.full((height, width, 3), 250, np.uint8)
    canvas[top : top + hand.shape[0], left : left + hand.shape[1]] = hand
    return canvas


@pytest.mark.parametrize("skin", [SKIN, (240, 205, 185), (90, 60, 45)])
@pytest.mark.parametrize("thumb_right", [True, False])
def test_the_hand_is_centred_and_whole(thumb_right: bool, skin: tuple[int, int, int]) -> None:
    hand = draw_hand(300, thumb_right, skin)
    image, _ = preprocess(on_canvas(hand, 900, 1200, 600, 800), SETTINGS)
    rows, columns = (np.flatnonzero(foreground(image).any(axis)) for axis in (1, 0))
    assert image.shape == (64, 64, 3)
    assert 2 <= rows[0] <= 8
    assert rows[-1] == 63  # the wrist runs out of the picture, not into a painted margin
    assert abs((columns[0] + columns[-1]) / 2 - 31.5) < 2.5
    assert foreground(image).mean() > 0.2


def test_nothing_of_the_hand_is_smeared_beyond_the_picture() -> None:
    hand = draw_hand(200)[:, :150]  # the picture ends in the middle of the thumb
    image, _ = preprocess(hand, Preprocessing(64, True, 0.3, "auto"))
    mask = foreground(image)
    width = np.flatnonzero(mask.any(0))
    assert mask[:, -1].sum() == 0 or width[-1] == 63
    # A smear is a run of equal columns; a hand has none.
    repeated = (np.diff(image[:40].astype(int), axis=1) == 0).all((0, 2)) & mask[:40, 1:].any(0)
    assert repeated.sum() <= 1


def test_a_vignette_and_a_cast_shadow_are_background() -> None:
    hand = draw_hand(200).astype(float)
    y, x = np.meshgrid(np.linspace(-1, 1, 200), np.linspace(-1, 1, 200), indexing="ij")
    shaded = hand * (1 - 0.25 * (x**2 + y**2))[..., None]
    mask = hand_mask(shaded.astype(np.uint8))
    plain = foreground(draw_hand(200))
    assert (mask & plain).sum() / (mask | plain).sum() > 0.9


def test_fingers_point_up_wherever_they_pointed() -> None:
    hand = draw_hand(200)
    assert fingers_up_score(hand_mask(hand)) > 0.3
    assert fingers_up_score(hand_mask(hand[::-1, ::-1])) < -0.3
    for top, left in ((30, 50), (400, 900), (800, 1100)):
        canvas = on_canvas(hand[::-1, ::-1], 1200, 1600, top, left)  # like the originals: small, fingers down
        assert fingers_up_score(zoom(canvas)[1]) < -0.1
        assert fingers_up_score(zoom(canvas[::-1, ::-1])[1]) > 0.1


def test_an_unclear_photograph_follows_the_clear_ones() -> None:
    assert fingers_down([-1.0, 0.01, -0.8, 0.9], "auto") == [True, True, True, False]
    assert fingers_down([0.5, -0.01, 0.9, -0.7], "auto") == [False, False, False, True]
    assert fingers_down([0.5, -0.5], "down") == [True, True]
    assert fingers_down([0.5, -0.5], "up") == [False, False]


def test_a_blank_picture_is_kept_whole() -> None:
    image, score = preprocess(np.full((50, 80, 3), 200, np.uint8), SETTINGS)
    assert image.shape == (64, 64, 3)
    assert np.ptp(image) <= 1
    assert score == 0


def test_originals_and_copies_give_the_same_images(make_hands11k: Any) -> None:
    root = make_hands11k(subjects=40, per_subject=1, size=200)
    upright = HandsDataModule("hands11k", data_root=str(root), batch_size=2)
    upright.setup()
    for number, path in enumerate(sorted((root / "hands11k" / "Hands").iterdir())):
        hand = cv2.imread(str(path))
        if number % 3:  # two thirds as the originals, one third stays as it is
            cv2.imwrite(str(path), on_canvas(hand[::-1, ::-1], 600, 800, 0, 300))
    mixed = HandsDataModule("hands11k", data_root=str(root), batch_size=2)
    mixed.setup()
    difference = (upright.images("train").float() - mixed.images("train").float()).abs().mean((1, 2, 3))
    assert difference.max() < 12
    assert sum(mixed.metadata("train")["rotated"]) > len(difference) / 2
    assert upright.metadata("train")["side"] == mixed.metadata("train")["side"]


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "CMYK", "I;16", "1"])
def test_every_colour_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    hand = Image.fromarray(draw_hand(80))
    path = tmp_path / ("hand.jpg" if mode == "CMYK" else "hand.png")
    if mode == "I;16":
        Image.fromarray(np.asarray(hand.convert("L")).astype(np.uint16) * 257).save(path)
    elif mode == "RGBA":
        clear = hand.convert("RGBA")
        clear.putalpha(Image.fromarray((foreground(np.asarray(hand)) * 255).astype(np.uint8)))
        clear.save(path)
    else:
        hand.convert(mode).save(path)
    image = read_photograph(path, 512)
    assert image.shape == (80, 80, 3)
    assert image.dtype == np.uint8
    assert image[0, 0].min() > 240  # the background is white, not the black under a transparent pixel
    assert image[70, 40].mean() < 200 or mode == "1"


def test_a_phone_picture_stands_upright_and_is_decoded_small(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right
    Image.fromarray(draw_hand(3024)).rotate(90).save(tmp_path / "phone.jpg", exif=exif)
    image = read_photograph(tmp_path / "phone.jpg", 512)
    assert 512 <= image.shape[0] < 1024
    assert fingers_up_score(hand_mask(image)) > 0.3


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (header, b"IDAT" + zlib.compress(b""))
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bad_files(folder: Path) -> dict[str, Path]:
    save(folder / "good.jpg", draw_hand(200))
    data = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(data[: len(data) // 2])
    (folder / "text.jpg").write_text("not an image")
    (folder / "empty.png").write_bytes(b"")
    (folder / "bomb.png").write_bytes(png_header(60_000, 60_000))  # the pixels would take 10 GB
    (folder / "large.png").write_bytes(png_header(9_000, 9_000))
    return {path.name: path for path in folder.iterdir()}


def test_unusable_files_are_refused_with_their_reason(tmp_path: Path) -> None:
    files = bad_files(tmp_path)
    for name, reason in {
        "truncated.jpg": "truncated or damaged",
        "text.jpg": "not an image",
        "empty.png": "not an image",
        "bomb.png": "more than 64 million pixels",
        "large.png": "more than 64 million pixels",
    }.items():
        with pytest.raises(BadImage, match=reason):
            read_photograph(files[name], 512)
    with pytest.raises(BadImage, match="absent"):
        read_photograph(tmp_path / "nowhere.jpg", 512)


def test_bad_photographs_are_counted_in_one_line_on_every_run(
    make_hands11k: Any, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_hands11k(subjects=40)
    hands = root / "hands11k" / "Hands"
    (hands / "Hand_0000003.jpg").unlink()
    (hands / "Hand_0000004.jpg").write_text("no image")
    (hands / "Hand_0000007.jpg").write_bytes((hands / "Hand_0000007.jpg").read_bytes()[:700])
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "handgen"):
            data = HandsDataModule("hands11k", data_root=str(root), batch_size=2)
            data.prepare_data()
            data.setup()
        (line,) = [record.getMessage() for record in caplog.records]
        assert "skipped 3 of 80 photographs" in line
        assert "1 file absent (such as Hand_0000003.jpg)" in line
    assert sum(len(data.images(split)) for split in ("train", "val", "test")) == 77
    names = [name for split in ("train", "val", "test") for name in data.metadata(split)["imageName"]]
    assert not {"Hand_0000003.jpg", "Hand_0000004.jpg", "Hand_0000007.jpg"} & set(names)


def test_bad_photographs_can_stop_the_build(make_folder: Any) -> None:
    root = make_folder(40)
    (root / "0" / "000.png").write_text("no image")
    with pytest.raises(UserError, match=r"000\.png: not an image"):
        HandsDataModule("folder", folder=str(root), on_bad_image="error").setup()


def test_an_empty_split_is_named(make_folder: Any) -> None:
    with pytest.raises(UserError, match=r"no usable photograph in the split .*test"):
        HandsDataModule("folder", folder=str(make_folder(1))).setup()

"""What the arm is shown: found in pictures, framed, and in the order that was asked for."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hand_pictures import backgrounds, hands, on, write_hands, write_photographs

from handgen.arm import segmentation
from handgen.arm.body import FITTED
from handgen.arm.drawing import draw_masks
from handgen.arm.feeds import DrawnHands, Film, Photographs, RenderedPoses, open_feed, usable_target
from handgen.arm.fit_thumb_side import fit
from handgen.arm.framing import frame, palm_circle
from handgen.arm.geometry import as_tensors
from handgen.arm.segmentation import segment
from handgen.arm.thumb_side import ThumbSide, looks_left
from handgen.errors import UserError
from handgen.paths import data_root


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("background", ["paper", "cloth"])
def test_the_robust_segmenter_finds_a_dozen_hands(background: str) -> None:
    images, masks = hands(12)
    found = [
        segment(on(backgrounds()[background], i, m), "robust", upright=False)[1]
        for i, m in zip(images, masks, strict=True)
    ]
    scores = [iou(f, m) for f, m in zip(found, masks, strict=True)]
    assert np.mean(scores) > 0.9 and min(scores) > 0.75


def test_the_published_range_takes_white_paper_for_skin() -> None:
    images, masks = hands(4)
    on_paper = [segment(on(backgrounds()["paper"], i, m), "lab")[1] for i, m in zip(images, masks, strict=True)]
    assert min(mask.mean() for mask in on_paper) > 0.9  # the whole picture


def test_a_hand_that_points_down_is_turned() -> None:
    image, mask = (part[0] for part in hands(1))
    turned = np.ascontiguousarray(on(backgrounds()["paper"], image, mask)[::-1, ::-1])
    assert iou(segment(turned, "robust")[1], mask) > 0.9


def test_framing_does_not_depend_on_size_and_place() -> None:
    image, mask = (part[0] for part in hands(1, 192))
    small = cv2.resize(mask.astype(np.uint8), (120, 120), interpolation=cv2.INTER_AREA) > 0
    wide = np.zeros((150, 220), bool)
    wide[30:, 70:190] = small
    first = frame(image, mask, 56)[1]
    other = frame(np.zeros((*wide.shape, 3), np.uint8), wide, 56)[1]
    assert iou(first, other) > 0.93


@pytest.mark.parametrize("elbow", [-0.5, 0.0, 0.5])
def test_the_arm_s_own_silhouette_stays_where_it_is(elbow: float) -> None:
    angles = torch.zeros(1, 12)
    angles[0, 11] = elbow
    fine, small = (draw_masks(as_tensors(FITTED), angles, size)[0].numpy() > 0 for size in (224, 56))
    framed = frame(np.zeros((224, 224, 3), np.uint8), fine, 56)[1]
    assert (framed != small).mean() < 0.02  # a pixel to the side is 0.038


def test_the_palm_is_the_largest_circle() -> None:
    mask = np.zeros((100, 100), np.uint8)
    cv2.circle(mask, (40, 50), 20, 1, -1)
    cv2.rectangle(mask, (35, 50), (45, 99), 1, -1)
    x, y, radius = palm_circle(mask > 0)
    assert x == pytest.approx(40, abs=1.5) and y == pytest.approx(50, abs=1.5) and radius == pytest.approx(20, abs=1.5)


def test_poses_of_the_splits_differ_and_are_the_same_every_time() -> None:
    feeds = {split: RenderedPoses(None, split, 10) for split in ("train", "val", "test")}
    poses = {split: feed.joints(3) for split, feed in feeds.items()}
    assert not np.allclose(poses["train"], poses["val"]) and not np.allclose(poses["val"], poses["test"])
    target = feeds["train"].target(3, 56)
    np.testing.assert_array_equal(target.mask, RenderedPoses(None, "train", 10).target(3, 56).mask)
    np.testing.assert_allclose(target.joints, poses["train"])
    with pytest.raises(IndexError):
        feeds["train"].target(10, 56)


def test_drawn_hands_have_the_thumb_on_the_left() -> None:
    feed = DrawnHands("test", 16)
    masks = [feed.target(index, 56).mask for index in range(16)]
    assert np.mean([looks_left(mask) for mask in masks]) >= 0.9
    assert np.mean([looks_left(mask[:, ::-1]) for mask in masks]) <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hands11k", "sign_digits"])
def test_the_side_of_photographed_hands_is_told_by_their_silhouettes(name: str) -> None:
    if not (data_root() / name).is_dir():
        pytest.skip(f"set HANDGEN_DATA to a folder that holds {name}/")
    feed = open_feed(name, "test")
    assert isinstance(feed, Photographs)
    masks = [feed.target(index, 56).mask for index in range(0, len(feed), 3)]  # thumbs on the left, by the list
    assert np.mean([looks_left(mask) for mask in masks]) > 0.9


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    write_hands(tmp_path / "mine")
    feed = open_feed(str(tmp_path / "mine"), "all")
    assert (feed.name, len(feed), feed.in_order) == ("mine", 3, False)
    assert 0.1 < feed.target(0, 56).mask.mean() < 0.5


def test_pictures_without_a_hand_are_passed_over_and_a_folder_of_them_is_refused(tmp_path: Path) -> None:
    write_hands(tmp_path / "mixed", 1)
    (tmp_path / "mixed" / "a_broken.png").write_bytes(b"no picture")
    mixed = open_feed(str(tmp_path / "mixed"), "all")
    assert usable_target(mixed, 0, 56).mask.any()
    cv2.imwrite(str(tmp_path / "white.png"), np.full((64, 64, 3), 255, np.uint8))
    white = open_feed(str(tmp_path / "mixed"), "all")
    white.paths = [tmp_path / "white.png"]  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="shows no hand"):
        usable_target(white, 0, 56)


def test_a_numbered_sequence_comes_in_order_and_ends(tmp_path: Path) -> None:
    write_hands(tmp_path)
    feed = open_feed(str(tmp_path / "hand_%04d.png"))
    assert isinstance(feed, Film) and feed.in_order and len(feed) == 3
    masks = [feed.target(index, 56).mask for index in range(3)]
    assert not np.array_equal(masks[0], masks[1])
    np.testing.assert_array_equal(feed.target(0, 56).mask, masks[0])  # it begins anew
    with pytest.raises(IndexError):
        feed.target(3, 56)


def test_a_film_s_thumb_is_settled_by_its_first_hand(tmp_path: Path) -> None:
    write_hands(tmp_path, 1)
    path = str(tmp_path / "hand_%04d.png")
    plain = Film(path)
    plain.target(0, 56)
    (tmp_path / "hand_0000.png").rename(tmp_path / "hand_0001.png")
    cv2.imwrite(str(tmp_path / "hand_0000.png"), np.full((128, 128, 3), 250, np.uint8))
    late = Film(path)
    with pytest.raises(ValueError, match="no hand"):
        late.target(0, 56)
    assert late.thumb_left is None
    late.target(1, 56)
    assert late.thumb_left == plain.thumb_left is not None


def test_a_video_is_a_feed(tmp_path: Path) -> None:
    write_hands(tmp_path)
    path = tmp_path / "hands.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5.0, (128, 128))
    for number in range(3):
        writer.write(cv2.imread(str(tmp_path / f"hand_{number:04d}.png")))
    writer.release()
    feed = open_feed(str(path))
    assert len(feed) == 3 and feed.target(2, 56).mask.any()


@pytest.mark.parametrize(("feed", "split"), [("rendered", "all"), ("synthetic", "tset"), ("hands11k", "tset")])
def test_a_split_that_is_none_is_one_clear_line(feed: str, split: str) -> None:
    with pytest.raises(UserError, match=f"{feed} has no split '{split}': choose from train, val, test"):
        open_feed(feed, split)


def test_persons_are_known_and_a_split_without_any_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photographs(tmp_path, 2)
    monkeypatch.setenv("HANDGEN_DATA", str(tmp_path))
    for name in ("hands11k", "sign_digits"):
        feed = open_feed(name, "all")
        assert isinstance(feed, Photographs) and (len(feed), len(set(feed.persons))) == (4, 2)
        with pytest.raises(UserError, match=f"{name} has no picture in its split 'val'"):
            open_feed(name, "val")
    assert open_feed("hands11k", "all").thumbs_left == [True, False] * 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ("nowhere", "no such feed"),
        ("nowhere.mp4", "no such feed: nowhere.mp4"),
        ("97", "camera 97 is absent"),
        ("empty_%04d.png", "cannot be opened"),
        ("broken.mp4", "cannot be opened: broken.mp4"),
    ],
)
def test_absent_feeds_are_named(
    feed: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HANDGEN_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    with pytest.raises(UserError, match=message):
        open_feed(feed)
    assert capfd.readouterr() == ("", "")  # one line, and nothing from the libraries that were asked


def test_an_unknown_segmenter_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown segmenter 'magic'"):
        open_feed("synthetic", segmenter="magic")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="holds no image"):
        open_feed(str(tmp_path))


def test_the_published_robot_mask_is_a_threshold() -> None:
    image = np.array([[[10, 10, 10], [200, 200, 200]]], np.uint8)
    assert segmentation.robot_mask_by_grey(image).tolist() == [[True, False]]


def test_signed_digits_tell_which_fingers_are_raised_and_that_the_thumb_is_on_the_right(tmp_path: Path) -> None:
    for folder in ("sign_digits", "mine"):
        for digit in "27":
            write_hands(tmp_path / folder / digit, 1)
            next((tmp_path / folder / digit).iterdir()).rename(tmp_path / folder / digit / f"IMG_112{digit}.png")
    feed, mine = (open_feed(str(tmp_path / folder), "all") for folder in ("sign_digits", "mine"))
    assert isinstance(feed, Photographs) and feed.thumbs_left == [False, False]
    assert isinstance(mine, Photographs) and mine.thumbs_left == [None, None] and np.isnan(mine.digits(0)).all()
    raised = [[bool(angle < 0.5) for angle in feed.digits(row)[::2]] for row in range(2)]
    assert raised == [[False, True, True, False, False], [False, True, True, False, True]]


def test_of_other_pictures_no_digit_is_known(tmp_path: Path) -> None:
    write_hands(tmp_path / "mine" / "7", 1)
    feed = open_feed(str(tmp_path / "mine"), "all")
    assert isinstance(feed, Photographs) and feed.thumbs_left == [None] and np.isnan(feed.digits(0)).all()


def test_a_mirror_image_has_its_thumb_on_the_other_side() -> None:
    masks = torch.rand(5, 56, 56, generator=torch.Generator().manual_seed(0))
    network = ThumbSide().eval()
    with torch.no_grad():
        torch.testing.assert_close(network(masks.flip(-1)), -network(masks))


def test_the_side_of_the_thumb_is_learnt_from_a_few_hands(tmp_path: Path) -> None:
    feed = DrawnHands("train", 24)
    masks = torch.stack([torch.from_numpy(feed.target(row, 56).mask) for row in range(24)]).to(torch.uint8) * 255
    network = fit([masks], 60, seed=0)
    with torch.no_grad():
        assert float((network(masks.float() / 255) > 0).float().mean()) > 0.9

"""What the arm is shown: its own poses, drawn hands, photographs, films and cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from handgen.arm.body import FITTED, SIDEWAYS
from handgen.arm.drawing import draw_masks
from handgen.arm.framing import frame
from handgen.arm.geometry import as_tensors, random_joints
from handgen.arm.segmentation import SEGMENTERS, Segmenter
from handgen.arm.signs import OPEN, SIGNS, Angles, digit_angles
from handgen.arm.simulator import silenced
from handgen.arm.target import Target, found_hand, framed_target
from handgen.arm.thumb_side import looks_left
from handgen.errors import UserError
from handgen.paths import data_root
from handgen.photo_files import BadImage, read_photograph
from handgen.photo_lists import SPLITS, list_folder, list_hands11k

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

ENOUGH = 512
"""Pixels of a photograph's larger side that are decoded at least."""
FILMS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


class Feed(Protocol):
    """Hands to imitate, by number.

    Attributes:
        name: of the data set in result records.
        in_order: they follow each other, as in a film; otherwise any may be asked for.
    """

    name: str
    in_order: bool

    def __len__(self) -> int:
        """Return how many there are; 0 for a camera, which does not end."""
        ...

    def target(self, index: int, size: int) -> Target:
        """One of them, at ``size`` pixels.

        Raises:
            IndexError: if there is none.
        """
        ...

    def digits(self, index: int) -> Angles:
        """Angles (10,) of its digits' joints in radians as far as they are known, NaN where they are not."""
        ...


class RenderedPoses:
    """Poses of the arm itself, which is put into them and looked at.

    Args:
        simulator: renders them; None draws them, which is faster and has no picture but the mask's.
        split: ``train``, ``val`` or ``test``: poses that never meet.
        count: number of poses.
    """

    name, in_order = "rendered", False

    def __init__(self, simulator: Any | None, split: str = "train", count: int = 50_000) -> None:
        self.simulator, self.split, self.count = simulator, split, count
        self.measured = as_tensors(FITTED)

    def __len__(self) -> int:
        """Return the number of poses."""
        return self.count

    def joints(self, index: int) -> NDArray[np.float64]:
        """The pose (12,) in radians of a number."""
        stream = np.random.SeedSequence([SPLITS.index(self.split), index]).generate_state(1)
        generator = torch.Generator().manual_seed(int(stream[0]))
        return random_joints(1, generator)[0].double().numpy()

    def target(self, index: int, size: int) -> Target:
        """See `Feed`."""
        if not 0 <= index < self.count:
            raise IndexError(index)
        joints = self.joints(index)
        if self.simulator is not None:
            self.simulator.place(joints)
            picture, mask = self.simulator.camera(size)
        else:
            mask = draw_masks(self.measured, torch.from_numpy(joints).float()[None], size)[0].numpy() > 0
            picture = np.where(mask[..., None], (214, 166, 140), 255).astype(np.uint8)
        return Target(picture, mask, joints)

    def digits(self, index: int) -> Angles:
        """See `Feed`."""
        return self.joints(index)[:SIDEWAYS].astype(np.float32)


class DrawnHands:
    """The built-in hands (`handgen.anatomy`), found in their pictures as in photographs.

    Args:
        split: ``train``, ``val`` or ``test``: hands that never meet.
        count: number of hands.
        segmenter: finds them.
    """

    name, in_order = "synthetic", False

    def __init__(self, split: str = "train", count: int = 10_000, segmenter: Segmenter = "robust") -> None:
        self.count, self.segmenter = count, segmenter
        self.first = {"train": 0, "val": 10_000_000, "test": 20_000_000}[split]

    def __len__(self) -> int:
        """Return the number of hands."""
        return self.count

    def target(self, index: int, size: int) -> Target:
        """See `Feed`."""
        from handgen.anatomy import render_hands

        if not 0 <= index < self.count:
            raise IndexError(index)
        drawn = render_hands([self.first + index], seed=0, size=128)
        image = drawn.image[0].permute(1, 2, 0).numpy()
        thumb_left = bool(drawn.side[0] ^ drawn.view[0])
        return framed_target(image, self.segmenter, size, thumb_left)

    def digits(self, index: int) -> Angles:
        """See `Feed`: all of these hands are open."""
        return digit_angles(OPEN)


class Photographs:
    """Photographs on disk, decoded when they are asked for: any number of them takes no memory.

    Args:
        paths: of the files.
        name: of the data set.
        thumbs_left: for each, whether the thumb is on the left once the fingers point up; None is unknown.
        persons: for each, whose hand it is; None takes every photograph for another person's.
        shown: for each, the angles of its digits as far as they are known; None knows nothing.
        segmenter: finds the hand.
    """

    in_order = False

    def __init__(
        self,
        paths: Sequence[Path],
        name: str,
        thumbs_left: Sequence[bool | None] | None = None,
        persons: Sequence[str] | None = None,
        segmenter: Segmenter = "robust",
        shown: Sequence[Angles] | None = None,
    ) -> None:
        self.shown = shown
        self.paths, self.name, self.segmenter = list(paths), name, segmenter
        self.thumbs_left = list(thumbs_left) if thumbs_left is not None else [None] * len(self.paths)
        self.persons = list(persons) if persons is not None else [str(path) for path in self.paths]

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.paths)

    def target(self, index: int, size: int) -> Target:
        """See `Feed`.

        Raises:
            ValueError: if the file cannot be used, or there is no hand in it; `usable_target` takes the next.
        """
        try:
            image = read_photograph(self.paths[index], ENOUGH)
        except BadImage as error:
            raise ValueError(f"{self.paths[index]}: {error}") from None
        try:
            return framed_target(image, self.segmenter, size, self.thumbs_left[index])
        except ValueError as error:
            raise ValueError(f"{self.paths[index]}: {error}") from None

    def digits(self, index: int) -> Angles:
        """See `Feed`."""
        return self.shown[index] if self.shown is not None else digit_angles(None)


class Film:
    """A film, a numbered sequence of pictures (``hand_%04d.png``) or a camera (a number), by OpenCV.

    Args:
        source: path or number of the camera.
        segmenter: finds the hand.

    Raises:
        UserError: if it cannot be opened.
    """

    in_order = True

    def __init__(self, source: str, segmenter: Segmenter = "robust") -> None:
        self.source, self.segmenter, self.name = source, segmenter, Path(source).stem or "camera"
        self.is_camera = source.isdecimal()
        self.capture = opened(int(source) if self.is_camera else source)
        if not self.capture.isOpened():
            where = f"camera {source} is absent or in use" if self.is_camera else f"cannot be opened: {source}"
            raise UserError(f"the feed's {where}" if self.is_camera else f"the feed {where}")
        self.next_index = 0
        self.thumb_left: bool | None = None

    def __len__(self) -> int:
        """Return the number of pictures, 0 for a camera."""
        return 0 if self.is_camera else max(0, int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    def target(self, index: int, size: int) -> Target:
        """See `Feed`; pictures in between are skipped, and a film that is asked for an earlier one begins anew.

        The side of the thumb is settled by the first picture with a hand: it does not change sides in a film.
        """
        if index < self.next_index and not self.is_camera:
            self.capture.release()
            self.capture = opened(self.source)
            self.next_index = 0
        picture: Any = None
        while self.next_index <= index:
            good, picture = self.capture.read()
            if not good:
                raise IndexError(index)
            self.next_index += 1
            if self.is_camera:
                self.next_index = index + 1
        image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
        if self.thumb_left is None:
            self.thumb_left = looks_left(frame(*found_hand(image, self.segmenter), size)[1])
        return framed_target(image, self.segmenter, size, self.thumb_left)

    def digits(self, index: int) -> Angles:
        """See `Feed`."""
        return digit_angles(None)


def is_film(feed: str) -> bool:
    """Whether a name or path means pictures in order: a film, a numbered sequence or a camera."""
    return feed.isdecimal() or "%" in feed or Path(feed).suffix.lower() in FILMS


def is_data_set(feed: str) -> bool:
    """Whether a name means a data set with splits, instead of somebody's own folder or film."""
    return not is_film(feed) and not Path(feed).is_dir()


def open_feed(
    feed: str, split: str = "train", segmenter: Segmenter = "robust", simulator: Any | None = None, count: int = 0
) -> Feed:
    """What a name or a path means.

    Args:
        feed: ``rendered``, ``synthetic``, ``hands11k`` or ``sign_digits`` (folders under ``HANDGEN_DATA``), a folder of
            pictures, a film, a numbered sequence such as ``hand_%04d.png``, or the number of a camera.
        split: ``train``, ``val``, ``test``, or ``all`` for folders; a film has none.
        segmenter: finds hands in pictures.
        simulator: renders ``rendered``.
        count: of ``rendered`` and ``synthetic``; 0 takes their own.

    Raises:
        UserError: if there is no such feed, split or segmenter, or it is empty.
    """
    if segmenter not in SEGMENTERS:
        raise UserError(f"unknown segmenter {segmenter!r}: choose from {', '.join(SEGMENTERS)}")
    built_in = feed in ("rendered", "synthetic")
    if split not in SPLITS and (built_in or split != "all"):
        raise UserError(
            f"{feed} has no split {split!r}: choose from {', '.join((*SPLITS, *(() if built_in else ('all',))))}"
        )
    if feed == "rendered":
        return RenderedPoses(simulator, split, **({"count": count} if count else {}))
    if feed == "synthetic":
        return DrawnHands(split, segmenter=segmenter, **({"count": count} if count else {}))
    if is_film(feed):
        if not feed.isdecimal() and "%" not in feed and not Path(feed).is_file():
            raise UserError(f"no such feed: {feed}")
        return Film(feed, segmenter)
    return _photographs(feed, split, segmenter)


def _photographs(feed: str, split: str, segmenter: Segmenter) -> Photographs:
    """Those of a data set or a folder.

    Raises:
        UserError: if there are none.
    """
    folder = Path(feed) if Path(feed).is_dir() else data_root() / feed
    if feed == "hands11k":
        listed = list_hands11k(data_root() / feed, {"accessories": False})
    elif folder.is_dir():
        listed = list_folder(folder)
    else:
        raise UserError(
            f"no such feed: {feed!r} is neither rendered, synthetic, a folder (also under HANDGEN_DATA), a film "
            "(or hand_%04d.png) nor a camera"
        )
    chosen = [photo for photo in listed if split in ("all", photo.split)]
    if not chosen:
        raise UserError(f"the feed {feed} has no picture in its split {split!r}: add some, or use split=all")
    paths = [photo.path for photo in chosen]
    sides = [_thumb_left(photo.columns) for photo in chosen]
    if feed == "hands11k":
        shown = [digit_angles(OPEN)] * len(chosen)
        return Photographs(paths, feed, sides, [str(photo.columns["id"]) for photo in chosen], segmenter, shown)
    named = None not in sides  # Sign-Language-Digits, whose folders are the digits that are signed
    shown = [digit_angles(SIGNS[photo.columns["label"]] if named else None) for photo in chosen]
    persons = [photo.columns["person"] for photo in chosen]
    return Photographs(paths, folder.name, sides, persons, segmenter, shown)


def _thumb_left(columns: Mapping[str, Any]) -> bool | None:
    """Whether the thumb is on the left once the fingers point up; None is unknown.

    The back of a right hand has its thumb on the left, and so has the palm of a left one.
    """
    if columns["side"] is None:
        return None
    return bool((columns["side"] == "right") == (columns["view"] == "dorsal"))


def usable_target(feed: Feed, index: int, size: int) -> Target:
    """A target of a feed in any order, or the next one that can be used.

    Raises:
        UserError: if a whole round shows no hand.
    """
    reason = ""
    for offset in range(len(feed)):
        try:
            return feed.target((index + offset) % len(feed), size)
        except ValueError as error:
            reason = str(error)
    raise UserError(f"the feed {feed.name} shows no hand: {reason}" if reason else f"the feed {feed.name} is empty")


def opened(source: int | str) -> cv2.VideoCapture:
    """A film, a sequence or a camera, without what its libraries have to say about an absent one."""
    with silenced():
        return cv2.VideoCapture(source)

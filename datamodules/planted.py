"""Photographs of hands, intact and with planted malformations, without any label made by a person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from handgen.anatomy.hand_mask import hand_mask
from handgen.anatomy.judge_reliability import HEALTHY, PLANTED
from handgen.anatomy.photo_edits import edit_photograph
from handgen.datamodules.hands import HandsDataModule

Batch = dict[str, Tensor]
COPIES = {"train": 4, "val": 1, "test": 1}
"""Edited copies of each kind that are made of one photograph, where its fingers allow the edit."""
HEALTHY_TURNS = ("intact", "intact", *(name for name in HEALTHY if name != "intact"))
"""Half of the healthy photographs of a batch are untouched ones."""
MALFORMED_TURNS = tuple(name for name in PLANTED if name not in HEALTHY)


class PlantedPhotographs(Dataset[Batch]):
    """Photographs with what was done to them.

    Args:
        pixels: uint8 (N, 4, H, W): RGB and the hand's mask (of the intact photograph).
        planted: int64 (N,), index into `PLANTED`.
        subject: int64 (N,), whose hand it is.
    """

    def __init__(self, pixels: Tensor, planted: Tensor, subject: Tensor) -> None:
        self.pixels = pixels
        self.planted = planted
        self.subject = subject
        self.rows = {name: (planted == index).nonzero()[:, 0] for index, name in enumerate(PLANTED)}

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.pixels)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return ``image`` uint8 (B, 3, H, W) and ``planted`` int64 (B,)."""
        rows = torch.as_tensor(indices)
        return {"image": self.pixels[rows, :3], "planted": self.planted[rows]}

    def half(self, which: str) -> PlantedPhotographs:
        """The photographs of the ``first`` or ``second`` half of the subjects, or ``all``."""
        if which == "all":
            return self
        middle = self.subject.unique().sort().values
        first = self.subject < middle[len(middle) // 2]
        rows = first if which == "first" else ~first
        return PlantedPhotographs(self.pixels[rows], self.planted[rows], self.subject[rows])

    def balanced(self, numbers: Tensor) -> Batch:
        """One photograph for each of B numbers: alternately a healthy one and a malformed one, their kinds in turn.

        Args:
            numbers: (B,) non-negative integers; the same number always picks the same photograph.

        Returns:
            ``image`` uint8 (B, 3, H, W), ``_mask`` uint8 (B, 1, H, W), ``_valid`` bool (B,), ``_planted`` int64 (B,),
            index into `PLANTED`. The mask of a malformed one is that of its intact original.
        """
        turn = torch.arange(len(numbers)) % 2 == 0
        good, bad = self._take_turns(HEALTHY_TURNS, numbers), self._take_turns(MALFORMED_TURNS, numbers)
        turn |= bad < 0
        rows = torch.where(turn, good, bad)
        pixels = self.pixels[rows]
        return {"image": pixels[:, :3], "_mask": pixels[:, 3:], "_valid": turn, "_planted": self.planted[rows]}

    def _take_turns(self, kinds: Sequence[str], numbers: Tensor) -> Tensor:
        """Rows (B,) of photographs of each kind in turn, by numbers (B,); -1 where there is none of any kind."""
        groups = [self.rows[kind] for kind in kinds if len(self.rows[kind])]
        if not groups:
            return torch.full_like(numbers, -1)
        within = numbers // len(groups) * 31
        return torch.stack([group[within % len(group)] for group in groups]).gather(0, numbers[None] % len(groups))[0]


def open_planted(size: int, split: str, data_root: Path, cache_dir: Path) -> PlantedPhotographs:
    """Photographs of one split of the 11k Hands subjects, with edited copies.

    Testing uses clean hands only (no irregularities, no accessories), training also hands with accessories.

    Args:
        size: pixels per side; edits are made at twice that.
        split: ``train``, ``val`` or ``test``.
        data_root: as in `HandsDataModule`.
        cache_dir: as in `HandsDataModule`.

    Raises:
        UserError: if the photographs are missing.
    """
    data = HandsDataModule(
        "hands11k", 2 * size, irregularities=False, accessories=None if split == "train" else False,
        data_root=str(data_root), cache_dir=str(cache_dir),
    )  # fmt: skip
    images, names = data.images(split), [int(name) for name in data.metadata(split)["id"]]
    pixels, planted, subject = [], [], []
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        picture = image.permute(1, 2, 0).numpy()
        mask = cv2.resize(hand_mask(picture).astype(np.uint8), picture.shape[1::-1]) > 0
        for kind, edited in _versions(picture, mask, row, COPIES[split]):
            large = torch.from_numpy(np.dstack([edited, mask.astype(np.uint8) * 255])).permute(2, 0, 1)
            pixels.append(F.avg_pool2d(large.float(), 2).round().to(torch.uint8))
            planted.append(PLANTED.index(kind))
            subject.append(name)
    return PlantedPhotographs(torch.stack(pixels), torch.tensor(planted), torch.tensor(subject))


def _versions(picture: np.ndarray, mask: np.ndarray, row: int, copies: int) -> list[tuple[str, np.ndarray]]:
    """The photograph itself and its edited copies (those that its fingers allow)."""
    versions = [("intact", picture)]
    for copy in range(copies):
        for kind in PLANTED[1:]:
            edited = edit_photograph(picture, mask, kind, np.random.default_rng([row, copy]))
            if edited is not None:
                versions.append((kind, edited))
    return versions

"""Images of hands: rendered ones, the 11k Hands photographs, or any folder of photographs."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from handgen import paths
from handgen.datamodules.augmentation import BatchAugmentation
from handgen.datamodules.batches import HandImages, ShuffledBatches
from handgen.datamodules.hands_settings import check_settings
from handgen.datamodules.image_cache import ImageCache
from handgen.errors import UserError
from handgen.photo_lists import SPLITS, list_folder, list_hands11k

SIDE_CODES = {"right": 0, "left": 1}

Batch = dict[str, Tensor]
DatasetName = Literal["synthetic", "hands11k", "folder"]
Augmentation = Literal["flip", "affine", "colour"]


class HandsDataModule(ShuffledBatches):
    """Images of hands with the fingers up and the wrist at the bottom, on a plain background.

    Every image is decoded or rendered once into a uint8 memory map under ``cache_dir``; a batch is then one
    fancy index. A batch holds ``image`` (uint8 at rest; float (B, 3, H, W) in [0, 1] on the device),
    ``index`` int64 (B,), the row in ``images(split)`` and ``metadata(split)``, and ``side`` int64 (B,):
    0 right, 1 left, -1 unknown, swapped where the augmentation mirrored the image.

    The order of the training batches and their augmentation depend on the seed and the epoch alone, so a
    resumed run sees the batches that the uninterrupted one would have seen, in the middle of an epoch too.

    Args:
        dataset: ``synthetic`` (rendered by ``handgen.anatomy``), ``hands11k`` (the published layout,
            ``hands11k/HandInfo.csv`` and ``hands11k/Hands/*.jpg`` under ``data_root``) or ``folder``.
        image_size: Height and width in pixels.
        batch_size: Images per batch (per process).
        train_count: Rendered training hands (``synthetic`` only).
        val_count: Rendered validation hands (``synthetic`` only).
        test_count: Rendered test hands (``synthetic`` only).
        seed: Seed of the rendered hands; another seed is another population.
        kinds: Kinds of rendered hands, a selection of ``handgen.anatomy.KINDS`` (``synthetic`` only).
        upright: Rendered hands are centred and nearly upright, as photographs cropped to the hand are; false puts
            them anywhere in the frame (``synthetic`` only).
        data_root: Folder that holds the real data; default: environment variable HANDGEN_DATA, else ``data``.
        cache_dir: Folder of the memory maps; default: HANDGEN_CACHE, else ``~/.cache/handgen``.
        aspects: Keep these values, such as ``palmar right`` (this and all filters: ``hands11k`` only).
        skin_colors: Keep these ``skinColor`` values: very fair, fair, medium, dark.
        genders: Keep these ``gender`` values: female, male.
        accessories: Keep only hands with (true) or without (false) rings, watches and the like.
        nail_polish: Keep only hands with or without nail polish.
        irregularities: Keep only hands with or without irregularities.
        age_min: Youngest age kept, in years.
        age_max: Oldest age kept, in years.
        augment: Any of ``flip``, ``affine``, ``colour``; default: none for ``synthetic``, flip and affine for
            photographs; an empty list turns it off. Training batches only.
        on_bad_image: ``skip`` leaves unreadable photographs out and reports their number in one line;
            ``error`` stops at the first.
        num_workers: Loader processes; 0 suffices: a batch takes 1 ms, its augmentation 0.2 ms an image.
        folder: Folder of images for ``dataset=folder``: a path, or a name under ``data_root``.
        crop: Crop photographs to the hand; false keeps the whole picture.
        margin: Free border around the hand, as a share of its larger side.
        orientation: Where the fingers point in the photographs: ``auto`` decides for each, ``up``, ``down``.
        shuffle_seed: Seed of order and augmentation; default: that of ``seed_everything``, else ``seed``.

    Raises:
        UserError: If a setting, a folder, the CSV or every image of a split is unusable; the message says
            which.
    """

    def __init__(
        self,
        dataset: DatasetName = "synthetic",
        image_size: int = 64,
        batch_size: int = 128,
        train_count: int = 10_000,
        val_count: int = 500,
        test_count: int = 2_000,
        seed: int = 0,
        kinds: Sequence[str] = ("valid",),
        upright: bool = True,
        data_root: str | None = None,
        cache_dir: str | None = None,
        aspects: Sequence[str] | None = None,
        skin_colors: Sequence[str] | None = None,
        genders: Sequence[str] | None = None,
        accessories: bool | None = None,
        nail_polish: bool | None = None,
        irregularities: bool | None = None,
        age_min: int | None = None,
        age_max: int | None = None,
        augment: Sequence[Augmentation] | None = None,
        on_bad_image: Literal["skip", "error"] = "skip",
        num_workers: int = 0,
        folder: str | None = None,
        crop: bool = True,
        margin: float = 0.08,
        orientation: Literal["auto", "up", "down"] = "auto",
        shuffle_seed: int | None = None,
    ) -> None:
        global_seed = int(os.environ.get("PL_GLOBAL_SEED", seed))  # what seed_everything left there
        super().__init__(global_seed if shuffle_seed is None else shuffle_seed, batch_size)
        self.source = dataset
        self.image_size = image_size
        self.counts = {"train": train_count, "val": val_count, "test": test_count}
        self.seed = seed
        self.kinds = tuple(kinds)
        self.upright = upright
        self.data_root = paths.data_root(data_root)
        self.cache_dir = paths.cache_root(cache_dir)
        self.filters: dict[str, Any] = {
            "aspects": aspects,
            "skin_colors": skin_colors,
            "genders": genders,
            "accessories": accessories,
            "nail_polish": nail_polish,
            "irregularities": irregularities,
            "age_min": age_min,
            "age_max": age_max,
        }
        default_augment = () if dataset == "synthetic" else ("flip", "affine")
        self.augment = default_augment if augment is None else tuple(augment)
        self.on_bad_image = on_bad_image
        self.num_workers = num_workers
        self.folder = folder
        self.crop = crop
        self.margin = margin
        self.orientation = orientation
        self._reported = False
        self._cache: ImageCache | None = None
        check_settings(self)

    @property
    def dataset(self) -> str:
        """Name for result records: ``synthetic``, ``hands11k`` or the folder's own name."""
        return Path(self.folder).name if self.source == "folder" and self.folder else self.source

    def prepare_data(self) -> None:
        """Build the memory map if it is not there yet (once, on rank 0 of each node)."""
        self._report(self._open_cache())

    def setup(self, stage: str | None = None) -> None:
        """Open the memory map; ``images`` and ``metadata`` work from here on.

        Args:
            stage: Lightning's stage name; all splits are opened whatever it is.
        """
        if self._cache is None:
            self._cache = self._open_cache()
            self._report(self._cache)

    def images(self, split: str) -> Tensor:
        """Return one split's images, memory-mapped: nothing is read before it is used, nothing is copied.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            uint8 (N, 3, image_size, image_size), RGB.
        """
        start, stop = self._range(split)
        return self._ready().images[start:stop]

    def metadata(self, split: str) -> dict[str, list[Any]]:
        """Return what is known of one split's images, one list of N plain values per column.

        Args:
            split: ``train``, ``val`` or ``test``.

        Returns:
            ``side`` (right, left or None) always. ``synthetic`` adds index, kind, valid, digits, view;
            ``hands11k`` its CSV columns, file, view and rotated; ``folder`` file, label (the sub-folder), person
            and rotated.
        """
        start, stop = self._range(split)
        return {name: column[start:stop] for name, column in self._ready().columns.items()}

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return whole shuffled, augmented training batches; the incomplete last batch is left out."""
        transform = BatchAugmentation(self.augment) if self.augment else None
        return self._loader("train", shuffle=True, transform=transform)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation images in order, not augmented."""
        return self._loader("val", shuffle=False)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test images in order, not augmented."""
        return self._loader("test", shuffle=False)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn ``image`` from uint8 into float in [0, 1], on the device; a float image is left as it is.

        Args:
            batch: Batch of one of this module's loaders.
            dataloader_idx: Unused.

        Returns:
            The same batch with float32 images.
        """
        if batch["image"].dtype == torch.uint8:
            batch = {**batch, "image": batch["image"].float() / 255}
        return batch

    def _loader(self, split: str, shuffle: bool, transform: BatchAugmentation | None = None) -> DataLoader[Batch]:
        images = self.images(split)
        if len(images) < (self.batch_size if shuffle else 1):
            raise UserError(
                f"{self.dataset}: the {split} split has {len(images)} images, fewer than one batch of "
                f"{self.batch_size}: lower batch_size, or keep more images"
            )
        sides = torch.tensor([SIDE_CODES.get(side, -1) for side in self.metadata(split)["side"]])
        data = HandImages(images, sides, transform, self.shuffle_seed)
        return self.batches(data, shuffle, self.num_workers)

    def _open_cache(self) -> ImageCache:
        # Decoding, rendering and their heavy imports are needed only where there is something to build or
        # to open.
        if self.source == "synthetic":
            from handgen.datamodules.rendered import open_rendered

            return open_rendered(self.cache_dir, self.image_size, self.counts, self.seed, self.kinds, self.upright)
        from handgen.datamodules.photographs import Preprocessing, open_photographs

        if self.source == "hands11k":
            photos = list_hands11k(self.data_root / "hands11k", self.filters)
        else:
            photos = list_folder(self._folder_path())
        settings = Preprocessing(self.image_size, self.crop, self.margin, self.orientation)
        return open_photographs(self.cache_dir, photos, settings, self.on_bad_image, self.dataset)

    def _report(self, cache: ImageCache) -> None:
        if cache.note and not self._reported:
            logging.getLogger("handgen").warning(cache.note)
        self._reported = True

    def _folder_path(self) -> Path:
        path = Path(self.folder or "").expanduser()
        return path if path.is_dir() or path.is_absolute() else self.data_root / path

    def _ready(self) -> ImageCache:
        if self._cache is None:
            self.setup()
        assert self._cache is not None
        return self._cache

    def _range(self, split: str) -> tuple[int, int]:
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
        start, stop = self._ready().ranges[split]
        return start, stop

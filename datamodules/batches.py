"""Whole-batch fetching: a data set that returns one batch per call, and the order of its batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from handgen.datamodules.augmentation import BatchAugmentation

Batch = dict[str, Tensor]


def identity(batch: Any) -> Any:
    """Return the batch: ``HandImages`` has collated it already (by name, so that workers can pickle it)."""
    return batch


class HandImages(Dataset[Batch]):
    """Images in a memory map, fetched a whole batch at a time.

    Args:
        images: uint8 (N, 3, H, W).
        sides: int64 (N,), 0 right, 1 left, -1 unknown.
        transform: Augmentation of a batch, or None.
        seed: Seed of the augmentation.
    """

    def __init__(self, images: Tensor, sides: Tensor, transform: BatchAugmentation | None, seed: int) -> None:
        self.images = images
        self.sides = sides
        self.transform = transform
        self.seed = seed
        # Shared memory: workers that outlive an epoch see the change too.
        self.epoch = torch.zeros(1, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Batch:
        """Return one image as a batch of one, with the same keys as ``__getitems__``."""
        return self.__getitems__([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return one batch.

        Args:
            indices: B rows of the data set.

        Returns:
            ``image`` uint8 (B, 3, H, W), ``index`` int64 (B,), ``side`` int64 (B,).
        """
        index = torch.as_tensor(indices, dtype=torch.int64)
        image, side = self.images[index], self.sides[index]
        if self.transform is not None:
            # albumentations ignores seed_everything and repeats itself in workers and epochs unless it is
            # reseeded; seed, epoch and the batch's own first image make every batch's draw its own, on any
            # worker.
            image, flipped = self.transform(image, (self.seed, int(self.epoch), int(index[0])))
            side = torch.where(flipped & (side >= 0), 1 - side, side)
        return {"image": image, "index": index, "side": side}


class EpochSampler(DistributedSampler[Batch]):
    """The order of the images, a function of the seed, the epoch and the rank alone.

    Lightning calls ``set_epoch`` before each epoch and leaves this sampler in place under DDP, since it is a
    ``DistributedSampler``.

    Args:
        data: The data set.
        world_size: Number of processes.
        rank: This process.
        shuffle: Whether to shuffle; without it the order is that of the data set.
        seed: Seed of the order.
    """

    def __init__(self, data: HandImages, world_size: int, rank: int, shuffle: bool, seed: int) -> None:
        super().__init__(data, world_size, rank, shuffle=shuffle, seed=seed, drop_last=shuffle)
        self.data = data
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next order and the augmentation are drawn for.

        Args:
            epoch: Epoch number, from 0.
        """
        super().set_epoch(epoch)
        self.data.epoch.fill_(epoch)

    def skip_once(self, count: int) -> None:
        """Leave out the first ``count`` images of the next epoch only: they were seen before an interruption.

        Args:
            count: Images to leave out.
        """
        self._skip = count

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]
        """Yield this rank's rows in the epoch's order."""
        skip, self._skip = self._skip, 0
        rows: list[Any] = list(super().__iter__())
        return iter(rows[skip:])

"""Whole-batch fetching: a data set that returns one batch per call, and the order of its batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from handgen.datamodules.augmentation import BatchAugmentation

Batch = dict[str, Tensor]


def identity(batch: Any) -> Any:
    """Return the batch: ``HandImages`` has collated it already (by name, so that workers can pickle it)."""
    return batch


def own_generator() -> torch.Generator:
    """What a loader draws the seed of its workers from.

    Without one, each of its iterators draws from torch's own random numbers: an epoch that is resumed in its middle has
    one iterator more, and how often is validated would change what is trained.
    """
    return torch.Generator()


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
        data: The data set; if it has an attribute ``epoch``, an int64 tensor, that is kept up to date.
        world_size: Number of processes.
        rank: This process.
        shuffle: Whether to shuffle; without it the order is that of the data set.
        seed: Seed of the order.
    """

    def __init__(self, data: Dataset[Batch], world_size: int, rank: int, shuffle: bool, seed: int) -> None:
        super().__init__(data, world_size, rank, shuffle=shuffle, seed=seed, drop_last=shuffle)
        self.drawn_for: Tensor | None = getattr(data, "epoch", None)
        self._skip = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that the next order and the augmentation are drawn for.

        Args:
            epoch: Epoch number, from 0.
        """
        super().set_epoch(epoch)
        if self.drawn_for is not None:
            self.drawn_for.fill_(epoch)

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


class ShuffledBatches(LightningDataModule):
    """A data module whose training batches depend on a seed and the epoch alone: a resumed run goes on in mid-epoch.

    Args:
        shuffle_seed: seed of the order.
        batch_size: rows of a batch (per process).
    """

    def __init__(self, shuffle_seed: int, batch_size: int) -> None:
        super().__init__()
        self.shuffle_seed = shuffle_seed
        self.batch_size = batch_size
        self._resume_batch = 0

    def batches(self, data: Dataset[Batch], shuffle: bool, num_workers: int = 0) -> DataLoader[Batch]:
        """This process's batches: shuffled whole ones, less those seen before an interruption, or all in order.

        Args:
            data: returns a batch for a list of rows.
            shuffle: for training.
            num_workers: processes that fetch them.
        """
        world, rank = (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)
        sampler = EpochSampler(data, world, rank, shuffle=shuffle, seed=self.shuffle_seed)
        if shuffle:
            sampler.skip_once(self._resume_batch * self.batch_size)
            self._resume_batch = 0
        return DataLoader(
            data,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=shuffle,
            num_workers=num_workers,
            collate_fn=identity,
            pin_memory=torch.cuda.is_available(),
            generator=own_generator(),
        )

    def state_dict(self) -> dict[str, int]:
        """The order's seed and the place in the epoch (plain integers, for weights-only loading)."""
        trainer = self.trainer
        progress = trainer.fit_loop.epoch_loop.batch_progress.state_dict() if trainer else None
        done = progress["current"]["processed"] if progress else 0
        # At the end of an epoch nothing is left of it: the next one starts at its first batch.
        over = trainer is None or done >= trainer.num_training_batches
        return {"shuffle_seed": self.shuffle_seed, "batches_done": 0 if over else int(done)}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Continue the interrupted epoch at its next batch.

        Args:
            state_dict: What ``state_dict`` returned.
        """
        self.shuffle_seed = state_dict["shuffle_seed"]
        self._resume_batch = state_dict["batches_done"]

"""Rendered hands, right and wrong, with every label that a judge of anatomy can learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from handgen import paths
from handgen.anatomy import KINDS, RENDERER_VERSION, VALID, render_hands
from handgen.anatomy.judges import JUDGE_SIZE
from handgen.datamodules.batches import ShuffledBatches, identity, own_generator
from handgen.datamodules.image_cache import Chunk, Columns, ImageCache, build_cache, cache_key, chunks_of, open_cache
from handgen.datamodules.planted import PlantedPhotographs, open_planted
from handgen.datamodules.rendered import CHUNK, FIRST_INDEX, check_render_size, render_on_all_cores, split_ranges
from handgen.errors import check_at_least

VALID_WEIGHT = 8
"""Valid hands for every hand of one malformation: 8 of 20 hands are valid."""
MIXED_KINDS = ("valid",) * VALID_WEIGHT + KINDS[1:]
Batch = dict[str, Tensor]


class JudgedHands(Dataset[Batch]):
    """Labelled hands, fetched a whole batch at a time.

    Args:
        pixels: uint8 (N, 4, H, W): RGB and the hand's mask.
        labels: tensors of first dimension N by name.
        photographs: photographs to add to each batch, one for every three rendered hands; None for none.
    """

    def __init__(self, pixels: Tensor, labels: Batch, photographs: PlantedPhotographs | None = None) -> None:
        self.pixels = pixels
        self.labels = labels
        self.photographs = photographs

    def __len__(self) -> int:
        """Return the number of hands."""
        return len(self.pixels)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return one batch: ``image`` uint8 (B, 3, H, W), ``mask`` uint8 (B, 1, H, W) and the labels."""
        rows = torch.as_tensor(indices)
        pixels = self.pixels[rows]
        labels = {name: values[rows] for name, values in self.labels.items()}
        batch = {"image": pixels[:, :3], "mask": pixels[:, 3:], **labels}
        if self.photographs is not None:  # the shuffled rows choose them: no random state to save
            chosen = self.photographs.balanced(rows[: len(rows) // 3])
            batch |= {"photo" + name.removeprefix("image"): values for name, values in chosen.items()}
        return batch


class JudgedHandsDataModule(ShuffledBatches):
    """Rendered valid and malformed hands with labels, cached; optionally one half of the training hands.

    A batch holds ``image`` and ``mask`` (float in [0, 1] on the device), ``kind`` int64 (B,) index into ``KINDS``,
    ``valid`` bool (B,), ``digits`` int64 (B,), ``keypoints`` float (B, 21, 2) in [-1, 1], ``visible`` bool (B, 21),
    ``landmarks`` float (B, 35, 2) in [-1, 1] and ``landmark_class`` int64 (B, 35) (`handgen.anatomy.landmarks`).

    Args:
        image_size: pixels per side.
        batch_size: hands per batch (per process).
        train_count: rendered training hands before they are halved. val_count, test_count: held-out hands.
        half: ``first`` or ``second`` half of the training hands, or ``all``; judges that check each other get different
            halves.
        photographs: also train and test on the 11k Hands photographs under ``data_root``, intact and with planted
            malformations; ``auto`` does so where they are found.
        seed: seed of the renderer.
        data_root: folder of real data; default: HANDGEN_DATA, else ``data``.
        cache_dir: folder of the memory maps; default: HANDGEN_CACHE, else ``~/.cache/handgen``.

    Raises:
        UserError: if images are smaller than what judges see, a count is not positive, or the cache cannot be written.
    """

    def __init__(
        self,
        image_size: int = 64,
        batch_size: int = 64,
        train_count: int = 28_000,
        val_count: int = 2_000,
        test_count: int = 4_000,
        half: Literal["first", "second", "all"] = "all",
        photographs: Literal["auto", "yes", "no"] = "auto",
        seed: int = 1,
        data_root: str | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(seed, batch_size)
        check_at_least(JUDGE_SIZE, image_size=image_size)  # what judges see
        check_render_size(image_size)
        check_at_least(1, batch_size=batch_size, train_count=train_count, val_count=val_count, test_count=test_count)
        self.data_root = paths.data_root(data_root)
        self.photographs = photographs == "yes" or (photographs == "auto" and (self.data_root / "hands11k").is_dir())
        self.image_size = image_size
        self.counts = {"train": train_count, "val": val_count, "test": test_count}
        self.half = half
        self.seed = seed
        self.cache_dir = paths.cache_root(cache_dir)
        self.dataset = "synthetic"
        self._cache: ImageCache | None = None
        self._planted: dict[str, PlantedPhotographs] = {}

    def prepare_data(self) -> None:
        """Render the hands if they are not there yet."""
        open_judged(self.cache_dir, self.image_size, self.counts, self.seed)

    def setup(self, stage: str | None = None) -> None:
        """Open the memory map."""
        self._cache = self._cache or open_judged(self.cache_dir, self.image_size, self.counts, self.seed)

    def hands(self, split: str) -> JudgedHands:
        """All labelled hands of one split (``train``: this module's half).

        Args:
            split: ``train``, ``val`` or ``test``.
        """
        if self._cache is None:
            self.setup()
        assert self._cache is not None
        start, stop = self._cache.ranges[split]
        middle = (start + stop) // 2
        if split == "train" and self.half != "all":
            start, stop = (start, middle) if self.half == "first" else (middle, stop)
        columns = {name: values[start:stop] for name, values in self._cache.columns.items()}
        kind = torch.tensor(columns["kind"])
        labels = {
            "kind": kind,
            "valid": kind == VALID,
            "digits": torch.tensor(columns["digits"]),
            "keypoints": torch.tensor(columns["keypoints"]).reshape(-1, 21, 2),
            "visible": torch.tensor(columns["visible"]).bool(),
            "landmarks": torch.tensor(columns["landmarks"]).reshape(len(kind), -1, 2),
            "landmark_class": torch.tensor(columns["landmark_class"]),
        }
        photographs = self.planted("train") if self.photographs and split == "train" else None
        return JudgedHands(self._cache.images[start:stop], labels, photographs)

    def planted(self, split: str) -> PlantedPhotographs:
        """Photographs of one split, intact and edited (``train``: this module's half of the subjects).

        Args:
            split: ``train``, ``val`` or ``test``.

        Raises:
            UserError: if the photographs are missing.
        """
        if split not in self._planted:  # made once: the edits of the training photographs take a minute
            photographs = open_planted(self.image_size, split, self.data_root, self.cache_dir)
            self._planted[split] = photographs.half(self.half) if split == "train" else photographs
        return self._planted[split]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled whole batches."""
        return self.batches(self.hands("train"), shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """The validation hands in order."""
        return self._in_order("val")

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """The test hands in order; then, where there are some, photographs of unseen subjects."""
        loaders = [self._in_order("test")]
        if self.photographs:
            loaders.append(self._ordered(self.planted("test")))
        return loaders

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Images and masks (all that is uint8) as float in [0, 1]."""
        del dataloader_idx
        pixels = {name: value.float() / 255 for name, value in batch.items() if value.dtype == torch.uint8}
        return {**batch, **pixels}

    def _in_order(self, split: str) -> DataLoader[Batch]:
        return self._ordered(self.hands(split))

    def _ordered(self, data: Dataset[Batch]) -> DataLoader[Batch]:
        return DataLoader(data, self.batch_size, sampler=whole(data), collate_fn=identity, generator=own_generator())


def whole(data: Any) -> DistributedSampler[Any]:
    """All of a data set, in order, in every process: a threshold and a rate are of all of it.

    Lightning would share out among the processes what has no sampler of this class.
    """
    return DistributedSampler(data, 1, 0, shuffle=False)


def open_judged(cache_dir: Path, size: int, counts: dict[str, int], seed: int) -> ImageCache:
    """The labelled hands of all splits, rendered now where they are not there yet.

    Args:
        cache_dir: folder of the memory maps.
        size: pixels per side.
        counts: hands per split.
        seed: of the renderer.

    Returns:
        Images (N, 4, size, size), the fourth channel is the mask; columns kind, digits, keypoints, visible, landmarks,
        landmark_class.
    """
    settings = {
        "source": "judged with landmarks",
        "renderer": RENDERER_VERSION,
        "size": size,
        "counts": counts,
        "seed": seed,
    }
    folder = cache_dir / f"judged-{size}-{cache_key({**settings, 'kinds': MIXED_KINDS})}"
    cache = open_cache(folder)
    if cache is not None:
        return cache
    indices = torch.cat([torch.arange(count) + FIRST_INDEX[split] for split, count in counts.items()])
    chunks = chunks_of(len(indices), CHUNK)

    def produce(missing: list[range]) -> Iterator[Chunk]:
        rows = [indices[chunk.start : chunk.stop] for chunk in missing]
        yield from render_on_all_cores(rows, partial(_render, seed=seed, size=size))

    def finish(images: Tensor, columns: Columns) -> ImageCache:
        return ImageCache(images, columns, split_ranges(counts))

    return build_cache(
        folder,
        (len(indices), 4, size, size),
        chunks,
        produce,
        finish,
        f"rendering judged hands {size}x{size}",
    )


def _render(indices: Tensor, seed: int, size: int) -> Chunk:
    hands = render_hands(indices, seed=seed, size=size, kinds=MIXED_KINDS)
    columns: dict[str, list[Any]] = {
        "kind": hands.kind.tolist(),
        "digits": hands.digits.tolist(),
        "keypoints": _rounded(hands.keypoints),
        "visible": hands.visible.int().tolist(),
        "landmarks": _rounded(hands.landmarks),
        "landmark_class": hands.landmark_class.tolist(),
    }
    return torch.cat([hands.image, hands.mask], dim=1), columns


def _rounded(points: Tensor) -> list[list[float]]:
    """Points (B, K, 2) as short rows of 2 K numbers: 1e-4 of a half frame is a three-hundredth of a pixel."""
    return [[round(value, 4) for value in row] for row in points.flatten(1).tolist()]

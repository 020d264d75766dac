"""Single frames of a control task, rendered ahead: what keypoints are learnt from before any agent acts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial

import torch
from lightning import LightningDataModule
from torch import Tensor

from handgen import paths
from handgen.datamodules.frame_rendering import Scene, render_scene
from handgen.datamodules.image_cache import Chunk, Columns, ImageCache, build_cache, cache_key, open_cache
from handgen.datamodules.rendered import render_on_all_cores, split_ranges
from handgen.errors import UserError

Batch = dict[str, Tensor]
SPLITS = ("train", "probe", "test")
CHUNK = 125
"""Frames rendered at once: the decisions of an episode of cart-pole."""


class FramesDataModule(LightningDataModule):
    """Frames of a task of the dm_control suite, rendered once into a uint8 memory map under ``cache_dir``.

    Three splits: ``train`` are frames of a random policy, in the order in which it saw them; ``probe`` and ``test`` are
    cart-poles set to states drawn uniformly over cart positions wholly in view and over *all* pole angles, which a
    random policy rarely sees upright. A linear map from keypoints to the state is fitted on ``probe`` and graded on
    ``test``. (Tasks other than cart-pole have random-policy frames there too, of episodes of their own.)

    A training batch holds ``image``: float (B, 3, H, W) in [0, 1] on the device, frames drawn with replacement; any two
    of them make a pair, as the background is constant. A batch is a function of seed and optimiser step, so that a
    resumed run sees those of an uninterrupted one. Evaluation batches also hold ``state`` (B, 3): cart position in
    metres, sine and cosine of the pole's angle (0 upright).

    Args:
        domain: domain of the suite.
        task: task of that domain.
        image_size: side of the frames in pixels.
        batch_size: frames per batch (per process).
        batches_per_epoch: training batches of an epoch.
        train_count: training frames.
        probe_count: frames that the probe is fitted on.
        test_count: frames that it is graded on.
        action_repeat: environment steps for each decision of the random policy.
        supersampling: each pixel is the mean of so many squared.
        render: ``fast`` or ``paper``, as of ``handgen/CartpolePixels-v0``.
        farthest_m: largest distance of the cart from the middle in ``probe`` and ``test``, metres; at 1.46 the cart
            touches the border of the frame.
        seed: of the random policy and the states.
        cache_dir: folder of the memory maps; default: HANDGEN_CACHE, else ``~/.cache/handgen``.
        shuffle_seed: of the training batches; default: that of ``seed_everything``, else ``seed``.

    Raises:
        UserError: if a count is not positive or nothing can render the task.
    """

    def __init__(
        self,
        domain: str = "cartpole",
        task: str = "swingup",
        image_size: int = 84,
        batch_size: int = 32,
        batches_per_epoch: int = 250,
        train_count: int = 4000,
        probe_count: int = 1000,
        test_count: int = 1000,
        action_repeat: int = 8,
        supersampling: int = 1,
        render: str = "fast",
        farthest_m: float = 1.46,
        seed: int = 0,
        cache_dir: str | None = None,
        shuffle_seed: int | None = None,
    ) -> None:
        super().__init__()
        self.counts = dict(zip(SPLITS, (train_count, probe_count, test_count), strict=True))
        positive = {**{f"{name}_count": count for name, count in self.counts.items()}, "batch_size": batch_size}
        for name, count in {**positive, "batches_per_epoch": batches_per_epoch}.items():
            if count < 1:
                raise UserError(f"{name}={count} must be at least 1")
        if batch_size < 2:
            raise UserError(f"batch_size={batch_size}: source and target are two frames of a batch, give at least 2")
        self.scene = Scene(domain, task, image_size, action_repeat, supersampling, render, farthest_m, seed)
        self.dataset = f"{domain}_{task}"
        self.batch_size, self.batches_per_epoch = batch_size, batches_per_epoch
        self.cache_dir = paths.cache_root(cache_dir)
        global_seed = int(os.environ.get("PL_GLOBAL_SEED", seed))  # what seed_everything left there
        self.shuffle_seed = global_seed if shuffle_seed is None else shuffle_seed
        self._cache: ImageCache | None = None

    def prepare_data(self) -> None:
        """Render what is missing (on one process of each machine)."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Open the memory map, rendering it first where it is missing."""
        if self._cache is None:
            self._cache = self._open()

    def images(self, split: str) -> Tensor:
        """Frames of one split, uint8 (N, 3, H, W)."""
        return self._opened().images[slice(*self._opened().ranges[split])]

    def states(self, split: str) -> Tensor:
        """Cart position (metres), sine and cosine of the pole's angle of one split, (N, 3); NaN for other tasks."""
        cache = self._opened()
        return torch.tensor(cache.columns["state"][slice(*cache.ranges[split])], dtype=torch.float32)

    def train_dataloader(self) -> TrainingFrames:
        """Batches drawn from the training frames."""
        return TrainingFrames(self)

    def val_dataloader(self) -> EvaluationBatches:
        """The probe's frames, then the test frames, in order; ``split`` (B,) is 0 and 1."""
        batches: list[Batch] = []
        for code, split in enumerate(SPLITS[1:]):
            images, states = self.images(split), self.states(split)
            for start in range(0, len(images), 250):
                rows = slice(start, start + 250)
                batch = {"image": images[rows], "state": states[rows]}
                batches.append({**batch, "split": torch.full((len(batch["image"]),), code)})
        return EvaluationBatches(batches)

    def test_dataloader(self) -> EvaluationBatches:
        """The same as for validation."""
        return self.val_dataloader()

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn ``image`` from uint8 into float in [0, 1], on the device."""
        return {**batch, "image": batch["image"].float() / 255}

    def draw(self, step: int) -> Batch:
        """The training batch of one optimiser step, uint8.

        Args:
            step: optimiser step from 0; every process of a distributed run draws its own.
        """
        rank = self.trainer.global_rank if self.trainer else 0
        generator = torch.Generator().manual_seed(hash((self.shuffle_seed, rank, step)) % 2**63)
        images = self.images("train")
        return {"image": images[torch.randint(len(images), (self.batch_size,), generator=generator)]}

    def _open(self) -> ImageCache:
        folder = self.cache_dir / f"frames-{self.dataset}-{self.scene.image_size}-{cache_key(self._key())}"
        cache = open_cache(folder)
        if cache is not None:
            return cache
        chunks, jobs = plan(self.counts)

        def produce(missing: list[range]) -> Iterator[Chunk]:
            rows = [jobs[chunk.start] for chunk in missing]
            yield from render_on_all_cores(rows, partial(render_scene, scene=self.scene), clean_start=True)

        def finish(images: Tensor, columns: Columns) -> ImageCache:
            return ImageCache(images, columns, split_ranges(self.counts))

        size = self.scene.image_size
        shape = (sum(self.counts.values()), 3, size, size)
        return build_cache(folder, shape, chunks, produce, finish, f"rendering {self.dataset} {size}x{size}")

    def _key(self) -> dict[str, object]:
        return {"source": "frames", "counts": self.counts, **self.scene.__dict__}

    def _opened(self) -> ImageCache:
        self.setup()
        assert self._cache is not None
        return self._cache


class EvaluationBatches:
    """Batches in order. No ``DataLoader``, which Lightning would divide among processes: a probe needs every frame.

    Args:
        batches: the batches.
    """

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        """One after the other."""
        return iter(self.batches)


class TrainingFrames:
    """An epoch of training batches.

    Args:
        data: what draws them.
    """

    def __init__(self, data: FramesDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        """Batches of an epoch: with it, Lightning fetches none ahead."""
        return self.data.batches_per_epoch

    def __iter__(self) -> Iterator[Batch]:
        """Draw for the step that is about to be made."""
        for number in range(len(self)):
            yield self.data.draw(self.data.trainer.global_step if self.data.trainer else number)


def plan(counts: dict[str, int]) -> tuple[list[range], dict[int, Tensor]]:
    """Divide the frames into chunks that can be rendered apart from each other.

    Args:
        counts: frames per split.

    Returns:
        Ranges of rows, and for the first row of each what `render_scene` is asked for: code of the split, number of the
        chunk in it, frames.
    """
    chunks, jobs = [], {}
    for code, (start, stop) in enumerate(split_ranges(counts).values()):
        for number, first in enumerate(range(start, stop, CHUNK)):
            chunk = range(first, min(first + CHUNK, stop))
            chunks.append(chunk)
            jobs[first] = torch.tensor([code, number, len(chunk)])
    return chunks, jobs

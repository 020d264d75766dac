"""Hands to learn keypoints on, and rendered hands whose true joints grade them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from handgen.datamodules.frames import EvaluationBatches
from handgen.datamodules.hands import HandsDataModule
from handgen.datamodules.image_cache import Chunk, Columns, ImageCache, build_cache, cache_key, chunks_of, open_cache
from handgen.datamodules.rendered import CHUNK, FIRST_INDEX, check_render_size, render_on_all_cores, split_ranges
from handgen.errors import UserError

GRADED = ("probe", "test")
SHOWN = 64
"""Photographs that lead the evaluation, to be looked at."""


class HandJointsDataModule(HandsDataModule):
    """The training images of ``HandsDataModule``; evaluation on rendered hands with the renderer's true joints.

    Evaluation batches hold ``image``, ``split`` (0 to fit a map from keypoints to joints on, 1 to grade it) and
    ``joints`` (B, 21, 2), (x, y) in [-1, 1]: wrist, then root, two joints and tip of each digit from the thumb on.
    Where photographs are trained on, a first batch shows test photographs without labels.

    Args:
        probe_count: rendered hands that the map is fitted on.
        graded_count: rendered hands that it is graded on.
        kwargs: settings of ``HandsDataModule``.

    Raises:
        UserError: if a count is not positive, or as ``HandsDataModule``.
    """

    def __init__(self, probe_count: int = 1000, graded_count: int = 1000, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        if probe_count < 1 or graded_count < 1:
            raise UserError(f"probe_count={probe_count} and graded_count={graded_count} must be at least 1")
        check_render_size(self.image_size)  # whatever is trained on, drawn hands grade it
        self.graded_counts = dict(zip(GRADED, (probe_count, graded_count), strict=True))
        self._graded: ImageCache | None = None

    def prepare_data(self) -> None:
        """Build both memory maps (once, on rank 0 of each node)."""
        super().prepare_data()
        self._open_graded()

    def setup(self, stage: str | None = None) -> None:
        """Open both memory maps."""
        super().setup(stage)
        self._graded = self._graded or self._open_graded()

    def val_dataloader(self) -> EvaluationBatches:  # type: ignore[override]
        """Photographs to look at, if there are any; rendered hands with joints in order."""
        self.setup()
        assert self._graded is not None
        joints = torch.tensor(self._graded.columns["joints"]).view(-1, 21, 2)
        batches = [] if self.source == "synthetic" else [{"image": self.images("test")[:SHOWN]}]
        for code, (first, last) in enumerate(self._graded.ranges.values()):
            for start in range(first, last, 250):
                rows = slice(start, min(start + 250, last))
                batch = {"image": self._graded.images[rows], "joints": joints[rows]}
                batches.append({**batch, "split": torch.full((len(batch["image"]),), code)})
        return EvaluationBatches(batches)

    def test_dataloader(self) -> EvaluationBatches:  # type: ignore[override]
        """The same as for validation."""
        return self.val_dataloader()

    def _open_graded(self) -> ImageCache:
        from handgen.anatomy import RENDERER_VERSION

        settings = {"renderer": RENDERER_VERSION, "size": self.image_size, "counts": self.graded_counts}
        settings |= {"source": "joints", "seed": self.seed, "upright": self.upright}
        folder = self.cache_dir / f"joints-{self.image_size}-{cache_key(settings)}"
        cache = open_cache(folder)
        if cache is not None:
            return cache
        # Behind the hands that any other split draws.
        indices = torch.arange(sum(self.graded_counts.values())) + FIRST_INDEX["test"] + 10**8
        chunks = chunks_of(len(indices), CHUNK)
        render = partial(_render, seed=self.seed, size=self.image_size, upright=self.upright)

        def produce(missing: list[range]) -> Iterator[Chunk]:
            yield from render_on_all_cores([indices[chunk.start : chunk.stop] for chunk in missing], render)

        def finish(images: Tensor, columns: Columns) -> ImageCache:
            return ImageCache(images, columns, split_ranges(self.graded_counts))

        shape = (len(indices), 3, self.image_size, self.image_size)
        return build_cache(folder, shape, chunks, produce, finish, f"rendering hands {shape[-1]}x{shape[-1]}")


def _render(rows: Tensor, seed: int, size: int, upright: bool) -> Chunk:
    """Valid hands and their joints."""
    from handgen.anatomy import render_hands

    hands = render_hands(rows, seed=seed, size=size, upright=upright)
    return hands.image, {"joints": hands.keypoints.flatten(1).tolist()}

"""The figure of IMM: frames, their keypoints, what is redrawn from them, and where the points come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from numpy.typing import NDArray
from torch import Tensor

from handgen.callbacks.image_log import log_image
from handgen.errors import check_at_least
from handgen.keypoints.coordinates import cell_centres, marginals_of, soft_argmax
from handgen.keypoints.overlay import draw_keypoints, point_colours

COLUMNS = ("source: what things look like", "target with keypoints", "heat maps of the keypoints", "target redrawn")
MOST_MAPS = 16


class KeypointFigure(Callback):
    """Write ``images/keypoints-STEP.png`` after a validation, and ``keypoints.png`` when a test run ends.

    Above: pairs of source and target, the target's keypoints and heat maps, and the target redrawn from both. Below:
    the score map of each point on the first target, its marginals above and beside it, and the point.

    Args:
        pairs: rows of the upper part.
        every_n_epochs: epochs between two figures.
        spacing: frames between one shown frame and the next in the evaluation's first batch.
    """

    def __init__(self, pairs: int = 4, every_n_epochs: int = 4, spacing: int = 7) -> None:
        check_at_least(1, pairs=pairs, every_n_epochs=every_n_epochs, spacing=spacing)
        self.pairs, self.every_n_epochs, self.spacing = pairs, every_n_epochs, spacing

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: dict[str, Tensor], batch_idx: int, *rest: int
    ) -> None:
        """Draw the first batch of every ``every_n_epochs``-th epoch."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if batch_idx == 0 and due and not trainer.sanity_checking:
            self._write(trainer, pl_module, batch, Path("images", f"keypoints-{trainer.global_step:06d}.png"))

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: dict[str, Tensor], batch_idx: int, *rest: int
    ) -> None:
        """Draw the first batch."""
        if batch_idx == 0:
            self._write(trainer, pl_module, batch, Path("keypoints.png"))

    def _write(self, trainer: Trainer, module: Any, batch: dict[str, Tensor], name: Path) -> None:
        if trainer.is_global_zero:
            frames = batch["image"][:: self.spacing][: self.pairs + 1]
            with torch.no_grad():
                figure = draw_figure(module, frames)
            log_image(trainer, "images/keypoints", figure, Path(trainer.default_root_dir) / name)


def draw_figure(module: Any, frames: Tensor) -> NDArray[np.uint8]:
    """Draw the figure.

    Args:
        module: an ``IMM`` in evaluation mode.
        frames: (N, 3, H, W) in [0, 1], N at least 2; the first is not a target.

    Returns:
        RGB, uint8 (H, W, 3).
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    source, target = module.sources(frames)[1:], frames[1:]
    keypoints = module(target)
    shown = min(keypoints.shape[1], MOST_MAPS)
    across = min(shown, 8)
    down = -(-shown // across)
    figure = plt.figure(figsize=(11, 2.75 * len(target) + 11 / across * down * 1.12), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[2.7 * len(target), 11 / across * down * 1.12])
    upper, lower = parts
    panels = upper.subplots(len(target), len(COLUMNS), squeeze=False)
    pictures = (
        _bytes(source),
        draw_keypoints(_bytes(target), keypoints),
        coloured_heatmaps(module, keypoints, *target.shape[2:]),
        _bytes(module.reconstruct(source, target)),
    )
    for column, (title, images) in enumerate(zip(COLUMNS, pictures, strict=True)):
        for row, image in enumerate(images):
            panels[row, column].imshow(image.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
            panels[row, column].axis("off")
        panels[0, column].set_title(title, fontsize=10)
    kind = "one softmax over all cells" if module.keynet.marginals == "joint" else "softmax of the mean scores"
    lower.suptitle(f"score maps on the first target, with marginals ({kind}) and the point read off", fontsize=10)
    scores = module.keynet.score_maps(target[:1])[0]
    _draw_score_maps(lower.subplots(down, across, squeeze=False), module.keynet, scores[:shown])
    figure.canvas.draw()
    picture: NDArray[np.uint8] = np.array(figure.canvas.buffer_rgba())[:, :, :3].copy()  # type: ignore[attr-defined]
    plt.close(figure)
    return picture


def coloured_heatmaps(module: Any, keypoints: Tensor, height: int, width: int) -> Tensor:
    """The heat maps of (B, K, 2) keypoints on black, each in its point's colour, uint8 (B, 3, height, width)."""
    maps = module.heatmaps(keypoints, height, width)
    colours = point_colours(keypoints.shape[1]).to(maps)
    return _bytes(torch.einsum("bkhw,kc->bckhw", maps, colours).amax(dim=2))


def _draw_score_maps(panels: Any, keynet: Any, scores: Tensor) -> None:
    """One panel for each score map (K, h, w): the map, its marginals as curves inside the frame, the point."""
    columns, rows = (part[0].cpu() for part in marginals_of(scores[None], keynet.marginals, keynet.temperature))
    points = soft_argmax(scores[None], keynet.marginals, keynet.temperature)[0].cpu()
    colours = point_colours(keynet.keypoints).tolist()
    x, y = cell_centres(scores.shape[2], points), cell_centres(scores.shape[1], points)
    for panel in panels.flat:
        panel.axis("off")
    for index, panel in enumerate(panels.flat[: len(scores)]):
        panel.imshow(scores[index].float().cpu().numpy(), extent=(-1, 1, 1, -1), cmap="gray")
        panel.fill_between(x, -1.05, -1.05 - 0.4 * columns[index] / columns[index].max(), color=colours[index])
        panel.fill_betweenx(y, 1.05, 1.05 + 0.4 * rows[index] / rows[index].max(), color=colours[index])
        panel.plot(*points[index].tolist(), "o", color=colours[index], markeredgecolor="black", markersize=7)
        panel.set(xlim=(-1, 1.47), ylim=(1, -1.47), aspect="equal")


def _bytes(images: Tensor) -> Tensor:
    """Images in [0, 1] as uint8."""
    return (images.clamp(0.0, 1.0) * 255).round().to(torch.uint8)

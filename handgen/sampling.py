"""``handgen sample``: unselected samples as PNG files and one contact sheet."""

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgen.errors import UserError

GAP = 2  # white pixels between the images of a sheet


def draw_samples(module: Any, datamodule: Any, count: int, seed: int, sampler: str | None) -> Tensor:
    """Ask a module for samples.

    Args:
        module: Has ``sample(count, seed, sampler) -> images`` and, if that takes training data (a fitted
            prior), ``prepare_sampling(datamodule)``.
        datamodule: The experiment's data, or None.
        count: Number of images.
        seed: Seed of the drawing.
        sampler: Name of a sampler of the module, None for its default.

    Returns:
        Images, float (count, 3, H, W) in [0, 1], on the CPU.

    Raises:
        UserError: The module cannot sample.
    """
    if not hasattr(module, "sample"):
        raise UserError(f"{type(module).__name__} cannot draw samples: it has no method sample(count, seed, sampler)")
    module.eval()
    with torch.no_grad():
        if hasattr(module, "prepare_sampling"):
            if datamodule is not None:
                datamodule.prepare_data()
                datamodule.setup("fit")
            module.prepare_sampling(datamodule)
        images: Tensor = module.sample(count=count, seed=seed, sampler=sampler)
    return images.detach().float().clamp(0, 1).cpu()


def contact_sheet(images: Tensor, columns: int | None = None) -> Tensor:
    """Lay images out in rows on white.

    Args:
        images: Float (N, 3, H, W) in [0, 1].
        columns: Images in a row; None makes the sheet about square, wider rather than taller.

    Returns:
        Float (3, rows * (H + GAP) + GAP, columns * (W + GAP) + GAP).
    """
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = torch.ones(3, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP)
    for index, image in enumerate(images):
        top, left = (GAP + (index // columns) * (height + GAP), GAP + (index % columns) * (width + GAP))
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def write_png(image: Tensor, path: Path) -> None:
    """Write an image, float (3, H, W) in [0, 1], as an 8-bit PNG."""
    from PIL import Image

    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(path)


def write_samples(images: Tensor, folder: Path) -> Path:
    """Write ``sample-000.png`` and so on, and ``sheet.png``.

    Args:
        images: Float (N, 3, H, W) in [0, 1].
        folder: Created if absent.

    Returns:
        The sheet's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        write_png(image, folder / f"sample-{index:03d}.png")
    write_png(contact_sheet(images), folder / "sheet.png")
    return folder / "sheet.png"

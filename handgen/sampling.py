"""``handgen sample``: unselected samples as PNG files and one contact sheet."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.images import make_grid, read_picture, write_png

FIGURES = "samples.json"


def draw_samples(module: Any, datamodule: Any, count: int, seed: int, sampler: str | None) -> tuple[Tensor, float]:
    """Ask a module for samples.

    Args:
        module: Has ``sample(count, seed, sampler) -> images`` and, if that takes training data (a fitted
            prior), ``prepare_sampling(datamodule)``.
        datamodule: The experiment's data, or None.
        count: Number of images.
        seed: Seed of the drawing.
        sampler: Name of a sampler of the module, None for its default.

    Returns:
        Images, float (count, 3, H, W) in [0, 1], on the CPU, and the seconds that drawing them took (without what
        had to be prepared for it).

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
        start = time.perf_counter()
        images: Tensor = module.sample(count=count, seed=seed, sampler=sampler)
        seconds = time.perf_counter() - start
    return images.detach().float().clamp(0, 1).cpu(), seconds


def repair_picture(module: Any, datamodule: Any, picture: str | Path, folder: Path) -> Path:
    """Repair one picture and show it beside what came of it: picture, reconstruction, repaired.

    Args:
        module: Has ``repair(image)``, ``reconstruct(image)`` and the settings of its VAE.
        datamodule: The experiment's data.
        picture: An image file, about a square around one hand; it is cut to a square and shrunk to the VAE's size.
        folder: Where ``repaired.png`` and the sheet ``before_after.png`` go.

    Returns:
        The sheet's path.

    Raises:
        UserError: The module repairs nothing, or the picture cannot be read.
    """
    if not hasattr(module, "repair"):
        raise UserError(f"{type(module).__name__} repairs no pictures: --input is for experiments such as vae_sac")
    image = read_square(Path(picture), int(module.vae.hparams["image_size"])).to(module.device)
    module.eval()
    with torch.no_grad():
        if datamodule is not None:
            datamodule.prepare_data()
        module.prepare_sampling(datamodule)
        shown = torch.cat([image, module.reconstruct(image), module.repair(image)]).float().clamp(0, 1).cpu()
    write_png(folder / "repaired.png", make_grid(shown[2:], padding=0))
    return write_png(folder / "before_after.png", make_grid(shown, columns=3))


def paint_again(path: Path, folder: Path) -> Path:
    """Paint a program that has been saved, with what it was painted with, into a folder of its own; returns the film.

    Raises:
        UserError: The file is no program, or its engine is not installed.
    """
    from handgen.painter.actions import action_table
    from handgen.painter.gallery import write_paintings
    from handgen.painter.programs import load_program

    program = load_program(path)
    table = action_table(program.table)
    return write_paintings(
        program.actions[None], table, program.channels, folder / path.stem, program.engine, program.brush
    )


def read_square(path: Path, size: int) -> Tensor:
    """The middle square of an image file, (1, 3, size, size) in [0, 1].

    Raises:
        UserError: The file is absent or no image.
    """
    try:
        return read_picture(path, size)[None].float() / 255
    except ValueError as error:
        raise UserError(f"cannot read the picture {path}: give --input=FILE with a PNG or JPEG file") from error


def write_samples(images: Tensor, seconds: float, folder: Path) -> Path:
    """Write ``sample-000.png`` and so on, ``sheet.png``, and ``samples.json`` with their number and seconds.

    Args:
        images: Float (N, 3, H, W) in [0, 1].
        seconds: That drawing them took.
        folder: Created if absent.

    Returns:
        The sheet's path.
    """
    for index, image in enumerate(images):
        write_png(folder / f"sample-{index:03d}.png", make_grid(image[None], padding=0))
    (folder / FIGURES).write_text(json.dumps({"count": len(images), "seconds": seconds}), encoding="utf-8")
    return write_png(folder / "sheet.png", make_grid(images))

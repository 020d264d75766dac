"""Paintings as files: programs, drawings that can be enlarged, and films of how they were painted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from handgen.errors import UserError
from handgen.images import make_grid, write_png
from handgen.painter.actions import ActionTable, draws
from handgen.painter.programs import Program, save_program, to_svg
from handgen.painter.worlds import World, make_world

LARGE = 256
"""Pixels: side of the enlarged paintings."""
FILM_SIDE = 96
"""That of paintings in a film, whatever size they were learnt at."""
FRAME_MS, LAST_MS = 180, 1500


def write_paintings(
    actions: Tensor, table: ActionTable, channels: int, folder: Path, engine: str = "torch", brush: str = "pen"
) -> Path:
    """Write ``painting-000.json``, ``.svg`` and ``.png`` of each program, and a film of all, stroke by stroke.

    Scenes have no ``.svg``: objects in space are no strokes.

    Args:
        actions: (N, T, K).
        table: what an action is.
        channels: of canvases, 1 or 3.
        folder: created if absent.
        engine: ``torch`` or ``mypaint``.
        brush: of MyPaint.

    Returns:
        The film, ``paintings.gif``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    large, is_scene = make_world(table, LARGE, channels, engine, brush), "shape" in table.names
    for number, rows in enumerate(actions.cpu()):
        program = Program(table.name, rows, channels, engine, brush)
        name = folder / f"painting-{number:03d}"
        save_program(program, name.with_suffix(".json"))
        if not is_scene:
            name.with_suffix(".svg").write_text(to_svg(program), encoding="utf-8")
        canvas = large.reset(1)
        for action in rows:
            canvas = large.step(action[None])
        write_png(name.with_suffix(".png"), make_grid(canvas.expand(1, 3, -1, -1), 1, 0))
    return write_film(actions, make_world(table, FILM_SIDE, channels, engine, brush), folder / "paintings.gif")


def write_film(actions: Tensor, world: World, path: Path, columns: int | None = None) -> Path:
    """A GIF of programs (N, T, K) side by side in a world; jumps, which paint nothing, take no time."""
    actions = actions.cpu()
    canvas = world.reset(len(actions))
    sheets = [make_grid(canvas.expand(-1, 3, -1, -1), columns)]
    drawn = draws(actions)
    for step in range(actions.shape[1]):
        canvas = world.step(actions[:, step])
        if bool(drawn[:, step].any()):
            sheets.append(make_grid(canvas.expand(-1, 3, -1, -1), columns))
    pages = [Image.fromarray(np.asarray(sheet)).quantize(64) for sheet in sheets]
    times = [FRAME_MS] * (len(pages) - 1) + [LAST_MS]
    pages[0].save(path, save_all=True, append_images=pages[1:], duration=times, loop=0, optimize=True)
    return path


def some_pictures(pictures: Tensor | None, count: int) -> Tensor:
    """Some of uint8 pictures (N, C, H, W), drawn without replacement by the global random state, in [0, 1].

    Raises:
        UserError: if there are not as many.
    """
    if pictures is None or count > len(pictures):
        there = 0 if pictures is None else len(pictures)
        raise UserError(f"this painter copies pictures: there are {there}, and {count} samples were asked for")
    return pictures[torch.randperm(len(pictures))[:count]].float() / 255

"""Every world that can be painted in, by the names of its parts."""

from __future__ import annotations

import torch

from handgen.errors import UserError
from handgen.painter.actions import ActionTable
from handgen.painter.scenes import SceneWorld
from handgen.painter.world import Engine, PaintWorld, TorchEngine

World = PaintWorld | SceneWorld


def make_world(
    table: ActionTable,
    size: int,
    channels: int,
    engine: str = "torch",
    brush: str = "pen",
    device: torch.device | str = "cpu",
) -> World:
    """Scenes for the table of scenes, else canvases of an engine.

    Args:
        table: what an action is.
        size: height and width in pixels.
        channels: 1 (grey) or 3; scenes have 3.
        engine: ``torch`` or ``mypaint``.
        brush: of MyPaint.
        device: where canvases come back; MuJoCo and MyPaint draw on the CPU.

    Raises:
        UserError: for an unknown engine or brush, one that is not installed, or grey scenes.
    """
    if "shape" not in table.names:
        return PaintWorld(table, paint_engine(engine, size, channels, brush, device), device)
    if channels != SceneWorld.channels:
        raise UserError("scenes are in colour: set channels to 3")
    return SceneWorld(table, size, device=device)


def paint_engine(
    engine: str, size: int, channels: int, brush: str = "pen", device: torch.device | str = "cpu"
) -> Engine:
    """What draws, by its name.

    Raises:
        UserError: for another name, an unknown brush, or an engine that is not installed.
    """
    if engine == "mypaint":
        from handgen.painter.mypaint import MyPaintEngine

        return MyPaintEngine(size, channels, brush)
    if engine != "torch":
        raise UserError(f"there is no engine {engine!r}: take torch or mypaint")
    return TorchEngine(size, channels, device)

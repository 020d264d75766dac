"""Canvases side by side that are painted on action by action, on whatever engine draws."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.painter.actions import FLAG, ActionTable
from handgen.painter.brush import TILE, coverage, paint

CHANNELS = (1, 3)
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


def in_channels(colour: Tensor, channels: int) -> Tensor:
    """Colours (N, 3, ...) as they are for 3 channels, as their luminance (N, 1, ...) for 1."""
    if channels == 3:
        return colour
    grey: Tensor = torch.tensordot(colour, torch.tensor(LUMINANCE, device=colour.device), dims=([1], [0]))
    return grey[:, None]


@dataclass(frozen=True)
class Strokes:
    """One stroke on each of N canvases.

    Attributes:
        places: (N, 3, 2), start, control and end as (x, y) in [0, 1].
        pressure: (N, 2) in [0, 1], at start and end.
        size: (N,), diameter at full pressure as a share of the canvas' side.
        colour: (N, 3) in [0, 1].
        drawn: bool (N,); False is a jump to the end.
    """

    places: Tensor
    pressure: Tensor
    size: Tensor
    colour: Tensor
    drawn: Tensor


class Engine(Protocol):
    """What draws: holds N canvases.

    ``size`` is their height and width in pixels, ``channels`` 1 (grey) or 3.
    """

    size: int
    channels: int

    def blank(self, count: int) -> None:
        """Take N new canvases, white."""

    def draw(self, strokes: Strokes) -> None:
        """Draw one stroke on each, or move each brush."""

    @property
    def canvas(self) -> Tensor:
        """The canvases as they are, float (N, C, H, W) in [0, 1]."""
        ...


class TorchEngine:
    """The brush of `handgen.painter.brush`: opaque, round, its radius proportional to the pressure.

    Args:
        size: height and width in pixels, a multiple of 8.
        channels: 1 or 3.
        device: where canvases are.

    Raises:
        UserError: for another size or number of channels.
    """

    def __init__(self, size: int = 64, channels: int = 3, device: torch.device | str = "cpu") -> None:
        if size < TILE or size % TILE:
            raise UserError(f"a canvas of {size} pixels: its side must be a multiple of {TILE}")
        if channels not in CHANNELS:
            raise UserError(f"a canvas has 1 channel (grey) or 3, not {channels}")
        self.size, self.channels, self.device = size, channels, device
        self.blank(0)

    def blank(self, count: int) -> None:
        """Take N new canvases, white."""
        self._canvas = torch.ones(count, self.channels, self.size, self.size, device=self.device)

    def draw(self, strokes: Strokes) -> None:
        """Draw one stroke on each canvas where ``drawn``."""
        radius = 0.5 * strokes.size[:, None] * strokes.pressure
        covered = coverage(strokes.places, radius, self.size, drawn=strokes.drawn)
        colour = in_channels(strokes.colour, self.channels)
        self._canvas = paint(self._canvas, covered, colour, strokes.drawn.float())

    @property
    def canvas(self) -> Tensor:
        """The canvases as they are, float (N, C, H, W) in [0, 1]."""
        return self._canvas


class PaintWorld:
    """N painters, each with a canvas, a pen and a number of actions to spend.

    The pen starts at the middle of the canvas. A stroke runs from where the pen is, past its control point, to its end,
    where the next one starts; its pressure runs from that of the stroke before to its own. A pen that has jumped
    presses as hard as it is told at once. Colours are black where the table has none.

    Where the table has no control points, strokes are compound: each goes on smoothly, as a curve that leaves in the
    direction in which the one before arrived, and the first after a jump is straight. What only jumps decide (size,
    colours) is kept until the next.

    Actions may be on any device; canvases come back on one, wherever the engine draws.

    Args:
        table: what an action is.
        engine: what draws.
        device: where canvases come back; None leaves them where the engine has them.

    Raises:
        UserError: for a table of scenes, which no brush can draw.
    """

    def __init__(self, table: ActionTable, engine: Engine, device: torch.device | str | None = None) -> None:
        if "shape" in table.names:
            raise UserError(f"the table {table.name!r} is of solid objects: no brush draws them, SceneWorld does")
        self.table, self.engine, self.device = table, engine, device
        self.reset(0)

    def reset(self, count: int) -> Tensor:
        """Begin N paintings; the blank canvases (N, C, H, W)."""
        self.engine.blank(count)
        here = self.engine.canvas.device
        self.pen = torch.full((count, 2), 0.5, device=here)
        self.pressure = torch.full((count,), float("nan"), device=here)  # none after a jump
        self.heading = torch.zeros(count, 2, device=here)  # none after a jump
        first = self.table.decode(torch.zeros(count, len(self.table), device=here))
        self.kept = {c.name: first[c.name] for c in self.table.components if c.needed == "jumping"}
        return self.canvas

    def step(self, actions: Tensor) -> Tensor:
        """Act once on each canvas.

        Args:
            actions: (N, C), choices as numbers.

        Returns:
            Canvases (N, C, H, W).
        """
        self.engine.draw(self.strokes(actions.to(self.pen.device)))
        return self.canvas

    @property
    def canvas(self) -> Tensor:
        """The canvases as they are, float (N, C, H, W) in [0, 1]."""
        canvas = self.engine.canvas
        return canvas.to(self.device or canvas.device)

    def copy(self) -> PaintWorld:
        """The same paintings, to be gone on with apart from these.

        Raises:
            UserError: for an engine whose canvases cannot be copied.
        """
        if not isinstance(self.engine, TorchEngine):
            raise UserError("only canvases of the torch engine can be copied")
        twin = copy.copy(self)
        twin.engine = copy.copy(self.engine)  # a stroke makes new tensors and leaves the old ones as they are
        return twin

    def strokes(self, actions: Tensor) -> Strokes:
        """What actions (N, C) draw from where the pens are; moves the pens."""
        values = self.table.decode(actions)
        drawn, end = values[FLAG] > 0, values["end"]
        self.kept = {name: torch.where(drawn, kept, values[name]) for name, kept in self.kept.items()}
        values |= self.kept
        if "control" not in values:
            values["control"] = self._smooth_control(end, drawn)
        pressure = values.get("pressure", torch.ones_like(self.pressure))
        before = torch.where(self.pressure.isnan(), pressure, self.pressure)
        colour = [values.get(name, torch.zeros_like(pressure)) for name in ("red", "green", "blue")]
        strokes = Strokes(
            torch.stack([self.pen, values["control"], end], dim=1),
            torch.stack([before, pressure], dim=1),
            values["size"],
            torch.stack(colour, dim=1),
            drawn,
        )
        self.pen = end
        self.pressure = torch.where(drawn, pressure, torch.full_like(pressure, float("nan")))
        return strokes

    def _smooth_control(self, end: Tensor, drawn: Tensor) -> Tensor:
        """Control points (N, 2) that continue what was drawn before; turns the pens."""
        span = end - self.pen
        straight = (self.heading == 0.0).all(-1, keepdim=True)
        onwards = torch.where(straight, 0.5 * span, 0.5 * span.norm(dim=-1, keepdim=True) * self.heading)
        arrived = torch.nn.functional.normalize(span - onwards, dim=-1)
        self.heading = torch.where(drawn[:, None], arrived, torch.zeros_like(arrived))
        return self.pen + onwards

"""Programs of brush strokes: kept as JSON, painted again at any resolution, written as SVG."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

import torch
from torch import Tensor

from handgen.errors import UserError
from handgen.painter.actions import ActionTable, action_table
from handgen.painter.brush import capsules
from handgen.painter.world import CHANNELS, Engine, PaintWorld, TorchEngine, in_channels
from handgen.painter.worlds import World, make_world
from handgen.whole_files import whole_file

FORMAT = 1


@dataclass(frozen=True)
class Program:
    """What a painter did.

    Attributes:
        table: name of the action table.
        actions: (T, C), choices as numbers.
        channels: of the canvas that it was painted on, 1 or 3.
        engine: with which it was painted, ``torch`` or ``mypaint``; scenes have their own.
        brush: of MyPaint.
    """

    table: str
    actions: Tensor
    channels: int = 3
    engine: str = "torch"
    brush: str = "pen"

    def __post_init__(self) -> None:
        """Refuse what the table does not have.

        Raises:
            UserError: for actions that are no rows, another number of components or channels, a choice that there is
                not, or a value that is no number.
        """
        if self.actions.dim() != 2:
            raise UserError(f"a program is rows of actions (T, C), not of shape {tuple(self.actions.shape)}")
        if self.channels not in CHANNELS:
            raise UserError(f"a canvas has 1 channel (grey) or 3, not {self.channels}")
        check_actions(action_table(self.table), self.actions)


def check_actions(table: ActionTable, actions: Tensor) -> None:
    """Refuse actions (..., C) that a table does not have.

    Raises:
        UserError: naming the first component that is wrong.
    """
    if actions.shape[-1] != len(table):
        raise UserError(f"an action of the table {table.name} has {len(table)} components, not {actions.shape[-1]}")
    for component, choice in zip(table.components, actions.unbind(-1), strict=True):
        if not choice.isfinite().all():
            raise UserError(f"{component.name}: a choice is not a number")
        if component.bins and ((choice < 0) | (choice >= component.bins) | (choice != choice.round())).any():
            raise UserError(f"{component.name} has the choices 0 to {component.bins - 1}")
        if not component.bins and ((choice < component.low) | (choice > component.high)).any():
            raise UserError(f"{component.name} lies in [{component.low:g}, {component.high:g}]")


def replay(program: Program, size: int = 64, engine: Engine | None = None) -> Tensor:
    """All canvases of a program (T + 1, C, H, W), the blank one first.

    Args:
        program: what to paint.
        size: height and width in pixels.
        engine: what draws; None takes what the program was painted with.
    """
    table = action_table(program.table)
    world: World
    if engine is None:
        world = make_world(table, size, program.channels, program.engine, program.brush)
    else:
        world = PaintWorld(table, engine)
    canvases = [world.reset(1)]
    canvases += [world.step(action[None]) for action in program.actions]
    return torch.cat(canvases)


def save_program(program: Program, path: Path) -> Path:
    """Write JSON, whole or not at all."""
    content = {
        "format": FORMAT,
        "table": program.table,
        "channels": program.channels,
        "engine": program.engine,
        "brush": program.brush,
        "components": action_table(program.table).names,
        "actions": [[int(c) if c == int(c) else c for c in action] for action in program.actions.tolist()],
    }
    with whole_file(path) as partial:
        partial.write_text(json.dumps(content), encoding="utf-8")
    return path


def load_program(path: Path) -> Program:
    """Read what `save_program` wrote.

    Raises:
        UserError: for a file that is none, or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version, table, actions = content["format"], str(content["table"]), content["actions"]
        channels, components = int(content.get("channels", 3)), tuple(content["components"])
        engine, brush = str(content.get("engine", "torch")), str(content.get("brush", "pen"))  # older files have none
    except (OSError, ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is no program of brush strokes ({type(error).__name__}: {error})") from error
    if version != FORMAT:
        raise UserError(f"{path} is a program of format {version}, this version reads {FORMAT}: paint it again")
    if components != action_table(table).names:
        raise UserError(f"{path}: the components {', '.join(map(str, components))} are not those of the table {table}")
    try:
        rows = torch.tensor(actions, dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError, LookupError, OverflowError) as error:
        raise UserError(f"{path}: actions must be rows of numbers, of one length") from error
    try:
        return Program(table, rows, channels, engine, brush)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def to_svg(program: Program, size: int = 256) -> str:
    """The strokes as round-capped lines, one for each capsule of the brush, on white."""
    world = PaintWorld(action_table(program.table), TorchEngine(8, program.channels))
    world.reset(1)
    lines = []
    for action in program.actions:
        strokes = world.strokes(action[None])
        if not bool(strokes.drawn):
            continue
        ends, radii = capsules(strokes.places, 0.5 * strokes.size[:, None] * strokes.pressure, size)
        colour = in_channels(strokes.colour, program.channels).expand(1, 3)[0]
        red, green, blue = (colour * 255).round().int().tolist()
        shade = quoteattr(f"rgb({red},{green},{blue})")
        for ((x1, y1), (x2, y2)), pair in zip(ends[0].tolist(), radii[0].tolist(), strict=True):
            place = f'x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}"'
            lines.append(f'<line {place} stroke={shade} stroke-width="{sum(pair):.2f}"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" stroke-linecap="round">'
    return "\n".join([head, f'<rect width="{size}" height="{size}" fill="white"/>', *lines, "</svg>", ""])

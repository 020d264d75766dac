"""What a painter decides: one table, from which the environment, the policy's heads and the programs follow.

SPIRAL (Ganin et al. 2018, arXiv:1804.01118) writes a program of T actions. An action has components, decided one after
the other: whether to draw or to jump, where the stroke ends, where its control point lies, how thick, how hard and in
which colour it is drawn. A jump needs an end alone; what is not needed is masked. Compound strokes (SPIRAL++, Mellor et
al. 2019, arXiv:1910.01007) are the other way about: a jump takes up a brush, and actions that draw are places alone.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from handgen.errors import UserError

FLAG = "draw"
PLACES = ("end", "control")
Need = Literal["always", "drawing", "jumping"]


@dataclass(frozen=True)
class Component:
    """One decision.

    Attributes:
        name: ``draw``, ``end``, ``control``, ``size``, ``pressure``, ``shape``, ``red``, ``green``, ``blue``; for one
            axis of a place ``end_x`` and the like.
        bins: number of choices; 0 for a continuous one, which is told as its value.
        low: value of the first choice.
        high: value of the last choice.
        values: values of all choices, where they are not evenly spaced.
        grid: side of the grid whose cells, row by row, are the choices; values are their middles, (x, y) in [0, 1].
        needed: by every action, by those that draw, or by those that jump.
    """

    name: str
    bins: int = 0
    low: float = 0.0
    high: float = 1.0
    values: tuple[float, ...] = ()
    grid: int = 0
    needed: Need = "drawing"

    def decode(self, choice: Tensor) -> Tensor:
        """Choices (...,) to values (...,), those of a grid (..., 2)."""
        if self.grid:
            index = choice.long()
            cell = torch.stack([index % self.grid, index // self.grid], dim=-1)
            return (cell.float() + 0.5) / self.grid
        if self.values:
            return torch.tensor(self.values, device=choice.device)[choice.long()]
        return choice.float() if not self.bins else self.low + (self.high - self.low) * choice / max(1, self.bins - 1)

    def encode(self, value: Tensor) -> Tensor:
        """The nearest choices (...,), of values (...,) or (..., 2)."""
        if self.grid:
            cell = (value * self.grid).floor().long().clamp(0, self.grid - 1)
            return cell[..., 1] * self.grid + cell[..., 0]
        if self.values:
            known = torch.tensor(self.values, device=value.device)
            return (value[..., None] - known).abs().argmin(dim=-1)
        if not self.bins:
            return value.clamp(self.low, self.high)
        share = (value - self.low) / (self.high - self.low)
        return (share * (self.bins - 1)).round().long().clamp(0, self.bins - 1)


@dataclass(frozen=True)
class ActionTable:
    """The components of an action, in the order in which they are decided.

    Attributes:
        name: of the preset.
        components: the flag first, on which the others' masks depend.
    """

    name: str
    components: tuple[Component, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the components."""
        return tuple(component.name for component in self.components)

    def __len__(self) -> int:
        """Return the number of components C."""
        return len(self.components)

    def used(self, actions: Tensor) -> Tensor:
        """Which components of actions (..., C) matter, bool (..., C)."""
        by_drawing = torch.tensor([c.needed != "jumping" for c in self.components], device=actions.device)
        by_jumping = torch.tensor([c.needed != "drawing" for c in self.components], device=actions.device)
        return torch.where(draws(actions)[..., None], by_drawing, by_jumping)

    def decode(self, actions: Tensor) -> dict[str, Tensor]:
        """Actions (..., C) to values by name: places (..., 2) in [0, 1], all else (...,)."""
        found = {c.name: c.decode(actions[..., i]) for i, c in enumerate(self.components)}
        for place in PLACES:
            if f"{place}_x" in found:
                found[place] = torch.stack([found.pop(f"{place}_x"), found.pop(f"{place}_y")], dim=-1)
        return found

    def encode(self, values: dict[str, Tensor]) -> Tensor:
        """The actions (..., C) nearest to values by name; components without a value take their first choice."""
        apart = dict(values)
        for place in PLACES:
            if place in apart and f"{place}_x" in self.names:
                apart |= {f"{place}_x": apart[place][..., 0], f"{place}_y": apart[place][..., 1]}
        shape = values["end"].shape[:-1]
        nothing = torch.zeros(shape, device=values["end"].device)
        return torch.stack(
            [(c.encode(apart[c.name]) if c.name in apart else nothing).float() for c in self.components], -1
        )


def draws(actions: Tensor) -> Tensor:
    """Which actions (..., C) draw, bool (...): the flag is the first component of every table."""
    return actions[..., 0] > 0


def scale(name: str, bins: int, low: float = 0.0, high: float = 1.0, needed: Need = "drawing") -> Component:
    """Evenly spaced choices."""
    return Component(name, bins, low, high, needed=needed)


def axes(place: str, bins: int, needed: Need = "drawing") -> tuple[Component, Component]:
    """A place as two decisions, column and row, at the middles of ``bins`` cells, or anywhere for 0 bins."""
    half = 0.5 / bins if bins else 0.0
    return (
        Component(f"{place}_x", bins, half, 1.0 - half, needed=needed),
        Component(f"{place}_y", bins, half, 1.0 - half, needed=needed),
    )


DRAW = Component(FLAG, 2, needed="always")
SPIRAL_SIZES = tuple(pixels / 64 for pixels in (1, 2, 4, 8, 12, 24))
"""Diameters of the released agents' brushes, as shares of the canvas' side."""
COLOUR_NAMES = ("red", "green", "blue")
COLOURS = tuple(scale(name, 20) for name in COLOUR_NAMES)


def _paper(name: str, colours: tuple[Component, ...]) -> ActionTable:
    side = 32
    places = Component("end", side**2, grid=side, needed="always"), Component("control", side**2, grid=side)
    strength = Component("size", len(SPIRAL_SIZES), values=SPIRAL_SIZES), scale("pressure", 10, 0.1, 1.0)
    return ActionTable(name, (DRAW, *places, *strength, *colours))


def _fast(name: str, colours: tuple[Component, ...]) -> ActionTable:
    places = (*axes("end", 32, needed="always"), *axes("control", 32))
    return ActionTable(name, (DRAW, *places, scale("size", 8, 1.5 / 32, 6.5 / 32), *colours))


def _compound(name: str, colours: tuple[str, ...]) -> ActionTable:
    brush = (scale("size", 8, 1.5 / 32, 6.5 / 32, "jumping"), *(scale(c, 8, needed="jumping") for c in colours))
    return ActionTable(name, (DRAW, *axes("end", 32, needed="always"), *brush))


def _free(name: str) -> ActionTable:
    places = (*axes("end", 0, needed="always"), *axes("control", 0))
    return ActionTable(name, (DRAW, *places, scale("size", 0, 1.5 / 32, 6.5 / 32)))


SHAPES = ("box", "sphere", "cylinder", "capsule")
SCENE_SIZES = (0.12, 0.18, 0.26)
"""Half the width of an object in metres; the floor that the grid covers is two metres wide."""


def _scene(name: str, place_first: bool) -> ActionTable:
    place = Component("end", 16**2, grid=16)
    colours = tuple(scale(name, 4) for name in COLOUR_NAMES)
    shape = Component("shape", len(SHAPES), 0.0, len(SHAPES) - 1.0)
    first = (place, shape) if place_first else (shape, place)
    return ActionTable(name, (DRAW, *first, Component("size", 3, values=SCENE_SIZES), *colours))


TABLES = {
    table.name: table
    for table in (
        _paper("paper", COLOURS),
        _paper("paper_grey", ()),
        _fast("fast", COLOURS),
        _fast("fast_grey", ()),
        _compound("compound", COLOUR_NAMES),
        _compound("compound_grey", ()),
        _free("free_grey"),
        _scene("scene", place_first=False),
        _scene("scene_place_first", place_first=True),
    )
}


def action_table(name: str) -> ActionTable:
    """The preset of that name.

    Raises:
        UserError: if there is none, with those of similar names.
    """
    if name not in TABLES:
        near = difflib.get_close_matches(name, TABLES, 3, 0.3) or list(TABLES)
        raise UserError(f"there is no action table {name!r}: take {', '.join(near)}")
    return TABLES[name]

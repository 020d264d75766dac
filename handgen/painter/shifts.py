"""The same program a little to the side, turned or stretched: a painter that has learnt one has learnt many."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from handgen.painter.actions import ActionTable


def grid_side(table: ActionTable) -> int:
    """Cells side by side on which a table has its places; 0 where it has them anywhere."""
    ends = [component for component in table.components if component.name.startswith("end")]
    return ends[0].grid or ends[0].bins


def shifted_programs(
    table: ActionTable, actions: Tensor, most: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Each program moved by whole cells, up to ``most`` in both directions, and never over the border.

    Args:
        table: what an action is; its places are on a grid.
        actions: (N, T, K).
        most: cells.
        generator: of the distances.

    Returns:
        Programs (N, T, K), and by how many columns and rows they moved, int64 (N, 2).
    """
    side, names = grid_side(table), table.names
    asked = torch.randint(-most, most + 1, (len(actions), 2), generator=generator).to(actions.device)
    cells = _cells(table, actions)  # (N, T, places, 2)
    used = table.used(actions)[..., [names.index(c.name) for c in table.components if _starts_place(c.name)], None]
    room_before = torch.where(used, cells, side - 1).amin(dim=(1, 2))
    room_after = side - 1 - torch.where(used, cells, 0).amax(dim=(1, 2))
    moved = torch.maximum(torch.minimum(asked, room_after), -room_before)
    return _with_cells(table, actions, torch.where(used, cells + moved[:, None, None], cells)), moved


def varied_programs(
    table: ActionTable,
    actions: Tensor,
    generator: torch.Generator | None = None,
    angle: float = math.radians(15.0),
    stretch: float = 0.2,
    jitter: float = 0.5,
) -> Tensor:
    """Each program turned, stretched along both axes and sheared about its middle, and each place moved a little.

    Places that leave the grid stop at its border.

    Args:
        table: what an action is; its places are on a grid.
        actions: (N, T, K).
        generator: of the changes.
        angle: largest rotation to either side, and largest shear, radians.
        stretch: largest change of width and of height, as a share.
        jitter: standard deviation of the places' own motion, in cells.

    Returns:
        (N, T, K).
    """
    side, names = grid_side(table), table.names
    cells = _cells(table, actions).float()
    used = table.used(actions)[..., [names.index(c.name) for c in table.components if _starts_place(c.name)], None]
    middle = (cells * used).sum((1, 2)) / used.sum((1, 2)).clamp(min=1)
    uniform = 2.0 * torch.rand(len(actions), 4, generator=generator).to(actions.device) - 1.0
    cos, sin, shear = (uniform[:, 0] * angle).cos(), (uniform[:, 0] * angle).sin(), (uniform[:, 1] * angle).tan()
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], dim=1)
    slant = torch.eye(2, device=actions.device).repeat(len(actions), 1, 1)
    slant[:, 0, 1] = shear
    maps = turn @ slant @ torch.diag_embed(1.0 + stretch * uniform[:, 2:])
    own = jitter * torch.randn(cells.shape, generator=generator).to(actions.device)
    offsets = (cells - middle[:, None, None]) @ maps.transpose(1, 2)[:, None]
    moved = (middle[:, None, None] + offsets + own).round().clamp(0, side - 1)
    return _with_cells(table, actions, torch.where(used, moved, cells))


def _starts_place(name: str) -> bool:
    """Whether a component is a place, or the column of one."""
    return name in ("end", "control", "end_x", "control_x")


def _cells(table: ActionTable, actions: Tensor) -> Tensor:
    """Columns and rows (N, T, places, 2) of all places."""
    found = []
    for index, component in enumerate(table.components):
        if _starts_place(component.name):
            cell = actions[..., index].long()
            column = cell % component.grid if component.grid else cell
            row = cell // component.grid if component.grid else actions[..., index + 1].long()
            found.append(torch.stack([column, row], dim=-1))
    return torch.stack(found, dim=2)


def _with_cells(table: ActionTable, actions: Tensor, cells: Tensor) -> Tensor:
    """Programs (N, T, K) whose places are in other cells (N, T, places, 2)."""
    moved, place = actions.clone(), 0
    for index, component in enumerate(table.components):
        if _starts_place(component.name):
            column, row = cells[:, :, place].to(actions.dtype).unbind(-1)
            place += 1
            if component.grid:
                moved[..., index] = row * component.grid + column
            else:
                moved[..., index], moved[..., index + 1] = column, row
    return moved


def shifted_pictures(image: Tensor, pixels: Tensor) -> Tensor:
    """Pictures (N, C, H, W), each moved by whole pixels (N, 2) to the right and down; borders are carried on."""
    count, _, height, width = image.shape
    most = int(pixels.abs().max())
    wider = F.pad(image, [most] * 4, mode="replicate")
    columns = torch.arange(width, device=image.device) + most - pixels[:, :1]
    rows = torch.arange(height, device=image.device) + most - pixels[:, 1:]
    each = torch.arange(count, device=image.device)[:, None, None]
    return wider[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

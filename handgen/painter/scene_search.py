"""Finding a scene's program without learning, by Metropolis-Hastings, and how right a program is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from handgen.anatomy.metrics.rates import share
from handgen.painter.actions import FLAG, ActionTable
from handgen.painter.scenes import SceneWorld
from handgen.results import Measurement


def random_scene(table: ActionTable, objects: int, length: int, generator: torch.Generator) -> Tensor:
    """A program (T, K) of so many objects on places of their own, in the order of their places, then nothing."""
    actions = torch.zeros(length, len(table))
    chosen = {c.name: torch.randint(c.bins, (objects,), generator=generator) for c in table.components}
    chosen["end"] = torch.randperm(table.components[table.names.index("end")].bins, generator=generator)[:objects]
    chosen["end"] = chosen["end"].sort().values
    chosen[FLAG] = torch.ones(objects)
    for column, name in enumerate(table.names):
        actions[:objects, column] = chosen[name].float()
    return actions


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        actions: (T, K), the best program.
        error: its mean squared error.
    """

    actions: Tensor
    error: float


def metropolis_hastings(
    world: SceneWorld, target: Tensor, renders: int, length: int, generator: torch.Generator, deviation: float = 0.05
) -> Found:
    """Blocked Metropolis-Hastings over programs: one object at a time is drawn anew, or one of its attributes.

    The likelihood of a picture is normal around the program's rendering, each pixel by itself; programs are equally
    likely beforehand. The baseline of Ganin et al. 2018 (arXiv:1804.01118, section 4.3).

    Args:
        world: draws.
        target: (3, H, W) in [0, 1].
        renders: pictures to be drawn; each is one proposal.
        length: T.
        generator: of the proposals.
        deviation: of a pixel.
    """
    table = world.table
    actions = random_scene(table, length, length, generator)
    scale = 2.0 * deviation**2 / target.numel()
    error = _error(world, actions, target)
    best = Found(actions, error)
    for _ in range(renders - 1):
        proposal = actions.clone()
        slot = int(torch.randint(length, (1,), generator=generator))
        column = int(torch.randint(len(table) + 1, (1,), generator=generator))
        for each in range(len(table)) if column == len(table) else [column]:
            proposal[slot, each] = torch.randint(table.components[each].bins, (1,), generator=generator).float()
        proposed = _error(world, proposal, target)
        if math.log(torch.rand((), generator=generator).item() + 1e-12) < (error - proposed) / scale:
            actions, error = proposal, proposed
            if error < best.error:
                best = Found(actions, error)
    return best


def _error(world: SceneWorld, actions: Tensor, target: Tensor) -> float:
    """Mean squared error of a program's rendering, which is drawn once."""
    return float((world.picture(actions) - target).square().mean())


def accuracies(found: Tensor, true: Tensor, table: ActionTable, variant: str) -> list[Measurement]:
    """How many of the true objects are right, each matched with a found one (Hungarian method).

    Args:
        found: (N, T, K).
        true: (N, T', K).
        table: of both.
        variant: who found them.

    Returns:
        ``scenes/type_accuracy``, ``scenes/position_within_one`` (cells, in both directions), ``scenes/size_accuracy``,
        ``scenes/colour_accuracy`` (all three bins) and ``scenes/count_accuracy`` (of objects in a scene).
    """
    from scipy.optimize import linear_sum_assignment

    names = table.names
    side = table.components[names.index("end")].grid
    right: dict[str, list[bool]] = {"type_accuracy": [], "position_within_one": [], "size_accuracy": []}
    right |= {"colour_accuracy": [], "count_accuracy": []}
    colours = [names.index(name) for name in ("red", "green", "blue")]
    shape, size, end, flag = (names.index(name) for name in ("shape", "size", "end", FLAG))
    for program, truth in zip(found, true, strict=True):
        mine, theirs = program[program[:, flag] > 0], truth[truth[:, flag] > 0]
        right["count_accuracy"].append(len(mine) == len(theirs))
        mine_at, at = (torch.stack([p[:, end] % side, p[:, end] // side], 1) for p in (mine, theirs))
        apart = (at[:, None] - mine_at[None]).abs().amax(-1)
        rows, columns = linear_sum_assignment(apart.numpy())
        matched = dict(zip(rows.tolist(), columns.tolist(), strict=True))
        for index in range(len(theirs)):
            other = matched.get(index)
            pair = None if other is None else (mine[other], theirs[index])
            right["position_within_one"].append(other is not None and float(apart[index, other]) <= 1.0)
            right["type_accuracy"].append(pair is not None and bool(pair[0][shape] == pair[1][shape]))
            right["size_accuracy"].append(pair is not None and bool(pair[0][size] == pair[1][size]))
            right["colour_accuracy"].append(pair is not None and bool((pair[0][colours] == pair[1][colours]).all()))
    measured = []
    for name, flags in right.items():
        rate = share(torch.tensor(flags))
        measured.append(Measurement(f"scenes/{name}", rate.value, rate.low, rate.high, len(flags), variant))
    return measured

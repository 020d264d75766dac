"""Paintings as a policy makes them, step by step, with all that is needed to learn from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from handgen.painter.actions import FLAG, ActionTable, draws
from handgen.painter.policy import NOISE, Policy, Seen
from handgen.painter.worlds import World

LEAST_CHANGE = 0.001
"""Mean difference from the first canvas up to which the last one counts as blank."""


@dataclass(frozen=True)
class Rollout:
    """B paintings of T actions.

    Attributes:
        canvases: (T + 1, B, C, H, W) in [0, 1], the blank one first.
        actions: (T, B, K), choices as numbers.
        log_prob: (T, B), of whole actions when they were taken.
        noise: (B, `NOISE`).
        target: (B, C, H, W), or None.
    """

    canvases: Tensor
    actions: Tensor
    log_prob: Tensor
    noise: Tensor
    target: Tensor | None = None

    @property
    def finished(self) -> Tensor:
        """The last canvases (B, C, H, W)."""
        return self.canvases[-1]

    @property
    def blank(self) -> Tensor:
        """Whether nothing has come of a painting, bool (B,): the last canvas is the first."""
        return (self.finished - self.canvases[0]).abs().flatten(1).mean(1) <= LEAST_CHANGE

    def rows(self, rows: Tensor) -> Rollout:
        """Some of the paintings, by their numbers."""
        target = None if self.target is None else self.target[rows]
        return Rollout(self.canvases[:, rows], self.actions[:, rows], self.log_prob[:, rows], self.noise[rows], target)

    def seen(self) -> Seen:
        """What the painters saw before each action."""
        length, count, _ = self.actions.shape
        began = torch.zeros(length, count, dtype=torch.bool, device=self.actions.device)
        began[0] = True
        previous = torch.cat([torch.zeros_like(self.actions[:1]), self.actions[:-1]])
        strokes = draws(previous).long().cumsum(0)
        return Seen(self.canvases[:-1], previous, began, strokes, self.noise.expand(length, -1, -1), self.target)


@torch.no_grad()
def paint_freely(
    policy: Policy,
    world: World,
    length: int,
    noise: Tensor,
    target: Tensor | None = None,
    greedy: bool = False,
    temperature: float = 1.0,
) -> Rollout:
    """Let a policy paint.

    Args:
        policy: decides.
        world: is painted in.
        length: T.
        noise: (B, `NOISE`), one for each painting.
        target: (B, C, H, W) to paint, for a conditional policy.
        greedy: take the likeliest choices.
        temperature: of places.
    """
    count = len(noise)
    canvases = [world.reset(count)]
    began = torch.ones(1, count, dtype=torch.bool, device=noise.device)
    previous = torch.zeros(1, count, len(world.table), device=noise.device)
    memory, actions, log_probs = None, [], []
    strokes = torch.zeros(1, count, dtype=torch.int64, device=noise.device)
    for step in range(length):
        seen = Seen(canvases[-1][None], previous, began & (step == 0), strokes, noise[None], target)
        decided = policy(seen, memory, greedy=greedy, temperature=temperature)
        memory, previous, strokes = decided.memory, decided.actions, strokes + draws(decided.actions)
        actions.append(decided.actions[0])
        log_probs.append(decided.log_prob[0].sum(-1))
        canvases.append(world.step(decided.actions[0]))
    return Rollout(torch.stack(canvases), torch.stack(actions), torch.stack(log_probs), noise, target)


@torch.no_grad()
def paint_program(world: World, actions: Tensor, noise: Tensor | None = None, target: Tensor | None = None) -> Rollout:
    """Paint what programs say, as if a policy had done it.

    Args:
        world: is painted in.
        actions: (B, T, K).
        noise: (B, `NOISE`); None draws it.
        target: (B, C, H, W), what the programs are to paint.
    """
    count, length, _ = actions.shape
    canvases = [world.reset(count)]
    canvases += [world.step(actions[:, step]) for step in range(length)]
    drawn_noise = torch.randn(count, NOISE, device=actions.device) if noise is None else noise
    nothing = torch.zeros(length, count, device=actions.device)
    return Rollout(torch.stack(canvases), actions.transpose(0, 1), nothing, drawn_noise, target)


def random_programs(
    table: ActionTable,
    count: int,
    length: int,
    generator: torch.Generator | None = None,
    draw_share: float = 0.6,
    most_strokes: int | None = None,
) -> Tensor:
    """Programs (B, T, K) that nobody meant: every choice is even, but for how often is drawn, and how often at most."""
    columns = []
    for component in table.components:
        if component.name == FLAG:
            drawn = torch.rand(count, length, generator=generator) < draw_share
            few = drawn.cumsum(1) <= (length if most_strokes is None else most_strokes)
            columns.append((drawn & few).float())
        elif component.bins:
            columns.append(torch.randint(component.bins, (count, length), generator=generator).float())
        else:
            share = torch.rand(count, length, generator=generator)
            columns.append(component.low + (component.high - component.low) * share)
    return torch.stack(columns, dim=-1)


def strokes_drawn(actions: Tensor) -> Tensor:
    """Number of strokes that each program draws, (...) from actions (..., T, K)."""
    return draws(actions).sum(-1)

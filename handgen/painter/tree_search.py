"""Monte-Carlo tree search over strokes: a policy proposes, its value and a score judge.

`handgen.callbacks.painting_evaluation` paints so where ``searched_paintings`` asks for it.

Nodes are canvases. Actions are not all tried: each node has a few that the policy has drawn (sampled MuZero, Hubert et
al. 2021, arXiv:2104.06303), chosen among by the rule of AlphaZero (Silver et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from handgen.painter.actions import draws
from handgen.painter.policy import Decided, Memory, Seen
from handgen.painter.worlds import World

EXPLORATION = 1.25
Score = Callable[[Tensor], Tensor]
"""What canvases (N, C, H, W) are worth, (N,)."""
Proposer = Callable[[Seen, Memory | None], Decided]
"""A policy that draws actions."""


@dataclass
class Node:
    """A canvas, and what may be done next.

    Attributes:
        world: holds the canvas and the pen.
        previous: (K,), the action that led here.
        memory: of the policy, after seeing what led here.
        worth: of the canvas.
        strokes: drawn so far.
        actions: (A, K) drawn by the policy; empty before the node is opened, and where the painting is finished.
        children: by number of action.
        visits: of each action.
        gains: sum of what followed each action.
    """

    world: World
    previous: Tensor
    memory: Memory | None
    worth: float
    strokes: int = 0
    actions: Tensor = field(default_factory=lambda: torch.empty(0))
    children: dict[int, Node] = field(default_factory=dict)
    visits: list[int] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)


@torch.no_grad()
def search(
    policy: Proposer,
    world: World,
    length: int,
    noise: Tensor,
    score: Score,
    target: Tensor | None = None,
    simulations: int = 32,
    proposals: int = 8,
    on_the_way: bool = True,
) -> tuple[Tensor, Tensor]:
    """Paint one picture, looking ahead before each action.

    Args:
        policy: proposes actions and values canvases.
        world: is painted in; a canvas of its own is copied for each node (of PaintWorld on tensors, or scenes).
        length: T.
        noise: (1, `NOISE`).
        score: what canvases are worth, in the units of the policy's value.
        target: (1, C, H, W) to paint, for a conditional policy.
        simulations: canvases opened before each action.
        proposals: A, actions drawn for each canvas.
        on_the_way: whether the value is of what is yet to be gained on a canvas; else it is of the finished one, and
            what canvases are worth on the way says nothing (``credit=end``).

    Returns:
        The program (T, K) and the finished canvas (C, H, W).
    """
    world.reset(1)
    root = Node(world, noise.new_zeros(len(world.table)), None, float(score(world.canvas)))
    actions = []
    for step in range(length):
        for _ in range(simulations):
            _simulate(policy, root, length - step, noise, score, target, proposals, step == 0, on_the_way)
        best = max(range(len(root.visits)), key=lambda index: (root.visits[index], root.gains[index]))
        actions.append(root.actions[best])
        root = root.children[best] if best in root.children else _open(root, best, score)
    return torch.stack(actions), root.world.canvas[0]


def _simulate(
    policy: Proposer,
    root: Node,
    left: int,
    noise: Tensor,
    score: Score,
    target: Tensor | None,
    count: int,
    first: bool,
    on_the_way: bool,
) -> None:
    """Go down to a canvas that is new, value it, and tell those above."""
    node, path = root, []
    while left > 0 and len(node.actions):
        chosen = _choose(node)
        path.append((node, chosen))
        left -= 1
        if chosen not in node.children:
            node = node.children[chosen] = _open(node, chosen, score)
            break
        node = node.children[chosen]
    value = node.worth if on_the_way or left == 0 else 0.0
    if left > 0:
        value += _propose(policy, node, noise, target, count, first and node is root)
    for above, chosen in path:
        above.visits[chosen] += 1
        above.gains[chosen] += value


def _choose(node: Node) -> int:
    """The action with the highest mean gain and doubt; gains are brought into [0, 1] among a node's actions."""
    means = [gain / visits if visits else math.nan for gain, visits in zip(node.gains, node.visits, strict=True)]
    known = [mean for mean in means if not math.isnan(mean)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    doubt = EXPLORATION * math.sqrt(1 + sum(node.visits)) / len(means)

    def promise(index: int) -> float:
        scaled = 0.5 if math.isnan(means[index]) else (means[index] - low) / max(high - low, 1e-8)
        return scaled + doubt / (1 + node.visits[index])

    return max(range(len(means)), key=promise)


def _open(node: Node, chosen: int, score: Score) -> Node:
    """The canvas that an action leads to."""
    world = node.world.copy()
    action = node.actions[chosen]
    canvas = world.step(action[None])
    return Node(world, action, node.memory, float(score(canvas)), node.strokes + int(draws(action)))


def _propose(policy: Proposer, node: Node, noise: Tensor, target: Tensor | None, count: int, first: bool) -> float:
    """Draw a node's actions; what the policy thinks will be gained after it."""
    seen = Seen(
        node.world.canvas.expand(1, count, -1, -1, -1),
        node.previous.expand(1, count, -1),
        torch.full((1, count), first, device=noise.device),
        torch.full((1, count), node.strokes, device=noise.device),
        noise.expand(1, count, -1),
        None if target is None else target.expand(count, -1, -1, -1),
    )
    memory = node.memory and node.memory.each(lambda part: part.expand(count, -1))
    decided = policy(seen, memory)
    node.actions = decided.actions[0]
    node.memory = decided.memory.each(lambda part: part[:1])
    node.visits, node.gains = [0] * count, [0.0] * count
    return float(decided.value[0, 0])

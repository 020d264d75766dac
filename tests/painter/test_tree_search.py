"""Looking ahead before each stroke."""

import pytest
import torch

from handgen.errors import UserError
from handgen.painter.actions import action_table
from handgen.painter.policy import NOISE, Policy
from handgen.painter.rollout import paint_freely, paint_program
from handgen.painter.tree_search import search
from handgen.painter.world import PaintWorld, TorchEngine

TABLE = action_table("fast_grey")


def world() -> PaintWorld:
    return PaintWorld(TABLE, TorchEngine(16, 1))


def darkness(canvas: torch.Tensor) -> torch.Tensor:
    return 1.0 - canvas.flatten(1).mean(1)


def test_the_search_finds_what_a_policy_that_knows_nothing_does_not() -> None:
    torch.manual_seed(0)
    policy = Policy(TABLE, 16, 1, size="fast", width=16)
    noise = torch.randn(1, NOISE)
    drawn = [float(darkness(paint_freely(policy, world(), 3, noise).finished)) for _ in range(20)]
    actions, canvas = search(policy, world(), 3, noise, darkness, simulations=24, proposals=8)
    assert actions.shape == (3, len(TABLE))
    assert float(darkness(canvas[None])) > 1.5 * sum(drawn) / len(drawn)
    torch.testing.assert_close(paint_program(world(), actions[None]).finished[0], canvas)


def test_copies_of_a_world_go_their_own_ways() -> None:
    first = world()
    first.reset(1)
    second = first.copy()
    first.step(torch.tensor([[1.0, 30.0, 30.0, 10.0, 10.0, 7.0]]))
    assert (second.engine.canvas == 1.0).all() and (first.engine.canvas < 1.0).any()
    assert second.pen.tolist() == [[0.5, 0.5]]


def test_what_cannot_be_copied_says_so() -> None:
    broken = world()
    broken.engine = object()  # type: ignore[assignment]
    with pytest.raises(UserError, match="torch engine"):
        broken.copy()

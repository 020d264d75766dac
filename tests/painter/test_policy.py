"""The painter's policy: probabilities, masks, memory, blindness."""

import dataclasses

import pytest
import torch

from handgen.errors import UserError
from handgen.painter.actions import Component, action_table
from handgen.painter.decoder import Glimpse, decide_value
from handgen.painter.policy import NOISE, Decided, Policy, Seen, Size
from handgen.painter.rollout import random_programs
from handgen.painter.scenes import seen_at

LENGTH, COUNT = 3, 4


def seen(length: int = LENGTH, channels: int = 1, target: bool = False, table: str = "fast_grey") -> Seen:
    generator = torch.Generator().manual_seed(0)
    previous = random_programs(action_table(table), length, COUNT, generator)
    began = torch.zeros(length, COUNT, dtype=torch.bool)
    began[0] = True
    images = torch.rand(2, length, COUNT, channels, 32, 32, generator=generator)
    noise = torch.randn(1, COUNT, NOISE, generator=generator).expand(length, -1, -1)
    return Seen(images[0], previous, began, torch.zeros(length, COUNT), noise, images[1, 0] if target else None)


def policy(table: str = "fast_grey", size: Size = "fast", **settings: int) -> Policy:
    torch.manual_seed(0)
    channels = 1 if "grey" in table else 3
    return Policy(action_table(table), 32, channels, size=size, width=32, **settings)


def at(step: int, whole: Seen) -> Seen:
    """One step of what is seen."""
    parts = {f.name: getattr(whole, f.name) for f in dataclasses.fields(whole)}
    whole_episode = ("target",)
    return Seen(**{name: part if name in whole_episode else part[step : step + 1] for name, part in parts.items()})


@pytest.mark.parametrize(("table", "size"), [("fast_grey", "fast"), ("paper_grey", "paper"), ("free_grey", "fast")])
@pytest.mark.parametrize("glimpse", [0, 8])
def test_what_is_judged_is_what_was_decided(table: str, size: Size, glimpse: int) -> None:
    module, whole, memory = policy(table, size, glimpse=glimpse), seen(table=table), None
    steps: list[Decided] = []
    for step in range(LENGTH):
        steps.append(module(at(step, whole), memory))
        memory = steps[-1].memory
    actions = torch.cat([step.actions for step in steps])
    judged = module(whole, actions=actions)
    for name in ("log_prob", "entropy", "value"):
        one_by_one = torch.cat([getattr(step, name) for step in steps])
        torch.testing.assert_close(getattr(judged, name), one_by_one, atol=1e-5, rtol=1e-4)
    assert torch.equal(judged.actions, actions)


def test_probabilities_of_all_actions_sum_to_one() -> None:
    # Flag and end of a jump: what follows is not needed and must not count.
    module, one = policy(), at(0, seen())
    total = torch.zeros(COUNT)
    for column in range(32):
        for row in range(32):
            action = torch.tensor([0.0, column, row, 0.0, 0.0, 0.0]).expand(1, COUNT, -1)
            total += module(one, actions=action).log_prob.sum(-1).exp()[0].detach()
    stroke = module(one, actions=torch.ones(1, COUNT, 6)).log_prob[0, :, 0].exp().detach()
    torch.testing.assert_close(total + stroke, torch.ones(COUNT))


def test_a_jump_has_no_entropy_but_that_of_its_end() -> None:
    decided = policy()(at(0, seen()), actions=torch.zeros(1, COUNT, 6))
    assert (decided.entropy[..., :3] > 0).all() and (decided.entropy[..., 3:] == 0).all()
    assert (decided.log_prob[..., 3:] == 0).all()


def test_an_episode_forgets_the_one_before() -> None:
    module, whole = policy(), seen()
    actions = torch.zeros(LENGTH, COUNT, 6)
    began = whole.began.clone()
    began[2] = True
    fresh = module(at(2, dataclasses.replace(whole, began=began)), actions=actions[2:])
    after = module(dataclasses.replace(whole, began=began), actions=actions)
    torch.testing.assert_close(after.value[2:], fresh.value)
    assert not torch.allclose(module(whole, actions=actions).value[2:], fresh.value)


def test_a_blind_painter_does_not_see_the_canvas_and_others_do() -> None:
    one = at(0, seen(target=True))
    other = dataclasses.replace(one, canvas=1.0 - one.canvas)
    aimed = dataclasses.replace(one, target=one.canvas[0])
    action = torch.ones(1, COUNT, 6)
    blind, sighted = policy(blind=True, conditional=True), policy(conditional=True)
    assert torch.equal(blind(one, actions=action).value, blind(other, actions=action).value)
    assert not torch.equal(sighted(one, actions=action).value, sighted(other, actions=action).value)
    assert not torch.equal(blind(one, actions=action).value, blind(aimed, actions=action).value)


def test_a_glimpse_is_of_what_is_around_the_end_just_decided() -> None:
    torch.manual_seed(0)
    table, end = action_table("scene_place_first"), torch.tensor([[1.0, 5 * 16 + 11], [1.0, 2 * 16 + 3]])
    glimpse = Glimpse(table, 3, 32, 8)
    glimpse.layers = torch.nn.Flatten()
    glimpse.out = torch.nn.Identity()
    axis = (torch.arange(32) + 0.5) / 32
    where = torch.stack([axis.expand(32, 32), axis[:, None].expand(32, 32), torch.zeros(32, 32)]).expand(2, -1, -1, -1)
    looked_at = glimpse(where, end).unflatten(1, (3, 8, 8))
    middle = seen_at((torch.tensor([[11.0, 5.0], [3.0, 2.0]]) + 0.5) / 16)
    torch.testing.assert_close(looked_at[:, :2].mean(dim=(2, 3)), middle)
    torch.testing.assert_close(looked_at[:, 0, 0, 1:] - looked_at[:, 0, 0, :-1], torch.full((2, 7), 1 / 32))


def test_who_glimpses_decides_kinds_by_what_stands_there() -> None:
    module, whole = policy("scene_place_first", glimpse=8, conditional=True), seen(channels=3, target=True)
    whole = dataclasses.replace(whole, previous=torch.zeros(LENGTH, COUNT, 7))
    actions = torch.zeros(LENGTH, COUNT, 7)
    actions[..., 0] = 1.0
    judged = module(whole, actions=actions)
    judged.log_prob[..., 2].sum().backward()
    assert module.decoder.glimpse.out[0].weight.grad.abs().sum() > 0
    module.zero_grad()
    module(whole, actions=actions).log_prob[..., 1].sum().backward()  # the place itself is decided before
    assert module.decoder.glimpse.out[0].weight.grad.abs().sum() == 0


def test_who_may_not_draw_jumps() -> None:
    module, one = policy(), at(0, seen())
    module.most_strokes = 2
    done = dataclasses.replace(one, strokes=torch.tensor([[0, 1, 2, 3]]))
    draws = torch.stack([module(done).actions[0, :, 0] for _ in range(40)]).bool().any(0)
    assert draws.tolist() == [True, True, False, False]
    decided = module(done, actions=torch.zeros(1, COUNT, 6))
    assert (decided.log_prob[0, :2, 0] < 0).all() and (decided.log_prob[0, 2:, 0] == 0).all()
    assert (decided.entropy[0, :2, 0] > 0).all() and (decided.entropy[0, 2:, 0] == 0).all()
    decided.entropy.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_temperature_is_of_places_alone() -> None:
    module, one = policy(), at(0, seen())
    action = torch.ones(1, COUNT, 6)
    warm, cool = module(one, actions=action), module(one, actions=action, temperature=0.5)
    same = [name in ("draw", "size") for name in module.table.names]
    assert torch.equal((warm.entropy == cool.entropy).all(1)[0], torch.tensor(same))
    assert (cool.entropy <= warm.entropy).all()


def test_the_density_of_a_continuous_choice_integrates_to_one_with_its_entropy() -> None:
    component, told = Component("size", low=0.2, high=0.7), torch.tensor([[0.4, -0.3]])
    values = torch.linspace(0.2, 0.7, 20001)[1:-1]
    _, log_prob, entropy = decide_value(component, told.expand(len(values), -1), values, False, 1.0)
    step = 0.5 / 20000
    assert (log_prob.exp().sum() * step).item() == pytest.approx(1.0, abs=1e-3)
    assert entropy[0].item() == pytest.approx(-(log_prob.exp() * log_prob).sum().item() * step, abs=1e-3)
    torch.manual_seed(0)
    drawn, of_drawn, _ = decide_value(component, told.expand(20000, -1), None, False, 1.0)
    assert drawn.min() >= 0.2 and drawn.max() <= 0.7
    assert drawn.mean().item() == pytest.approx((log_prob.exp() * values).sum().item() * step, abs=2e-3)
    torch.testing.assert_close(of_drawn, decide_value(component, told.expand(20000, -1), drawn, False, 1.0)[1])


def test_cells_keep_their_numbers_in_bfloat16() -> None:
    module, whole = policy("paper_grey", "paper"), seen(table="paper_grey")
    actions = torch.full((LENGTH, COUNT, 5), 1.0)
    actions[..., 1], actions[..., 2] = 1001.0, 999.0  # bfloat16 has 1000 for both
    with torch.autocast("cpu", torch.bfloat16):
        decided = module(whole, actions=actions)
    assert torch.equal(decided.actions, actions) and decided.log_prob.dtype == torch.float32


def test_weights_that_have_diverged_are_named() -> None:
    module = policy()
    with torch.no_grad():
        module.decoder.heads[1].weight.fill_(float("nan"))
    with pytest.raises(UserError, match="'end_x' are no numbers"):
        module(at(0, seen()))


def test_gradients_reach_every_weight() -> None:
    module, whole = policy("paper_grey", "paper"), seen(table="paper_grey")
    decided = module(whole, actions=torch.ones(LENGTH, COUNT, 5))
    (decided.log_prob.sum() + decided.value.sum()).backward()
    assert not {name for name, p in module.named_parameters() if p.grad is None or not p.grad.any()}

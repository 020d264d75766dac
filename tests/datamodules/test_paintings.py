"""What painters learn from: which picture belongs to which program and target, and that resuming repeats nothing."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from handgen.datamodules.paintings import Paintings, drawn_evenly
from handgen.datamodules.strokes import Pictures
from handgen.errors import UserError
from handgen.painter.module import Painter
from handgen.painter.rollout import Rollout, paint_program, random_programs

TINY: dict[str, Any] = {"image_size": 32, "length": 4, "strokes": 2, "width": 16, "discriminator_width": 4}
DATA: dict[str, Any] = {
    "train_count": 40,
    "fit_updates": 1,
    "distill_updates": 1,
    "fit_batch_size": 6,
    "batch_size": 4,
    "warming_updates": 1,
    "replay_batches": 3,
}


def begin(painter: dict[str, Any], **settings: Any) -> Paintings:
    """A source of paintings, set up as under a Trainer."""
    torch.manual_seed(0)
    source = Paintings(**{**DATA, **settings})
    source.trainer = SimpleNamespace(lightning_module=Painter(**{**TINY, **painter}), max_epochs=1)  # type: ignore[assignment]
    source.setup("fit")
    return source


def next_of(source: Paintings, stage: str) -> dict[str, Any]:
    """The next batch of a stage."""
    while (batch := source.next_batch())["stage"] != stage:
        pass
    return batch


def as_bytes(image: Tensor) -> Tensor:
    return (255 * image).round().byte()


def test_rows_are_drawn_once_where_there_are_enough_and_evenly_where_not() -> None:
    generator = torch.Generator().manual_seed(0)
    few = drawn_evenly(10, 7, generator)
    assert len(set(few.tolist())) == 7 and few.max() < 10 and few.tolist() != sorted(few.tolist())
    many = drawn_evenly(4, 10, generator)
    assert len(many) == 10 and torch.bincount(many).min() == 2 and torch.bincount(many).max() == 3


def test_the_painter_paints_with_the_engine_that_its_experience_asks_for() -> None:
    source = begin({"table": "fast_grey"}, engine="mypaint", brush="pencil")
    painter: Any = source.painter
    assert (painter.engine, painter.brush) == ("mypaint", "pencil")
    try:
        assert type(painter.world().engine).__name__ == "MyPaintEngine" and source.world() is painter.world()
    except UserError as error:
        pytest.skip(str(error))


def test_the_first_paintings_are_all_shown_once() -> None:
    batch = next_of(begin({}), "rl")
    made, shown = as_bytes(batch["rollout"].finished), as_bytes(batch["fake"])
    assert sorted(made.flatten(1).tolist()) == sorted(shown.flatten(1).tolist())


def test_each_older_painting_is_shown_beside_its_own_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a painter whose paintings are the negatives of their targets."""
    made = []

    def negative(self: Painter, world: Any, count: int, target: Tensor) -> Rollout:
        made.append(as_bytes(target))
        actions = torch.zeros(4, count, len(self.table))
        return Rollout((1.0 - target)[None], actions, torch.zeros(4, count), torch.zeros(count, 10), target)

    monkeypatch.setattr(Painter, "paint", negative)
    source = begin({"conditional": True, "discriminator_updates": 2}, distill_updates=0)
    for _ in range(5):
        batch = next_of(source, "rl")
    assert torch.equal(as_bytes(1.0 - batch["fake"]), as_bytes(batch["fake_target"]))
    kept = {tuple(row) for row in torch.cat(made[-3:]).flatten(1).tolist()}
    assert {tuple(row) for row in as_bytes(batch["fake_target"]).flatten(1).tolist()} <= kept
    assert len(batch["image"]) == len(batch["fake"]) == 8


def test_programs_are_shown_beside_the_pictures_that_they_paint() -> None:
    source = begin({"joint": True, "adversary": "spectral"}, real="programs")
    for _ in range(4):
        batch = next_of(source, "rl")
    for image, actions in (("fake", "fake_actions"), ("image", "actions")):
        painted = paint_program(source.world(), batch[actions]).finished
        torch.testing.assert_close(batch[image], painted, atol=1 / 255, rtol=0.0)
    assert len({tuple(row) for row in batch["fake_actions"].flatten(1).tolist()}) > 1


def test_paintings_of_a_target_stand_side_by_side() -> None:
    target = next_of(begin({"conditional": True, "reward": "l2", "paintings_of_a_target": 2}), "rl")["rollout"].target
    assert torch.equal(target[0], target[1]) and torch.equal(target[2], target[3])
    assert not torch.equal(target[0], target[2])


@pytest.mark.parametrize(("shift", "varied"), [(0, 0.0), (2, 0.0), (0, 0.5), (0, 1.0)])
def test_fitted_programs_are_moved_with_their_targets(shift: int, varied: float) -> None:
    source = begin({"conditional": True}, shift_cells=shift, varied_share=varied, fit_updates=1)
    programs = random_programs(source.painter.table, 40, 4, torch.Generator().manual_seed(0))
    programs[..., 1:5] = 10 + programs[..., 1:5] % 12  # away from the border
    programs[:, 0, 0] = 0.0
    painted = as_bytes(paint_program(source.world(), programs).finished)
    source.pictures["train"] = Pictures(painted, torch.full((40,), -1), 0)
    source._programs = programs
    rollout = next_of(source, "distill")["rollout"]
    torch.testing.assert_close(rollout.finished, rollout.target, atol=2 / 255, rtol=0.0)
    known = {tuple(row) for row in programs.flatten(1).tolist()}
    learnt = {tuple(row) for row in rollout.actions.transpose(0, 1).flatten(1).tolist()}
    assert len(learnt - known) / len(learnt) == pytest.approx(varied if shift == 0 else 1.0, abs=0.3)
    assert bool(learnt <= known) == (shift == 0 and varied == 0.0)


@pytest.mark.parametrize("painter", [{}, {"conditional": True, "imitation_weight": 0.1}])
def test_a_resumed_source_goes_on_where_it_stopped(painter: dict[str, Any]) -> None:
    whole = begin(painter)
    for _ in range(4):
        whole.next_batch()
    kept, random = whole.state_dict(), torch.get_rng_state()
    expected = [whole.next_batch() for _ in range(2)]
    resumed = begin(painter)
    resumed.load_state_dict(kept)
    torch.set_rng_state(random)
    for batch in expected:
        again = resumed.next_batch()
        assert again.keys() == batch.keys() and again["progress"] == batch["progress"]
        for name in ("image", "fake", "fake_target"):
            assert name not in batch or torch.equal(again[name], batch[name])
        for name in ("rollout", "programs"):
            if name in batch:
                assert torch.equal(again[name].actions, batch[name].actions)
                assert torch.equal(again[name].canvases, batch[name].canvases)


def test_the_run_decides_the_order_and_no_seed_the_pictures() -> None:
    drawn = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        source = Paintings(**DATA)
        source.trainer = SimpleNamespace(lightning_module=Painter(**TINY), max_epochs=1)  # type: ignore[assignment]
        source.setup("fit")
        drawn.append((source._draw(6), source.pictures["train"].images))
    assert torch.equal(drawn[0][0], drawn[1][0]) and not torch.equal(drawn[0][0], drawn[2][0])
    assert torch.equal(drawn[0][1], drawn[2][1])

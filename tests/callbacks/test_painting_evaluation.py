"""What the painter's evaluation measures, logs and shows."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger

from handgen.callbacks.painting_evaluation import PaintingEvaluation, enlarged
from handgen.datamodules.paintings import Paintings
from handgen.errors import UserError
from handgen.painter import evaluation
from handgen.painter import module as module_file
from handgen.painter.module import Painter
from handgen.painter.rollout import paint_program
from handgen.random_state import seeded

TINY: dict[str, Any] = {"image_size": 16, "length": 3, "strokes": 2, "width": 16, "discriminator_width": 4}
DATA: dict[str, Any] = {"train_count": 40, "fit_updates": 1, "distill_updates": 1, "fit_batch_size": 4, "batch_size": 4}


@pytest.fixture(autouse=True)
def _quick_classifier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evaluation, "CLASSIFIER_UPDATES", 3)
    monkeypatch.setenv("HANDGEN_CACHE", str(tmp_path / "cache"))


def run(
    tmp_path: Path, updates: int = 3, searched: int = 0, data: dict[str, Any] | None = None, **settings: Any
) -> PaintingEvaluation:
    torch.manual_seed(0)
    watcher = PaintingEvaluation(count=12, during=8, every_n_epochs=100, searched_paintings=searched)
    module, source = Painter(**{**TINY, **settings}), Paintings(**{**DATA, **(data or {})}, epoch_updates=updates)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=CSVLogger(tmp_path), enable_progress_bar=False, callbacks=[watcher],
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(module, source)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    trainer.test(module, source, verbose=False)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    return watcher


def test_free_paintings_are_graded_stage_by_stage(tmp_path: Path) -> None:
    watcher = run(tmp_path)
    found = {(m.metric, m.variant) for m in watcher.measurements}
    graded = {(f"samples/{name}", at) for name in ("confident", "kid") for at in ("distilled", "rl")}
    assert graded <= found
    assert {("samples/confident", "heldout"), ("samples/confident", "programs"), ("samples/strokes", "rl")} <= found
    assert {("recon/mse_of_blank", "fit"), ("recon/mse_of_blank", "programs")} <= found
    confident = next(m for m in watcher.measurements if (m.metric, m.variant) == ("samples/confident", "rl"))
    assert confident.n == 12 and confident.low is not None and confident.low <= confident.value
    assert {("programs/nll", "distilled"), ("programs/nll", "rl")} <= found
    for name in ("heldout", "fit", "programs", "distilled", "rl"):
        assert (tmp_path / "images" / f"{name}-final.png").is_file()
    assert (tmp_path / "images" / "rl-final.gif").is_file()
    logged = next(tmp_path.rglob("metrics.csv")).read_text()
    assert "eval/recon/mse_of_blank/programs" in logged
    assert "eval/samples/confident," in logged  # of the last epoch, which a round of a population ends with
    assert len(list((tmp_path / "cache").rglob("classifier-*.pt"))) == 1


def test_a_policy_that_was_not_rewarded_yet_is_the_distilled_one(tmp_path: Path) -> None:
    variants = {m.variant for m in run(tmp_path, updates=2).measurements}
    assert "distilled" in variants and "rl" not in variants


def test_without_its_stage_nothing_is_called_distilled(tmp_path: Path) -> None:
    data = {"fit_updates": 0, "distill_updates": 0}
    assert {m.variant for m in run(tmp_path, data=data).measurements} == {"rl"}


def test_what_is_looked_at_on_the_way_is_other_pictures_than_those_of_the_end(tmp_path: Path) -> None:
    torch.manual_seed(0)
    watcher, source = PaintingEvaluation(count=1000, during=8), Paintings(**DATA, epoch_updates=1)
    module = Painter(**TINY)
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    trainer.strategy.connect(module)
    trainer.datamodule, source.trainer = source, trainer  # type: ignore[attr-defined]
    source.setup("fit")
    end, before = watcher._images(trainer), watcher._images(trainer, final=False)
    assert len(end) + len(before) == len(source.pictures["test"]) and 1 <= len(before) <= 8
    assert not (end.flatten(1)[:, None] == before.flatten(1)).all(-1).any()


def test_copies_are_looked_at_when_rewards_are_about_to_begin(tmp_path: Path) -> None:
    torch.manual_seed(0)
    watcher, source = PaintingEvaluation(count=4, every_n_rewarded_epochs=1), Paintings(**DATA, epoch_updates=1)
    trainer = Trainer(
        max_epochs=5, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[watcher],
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(Painter(**TINY, conditional=True, reward="l2"), source)
    looks = [point["metric"] for point in watcher.points if "mse" in point["metric"]]
    assert looks == [f"recon/mse_of_blank@{made}" for made in (0, 4, 8, 12)]
    assert source._fakes == []  # no discriminator asks for older paintings


@pytest.mark.parametrize("wrong", [{"joint": True, "adversary": "spectral"}, {"engine": "mypaint"}])
def test_a_search_that_cannot_be_made_is_refused_before_training(wrong: dict[str, Any], tmp_path: Path) -> None:
    data = {"engine": wrong["engine"]} if "engine" in wrong else {}
    with pytest.raises(UserError, match="searched_paintings needs"):
        run(tmp_path, searched=1, data=data, **({} if data else wrong))


@pytest.mark.parametrize("settings", [{}, {"conditional": True, "reward": "l2"}, {"credit": "end"}])
def test_a_few_are_painted_by_tree_search(settings: dict[str, Any], tmp_path: Path) -> None:
    measured = run(tmp_path, searched=2, **settings).measurements
    strokes = {m.variant: m.n for m in measured if m.metric.endswith("/strokes")}
    assert strokes["rl_searched"] == strokes["distilled_searched"] == 2 and strokes["rl"] == 12


def test_copies_are_of_the_likeliest_actions_and_the_rest_is_drawn() -> None:
    torch.manual_seed(0)
    copying, free = Painter(**TINY, conditional=True), Painter(**TINY)
    image = torch.rand(6, 1, 16, 16)
    with seeded(3):
        likeliest = copying.paint(copying.world(), 6, image, greedy=True).actions.transpose(0, 1)
    with seeded(3):
        assert torch.equal(evaluation.paint_many(copying, 6, image, copying.policy).actions, likeliest)
    with seeded(3):
        assert torch.equal(evaluation.best_of(copying, image, 1, copying.policy), likeliest)
    with seeded(3):
        better = evaluation.best_of(copying, image, 5, copying.policy)
    first, last = (paint_program(copying.world(), actions).finished - image for actions in (likeliest, better))
    assert (last.square().flatten(1).mean(1) <= first.square().flatten(1).mean(1)).all()
    assert not torch.equal(better, likeliest)
    painted = evaluation.paint_many(free, 40, None, free.policy)
    assert len({tuple(row) for row in painted.actions.flatten(1).tolist()}) > 30
    assert vars(painted).keys() == {"finished", "actions"}  # canvases on the way are not kept


def test_a_painter_paints_at_its_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    module, asked = Painter(**TINY, temperature=0.7), []
    plain = module_file.paint_freely

    def watched(*args: Any) -> Any:
        asked.append(args[-1])
        return plain(*args)

    monkeypatch.setattr(module_file, "paint_freely", watched)
    evaluation.paint_many(module, 3, None, module.policy)
    module.paint(module.world(), 2)
    module.sample(2)
    assert asked == [0.7] * 3


def test_copies_are_compared_with_their_targets(tmp_path: Path) -> None:
    watcher = run(tmp_path, conditional=True)
    values = {(m.metric, m.variant): m for m in watcher.measurements}
    for variant in ("distilled", "rl"):
        assert values["recon/mse_of_blank", variant].value > 0 and values["recon/strokes", variant].value <= 3
    assert not any(metric.startswith("samples/") for metric, _ in values)
    assert values["recon/mse_of_blank@4", "rl"].n == 8  # on the way, after four paintings


def test_a_blank_copy_has_the_error_of_a_blank_canvas() -> None:
    image = torch.rand(5, 1, 8, 8)
    error, strokes = evaluation.measure_copies(torch.ones_like(image), image, torch.zeros(5), "x")
    assert error.value == pytest.approx(1.0) and strokes.value == 0.0
    floor = torch.full((1, 1, 8, 8), 0.4)
    of_a_floor = evaluation.measure_copies(floor.expand(5, -1, -1, -1), image, torch.zeros(5), "x", floor)[0]
    assert of_a_floor.value == pytest.approx(1.0)
    assert evaluation.measure_copies(image, image, torch.ones(5), "x")[0].value == 0.0


def test_small_pictures_are_shown_large_and_in_colour() -> None:
    assert enlarged(torch.rand(2, 1, 16, 16)).shape == (2, 3, 64, 64)
    assert enlarged(torch.rand(2, 3, 128, 128)).shape == (2, 3, 128, 128)


def test_scenes_are_compared_with_the_truth_and_with_a_search(tmp_path: Path) -> None:
    torch.manual_seed(0)
    watcher = PaintingEvaluation(count=4, every_n_epochs=5, tries=2, searched=2)
    module = Painter(**{**TINY, "table": "scene", "channels": 3, "length": 2, "conditional": True, "reward": "l2"})
    source = Paintings("scenes", **{**DATA, "fit_updates": 0, "distill_on": "random"}, epoch_updates=2)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, callbacks=[watcher],
        enable_model_summary=False, enable_checkpointing=False, default_root_dir=tmp_path, num_sanity_val_steps=0,
    )  # fmt: skip
    try:
        trainer.fit(module, source)
    except UserError as error:
        pytest.skip(str(error))
    trainer.test(module, source, verbose=False)
    variants = {m.variant for m in watcher.measurements if m.metric == "scenes/type_accuracy"}
    searches = {"metropolis_hastings_4", "metropolis_hastings_40"}
    assert variants == {"distilled", "distilled_best_of_2", "rl", "rl_best_of_2"} | searches

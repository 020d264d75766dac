"""The leaderboard: every trained method draws by its own command, and the same judges see them all."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from handgen import cli, leaderboard
from handgen.datamodules import hands
from handgen.errors import UserError
from handgen.leaderboard import Entry


@pytest.fixture
def few_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial(hands.HandsDataModule, train_count=12, val_count=2, test_count=12)
    monkeypatch.setattr(hands, "HandsDataModule", few)


@pytest.mark.usefixtures("few_hands")
def test_methods_that_are_trained_are_judged_and_the_others_named(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leaderboard, "ENTRIES", (Entry("noise", "toy.yaml", "any"), Entry("nothing", "vae", "prior")))
    assert cli.main(["fit", "--config=toy.yaml"]) == 0
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}:{Path(__file__).parents[1]}")
    assert cli.main(["leaderboard", "--count=8"]) == 0
    said = capsys.readouterr().out
    assert "nothing: not trained (make train EXP=vae)" in said and "noise: valid" in said
    (path,) = Path("runs", "leaderboard").rglob("result.json")
    records = {(r["variant"], r["metric"]): r for r in json.loads(path.read_text())}
    assert records["noise", "valid_rate/strictest"]["n"] == 8
    assert records["heldout", "coverage"]["value"] > records["noise", "coverage"]["value"]
    assert (path.parent / "hands.png").is_file()
    assert {(r["experiment"], *r["seeds"]) for r in records.values()} == {("leaderboard", 0)}


def test_without_a_run_it_says_so(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leaderboard", "--seed=7"]) == 2
    assert "no method has a run with seed 7" in capsys.readouterr().err


@pytest.mark.usefixtures("few_hands")
def test_a_method_that_draws_nothing_costs_nobody_else_their_place(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = (Entry("broken", "toy.yaml", "any"), Entry("noise", "toy.yaml", "any"))
    monkeypatch.setattr(leaderboard, "ENTRIES", entries)
    assert cli.main(["fit", "--config=toy.yaml"]) == 0
    draw = leaderboard.draw

    def failing(entry: Entry, *rest: Any) -> Any:
        if entry.name == "broken":
            raise UserError("broken draws nothing: it says nothing")
        return draw(entry, *rest)

    monkeypatch.setattr(leaderboard, "draw", failing)
    monkeypatch.setenv("PYTHONPATH", f"{Path.cwd()}:{Path(__file__).parents[1]}")
    assert cli.main(["leaderboard", "--count=8"]) == 0
    said = capsys.readouterr()
    assert "error: broken draws nothing" in said.err and "noise: valid" in said.out


def test_judges_that_have_rewarded_a_method_are_those_of_its_run(toy: Path) -> None:
    folder = toy / "20260101-000000-seed3"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    for said, judges in (("{init_args: {rewarded: judge_b}}", ("judge_b",)), ("{class_path: x}", ())):
        (folder / "config.yaml").write_text(f"model: {said}")
        assert leaderboard.rewarded_judges(Entry("toy", "toy.yaml", "any"), Path("runs"), 3) == judges

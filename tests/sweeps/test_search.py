"""What is tried next, and that Bayesian search learns from what was."""

from statistics import median
from typing import Any

import pytest

from handgen.sweeps.plan import Parameter, Plan
from handgen.sweeps.search import GridSearch, RandomSearch, make_search


def plan(method: str, **parameters: Parameter) -> Plan:
    return Plan("", method, "loss", False, parameters, None)


def test_a_grid_has_every_combination_once() -> None:
    search = GridSearch(plan("grid", a=Parameter("categorical", (1, 2)), b=Parameter("categorical", ("x", "y"))))
    rows = []
    while (row := search.propose()) is not None:
        rows.append(tuple(row.values()))
    assert rows == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_random_draws_keep_their_ranges_and_repeat_with_their_seed() -> None:
    wanted = plan(
        "random",
        lr=Parameter("log_uniform_values", (), 1e-4, 1e-2),
        k=Parameter("int_uniform", (), 1, 3),
        w=Parameter("uniform", (), -1.0, 1.0),
        c=Parameter("categorical", ("x", "y")),
    )
    one, same = RandomSearch(wanted, 0), RandomSearch(wanted, 0)
    rows: list[dict[str, Any]] = []
    for _ in range(300):
        row, again = one.propose(), same.propose()
        assert row is not None and row == again
        rows.append(row)
    assert {row["k"] for row in rows} == {1, 2, 3} and all(type(row["k"]) is int for row in rows)
    assert all(1e-4 <= row["lr"] <= 1e-2 and -1 <= row["w"] <= 1 for row in rows)
    below = sum(row["lr"] < 1e-3 for row in rows) / len(rows)
    assert 0.4 < below < 0.6  # even in the logarithm


def test_bayesian_search_comes_nearer_than_random() -> None:
    pytest.importorskip("optuna")
    wanted = plan("bayes", x=Parameter("uniform", (), 0.0, 1.0), c=Parameter("categorical", ("bad", "good")))
    search = make_search(wanted, seed=0)
    values = []
    for _ in range(60):
        settings = search.propose()
        assert settings is not None
        values.append((settings["x"] - 0.3) ** 2 + (settings["c"] == "bad"))
        search.tell(settings, values[-1])
    assert median(values[-20:]) < 0.3 * median(values[:10])


def test_runs_that_failed_or_diverged_teach_nothing_and_do_not_stop_the_search() -> None:
    pytest.importorskip("optuna")
    search = make_search(plan("bayes", x=Parameter("uniform", (), 0.0, 1.0)))
    first, second = search.propose(), search.propose()
    assert first is not None and second is not None
    search.tell(second, float("nan"))
    search.tell(first, None)
    assert search.propose() is not None

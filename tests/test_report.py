"""Tables: values with intervals where the markers are, published figures below, sources as footnotes."""

from dataclasses import replace
from pathlib import Path

import pytest

from handgen import report
from handgen.errors import UserError
from handgen.report import cell, number, pool, render, write_report
from handgen.report_tables import Published, Table
from handgen.results import Record, write_json

ONE = Record(
    "vae",
    "synthetic",
    "prior",
    "valid_rate/judge_a",
    0.5,
    0.4,
    0.6,
    100,
    [0],
    None,
    20_000,
    61.0,
    "m",
    "v",
    "c",
    "go",
)
TABLE = Table(
    columns={"valid_rate/judge_a": "judge A", "kid": "KID"},
    experiments=("vae",),
    variants=("prior", "gmm"),
    published=(Published("a paper", {"kid": "0.1"}),),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.51234, "0.512"),
        (0.0123456, "0.0123"),
        (1234.5, "1,234"),
        (12.345, "12.3"),
        (0.0, "0.00"),
        (3e-6, "3.00e-06"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_a_table_has_intervals_order_published_figures_and_sources() -> None:
    gmm = replace(ONE, variant="gmm", value=0.75, low=None, high=None)
    lines = render(TABLE, [gmm, ONE, replace(ONE, experiment="other"), replace(ONE, metric="other")]).splitlines()
    assert lines[:5] == [
        "| experiment | data | variant | judge A | KID |",
        "| --- | --- | --- | --- | --- |",
        "| vae | synthetic | prior | 0.500 [0.400, 0.600] | - |",
        "| vae | synthetic | gmm | 0.750 | - |",
        "| a paper |  |  | - | 0.1 |",
    ]
    assert lines[6].startswith("<details><summary>") and lines[-1] == "</details>"
    assert lines[8] == (
        "<sub>vae, synthetic: n 100; seeds 0; 20,000 images seen; 61 s of training; m; commit c; `go`</sub>"
    )


def test_seeds_are_pooled_with_students_interval() -> None:
    # Mean 2, standard deviation 1, t(2) = 4.303: half width 4.303 / sqrt(3) = 2.4843.
    pooled = pool([replace(ONE, metric="kid", value=float(value), seeds=[value]) for value in (1, 2, 3)])
    assert (pooled.value, pooled.seeds, pooled.n) == (2.0, [1, 2, 3], 300)
    assert pooled.low == pytest.approx(2 - 2.4843, abs=1e-3)
    assert cell(pooled) == "2.00 [-0.484, 4.48]"


def test_seeds_that_agree_prove_no_more_than_one_and_shares_stay_shares() -> None:
    same = pool([replace(ONE, seeds=[seed]) for seed in (1, 2, 3)])
    assert (same.low, same.high) == pytest.approx((0.4, 0.6))
    apart = pool([replace(ONE, value=value, seeds=[0]) for value in (0.1, 0.9)])
    assert (apart.low, apart.high) == (0.0, 1.0)


OPTIONS = [
    "--seed_everything={}",
    "--seed_everything {}",
    "--seeds {}",
    "--ckpt_path=run{}/last.ckpt",
    "--model.vae=run{}",
]


@pytest.mark.parametrize("option", OPTIONS)
def test_runs_that_differ_in_their_seed_share_a_footnote(option: str) -> None:
    records = [replace(ONE, seeds=[s], command=f"handgen fit --config vae {option.format(s)}") for s in (0, 1)]
    (note,) = report.footnotes(records)
    assert "seeds 0, 1" in note
    assert "`handgen fit --config vae`" in note


def test_data_sets_of_the_same_runs_share_a_footnote() -> None:
    records = [replace(ONE, dataset=name, seeds=[0], n=n) for name, n in (("a", 10), ("b", 20))]
    (note,) = report.footnotes(records)
    assert f"{ONE.experiment}, a, b: n 10 to 20; seeds 0;" in note
    assert len(report.footnotes([*records, replace(records[1], seeds=[1])])) == 2, "b has a seed that a has not"


def test_only_the_text_between_markers_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "TABLES", {"t": TABLE})
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- table:t -->\nstale\n<!-- /table:t -->\nafter\n")
    write_json(tmp_path / "run" / "result.json", [ONE])
    assert write_report([tmp_path / "run"], root=tmp_path) == [page]
    text = page.read_text()
    assert text.startswith("before\n<!-- table:t -->\n| experiment")
    assert text.endswith("<!-- /table:t -->\nafter\n")
    assert "stale" not in text
    assert write_report(root=tmp_path) == [], "a second report changes nothing"


def test_an_unknown_table_gets_a_clear_line(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<!-- table:nope -->\n<!-- /table:nope -->\n")
    with pytest.raises(UserError, match="unknown table 'nope'"):
        write_report(root=tmp_path)


def test_benchmarks_make_one_row_each() -> None:
    base = replace(ONE, experiment="bench", dataset="", variant="images/s")
    rows = [
        replace(base, metric=f"renderer_64/{column}", value=value, low=None, high=None)
        for column, value in (("ours", 30.0), ("reference", 10.0), ("ratio", 3.0))
    ]
    assert "| renderer_64 | images/s | 30.0 | 10.0 | 3.00 |" in render(report.TABLES["bench"], rows)

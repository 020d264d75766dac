"""Result records: filled in, merged by what they are of, and written whole."""

import json
from pathlib import Path

import pytest

from handgen import results
from handgen.errors import UserError
from handgen.results import Record, merge, merge_results, read_records, write_json


def record(value: float = 0.5, **changes: object) -> Record:
    """A record of the VAE's valid rate."""
    facts = {"machine": "m", "versions": "v", "commit": "c", "seeds": [0], **changes}
    return Record("vae", "synthetic", "prior", "valid_rate/judge_a", value, **facts)  # type: ignore[arg-type]


def test_a_record_knows_machine_versions_and_commit() -> None:
    filled = Record("vae", "synthetic", "", "kid", 1.0)
    assert "cores" in filled.machine
    assert "torch" in filled.versions
    assert filled.commit


def test_commit_is_unknown_outside_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert results.commit() == "unknown"


def test_a_newer_record_replaces_the_old_one_and_no_other() -> None:
    old = [record(0.1), record(0.2, seeds=[1]), record(0.3, n=5)]
    merged = merge(old[:2], [record(0.9)])
    assert [(item.seeds, item.value) for item in merged] == [([0], 0.9), ([1], 0.2)]


def test_records_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results" / "results.json"
    write_json(path, [record(low=0.4, high=0.6, n=100)])
    assert read_records(path) == [record(low=0.4, high=0.6, n=100)]
    assert isinstance(json.loads(path.read_text()), list)
    assert [item.name for item in path.parent.iterdir()] == ["results.json"], "no temporary file is left"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, [record()])
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, [record(float("nan"))])
    assert read_records(path) == [record()]


def test_runs_are_merged_into_the_committed_file(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_json(tmp_path / f"run{seed}" / "result.json", [record(seed / 2, seeds=[seed])])
    into = tmp_path / "results.json"
    merge_results([tmp_path / "run0"], into)
    assert len(merge_results([tmp_path / "run1" / "result.json"], into)) == 2
    assert [item.seeds for item in read_records(into)] == [[0], [1]]


def test_a_run_without_results_gets_a_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no result\.json"):
        merge_results([tmp_path], tmp_path / "results.json")


def test_an_older_record_is_not_given_this_machines_facts(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text('[{"experiment": "vae", "dataset": "d", "variant": "", "metric": "kid", "value": 1}]')
    assert read_records(path)[0].machine == "unknown"
    path.write_text('[{"experiment": "vae", "extra": 1}]')
    with pytest.raises(UserError, match="no list of result records"):
        read_records(path)

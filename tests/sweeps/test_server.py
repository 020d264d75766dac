"""The sweep server: who gets which run, when it ends, and what is kept of what runs report."""

import csv
import json
import urllib.request
from pathlib import Path

import pytest

from handgen.sweeps.outcome import draw, ranked, write_table
from handgen.sweeps.plan import Parameter, Plan
from handgen.sweeps.search import make_search
from handgen.sweeps.server import LARGEST_REQUEST, Sweep, SweepServer


def make_sweep(count: int | None = None, maximise: bool = False) -> Sweep:
    values = Parameter("categorical", (0.1, 0.2, 0.3))
    plan = Plan("method: grid", "grid", "eval/loss", maximise, {"model.lr": values}, count)
    return Sweep(plan, make_search(plan))


def report(sweep: Sweep, run_id: str, value: float, exit_code: int = 0) -> None:
    line = json.dumps({"eval/loss": value})
    sweep.stream(run_id, {"files": {"wandb-summary.json": {"offset": 0, "content": [line]}}})
    sweep.stream(run_id, {"complete": True, "exitcode": exit_code})


def test_an_agent_gets_one_run_at_a_time_until_the_grid_ends() -> None:
    sweep, given = make_sweep(), []
    running: dict[str, bool] = {}
    for _ in range(3):
        (command,) = sweep.heartbeat("a", running)
        assert command["type"] == "run"
        given.append(command["args"]["model.lr"]["value"])
        running = {command["run_id"]: True}
        assert sweep.heartbeat("a", running) == []
        report(sweep, command["run_id"], given[-1])
        running = {}
    assert given == [0.1, 0.2, 0.3]
    assert sweep.heartbeat("a", {}) == [{"type": "exit"}]
    assert [trial.exit_code for trial in sweep.trials.values()] == [0, 0, 0]


def test_two_agents_share_the_runs() -> None:
    sweep = make_sweep(count=2)
    (one,), (other,) = sweep.heartbeat("a", {}), sweep.heartbeat("b", {})
    assert one["args"] != other["args"]
    assert sweep.heartbeat("c", {}) == [{"type": "exit"}]


def test_a_run_that_vanished_without_a_word_has_failed() -> None:
    sweep = make_sweep()
    (command,) = sweep.heartbeat("a", {})
    sweep.heartbeat("a", {command["run_id"]: True})
    sweep.heartbeat("a", {})
    assert sweep.trials[command["run_id"]].exit_code == 1


def test_a_run_that_ended_before_the_next_heartbeat_keeps_its_own_word() -> None:
    sweep = make_sweep()
    (command,) = sweep.heartbeat("a", {})
    report(sweep, command["run_id"], 0.5)
    assert sweep.heartbeat("a", {})[0]["type"] == "run"
    trial = sweep.trials[command["run_id"]]
    assert trial.exit_code == 0 and sweep.value(trial) == 0.5


@pytest.mark.parametrize(("maximise", "best"), [(False, 0.2), (True, 0.1)])
def test_the_best_run_comes_first_and_failures_last(maximise: bool, best: float, tmp_path: Path) -> None:
    sweep = make_sweep(maximise=maximise)
    for value in (5.0, 1.0, None):
        (command,) = sweep.heartbeat("a", {})
        if value is not None:
            report(sweep, command["run_id"], value)
    sweep.heartbeat("a", {})
    order = ranked(sweep)
    assert order[0].settings == {"model.lr": best} and order[-1].exit_code == 1
    rows = list(csv.DictReader(write_table(sweep, tmp_path / "sweep.csv").open()))
    assert float(rows[0]["model.lr"]) == best and rows[-1]["eval/loss"] == ""
    picture = draw(sweep, tmp_path / "sweep.png")
    assert picture is not None and picture.stat().st_size > 5000


def test_the_server_answers_on_this_machine_only_and_tells_what_it_does_not_know() -> None:
    sweep = make_sweep()
    with SweepServer(sweep) as server:
        assert server.url.startswith("http://127.0.0.1:")

        def ask(query: str) -> dict:
            data = json.dumps({"query": query, "variables": {"id": "a", "runState": "{}"}}).encode()
            with urllib.request.urlopen(urllib.request.Request(f"{server.url}/graphql", data)) as answer:
                return json.load(answer)

        commands = json.loads(ask("mutation Heartbeat($id: ID!) { x }")["data"]["agentHeartbeat"]["commands"])
        assert commands[0]["type"] == "run"
        assert "does not know 'Surprise'" in ask("query Surprise { x }")["errors"][0]["message"]
        assert sweep.unknown == ["Surprise"]


def test_huge_requests_are_refused() -> None:
    import http.client

    with SweepServer(make_sweep()) as server:
        line = http.client.HTTPConnection(server.url.removeprefix("http://"))
        line.putrequest("POST", "/graphql")
        line.putheader("Content-Length", str(LARGEST_REQUEST + 1))
        line.endheaders()
        assert line.getresponse().status == 413

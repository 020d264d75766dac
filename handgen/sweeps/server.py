"""A sweep server on this machine: the few questions that ``wandb agent`` and its runs ask, answered without an account.

It speaks to wandb 0.31. The agent registers, and tells every five seconds which of its runs go on; it is answered with
the next run or the end. Runs send their history and summary, of which the sweep's metric is kept.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from handgen.sweeps.plan import Plan
from handgen.sweeps.search import Search, Settings

ENTITY, PROJECT = "local", "handgen"
LARGEST_REQUEST = 64 * 2**20
"""Bytes; larger ones are refused."""
OPERATION = re.compile(r"\b(?:query|mutation)\s+(\w+)")

Json = dict[str, Any]


@dataclass
class Trial:
    """A run of the sweep.

    Attributes:
        run_id: wandb's.
        settings: that it was given.
        summary: what it reported last.
        exit_code: None while it runs.
    """

    run_id: str
    settings: Settings
    summary: Json = field(default_factory=dict)
    exit_code: int | None = None


class Sweep:
    """The state of a sweep, shared by all requests.

    Args:
        plan: what is varied.
        search: proposes settings.
    """

    def __init__(self, plan: Plan, search: Search) -> None:
        self.plan, self.search = plan, search
        self.name = secrets.token_hex(4)
        self.trials: dict[str, Trial] = {}
        self.given: dict[str, set[str]] = {}  # the runs of each agent that have not ended
        self.unknown: list[str] = []
        self.registered: str | None = None  # what `wandb sweep` sent, where that was asked to register
        self.lock = threading.Lock()

    def heartbeat(self, agent: str, running: dict[str, bool]) -> list[Json]:
        """What an agent is to do now.

        Args:
            agent: its id.
            running: its runs, and whether each goes on.
        """
        with self.lock:
            alive = {run_id for run_id, goes_on in running.items() if goes_on}
            for run_id in self.given.get(agent, set()) - alive:
                self._finish(run_id, 1)  # unless it has told its own end
            self.given[agent] = alive
            if alive:
                return []
            if self.plan.run_cap is not None and len(self.trials) >= self.plan.run_cap:
                return [{"type": "exit"}]
            settings = self.search.propose()
            if settings is None:
                return [{"type": "exit"}]
            run_id = secrets.token_hex(4)
            self.trials[run_id] = Trial(run_id, settings)
            self.given[agent] = {run_id}
            args = {name: {"value": value} for name, value in settings.items()}
            return [{"type": "run", "run_id": run_id, "program": None, "args": args}]

    def stream(self, run_id: str, message: Json) -> None:
        """Take what a run reports."""
        with self.lock:
            trial = self.trials.get(run_id)
            if trial is None:
                return
            for line in (message.get("files") or {}).get("wandb-summary.json", {}).get("content", []):
                trial.summary.update(json.loads(line))
            if message.get("complete"):
                self._finish(run_id, int(message.get("exitcode") or 0))

    def _finish(self, run_id: str, exit_code: int) -> None:
        """A run has ended; the first to tell is right."""
        trial = self.trials.get(run_id)
        if trial is not None and trial.exit_code is None:
            trial.exit_code = exit_code
            self.search.tell(trial.settings, self.value(trial) if exit_code == 0 else None)

    def value(self, trial: Trial) -> float | None:
        """The sweep's metric in a run's summary; None of a run that failed, whatever it has reported before."""
        value = None if trial.exit_code else trial.summary.get(self.plan.metric)
        return float(value) if isinstance(value, int | float) else None

    # Answers to wandb's questions, by the name of the operation.

    def answer(self, operation: str, asked: Json, base: str) -> Json:
        """The data of a GraphQL answer.

        Raises:
            KeyError: if the operation is unknown.
        """
        project = {"id": "1", "name": PROJECT, "entity": {"id": "1", "name": ENTITY}}
        if operation == "UpsertSweep":
            self.registered = asked.get("config")
        if operation == "Heartbeat":
            commands = self.heartbeat(str(asked["id"]), json.loads(asked.get("runState") or "{}"))
            return {"agentHeartbeat": {"agent": {"id": asked["id"]}, "commands": json.dumps(commands)}}
        if operation == "UpsertBucket":
            name = asked.get("name") or secrets.token_hex(4)
            bucket = {"id": name, "name": name, "displayName": name, "description": "", "sweepName": self.name,
                      "project": project, "historyLineCount": 0, "config": asked.get("config") or "{}"}  # fmt: skip
            return {"upsertBucket": {"bucket": bucket, "inserted": True}}
        if operation == "CreateRunFiles":
            files = [{"name": n, "uploadUrl": f"{base}/upload/{n}"} for n in asked.get("files") or []]
            return {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": files}}
        sweep: Json = {"id": "1", "name": self.name, "method": self.plan.method, "state": "RUNNING", "description": "",
                 "config": self.plan.text, "createdAt": "2026-01-01T00:00:00Z", "heartbeatAt": None,
                 "updatedAt": None, "earlyStopJobRunning": False, "controller": None, "scheduler": None,
                 "runs": {"edges": []}, "project": project}  # fmt: skip
        answers: dict[str, Json] = {
            "Viewer": {"viewer": {"id": "1", "entity": ENTITY, "username": ENTITY, "email": "", "flags": "{}",
                                  "admin": False, "teams": {"edges": [{"node": {"name": ENTITY}}]}}},
            "UpsertSweep": {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}},
            "SweepWithRuns": {"project": {"id": "1", "sweep": sweep}},
            "Sweep": {"project": {"id": "1", "sweep": sweep}},
            "CreateAgent": {"createAgent": {"agent": {"id": secrets.token_hex(4)}}},
            "RunResumeStatus": {"model": {**project, "bucket": None}},
            "OrganizationCoreWeaveOrganizationID": {"entity": None},
            "ServerFeaturesQuery": {"serverInfo": {"features": []}},
        }  # fmt: skip
        return answers[operation]


class _Http(ThreadingHTTPServer):
    """A server to which it is no news that an agent has gone."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the other side cut off."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class SweepServer:
    """Serves a sweep at a free port of this machine while it is open (a context manager).

    Args:
        sweep: its state.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.http = _Http(("127.0.0.1", 0), _handler(sweep))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    def __enter__(self) -> SweepServer:
        """Begin to serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.http.shutdown()
        self.http.server_close()

    def environment(self) -> dict[str, str]:
        """What makes wandb's programs talk to this server."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40, "WANDB_MODE": "online",
                "WANDB_ENTITY": ENTITY, "WANDB_PROJECT": PROJECT}  # fmt: skip


def _handler(sweep: Sweep) -> type[BaseHTTPRequestHandler]:
    """Requests of one server."""

    class Handler(BaseHTTPRequestHandler):
        """Answers wandb."""

        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            """Questions, and what runs report."""
            body = self._body()
            if body is None:
                return
            if self.path.startswith("/graphql"):
                self._json(*_graphql(sweep, body, f"http://{self.headers.get('Host')}"))
                return
            if self.path.endswith("/file_stream"):
                sweep.stream(self.path.split("/")[-2], json.loads(body or b"{}"))
            self._json(200, {})

        def do_PUT(self) -> None:
            """Uploads: taken and forgotten, as the run folder has them."""
            if self._body() is not None:
                self._json(200, {})

        def do_GET(self) -> None:
            """Nothing is to be had."""
            self._json(200, {})

        def _body(self) -> bytes | None:
            """What was sent; None if it was refused."""
            length = int(self.headers.get("Content-Length") or 0)
            if length > LARGEST_REQUEST:
                self._json(413, {"error": "too large"})
                self.close_connection = True
                return None
            return self.rfile.read(length)

        def _json(self, code: int, content: Json) -> None:
            data = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


def _graphql(sweep: Sweep, body: bytes, base: str) -> tuple[int, Json]:
    """Status and answer of a GraphQL request; unknown operations are told, and kept for a readable failure."""
    request = json.loads(body)
    found = OPERATION.search(request.get("query") or "")
    operation = request.get("operationName") or (found[1] if found else "")
    try:
        return 200, {"data": sweep.answer(operation, request.get("variables") or {}, base)}
    except KeyError:
        sweep.unknown.append(operation)
        return 200, {"data": None, "errors": [{"message": f"handgen's sweep server does not know {operation!r}"}]}

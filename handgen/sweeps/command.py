"""``handgen sweep``: with an account wandb's server, else one on this machine; wandb's agents either way."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import yaml

from handgen.errors import UserError
from handgen.programs import HANDGEN, last_line, run_program
from handgen.sweeps.outcome import draw, print_table, write_table
from handgen.sweeps.plan import Parameter, Plan, find_plan, parse_plan, read_plan
from handgen.sweeps.search import make_search
from handgen.sweeps.server import ENTITY, PROJECT, Sweep, SweepServer

AGENT_LINE = re.compile(r"wandb agent (\S+/\S+/\S+)")


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code.

    Raises:
        UserError: if the sweep is unknown, makes no sense, or needs what is not there.
    """
    parser = argparse.ArgumentParser("handgen sweep", description=__doc__)
    parser.add_argument("experiment", help="name of experiments/sweeps/NAME.yaml, or a sweep file of your own")
    parser.add_argument("--count", type=int, help="runs (default: the file's run_cap)")
    parser.add_argument("--agents", type=int, default=1, help="wandb agents side by side, each with one run at a time")
    parser.add_argument("--local", action="store_true", help="do not use wandb's server although there is an account")
    parser.add_argument("--seed", type=int, default=0, help="of random and Bayesian search on this machine")
    parser.add_argument("--out", type=Path, default=Path("runs", "sweeps"), help="folder of local sweeps' results")
    options, fixed = parser.parse_known_args(list(words))
    for name in ("count", "agents"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name} must be at least 1")
    path = find_plan("sweep", options.experiment)
    plan = settled(read_plan(path), fixed, options.count)
    check_settings(plan)
    if not options.local and has_account():
        return run_online(plan, options.agents)
    return run_local(plan, path.stem, options.agents, options.seed, options.out)


def settled(plan: Plan, words: Sequence[str], count: int | None) -> Plan:
    """A plan, and its text, with further settings ``--name=value`` of all runs and another number of runs.

    Raises:
        UserError: for words that are no such settings.
    """
    content = yaml.safe_load(plan.text)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not equals:
            raise UserError(f"cannot understand {word!r}: settings of all runs are written --name=value")
        try:
            content["parameters"][name] = {"value": yaml.safe_load(value)}
        except yaml.YAMLError:
            raise UserError(f"cannot understand {word!r}: its value is no YAML") from None
    if count is not None:
        content["run_cap"] = count
    return parse_plan(yaml.safe_dump(content, sort_keys=False))


def check_settings(plan: Plan) -> None:
    """Ask the experiment's own command line whether it knows the settings, before any run is wasted.

    Sweeps of other programs than handgen are not checked.

    Raises:
        UserError: if a setting is unknown or cannot have one of its values.
    """
    config = next(
        (str(w) for w in yaml.safe_load(plan.text).get("command") or [] if str(w).startswith("--config=")), None
    )
    if config is None:
        return
    for place in range(max(len(parameter.values) for parameter in plan.parameters.values()) or 1):
        words = [f"--{name}={an_example(parameter, place)}" for name, parameter in plan.parameters.items()]
        run_program([*HANDGEN, "fit", config, *words, "--print_config"], "the sweep does not fit its experiment")


def an_example(parameter: Parameter, place: int) -> str:
    """One of a parameter's values, as an agent writes them."""
    if parameter.values:
        return str(parameter.values[min(place, len(parameter.values) - 1)])
    return str(int(parameter.low) if parameter.distribution == "int_uniform" else parameter.low)


def has_account() -> bool:
    """Whether wandb is logged in and not told to stay offline."""
    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def run_online(plan: Plan, agents: int) -> int:
    """Register the sweep with wandb's server and start agents; other machines may start more."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        path.write_text(plan.text, encoding="utf-8")
        words = [*wandb_program(), "sweep", "--project", PROJECT, str(path)]
        said = run_program(words, "wandb does not take the sweep")
    found = AGENT_LINE.search(said)
    if found is None:
        raise UserError(f"wandb does not take the sweep: {last_line(said)}")
    print(f"more agents, here or elsewhere: wandb agent {found[1]}")
    variables = {**environment(), "WANDB_MODE": "online"}
    started = [subprocess.Popen([*wandb_program(), "agent", found[1]], env=variables) for _ in range(agents)]
    return max(agent.wait() for agent in started)


def run_local(plan: Plan, name: str, agents: int, seed: int, out: Path) -> int:
    """Serve the sweep here until its runs are done; returns 1 if nothing can be learnt from them.

    Raises:
        UserError: if it would never be done.
    """
    if plan.run_cap is None and plan.method != "grid":
        raise UserError(f"method {plan.method} has no end: give --count or a run_cap")
    folder = out / name / time.strftime("%Y%m%d-%H%M%S")
    folder.mkdir(parents=True)
    sweep = Sweep(plan, make_search(plan, seed))
    with SweepServer(sweep) as server:
        variables = {**environment(), **server.environment(), "WANDB_DIR": str(folder.resolve())}
        command = [*wandb_program(), "agent", f"{ENTITY}/{PROJECT}/{sweep.name}"]
        log = (folder / "agents.log").open("w")
        print(f"no wandb account is used; what the agents print: {folder / 'agents.log'}")
        started = [subprocess.Popen(command, env=variables, stdout=log, stderr=log) for _ in range(agents)]
        try:
            follow(sweep, started)
        finally:
            for agent in started:
                agent.terminate()
                agent.wait()
            log.close()
            tell(sweep, folder)  # after Ctrl-C too: what has been tried has been paid for
    if sweep.unknown:
        print(
            f"wandb asked for what this server does not know: {', '.join(sorted(set(sweep.unknown)))}", file=sys.stderr
        )
    if not any(trial.exit_code == 0 for trial in sweep.trials.values()):
        print(f"error: every run failed: see {folder / 'agents.log'}", file=sys.stderr)
        return 1
    if plan.metric and all(sweep.value(trial) is None for trial in sweep.trials.values()):
        print(
            f"error: no run reported {plan.metric}: runs have to last until they are evaluated "
            f"(trainer.check_val_every_n_epoch), and the sweep's metric has to be one that they log",
            file=sys.stderr,
        )
        return 1
    return 0


def tell(sweep: Sweep, folder: Path) -> None:
    """Print the table, and write it and the picture."""
    print_table(sweep)
    ended = sum(trial.exit_code is not None for trial in sweep.trials.values())
    cap = sweep.plan.run_cap
    print(f"{ended}{f' of {cap}' if cap else ''} runs ended; table: {write_table(sweep, folder / 'sweep.csv')}")
    picture = draw(sweep, folder / "sweep.png")
    if picture is not None:
        print(f"picture: {picture}")


def follow(sweep: Sweep, agents: Sequence[subprocess.Popen[bytes]]) -> None:
    """Say what each run came to, until the agents have ended."""
    told: set[str] = set()
    plan = sweep.plan
    while True:
        ended = all(agent.poll() is not None for agent in agents)
        for trial in list(sweep.trials.values()):
            if trial.exit_code is not None and trial.run_id not in told:
                told.add(trial.run_id)
                value = sweep.value(trial)
                reported = f"{plan.metric} {'not reported' if value is None else value}" if plan.metric else "ended"
                came = "failed" if trial.exit_code else reported
                print(f"run {len(told)}{f' of {plan.run_cap}' if plan.run_cap else ''}: {came}  {trial.settings}")
        if ended:
            return
        time.sleep(0.5)


def wandb_program() -> list[str]:
    """The command ``wandb`` of this installation."""
    return [sys.executable, "-m", "wandb"]


def environment() -> dict[str, str]:
    """Variables for agents: ``${interpreter}`` of a sweep file is the first ``python`` of PATH, which is to be ours."""
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([own, os.environ.get("PATH", "")])}

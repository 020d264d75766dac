"""``handgen population``: population-based training on Ray Tune, on this machine or a cluster.

Jaderberg et al., *Population Based Training of Neural Networks*, 2017, arXiv:1711.09846. Members train side by side;
after each round a member of the worse quarter takes the checkpoint of one of the better quarter (exploit) and its
settings, changed a little or drawn anew (explore). Ray decides who takes what from whom; checkpoints are our own, and
a round is an ordinary ``handgen fit`` that continues one.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import logging
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from handgen.errors import UserError
from handgen.programs import HANDGEN, last_line
from handgen.runs import LAST_CHECKPOINT, run_date
from handgen.sweeps.plan import Parameter, Plan, find_plan, read_plan

QUANTILE = 0.25
KEPT = 2
"""Checkpoints of a member: its newest, and one that another may be copying."""
RESAMPLE = 0.25
"""Chance that a setting is drawn anew instead of multiplied by 0.8 or 1.2: Jaderberg et al. 2017, appendix A.2."""


@dataclass(frozen=True)
class Round:
    """What a member does between two comparisons.

    Attributes:
        config: experiment.
        metric: column of ``metrics.csv``.
        epochs: of a round.
        first: epochs that all members have in common.
        words: settings of all members.
        threads: of each member.
        cwd: folder that relative paths mean; Ray's own is another for each member.
    """

    config: str
    metric: str
    epochs: int
    first: int
    words: tuple[str, ...]
    threads: int
    cwd: str = "."

    def train(self, settings: dict[str, float], start: Path | None, until: int, folder: Path) -> Path:
        """Train until an epoch; returns the run folder.

        Raises:
            UserError: if it fails; what it said is in ``round.log``.
        """
        folder.mkdir(parents=True, exist_ok=True)
        words = [f"--{name}={value}" for name, value in settings.items()]
        words += [f"--trainer.max_epochs={until}", "--evaluate_after_fit=false", f"--threads={self.threads}"]
        words += [f"--runs={folder}"] + ([f"--ckpt_path={start}"] if start else [])
        command = [*HANDGEN, "fit", f"--config={self.config}", *self.words, *words]
        variables = {**os.environ, "WANDB_MODE": "disabled", "OMP_NUM_THREADS": str(self.threads)}
        with (folder / "round.log").open("w", encoding="utf-8") as log:
            done = subprocess.run(command, cwd=self.cwd, env=variables, stdout=log, stderr=log, check=False)
        found = sorted(path.parent.parent for path in folder.rglob(str(LAST_CHECKPOINT)))
        if done.returncode or not found:
            said = (folder / "round.log").read_text(encoding="utf-8")
            raise UserError(f"a member failed: {last_line(said)} ({folder / 'round.log'})")
        return found[-1]

    def value(self, run: Path) -> float:
        """The metric at the end of a run.

        Raises:
            UserError: if it was never logged.
        """
        with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
            values = [row[self.metric] for row in csv.DictReader(file) if row.get(self.metric)]
        if not values:
            raise UserError(f"{self.metric} was not logged in a round of {self.epochs} epochs: raise --epochs")
        return float(values[-1])


def member(settings: dict[str, Any], task: Round, start: str | None, rounds: int) -> None:
    """A member's life: what Ray calls, and calls anew with another's checkpoint after an exploit.

    Args:
        settings: by their dotted names.
        task: of each round.
        start: checkpoint that all begin with.
        rounds: in all.
    """
    from ray import tune

    here = Path(tune.get_context().get_trial_dir() or ".")
    given = tune.get_checkpoint()
    before, first = (Path(start) if start else None), 0
    if given is not None:
        with given.as_directory() as folder:
            before = here / "taken.ckpt"
            shutil.copyfile(Path(folder) / LAST_CHECKPOINT.name, before)
            first = int((Path(folder) / "round").read_text()) + 1
    for number in range(first, rounds):
        until = task.first + (number + 1) * task.epochs
        run = task.train(settings, before, until, here / f"round-{number:03d}-{run_date()}")
        kept = here / "newest"  # Ray keeps copies of its own, until a member is worse than others
        kept.mkdir(exist_ok=True)
        (run / LAST_CHECKPOINT).replace(kept / LAST_CHECKPOINT.name)
        (kept / "round").write_text(str(number))
        before = kept / LAST_CHECKPOINT.name
        tune.report({"score": task.value(run), "round": number}, checkpoint=tune.Checkpoint.from_directory(kept))


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code.

    Raises:
        UserError: if the population is unknown, makes no sense, or Ray is absent.
    """
    parser = argparse.ArgumentParser("handgen population", description="Population-based training on Ray Tune.")
    parser.add_argument("experiment", help="name of experiments/populations/NAME.yaml, or a file of that kind")
    parser.add_argument("--members", type=int, default=4, help="members (SPIRAL had 12)")
    parser.add_argument("--rounds", type=int, default=6, help="comparisons")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of a round")
    parser.add_argument("--first", type=int, default=0, help="epochs trained once, before the members part")
    parser.add_argument("--address", help="of a Ray cluster whose machines share this folder (default: this machine)")
    parser.add_argument("--cpus", type=int, default=1, help="CPU cores of a member")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of a member, a fraction shares one")
    parser.add_argument("--seed", type=int, default=0, help="of the first settings, and of exploration")
    parser.add_argument("--out", type=Path, default=Path("runs", "populations"), help="folder of the results")
    options, fixed = parser.parse_known_args(list(words))
    for name, least in {"members": 2, "rounds": 1, "epochs": 1, "cpus": 1, "first": 0}.items():
        if getattr(options, name) < least:
            raise UserError(f"--{name} must be at least {least}")
    path = find_plan("population", options.experiment)
    plan = read_plan(path)
    folder = (options.out / path.stem / run_date()).resolve()
    task = Round(
        config_of(plan), str(plan.metric), options.epochs, options.first, tuple(fixed), options.cpus, os.getcwd()
    )
    if importlib.util.find_spec("ray") is None:
        raise UserError("a population needs Ray: pip install -c constraints.txt -e '.[population]'")
    start = None
    if options.first:
        print(f"{options.first} epochs that all have in common")
        start = str(task.train({}, None, options.first, folder / "first") / LAST_CHECKPOINT)
    return run(plan, task, start, folder, options)


def config_of(plan: Plan) -> str:
    """The experiment that a plan's command trains.

    Raises:
        UserError: if it names none.
    """
    for word in yaml.safe_load(plan.text).get("command") or []:
        if str(word).startswith("--config="):
            return str(word).partition("=")[2]
    raise UserError("the population's command names no --config=experiments/NAME.yaml")


def space_of(parameter: Parameter) -> Any:
    """What Ray draws a setting from."""
    from ray import tune

    if parameter.values:
        return tune.choice(list(parameter.values))
    if parameter.distribution == "int_uniform":
        return tune.randint(int(parameter.low), int(parameter.high) + 1)
    if parameter.distribution == "log_uniform_values":
        return tune.loguniform(parameter.low, parameter.high)
    return tune.uniform(parameter.low, parameter.high)


def run(plan: Plan, task: Round, start: str | None, folder: Path, options: argparse.Namespace) -> int:
    """Train the population and say what came of it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    import ray
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    ray.init(address=options.address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    for name, wanted in {"CPU": options.cpus, "GPU": options.gpus}.items():
        there = ray.cluster_resources().get(name, 0)
        if wanted > there:  # Ray would wait for more to come
            ray.shutdown()
            raise UserError(f"a member wants {wanted:g} {name}s and there are {there:g}: lower --{name.lower()}s")
    # What Ray draws settings and members from.
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002
    spaces = {name: space_of(parameter) for name, parameter in plan.parameters.items()}
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=1,
        hyperparam_mutations=spaces,
        quantile_fraction=QUANTILE,
        resample_probability=RESAMPLE,
        synch=True,
    )
    trainable = tune.with_parameters(member, task=task, start=start, rounds=options.rounds)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": options.cpus, "gpu": options.gpus}),
        param_space=spaces,
        tune_config=tune.TuneConfig(
            metric="score", mode="max" if plan.maximise else "min", scheduler=scheduler, num_samples=options.members
        ),
        run_config=tune.RunConfig(
            name="members",
            storage_path=str(folder),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=KEPT),
        ),
    )
    try:
        found = tuner.fit()
    finally:
        ray.shutdown()
    return tell(found, plan, task, folder)


def tell(found: Any, plan: Plan, task: Round, folder: Path) -> int:
    """Write ``population.csv`` and ``best.ckpt``, and say how to evaluate it; returns 1 if every member failed."""
    names = list(plan.parameters)
    rows = []
    for number, result in enumerate(found):
        for report in [] if result.metrics_dataframe is None else result.metrics_dataframe.to_dict("records"):
            settings = [report.get(f"config/{name}", result.config.get(name)) for name in names]
            rows.append([number, report["round"], report["score"], *settings])
    if not rows:
        said = found.errors[0] if found.errors else "nothing was reported"
        print(f"error: every member failed: {said}", file=sys.stderr)
        return 1
    with (folder / "population.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["member", "round", plan.metric, *names], *rows])
    best = found.get_best_result()
    with best.checkpoint.as_directory() as kept:
        shutil.copyfile(Path(kept) / LAST_CHECKPOINT.name, folder / "best.ckpt")
    print(f"all members, round by round: {folder / 'population.csv'}")
    print(f"best: {plan.metric} {best.metrics['score']:.4g} with {best.config}")
    print(f"evaluate it: python -m handgen test --config={task.config} --ckpt_path={folder / 'best.ckpt'}")
    return 0

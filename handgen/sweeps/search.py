"""Which settings are tried next: grid, random, or Bayesian search by Optuna."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from handgen.errors import UserError
from handgen.sweeps.plan import Parameter, Plan

Settings = dict[str, Any]


class Search(Protocol):
    """Proposes settings and is told what came of them."""

    def propose(self) -> Settings | None:
        """The next settings; None when there are no more."""
        ...

    def tell(self, settings: Settings, value: float | None) -> None:
        """What a run's metric was; None if it failed."""
        ...


def make_search(plan: Plan, seed: int = 0) -> Search:
    """The search that a plan asks for.

    Raises:
        UserError: if it needs Optuna and that is not installed.
    """
    if plan.method == "bayes":
        return BayesianSearch(plan, seed)
    return GridSearch(plan) if plan.method == "grid" else RandomSearch(plan, seed)


class GridSearch:
    """Every combination once, the last parameter changing fastest."""

    def __init__(self, plan: Plan) -> None:
        names = list(plan.parameters)
        rows = itertools.product(*(plan.parameters[name].values for name in names))
        self.rows: Iterator[Settings] = (dict(zip(names, row, strict=True)) for row in rows)

    def propose(self) -> Settings | None:
        """The next combination."""
        return next(self.rows, None)

    def tell(self, settings: Settings, value: float | None) -> None:
        """Nothing is learnt."""


class RandomSearch:
    """Independent draws, without an end."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan, self.random = plan, np.random.default_rng(seed)

    def propose(self) -> Settings | None:
        """A draw of every parameter."""
        return {name: draw(parameter, self.random) for name, parameter in self.plan.parameters.items()}

    def tell(self, settings: Settings, value: float | None) -> None:
        """Nothing is learnt."""


def draw(parameter: Parameter, random: np.random.Generator) -> Any:
    """One value of a parameter, a plain Python number or whatever the file lists."""
    if parameter.values:
        return parameter.values[int(random.integers(len(parameter.values)))]
    low, high = parameter.low, parameter.high
    if parameter.distribution == "int_uniform":
        return int(random.integers(int(low), int(high) + 1))
    if parameter.distribution == "log_uniform_values":
        return float(math.exp(random.uniform(math.log(low), math.log(high))))
    return float(random.uniform(low, high))


class BayesianSearch:
    """Tree-structured Parzen estimators (Bergstra et al. 2011) by Optuna, without an end.

    Raises:
        UserError: if Optuna is not installed.
    """

    def __init__(self, plan: Plan, seed: int) -> None:
        try:
            import optuna
        except ImportError as error:
            raise UserError("method bayes needs Optuna: pip install -c constraints.txt -e '.[sweeps]'") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.plan, self.optuna = plan, optuna
        sampler = optuna.samplers.TPESampler(seed=seed)
        self.study = optuna.create_study(direction="maximize" if plan.maximise else "minimize", sampler=sampler)
        self.running: list[tuple[Settings, Any]] = []

    def propose(self) -> Settings | None:
        """Where the estimators expect most."""
        trial = self.study.ask()
        settings = {name: self._suggest(trial, name, parameter) for name, parameter in self.plan.parameters.items()}
        self.running.append((settings, trial))
        return settings

    def _suggest(self, trial: Any, name: str, parameter: Parameter) -> Any:
        if parameter.values:  # by number: Optuna takes plain values only
            return parameter.values[trial.suggest_int(name, 0, len(parameter.values) - 1)]
        if parameter.distribution == "int_uniform":
            return trial.suggest_int(name, int(parameter.low), int(parameter.high))
        logarithmic = parameter.distribution == "log_uniform_values"
        return trial.suggest_float(name, parameter.low, parameter.high, log=logarithmic)

    def tell(self, settings: Settings, value: float | None) -> None:
        """Learn from a run."""
        place = next(place for place, (proposed, _) in enumerate(self.running) if proposed is settings)
        _, trial = self.running.pop(place)
        if value is None or not math.isfinite(value):
            self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(trial, value)

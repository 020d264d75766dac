"""What a sweep file says: wandb's own format, as far as it can be served on this machine.

The format: https://docs.wandb.ai/models/sweeps/sweep-config-keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from handgen.errors import UserError
from handgen.paths import experiments_root

METHODS = ("grid", "random", "bayes")
GOALS = ("minimize", "maximize")
DISTRIBUTIONS = ("constant", "categorical", "uniform", "int_uniform", "log_uniform_values")
KEYS = ("name", "description", "project", "entity", "program", "command", "method", "metric", "parameters", "run_cap")


@dataclass(frozen=True)
class Parameter:
    """A setting that a sweep varies.

    Attributes:
        distribution: one of `DISTRIBUTIONS`.
        values: of ``constant`` and ``categorical``.
        low: smallest value of the others.
        high: largest.
    """

    distribution: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A sweep.

    Attributes:
        text: the file as it is.
        method: ``grid``, ``random`` or ``bayes``.
        metric: logged key that the sweep is about; empty for none.
        maximise: whether more is better.
        parameters: by the setting's dotted name.
        run_cap: largest number of runs; None has no end (a grid ends by itself).
    """

    text: str
    method: str
    metric: str
    maximise: bool
    parameters: Mapping[str, Parameter]
    run_cap: int | None


def find_plan(kind: str, name: str) -> Path:
    """The file of a sweep or a population.

    Args:
        kind: ``sweep`` or ``population``: the folder of ``experiments`` is its plural.
        name: of a file there, or a file of one's own.

    Raises:
        UserError: if there is none of that name, with those that there are.
    """
    folder = experiments_root() / f"{kind}s"
    for path in (Path(name), folder / f"{name}.yaml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
    raise UserError(f"there is no {kind} {name!r}: known are {known}")


def read_plan(path: Path) -> Plan:
    """Read and check a sweep file.

    Raises:
        UserError: if it is missing, no YAML, or asks for something that there is not.
    """
    try:
        return parse_plan(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"there is no sweep {path}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the sweep {path}: {' '.join(str(error).split())}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def parse_plan(text: str) -> Plan:
    """The plan that a sweep file's text describes.

    Raises:
        UserError: if it asks for something that there is not.
        yaml.YAMLError: if it is no YAML.
    """
    content = yaml.safe_load(text)
    if not isinstance(content, dict):
        raise UserError("a sweep is a mapping with method, metric and parameters")
    unknown = sorted(content.keys() - set(KEYS))
    if unknown:
        raise UserError(f"unknown {', '.join(map(str, unknown))}: known are {', '.join(KEYS)}")
    method, metric = content.get("method"), content.get("metric") or {}
    if not isinstance(metric, dict):
        raise UserError(f"metric must be a mapping with a name and a goal, not {metric!r}")
    if method not in METHODS:
        raise UserError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if method == "bayes" and "name" not in metric:
        raise UserError("method bayes needs a metric with a name and a goal")
    goal = metric.get("goal", "minimize")
    if goal not in GOALS:
        raise UserError(f"the metric's goal must be {' or '.join(GOALS)}, not {goal!r}")
    if not isinstance(content.get("parameters"), dict) or not content["parameters"]:
        raise UserError("parameters must name at least one setting")
    parameters = {str(name): _parameter(str(name), said) for name, said in content["parameters"].items()}
    if method == "grid" and any(not p.values for p in parameters.values()):
        raise UserError("method grid needs value or values for every parameter")
    cap = content.get("run_cap")
    if cap is not None and (not isinstance(cap, int) or cap < 1):
        raise UserError(f"run_cap must be a positive whole number, not {cap!r}")
    return Plan(text, method, str(metric.get("name", "")), goal == "maximize", parameters, cap)


def _parameter(name: str, said: Any) -> Parameter:
    """One parameter.

    Raises:
        UserError: if it makes no sense.
    """
    if not isinstance(said, dict):
        raise UserError(f"parameter {name} must be a mapping with value, values, or min and max")
    if "value" in said:
        return Parameter("constant", (said["value"],))
    if "values" in said:
        if not isinstance(said["values"], list) or not said["values"]:
            raise UserError(f"parameter {name}: values must be a list that is not empty")
        return Parameter("categorical", tuple(said["values"]))
    low, high = said.get("min"), said.get("max")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high:
        raise UserError(f"parameter {name} needs value, values, or numbers min < max")
    whole = isinstance(low, int) and isinstance(high, int)
    distribution = said.get("distribution", "int_uniform" if whole else "uniform")
    if distribution not in DISTRIBUTIONS[2:]:
        raise UserError(f"parameter {name}: distribution must be one of {', '.join(DISTRIBUTIONS[2:])}")
    if distribution == "log_uniform_values" and low <= 0:
        raise UserError(f"parameter {name}: min must be positive for log_uniform_values")
    return Parameter(distribution, (), float(low), float(high))

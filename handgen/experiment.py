"""Finding experiments: which YAML files there are, what each is, and what a name means."""

import difflib
import re
from pathlib import Path

from handgen.errors import UserError
from handgen.paths import experiments_root

NOT_EXPERIMENTS = ("defaults.yaml", "sweeps", "populations", "results")
LAID_OVER = re.compile(r"^laid_over: *['\"]?([^\s'\"#]+)", re.MULTILINE)
UNSAID = ("null", "~")
RUN_CONFIG = "config.yaml"  # the resolved configuration that every run folder holds


def known_experiments() -> dict[str, Path]:
    """Experiment name to YAML file, sorted by name; a file in a subfolder is named ``subfolder/name``."""
    root = experiments_root()
    found = {}
    for path in sorted(root.rglob("*.yaml")):
        relative = path.relative_to(root)
        if relative.parts[0] not in NOT_EXPERIMENTS:
            found[relative.with_suffix("").as_posix()] = path
    return found


def summary(path: Path) -> str:
    """First line of the header comment of an experiment's YAML, or an empty string."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def describe_experiments() -> str:
    """One line per known experiment: its name and the first line of its header comment."""
    known = known_experiments()
    width = max((len(name) for name in known), default=0)
    return "\n".join(f"  {name:<{width}}  {summary(path)}".rstrip() for name, path in known.items())


def unknown_experiment(name: str) -> UserError:
    """The error for a name that is no experiment: the nearest name, then the list of all."""
    near = difflib.get_close_matches(name, known_experiments(), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return UserError(f"unknown experiment {name!r}: {hint}Known experiments:\n{describe_experiments()}")


def find_config(text: str) -> Path:
    """The YAML file that ``--config text`` means.

    Args:
        text: A file, an experiment's name (``vae``, ``paper/vae``), or ``experiments/vae.yaml``, which means
            the shipped file where the working directory has none.

    Raises:
        UserError: Neither a file nor a known experiment.
    """
    path = Path(text)
    if path.is_file():
        return path
    name = text.removeprefix("experiments/").removesuffix(".yaml")
    known = known_experiments()
    if name in known:
        return known[name]
    raise unknown_experiment(name)


def layers(path: Path, above: tuple[Path, ...] = ()) -> list[Path]:
    """The files that make up an experiment, lowest first.

    A file that says ``laid_over: NAME`` is laid over that experiment, and one in a subfolder (``paper/vae.yaml``) over
    the one of the same name (``vae.yaml``), so that each states only what differs. What a run folder holds is whole.

    Args:
        path: the file.
        above: files that are laid over it.

    Raises:
        UserError: There is no such experiment, the files go in a circle, or one is no text.
    """
    if path.name == RUN_CONFIG:
        return [path]
    if path.resolve() in above:
        raise UserError(f"{path} is laid over itself")
    try:
        said = LAID_OVER.search(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text: {error}") from error
    if said is not None and said[1] not in UNSAID:
        return [*layers(find_config(said[1]), (*above, path.resolve())), path]
    root = experiments_root().resolve()
    resolved = path.resolve()
    base = root / resolved.name
    in_subfolder = resolved.is_relative_to(root) and resolved.parent != root
    return [*layers(base), path] if in_subfolder and base.is_file() else [path]


def experiment_name(path: Path) -> str:
    """Name of the experiment that a YAML file describes: its path under ``experiments/``, else its stem.

    The configuration saved in a run folder (``runs/<name>/<run>/config.yaml``) keeps its name.
    """
    root = experiments_root().resolve()
    resolved = path.resolve()
    if resolved.is_relative_to(root):
        return resolved.relative_to(root).with_suffix("").as_posix()
    return resolved.parent.parent.name if path.name == RUN_CONFIG else resolved.stem

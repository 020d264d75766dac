"""The words after ``handgen fit``: experiment names become files before any heavy import is paid for."""

from dataclasses import dataclass

from handgen.errors import UserError
from handgen.experiment import describe_experiments, experiment_name, find_config, layers

HELP_WORDS = ("-h", "--help", "--print_config")


@dataclass(frozen=True)
class Prepared:
    """A command whose configuration files are known to exist.

    Attributes:
        command: One of ``handgen.cli.TRAINER_COMMANDS``.
        words: The arguments after it, every ``--config`` naming a file.
        experiment: Name of the experiment (of the last ``--config``), or None when help is asked without one.
        given: The words as they were typed, for the ``command`` field of records and the hint how to resume.
    """

    command: str
    words: list[str]
    experiment: str | None
    given: list[str]


def prepare(command: str, words: list[str]) -> Prepared:
    """Resolve the names given to ``--config``, and write Python's ``None`` as YAML's ``null``.

    Args:
        command: The command, for example ``fit``.
        words: The words after it.

    Raises:
        UserError: An experiment is unknown, or none was named.
    """
    resolved: list[str] = []
    experiment = None
    rest = iter(words)
    for word in rest:
        flag, equals, value = word.partition("=")
        if flag not in ("--config", "-c"):
            resolved.append(f"{flag}=null" if equals and value == "None" else word)  # as wandb's agents write null
            continue
        path = find_config(value if equals else next(rest, ""))
        experiment = experiment_name(path)
        resolved += [f"--config={layer}" for layer in layers(path)]
    if experiment is None and not any(asks_help(word) for word in words):
        raise UserError(f"name an experiment with --config. Known experiments:\n{describe_experiments()}")
    return Prepared(command, resolved, experiment, [command, *words])


def asks_help(word: str) -> bool:
    """Whether a word asks for help (``--help``, ``--model.help=NAME``) rather than for a run."""
    flag = word.partition("=")[0]
    return flag in HELP_WORDS or flag.endswith(".help")

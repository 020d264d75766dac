"""The one error that is meant for the person at the keyboard."""

from typing import get_args


class UserError(RuntimeError):
    """What was asked cannot be done, and the message says in one line why and what to do instead.

    The command line prints the message as ``error: ...`` without a traceback and ends with exit code 2; the
    environment variable ``HANDGEN_TRACEBACK=1`` shows where it came from.
    """


def check_choices(**settings: tuple[object, object]) -> None:
    """Refuse words that are none of those there are; the command line does so by itself, where it knows the type.

    Args:
        settings: value, and the ``Literal`` of all words.

    Raises:
        UserError: naming the first that is not right.
    """
    for name, (value, literal) in settings.items():
        if value not in get_args(literal):
            raise UserError(f"{name} must be one of {', '.join(map(str, get_args(literal)))}, got {value!r}")


def check_at_least(least: float, **settings: float | None) -> None:
    """Refuse numbers below a bound, by name; None is no number.

    Raises:
        UserError: naming the first that is not right.
    """
    check_ranges(**{n: (v, v is None or v >= least, f"be at least {least}") for n, v in settings.items()})


def check_positive(**settings: float | None) -> None:
    """Refuse what must be above 0 and finite, such as learning rates, by name; None is no number.

    Raises:
        UserError: naming the first that is not right.
    """
    check_ranges(**{n: (v, v is None or 0.0 < v < float("inf"), "be positive") for n, v in settings.items()})


def check_ranges(**settings: tuple[object, bool, str]) -> None:
    """Refuse settings out of range, by name.

    Args:
        settings: value, whether it is right, and what it must do, such as ``be at least 1``.

    Raises:
        UserError: naming the first that is not right.
    """
    for name, (value, right, must) in settings.items():
        if not right:
            raise UserError(f"{name} must {must}, got {value}")

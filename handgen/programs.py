"""Other programs, this one's own command line among them: run to their end, and their last line where they fail."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from handgen.errors import UserError

HANDGEN = (sys.executable, "-m", "handgen")


def last_line(said: str) -> str:
    """What a program said last, which is where its error stands; that it said nothing, if so."""
    return ([*said.strip().splitlines()] or ["it says nothing"])[-1].removeprefix("error: ")


def run_program(
    words: Sequence[str], failure: str, env: Mapping[str, str] | None = None, timeout_s: float | None = None
) -> str:
    """Run a program to its end.

    Args:
        words: program and arguments.
        failure: what it means when it fails, before its own last line.
        env: variables; None for those of this process.
        timeout_s: seconds that it may take; None waits.

    Returns:
        What it printed, errors last.

    Raises:
        UserError: if it ends with an exit code other than 0, or not in time.
    """
    try:
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise UserError(f"{failure}: nothing after {timeout_s:g} s") from None
    if done.returncode:
        raise UserError(f"{failure}: {last_line(done.stderr or done.stdout)}")
    return done.stdout + done.stderr

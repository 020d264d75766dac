"""Freed memory stays with the process, unless somebody has settled that otherwise."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from handgen.memory import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "keep" else "left")
for _ in range(20):
    torch.ones(10_000_000)  # above 32 MiB, which glibc never keeps by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(argument: str, **environment: str) -> tuple[str, int]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", PROGRAM, argument]
    done = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True)
    answer, faults = done.stdout.split()
    return answer, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc")
def test_kept_memory_is_not_cleared_again() -> None:
    _, left = page_faults("leave")
    answer, kept = page_faults("keep")
    if answer == "False":
        pytest.skip("not glibc")
    assert left > 1000 and kept < left / 10


def test_settings_of_the_environment_are_left_alone() -> None:
    answer, _ = page_faults("keep", MALLOC_ARENA_MAX="2")
    assert answer == "False"

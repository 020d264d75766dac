"""`python -m handgen` (see `handgen.cli`)."""

from handgen.cli import script

if __name__ == "__main__":
    script()

"""Whether this machine can render, for the tests that do."""

import pytest

from handgen.errors import UserError
from handgen.opengl import choose_backend


def no_rendering() -> str:
    """Why not; empty where it can."""
    try:
        choose_backend()
    except UserError as error:
        return str(error)
    return ""


REASON = no_rendering()
needs_gl = pytest.mark.skipif(bool(REASON), reason=REASON or "it can render")

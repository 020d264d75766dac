"""The one error that is meant for the person at the keyboard."""


class UserError(RuntimeError):
    """What was asked cannot be done, and the message says in one line why and what to do instead.

    The command line prints the message as ``error: ...`` without a traceback and ends with exit code 2; the
    environment variable ``HANDGEN_TRACEBACK=1`` shows where it came from.
    """

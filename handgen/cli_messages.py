"""Turning the libraries' messages into ours: one clear line for mistakes, silence for advertisements."""

import errno
import logging
import os
import re
import warnings
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager

from lightning.fabric.utilities.exceptions import MisconfigurationException

from handgen.errors import UserError

# Each says nothing that a user of handgen could act on.
SILENCED = (
    r".*isinstance\(treespec, LeafSpec\).*",  # lightning 2.6 with torch 2.13
    r".*does not have many workers.*",  # no workers is the measured default
    r".*Consider setting `persistent_workers=True`.*",
    r".*is smaller than the logging interval.*",
    r".*Experiment logs directory .* exists and is not empty.*",  # `MetricsFile` keeps them
    r".*Checkpoint directory .* exists and is not empty.*",
    r".*The dirpath has changed from.*",
    r".*anonymous setting has no effect.*",
    r".*your dataloader is not resumable.*",  # the data modules are (tests/test_killed.py)
    r".*module\(s\) in eval mode at the start of training.*",  # frozen networks are meant to be
)
# What jsonargparse says about a class path that leads nowhere.
NO_CLASS = (
    "No module named .*",
    ".*[Uu]ndefined name.*",
    ".*not .*import.*",
    "module .* has no attribute .*",
)
# What a disk says when nothing more can be written.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def quiet() -> None:
    """Silence advertisements, progress of imports and known deprecations of the libraries."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in SILENCED:
        warnings.filterwarnings("ignore", message=message)
    try:
        from jsonargparse._deprecated import JsonargparseDeprecationWarning
    except ImportError:
        return
    warnings.filterwarnings("ignore", category=JsonargparseDeprecationWarning)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Raise the mistakes that a user can make as `UserError`."""
    try:
        yield
    except ArgumentError as error:
        raise UserError(shorten(str(error))) from error
    except MisconfigurationException as error:
        raise UserError(explain(str(error))) from error
    except ValueError as error:  # how jsonargparse passes on what a constructor refuses
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
    except OSError as error:
        said = f"{error.strerror}{f': {error.filename}' if error.filename else ''}"
        if error.errno in FULL:
            raise UserError(
                f"the disk is full ({said}): free some space, then CKPT=last goes on from the last checkpoint"
            ) from error
        if error.errno in (errno.EROFS, errno.EACCES):
            raise UserError(f"the disk refuses ({said}): give --runs=DIR, or the permission") from error
        raise


def shorten(message: str) -> str:
    """The telling part of jsonargparse's nested message, in one line.

    Args:
        message: Such as ``Parser key "model": Parser key "lr": Expected a <class 'float'>. Got value: abc``.

    Returns:
        For that: "model.lr: expected float, got 'abc'".
    """
    lines = [line.strip(" -\t") for line in message.splitlines() if line.strip(" -\t")]
    keys = re.findall(r'Parser key "([^"]+)"', message)
    key = ".".join(dict.fromkeys(keys))
    refused = re.search(r"Option '([^']+)' is not accepted|Key '([^']+)' is not expected", message)
    if refused:
        option = next(group for group in refused.groups() if group)
        owner = re.search(r"class_path '([^']+)'", message)
        where = f" of {owner[1].rpartition('.')[2]}" if owner else ""
        return f"no such setting{where}: {'.'.join(filter(None, (key, option)))}"
    unresolved = re.search(rf"class_path '([^']+)':\s*(?:- )?({'|'.join(NO_CLASS)})", message)
    if unresolved:
        return f"{key}: there is no class {unresolved[1]!r}"
    types = [name for name in re.findall(r"Expected a <class '([^']+)'>", message) if name != "NoneType"]
    value = re.search(r"(?:Got value|Given value): (.*)", message)
    if key and types and value and not value[1].startswith("NestedArg"):
        return f"{key}: expected {' or '.join(dict.fromkeys(types))}, got {value[1].strip()!r}"
    if types and value:
        given = re.search(r"val='([^']*)'", value[1])
        return f"{key}: expected {types[0]}, got {given[1] if given else value[1]!r}"
    return "; ".join(lines)[:400]


def explain(message: str) -> str:
    """Lightning's message about an impossible setting, in one line."""
    line = " ".join(message.split())
    if re.search(r"No supported gpu backend|CUDA.*(not available|can not run)|accelerator.*not available", line):
        return "no GPU is visible to torch: leave out --trainer.accelerator, and see `handgen doctor`"
    return line

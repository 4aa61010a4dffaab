"""Every exception a user may see, as one tree; knows nothing of what raises them.

    DragomanError                 anything the user can put right; the command line prints it and exits with 2
    ├── OptionError               an option or argument has a value that cannot be used
    ├── DataError                 a data file cannot be read as asked (names the file and line)
    ├── StorageError              a model directory or an output is missing, damaged, too new or in the way
    ├── TrainingError             training cannot go on (the loss diverged, nothing left to train on)
    │   └── ProcessError          another of the processes that train together has ended
    └── MissingExtraError         an optional part of dragoman is not installed

A message is one line: what is wrong with which value, then what would be right.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_FEW = 3
"""Names that go on from a shortened one, at most, to be all named."""


class DragomanError(Exception):
    """Base of all errors that a user can put right; `str(error)` is one clear line."""


class OptionError(DragomanError):
    """An option or argument has a value that cannot be used."""


class DataError(DragomanError):
    """A data file cannot be read as asked; the message starts with `file:line:` where a line is known."""


class StorageError(DragomanError):
    """A model directory or an output file is missing, damaged, written by a newer version, or in the way."""


class TrainingError(DragomanError):
    """Training cannot start or go on; the message says what to change."""


class ProcessError(TrainingError):
    """Another of the processes that train together has ended, so that this one cannot go on."""


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the user, and saved; the message says how to go on. No error, so not of the tree."""


class MissingExtraError(DragomanError):
    """An optional dependency is needed for what was asked; the message gives the `pip install` line."""

    def __str__(self) -> str:
        return f'{super().__str__()} needs the train extra: pip install "dragoman[train]"'


@contextmanager
def needs_extra(task: str) -> Iterator[None]:
    """Around imports that only the train extra installs: if a library is not there, a `MissingExtraError` names the extra.

    A missing file of our own is no missing extra, but our bug, and is raised as it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dragoman"):
            raise
        raise MissingExtraError(task) from error


def counted(number: int, noun: str) -> str:
    """`1 pair`, `1,234 pairs`: how many things there are; the plural of `noun` has an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`8 s`, `2 min 05 s`, `1 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def at_most(value: float) -> str:
    """`0.2` for 0.119, `4e-06` for 3.1e-6: one digit of a positive number, never below it, for what is said to be within it."""
    if not 0 < value < math.inf:
        return f"{value:g}"
    unit = 10.0 ** math.floor(math.log10(value))
    return f"{math.ceil(value / unit) * unit:.1g}"


def nearest(name: str, choices: Iterable[str]) -> str:
    """A hint like `did you mean "default"?` for a mistyped or shortened `name`, or the list of choices."""
    choices = sorted(choices)
    longer = [choice for choice in choices if len(name.lstrip("-")) > 1 and choice.startswith(name)]
    close = longer if 0 < len(longer) <= _FEW else difflib.get_close_matches(name, choices, n=1, cutoff=0.6)
    if close:
        named = " or ".join(f'"{choice}"' for choice in close)
        return f"did you mean {named}?"
    return f"choose one of: {', '.join(choices)}"

"""What commands share in talking to people: messages on stderr, tables, files that are whole or absent.

Data goes to stdout and nothing else does. Does not know any command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dragoman.cli.arguments import as_flags
from dragoman.errors import counted
from dragoman.files import as_word, atomic, through_link

if TYPE_CHECKING:
    from rich.console import Console

_EXAMPLES = 5
"""Unknown words that are shown."""


def notice(message: str) -> None:
    """Tell the user something that is no data."""
    print(message, file=sys.stderr, flush=True)


def warn(message: str) -> None:
    """Tell the user of something that went less well than hoped, in one line."""
    notice(warning(message))


def warning(message: str) -> str:
    """The line that warns."""
    return f"dragoman: warning: {one_line(as_flags(message))}"


def one_line(message: str) -> str:
    """`message` without line breaks; spaces inside a line stay, as they may be the very separator that it advises."""
    return " ".join(line.strip() for line in message.splitlines() if line.strip())


def as_line(text: str) -> str:
    """An output as one cell of one line: a model whose tokens are bytes can say line breaks and TAB, which must not shift what follows."""
    return re.sub(r"[\t\r\n]+", " ", text)


class UnknownInSources:
    """Counts the sources of which a model does not know a word or a character, and tells of them in one line."""

    def __init__(self, unit: str) -> None:
        """`unit` is what a source is: a line, a source."""
        self.unit = unit
        self._begin()

    def _begin(self) -> None:
        self._all = self._unknown = 0
        self._examples: dict[str, None] = {}

    def add(self, unknown: Sequence[str]) -> None:
        """Count one source, of which so much is unknown."""
        self._all += 1
        self._unknown += bool(unknown)
        for word in unknown[: _EXAMPLES - len(self._examples)]:
            self._examples[word] = None

    def tell(self) -> None:
        """Warn, if there were any, and begin anew."""
        if self._unknown:
            which = f"{self._unknown:,} of {counted(self._all, self.unit)}" if self._all > 1 else f"the {self.unit}"
            verb = "has" if self._unknown == 1 else "have"
            examples = ", ".join(map(repr, self._examples))
            warn(f"{which} {verb} something that the model does not know, and reads as <unk>: {examples}")
        self._begin()


def try_it(model: Path) -> None:
    """Say where a new model is, and what to do with it."""
    place = as_word(model)
    notice(f"the model is in {place}; try it: dragoman translate {place} < sentences.txt")


def show_messages() -> None:
    """Show what the library logs and warns of: one line each, on stderr, without code positions."""
    logger = logging.getLogger("dragoman")
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr())
    logger.setLevel(logging.INFO)
    logger.propagate = False

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        del category
        warn(str(message))

    warnings.showwarning = show


class _ToStderr(logging.Handler):
    """Log records as plain lines; warnings and worse say that they are."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        (warn if record.levelno >= logging.WARNING else notice)(record.getMessage())


def console() -> Console:
    """A rich console on stderr; plain text where that is no terminal."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)


def table(rows: Sequence[Sequence[str]], *, header: Sequence[str] = (), right: Sequence[int] = ()) -> str:
    """Lay `rows` out in columns, two blanks apart; the columns numbered in `right` are aligned to the right."""
    from rich.cells import cell_len

    lines = [list(header), *map(list, rows)] if header else [list(row) for row in rows]
    widths = [
        max(cell_len(line[i]) if i < len(line) else 0 for line in lines) for i in range(max(map(len, lines), default=0))
    ]

    def pad(text: str, column: int) -> str:
        blanks = " " * (widths[column] - cell_len(text))
        return blanks + text if column in right else text + blanks

    return "\n".join("  ".join(pad(text, i) for i, text in enumerate(line)).rstrip() for line in lines)


def is_stdout(path: Path) -> bool:
    """Whether a path is where standard output goes, as /dev/stdout is: it is written on, not replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def written(path: Path | None, *, whole: bool = True) -> Iterator[TextIO]:
    """A text file to write: stdout for None, otherwise a file that takes the name `path` only when it is complete.

    With `whole=False` the file grows in place, for whoever reads along. What has no UTF-8 form is escaped, as on stdout.
    """
    if path is None or is_stdout(path):
        yield sys.stdout
    elif not whole:
        with _opened(path) as stream:
            yield stream
    else:
        with atomic(through_link(path)) as temporary, _opened(temporary) as stream:
            yield stream


def _opened(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="\n")

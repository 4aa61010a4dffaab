"""Where the outputs of a long work go: a stream, or a file that can be gone on with; does not know what they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from dragoman.cli.output import is_stdout, written


class Sink(Protocol):
    """Takes text, and keeps account of how much of the input it stands for."""

    done: int
    """Lines of input whose outputs are there for certain."""

    def write(self, text: str) -> None:
        """Add text."""

    def commit(self, lines: int) -> None:
        """What was written is all of so many more lines of input."""


class Stream:
    """Standard output, a pipe, or a file that grows in place: whoever reads along gets text at once, and it cannot be taken back."""

    done = 0

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Add text."""
        self._stream.write(text)
        self._stream.flush()

    def commit(self, lines: int) -> None:
        """Nothing is kept of it."""


@contextlib.contextmanager
def open_sink(output: Path | None, facts: Mapping[str, Any] | None) -> Iterator[Sink]:
    """A part of `output` that can be gone on with; or a stream, if `facts` is None or `output` is no plain file.

    `facts` are what the outputs are made from, by their names in messages.
    """
    is_device = output is not None and output.exists() and not (output.is_file() or output.is_dir())
    if output is None or facts is None or is_device or is_stdout(output):
        with written(output, whole=False) as stream:
            yield Stream(stream)
        return
    from dragoman.translation.part import part_of

    with part_of(output, facts) as part:
        yield part

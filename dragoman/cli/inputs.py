"""What lines are read from: a file that stays as it is, or somebody who sends them; does not know what they are for."""

from __future__ import annotations

import contextlib
import os
import queue
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from dragoman.config import SearchOptions
from dragoman.errors import DataError, StorageError
from dragoman.files import check_place

Line = TypeVar("Line")


class InputFile:
    """A plain file that is to be worked through as it is now."""

    def __init__(self, path: Path) -> None:
        """Reads it once, for its checksum and its number of lines."""
        from dragoman.corpus.lines import survey

        self._path = path
        self._seen = self._look()
        self.checksum, self.lines = survey(path)

    def _look(self) -> tuple[int, int]:
        found = self._path.stat()
        return found.st_size, found.st_mtime_ns

    def check(self, way_out: str) -> None:
        """Raise `DataError` if the content has changed since."""
        from dragoman.corpus.lines import survey

        if self._look() != self._seen and survey(self._path)[0] != self.checksum:
            raise DataError(f"{self._path} changed while it was translated; {way_out}")


def is_plain_file(path: Path | None) -> bool:
    """Whether a path, or standard input for None and `-`, is a plain file, so that reading it never waits for anybody."""
    found = _status(path)
    return found is not None and stat.S_ISREG(found.st_mode)


def check_output(path: Path | None, inputs: Iterable[str | Path | None]) -> None:
    """Raise `StorageError` if no output can be written at `path`, or if it would take the place of a plain file that is read.

    None is standard output, or standard input.
    """
    if path is None:
        return
    check_place(path)
    written = _status(path)
    for found in map(_status, inputs):
        if written and found and stat.S_ISREG(found.st_mode) and os.path.samestat(found, written):
            raise StorageError(f"{path} is the file that is read; give another `output`")


def files_of(search: SearchOptions) -> dict[str, str]:
    """The files that a search reads, by the names of their options."""
    return {name: path for name in ("choices", "phrase_table") if (path := getattr(search, name)) is not None}


def check_lines(path: Path | None, search: SearchOptions) -> None:
    """Raise `OptionError` if lines are read from standard input (None), and what the search reads is too."""
    from dragoman.corpus.lines import check_read_once

    check_read_once([path or "-", *files_of(search).values()])


def _status(path: str | Path | None) -> os.stat_result | None:
    try:
        return os.fstat(sys.stdin.fileno()) if path is None or str(path) == "-" else Path(path).stat()
    except (OSError, ValueError):
        return None


def as_ready(lines: Iterable[Line], most: int) -> Iterator[list[Line]]:
    """Up to `most` lines at once, and never waiting for more: who sends one line gets its answer, many go fast."""
    waiting: queue.Queue[Line | BaseException | None] = queue.Queue(maxsize=most)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(None)
        except BaseException as error:  # raised again where the lines are used
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    ended: BaseException | None = None
    going = True
    while going:
        some: list[Line] = []
        with contextlib.suppress(queue.Empty):
            while going and len(some) < most:
                item = waiting.get(block=not some)
                if item is None or isinstance(item, BaseException):
                    ended, going = item, False
                else:
                    some.append(item)
        if some:
            yield some
    if ended is not None:
        raise ended

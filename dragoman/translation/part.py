"""A text file that grows for hours and outlives whatever stops it; knows bytes and facts, not where they come from.

    OUT.part         what is written so far
    OUT.part.json    how much of it is certain: lines of input that are done, bytes, and the facts that it was made from

The record is replaced only after the bytes that it counts are on the disk, and what a part holds beyond its record is cut off
when it is opened again: so a line is never lost and never written twice. The part takes the name OUT when it is whole.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from dragoman.errors import StorageError
from dragoman.files import NO_SPACE, clear_leftovers, lock, through_link, write_json


class PartFile:
    """The part of one output; made by `part_of`."""

    def __init__(self, out: Path, file: FileIO, facts: Mapping[str, Any]) -> None:
        self._out, self._file = out, file
        self._part, self._record = _paths(out)
        self._facts = json.loads(json.dumps(facts))
        self.done = 0
        """Lines of input whose output is certain: whoever goes on passes them over."""
        self._go_on()

    def write(self, text: str) -> None:
        """Add text; it counts from the next `commit` on."""
        with failing(self._out):
            write_all(self._file, text.encode("utf-8", "backslashreplace"))

    def commit(self, lines: int) -> None:
        """Make certain what was written: the output of so many more lines of input."""
        with failing(self._out):
            os.fsync(self._file.fileno())
            write_json(self._record, {"lines": self.done + lines, "bytes": self._file.tell(), "facts": self._facts})
        self.done += lines

    def finish(self) -> None:
        """Give the part its name."""
        with failing(self._out):
            os.fsync(self._file.fileno())
            self._part.replace(self._out)
            self._clear()

    def forget(self) -> None:
        """Remove a part that nothing is certain of."""
        self._part.unlink(missing_ok=True)
        self._clear()

    def _clear(self) -> None:
        """Remove the record, and records that were half written when something was killed."""
        self._record.unlink(missing_ok=True)
        clear_leftovers(self._record.parent, self._record.name)

    def _go_on(self) -> None:
        """Find out how much of the part is certain, and cut off the rest."""
        size = self._file.seek(0, os.SEEK_END)
        # An empty part is new, and a record beside it is left over from a part that was finished.
        record = _read(self._record, self._part) if size else None
        keep = 0
        if record is not None and record["lines"]:
            self._check(record["facts"])
            self.done, keep = record["lines"], record["bytes"]
            if keep > size:
                raise StorageError(
                    f"{self._part} is damaged: it has {size:,} bytes of {keep:,}; remove it to begin anew"
                )
        with failing(self._out):
            self._file.truncate(keep)
            self._file.seek(keep)
        self.commit(0)

    def _check(self, facts: Mapping[str, Any]) -> None:
        """Raise `StorageError` unless the part was made from the same facts."""
        other = [name for name in {**facts, **self._facts} if facts.get(name) != self._facts.get(name)]
        if other:
            raise StorageError(
                f"{self._part} was begun with another {other[0]}; give the same again to go on with it, or remove it to "
                "begin anew"
            )


@contextmanager
def part_of(out: Path, facts: Mapping[str, Any]) -> Iterator[PartFile]:
    """The part of `out`, open to write: a new one, or one that was begun with the same facts.

    `facts` are plain values by their names in messages. When the block ends well the part becomes `out`. Raises `StorageError` if `out`
    cannot be written, if the part was begun with other facts, is damaged or no part of ours, or if another process writes it.
    """
    out = through_link(out)
    if out.is_dir():
        raise StorageError(f"{out} is a directory; give a file")
    path, _ = _paths(out)
    with failing(out):
        file = path.open("a+b", buffering=0)
    with file:
        lock_part(file, path)
        part = PartFile(out, file, facts)
        try:
            yield part
            part.finish()
        except BaseException:
            if not part.done:
                part.forget()
            raise


def _paths(out: Path) -> tuple[Path, Path]:
    part = out.with_name(out.name + ".part")
    return part, part.with_name(part.name + ".json")


def _read(record: Path, part: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        return {"lines": int(found["lines"]), "bytes": int(found["bytes"]), "facts": dict(found["facts"])}
    except (OSError, ValueError, KeyError, TypeError):
        raise StorageError(
            f"{part} is in the way, and {record.name} does not say how much of it is certain; remove it to begin anew"
        ) from None


def write_all(file: FileIO, content: bytes) -> None:
    """Write to a file without a buffer; a disk that is nearly full takes a piece at first."""
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def lock_part(file: FileIO, path: Path) -> None:
    """Keep other processes from writing the same part, where the system and the file system can."""
    if lock(file) is not False:
        with contextlib.suppress(FileNotFoundError):  # finished by another process since, it has its name already
            if os.name == "nt" or os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return
    raise StorageError(f"{path} is being written by another process; wait for it, or write to another file")


@contextmanager
def failing(out: Path) -> Iterator[None]:
    """Say in one line why an output cannot be written."""
    try:
        yield
    except OSError as error:
        part, _ = _paths(out)
        if error.errno in NO_SPACE:
            raise StorageError(
                f"there is no space left on the disk for {part}; what is certain is kept: make room and give the same command "
                "again"
            ) from None
        reason = error.strerror or str(error)
        raise StorageError(f"{out} cannot be written: {reason[:1].lower()}{reason[1:]}") from None

"""Files that are written whole or not at all, and what tells one content from another; does not know what is in them."""

from __future__ import annotations

import errno
import glob
import json
import os
import re
import shlex
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from dragoman.errors import StorageError

Item = TypeVar("Item")

NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says of a disk that is full."""


def check_place(path: Path) -> None:
    """Raise a `StorageError`, before the work, if no file can be written at `path`: it is a directory, or its own is not there.

    Nor is a file named `-`: who gives that name means standard output.
    """
    if str(path) == "-":
        raise StorageError("no output can be named -; give another name")
    if path.is_dir():
        raise StorageError(f"{path} is a directory; give a file")
    if not path.parent.is_dir():
        raise StorageError(f"{path} cannot be written: there is no directory {path.parent}")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Write to the path given, a temporary name beside `path`, which replaces `path` when the block ends well.

    A device or a pipe cannot be replaced and is itself given. An `OSError` that names `path` comes before the block if
    there is no such folder, or if `path` is one.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if path.exists() and not path.is_file():
        yield path
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        unnamed = error.filename is None and error.errno in NO_SPACE
        if unnamed or error.filename == str(temporary):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):  # of a read-only disk, even if there is nothing to remove
            temporary.unlink(missing_ok=True)


def clear_leftovers(folder: Path, name: str = "") -> None:
    """Remove what `atomic` had half written of the file `name` in `folder` (of any file) when its process was killed.

    Without a `name` everything stays in a folder that another process has locked, as an export does: it may be under way.
    """
    with ExitStack() as opened:
        with suppress(OSError):  # not every system opens folders
            number = os.open(folder, os.O_RDONLY)
            opened.callback(os.close, number)
            if not name and lock(number) is False:
                return
        for leftover in folder.glob(f".{glob.escape(name) or '*'}.*.tmp"):
            if re.fullmatch(r"\..+\.\d+\.tmp", leftover.name):
                leftover.unlink(missing_ok=True)


def noted(items: Iterable[Item], errors: list[OSError]) -> Iterator[Item]:
    """The same items; what they raise themselves while they are written, as a program's own may, goes into `errors`."""
    try:
        yield from items
    except OSError as error:
        errors.append(error)
        raise


def lock(file: IO[bytes] | int) -> bool | None:
    """Lock an open file or folder until it is closed; False if another process has, None where there are no locks.

    The lock goes with its process, however that ends.
    """
    try:
        import fcntl
    except ModuleNotFoundError:  # not on Windows
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def as_word(path: str | Path) -> str:
    """A path as it is typed in a command: in quotes if it has spaces."""
    return shlex.quote(str(path))


def through_link(path: Path) -> Path:
    """Where to write what the user wants at `path`: a link stays one, and the file that it names is written."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def is_plain_name(name: object) -> bool:
    """Whether `name` names a file within a folder: a model from elsewhere must not lead out of its own."""
    return isinstance(name, str) and re.fullmatch(r"\w[\w.-]*", name) is not None


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, atomically; a byte of a file's name that is no UTF-8 is escaped, as JSON does."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; a `ValueError` says what is wrong, too deep a nesting included."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def checksum(path: Path) -> str:
    """A file's length and CRC-32: against accidents, not against forgers, and fast enough for every start."""
    value, size = 0, 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 16):
            value, size = zlib.crc32(chunk, value), size + len(chunk)
    return f"{size}-{value:08x}"


def checksum_of(content: bytes) -> str:
    """What `checksum` gives for a file of this content."""
    return f"{len(content)}-{zlib.crc32(content):08x}"

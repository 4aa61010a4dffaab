"""From a path (or standard input) to numbered lines of text; knows bytes, gzip and encodings, but no columns.

Lines are decoded one by one in effect: a byte that is not valid in the encoding becomes a lone surrogate (Python's
`surrogateescape`), so that it spoils only the row it stands in. Memory stays bounded: a line is read up to a limit
and the rest of it is passed over.
"""

from __future__ import annotations

import codecs
import difflib
import encodings.aliases
import gzip
import io
import json
import os
import re
import sys
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from dragoman.errors import DataError, OptionError, nearest
from dragoman.files import parse_json

STANDARD_INPUT = "-"

MAX_LINE = 100_000
"""Most characters in a line; a longer one is a damaged file or no sentence pair, and its row is unusable."""

_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "a spreadsheet or document of an old Office: save it as CSV",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it, or compress it with gzip",
    b"BZh": "compressed with bzip2: unpack it, or compress it with gzip",
    b"\xfd7zXZ": "compressed with xz: unpack it, or compress it with gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it, or compress it with gzip",
    b"%PDF-": "a PDF document: save its pairs as TSV",
}
"""First bytes of what is read neither as lines nor as Parquet."""
_MARKUP = {
    re.compile(rb"\s*<\?xml [^>\t\n]*\?>[^\t\n]*[\r\n]"): "XML, as TMX and XLIFF are: save its pairs as TSV",
    re.compile(rb"\s*<!doctype html[^\t\n]*[\r\n]", re.IGNORECASE): "a web page: download the file that it shows",
}
"""A first line that is no row of pairs."""
_TAR = slice(257, 262), b"ustar"
"""Where a tar archive says that it is one."""
_PARQUET = b"PAR1"
_ARRAY = re.compile(rb"\s*\[\s*[\[{]")
_BYTE_ORDER_MARK = re.compile(rb"\xef\xbb\xbf|\xff\xfe|\xfe\xff")
_BETWEEN_ELEMENTS = re.compile(r"[\s,]*")


def label(path: str | Path) -> str:
    """How a file is named in messages."""
    return "standard input" if str(path) == STANDARD_INPUT else str(path)


def check_read_once(paths: Iterable[str | Path]) -> None:
    """Raise `OptionError` if standard input is among some files more than once: it is empty the second time."""
    if sum(str(path) == STANDARD_INPUT for path in paths) > 1:
        raise OptionError(f"standard input ({STANDARD_INPUT}) can be read only once; give a file for the other data")


def check_encoding(name: str) -> None:
    """Raise `OptionError` unless `name` is a text encoding that Python knows."""
    try:
        known = codecs.lookup(name)
    except (LookupError, ValueError):
        known = None
    if known is None or not getattr(known, "_is_text_encoding", True):
        names = (set(encodings.aliases.aliases.values()) | {"latin-1", "utf-8"}) - {name}  # some are of Windows alone
        hint = nearest(name, names) if difflib.get_close_matches(name, names, n=1) else "try utf-8, latin-1 or cp949"
        raise OptionError(f'`encoding` "{name}" is not known; {hint}')


def check_file(path: str | Path) -> None:
    """Raise `DataError` unless `path` is standard input or something that can be opened and read."""
    if str(path) == STANDARD_INPUT:
        return
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(f"{path} is a directory; give a file")
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(_missing(path)) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _missing(path: Path) -> str:
    """The message for a file that is not there, with the nearest name in its folder."""
    if not path.parent.is_dir():
        return f"{path} does not exist: there is no folder {path.parent}"
    close: list[str] = []
    with suppress(OSError):  # a folder may be entered, but not listed
        close = difflib.get_close_matches(path.name, (entry.name for entry in path.parent.iterdir()), n=1)
    return f"{path} does not exist" + (f"; did you mean {path.with_name(close[0])}?" if close else "")


@contextmanager
def open_bytes(path: str | Path) -> Iterator[io.BufferedReader]:
    """The bytes of a file or of standard input, unpacked if they are gzipped (told by their first bytes)."""
    check_file(path)
    with ExitStack() as stack:
        if str(path) == STANDARD_INPUT:
            stream = _standard_input(stack)
        else:
            try:
                stream = stack.enter_context(Path(path).open("rb"))
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from None
        if _start(stream, path).startswith(_GZIP):
            unpacked: Any = stack.enter_context(gzip.GzipFile(fileobj=stream))
            stream = io.BufferedReader(unpacked)
            stack.callback(stream.detach)
            if _start(stream, path).startswith(_GZIP):
                raise DataError(f"{label(path)} is compressed with gzip twice: unpack it")
        yield stream


def _standard_input(stack: ExitStack) -> io.BufferedReader:
    """Standard input as bytes that can be peeked into; it is left open.

    It gets a reader of its own: a thread that waits in that of `sys.stdin` would abort the interpreter when it ends.
    """
    standard: Any = sys.stdin.buffer
    try:
        descriptor = os.dup(standard.fileno())
    except OSError:  # text in memory
        stream = io.BufferedReader(standard)
        stack.callback(stream.detach)
        return stream
    return stack.enter_context(open(descriptor, "rb"))  # noqa: PTH123


def _start(stream: io.BufferedReader, path: str | Path) -> bytes:
    """The first bytes, which stay unread; raises `DataError` if they are those of something else than rows."""
    with damage_is_an_error(label(path)):
        start = stream.peek(512)[:512]
    text = _BYTE_ORDER_MARK.sub(b"", start, count=1).replace(b"\0", b"")
    what = next((what for magic, what in _OTHERS.items() if start.startswith(magic)), None)
    what = next((what for first_line, what in _MARKUP.items() if first_line.match(text)), what)
    place, mark = _TAR
    if start[place] == mark:
        what = "a tar archive: unpack it"
    if what is not None:
        raise DataError(f"{label(path)} is {what}")
    return start


def is_parquet(stream: io.BufferedReader, path: str | Path) -> bool:
    """Whether the bytes start as a Parquet file does."""
    with damage_is_an_error(label(path)):
        return stream.peek(4)[:4] == _PARQUET


def is_array(stream: io.BufferedReader, path: str | Path) -> bool:
    """Whether the bytes start as one JSON array of objects or arrays does, whatever the lines; a row may, too, but has texts beside them."""
    with damage_is_an_error(label(path)):
        start = _BYTE_ORDER_MARK.sub(b"", stream.peek(256), count=1).replace(b"\0", b"")
    if _ARRAY.match(start) is None:
        return False
    with suppress(ValueError):  # the first line may be none of JSON, or go on
        return not any(isinstance(cell, str) for cell in parse_json(start.partition(b"\n")[0].decode("latin-1")))
    return True


def survey(path: str | Path) -> tuple[str, int | None]:
    """A checksum of a file's content, unpacked, and how many lines it has (None for Parquet and a JSON array), in one fast pass.

    The checksum is its length and CRC-32: it finds changes, not forgers.
    """
    value = size = lines = 0
    last = b"\n"
    with open_bytes(path) as stream, damage_is_an_error(label(path)):
        by_lines = not (is_parquet(stream, path) or is_array(stream, path))
        while chunk := stream.read(1 << 20):
            value, size = zlib.crc32(chunk, value), size + len(chunk)
            lines += chunk.count(b"\n")
            last = chunk[-1:]
    return f"{size}-{value:08x}", lines + (last != b"\n") if by_lines else None


@contextmanager
def damage_is_an_error(place: str) -> Iterator[None]:
    """Turn what reading damaged or vanishing files raises into a `DataError` that starts with `place`."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError(f"{place}: the gzip data is damaged or cut short") from None
    except OSError as error:
        raise DataError(f"{place}: cannot be read: {error.strerror or error}") from None


_MARKS_OF_UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")
"""The byte-order marks as an encoding reads them that has no such bytes."""


def read_lines(stream: io.BufferedReader, *, name: str, encoding: str) -> Generator[tuple[int, str], None, None]:
    """Yield (number from 1, text without its line end); a line over `MAX_LINE` comes cut, but is still longer than that.

    A byte-order mark at the start is dropped; one of UTF-16 read as UTF-8 is a `DataError`. Lines end with LF or CRLF.
    """
    text = io.TextIOWrapper(stream, encoding=encoding, errors="surrogateescape", newline="\n")
    number = 0
    try:
        while True:
            number += 1
            line = _read_line(text, f"{name}:{number}", encoding)
            if not line:
                return
            if number == 1:
                if line.startswith(_MARKS_OF_UTF_16):
                    raise DataError(f"{name}: this is UTF-16 text: give --encoding utf-16")
                line = line.removeprefix("\ufeff")
            yield number, line.rstrip("\r\n")
    finally:
        text.detach()  # the caller closes the bytes; standard input stays open


def read_array(stream: io.BufferedReader, *, name: str, encoding: str) -> Generator[tuple[int, str], None, None]:
    """Yield (number from 1, text) of the elements of one JSON array over the whole file.

    Raises `DataError` where the array is damaged: what comes after cannot be told apart.
    """
    text = io.TextIOWrapper(stream, encoding=encoding, errors="surrogateescape")
    scan = json.JSONDecoder().raw_decode
    number = 1
    try:
        with damage_is_an_error(name):
            known = text.read(MAX_LINE)
            place = known.find("[") + 1
            while True:
                place = _BETWEEN_ELEMENTS.match(known, place).end()  # type: ignore[union-attr]
                if known.startswith("]", place):
                    break
                try:
                    _, end = scan(known, place)
                except (ValueError, RecursionError):  # it may go on
                    more = text.read(MAX_LINE) if len(known) - place < 10 * MAX_LINE else ""
                    if not more:
                        raise DataError(
                            f"{name}: element {number:,} of the JSON array is damaged or cut short"
                        ) from None
                    known, place = known[place:] + more, 0
                    continue
                yield number, known[place:end]
                number, place = number + 1, end
            if known[place + 1 :].strip() or text.read(MAX_LINE).strip():
                raise DataError(f"{name}: text after the end of the JSON array")
    except UnicodeError:  # the UTF-16 and UTF-32 decoders cannot pass over damage
        raise DataError(f"{name}: element {number:,} is not {encoding} text") from None
    finally:
        text.detach()  # the caller closes the bytes; standard input stays open


def _read_line(text: io.TextIOWrapper, place: str, encoding: str) -> str:
    """The next line with its end (at most `MAX_LINE` and a bit of it), or "" at the end of the file."""
    try:
        line = text.readline(MAX_LINE + 2)
        if len(line) > MAX_LINE and not line.endswith("\n"):
            while (rest := text.readline(MAX_LINE)) and not rest.endswith("\n"):
                pass
    except UnicodeError:  # the UTF-16 and UTF-32 decoders cannot pass over damage
        raise DataError(f"{place}: this is not {encoding} text") from None
    except (EOFError, zlib.error, OSError):
        with damage_is_an_error(place):
            raise
        raise  # never reached; tells the type checker so
    return line

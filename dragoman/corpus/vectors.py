"""Pretrained word vectors from word2vec (text and binary), GloVe and fastText files; knows no vocabulary but words.

The file is streamed and only the wanted words are kept, so a file of any size is read in the memory of the vocabulary.
The format is told by the content: a first line of two whole numbers is a word2vec or fastText header, bytes that are
no digits after it mean the binary form, and no header means GloVe.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dragoman.config import Case
from dragoman.corpus.casing import in_case
from dragoman.corpus.lines import damage_is_an_error, label, open_bytes
from dragoman.errors import DataError

MAX_LINE_BYTES = 1 << 20
MAX_WORD_BYTES = 10_000
MAX_WIDTH = 65_536
_WATCH_EVERY = 10_000

_FASTTEXT_BINARY = (793712314).to_bytes(4, "little")
_NUMBER_BYTES = re.compile(rb"[0-9eE+\-. \t\r\n]")
_DECIMAL = re.compile(rb"[+-]?\d*\.\d+([eE][+-]?\d+)?")

Vector = npt.NDArray[np.float32]
Entry = tuple[str, "Callable[[], Vector]"]
"""A word, and a function that gives its vector: most words are not wanted."""


@dataclass(frozen=True)
class Vectors:
    """The vectors of the wanted words."""

    matrix: Vector
    """Shape (rows, width): row i belongs to the word wanted in row i; zero where the file has none."""
    found: npt.NDArray[np.bool_]
    """Shape (rows,): which rows have a vector."""
    wanted: int
    """How many rows were asked for."""

    @property
    def covered(self) -> int:
        """How many of the wanted rows have a vector."""
        return int(self.found.sum())

    @property
    def coverage(self) -> float:
        """The share of the wanted rows that have a vector."""
        return self.covered / max(1, self.wanted)


@dataclass(frozen=True)
class VectorWords:
    """What a file of vectors is about, without the vectors."""

    words: tuple[str, ...]
    """Its words in the order of the file, which is that of frequency in the usual files."""
    width: int
    """Numbers in a vector."""


def load_vectors(
    path: str | Path,
    wanted: Iterable[tuple[str, int]],
    *,
    case: Case = "keep",
    watch: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """Read the vectors of the `wanted` words from a file: each word with its row in the result.

    A word may be wanted in several rows, as where a vocabulary has it with and without a space before it. It is
    matched exactly, else in lower case, else where texts are read in a `case` as that makes it. `watch` is told now and then how
    many words of the file are read. Raises `DataError` with the line number for a damaged file.
    """
    wanted = list(wanted)
    exact: dict[str, list[int]] = {}
    lower: dict[str, list[int]] = {}
    for given, row in wanted:
        word = unicodedata.normalize("NFC", given)
        exact.setdefault(word, []).append(row)
        if word.lower() != word:
            lower.setdefault(word.lower(), []).append(row)
    rows = max((row for _, row in wanted), default=-1) + 1
    match = np.zeros(rows, np.int8)
    with _entries(path) as (width, entries):
        matrix = np.zeros((rows, width), np.float32)
        for read, (word, vector) in enumerate(entries):
            if read % _WATCH_EVERY == 0:
                watch(read)
            for better, places in ((3, exact.get(word)), (2, lower.get(word)), (1, exact.get(in_case(word, case)))):
                better_off = [row for row in places or () if match[row] < better]
                if better_off:
                    matrix[better_off], match[better_off] = vector(), better
    return Vectors(matrix, match > 0, len(wanted))


def read_vector_words(path: str | Path, *, limit: int) -> VectorWords:
    """The first `limit` words of a file of vectors, and its width; 0 asks for the width alone."""
    with _entries(path) as (width, entries):
        return VectorWords(tuple(dict.fromkeys(word for word, _ in islice(entries, limit))), width)


@contextmanager
def _entries(path: str | Path) -> Iterator[tuple[int, Iterator[Entry]]]:
    """The width of a file of vectors and its entries, in whatever format it is."""
    name = label(path)
    with open_bytes(path) as stream, damage_is_an_error(name):
        if stream.peek(4)[:4] == _FASTTEXT_BINARY:
            raise DataError(f"{name} is a fastText model; give its .vec file")
        first = stream.readline(MAX_LINE_BYTES).removeprefix(codecs.BOM_UTF8)
        header = re.fullmatch(rb"\s*(\d{1,12})\s+(\d{1,6})\s*", first)
        if header is None:
            if not first.strip():
                raise DataError(f"{name} is empty: it holds no vectors")
            yield _glove(first, stream, name)
            return
        count, width = int(header[1]), int(header[2])
        if not 1 <= width <= MAX_WIDTH:
            raise DataError(f"{name}:1: vectors of {width} numbers cannot be used")
        if _is_binary(stream, width):
            entries = _binary_entries(stream, name, width)
        else:
            entries = _text_entries(_lines(stream), name, width, spaces=False)
        yield width, _all_of(entries, name, count)


def _all_of(entries: Iterator[Entry], name: str, count: int) -> Iterator[Entry]:
    """The entries; raises `DataError` at the end if they are fewer than the header says."""
    found = 0
    for entry in entries:
        found += 1
        yield entry
    if found < count:
        raise DataError(f"{name} is cut short: it has {found:,} vectors of the {count:,} that its first line says")


def _is_binary(stream: io.BufferedReader, width: int) -> bool:
    """Whether what follows the first word is raw floats, not digits."""
    _, _, after = stream.peek(4 * width + 256).partition(b" ")
    line, _, _ = after.partition(b"\n")
    after = (line if len(line.split()) == width else after)[: 4 * width]  # short numbers end before another word
    return len(_NUMBER_BYTES.findall(after)) < 0.75 * len(after)


def _lines(stream: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
    """(line number, line without its end) after the first line."""
    for number, line in enumerate(iter(partial(stream.readline, MAX_LINE_BYTES), b""), start=2):
        yield number, line.rstrip(b" \t\r\n")


def _glove(first: bytes, stream: io.BufferedReader, name: str) -> tuple[int, Iterator[Entry]]:
    """Width and entries of a file without a header: the width is what most of the first lines have."""
    lines = _lines(stream)
    start = [(1, first.rstrip(b" \t\r\n")), *islice(lines, 49)]
    width = Counter(line.count(b" ") for _, line in start).most_common(1)[0][0]
    if not 1 <= width <= MAX_WIDTH:
        raise DataError(f"{name}:1: not a word and its numbers, separated by spaces")
    return width, _text_entries(chain(start, lines), name, width, spaces=True)


def _text_entries(lines: Iterator[tuple[int, bytes]], name: str, width: int, *, spaces: bool) -> Iterator[Entry]:
    """Entries of a text file; `spaces`: words may hold spaces (GloVe 840B has some), so lines are split from the right."""
    for number, line in lines:
        values = line.count(b" ")
        if values == width:
            word, _, numbers = line.partition(b" ")
        elif not line:
            continue
        else:
            parts = line.rsplit(b" ", width)
            word, numbers = parts[0], b" ".join(parts[1:])
            if values < width or not spaces or _DECIMAL.fullmatch(word.rpartition(b" ")[2]):
                raise DataError(f"{name}:{number}: {values} numbers, but vectors of this file have {width}")
        yield _decode(word), partial(_parse, numbers, name, number)


def _parse(numbers: bytes, name: str, number: int) -> Vector:
    try:
        values = [float(value) for value in numbers.decode("ascii", "replace").split(" ")]
    except ValueError as error:
        wrong = str(error).removeprefix("could not convert string to float: ")
        raise DataError(f"{name}:{number}: {wrong} is no number") from None
    with np.errstate(over="ignore"):  # what is too large is infinite, and so an error
        return _finite(np.array(values, np.float32), f"{name}:{number}")


def _binary_entries(stream: io.BufferedReader, name: str, width: int) -> Iterator[Entry]:
    """Entries of a word2vec binary file: word, space, little-endian float32 numbers, and sometimes a line break."""
    size, number, buffer = 4 * width, 0, b""
    while True:
        while (end := buffer.find(b" ")) < 0 or len(buffer) < end + 1 + size:
            if end < 0 and len(buffer) > MAX_WORD_BYTES:
                raise DataError(f"{name}: entry {number + 1}: no word where one should start; are the vectors damaged?")
            more = stream.read(max(size, 1 << 18))
            if not more:
                if buffer.strip():
                    raise DataError(f"{name}: entry {number + 1} is cut short")
                return
            buffer += more
        start = 0
        while (end := buffer.find(b" ", start)) >= 0 and len(buffer) >= end + 1 + size:
            number += 1
            data = buffer[end + 1 : end + 1 + size]
            yield _decode(buffer[start:end].lstrip(b"\n")), partial(_unpack, data, name, number)
            start = end + 1 + size
        buffer = buffer[start:]


def _unpack(data: bytes, name: str, number: int) -> Vector:
    return _finite(np.frombuffer(data, "<f4").astype(np.float32), f"{name}: entry {number}")


def _decode(word: bytes) -> str:
    """The word, composed (NFC); bytes that are no UTF-8 become a character that no vocabulary has."""
    return word.decode() if word.isascii() else unicodedata.normalize("NFC", word.decode("utf-8", "replace"))


def _finite(vector: Vector, place: str) -> Vector:
    if not np.isfinite(vector).all():
        raise DataError(f"{place}: a number that is not finite")
    return vector

"""From lines to cells: TSV, CSV, JSON lines, Parquet, a pattern, two aligned files; knows no pairs and cleans nothing.

Every format becomes a `Table`: column names where the file has them, and a function that streams the wanted columns.
A row that cannot be split comes as a `Fault`; nothing here stops at one.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from typing import IO, Any, TypeVar

from dragoman.corpus.lines import MAX_LINE, damage_is_an_error
from dragoman.corpus.report import (
    BAD_JSON,
    BAD_QUOTES,
    BLANK,
    CR_ALONE,
    NO_MATCH,
    NOT_TEXT,
    TOO_FEW,
    TOO_LONG,
    TOO_MANY,
    Fault,
)
from dragoman.errors import DataError, StorageError, counted, needs_extra
from dragoman.files import NO_SPACE

MAX_CELL_LINES = 200
"""Most lines in one quoted cell; a quote still open then is one that nobody closed."""

FIRST_ROWS = 100
"""Rows that are looked at before all are read, at most: they may be of any size."""

_MISSING = object()

T = TypeVar("T")
Lines = Iterator[tuple[int, str]]
Row = tuple[int, "Sequence[str] | Fault"]


@dataclass(frozen=True)
class Table:
    """A file of rows and columns, opened."""

    names: tuple[str, ...] | None
    """Names of the columns, or `None` where the file has none."""
    rows: Callable[[Sequence[int]], Iterator[Row]]
    """Given column indices from 0, streams (line number, those cells in that order or a `Fault`); may run once."""
    width: int | None = None
    """Columns of the first row, where that is known before rows are read."""
    is_parquet: bool = False
    """Whether it is Parquet, which a file may be whose name tells no format."""


def separated(lines: Lines, *, separator: str, header: bool | None, name: str) -> Table:
    """Unquoted columns (TSV): every quote mark is text. `name` is the file's, for messages.

    With `header` None the first row holds names if two of them are source and target (`own_names`).
    """
    if header is None:
        first, lines = _peek(lines, lambda line: not line[1] or line[1].isspace())
        header = first is not None and own_names(first[1].split(separator)) is not None
    split = ((number, line.split(separator) if line.strip() else BLANK) for number, line in lines)
    names = _header(split, name) if header else None
    first, lines = _peek(lines, lambda line: not line[1] or line[1].isspace())
    width = first[1].count(separator) + 1 if first else None
    most = len(names) if names else None
    return Table(names, lambda wanted: _separated_rows(lines, wanted, separator, most), width)


def own_names(names: Sequence[str] | None) -> tuple[str, str] | None:
    """The names that stand for source and target, if there are both: these words, however capitalised."""
    folded = [name.strip().casefold() for name in names or ()]
    if names is None or not {"source", "target"} <= set(folded):
        return None
    source, target = (word if word in names else names[folded.index(word)] for word in ("source", "target"))
    return source, target


def _peek(items: Iterator[T], passed_over: Callable[[T], bool]) -> tuple[T | None, Iterator[T]]:
    """The first item that is not to be passed over, if it is one of the first, and all items."""
    seen: list[T] = []
    for item in islice(items, FIRST_ROWS):
        seen.append(item)
        if not passed_over(item):
            return item, chain(seen, items)
    return None, chain(seen, items)


def _header(records: Iterator[Row], file: str) -> tuple[str, ...]:
    """The cells of the first record that is not blank; raises `DataError` if it cannot hold the names of columns."""
    number, cells = next((record for record in records if record[1] is not BLANK), (0, ()))
    if not cells:
        raise DataError(f"{file} is empty: it has no row of column names")
    if "\r" in (cells.raw if isinstance(cells, Fault) else "".join(cells)):
        raise DataError(f"{file}:{number}: {CR_ALONE}")
    if isinstance(cells, Fault):
        raise DataError(f"{file}:{number}: {cells.reason} in the row of column names")
    return tuple(re.sub(r"[^\S\t]+", " ", cell).strip() for cell in cells)


def _spoiled(line: str) -> Fault | None:
    """Why a line is no row, whatever the format."""
    if len(line) > MAX_LINE:
        return Fault(TOO_LONG, line)
    return BLANK if not line or line.isspace() else None


def _separated_rows(lines: Lines, wanted: Sequence[int], separator: str, most: int | None) -> Iterator[Row]:
    last = max(wanted)
    for number, line in lines:
        if spoiled := _spoiled(line):
            yield number, spoiled
        else:
            cells = line.split(separator, last + 1 if most is None else -1)
            yield number, _chosen(cells, wanted, line, most)


def _chosen(cells: Sequence[str], wanted: Sequence[int], raw: str, most: int | None) -> Sequence[str] | Fault:
    """The wanted cells of a row, unless it has too few, or text beyond the `most` columns that are named: it tells of a cell cut in two."""
    if max(wanted) >= len(cells):
        return Fault(TOO_FEW, raw)
    if most is not None and any(cell and not cell.isspace() for cell in cells[most:]):
        return Fault(TOO_MANY, raw)
    return [cells[index] for index in wanted]


def whole_lines(lines: Lines) -> Table:
    """One column: the line."""

    def rows(wanted: Sequence[int]) -> Iterator[Row]:
        for number, line in lines:
            yield number, _spoiled(line) or ([line] if max(wanted) == 0 else Fault(TOO_FEW, line))

    return Table(None, rows)


def matched(lines: Lines, *, pattern: re.Pattern[str]) -> Table:
    """The two groups of a pattern that must match the whole line (without white space at its ends)."""

    def rows(wanted: Sequence[int]) -> Iterator[Row]:
        if max(wanted) > 1:
            raise DataError(f"the groups of `pattern` are the columns 1 and 2; there is no column {max(wanted) + 1}")
        for number, line in lines:
            if spoiled := _spoiled(line):
                yield number, spoiled
            elif match := pattern.fullmatch(line.strip()):
                yield number, [match.group(index + 1) or "" for index in wanted]
            else:
                yield number, Fault(NO_MATCH, line)

    return Table(None, rows)


def quoted(lines: Lines, *, separator: str, header: bool, name: str) -> Table:
    """Quoted columns (CSV, RFC 4180): a quoted cell may hold separators, doubled quotes and line breaks."""
    records = _records(lines, separator)
    names = _header(records, name) if header else None
    row, records = _peek(records, lambda record: isinstance(record[1], Fault))
    width = len(row[1]) if row and not isinstance(row[1], Fault) else None
    most = len(names) if names else None
    return Table(names, lambda wanted: _pick(records, wanted, separator, most), width)


def _pick(records: Iterator[Row], wanted: Sequence[int], separator: str, most: int | None) -> Iterator[Row]:
    for number, cells in records:
        if isinstance(cells, Fault):
            yield number, cells
        else:
            yield number, _chosen(cells, wanted, separator.join(cells), most)


def _records(lines: Lines, separator: str) -> Iterator[Row]:
    """The records of a CSV file. A quote that nobody closes spoils its own line only: the next ones are read again."""
    again: list[tuple[int, str]] = []
    while True:
        number, line = again.pop() if again else next(lines, (0, ""))
        if not number:
            return
        if spoiled := _spoiled(line):
            yield number, spoiled
        elif '"' not in line:
            yield number, line.split(separator)
        else:
            following: list[tuple[int, str]] = []
            cells = _parse_record(line, following, again, lines, separator)
            if cells is None:
                again.extend(reversed(following))
                yield number, Fault(BAD_QUOTES, line)
            else:
                yield number, cells


def _parse_record(
    line: str, following: list[tuple[int, str]], again: list[tuple[int, str]], lines: Lines, separator: str
) -> list[str] | None:
    """The cells of the record that starts with `line`, or `None`; lines taken for it are added to `following`."""
    record, length = [line], len(line)
    while True:
        if '"' in record[-1]:
            try:
                return next(csv.reader(record, delimiter=separator, strict=True))
            except csv.Error as error:
                if "unexpected end of data" not in str(error):
                    return None
        number, more = again.pop() if again else next(lines, (0, ""))
        if not number:
            return None
        following.append((number, more))
        record[-1] += "\n"
        record.append(more)
        length += len(more)
        if len(record) > MAX_CELL_LINES or length > MAX_LINE:
            return None


def json_lines(lines: Lines, *, name: str) -> Table:
    """One JSON object or array in each line, or in each element of an array over the whole file.

    Columns of objects are their keys, as they come up in the first 100 lines, `translation.en` within an object
    `translation`; those of arrays go by position.
    """
    first = list(islice(lines, FIRST_ROWS))
    if len(first) == 1 and (key := _envelope(_parse_json(first[0][1]))):
        raise DataError(f'{name}: all rows are within one object, under "{key}"; save that array alone')
    objects = [value for _, line in first if isinstance(value := _parse_json(line), dict)]
    names = _columns_of(objects) if objects else None
    return Table(names, lambda wanted: _json_rows(chain(first, lines), wanted, names))


def _envelope(value: Any) -> str | None:
    """The key of an object that holds an array of objects or arrays, and no pair of texts beside it."""
    if not isinstance(value, dict) or sum(isinstance(cell, str) for cell in value.values()) > 1:
        return None
    rows = (key for key, cell in value.items() if isinstance(cell, list) and cell and isinstance(cell[0], dict | list))
    return next(rows, None)


def _columns_of(objects: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The keys of flat objects, without one that is null wherever it is not an object of other keys."""
    names = dict.fromkeys(chain.from_iterable(objects))
    outer = {
        way for name in names for way in _ways(name) if way in names
    }  # a key may be a text with any number of dots
    return tuple(name for name in names if name not in outer or any(row.get(name) is not None for row in objects))


def _ways(name: str) -> Iterator[str]:
    """The objects that a column is within: `a` and `a.b` for `a.b.c`."""
    return (name[: match.start()] for match in re.finditer(r"\.", name))


def _parse_json(line: str) -> Any:
    try:
        value = json.loads(line)
        return _flat(value) if isinstance(value, dict) else value
    except (ValueError, RecursionError):
        return None


def _flat(value: dict[str, Any], within: str = "") -> dict[str, Any]:
    """An object whose values are no objects."""
    cells: dict[str, Any] = {}
    for key, cell in value.items():
        cells |= _flat(cell, f"{within}{key}.") if isinstance(cell, dict) else {within + key: cell}
    return cells


def _cell(value: dict[str, Any], name: str) -> Any:
    """A column of a flat object; null if an object on the way to it is."""
    if name in value:
        return value[name]
    return None if any(value.get(way, _MISSING) is None for way in _ways(name)) else _MISSING


def _json_rows(lines: Iterable[tuple[int, str]], wanted: Sequence[int], names: tuple[str, ...] | None) -> Iterator[Row]:
    for number, line in lines:
        if spoiled := _spoiled(line):
            yield number, spoiled
            continue
        value = _parse_json(line)
        if isinstance(value, dict) and names is not None:
            found = (_cell(value, names[index]) for index in wanted)
            cells = [cell for cell in found if cell is not _MISSING]
        elif isinstance(value, list):
            cells = [value[index] for index in wanted if index < len(value)]
        else:
            yield number, Fault(BAD_JSON, line)
            continue
        yield number, _as_text(cells, line) if len(cells) == len(wanted) else Fault(TOO_FEW, line)


def _as_text(cells: Sequence[Any], raw: str = "") -> list[str] | Fault:
    """Values of JSON or Parquet as text: null and NaN (which pandas writes for it) are empty, numbers are written out.

    Anything else that is no text is a fault; `raw` is the row as it was read, if that was text.
    """
    texts = []
    for cell in cells:
        if isinstance(cell, str):
            texts.append(cell.replace("\r\n", "\n") if "\r" in cell else cell)
        elif cell is None or cell != cell:
            texts.append("")
        elif isinstance(cell, int | float) and not isinstance(cell, bool):
            texts.append(str(cell))
        else:
            return Fault(NOT_TEXT, raw or str(cells))
    return texts


def parquet(stream: io.BufferedReader, *, name: str, stack: ExitStack) -> Table:
    """A Parquet file; its line numbers are row numbers. A pipe or a gzipped file is first copied to a temporary file, which `stack` removes."""
    with needs_extra("reading Parquet"):
        import pyarrow
        import pyarrow.parquet
    seekable: IO[bytes] = stream
    if not (isinstance(stream.raw, io.FileIO) and stream.seekable()):
        with damage_is_an_error(name):
            seekable = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
            try:
                shutil.copyfileobj(stream, seekable)
                seekable.flush()
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                full = f"{tempfile.gettempdir()} has no space left for a copy of {name}"
                raise StorageError(f"{full}; set TMPDIR to a folder on a larger disk") from None
    damage = (pyarrow.ArrowException, OSError, UnicodeDecodeError)  # the last where the name of a column is damaged
    try:
        file = pyarrow.parquet.ParquetFile(seekable)
        paths = [path for field in file.schema_arrow for path in _leaves(field)]
    except damage as error:
        raise DataError(f"{name}: no readable Parquet file: {str(error).splitlines()[0]}") from None
    names = tuple(map(".".join, paths))

    def rows(wanted: Sequence[int]) -> Iterator[Row]:
        number = 0
        columns = [names[index] for index in wanted]
        if repeated := [column for column in columns if names.count(column) > 1]:
            raise DataError(f'{name} has several columns named "{repeated[0]}"; give each a name of its own')
        try:
            for batch in file.iter_batches(batch_size=4096, columns=list(dict.fromkeys(columns))):
                values = [_values(batch.column(path[0]), path[1:]) for path in (paths[index] for index in wanted)]
                for cells in zip(*values, strict=True):
                    number += 1
                    yield number, _as_text(cells)
        except damage as error:
            raise DataError(f"{name}: damaged after row {number}: {str(error).splitlines()[0]}") from None

    return Table(names, rows, is_parquet=True)


def _leaves(field: Any) -> Iterator[tuple[str, ...]]:
    """The names that lead to the columns of a Parquet field: several within a struct."""
    import pyarrow

    if not pyarrow.types.is_struct(field.type):
        yield (field.name,)
        return
    for inner in field.type:
        yield from ((field.name, *path) for path in _leaves(inner))


def _values(column: Any, within: Sequence[str]) -> list[Any]:
    """The values of a Parquet column, `within` structs; bytes that are no UTF-8 become lone surrogates, as in every other format."""
    import pyarrow
    import pyarrow.compute

    if within:
        column = pyarrow.compute.struct_field(column, list(within))
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        cells = column.cast(pyarrow.large_binary()).to_pylist()
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in cells]
    except (ValueError, OverflowError, KeyError, pyarrow.ArrowException):  # dates and zones that Python does not know
        return [column.type if valid else None for valid in column.is_valid().to_pylist()]


def aligned(first: Lines, second: Lines, *, names: tuple[str, str]) -> Table:
    """Two files whose lines belong together, as the columns 1 and 2."""
    return Table(None, lambda wanted: _aligned_rows(first, second, wanted, names))


def _aligned_rows(first: Lines, second: Lines, wanted: Sequence[int], names: tuple[str, str]) -> Iterator[Row]:
    if max(wanted) > 1:
        raise DataError(f"{names[0]} and {names[1]} are the columns 1 and 2; there is no column {max(wanted) + 1}")
    counts, unlike = [0, 0], False
    for left, right in zip_longest(first, second):
        counts[0] += left is not None
        counts[1] += right is not None
        if left is None or right is None:
            unlike = unlike or bool((left or right or (0, ""))[1].strip())  # blank lines at one end do no harm
            continue
        pair = (left[1], right[1])
        if len(pair[0]) > MAX_LINE or len(pair[1]) > MAX_LINE:
            yield left[0], Fault(TOO_LONG, pair[0])
        elif not (pair[0].strip() or pair[1].strip()):
            yield left[0], BLANK
        else:
            yield left[0], [pair[index] for index in wanted]
    if unlike:
        raise DataError(
            f"{names[0]} has {counted(counts[0], 'line')} but {names[1]} has {counts[1]:,}: "
            "aligned files need the same number of lines"
        )

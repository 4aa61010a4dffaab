"""Files to pairs: the one way by which sentence pairs, and sources to translate, come into dragoman.

Everything streams: a file of any size is read in bounded memory. Rows that cannot be used are counted in a
`ReadReport`, not raised, unless `strict` is set. Knows nothing of tokens, splits or models.

    >>> for pair in read_pairs(["pairs.tsv"], ReadOptions(source=("en",), target="fr")):
    ...     pair.source, pair.target
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

from dragoman.config import ReadOptions
from dragoman.corpus import formats
from dragoman.corpus.cleaning import Normalization, clean, fault_in, join_columns
from dragoman.corpus.lines import (
    MAX_LINE,
    STANDARD_INPUT,
    check_encoding,
    check_file,
    is_array,
    is_parquet,
    label,
    open_bytes,
    read_array,
    read_lines,
)
from dragoman.corpus.report import (
    BLANK,
    EMPTY_SOURCE,
    EMPTY_TARGET,
    Fault,
    ReadReport,
    require_usable,
)
from dragoman.errors import DataError, OptionError, nearest

__all__ = [
    "Pair",
    "ReadReport",
    "SourceLine",
    "format_of",
    "pairs_from_rows",
    "read_pairs",
    "read_sources",
    "require_usable",
]

_LOG = logging.getLogger("dragoman")
_SUFFIXES = {
    ".tsv": "tsv",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One usable row."""

    source: str
    """Clean text; several source columns are joined by TAB."""
    target: str
    """Clean text."""
    group: str | None
    """Value of the `group_by` column, if one was asked for and the row has it."""
    line: int
    """Line (in Parquet and in a JSON array: row) number from 1, of the row's first line."""


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One input to translate, or the reason why there is none on that line."""

    text: str | None
    """Clean text, or `None` if the line cannot be used; several source columns are joined by TAB."""
    line: int
    """Line (in Parquet and in a JSON array: row) number from 1."""
    reason: str | None = None
    """Why there is no text."""


def format_of(paths: Sequence[str | Path]) -> str | None:
    """The format that file names tell, two being aligned text; None for one that tells nothing, as .txt and standard input."""
    if len(paths) == 2:
        return "text"
    return _SUFFIXES.get(Path(str(paths[0]).lower().removesuffix(".gz")).suffix)


def check_named_tsv(write: Path) -> None:
    """Raise `OptionError` if `write`, which pairs go to as TSV, has a name by which it would be read as something else."""
    if (named := format_of([write])) not in (None, "tsv"):
        raise OptionError(f"`write` writes TSV, but {write} is {named} by its name; give a name that ends in .tsv")


def format_before(config: Mapping[str, Any]) -> str:
    """The format of the file that a model was trained on, by its configuration."""
    read = config["data"]["read"]
    return str(config["options"].get("format") or format_of(read.get("files") or read["name"].split(" and ")) or "tsv")


def read_pairs(
    paths: Sequence[str | Path], options: ReadOptions | None = None, *, report: ReadReport | None = None
) -> Iterator[Pair]:
    """Stream the usable pairs of one file, of two aligned text files, or of standard input (`"-"`).

    `report` is filled on the way and complete when the iterator ends; ask `require_usable(report)` then. What is
    wrong with the options or the path raises `OptionError` or `DataError` here, what is wrong with the file while it is
    read: `DataError` for a missing column, damaged compression, unequal aligned files, or the first unusable row under
    `strict`.
    """
    options = ReadOptions.of(options)
    report = report if report is not None else ReadReport()
    layout = _layout([str(path) for path in paths], options)
    if layout.format == "text" and len(layout.paths) == 1:
        raise DataError(f"{layout.name} alone holds no pairs as text; give two aligned files, or --format tsv")
    report.name, report.format = layout.name, layout.format
    report.encoding, report.separator = options.encoding, layout.separator
    return _pairs(layout, options, report)


def _pairs(layout: _Layout, options: ReadOptions, report: ReadReport) -> Iterator[Pair]:
    with ExitStack() as stack:
        table = layout.open(stack)
        if table.is_parquet:
            report.format, report.separator = "parquet", None
        wanted = _pair_columns(options, table.names, layout.name)
        if table.names or len(set(wanted)) < (table.width or 0):
            report.columns = tuple(table.names[index] if table.names else str(index + 1) for index in wanted)
            report.width = table.width
        make = partial(
            _make_pair, sources=len(options.source) or 1, grouped=bool(options.group_by), form=options.normalization
        )
        for line, cells in table.rows(wanted):
            if cells is BLANK:
                report.blank += 1
                continue
            pair = cells if isinstance(cells, Fault) else make(line, cells)
            if _is_usable(pair, line, report, strict=options.strict):
                yield pair


def _is_usable(found: Pair | Fault, line: int, report: ReadReport, *, strict: bool) -> TypeGuard[Pair]:
    """Count a row; under `strict` the first that cannot be used is an error."""
    if isinstance(found, Pair):
        report.rows += 1
        report.usable += 1
        return True
    if strict:
        raise DataError(f"{report.name}:{line}: {found.reason}")
    report.add_fault(line, found)
    return False


def _make_pair(line: int, cells: Sequence[str], *, sources: int, grouped: bool, form: Normalization) -> Pair | Fault:
    """A pair from raw cells (sources, target, group), or why there is none."""
    for cell in cells:
        if reason := fault_in(cell):
            return Fault(reason, "\t".join(cells))
    source = join_columns([clean(cell, form) for cell in cells[:sources]]) if sources > 1 else clean(cells[0], form)
    target = clean(cells[sources], form)
    if not source or source.isspace():
        return Fault(EMPTY_SOURCE, "\t".join(cells))
    if not target:
        return Fault(EMPTY_TARGET, "\t".join(cells))
    return Pair(source, target, (clean(cells[-1], form) or None) if grouped else None, line)


def pairs_from_rows(
    rows: Iterable[tuple[str, str]],
    options: ReadOptions | None = None,
    *,
    report: ReadReport | None = None,
    name: str = "the given pairs",
) -> Iterator[Pair]:
    """The usable pairs of (source, target) rows that are in Python already, cleaned and counted as those of a file.

    Several source columns are joined by TAB. `name` is what messages call the rows.
    """
    options = ReadOptions.of(options)
    report = report if report is not None else ReadReport()
    report.name = name
    columns = 0
    for line, row in enumerate(rows, start=1):
        cells = list(row) if isinstance(row, tuple | list) else []
        if len(cells) != 2 or not all(isinstance(cell, str) for cell in cells):
            raise DataError(f"{report.name}:{line}: a pair is (source, target), two texts, but this is {row!r:.80}")
        sources = cells[0].split("\t")
        columns = columns or len(sources)
        if len(sources) != columns:
            raise DataError(
                f"{report.name}:{line}: TAB joins source columns, of which this pair has {len(sources)} and the first {columns}"
            )
        pair = _make_pair(line, [*sources, cells[1]], sources=len(sources), grouped=False, form=options.normalization)
        if _is_usable(pair, line, report, strict=options.strict):
            yield pair


def read_sources(path: str | Path, options: ReadOptions | None = None, *, columns: int = 1) -> Iterator[SourceLine]:
    """Stream the inputs of a file or of standard input (`"-"`), one for every line, so that outputs stay aligned.

    In plain text the whole line is the input; with `columns` > 1 (the number of source columns a model was trained
    on), or with `options.source`, or in a csv, tsv, jsonl or parquet file, it is the source columns, which are found as
    `read_pairs` finds them. A line that cannot be used comes with `text=None` and the reason.
    """
    options = ReadOptions.of(options)
    path = str(path)
    by_columns = options.source or options.separator or columns > 1
    layout = _layout([path], options, nameless="tsv" if by_columns else "text")
    return _sources(layout, options, columns)


def _sources(layout: _Layout, options: ReadOptions, columns: int) -> Iterator[SourceLine]:
    with ExitStack() as stack:
        table = layout.open(stack)
        names = options.source or [str(number) for number in range(1, columns + 1)]
        if columns == 1 and (own := _own_names(options, table.names)):
            names = own[:1]
        wanted = [_column(name, table.names, layout.name) for name in names]
        if layout.format == "csv" and table.names and len(table.names) == 1 and (mark := _separator_in(table.names[0])):
            _LOG.warning("whole lines are sources: %s has one column; try --separator '%s'", layout.name, mark)
        doubted = layout.format == "text" and layout.detect  # the first line may be a row of a table
        for line, cells in table.rows(wanted):
            if doubted and not isinstance(cells, Fault):
                doubted = False
                if "\t" in cells[0].strip():
                    note = "has TAB inside and is a source as a whole: if it is a row of a table, give --source 1, or save it as .tsv"
                    _LOG.warning("%s:%d %s", layout.name, line, note)
            reason = cells.reason if isinstance(cells, Fault) else next(filter(None, map(fault_in, cells)), None)
            text = (
                ""
                if isinstance(cells, Fault) or reason
                else join_columns([clean(cell, options.normalization) for cell in cells])
            )
            if not reason and not text.strip():
                reason = EMPTY_SOURCE
            yield SourceLine(None if reason else text, line, reason)


@dataclass(frozen=True)
class _Layout:
    """What is to be opened, decided before anything is."""

    paths: list[str]
    name: str
    format: str
    separator: str | None
    header: bool | None
    pattern: re.Pattern[str] | None
    encoding: str
    detect: bool

    def open(self, stack: ExitStack) -> formats.Table:
        """The opened table; `stack` closes its files."""
        streams = [stack.enter_context(open_bytes(path)) for path in self.paths]
        read = read_array if self.format == "jsonl" and is_array(streams[0], self.paths[0]) else read_lines
        lines = [
            read(stream, name=label(path), encoding=self.encoding)
            for path, stream in zip(self.paths, streams, strict=True)
        ]
        for iterator in lines:
            stack.callback(iterator.close)
        if len(lines) == 2:
            return formats.aligned(*lines, names=(label(self.paths[0]), label(self.paths[1])))
        if self.format == "parquet" or (self.detect and is_parquet(streams[0], self.paths[0])):
            return formats.parquet(streams[0], name=self.name, stack=stack)
        if self.format == "jsonl":
            return formats.json_lines(lines[0], name=self.name)
        if self.pattern is not None:
            return formats.matched(lines[0], pattern=self.pattern)
        if self.format == "text":
            return formats.whole_lines(lines[0])
        separator = self.separator or "\t"
        if self.format == "csv":
            return formats.quoted(lines[0], separator=separator, header=self.header is not False, name=self.name)
        return formats.separated(lines[0], separator=separator, header=self.header, name=self.name)


def _layout(paths: list[str], options: ReadOptions, *, nameless: str = "tsv") -> _Layout:
    """Decide format, separator and header, and raise what can be known to be wrong before reading.

    `nameless` is the format of a file whose name tells none.
    """
    if len(paths) not in {1, 2}:
        raise DataError(f"one file, or two aligned text files, can be read at a time, but {len(paths)} were given")
    if len(paths) == 2 and STANDARD_INPUT in paths:
        raise DataError(f"standard input ({STANDARD_INPUT}) cannot be one of two aligned text files; give two files")
    check_encoding(options.encoding)
    for path in paths:
        check_file(path)
    name = " and ".join(map(label, paths))
    kind = options.format or format_of(paths) or nameless
    if len(paths) == 2 and kind != "text":
        raise OptionError(f"two files are read as aligned text, but `format` is {kind}")
    if len(paths) == 2 and not options.format:
        for path in paths:
            if named := format_of([path]):
                raise OptionError(
                    f"two files are read as aligned text, but {path} is {named} by its name; give one file of pairs at a time, "
                    "or `format` text"
                )
    pattern = _pattern(options.pattern)
    if pattern is not None and (len(paths) == 2 or kind not in {"tsv", "text"} or options.separator):
        raise OptionError("`pattern` is for lines of text in one file, without `separator`")
    if options.header and (kind not in {"tsv", "csv"} or pattern is not None):
        raise OptionError(f"`header` is for tsv and csv files, but {name} has no such row")
    if options.separator and kind not in {"tsv", "csv"}:
        raise OptionError(f"`separator` is for tsv and csv files, but {name} is read as {kind}")
    return _Layout(
        paths=paths,
        name=name,
        format=kind if pattern is None else "pattern",
        separator=_separator(options.separator, kind),
        header=_header(options, kind),
        pattern=pattern,
        encoding=options.encoding,
        detect=options.format is None and len(paths) == 1,
    )


def _separator(separator: str | None, kind: str) -> str | None:
    """The separator with its escapes resolved, or the default of the format."""
    if kind not in {"tsv", "csv"}:
        return None
    if separator is None:
        return "," if kind == "csv" else "\t"
    separator = separator.replace("\\t", "\t")
    if kind == "csv" and (len(separator) != 1 or separator in '"\r\n'):
        raise OptionError(f'`separator` of a csv file must be one character, but is "{separator}"; try --format tsv')
    return separator


def _header(options: ReadOptions, kind: str) -> bool | None:
    """Whether the first row holds names: as told, or in csv, or when a column is given by name; None if the row must tell."""
    columns = [*options.source, *filter(None, (options.target, options.group_by))]
    named = [name for name in columns if not name.isdecimal()]
    if named and options.header is False and kind in {"tsv", "csv"}:
        raise OptionError(f'column "{named[0]}" is given by name, but `header` says that there are no names')
    return options.header if options.header is not None else (kind == "csv" or bool(named) or None)


def _pattern(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise OptionError(f'`pattern` "{pattern}" is no regular expression: {error}') from None
    if compiled.groups != 2:
        raise OptionError(f"`pattern` must have two groups, source and target, but has {compiled.groups}")
    return compiled


def _there(names: tuple[str, ...], file: str) -> str:
    """Which columns a file has; what seems to separate them, if they were read as one."""
    if len(names) > 1:
        return f"{file} has columns 1 to {len(names)}: {', '.join(names)}"
    shown = _separator_in(names[0])
    return f'{file} has one column, "{names[0]}"' + (f"; try --separator '{shown}'" if shown else "")


def _separator_in(name: str) -> str | None:
    """What seems to separate columns whose names were read as one."""
    return next((shown for mark, shown in ((";", ";"), ("\t", "\\t"), ("|", "|")) if mark in name), None)


def _column(name: str, names: tuple[str, ...] | None, file: str) -> int:
    """The index from 0 of a column given by name or by number from 1."""
    if names == ():
        raise DataError(f"{file} has no columns in its first rows")
    if name.isdecimal():
        number = int(name)
        if not 1 <= number <= (MAX_LINE if names is None else len(names)):
            there = _there(names, file) if names else "columns count from 1"
            raise DataError(f"there is no column {number}; {there}")
        return number - 1
    if names is None:
        raise DataError(f'{file} has no column names, so "{name}" cannot be found; give columns by number from 1')
    if name not in names:
        hint = nearest(name, names)
        hint = f"{hint} " if "did you mean" in hint else "give another name or a number from 1 "
        raise DataError(f'{file} has no column "{name}"; {hint}(columns: {", ".join(names)})')
    if names.count(name) > 1:
        raise DataError(
            f'{file} has several columns named "{name}"; give each a name of its own, or give the column by number'
        )
    return names.index(name)


def _own_names(options: ReadOptions, names: tuple[str, ...] | None) -> tuple[str, str] | None:
    """What the file calls its source and its target, if no columns are asked for and it names them so."""
    return None if options.source or options.target else formats.own_names(names)


def _pair_columns(options: ReadOptions, names: tuple[str, ...] | None, file: str) -> list[int]:
    """Indices of the source columns, the target column and, if asked for, the group column."""
    source, target = options.source or ("1",), options.target or "2"
    if own := _own_names(options, names):
        source, target = own[:1], own[1]
    wanted = [_column(name, names, file) for name in (*source, target)]
    if options.target is None and wanted[-1] in wanted[:-1]:
        raise OptionError("`target` must be given when `source` takes column 2, the default target")
    if options.source == () and wanted[0] == wanted[-1]:
        raise OptionError("`source` must be given when `target` takes column 1, the default source")
    return wanted + ([_column(options.group_by, names, file)] if options.group_by else [])

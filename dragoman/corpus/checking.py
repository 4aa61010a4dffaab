"""The data check: what a file of pairs holds, and what looks wrong with it, before anybody trains on it.

Reads the file once in bounded memory (a few numbers per row are kept, never the text), and a second time only to
write a clean copy. Findings are for people to look at; only those marked `definite` are left out of the clean copy.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt

from dragoman.config import ReadOptions
from dragoman.corpus import findings
from dragoman.corpus.cleaning import fold
from dragoman.corpus.doubts import ColumnDoubts
from dragoman.corpus.findings import EXAMPLES, Finding, Mask, Rows
from dragoman.corpus.lines import STANDARD_INPUT, check_read_once
from dragoman.corpus.reading import Pair, ReadReport, check_named_tsv, read_pairs
from dragoman.corpus.report import require_usable, unusable_error
from dragoman.corpus.scripts import SCRIPTS
from dragoman.corpus.shifts import find_shifts
from dragoman.errors import DataError, OptionError, StorageError, counted
from dragoman.files import atomic, check_place, through_link

_LOG = logging.getLogger("dragoman")
_BATCH_ROWS = 16_384
_BATCH_CHARACTERS = 2_000_000


@dataclass(frozen=True)
class Spread:
    """How a length is spread over the rows."""

    least: int
    """Shortest."""
    median: int
    """Half of the rows are no longer."""
    p90: int
    """90 % of the rows are no longer."""
    p99: int
    """99 % of the rows are no longer."""
    most: int
    """Longest."""
    mean: float
    """Mean."""


@dataclass(frozen=True)
class Side:
    """The sources or the targets of a file."""

    different: int
    """How many different ones there are (sources: after case and white-space folding)."""
    characters: Spread
    """Their length in characters."""
    words: Spread
    """Their length in words, between white space."""
    script: str
    """The script that over four fifths of them are written in, "mixed", or "none" where there are no words."""


@dataclass(frozen=True)
class CheckReport:
    """What `check_pairs` found."""

    name: str
    """The file or files."""
    rows: int
    """Rows, the header and blank lines not counted."""
    pairs: int
    """Usable rows."""
    blank: int
    """Blank lines passed over."""
    columns: tuple[str, ...]
    """The columns that were read where that needs saying: their names, or their numbers where others are left."""
    width: int | None
    """How many columns the first row has, where that is known."""
    source: Side
    """The sources."""
    target: Side
    """The targets."""
    findings: tuple[Finding, ...]
    """What looks wrong, unusable rows first; empty for a clean file."""
    warning: str | None
    """The likely cause, if less than half of the rows are usable: training would refuse the file."""
    written: int | None
    """Pairs in the clean copy, if one was asked for."""

    def finding(self, name: str) -> Finding | None:
        """The finding of that name, if there is one."""
        return next((finding for finding in self.findings if finding.name == name), None)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return asdict(self)


def check_pairs(
    paths: Sequence[str | Path],
    options: ReadOptions | None = None,
    *,
    against: Sequence[str | Path] = (),
    write: str | Path | None = None,
    overwrite: bool = False,
    listener: Callable[[int], None] = lambda _: None,
) -> CheckReport:
    """Check a file of pairs, or two aligned files.

    `against` is a second file (or two aligned ones) that should share no source with the first, such as the test
    data; it is read with the same options. `write` names a TSV file for a clean copy: cleaned source columns, target
    and group, without the rows of definite findings; a name that ends in .gz is compressed. `listener` is told
    how many more pairs are looked at, those of `against` too. Raises `DataError` if
    nothing is usable, `StorageError` if the copy cannot be written; the copy appears whole or not at all.
    """
    options = ReadOptions.of(options)
    if write is None and overwrite:
        raise OptionError("`overwrite` is for the file given by `write`: give that too, or leave it out")
    check_read_once([*paths, *against])
    if write is not None:
        _check_output(Path(write), paths, against, overwrite=overwrite)
    read = ReadReport()
    doubts = ColumnDoubts()
    pairs = doubts.over(read_pairs(paths, options, report=read))
    rows = findings.collect(map(findings.measure, _batches(pairs, listener)))
    warning = unusable_error(read)
    if not len(rows):
        raise DataError(warning or f"{read.name} is empty: it holds no pairs")
    found, drop = _findings(rows, _folded_hashes(against, options, listener) if against else None)
    written = None
    if write is not None:
        written = _write_clean(Path(write), read_pairs(paths, options), drop, grouped=bool(options.group_by))
    return CheckReport(
        name=read.name,
        rows=read.rows,
        pairs=read.usable,
        blank=read.blank,
        columns=read.columns,
        width=read.width,
        source=_side(rows.source, rows.source_length, rows.source_words, rows.source_script),
        target=_side(rows.target, rows.target_length, rows.target_words, rows.target_script),
        findings=(*_unusable(read), *doubts.found(read), *found),
        warning=warning,
        written=written,
    )


def _batches(pairs: Iterable[Pair], listener: Callable[[int], None]) -> Iterator[list[Pair]]:
    """Lists of pairs, bounded in rows and in characters; the listener hears of each when the next is asked for."""
    batch: list[Pair] = []
    characters = 0
    for pair in pairs:
        batch.append(pair)
        characters += len(pair.source) + len(pair.target)
        if len(batch) == _BATCH_ROWS or characters > _BATCH_CHARACTERS:
            yield batch
            listener(len(batch))
            batch, characters = [], 0
    if batch:
        yield batch
        listener(len(batch))


def _folded_hashes(
    paths: Sequence[str | Path], options: ReadOptions, listener: Callable[[int], None]
) -> npt.NDArray[np.int64]:
    """The source hashes of another file, as `findings.Rows.source` has them."""
    report = ReadReport()
    pairs = read_pairs(paths, options.model_copy(update={"group_by": None}), report=report)
    parts = [np.array([hash(fold(pair.source)) for pair in batch], np.int64) for batch in _batches(pairs, listener)]
    require_usable(report)
    if report.unusable:
        _LOG.warning(f"{report.summary()}; their sources are not looked for")
    return np.concatenate(parts)


def _unusable(read: ReadReport) -> Iterator[Finding]:
    """One finding for each reason that made rows unusable."""
    for name, reason in read.reasons.items():
        yield Finding(name, reason.count, reason.lines, True, "unusable rows: training passes over them")


def _findings(rows: Rows, against: npt.NDArray[np.int64] | None) -> tuple[list[Finding], Mask]:
    """What looks wrong with the usable rows, and which of them have a definite fault."""
    conflicting, sources, most = findings.conflicts(rows.source, rows.target)
    shifts = [
        stretch
        for stretch in find_shifts(rows.source_anchors, rows.target_anchors)
        if rows.recalling[stretch.start : stretch.stop].mean() <= 0.5
    ]
    shifted = np.zeros(len(rows), bool)
    for stretch in shifts:
        shifted[stretch.start : stretch.stop] = True
    places = ", ".join(
        f"lines {rows.line[stretch.start]} to {rows.line[stretch.stop - 1]} by {stretch.shift:+d}" for stretch in shifts
    )
    main = [SCRIPTS[findings.main_script(scripts)] for scripts in (rows.source_script, rows.target_script)]
    leaked = np.isin(rows.source, against) if against is not None else np.zeros(len(rows), bool)
    shared = findings.different(rows.source[leaked])
    table: list[tuple[str, Mask, bool, str]] = [
        ("duplicates", findings.repeated(rows.pair), True, "the same source and target as an earlier row"),
        ("lost characters", rows.damaged, True, "U+FFFD stands where a character could not be decoded"),
        ("leakage", leaked, True, f"{counted(shared, 'different source')} also in the file checked against"),
        (
            "conflicting targets",
            conflicting,
            False,
            f"different sources with several targets: {sources:,}, with up to {most:,}; right for translations, not labels",
        ),
        (
            "untranslated copies",
            rows.copied,
            False,
            "the target is the source, case aside: right for spelling, not for translation",
        ),
        (
            "odd length ratios",
            findings.odd_ratios(rows.source_length, rows.target_length),
            False,
            "the target is far longer or shorter than usual for its source",
        ),
        (
            "odd scripts",
            findings.in_another_script(rows.source_script) | findings.in_another_script(rows.target_script),
            False,
            f"not in the script of nearly all others (source: {main[0]}, target: {main[1]})",
        ),
        ("mixed scripts", rows.mixed, False, "a word mixes Latin and Cyrillic letters, which look alike"),
        (
            "HTML entities",
            rows.escaped,
            False,
            "a character is spelled as in HTML, such as &amp; or &#39;: a model learns to write it so",
        ),
        ("shifted lines", shifted, False, f"targets seem to have slipped: {places}"),
    ]
    drop = np.zeros(len(rows), bool)
    found = []
    for name, mask, definite, note in table:
        if mask.any():
            lines = tuple(rows.line[np.flatnonzero(mask)[:EXAMPLES]].tolist())
            found.append(Finding(name, int(mask.sum()), lines, definite, note))
            drop |= mask & definite
    return found, drop


def _side(
    hashes: npt.NDArray[np.int64],
    characters: npt.NDArray[np.int32],
    words: npt.NDArray[np.int32],
    scripts: npt.NDArray[np.uint8],
) -> Side:
    main = findings.main_script(scripts)
    script = SCRIPTS[main] if main or not scripts.any() else "mixed"
    return Side(findings.different(hashes), _spread(characters), _spread(words), script)


def _spread(lengths: npt.NDArray[np.int32]) -> Spread:
    """Percentiles by counting, without sorting."""
    below = np.cumsum(np.bincount(lengths, minlength=1))
    median, p90, p99 = (int(np.searchsorted(below, share * len(lengths))) for share in (0.5, 0.9, 0.99))
    return Spread(
        int(lengths.min()), median, p90, p99, int(lengths.max()), round(float(lengths.mean(dtype=np.float64)), 2)
    )


def _check_output(write: Path, paths: Sequence[str | Path], against: Sequence[str | Path], *, overwrite: bool) -> None:
    """Raise before reading what would stop the clean copy after it."""
    for path in map(str, paths):
        if path == STANDARD_INPUT or (Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()):
            raise OptionError("`write` reads the data twice, which standard input and pipes do not allow; give a file")
    check_place(through_link(write))
    check_named_tsv(write)
    if write.exists():
        if any(Path(path).exists() and write.samefile(path) for path in (*paths, *against)):
            raise StorageError(f"{write} is the file that is checked; write the clean copy to another")
        if not overwrite:
            raise StorageError(f"{write} exists; choose another name, or `overwrite`")


def _write_clean(path: Path, pairs: Iterable[Pair], drop: Mask, *, grouped: bool) -> int:
    """Write the pairs that are not to be dropped; returns how many."""
    seen = written = 0
    with _new_file(path) as file:
        for seen, pair in enumerate(pairs, start=1):
            if seen <= len(drop) and not drop[seen - 1]:
                group = f"\t{pair.group or ''}" if grouped else ""
                file.write(f"{pair.source}\t{pair.target}{group}\n".encode())
                written += 1
        if seen != len(drop):
            raise DataError(f"the data changed while it was read: {counted(len(drop), 'usable row')}, then {seen:,}")
    return written


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when everything is written, gzipped if the name says so."""
    try:
        with atomic(through_link(path)) as temporary, temporary.open("wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(path.stem, "wb", fileobj=raw, mtime=0) as packed:
                    yield cast(IO[bytes], packed)
            else:
                yield raw
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from None

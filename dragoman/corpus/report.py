"""What happened while a file was read: how many rows were usable, why the others were not, and on which lines.

Knows reasons and counts, and what usually causes them; reads nothing itself.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dragoman.corpus import cleaning
from dragoman.errors import DataError, counted

TOO_FEW = "too few columns"
TOO_MANY = "more columns than are named"
TOO_LONG = "a line that is too long"
EMPTY_SOURCE = "empty source"
EMPTY_TARGET = "empty target"
EMPTY_LINE = "empty line"
BAD_JSON = "not a JSON object or array"
NOT_TEXT = "a value that is not text"
BAD_QUOTES = "quotes that do not match"
NO_MATCH = "does not match the pattern"

CR_ALONE = "its lines seem to end in CR alone: convert them to LF"

FIRST_LINES = 5
"""How many line numbers are kept for each reason."""

_SAMPLES = 50

_SCRIPTS = (
    ("shift_jis", "[ぁ-ヿ]", 0.25),
    ("euc_jp", "[ぁ-ヿ]", 0.25),
    ("cp949", "[가-힣]", 0.5),
    ("cp1251", "[а-яё]", 0.5),
    ("gb18030", "[一-鿿]", 0.5),
)
"""Encodings, and the share of letters of their script that text in them has."""


_LABELS = re.compile(r"\s*(\w+:) .+? (\w+:) .")
"""Sides that are named in the line: `IN: jump twice OUT: JUMP JUMP`."""


@dataclass(frozen=True)
class Fault:
    """A row that cannot be used."""

    reason: str
    """One of the reasons above, or of `cleaning`."""
    raw: str = ""
    """The row as it was read, where that helps to find the cause; undecodable bytes are lone surrogates in it."""


BLANK = Fault(EMPTY_LINE)
"""A wholly blank line: skipped where pairs are read, kept where outputs must stay aligned."""


@dataclass(frozen=True)
class Reason:
    """How often one reason made a row unusable."""

    count: int
    """Rows that had it."""
    lines: tuple[int, ...]
    """The first line numbers that had it."""


@dataclass
class ReadReport:
    """Filled while `read_pairs` runs, for one file or one pair of aligned files; complete when it has ended."""

    name: str = ""
    """The file or files, as messages name them."""
    format: str = ""
    """How it was read: tsv, csv, jsonl, parquet, text or pattern."""
    encoding: str = "utf-8"
    """The encoding it was read in."""
    separator: str | None = None
    """The column separator, where there is one."""
    columns: tuple[str, ...] = ()
    """The columns that were read (sources, target, group) where that needs saying: their names, or their numbers where others are left."""
    width: int | None = None
    """How many columns the first row has, where that is known."""
    rows: int = 0
    """Rows seen, blank lines and the header not counted."""
    usable: int = 0
    """Rows that became a pair."""
    blank: int = 0
    """Blank lines passed over."""
    samples: list[Fault] = field(default_factory=list)
    """The first unusable rows, to find the cause."""
    _reasons: dict[str, tuple[int, list[int]]] = field(default_factory=dict)

    @property
    def unusable(self) -> int:
        """Rows that did not become a pair."""
        return self.rows - self.usable

    @property
    def reasons(self) -> dict[str, Reason]:
        """The reasons for unusable rows, the most frequent first."""
        ordered = sorted(self._reasons.items(), key=lambda item: -item[1][0])
        return {reason: Reason(count, tuple(lines)) for reason, (count, lines) in ordered}

    def add_fault(self, line: int, fault: Fault) -> None:
        """Count one unusable row."""
        self.rows += 1
        count, lines = self._reasons.get(fault.reason, (0, []))
        if len(lines) < FIRST_LINES:
            lines.append(line)
        self._reasons[fault.reason] = (count + 1, lines)
        if len(self.samples) < _SAMPLES:
            self.samples.append(Fault(fault.reason, fault.raw[:500]))

    def summary(self) -> str:
        """One line for people: how many rows are usable, from which columns, and why the others are not."""
        pairs = f"{self.name}: {counted(self.usable, 'pair')}{columns_read(self.columns, self.width)}"
        if not self.unusable:
            return pairs
        parts = [f"{reason.count:,} {name} ({_lines(reason)})" for name, reason in self.reasons.items()]
        return f"{pairs}, {counted(self.unusable, 'unusable row')}: {', '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values, for JSON."""
        return {
            "name": self.name,
            "rows": self.rows,
            "usable": self.usable,
            "blank": self.blank,
            "unusable": {name: {"count": r.count, "lines": list(r.lines)} for name, r in self.reasons.items()},
        }


def columns_read(columns: Sequence[str], width: int | None) -> str:
    """`, columns 1, 2 of 3`: which columns were read and whether others are left; empty where there is nothing to say."""
    of = f" of {width}" if len(set(columns)) < (width or 0) else ""
    return f", columns {', '.join(columns)}{of}" if columns else ""


def _lines(reason: Reason) -> str:
    """`line 7`, `lines 7, 9` or `lines 7, 9, ...`."""
    if len(reason.lines) == 1:
        return f"line {reason.lines[0]}"
    more = ", ..." if reason.count > len(reason.lines) else ""
    return f"lines {', '.join(map(str, reason.lines))}{more}"


def unusable_error(report: ReadReport) -> str | None:
    """What is wrong and its likely cause, in one line, if there are no pairs or over half of the rows are unusable."""
    if not report.rows:
        return f"{report.name} is empty: it holds no pairs"
    if report.usable and report.usable >= report.unusable:
        return None
    name, reason = next(iter(report.reasons.items()))
    some = (
        f"only {report.usable:,} of {counted(report.rows, 'row')} {'is' if report.usable == 1 else 'are'}"
        if report.usable
        else f"none of {counted(report.rows, 'row')} is"
    )
    faults = f"{reason.count:,} with {name}: {_lines(reason)}"
    return f"{report.name}: {some} usable ({faults}); {_likely_cause(report, name)}"


def require_usable(report: ReadReport) -> None:
    """Raise `DataError` with the likely cause unless there are pairs and at least half of the rows are usable."""
    if message := unusable_error(report):
        raise DataError(message)


def _likely_cause(report: ReadReport, reason: str) -> str:
    """What to try when most rows have `reason`."""
    samples = [sample.raw for sample in report.samples if sample.reason == reason]
    if reason == cleaning.UNDECODABLE:
        encoding = _likely_encoding(samples, report.encoding)
        return f"try --encoding {encoding}" if encoding else "give its encoding, for example --encoding latin-1"
    if any("\r\t" in sample for sample in samples):
        return "CR stands before TAB, as where lines of Windows files were put together: delete it, for example with tr -d '\\r'"
    if any(re.search(r"\r[^\r\n\x00]", sample) for sample in samples):  # CR and NUL are a CR in UTF-16
        return CR_ALONE
    if reason == cleaning.CONTROL:
        if any("\x00" in sample for sample in samples):
            return "this looks like UTF-16 or no text at all: try --encoding utf-16"
        if report.encoding.replace("_", "-").lower() in {"latin-1", "latin1", "iso-8859-1"}:
            return "try --encoding cp1252"
        return "this does not look like text"
    if reason in {TOO_FEW, NO_MATCH}:
        return _likely_separator(samples, report)
    if reason == TOO_MANY:
        quoted = " and is not in quotes" if report.format == "csv" else ""
        return f"a cell seems to hold the separator{quoted}, or the first row does not name every column"
    if reason == BAD_JSON or (reason == TOO_LONG and report.format == "jsonl"):
        return _likely_json(samples)
    if reason == BAD_QUOTES:
        separator = str(report.separator).replace("\t", "\\t")
        return f"if the file is not quoted, try --format tsv --separator '{separator}'"
    if reason in {EMPTY_SOURCE, EMPTY_TARGET}:
        return "choose other columns with --source and --target"
    if reason == NOT_TEXT:
        return "choose columns that hold text with --source and --target"
    return "is this a file of sentence pairs?"


def _likely_encoding(samples: list[str], tried: str) -> str | None:
    """The encoding in which undecodable samples are sensible text, judged by the characters that come out."""
    try:
        encoded = [sample.encode(tried, "surrogateescape") for sample in samples]
    except UnicodeError:  # UTF-16 cannot give back what it could not read
        return None
    data = b"\n".join(encoded)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data.count(0) > len(data) // 8:
        return "utf-16"
    runs = re.findall(rb"[\x80-\xff]+", data)
    if len(b"".join(runs)) < 1.8 * len(runs):  # accented letters between plain ones: a single-byte Western encoding
        return "cp1252" if re.search(rb"[\x80-\x9f]", data) else "latin-1"
    for encoding, letters, share in _SCRIPTS:
        if _share_of(letters, encoded, encoding) > share:
            return encoding
    return None


def _share_of(letters: str, samples: list[bytes], encoding: str) -> float:
    """The share of the decoded non-ASCII characters that are `letters`; 0 if the samples do not decode."""
    decoder = codecs.getincrementaldecoder(
        encoding
    )  # it passes over the last character of a sample if that is cut in two
    try:
        foreign = [character for each in samples for character in decoder().decode(each) if not character.isascii()]
    except UnicodeError:
        return 0.0
    return len(re.findall(letters, "".join(foreign))) / max(1, len(foreign))


def _likely_separator(samples: list[str], report: ReadReport) -> str:
    """The separator that most failed rows have equally often, or what to do when there is none."""
    if report.format == "pattern":
        return "the pattern must match the whole line"
    if report.format in {"jsonl", "parquet"}:
        return "choose the columns with --source and --target"
    if samples and all(sample.lstrip().startswith("{") for sample in samples):
        return "try --format jsonl"
    if report.separator and samples:
        counts = Counter(sample.count(report.separator) for sample in samples)
        number, frequency = counts.most_common(1)[0]
        if number and frequency >= 0.8 * len(samples):
            return f"they have {number + 1}; choose columns with --source and --target (and --group-by)"
    for separator in ("\t", " ||| ", "||", ";", "|", ",", "  ", " - ", " = ", "="):
        counts = Counter(sample.strip().count(separator) for sample in samples)
        number, frequency = counts.most_common(1)[0] if counts else (0, 0)
        if separator != report.separator and number and frequency >= 0.8 * len(samples):
            shown = "\\t" if separator == "\t" else separator
            return f"try --separator '{shown}'"
    labels = {match.groups() for sample in samples if (match := _LABELS.match(sample))}
    if len(labels) == 1:
        return "try --pattern '{} (.*) {} (.*)'".format(*map(re.escape, labels.pop()))
    return "columns are separated by TAB unless --separator or --pattern says otherwise"


def _likely_json(samples: list[str]) -> str:
    if samples and all("\t" in sample for sample in samples):
        return "try --format tsv"
    return "one object in each line, or one array of objects over the whole file, can be read"

"""Whether pairs seem to be read in a wrong way: the first row names the columns, or a side has one text only, counts the rows, is
quoted as in CSV, or targets are the features of an inflected form that stands in another column.

Looks at one pair after the other and remembers the last one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from dragoman.corpus.findings import EXAMPLES, Finding
from dragoman.corpus.reading import Pair, ReadReport
from dragoman.errors import counted

_LEAST_NUMBERS = 20
"""Numbers that never fall are no accident from so many rows on."""
_LONGEST_NUMBER = 18
_FEATURES = re.compile(r"[A-Z][A-Z\d]*(?:[;|,()+./=*{}_-][A-Z\d]*)+")
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_COLUMN_NAMES = frozenset(
    "source target src tgt trg input output text sentence translation question answer query reply response prompt completion "
    "word spelling pronunciation phonemes phones ipa lemma features form inflected original normalized normalised "
    "english french german spanish italian portuguese dutch russian korean japanese chinese arabic turkish "
    "en fr de pt nl ru ko ja zh ar tr eng fra deu spa ita por nld rus kor jpn zho ara tur".split()
)
"""Usual ones; "it" and "es" are left out, which are a pair."""
_FOR_EACH_BARE = 9
"""Quoted texts for each that has quotes in another way, from which on a side is quoted."""


class ColumnDoubts:
    """What is odd about a whole column, as seen in all pairs that pass through `over`."""

    def __init__(self) -> None:
        self.source = _Side("source")
        self.target = _Side("target")
        self.first: Pair | None = None

    def over(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The same pairs."""
        for pair in pairs:
            self.first = self.first or pair
            self.source.add(pair.source, pair.line)
            self.target.add(pair.target, pair.line)
            yield pair

    def found(self, report: ReadReport) -> list[Finding]:
        """Every doubt; `report` is that of the reading, and tells how the file could be read otherwise."""
        sides = [doubt for side in (self.source, self.target) for doubt in side.doubts(report)]
        return [*self._names(report), *sides, *self._features(report)]

    def _features(self, report: ReadReport) -> Iterator[Finding]:
        """`walk`, `V;PST` and `walked` are three columns, of which the first two are read if none is named."""
        side = self.target
        if (report.columns, report.width) == (("1", "2"), 3) and side.features > side.rows / 2:
            note = (
                f"{counted(side.features, 'target')} look like features, as {side.feature}, and column 3 is not read: "
                "for inflected forms give --source 1 --source 2 --target 3"
            )
            yield Finding("features as targets", side.features, tuple(side.lines), False, note)

    def _names(self, report: ReadReport) -> Iterator[Finding]:
        if self.first is None or report.format != "tsv":
            return
        cells = [*self.first.source.split("\t"), self.first.target]
        folded = [cell.casefold() for cell in cells]
        if _COLUMN_NAMES.issuperset(folded) and len(set(folded)) == len(folded):
            named = ", ".join(f'"{cell}"' for cell in cells)
            note = f"the first row ({named}) is read as a pair, but it seems to name the columns: if it does, give --header"
            yield Finding("names of columns", 1, (self.first.line,), False, note)


class _Side:
    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.lines: list[int] = []
        self.last: str | None = None
        self.alike = True
        """Every text so far is the same."""
        self.rising = True
        """Every text so far is a number, and none is less than the one before it."""
        self.number = 0
        self.quoted = self.doubled = self.bare = 0
        """Texts within quotes, those of them with doubled quotes inside, and texts with other quotes. Half of a cell, as of one with a
        line break, is none of these."""
        self.quoted_lines: list[int] = []
        self.features = 0
        """Texts like `V;PST`,"""
        self.feature = ""
        """and the last of them."""

    def add(self, text: str, line: int) -> None:
        self.rows += 1
        if self.rows <= EXAMPLES:
            self.lines.append(line)
        if self.alike:
            self.alike = self.last in (None, text)
            self.last = text
        if self.rising:
            number = int(text) if text.isdecimal() and len(text) <= _LONGEST_NUMBER else -1
            self.rising = self.number <= number
            self.number = number
        if _FEATURES.fullmatch(text):
            self.features += 1
            self.feature = text
        if '"' in text:
            self._add_quotes([cell for cell in text.split("\t") if '"' in cell], line)

    def _add_quotes(self, cells: list[str], line: int) -> None:
        if not all(map(_QUOTED.fullmatch, cells)):
            self.bare += not any(cell.count('"') % 2 and '"' in (cell[0], cell[-1]) for cell in cells)
            return
        self.quoted += 1
        self.doubled += any('""' in cell[1:-1] for cell in cells)
        if self.quoted <= EXAMPLES:
            self.quoted_lines.append(line)

    def doubts(self, report: ReadReport) -> Iterator[Finding]:
        lines = tuple(self.lines)
        if self.alike and self.rows > 1:
            note = f"every {self.name} is the same: is it the right column?"
            yield Finding(f"one {self.name}", self.rows, lines, False, note)
        elif self.rising and self.rows >= _LEAST_NUMBERS:
            note = f"every {self.name} is a number, and they rise from row to row: is it the right column?"
            yield Finding(f"numbered {self.name}s", self.rows, lines, False, note)
        # Software that quotes cells doubles the quotes inside, and leaves no cell that has some unquoted.
        if self.quoted >= _FOR_EACH_BARE * self.bare and (self.doubled or self.quoted == self.rows > 1):
            some = counted(self.quoted, self.name)
            note = f"the quotes around {some} are read as text, but spreadsheets write such{_without_quotes(report)}"
            yield Finding(f"quoted {self.name}s", self.quoted, tuple(self.quoted_lines), False, note)


def _without_quotes(report: ReadReport) -> str:
    """How to read a file without the quotes around its cells, if there is a way."""
    if report.format != "tsv" or report.separator is None or len(report.separator) != 1:
        return ""
    separator = report.separator.replace("\t", "\\t")
    return f": to drop them, give --format csv --separator '{separator}', and --no-header if the first row is a pair"

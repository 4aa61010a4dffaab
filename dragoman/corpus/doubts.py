"""Whether a side of the pairs seems to come from the wrong column: it has one text only, or counts the rows.

Looks at one pair after the other and remembers the last one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dragoman.corpus.reading import Pair

_LEAST_NUMBERS = 20
"""Numbers that never fall are no accident from so many rows on."""
_LONGEST_NUMBER = 18


class ColumnDoubts:
    """What is odd about a whole column, as seen in all pairs that pass through `over`."""

    def __init__(self) -> None:
        self.source = _Side("source")
        self.target = _Side("target")

    def over(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The same pairs."""
        for pair in pairs:
            self.source.add(pair.source)
            self.target.add(pair.target)
            yield pair

    def found(self) -> dict[str, str]:
        """A short name and a question for every doubt, as `one target`: `every target is the same: is it ...?`."""
        return {name: f"{text}: is it the right column?" for side in (self.source, self.target) for name, text in side}


class _Side:
    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.last: str | None = None
        self.alike = True
        """Every text so far is the same."""
        self.rising = True
        """Every text so far is a number, and none is less than the one before it."""
        self.number = 0

    def add(self, text: str) -> None:
        self.rows += 1
        if self.alike:
            self.alike = self.last in (None, text)
            self.last = text
        if self.rising:
            number = int(text) if text.isdecimal() and len(text) <= _LONGEST_NUMBER else -1
            self.rising = self.number <= number
            self.number = number

    def __iter__(self) -> Iterator[tuple[str, str]]:
        if self.alike and self.rows > 1:
            yield f"one {self.name}", f"every {self.name} is the same"
        elif self.rising and self.rows >= _LEAST_NUMBERS:
            yield f"numbered {self.name}s", f"every {self.name} is a number, and they rise from row to row"

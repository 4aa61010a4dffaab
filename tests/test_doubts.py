"""A column is doubted if it has one text only, or numbers that never fall; a text anywhere in it clears it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.corpus.doubts import ColumnDoubts
from dragoman.corpus.reading import Pair

COUNT = [f"{i}" for i in range(19)]
"""One number less than are odd."""


def doubts(*, sources: list[str], targets: list[str]) -> list[str]:
    found = ColumnDoubts()
    pairs = [Pair(source, target, None, 1) for source, target in zip(sources, targets, strict=True)]
    assert list(found.over(pairs)) == pairs
    return list(found.found())


def plain(count: int) -> list[str]:
    """A column without anything odd."""
    return [f"{'ab'[i % 2]} text" for i in range(count)]


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ([], None),
        (["a"], None),
        (["a", "a"], "one {}"),
        (["a", "b", "b"], None),
        (["7"] * 30, "one {}"),
        (COUNT, None),
        (["0", *COUNT], "numbered {}s"),
        ([*COUNT, "19"], "numbered {}s"),
        ([*COUNT, "17"], None),
        (["text", *COUNT, "19"], None),
        (["1", "0", *COUNT], None),
        (["1", "text", *COUNT], None),
        ([*COUNT, "²"], None),
        ([*COUNT, "9" * 5000], None),
        ([*COUNT, "-1"], None),
    ],
)
def test_a_column_is_doubted_for_all_of_its_texts_or_not_at_all(column: list[str], name: str | None) -> None:
    others = plain(len(column))
    assert doubts(sources=column, targets=others) == ([name.format("source")] if name else [])
    assert doubts(sources=others, targets=column) == ([name.format("target")] if name else [])


@settings(deadline=None)
@given(st.lists(st.sampled_from(["0", "3", "20", "x"]), min_size=2, max_size=6), st.booleans())
def test_rows_seen_one_by_one_say_what_the_whole_column_says(some: list[str], ordered: bool) -> None:
    different = sorted(some, key=lambda text: (len(text), text)) if ordered else some
    column = [text for text in different for _ in range(10)]
    rising = "x" not in column and [int(text) for text in column] == sorted(int(text) for text in column)
    expected = ["one source"] if len(set(column)) == 1 else ["numbered sources"] if rising else []
    assert doubts(sources=column, targets=plain(len(column))) == expected

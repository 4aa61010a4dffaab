"""A column is doubted if it has one text only, or numbers that never fall; a text anywhere in it clears it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dragoman.config import ReadOptions
from dragoman.corpus.doubts import ColumnDoubts
from dragoman.corpus.reading import Pair, ReadReport, read_pairs

COUNT = [f"{i}" for i in range(19)]
"""One number less than are odd."""


def doubts(*, sources: list[str], targets: list[str]) -> list[str]:
    found = ColumnDoubts()
    pairs = [Pair(source, target, None, 1) for source, target in zip(sources, targets, strict=True)]
    assert list(found.over(pairs)) == pairs
    return [doubt.name for doubt in found.found(ReadReport())]


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


BARE = ['"No," he said.', 'He said "no".', '"No." "Why?"', 'a 5" pipe', '"', '"""']


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (['"a ""b"" c"', "d"], "quoted {}s"),
        (['"a ""b"" c"', *(f'"d{i}"' for i in range(8)), "x", BARE[0]], "quoted {}s"),
        (['"a ""b"" c"', *(f'"d{i}"' for i in range(7)), "x", BARE[0]], None),
        (['"a"', '"b"'], "quoted {}s"),
        (['"a"'], None),
        (['"a"', '"b"', "c"], None),
        (['""""', "d"], "quoted {}s"),
        *(([bare, "c"], None) for bare in BARE),
    ],
)
def test_a_column_in_quotes_is_doubted_where_no_plain_text_has_them_so(column: list[str], name: str | None) -> None:
    others = plain(len(column))
    assert doubts(sources=column, targets=others) == ([name.format("source")] if name else [])
    assert doubts(sources=others, targets=column) == ([name.format("target")] if name else [])


@pytest.mark.parametrize("all_cells", [False, True])
@pytest.mark.parametrize("separator", ["\t", ";"])
def test_a_quoted_table_says_how_it_is_read_without_quotes(tmp_path: Path, all_cells: bool, separator: str) -> None:
    path = tmp_path / "table.tsv"
    rows = [(f"{i} he\tsaid", f"{i} lui, {text}") for i, text in enumerate((*BARE, "oui", "a;b"))]
    with path.open("w", encoding="utf-8", newline="") as file:
        quoting = csv.QUOTE_ALL if all_cells else csv.QUOTE_MINIMAL
        csv.writer(file, delimiter=separator, quoting=quoting).writerows([(s.replace("\t", " "), t) for s, t in rows])
    report, column_doubts = ReadReport(), ColumnDoubts()
    list(column_doubts.over(read_pairs([path], ReadOptions(separator=separator), report=report)))
    found = column_doubts.found(report)
    assert [doubt.name for doubt in found] == ["quoted sources"] * all_cells + ["quoted targets"]
    shown = separator.replace("\t", "\\t")
    assert (
        f"to drop them, give --format csv --separator '{shown}', and --no-header if the first row is a pair"
        in found[-1].note
    )
    rightly = ReadOptions(format="csv", separator=shown, header=False)
    column_doubts = ColumnDoubts()
    pairs = list(column_doubts.over(read_pairs([path], rightly, report=report)))
    assert [pair.target for pair in pairs] == [target for _, target in rows]
    assert column_doubts.found(report) == []


@pytest.mark.parametrize(
    ("first", "named"),
    [
        ("english\tfrench", True),
        ("Question\tAnswer", True),
        ("lemma\tfeatures\tform", True),
        ("question\tRéponse ?", False),
        ("form\tform", False),
        ("it\tes", False),
    ],
)
def test_a_first_row_of_usual_names_is_doubted(tmp_path: Path, first: str, named: bool) -> None:
    path = tmp_path / "pairs.tsv"
    columns = first.count("\t") + 1
    path.write_text("\n".join([first, *("\t".join([text] * columns) for text in plain(4))]), encoding="utf-8")
    options = ReadOptions(source=list(range(1, columns)), target=columns)
    report, column_doubts = ReadReport(), ColumnDoubts()
    list(column_doubts.over(read_pairs([path], options, report=report)))
    found = column_doubts.found(report)
    assert [doubt.name for doubt in found] == ["names of columns"] * named
    if named:
        assert found[0].lines == (1,)
        assert "--header" in found[0].note
        column_doubts = ColumnDoubts()
        list(column_doubts.over(read_pairs([path], options.model_copy(update={"header": True}), report=report)))
        assert column_doubts.found(report) == []


@pytest.mark.parametrize(
    ("row", "options", "doubted"),
    [
        ("walk{}\tV;PST({})\twalked{}", {}, True),
        ("walk{}\tV;PST({})\twalked{}", {"source": ("1", "2"), "target": "3"}, False),
        ("walk{}\tV;PST({})\twalked{}", {"source": ("1",), "target": "2"}, True),
        ("walk{}\tV;PST({})", {}, False),  # nothing else could be the target
        ("walk{}\twalked{}\tV;PST({})", {}, False),
        ("it is {}\tI SEE; {} SAID\tmore {}", {}, False),
    ],
)
def test_features_as_targets_are_doubted_where_a_form_stands_beside_them(
    tmp_path: Path, row: str, options: dict[str, object], doubted: bool
) -> None:
    file = tmp_path / "forms.tsv"
    file.write_text("".join(row.format(i, i, i) + "\n" for i in range(9)), encoding="utf-8")
    found, report = ColumnDoubts(), ReadReport()
    assert len(list(found.over(read_pairs([file], ReadOptions(**options), report=report)))) == 9  # type: ignore[arg-type]
    notes = [doubt.note for doubt in found.found(report)]
    told = "9 targets look like features, as V;PST(8), and column 3 is not read: for inflected forms give --source 1 --source 2 --target 3"
    assert notes == ([told] if doubted else [])


def test_capitals_before_a_row_of_dots_are_judged_at_once() -> None:
    """A pattern that may split a run of signs in any way would take hours."""
    assert doubts(sources=plain(2), targets=["OK" + "." * 60 + " sure", "no"]) == []

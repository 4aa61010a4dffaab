"""Files to pairs: every format gives the same pairs, bad rows are counted, and bad files are one clear line."""

import gzip
import io
import json
import os
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.config import ReadOptions
from dragoman.corpus import formats
from dragoman.corpus.lines import MAX_LINE, survey
from dragoman.corpus.reading import ReadReport, read_pairs, read_sources, require_usable
from dragoman.errors import DataError, DragomanError, OptionError

PAIRS = [("Go.", "Va !"), ('He said "hi", twice.', "Il a dit « salut »; deux fois."), ("나무", "木")]


def read(*paths, report=None, **options):
    return [
        (pair.source, pair.target)
        for pair in read_pairs([str(path) for path in paths], ReadOptions(**options), report=report)
    ]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_parquet(path: Path, names: list[str], columns: list) -> Path:
    import pyarrow
    import pyarrow.parquet

    arrays = [pyarrow.array(column) if isinstance(column, list) else column for column in columns]
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, names=names), path)
    return path


def as_format(kind: str, folder: Path) -> list[Path]:
    """The pairs, written in one format."""
    if kind == "tsv":
        return [write(folder / "p.tsv", "".join(f"{s}\t{t}\n" for s, t in PAIRS))]
    if kind == "csv":
        rows = ['"' + s.replace('"', '""') + '","' + t.replace('"', '""') + '"\r\n' for s, t in PAIRS]
        return [write(folder / "p.csv", "en,fr\r\n" + "".join(rows))]
    if kind == "jsonl":
        return [write(folder / "p.jsonl", "".join(json.dumps({"en": s, "fr": t}) + "\n" for s, t in PAIRS))]
    if kind == "arrays":
        return [write(folder / "p.ndjson", "".join(json.dumps(pair) + "\n" for pair in PAIRS))]
    if kind == "nested jsonl":  # as data sets of translations often are
        rows = [{"id": 1, "translation": {"en": s, "fr": t}} for s, t in PAIRS]
        return [write(folder / "n.jsonl", "".join(json.dumps(row) + "\n" for row in rows))]
    if kind == "nested parquet":
        return [write_parquet(folder / "n.parquet", ["translation"], [[{"en": s, "fr": t} for s, t in PAIRS]])]
    if kind == "parquet":
        columns = {"en": [s for s, _ in PAIRS], "fr": [t for _, t in PAIRS], "n": [1, 2, 3]}
        return [write_parquet(folder / "p.parquet", list(columns), list(columns.values()))]
    return [
        write(folder / "p.en", "".join(s + "\n" for s, _ in PAIRS)),
        write(folder / "p.fr", "".join(t + "\n" for _, t in PAIRS)),
    ]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "arrays", "parquet", "aligned"])
def test_every_format_gives_the_same_pairs_gzipped_or_not(tmp_path, kind, zipped):
    paths = as_format(kind, tmp_path)
    if zipped:  # under the same name: gzip is told by its first bytes
        for path in paths:
            path.write_bytes(gzip.compress(path.read_bytes()))
    report = ReadReport()
    assert read(*paths, report=report) == PAIRS
    assert (report.rows, report.usable, report.unusable) == (3, 3, 0)
    require_usable(report)


@pytest.mark.parametrize("kind", ["nested jsonl", "nested parquet"])
def test_columns_within_an_object_are_named_by_their_way(tmp_path, kind):
    path = as_format(kind, tmp_path)[0]
    assert read(path, source="translation.en", target="translation.fr") == PAIRS
    with pytest.raises(DataError, match=r"translation\.fr"):
        read(path, source="translation")
    report = ReadReport()
    write(tmp_path / "few.jsonl", '{"a": {"b": "c"}}\n{"d": "e"}\n')
    assert read(tmp_path / "few.jsonl", source="a.b", target="d", report=report) == []
    with pytest.raises(DataError, match="choose the columns with --source and --target"):
        require_usable(report)


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "parquet"])
def test_standard_input(tmp_path, kind, monkeypatch):
    data = as_format(kind, tmp_path)[0].read_bytes()
    standard = io.TextIOWrapper(io.BytesIO(data))
    monkeypatch.setattr(sys, "stdin", standard)
    assert read("-", format=None if kind == "tsv" else kind) == PAIRS
    assert not standard.buffer.closed


def test_columns_by_number_and_name(tmp_path):
    path = write(tmp_path / "a.tsv", "id\ten\tfr\n7\tGo.\tVa !\n")
    assert read(path, source=("2",), target="3", header=True) == [("Go.", "Va !")]
    assert read(path, source=("en",), target="fr") == [("Go.", "Va !")]
    assert read(path, source=("fr",), target="2") == [("Va !", "Go.")]
    assert read(path) == [("id", "en"), ("7", "Go.")]
    with pytest.raises(DataError, match=r'no column "fra"; did you mean "fr"\? \(columns: id, en, fr\)'):
        read(path, source=("en",), target="fra")
    with pytest.raises(DataError, match=r'no column "y"; give another name or a number from 1 \(columns: id, en, fr\)'):
        read(path, source=("en",), target="y")
    with pytest.raises(DataError, match=r"no column 4; .* has columns 1 to 3: id, en, fr"):
        read(path, source=("en",), target="4")
    with pytest.raises(OptionError, match='"en" is given by name, but `header`'):
        read(path, source=("en",), target="fr", header=False)
    with pytest.raises(OptionError, match="`target` must be given"):
        read(path, source=("2",))


@pytest.mark.parametrize("separator", [",", "\t", " - "])
def test_a_row_of_more_columns_than_are_named_is_no_pair_of_half_a_text(tmp_path, separator):
    """As where a text holds the separator, and is not in quotes."""
    rows = [["q", "a"], ["Hello", "my friend", "Bonjour"], ["Go.", "Va !"], ["Oh!", "Oh !", "", " "]]
    path = write(tmp_path / ("a.csv" if separator == "," else "a.tsv"), "\n".join(map(separator.join, rows)))
    report = ReadReport()
    options = {"source": ("q",), "target": "a", "separator": separator}
    assert read(path, report=report, **options) == [("Go.", "Va !"), ("Oh!", "Oh !")]
    assert report.reasons["more columns than are named"].lines == (2,)
    assert [text for text, _ in sources(path, source=("q",), separator=separator)] == [None, "Go.", "Oh!"]
    write(path, "\n".join(map(separator.join, rows[:2])))
    report = ReadReport()
    assert read(path, report=report, **options) == []
    with pytest.raises(DataError, match=r"2\); a cell seems to hold the separator.*, or the first row does not name"):
        require_usable(report)


def test_several_source_columns_are_joined_by_tab_and_groups_are_kept(tmp_path):
    path = write(tmp_path / "a.tsv", "d1\tlaufen\tV;PST\tlief\nd2\tgehen\t\tging\n")
    options = ReadOptions(source=("2", "3"), target="4", group_by="1")
    pairs = list(read_pairs([path], options))
    assert [(p.source, p.target, p.group, p.line) for p in pairs] == [
        ("laufen\tV;PST", "lief", "d1", 1),
        ("gehen\t", "ging", "d2", 2),
    ]


def test_columns_that_a_file_does_not_have_are_not_blamed_on_its_separator(tmp_path):
    path = write(tmp_path / "a.tsv", "a, b\tc\nd, e\tf\n")
    report = ReadReport()
    assert read(path, source=("3",), report=report) == []
    with pytest.raises(DataError, match=r"too few columns: lines 1, 2\); they have 2; choose columns with --source"):
        require_usable(report)


def test_named_columns_source_and_target_are_the_default(tmp_path):
    path = write(tmp_path / "a.jsonl", '{"id": 1, "source": "a", "target": "b"}\n')
    assert read(path) == [("a", "b")]
    table = write(tmp_path / "a.tsv", "\ufefftarget\tid\tsource\r\nb\t1\ta\r\n")
    report = ReadReport()
    assert read(table, report=report) == [("a", "b")]
    assert (report.columns, report.width) == (("source", "target"), 3)
    assert sources(table) == [("a", None)]
    assert read(table, source=("2",), target="3") == [("1", "a")]
    assert read(table, header=False) == [("target", "id"), ("b", "1")]
    assert read(table, target="2", header=True) == [("b", "1")]  # the default source, as a target is asked for
    two = write(tmp_path / "b.tsv", "\n \nsource\ttarget\na\tb\n")  # below blank lines
    assert read(two) == [("a", "b")]
    assert sources(two)[-1] == ("a", None)


def test_the_default_columns_are_found_however_they_are_capitalised(tmp_path):
    for name, content in (
        ("a.tsv", "ID\tTARGET\tSource \r\n1\tb\ta\r\n"),
        ("a.csv", "ID,TARGET,Source\n1,b,a\n"),
        ("a.jsonl", '{"ID": "1", "Target": "b", "Source": "a"}\n'),
    ):
        path = write(tmp_path / name, content)
        assert read(path) == [("a", "b")], name
        assert sources(path) == [("a", None)], name
    both = write(tmp_path / "b.csv", "Source,Target,source,target\nno,no,a,b\n")
    assert read(both) == [("a", "b")]
    only_one = write(tmp_path / "c.tsv", "Source\tcible\n")
    assert read(only_one) == [("Source", "cible")]


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("AARON  EH R AH N\r\n", {"separator": "  "}),
        ("AARON||EH R AH N\n", {"separator": "||"}),
        ("AARON\tEH R AH N\n", {"separator": r"\t"}),
        ("AARON -> EH R AH N\n", {"pattern": "(.*) -> (.*)"}),
    ],
)
def test_separators_and_patterns(tmp_path, content, options):
    assert read(write(tmp_path / "a.txt", content), **options) == [("AARON", "EH R AH N")]
    assert sources(tmp_path / "a.txt", **options) == [("AARON", None)]


def test_a_column_may_be_both_sides_if_it_is_asked_for(tmp_path):
    report = ReadReport()
    path = write(tmp_path / "a.tsv", "a\tb\tc\n")
    assert read(path, report=report) == [("a", "b")]
    assert (report.columns, report.width) == (("1", "2"), 3)
    assert read(path, source=("2",), target="2") == [("b", "b")]
    assert read(path, source=("1",), target="1") == [("a", "a")]
    with pytest.raises(OptionError, match="`target` must be given when `source` takes column 2"):
        read(path, source=("2",))
    with pytest.raises(OptionError, match="`source` must be given when `target` takes column 1"):
        read(path, target="1")


def test_csv_may_have_another_separator(tmp_path):
    path = write(tmp_path / "a.csv", 'q;a\n"x; y";"z, ""w"""\n')
    assert read(path, separator=";") == [("x; y", 'z, "w"')]
    with pytest.raises(OptionError, match="`separator` of a csv file must be one character"):
        read(path, separator='"')


def test_scan_lines(tmp_path):
    path = write(tmp_path / "scan.txt", "IN: jump twice OUT: I_JUMP I_JUMP\nnothing\nIN: walk OUT: I_WALK\n")
    report = ReadReport()
    expected = [("jump twice", "I_JUMP I_JUMP"), ("walk", "I_WALK")]
    assert read(path, pattern="IN: (.*) OUT: (.*)", report=report) == expected
    assert report.reasons["does not match the pattern"].lines == (2,)


def test_a_pattern_needs_two_groups(tmp_path):
    path = write(tmp_path / "a.txt", "a b\n")
    with pytest.raises(OptionError, match="two groups, source and target, but has 1"):
        read(path, pattern="(.*) b")
    with pytest.raises(OptionError, match="is no regular expression: missing"):
        read(path, pattern="(a")
    for pattern in ("(a{99999999999})(b)", "(" * 5000 + ")" * 5000):
        with pytest.raises(OptionError, match="is no regular expression"):
            read(path, pattern=pattern)


def test_tsv_is_not_quoted_but_csv_is(tmp_path):
    assert read(write(tmp_path / "a.tsv", '"Go\tVa"\n')) == [('"Go', 'Va"')]
    content = 'q,a\r\n"one, ""two""","line 1\r\nline 2"\r\nplain,text\r\n'
    report = ReadReport()
    assert read(write(tmp_path / "a.csv", content), report=report) == [
        ('one, "two"', "line 1 line 2"),
        ("plain", "text"),
    ]
    assert report.columns == ("q", "a")
    assert read(write(tmp_path / "b.csv", "a,b\n"), header=False) == [("a", "b")]


def test_an_open_quote_spoils_one_line_only(tmp_path):
    content = "q,a\n" + "".join(f"q{n},a{n}\n" for n in range(500))
    content = content.replace("q100,", '"q100,').replace("q499,", '"q499,')
    report = ReadReport()
    pairs = read(write(tmp_path / "a.csv", content), report=report)
    assert len(pairs) == 498
    assert report.reasons["quotes that do not match"].lines == (102, 501)


def test_white_space_and_unicode_are_made_plain(tmp_path):
    path = write(tmp_path / "a.tsv", "\ufeff Cours\u202f!\t e\u0301te\u0301\u00a0\u3000 x \r\n\n \t \nﬁn\tb\n")
    report = ReadReport()
    assert read(path, report=report) == [("Cours !", "été x"), ("ﬁn", "b")]
    assert report.blank == 2
    assert read(path, normalization="nfkc")[1] == ("fin", "b")
    assert read(path, normalization="none")[0] == ("Cours !", "e\u0301te\u0301 x")
    json_path = write(tmp_path / "a.jsonl", json.dumps({"a": "one\ttwo\r\nthree", "b": 5}) + "\n")
    assert read(json_path) == [("one two three", "5")]
    inside = write(tmp_path / "b.tsv", "\u1112\ufeff\u1161\ufeff\u11ab\te\ufeff\u0301\n")  # as where files were joined
    assert read(inside) == [("\ud55c", "\u00e9")]


def test_unusable_rows_are_counted_with_their_lines(tmp_path):
    good = b"Go.\tVa !\n"
    bad = [b"alone\n", b"\tx\n", b"x\t \n", b"caf\xe9\tcoffee\n", b"a\x00b\tc\n", b"x" * (MAX_LINE + 1) + b"\ty\n"]
    path = write(tmp_path / "a.tsv", good * 6 + b"".join(bad) + b"third column\tis ignored\t\xff\n")
    report = ReadReport()
    pairs = read(path, report=report)
    assert len(pairs) == 7
    assert {name: reason.lines for name, reason in report.reasons.items()} == {
        "too few columns": (7,),
        "empty source": (8,),
        "empty target": (9,),
        "bytes that the encoding does not have": (10,),
        "control characters": (11,),
        "a line that is too long": (12,),
    }
    require_usable(report)
    assert "6 unusable rows: 1 too few columns (line 7), 1 empty source (line 8)" in report.summary()
    assert report.as_dict()["unusable"]["empty target"] == {"count": 1, "lines": [9]}
    with pytest.raises(DataError, match=r"a\.tsv:7: too few columns$"):
        read(path, strict=True)


@pytest.mark.parametrize(("name", "line"), [("a.csv", '"a"b,c\n'), ("a.tsv", "\n")])
def test_rows_that_cannot_be_used_are_not_kept(tmp_path, name, line):
    def peak(count):
        path = write(tmp_path / name, line * count)
        tracemalloc.start()
        assert read(path, header=False) == []
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1)
    assert peak(8_000) < 1.5 * peak(1_000)


def test_a_line_near_the_limit_takes_nothing_from_the_next(tmp_path):
    lengths = [base + more for base in (MAX_LINE, 2 * MAX_LINE) for more in range(-1, 4)]
    for end in ("\n", "\r\n"):
        lines = [text for length in lengths for text in ("x\t".ljust(length, "y"), f"{length}\tb")]
        report = ReadReport()
        pairs = read(write(tmp_path / "a.tsv", end.join(lines)), report=report)
        assert [source for source, _ in pairs if source != "x"] == [str(length) for length in lengths]
        assert [len(target) + 2 for source, target in pairs if source == "x"] == [MAX_LINE - 1, MAX_LINE]
        assert report.reasons["a line that is too long"].count == len(lengths) - 2


@pytest.mark.parametrize("kind", ["tsv", "csv", "objects", "arrays", "pattern", "aligned"])
def test_what_spoils_a_row_spoils_that_row_alone_in_every_format(tmp_path, kind):
    long = "x" * (MAX_LINE + 1)
    lines = [("a", "b"), "", "  \t ", ("c", "d"), ("alone",), (long, "y"), ("y", long), ("e", "f")]

    def line(cells):
        if isinstance(cells, str) or kind in ("tsv", "csv"):
            return cells if isinstance(cells, str) else {"tsv": "\t", "csv": ","}[kind].join(cells)
        if kind == "pattern":
            return " = ".join(cells)
        return json.dumps(cells if kind == "arrays" else dict(zip("st", cells, strict=False)))

    alone = {"aligned": "empty target", "pattern": "does not match the pattern"}.get(kind, "too few columns")
    options = {"tsv": {}, "csv": {"header": False}, "pattern": {"pattern": "(.+) = (.+)"}}.get(kind, {})
    if kind == "aligned":
        columns = zip(*((cells, cells) if isinstance(cells, str) else (*cells, "")[:2] for cells in lines), strict=True)
        paths = [write(tmp_path / f"a.{i}", "\n".join(column)) for i, column in enumerate(columns)]
    else:
        suffix = {"tsv": "tsv", "csv": "csv", "pattern": "txt"}.get(kind, "jsonl")
        paths = [write(tmp_path / f"a.{suffix}", "\n".join(map(line, lines)))]
    report = ReadReport()
    assert read(*paths, report=report, **options) == [("a", "b"), ("c", "d"), ("e", "f")]
    assert report.blank == 2
    assert {name: reason.lines for name, reason in report.reasons.items()} == {
        alone: (5,),
        "a line that is too long": (6, 7),
    }


def test_several_lines_in_quotes_are_no_longer_than_a_line_may_be(tmp_path):
    cell = "\n".join(["x" * (MAX_LINE * 2 // 5)] * 3)
    path = write(tmp_path / "a.csv", f's,t\n"{cell}","y"\n"a\nb","c"\n')
    pairs = read(path)
    assert ("a b", "c") in pairs
    assert all(len(source) <= MAX_LINE for source, _ in pairs)


def test_the_first_json_rows_tell_the_columns_of_all(tmp_path):
    empty = [{"id": None, "note": None, "a": "x", "b": "y"}] * 2
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, empty)))
    assert read(path, source=("3",), target="4") == [("x", "y")] * 2  # a column without a value is one
    report = ReadReport()
    lines = ['["x", "y"]'] * 100 + ['{"source": "x", "target": "y"}']  # by position, which an object has none of
    assert len(read(write(tmp_path / "b.jsonl", "\n".join(lines)), report=report)) == 100
    assert report.reasons["not a JSON object or array"].lines == (101,)


def test_parquet_columns_of_one_name(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", ["en", "en", "fr", "de"], [["a"], ["b"], ["c"], ["d"]])
    assert read(path, source=("fr",), target="de") == [("c", "d")]
    with pytest.raises(DataError, match=r'a\.parquet has several columns named "en"; give each a name of its own'):
        read(path)


def test_a_damaged_parquet_file_gives_pairs_or_an_error_of_ours(tmp_path):
    path = as_format("parquet", tmp_path)[0]
    whole = path.read_bytes()
    refused = 0
    names = [whole.rindex(name) for name in (b"en", b"fr")]
    for place in (*names, *range(4, len(whole), 19)):  # the first four tell the format
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        try:
            read(write(path, bytes(damaged)))
        except DataError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017
            refused += 1
    assert refused > 10


def test_bad_bytes_in_parquet_spoil_their_own_row(tmp_path):
    import pyarrow

    raw = pyarrow.array([b"Go.", b"\xff", None, b"Stop."], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), len(raw), raw.buffers())
    path = write_parquet(tmp_path / "a.parquet", ["en", "fr"], [text, ["a", "b", "c", "d"]])
    report = ReadReport()
    assert read(path, report=report) == [("Go.", "a"), ("Stop.", "d")]
    assert {name: reason.lines for name, reason in report.reasons.items()} == {
        "bytes that the encoding does not have": (2,),
        "empty source": (3,),
    }


@pytest.mark.parametrize("kind", ["tsv", "parquet"])
def test_a_pipe_is_read_like_the_file(tmp_path, kind):
    content = as_format(kind, tmp_path)[0].read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writer.start()
    assert read(tmp_path / "pipe", format=kind) == PAIRS
    writer.join()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_null_is_an_empty_cell_in_every_format(tmp_path, kind):
    rows = [("go", "PST", "went", "a"), ("be", None, "is", "a"), ("do", "PST", None, "b"), ("eat", "PST", "ate", None)]
    names = ["lemma", "features", "form", "group"]
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        write(path, "\n".join(",".join(cell or "" for cell in row) for row in [names, *rows]))
    elif kind == "jsonl":
        write(path, "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows).replace("null", "NaN", 1))
    else:
        write_parquet(path, names, [list(column) for column in zip(*rows, strict=True)])
    report = ReadReport()
    options = ReadOptions(source=("lemma", "features"), target="form", group_by="group")
    pairs = [(pair.source, pair.target, pair.group) for pair in read_pairs([path], options, report=report)]
    assert pairs == [("go\tPST", "went", "a"), ("be\t", "is", "a"), ("eat\tPST", "ate", None)]
    assert {name: reason.count for name, reason in report.reasons.items()} == {"empty target": 1}


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_object_that_is_null_holds_empty_cells(tmp_path, kind):
    pairs = [None, {"en": "Go.", "fr": "Va."}, {"en": "Stop.", "fr": "Arrête."}]
    rows = [{"pair": pair, "dialogue": note} for pair, note in zip(pairs, [None, {"id": "d"}, None], strict=True)]
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        write(path, "\n".join(map(json.dumps, rows)))
    else:
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    report = ReadReport()
    options = ReadOptions(group_by="dialogue.id")  # whose pairs are the columns 1 and 2, in spite of the null
    found = [(pair.source, pair.target, pair.group) for pair in read_pairs([path], options, report=report)]
    assert found == [("Go.", "Va.", "d"), ("Stop.", "Arrête.", None)]
    assert [reason.lines for reason in report.reasons.values()] == [(1,)]


@pytest.mark.parametrize("first", ['{"source": "a b", "note": "n"}', '{"source": "a b"}', "{}", "[]"])
def test_the_first_json_object_need_not_have_every_key(tmp_path, first):
    path = write(tmp_path / "a.jsonl", first + '\n{"source": "x", "target": "y", "note": "z"}\n' * 3)
    assert read(path) == [("x", "y")] * 3


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("a.csv", "", {}, r"a\.csv is empty"),
        ("a.csv", "\n \n", {"source": ("en",)}, r"a\.csv is empty"),
        ("a.tsv", "", {"source": ("en",), "target": "fr"}, r"a\.tsv is empty"),
        ("a.csv", '\n"en,fr\na,b\n', {}, r"a\.csv:2: quotes that do not match in the row of column names"),
        ("a.csv", "en,fr\ra,b\rc,d\r", {}, r"a\.csv:1: its lines seem to end in CR alone: convert them to LF"),
        ("a.csv", "en,fr\r" + "a,b\r" * 30_000, {}, r"a\.csv:1: its lines seem to end in CR alone"),
        ("a.tsv", "en\tfr\ra\tb\r", {"source": ("en",)}, r"a\.tsv:1: its lines seem to end in CR alone"),
        ("a.jsonl", "{}\n{}\n", {}, r"a\.jsonl has no columns in its first rows"),
    ],
)
def test_a_first_row_that_names_no_columns(tmp_path, name, content, options, message):
    with pytest.raises(DataError, match=message):
        read(write(tmp_path / name, content), **options)


def test_json_rows_that_are_no_pairs(tmp_path):
    lines = [
        '{"a": "x", "b": "y"}',
        "{",
        "[" * 50_000,
        '{"a": "x"}',
        '{"a": [1], "b": "y"}',
        '{"a": "\\ud800", "b": "y"}',
        '{"a": true, "b": "y"}',
    ]
    report = ReadReport()
    assert read(write(tmp_path / "a.jsonl", "\n".join(lines)), report=report) == [("x", "y")]
    assert {name: reason.lines for name, reason in report.reasons.items()} == {
        "not a JSON object or array": (2, 3),
        "too few columns": (4,),
        "a value that is not text": (5, 7),
        "half of a surrogate pair": (6,),
    }


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_json_array_over_the_whole_file(tmp_path, indent, encoding):
    rows = [{"q": f"¿[{n}]\n{{", "a": ["x"] if n == 7 else f'"{n}, "'} for n in range(5_000)]
    path = write(tmp_path / "a.json", json.dumps(rows, indent=indent, ensure_ascii=False).encode(encoding))
    report = ReadReport()
    expected = [(f"¿[{n}] {{", f'"{n}, "'.strip()) for n in range(5_000) if n != 7]
    assert read(path, encoding=encoding, report=report) == expected
    assert report.reasons["a value that is not text"].lines == (8,)
    assert [line.line for line in read_sources(path, ReadOptions(encoding=encoding))] == list(range(1, 5_001))


def test_rows_of_json_within_one_object(tmp_path):
    for text in ('{"version": "1", "data": [{"q": "a", "a": "b"}]}', '{"data": [["a", "b"]]}\n'):
        with pytest.raises(DataError, match=r'a\.json: all rows are within one object, under "data"; save that array'):
            read(write(tmp_path / "a.json", text))


def test_one_row_of_json_with_a_list_beside_its_texts(tmp_path):
    row = '{"tags": [["x", 1]], "q": "a", "a": "b"}'
    assert read(write(tmp_path / "a.jsonl", row), source="q", target="a") == [("a", "b")]


def test_json_arrays_of_arrays_and_damaged_ones(tmp_path):
    assert read(write(tmp_path / "a.json", ' [["a", "b"],\n["c",\n"d"]]\n')) == [("a", "b"), ("c", "d")]
    long = json.dumps([{"q": "x" * 300_000, "a": "b"}, {"q": "c", "a": "d"}])
    report = ReadReport()
    assert read(write(tmp_path / "a.json", long), report=report) == [("c", "d")]
    assert report.reasons["a line that is too long"].lines == (1,)
    for content, message in (
        ('[{"q": "a", "a": "b"}, {"q": "c"', "element 2 of the JSON array is damaged or cut short"),
        ('[{"q": "a", "a": "b"}, oops, {"q": "c", "a": "d"}]', "element 2 of the JSON array is damaged"),
        ("[" * 200_000, "element 1 of the JSON array is damaged"),
        ('[{"q": "a", "a": "b"}]\n[{"q": "c", "a": "d"}]\n', "text after the end of the JSON array"),
        (
            '[{"q": "a", "a": "b"}'.ljust(MAX_LINE - 1) + ']\n[{"q": "c", "a": "d"}]\n',
            "text after the end of the JSON array",
        ),
        ('[{"q": "a", "a": "b"}]x', "text after the end of the JSON array"),
    ):
        with pytest.raises(DataError, match=message):
            read(write(tmp_path / "a.json", content))


def test_lines_of_json_may_begin_with_an_array(tmp_path):
    path = write(tmp_path / "a.jsonl", '[["a", "b"], "c", "d"]\n[[], "é", "f"]\n')
    assert read(path, source=("2",), target="3") == [("c", "d"), ("é", "f")]
    assert survey(path)[1] == 2


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949", "euc_kr", "shift_jis", "big5", "gb18030", "cp1252"]
)
def test_encodings(tmp_path, encoding):
    pair = ("café", "été") if encoding == "cp1252" else ("한국" if encoding in {"cp949", "euc_kr"} else "中文", "text")
    path = write(tmp_path / "a.tsv", f"{pair[0]}\t{pair[1]}\n".encode(encoding) * 3)
    assert read(path, encoding=encoding) == [pair] * 3  # each with a byte-order mark, where the encoding writes one
    if encoding not in {"utf-16", "utf-32", "cp1252"}:  # one bad byte, one bad row, whatever follows
        report = ReadReport()
        good = f"{pair[0]}\t{pair[1]}\n".encode(encoding)
        assert len(read(write(tmp_path / "b.tsv", good + b"\xff\tx\n" + good), encoding=encoding, report=report)) == 2
        assert report.reasons["bytes that the encoding does not have"].lines == (2,)


@pytest.mark.parametrize("pile", ["\u0301\u0316", "\u0301\u0316\ufeff", "\u0f73", "\u0301\uff9e"])
def test_piled_combining_marks_do_not_hang(tmp_path, pile):
    zalgo = "a" + pile * 30_000
    report = ReadReport()
    assert read(write(tmp_path / "a.tsv", f"{zalgo}\tx\nb\ty\n"), report=report) == [("b", "y")]
    assert report.reasons["a pile of combining marks"].count == 1


def usable_error(path, **options) -> str:
    report = ReadReport()
    read(path, report=report, **options)
    with pytest.raises(DataError) as caught:
        require_usable(report)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "options", "cause"),
    [
        ("café\tthé\nété\tsummer\n".encode("latin-1"), {}, "--encoding latin-1"),
        ("l\u2019été\tthe summer\n".encode("cp1252"), {}, "--encoding cp1252"),
        ("it\u2019s\tthé\n".encode("cp1252"), {"encoding": "latin-1"}, "--encoding cp1252"),
        ("안녕하세요\thello\n잘 자요\tgood night\n".encode("cp949"), {}, "--encoding cp949"),
        (
            ("안녕" * 200 + "\thello\nx" + "안녕" * 200 + "\thello\n").encode("cp949"),
            {},
            "--encoding cp949",
        ),  # long ones
        ("привет\thello\n".encode("cp1251"), {}, "--encoding cp1251"),
        ("ありがとう\tthanks\n".encode("shift_jis"), {}, "--encoding shift_jis"),
        ("Go.\tVa !\n".encode("utf-16-le"), {}, "--encoding utf-16"),
        ("Go.;Va !\nRun!;Cours !\n", {}, "--separator ';'"),
        ("Go. ||| Va !\nRun! ||| Cours !\n", {}, "--separator ' ||| '"),
        ("Go.\tVa !\n", {"separator": ";"}, r"--separator '\t'"),
        ('{"a": "b", "c": "d"}\n', {}, "--format jsonl"),
        ("alone\nagain alone\n", {}, "separated by TAB unless --separator or --pattern"),
        ("alone\n", {"pattern": "(.*)!(.*)"}, "the pattern must match the whole line"),
        ('["a",\n"b"]\n', {"format": "jsonl"}, "one object in each line, or one array of objects"),
        ('{"data": [' + "{}," * 40_000 + "{}]}", {"format": "jsonl"}, "one array of objects over the whole file"),
        ("a\tb\n", {"format": "jsonl"}, "--format tsv"),
        ('x,"y\nx,"z\n', {"format": "csv", "header": False}, "--format tsv --separator ','"),
        ('x\t"y\n', {"format": "csv", "header": False, "separator": "\t"}, r"--format tsv --separator '\t'"),
        ('{"a": ["x"], "b": "y"}\n', {"format": "jsonl"}, "columns that hold text"),
        ("a\tb\rc\td\r", {}, "convert them to LF"),
        ("a\r\tb\r\nc\r\td\r\n", {}, "CR stands before TAB"),
        ("a\t\n", {}, "--source and --target"),
    ],
)
def test_too_few_usable_rows_name_the_likely_cause(tmp_path, content, options, cause):
    message = usable_error(write(tmp_path / "a.txt", content), **options)
    assert cause in message
    assert "none of" in message


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_a_mark_of_utf_16_is_an_error_that_names_the_encoding(tmp_path, encoding):
    path = write(tmp_path / "a.txt", "\ufeffGo.\tVa !\nRun!\tCours !\n".encode(encoding))
    for some in (lambda: read(path), lambda: list(read_sources(path, ReadOptions()))):
        with pytest.raises(DataError, match=r"a\.txt: this is UTF-16 text: give --encoding utf-16"):
            some()
    assert read(path, encoding="utf-16") == [("Go.", "Va !"), ("Run!", "Cours !")]


def test_half_usable_is_enough(tmp_path):
    report = ReadReport()
    read(write(tmp_path / "a.tsv", "a\tb\nc\n"), report=report)
    require_usable(report)
    assert "only 1 of 3 rows is usable" in usable_error(write(tmp_path / "a.tsv", "a\tb\nc\nd\n"))


@pytest.mark.parametrize("content", [b"", b"\n\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file(tmp_path, content):
    assert "is empty" in usable_error(write(tmp_path / "a.tsv", content))


def test_files_that_cannot_be_read(tmp_path):
    write(tmp_path / "pairs.tsv", "a\tb\n")
    with pytest.raises(DataError, match=r"pair\.tsv does not exist; did you mean .*pairs\.tsv\?"):
        read(tmp_path / "pair.tsv")
    with pytest.raises(DataError, match="there is no folder"):
        read(tmp_path / "no" / "pairs.tsv")
    with pytest.raises(DataError, match="is a directory; give a file"):
        read(tmp_path)
    with pytest.raises(DataError, match="is a zip archive"):
        read(write(tmp_path / "a.zip", b"PK\x03\x04rest"))
    with pytest.raises(DataError, match="gzip data is damaged or cut short"):
        read(write(tmp_path / "cut.gz", gzip.compress(b"a\tb\n" * 10_000)[:60]))
    with pytest.raises(DataError, match="no readable Parquet file"):
        read(write(tmp_path / "a.parquet", "a\tb\n"))
    with pytest.raises(DataError, match=r"a\.tsv:1: this is not utf-16 text"):
        read(write(tmp_path / "a.tsv", b"\x00\xd8a"), encoding="utf-16")
    with pytest.raises(OptionError, match='`encoding` "uft-8" is not known'):
        read(tmp_path / "pairs.tsv", encoding="uft-8")
    with pytest.raises(OptionError, match='`encoding` "rot13" is not known'):
        read(tmp_path / "pairs.tsv", encoding="rot13")


def test_a_file_without_permission(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tsv", "a\tb\n")

    def refuse(*_args, **_options):  # the tests may run as root, whom no permission stops
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read(path)
    monkeypatch.setattr(Path, "iterdir", refuse)  # as of a folder that may be entered, but not listed
    with pytest.raises(DataError, match=r"b\.tsv does not exist$"):
        read(tmp_path / "b.tsv")


def test_aligned_files(tmp_path):
    first, second = as_format("aligned", tmp_path)
    assert read(first, second, source=("2",), target="1") == [(t, s) for s, t in PAIRS]
    second.write_text(second.read_text() + "\n\n")
    assert read(first, second) == PAIRS  # blank lines at one end do no harm
    second.write_text(second.read_text() + "one more\n")
    with pytest.raises(DataError, match=r"p\.en has 3 lines but .*p\.fr has 6"):
        read(first, second)
    with pytest.raises(DataError, match=r"p\.fr has 6 lines but .*p\.en has 3"):
        read(second, first)
    second.write_text(second.read_text() + "\n")
    with pytest.raises(DataError, match=r"p\.en has 3 lines but .*p\.fr has 7"):
        read(first, second)
    with pytest.raises(DataError, match="are the columns 1 and 2; there is no column 3"):
        read(first, second, group_by="3")
    report = ReadReport()
    one, other = write(tmp_path / "l.en", "a\n\nb\nc\n"), write(tmp_path / "l.fr", "x\ny\n \nz\n")
    assert read(one, other, report=report) == [("a", "x"), ("c", "z")]
    assert {name: reason.lines for name, reason in report.reasons.items()} == {
        "empty source": (2,),
        "empty target": (3,),
    }
    with pytest.raises(DataError, match="alone holds no pairs as text"):
        read(first, format="text")
    with pytest.raises(DataError, match="3 were given"):
        read(first, first, first)


def test_two_files_of_pairs_are_not_read_as_aligned_text(tmp_path):
    first = write(tmp_path / "a.tsv", "one\tun\ntwo\tdeux\n")
    second = write(tmp_path / "b.TSV.gz", gzip.compress(b"three\ttrois\nfour\tquatre\n"))
    for paths in ((first, second), (write(tmp_path / "a.txt", "x\ny\n"), second)):
        with pytest.raises(
            OptionError, match=r"aligned text, but .*(a\.tsv|b\.TSV\.gz) is tsv by its name; give one file"
        ):
            read(*paths)
    assert read(first, second, format="text") == [("one un", "three trois"), ("two deux", "four quatre")]


def test_options_that_do_not_go_together(tmp_path):
    path = write(tmp_path / "a.jsonl", "{}\n")
    with pytest.raises(OptionError, match="`separator` is for tsv and csv"):
        read(path, separator=";")
    with pytest.raises(OptionError, match="`pattern` is for lines of text"):
        read(path, pattern="(.)(.)")
    with pytest.raises(OptionError, match="`header` is for tsv and csv files"):
        read(path, header=True)
    assert read(write(tmp_path / "b.jsonl", '{"a": "x", "b": "y"}'), source=("a",), target="b", header=False) == [
        ("x", "y")
    ]
    text = write(tmp_path / "a.txt", "a b\n")
    for more in ({"separator": " "}, {"format": "csv"}):
        with pytest.raises(OptionError, match="`pattern` is for lines of text in one file, without `separator`"):
            read(text, pattern="(.) (.)", **more)
    with pytest.raises(OptionError, match="`pattern` is for lines of text in one file"):
        read(text, text, pattern="(.) (.)")
    with pytest.raises(OptionError, match="`header` is for tsv and csv files"):
        read(text, pattern="(.) (.)", header=True)
    with pytest.raises(
        DataError, match=r"standard input \(-\) cannot be one of two aligned text files; give two files"
    ):
        read("-", text)
    with pytest.raises(DataError, match="does not exist"):
        read_pairs([tmp_path / "none.tsv"])  # before the first pair is asked for
    with pytest.raises(DataError, match=r"groups of `pattern` are the columns 1 and 2; there is no column 3"):
        read(text, pattern="(.) (.)", group_by="3")
    for number in ("0", "99999999999999999999"):
        with pytest.raises(DataError, match=f"there is no column {number}; columns count from 1"):
            read(text, source=(number,))
    for separator, shown in ((";", ";"), ("\t", r"\\t"), ("|", r"\|")):
        table = write(tmp_path / "one.csv", f"source{separator}target\na{separator}b\n")
        with pytest.raises(
            DataError, match=f"there is no column 2; .*one.csv has one column.*; try --separator '{shown}'"
        ):
            read(table)
    with pytest.raises(DataError, match=r'has one column, "only"$'):
        read(write(tmp_path / "one.csv", "only\na\n"))
    with pytest.raises(OptionError, match="must be one character"):
        read(path, format="csv", separator="||")
    with pytest.raises(OptionError, match="two files are read as aligned text, but `format` is csv"):
        read(path, path, format="csv")


def sources(path, *, columns=1, **options):
    return [(line.text, line.reason) for line in read_sources(path, ReadOptions(**options), columns=columns)]


def test_sources_stay_aligned(tmp_path):
    path = write(tmp_path / "in.txt", b"Go.\tnow\r\n\n\xff\nlast")
    assert sources(path) == [
        ("Go. now", None),
        (None, "empty line"),
        (None, "bytes that the encoding does not have"),
        ("last", None),
    ]
    assert sources(path, columns=2)[0] == ("Go.\tnow", None)
    assert sources(path, columns=2)[3] == (None, "too few columns")
    assert sources(path, source=("2",))[0] == ("now", None)
    table = write(tmp_path / "in.csv", "source,more,target\na,b,c\n,,d\n")  # of a model with two source columns
    assert sources(table, columns=2) == [("a\tb", None), (None, "empty source")]
    report = ReadReport()
    assert read(table, source=("source", "more"), target="target", report=report) == [("a\tb", "c")]
    assert report.reasons["empty source"].lines == (3,)


def test_sources_of_files_with_columns(tmp_path):
    assert sources(write(tmp_path / "in.tsv", "Go.\tVa !\n")) == [("Go.", None)]
    assert sources(write(tmp_path / "in.csv", 'q,a\n"a, b",c\n')) == [("a, b", None)]
    assert sources(write(tmp_path / "IN.CSV", 'q,a\n"a, b",c\n')) == [("a, b", None)]
    assert sources(write(tmp_path / "IN.CSV.GZ", gzip.compress(b"q,a\nb,c\n"))) == [("b", None)]
    assert sources(write(tmp_path / "in.jsonl", '{"en": "x"}\n{"fr": "y"}\n'), source=("en",)) == [
        ("x", None),
        (None, "too few columns"),
    ]


def test_whole_lines_of_a_table_are_not_sources_without_a_word(tmp_path, caplog):
    def warned(name, content, **options):
        caplog.clear()
        list(read_sources(write(tmp_path / name, content), ReadOptions(**options)))
        return [record.getMessage() for record in caplog.records]

    assert warned("a.csv", "en;fr\nGo.;Va !\n") == [
        f"whole lines are sources: {tmp_path / 'a.csv'} has one column; try --separator ';'"
    ]
    assert "b.txt:2 has TAB inside" in warned("b.txt", "\nGo.\tVa !\n")[0]
    for name, content, options in [
        ("a.csv", "en;fr\nGo.;Va !\n", {"separator": ";"}),
        ("a.csv", "en\nGo; then, stop.\n", {}),
        ("a.csv", "en,fr\nGo.,Va !\n", {}),
        ("b.txt", "Go.\tVa !\n", {"source": ("1",)}),
        ("b.txt", "Go.\tVa !\n", {"format": "text"}),
        ("b.tsv", "Go.\tVa !\n", {}),
        ("b.txt", "\tGo; then, stop | wait.\t\nA\tB\n", {}),
    ]:
        assert not warned(name, content, **options)


def test_sources_are_read_from_the_column_that_pairs_are_read_from(tmp_path):
    table = write(tmp_path / "a.csv", "id,target,source\n7,Va !,Go.\n")
    rows = write(tmp_path / "a.jsonl", '{"id": 7, "target": "Va !", "source": "Go."}\n')
    bare = write_parquet(tmp_path / "bare", ["id", "target", "source"], [[7], ["Va !"], ["Go."]])
    for path in (table, rows, bare):
        assert read(path) == [("Go.", "Va !")]
        assert sources(path) == [("Go.", None)]
        assert sources(path, source=("1",)) == [("7", None)]


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "parquet", "aligned"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.one_of(st.binary(max_size=300), st.text('ab"\t,;\\n\\r{}[]:\u0301\ud800\u00a0', max_size=80)),
    zipped=st.booleans(),
    encoding=st.sampled_from(["utf-8", "utf-16", "cp949", "latin-1"]),
)
def test_any_bytes_give_pairs_or_an_error_of_ours(tmp_path, kind, data, zipped, encoding):
    content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    path = write(
        tmp_path / "any", gzip.compress(content)[: -5 if len(content) % 3 == 0 else None] if zipped else content
    )
    paths = [path, path] if kind == "aligned" else [path]
    options = ReadOptions(format=None if kind == "aligned" else kind, encoding=encoding)
    report = ReadReport()
    try:
        for pair in read_pairs(paths, options, report=report):
            for text in (pair.source, pair.target):
                assert text == " ".join(text.split())
                text.encode("utf-8")
        require_usable(report)
    except DragomanError as error:
        assert "\n" not in str(error)  # noqa: PT017
    assert sum(reason.count for reason in report.reasons.values()) == report.unusable
    if kind != "aligned":
        try:
            lines = [line.line for line in read_sources(path, options)]
            assert lines == sorted(set(lines))
        except DragomanError:
            pass


def test_a_key_of_many_dots_takes_no_more_memory_than_it_has() -> None:
    rows = [{"source": "a", "target": "b", "x" + "." * 10_000: "c"}]
    tracemalloc.start()
    assert formats._columns_of(rows)[:2] == ("source", "target")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6  # all objects that the key could be within would be 50 MB

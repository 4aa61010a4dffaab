"""The data check finds what is planted, stays silent on clean data, and writes a clean copy whole or not at all."""

import gzip
import io
import json
import random
import re
import sys
from itertools import pairwise

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from dragoman.config import ReadOptions
from dragoman.corpus.checking import check_pairs
from dragoman.corpus.findings import odd_ratios
from dragoman.corpus.reading import read_pairs
from dragoman.corpus.scripts import SCRIPTS, scripts_of
from dragoman.corpus.shifts import anchors_of, find_shifts
from dragoman.errors import DataError, OptionError, StorageError


def made_up(count, seed=1):
    """Sentences that go together in length and marks, as translations do."""
    draw = random.Random(seed)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 9))) for _ in range(2000)]
    pairs = []
    for _ in range(count):
        length, mark = draw.randint(3, 14), draw.choice(".....?!")
        source = " ".join(draw.choices(words, k=length)) + mark
        target = " ".join(draw.choices(words, k=max(2, length + draw.randint(-1, 2)))) + mark
        pairs.append((source, target))
    return pairs


def save(path, pairs):
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")
    return path


def test_clean_data_has_no_findings(tmp_path):
    report = check_pairs([save(tmp_path / "a.tsv", made_up(3000))])
    assert report.findings == ()
    assert (report.rows, report.pairs, report.blank, report.warning, report.written) == (3000, 3000, 0, None, None)
    assert (report.source.different, report.source.script, report.target.script) == (3000, "Latin", "Latin")


def test_every_planted_fault_is_found(tmp_path):
    pairs = made_up(1000)
    first_source, first_target = pairs[0]
    pairs += [
        (first_source, first_target),  # line 1001
        (first_source.upper(), "something else entirely"),  # 1002, conflicts with 1 and 1001
        ("not translated at all", "Not  translated at all"),  # 1003
        ("short", "word " * 60),  # 1004
        ("a plain sentence", "предложение по-русски"),  # 1005
        ("the word is", "mixеd up"),  # 1006: a Cyrillic letter
        ("lost letters", "h\ufffdllo there"),  # 1007
        ("only one column", ""),  # 1008
        ("it&#39;s here", "c'est Q&A; AT&T &amp; &nosuch;"),  # 1009
        ("Q&A; AT&T", "fish & chips; a&b"),  # 1010: no entity
    ]
    report = check_pairs([save(tmp_path / "a.tsv", pairs)])
    assert {finding.name: (finding.count, finding.lines) for finding in report.findings} == {
        "empty target": (1, (1008,)),
        "duplicates": (1, (1001,)),
        "lost characters": (1, (1007,)),
        "conflicting targets": (3, (1, 1001, 1002)),
        "untranslated copies": (1, (1003,)),
        "odd length ratios": (1, (1004,)),
        "odd scripts": (1, (1005,)),
        "mixed scripts": (1, (1006,)),
        "HTML entities": (1, (1009,)),
    }
    assert [finding.name for finding in report.findings if finding.definite] == [
        "empty target",
        "duplicates",
        "lost characters",
    ]
    assert "with several targets: 1, with up to 2" in report.finding("conflicting targets").note
    assert "the target is the source, case aside" in report.finding("untranslated copies").note
    assert report.finding("shifted lines") is None
    assert json.loads(json.dumps(report.as_dict()))["findings"][1]["lines"] == [1001]


@pytest.mark.parametrize(("column", "name"), [(0, "one source"), (1, "one target")])
def test_a_column_that_never_changes_is_named(tmp_path, column, name):
    """As when the column of the languages is taken for that of the texts."""
    rows = [(f"word{i}", "eng")[:: 1 if column else -1] for i in range(30)]
    report = check_pairs([save(tmp_path / "a.tsv", rows)])
    assert report.finding(name).count == 30
    assert "is it the right column?" in report.finding(name).note
    assert {"one source", "one target"} - {name} == {
        each for each in ("one source", "one target") if report.finding(each) is None
    }
    assert check_pairs([save(tmp_path / "b.tsv", [*rows, ("x", "y")])]).finding(name) is None
    assert check_pairs([save(tmp_path / "c.tsv", rows[:1])]).finding(name) is None


@pytest.mark.parametrize(("column", "name"), [(0, "numbered sources"), (1, "numbered targets")])
def test_a_column_that_numbers_its_rows_is_named(tmp_path, column, name):
    """As when a file begins with ids; they may have gaps, and stand in several rows."""
    numbers = [17, 17, *range(40, 100, 2)]
    rows = [(str(n), f"word {i} {i}")[:: -1 if column else 1] for i, n in enumerate(numbers)]
    report = check_pairs([save(tmp_path / "a.tsv", rows)])
    assert report.finding(name).count == len(rows)
    assert "is it the right column?" in report.finding(name).note
    unordered = [*rows, ("3", "three")[:: -1 if column else 1]]
    lettered = [*rows, ("a3", "three")[:: -1 if column else 1]]
    for i, others in enumerate((unordered, lettered, rows[:10])):
        assert check_pairs([save(tmp_path / f"{i}.tsv", others)]).finding(name) is None


def test_a_parquet_file_of_any_name_is_not_said_to_be_read_otherwise(tmp_path):
    rows = [("question", "answer"), *((f'"word ""{i}"""', f"mot {i}") for i in range(30))]
    report = check_pairs([save(tmp_path / "a.tsv", rows)])
    assert [finding.name for finding in report.findings] == ["names of columns", "quoted sources"]
    pyarrow.parquet.write_table(pyarrow.table(list(zip(*rows, strict=True)), names=["q", "a"]), tmp_path / "bare")
    (finding,) = check_pairs([tmp_path / "bare"]).findings
    assert finding.name == "quoted sources"
    assert "--format" not in finding.note


def test_lengths_are_percentiles(tmp_path):
    pairs = [(" ".join(["ab"] * n), "x" * n) for n in range(1, 101)]
    report = check_pairs([save(tmp_path / "a.tsv", pairs)])
    words = report.source.words
    assert (words.least, words.median, words.p90, words.p99, words.most, words.mean) == (1, 50, 90, 99, 100, 50.5)
    assert report.target.characters == words
    assert report.target.words.most == 1
    assert report.source.characters.most == 299


def test_leakage_is_by_folded_source(tmp_path, monkeypatch):
    train = made_up(50)
    test = [(train[3][0].upper(), "other"), (train[7][0], train[7][1]), ("unseen", "unseen")]
    report = check_pairs(
        [save(tmp_path / "train.tsv", train)],
        against=[save(tmp_path / "test.tsv", test)],
        write=tmp_path / "clean.tsv",
    )
    leakage = report.finding("leakage")
    assert (leakage.count, leakage.lines, leakage.definite) == (2, (4, 8), True)
    assert report.written == 48
    assert check_pairs([tmp_path / "clean.tsv"], against=[tmp_path / "test.tsv"]).finding("leakage") is None
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "test.tsv").read_bytes())))
    check_pairs([tmp_path / "train.tsv"], against=["-"], write=tmp_path / "again.tsv")  # which is read once
    assert (tmp_path / "again.tsv").read_bytes() == (tmp_path / "clean.tsv").read_bytes()


def test_the_clean_copy(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('id,en,fr\n1," Go\u202f.",Va.\n2,Go .,Va.\n3,,x\n2,"a, b",c\n', encoding="utf-8")
    options = ReadOptions(source=("en",), target="fr", group_by="id")
    report = check_pairs([path], options, write=tmp_path / "clean.tsv.gz")
    assert report.written == 2
    assert gzip.decompress((tmp_path / "clean.tsv.gz").read_bytes()).decode() == "Go .\tVa.\t1\na, b\tc\t2\n"
    again = list(read_pairs([tmp_path / "clean.tsv.gz"], ReadOptions(group_by="3")))
    assert [(pair.source, pair.target, pair.group) for pair in again] == [("Go .", "Va.", "1"), ("a, b", "c", "2")]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.csv", "clean.tsv.gz"]


def test_the_clean_copy_never_harms_what_is_there(tmp_path):
    path = save(tmp_path / "a.tsv", made_up(3))
    before = path.read_bytes()
    with pytest.raises(StorageError, match="is the file that is checked"):
        check_pairs([path], write=path, overwrite=True)
    (tmp_path / "there.tsv").write_text("mine")
    with pytest.raises(StorageError, match=r"there\.tsv exists; choose another name, or `overwrite`"):
        check_pairs([path], write=tmp_path / "there.tsv")
    with pytest.raises(StorageError, match="is a directory"):
        check_pairs([path], write=tmp_path)
    with pytest.raises(
        OptionError, match=r"writes TSV, but .*clean\.csv is csv by its name; give a name that ends in \.tsv"
    ):
        check_pairs([path], write=tmp_path / "clean.csv")
    with pytest.raises(StorageError, match=r"cannot be written: there is no directory .*no folder"):
        check_pairs([tmp_path / "not read.tsv"], write=tmp_path / "no folder" / "clean.tsv")
    (tmp_path / "link.tsv").symlink_to(tmp_path / "no folder" / "clean.tsv")
    with pytest.raises(StorageError, match=r"cannot be written: there is no directory .*no folder"):
        check_pairs([tmp_path / "not read.tsv"], write=tmp_path / "link.tsv")
    with pytest.raises(OptionError, match="`overwrite` is for the file given by `write`: give that too, or leave it"):
        check_pairs([path], overwrite=True)
    for unseekable in ("-", "/dev/null"):
        with pytest.raises(OptionError, match="standard input and pipes do not allow"):
            check_pairs([unseekable], write=tmp_path / "clean.tsv")
    assert path.read_bytes() == before
    assert (tmp_path / "there.tsv").read_text() == "mine"
    assert check_pairs([path], write=tmp_path / "there.tsv", overwrite=True).written == 3


def test_data_that_changes_between_the_two_readings(tmp_path, monkeypatch):
    path = save(tmp_path / "a.tsv", made_up(5))

    def lengthen(*_arguments):
        save(path, made_up(7))
        return []

    monkeypatch.setattr("dragoman.corpus.checking.find_shifts", lengthen)
    with pytest.raises(DataError, match="the data changed while it was read: 5 usable rows, then 7"):
        check_pairs([path], write=tmp_path / "clean.tsv")
    assert not (tmp_path / "clean.tsv").exists()


def test_a_full_disk_leaves_the_old_copy(tmp_path, monkeypatch):
    path, old = save(tmp_path / "a.tsv", made_up(3)), tmp_path / "old.tsv"
    old.write_text("mine")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dragoman.files.os.fsync", full)
    with pytest.raises(StorageError, match="cannot be written: No space left on device"):
        check_pairs([path], write=old, overwrite=True)
    assert old.read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.tsv", "old.tsv"]


def test_mostly_unusable_data_is_reported_and_empty_data_is_an_error(tmp_path):
    report = check_pairs([save(tmp_path / "a.tsv", [("a", "b"), ("c", ""), ("d", "")])])
    assert "only 1 of 3 rows is usable" in report.warning
    with pytest.raises(DataError, match="none of 1 row is usable"):
        check_pairs([save(tmp_path / "a.tsv", [("a", "")])])
    (tmp_path / "empty").touch()
    with pytest.raises(DataError, match="is empty"):
        check_pairs([tmp_path / "empty"])


def test_what_is_checked_against_must_be_readable(tmp_path, caplog):
    """Else its sources would be missed in silence."""
    file, test = save(tmp_path / "a.tsv", [("a", "b"), ("c", "d")]), tmp_path / "test.tsv"
    for content, message in (("", "test.tsv is empty"), ("a;b\nc;d\ne\tf\n", "test.tsv: only 1 of 3 rows is usable")):
        test.write_text(content)
        with pytest.raises(DataError, match=message):
            check_pairs([file], against=[test])
    assert caplog.messages == []
    test.write_text("a;b\nc\td\n")
    assert check_pairs([file], against=[test]).finding("leakage").lines == (2,)
    assert "1 unusable row: 1 too few columns (line 1); their sources are not looked for" in caplog.text


@pytest.mark.parametrize("shift", [1, -1, 2])
@pytest.mark.parametrize(("start", "stop"), [(400, 700), (0, 1200), (900, 1200)])
def test_a_slipped_stretch_is_found_where_it_is(shift, start, stop):
    pairs = made_up(1200, seed=shift + 5)
    sources, targets = [source for source, _ in pairs], [target for _, target in pairs]
    targets[start:stop] = np.roll(np.array(targets[start:stop], object), shift).tolist()
    (found,) = find_shifts(anchors_of(sources), anchors_of(targets))
    assert found.shift == shift
    assert abs(found.start - start) <= 4
    assert abs(found.stop - stop) <= 4


@pytest.mark.parametrize("kind", ["aligned", "unrelated", "sorted", "paradigms", "constant", "tiny"])
def test_rows_in_step_are_never_called_slipped(kind):
    for seed in range(5):
        draw = random.Random(seed)
        pairs = made_up(20 if kind == "tiny" else 2000, seed)
        if kind == "sorted":
            pairs.sort(key=lambda pair: len(pair[0]))
        if kind == "unrelated":
            targets = [target for _, target in pairs]
            draw.shuffle(targets)
            pairs = [(source, target) for (source, _), target in zip(pairs, targets, strict=True)]
        if kind == "paradigms":  # neighbours are alike, as in a table of inflected forms
            pairs = [
                (f"{stem} {form}", f"{stem}{form[::-1]}") for stem, _ in pairs[:300] for form in ("a", "bcd", "efghi")
            ]
        if kind == "constant":
            pairs = [("abc", "def")] * 500
        assert find_shifts(anchors_of([s for s, _ in pairs]), anchors_of([t for _, t in pairs])) == []


def test_shifted_lines_are_named(tmp_path):
    pairs = made_up(600)
    targets = [target for _, target in pairs]
    targets.insert(200, "one line too many, from here on nothing fits any more")
    path = save(tmp_path / "a.tsv", [(source, target) for (source, _), target in zip(pairs, targets, strict=False)])
    finding = check_pairs([path]).finding("shifted lines")
    assert 396 <= finding.count <= 404
    assert re.fullmatch(r"targets seem to have slipped: lines 20\d to (59[6-9]|600) by \+1", finding.note)


def test_a_dialogue_with_its_history_has_not_slipped(tmp_path):
    turns = [target for _, target in made_up(1200)]
    history = [(f"{turns[i - 1]} <eot> {turns[i]}", turns[i + 1]) for i in range(1, 1199)]
    assert find_shifts(anchors_of([s for s, _ in history]), anchors_of([t for _, t in history]))
    assert check_pairs([save(tmp_path / "turns.tsv", history)]).finding("shifted lines") is None
    slipped = save(tmp_path / "copies.tsv", list(pairwise(turns)))  # the target of the row before, and nothing more
    assert "by -1" in check_pairs([slipped]).finding("shifted lines").note


def test_odd_ratios_are_judged_by_the_data():
    source = np.full(1000, 40, np.int32)
    target = np.random.default_rng(0).integers(30, 60, 1000).astype(np.int32)
    assert not odd_ratios(source, target).any()
    target[5], target[6] = 400, 1
    assert np.flatnonzero(odd_ratios(source, target)).tolist() == [5, 6]
    wild = np.random.default_rng(0).integers(1, 400, 1000).astype(np.int32)  # questions and answers
    assert not odd_ratios(source, wild).any()


def test_scripts():
    texts = [
        "Hello",
        "Привет мир",
        "가나다",
        "これは漢字",
        "Hi 가나다 라",
        "12 !",
        "x",
        "",
        "cаt",
        "Mr. Иван",
        "𠀀𠀁 ok",
    ]
    script, mixed = scripts_of(texts)
    names = [SCRIPTS[number] for number in script]
    assert names[:5] == ["Latin", "Cyrillic", "Hangul", "Han or Kana", "Hangul"]
    assert names[5:8] == ["none"] * 3
    assert np.flatnonzero(mixed).tolist() == [8]
    rarer = scripts_of(["ମୁଁ ଭଲ ଅଛି", "ᱟᱢ ᱪᱮᱫ", "ⴰⵣⵓⵍ", "ދިވެހި", "ᠮᠣᠩᠭᠣᠯ", "ܫܠܡܐ", "ߒߞߏ", "ᏣᎳᎩ"])[0]
    assert [SCRIPTS[number] for number in rarer] == (
        ["Oriya", "Ol Chiki", "Tifinagh", "Thaana", "Mongolian", "Syriac", "N'Ko", "Cherokee"]
    )
    assert scripts_of(["가"])[0].tolist() == [0]  # one letter proves nothing

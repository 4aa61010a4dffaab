"""Every format of word vectors gives the same rows, and damage is named by its line."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.corpus.vectors import load_vectors, read_vector_words
from dragoman.errors import DataError, DragomanError

WORDS = {"the": [0.5, -1.25, 3.0], "of": [1e-3, 2.0, -2.5], "Paris": [4.0, 5.0, 6.5], "été": [0.25, 0.5, 0.75]}


def text_lines(end="\n"):
    return "".join(f"{word} {' '.join(map(str, values))}{end}" for word, values in WORDS.items())


def content(kind):
    header = f"{len(WORDS)} 3\n".encode()
    if kind == "word2vec":
        return header + text_lines().encode()
    if kind == "fasttext":
        return header + text_lines(" \n").encode()
    if kind == "glove":
        return text_lines("\r\n").encode()
    end = b"\n" if kind == "binary with line breaks" else b""
    return header + b"".join(word.encode() + b" " + struct.pack("<3f", *v) + end for word, v in WORDS.items())


KINDS = ["word2vec", "fasttext", "glove", "binary", "binary with line breaks"]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_rows(tmp_path, kind, zipped):
    path = tmp_path / "vectors"
    path.write_bytes(gzip.compress(content(kind)) if zipped else content(kind))
    vectors = load_vectors(path, {"of": 1, "été": 4, "missing": 2, "Paris": 0}.items())
    assert vectors.found.tolist() == [True, True, False, False, True]
    assert vectors.matrix.dtype == np.float32
    for row, word in ((0, "Paris"), (1, "of"), (4, "été")):
        assert vectors.matrix[row].tolist() == np.float32(WORDS[word]).tolist()
    assert not vectors.matrix[[2, 3]].any()
    assert (vectors.matrix.shape, vectors.covered, vectors.wanted) == ((5, 3), 3, 4)
    assert vectors.coverage == 0.75
    assert read_vector_words(path, limit=2).words == ("the", "of")
    assert read_vector_words(path, limit=0).width == 3
    assert len(read_vector_words(path, limit=99).words) == 4


def test_numbers_of_one_digit_are_no_binary_form(tmp_path):
    path = tmp_path / "v.vec"
    path.write_text("2 2\nhorizontal 1 0\nperpendicular 0 1\n")
    assert load_vectors(path, {"perpendicular": 0}.items()).matrix.tolist() == [[0, 1]]


@pytest.mark.parametrize("kind", ["word2vec", "glove"])
def test_a_byte_order_mark_is_dropped(tmp_path, kind):
    path = tmp_path / "vectors"
    path.write_bytes(b"\xef\xbb\xbf" + content(kind))
    assert load_vectors(path, {"the": 0}.items()).matrix.tolist() == [np.float32(WORDS["the"]).tolist()]


def test_lower_case_is_the_second_choice_whatever_the_order(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("the 1 1\nTHE 2 2\nThe 3 3\nthe 9 9\n")
    vectors = load_vectors(path, {"The": 0, "THE": 1, "tHE": 2, "the": 3}.items())
    assert vectors.matrix[:, 0].tolist() == [3, 2, 1, 1]


def test_where_texts_are_read_in_one_case_so_are_the_words(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("London 1 1\nThe 2 2\nthe 3 3\n")
    assert load_vectors(path, {"london": 0, "the": 1}.items(), case="lower").matrix[:, 0].tolist() == [1, 3]
    assert load_vectors(path, {"LONDON": 0, "THE": 1}.items(), case="upper").matrix[:, 0].tolist() == [1, 3]
    assert load_vectors(path, {"london": 0}.items()).covered == 0


def test_words_are_matched_composed_and_fill_every_row_that_wants_them(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("e\u0301te\u0301 1 2\nthe 3 4\n")
    vectors = load_vectors(path, [("été", 0), ("été", 1), ("the", 2)])
    assert vectors.matrix[:, 0].tolist() == [1, 1, 3]


def test_glove_words_may_hold_spaces_and_numbers(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("the 1 1\n. . . 2 2\n2008 3 3\nto name@domain.com 4 4\n\u00a0 5 5\n")
    words = read_vector_words(path, limit=9).words
    assert words == ("the", ". . .", "2008", "to name@domain.com", "\u00a0")
    assert load_vectors(path, {". . .": 0, "2008": 1}.items()).matrix[:, 0].tolist() == [2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 3\na 1 2 3\nb 1 2\n", r"v:3: 2 numbers, but vectors of this file have 3$"),
        ("2 3\na 1 2 3\nb 1 2 3 4\n", r"v:3: 4 numbers, but vectors of this file have 3$"),
        ("a 0.1 0.2\nb 0.1 0.2\nc 0.1 0.2 0.3\n", r"v:3: 3 numbers, but vectors of this file have 2$"),
        ("a 1 2\nb 1 x\n", r"v:2: 'x' is no number$"),
        ("a 1 2\nb 1 nan\n", r"v:2: a number that is not finite$"),
        ("a 1 2\nb 1 1e39\n", r"v:2: a number that is not finite$"),
        ("", "v is empty"),
        ("alone\nwords\n", "v:1: not a word and its numbers"),
        ("1 0\na\n", "v:1: vectors of 0 numbers"),
    ],
)
def test_damage_is_named_by_its_line(tmp_path, text, message):
    path = tmp_path / "v"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        load_vectors(path, {"a": 0, "b": 1, "c": 2}.items())


def test_damaged_binary_files(tmp_path):
    path = tmp_path / "v"
    path.write_bytes(content("binary")[:-5])
    with pytest.raises(DataError, match="entry 4 is cut short"):
        load_vectors(path, {"the": 0}.items())
    path.write_bytes(content("binary")[:-20] + b"\xff" * 20_000)
    with pytest.raises(DataError, match=r"entry [45]: no word where one should start"):
        load_vectors(path, {"the": 0}.items())
    path.write_bytes((793712314).to_bytes(4, "little") + b"rest")
    with pytest.raises(DataError, match=r"is a fastText model; give its \.vec file"):
        load_vectors(path, {"the": 0}.items())
    path.write_bytes(gzip.compress(content("glove"))[:-9])
    with pytest.raises(DataError, match="gzip data is damaged or cut short"):
        load_vectors(path, {"the": 0}.items())


@pytest.mark.parametrize("binary", [False, True])
def test_fewer_vectors_than_the_header_says_are_an_error(tmp_path, binary):
    row = b"cat " + (np.zeros(4, "<f4").tobytes() if binary else b"0.125 0.25 0.5 1.0") + b"\n"
    path = tmp_path / "v"
    path.write_bytes(b"3 4\n" + 2 * row)
    with pytest.raises(DataError, match="cut short: it has 2 vectors of the 3"):
        read_vector_words(path, limit=9)


def test_a_large_binary_file_is_streamed(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.standard_normal((5000, 50)).astype("<f4")
    path = tmp_path / "v.bin"
    path.write_bytes(b"5000 50\n" + b"".join(f"w{n} ".encode() + row.tobytes() for n, row in enumerate(values)))
    vectors = load_vectors(path, {"w4999": 0, "w17": 1}.items())
    assert np.array_equal(vectors.matrix, values[[4999, 17]])


def test_who_waits_is_told_how_far_it_is(tmp_path):
    path, told = tmp_path / "v.txt", []
    path.write_text("".join(f"w{n} 0.5 0.25\n" for n in range(25_000)))
    load_vectors(path, {"w17": 0}.items(), watch=told.append)
    assert told == [0, 10_000, 20_000]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    head=st.sampled_from([b"", b"2 3\n", b"0 0\n", b"a 1 2\n"]),
    rest=st.one_of(st.binary(max_size=200), st.text("a1. \n-e")),
)
def test_any_bytes_give_vectors_or_an_error_of_ours(tmp_path, head, rest):
    path = tmp_path / "v"
    path.write_bytes(head + (rest if isinstance(rest, bytes) else rest.encode()))
    try:
        assert load_vectors(path, {"a": 0, "1": 1}.items()).matrix.shape[0] == 2
    except DragomanError as error:
        assert "\n" not in str(error)  # noqa: PT017

"""What is written is what is read, damage is named, and memory stays small."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.tokenization import Tokenizer
from dragoman.corpus.tokenizer_learning import learn
from dragoman.errors import StorageError

CHARS = Tokenizer([learn(["abcd efgh"], method="char")])
WORDS = Tokenizer([learn(["ab cd ef gh"], method="word")])

OLDER = '{"dropped": 0, "empty": 0}'
"""What a version without checksums wrote, which counted pairs without tokens, too."""


def write(folder: Path, pairs: list[tuple[str, str]], *, longest: int = 1_000, per_batch: int = 2) -> EncodedPairs:
    batches = [pairs[i : i + per_batch] for i in range(0, len(pairs), per_batch)]
    columns = [([s for s, _ in batch], [t for _, t in batch]) for batch in batches]
    return EncodedPairs.write(folder, "train", columns, CHARS, WORDS, longest=longest)


def test_rows_come_back(tmp_path: Path) -> None:
    pairs = [("abc", "ab"), ("h", "gh ef cd"), ("a b", "ab ab"), ("cc", "cd"), ("b", "ef")]
    written = write(tmp_path, pairs)
    for encoded in (written, EncodedPairs.open(tmp_path, "train")):
        assert [CHARS.decode(encoded.source(i).tolist()) for i in range(len(encoded))] == [s for s, _ in pairs]
        assert [WORDS.decode(encoded.target(i).tolist()) for i in range(len(encoded))] == [t for _, t in pairs]
        assert encoded.source_lengths.tolist() == [3, 1, 3, 2, 1]
        assert encoded.target_lengths.tolist() == [1, 3, 2, 1, 1]
        assert [side.tolist() for side in encoded.lengths(np.array([2, 0, 2], np.int32))] == [[3, 3, 3], [2, 1, 2]]
        assert encoded.dropped == 0
        flat, lengths = encoded.sources(np.array([4, 0, 4]))
        assert CHARS.decode(flat.tolist()) == "babcb"
        assert lengths.tolist() == [1, 3, 1]
    with pytest.raises(IndexError):
        written.source(5)


def test_long_pairs_are_left_out_and_counted_and_empty_ones_are_left_out(tmp_path: Path) -> None:
    encoded = write(
        tmp_path, [("abcd", "ab"), ("abc", "ab cd ef"), ("a", "ab cd ef gh"), ("", "ab"), ("a", " ")], longest=3
    )
    assert (len(encoded), encoded.dropped) == (1, 2)
    assert EncodedPairs.open(tmp_path, "train").dropped == 2


def test_no_pairs_at_all_can_be_written_and_opened(tmp_path: Path) -> None:
    assert len(write(tmp_path, [])) == 0
    assert len(EncodedPairs.open(tmp_path, "train").source_lengths) == 0


def test_large_vocabularies_keep_their_ids(tmp_path: Path) -> None:
    syllables = [chr(code) for code in range(0x4E00, 0x4E00 + 20_000)] + [
        chr(c) for c in range(0x20000, 0x20000 + 50_000)
    ]
    many = Tokenizer([learn(["".join(syllables)] * 2, method="char", vocab_size=80_000)])
    assert many.vocab_size > 1 << 16
    encoded = EncodedPairs.write(tmp_path, "many", [([syllables[-1]], [syllables[0]])], many, many)
    assert many.decode(encoded.source(0).tolist()) == syllables[-1]


@pytest.mark.parametrize("victim", ["train.source.npy", "train.target.offsets.npy", "train.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_damage_is_named(tmp_path: Path, victim: str, damage: str) -> None:
    write(tmp_path, [("abc", "ab"), ("h", "gh ef cd")])
    path = tmp_path / victim
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -1 if damage == "cut" else 0])
    with pytest.raises(StorageError, match="the encoded pairs train are"):
        EncodedPairs.open(tmp_path, "train")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_changed_byte_of_the_ids_goes_unnoticed(tmp_path: Path, data: st.DataObject) -> None:
    write(tmp_path, [("abc", "ab"), ("h", "gh ef cd")])
    path = tmp_path / data.draw(st.sampled_from(FILES))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"the encoded pairs train are .*damaged"):
        EncodedPairs.open(tmp_path, "train")


def test_pairs_of_a_version_without_checksums_are_opened(tmp_path: Path) -> None:
    rows = write(tmp_path, [("abc", "ab"), ("h", "gh ef cd")])
    (tmp_path / "train.json").write_text(OLDER)
    assert EncodedPairs.open(tmp_path, "train").source(0).tolist() == rows.source(0).tolist()


FILES = [f"train.{side}{kind}.npy" for side in ("source", "target") for kind in ("", ".offsets")]


@pytest.mark.parametrize("others", [["train.source.npy", "train.source.offsets.npy"], *([file] for file in FILES)])
def test_files_of_different_data_do_not_belong_together(tmp_path: Path, others: list[str]) -> None:
    write(tmp_path / "two", [("abc", "ab"), ("h", "gh ef cd")])
    write(tmp_path / "one", [("abc", "ab")])
    for file in others:
        (tmp_path / "one" / file).replace(tmp_path / "two" / file)
    with pytest.raises(StorageError, match=r"train are missing or damaged: train.* has another checksum"):
        EncodedPairs.open(tmp_path / "two", "train")
    (tmp_path / "two" / "train.json").write_text(OLDER)
    with pytest.raises(StorageError, match="train are damaged: the files do not belong together"):
        EncodedPairs.open(tmp_path / "two", "train")


class Hostile:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return Path.touch, (Path("unpickled"),)


@pytest.mark.parametrize("file", FILES)
def test_files_that_are_no_rows_of_whole_numbers_are_refused_unread(
    tmp_path: Path, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    write(data, [("abc", "ab"), ("h", "gh ef cd")])
    for content in (np.load(data / file).astype(np.float32), np.load(data / file)[:, None], Hostile()):
        if isinstance(content, Hostile):
            (data / file).write_bytes(pickle.dumps(content))
        else:
            np.save(data / file, content)
        for _ in range(2):
            with pytest.raises(StorageError, match="the encoded pairs train are missing or damaged"):
                EncodedPairs.open(data, "train")
            (data / "train.json").write_text(OLDER)
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.parametrize("error", [RuntimeError, BrokenPipeError])  # the latter is not said to be one of writing
def test_an_error_on_the_way_leaves_nothing(tmp_path: Path, error: type[Exception]) -> None:
    def broken() -> Iterator[tuple[list[str], list[str]]]:
        yield ["a"], ["ab"]
        raise error("the reader failed")

    with pytest.raises(error, match="the reader failed"):
        EncodedPairs.write(tmp_path, "train", broken(), CHARS, WORDS)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path, [("abc", "ab"), ("h", "gh ef cd")])
    with pytest.raises(error, match="the reader failed"):
        EncodedPairs.write(tmp_path, "train", broken(), CHARS, WORDS)
    with pytest.raises(StorageError, match="the encoded pairs train are missing"):  # the old ones are not the new ones
        EncodedPairs.open(tmp_path, "train")


def test_a_folder_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        EncodedPairs.write(tmp_path / "file", "train", [], CHARS, WORDS)


def test_writing_needs_memory_for_one_batch_only(tmp_path: Path) -> None:
    def peak(batches: int) -> int:
        texts = (["abcdefgh" * 5] * 500, ["ab cd ef gh"] * 500)
        tracemalloc.start()
        EncodedPairs.write(tmp_path, "train", (texts for _ in range(batches)), CHARS, WORDS)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(1)
    assert peak(12) < 1.3 * peak(2)

"""The store gives back what was written, in any order, and holds little in memory while it does."""

import random
import tracemalloc

import numpy as np
import pyarrow as pa
import pytest

from dragoman.corpus import store as store_module
from dragoman.corpus.reading import Pair
from dragoman.corpus.store import BATCH_ROWS, PairStore, split_key
from dragoman.errors import StorageError


def some_pairs(count):
    return (Pair(f"source {n} é", f"target {n} 木", None, n + 1) for n in range(count))


@pytest.mark.parametrize("count", [0, 1, BATCH_ROWS, 2 * BATCH_ROWS + 5])
def test_what_is_written_comes_back(tmp_path, count):
    store = PairStore.write(tmp_path / "pairs.arrow", some_pairs(count))
    assert len(store) == count
    assert list(store.select()) == [(pair.source, pair.target) for pair in some_pairs(count)]
    assert store.keys().tolist() == [split_key(pair) for pair in some_pairs(count)]
    batches = list(PairStore.open(tmp_path / "pairs.arrow").select().iter_batches())
    assert sum(len(sources) for sources, _ in batches) == count
    assert all(len(sources) == BATCH_ROWS for sources, _ in batches[:-1])


def test_rows_are_taken_in_any_order_and_repeated(tmp_path):
    count = 2 * BATCH_ROWS + 5
    store = PairStore.write(tmp_path / "pairs.arrow", some_pairs(count))
    rows = [random.Random(1).randrange(count) for _ in range(500)] + [0, 0, count - 1]
    assert store.take(rows) == [(f"source {n} é", f"target {n} 木") for n in rows]
    view = store.select(rows)
    assert (len(view), list(view), view.take([5, 4])) == (len(rows), store.take(rows), store.take([rows[5], rows[4]]))
    assert np.array_equal(view.keys(), store.keys()[rows])
    for bad in ([count], [-1], [0, count]):
        with pytest.raises(IndexError):
            store.take(bad)


def test_keys_see_through_case_white_space_and_unicode_forms():
    def key(source, group=None):
        return split_key(Pair(source, "x", group, 1))

    assert key("Été à Paris") == key("E\u0301TE\u0301  a\u0300\u202fparis") == key("ÉTÉ\tÀ PARIS")
    assert key("straße") == key("STRASSE")
    assert key("\u0390") == key("\u0390".upper())  # folding takes it apart, composing puts it together again
    assert key("a") != key("b")
    assert key("a", "dialogue 1") == key("b", "Dialogue 1") != key("a", "dialogue 2")
    assert key("Go.") == 1990796752523390280  # the same on every machine and in every version


@pytest.mark.parametrize("error", [RuntimeError, OSError])  # the latter is not said to be one of writing
def test_a_failure_leaves_no_file(tmp_path, error):
    def broken():
        yield from some_pairs(3)
        raise error("the reader stopped")

    with pytest.raises(error, match="the reader stopped"):
        PairStore.write(tmp_path / "pairs.arrow", broken())
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_stores(tmp_path):
    with pytest.raises(StorageError, match=r"pairs\.arrow is not a readable file of pairs"):
        PairStore.open(tmp_path / "pairs.arrow")
    PairStore.write(tmp_path / "whole", some_pairs(100))
    (tmp_path / "cut").write_bytes((tmp_path / "whole").read_bytes()[:-30])
    with pytest.raises(StorageError, match="cut is not a readable file of pairs"):
        PairStore.open(tmp_path / "cut")
    table = pa.table({"a": [1]})
    with pa.OSFile(str(tmp_path / "other"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(StorageError, match="other holds no pairs of this version"):
        PairStore.open(tmp_path / "other")
    with pytest.raises(StorageError, match="cannot be written"):
        PairStore.write(tmp_path / "no folder" / "pairs", some_pairs(1))


def test_python_never_holds_all_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "BATCH_ROWS", 2000)

    def peak(count):
        tracemalloc.start()
        for sources, _ in PairStore.write(tmp_path / "pairs.arrow", some_pairs(count)).select().iter_batches():
            assert sources
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(10_000) < 1.3 * peak(4000)

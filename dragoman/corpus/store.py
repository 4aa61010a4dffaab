"""Pairs on disk as memory-mapped Arrow columns, so that a corpus may be larger than memory.

One streaming pass writes it, in batches of `BATCH_ROWS` rows; reading touches only the pages that are asked for. Knows
nothing of where the pairs came from, of splits or of tokens.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dragoman.corpus.cleaning import fold, hash64
from dragoman.corpus.reading import Pair
from dragoman.errors import StorageError
from dragoman.files import NO_SPACE, noted

BATCH_ROWS = 16_384
"""Rows in one Arrow batch of the file: what `take` of a single row has to look up."""

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("source", pa.string()),
    ("target", pa.string()),
    ("key", pa.uint64()),
]
_SCHEMA = pa.schema(_COLUMNS, metadata={"dragoman": "pairs 1"})

Indices = Sequence[int] | npt.NDArray[np.int64]


def split_key(pair: Pair) -> int:
    """The 64-bit key that decides where a pair goes when data is split: equal for equal groups, else equal sources."""
    return hash64(fold(pair.source if pair.group is None else pair.group))


class PairStore:
    """A file of pairs with the columns `source`, `target` and `key` (uint64); see `write` and `open`."""

    def __init__(self, reader: pa.ipc.RecordBatchFileReader, rows: int) -> None:
        self._reader = reader
        self._rows = rows

    @classmethod
    def write(cls, path: str | Path, pairs: Iterable[Pair]) -> PairStore:
        """Write `pairs` to `path` in one pass and open it; an error on the way, or one that `pairs` raises, leaves no file behind."""
        path, theirs = Path(path), list[OSError]()
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
                for batch in _batches(noted(pairs, theirs)):
                    writer.write_batch(batch)
            temporary.replace(path)
        except OSError as error:
            if error in theirs:
                raise
            raise StorageError(f"{path} cannot be written: {_cause(error)}") from None
        finally:
            temporary.unlink(missing_ok=True)
        return cls.open(path)

    @classmethod
    def open(cls, path: str | Path) -> PairStore:
        """Open a file that `write` made; its text stays on disk until it is asked for."""
        try:
            reader = pa.ipc.open_file(pa.memory_map(str(path)))
        except (OSError, pa.ArrowInvalid) as error:
            raise StorageError(f"{path} is not a readable file of pairs: {_cause(error)}") from None
        if reader.schema != _SCHEMA:
            raise StorageError(f"{path} holds no pairs of this version of dragoman; make it again")
        last = reader.get_batch(reader.num_record_batches - 1).num_rows if reader.num_record_batches else 0
        return cls(reader, max(0, reader.num_record_batches - 1) * BATCH_ROWS + last)

    def __len__(self) -> int:
        """Number of pairs."""
        return self._rows

    def keys(self) -> npt.NDArray[np.uint64]:
        """The key of every row, shape (rows,)."""
        keys = np.empty(self._rows, np.uint64)
        for number in range(self._reader.num_record_batches):
            some = self._reader.get_batch(number).column("key").to_numpy()
            keys[number * BATCH_ROWS : number * BATCH_ROWS + len(some)] = some
        return keys

    def take(self, indices: Indices) -> list[tuple[str, str]]:
        """(source, target) of the given rows, in the given order; rows may repeat."""
        wanted = np.asarray(indices, dtype=np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < self._rows):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {self._rows}")
        order = np.argsort(wanted, kind="stable")  # each batch of the file is looked up once
        numbers = wanted[order] // BATCH_ROWS
        found: list[tuple[str, str]] = [("", "")] * len(wanted)
        for number in np.unique(numbers):
            places = order[np.searchsorted(numbers, number) : np.searchsorted(numbers, number, side="right")]
            batch = self._reader.get_batch(int(number)).select(["source", "target"])
            rows = batch.take(pa.array(wanted[places] - number * BATCH_ROWS))
            columns: list[list[Any]] = [rows.column("source").to_pylist(), rows.column("target").to_pylist()]
            for place, source, target in zip(places.tolist(), *columns, strict=True):
                found[place] = (source, target)
        return found

    def select(self, indices: Indices | None = None) -> PairView:
        """The given rows (default: all) as a sequence of their own, without copying them."""
        return PairView(self, np.arange(self._rows) if indices is None else np.asarray(indices, dtype=np.int64))


class PairView:
    """Some rows of a `PairStore`, in an order of their own: a part of a split, or a sample."""

    def __init__(self, store: PairStore, indices: npt.NDArray[np.int64]) -> None:
        self.store = store
        self.indices = indices

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.indices)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Every (source, target) in order."""
        for sources, targets in self.iter_batches():
            yield from zip(sources, targets, strict=True)

    def iter_batches(self) -> Iterator[tuple[list[str], list[str]]]:
        """(sources, targets) of `BATCH_ROWS` rows at a time, in order; the last may be shorter."""
        for start in range(0, len(self.indices), BATCH_ROWS):
            pairs = self.store.take(self.indices[start : start + BATCH_ROWS])
            yield [source for source, _ in pairs], [target for _, target in pairs]

    def take(self, indices: Indices) -> list[tuple[str, str]]:
        """(source, target) of the given rows of this view."""
        return self.store.take(self.indices[np.asarray(indices, dtype=np.int64)])

    def keys(self) -> npt.NDArray[np.uint64]:
        """The key of every row, shape (rows,)."""
        return self.store.keys()[self.indices]


def _batches(pairs: Iterable[Pair]) -> Iterator[pa.RecordBatch]:
    """Arrow batches of `BATCH_ROWS` rows each but the last."""
    sources, targets, keys = [], [], []
    for pair in pairs:
        sources.append(pair.source)
        targets.append(pair.target)
        keys.append(split_key(pair))
        if len(sources) == BATCH_ROWS:
            yield _batch(sources, targets, keys)
            sources, targets, keys = [], [], []
    if sources:
        yield _batch(sources, targets, keys)


def _batch(sources: list[str], targets: list[str], keys: list[int]) -> pa.RecordBatch:
    columns = [pa.array(sources, pa.string()), pa.array(targets, pa.string()), np.asarray(keys, np.uint64)]
    return pa.record_batch(columns, schema=_SCHEMA)


def _cause(error: Exception) -> str:
    """The first line of what Arrow or the system says; a full disk in our words, as Arrow says it at length."""
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return "there is no space left on the disk"
    return getattr(error, "strerror", None) or (str(error).splitlines() or ["unknown"])[0]

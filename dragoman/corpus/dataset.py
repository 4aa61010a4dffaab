"""Encoded pairs on disk: ragged rows of ids, memory-mapped; knows no text after writing and no batches.

Each side is two `.npy` files, the ids of all rows in one flat array and where each row starts. They are written in one
streaming pass, so a corpus may be larger than memory, and only the pages that a batch touches are read back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from dragoman.corpus.tokenization import Tokenizer
from dragoman.errors import StorageError
from dragoman.files import checksum, noted, parse_json

Ids = NDArray[np.integer[Any]]
Lengths = NDArray[np.int32]

LONGEST = 1_000
"""Tokens of the longest source or target that is learned from."""
_SIDES = ("source", "target")


class EncodedPairs:
    """Rows of source and target ids, without `<s>` and `</s>`; made by `write`, read again by `open`."""

    def __init__(self, ids: tuple[Ids, Ids], offsets: tuple[Ids, Ids], *, dropped: int = 0) -> None:
        """`ids[side]` has all rows of a side, of which row i is `offsets[side][i]` to `offsets[side][i + 1]`."""
        self._ids = ids
        self._offsets = offsets
        self.dropped = dropped
        """Pairs left out because a side had more tokens than asked for."""

    @classmethod
    def write(
        cls,
        folder: str | Path,
        name: str,
        batches: Iterable[tuple[Sequence[str], Sequence[str]]],
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        *,
        longest: int = LONGEST,
    ) -> EncodedPairs:
        """Encode batches of (sources, targets) into files `name.*` in `folder`, and open them.

        Pairs with a side of more than `longest` tokens are left out and counted, those with one of none are left out. An error on
        the way leaves nothing that `open` takes for whole; a full disk is a `StorageError`.
        """
        folder, dropped, theirs = Path(folder), 0, list[OSError]()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.json").unlink(missing_ok=True)
            with (
                _RaggedFile(folder, f"{name}.source", source_tokenizer.vocab_size) as source_file,
                _RaggedFile(folder, f"{name}.target", target_tokenizer.vocab_size) as target_file,
            ):
                for sources, targets in noted(batches, theirs):
                    rows = zip(
                        source_tokenizer.encode_batch(sources), target_tokenizer.encode_batch(targets), strict=True
                    )
                    filled = [(s, t) for s, t in rows if s and t]
                    kept = [(s, t) for s, t in filled if max(len(s), len(t)) <= longest]
                    dropped += len(filled) - len(kept)
                    source_file.append([s for s, _ in kept])
                    target_file.append([t for _, t in kept])
            sums = {file: checksum(folder / file) for file in _names(name)}
            temporary = folder / f"{name}.json.tmp"
            temporary.write_text(json.dumps({"dropped": dropped, "checksums": sums}), encoding="utf-8")
            temporary.replace(folder / f"{name}.json")  # last: its presence says that the rest is whole
        except OSError as error:
            if error in theirs:
                raise
            raise StorageError(f"{folder}: the encoded pairs cannot be written: {error.strerror or error}") from None
        return cls.open(folder, name)

    @classmethod
    def open(cls, folder: str | Path, name: str) -> EncodedPairs:
        """Open what `write` made; raises `StorageError` if it is missing or damaged."""
        folder = Path(folder)
        try:
            counts = parse_json((folder / f"{name}.json").read_text(encoding="utf-8"))
            for file, known in dict(counts.get("checksums", {})).items():  # other ids would be learned from in silence
                if checksum(folder / file) != known:
                    raise ValueError(f"{file} has another checksum")
            ids, offsets = ([_map(folder / file) for file in files] for files in (_names(name)[:2], _names(name)[2:]))
            dropped = int(counts["dropped"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
            raise StorageError(f"{folder}: the encoded pairs {name} are missing or damaged: {reason}") from None
        whole = all(len(start) and start[-1] == len(flat) for start, flat in zip(offsets, ids, strict=True))
        if not whole or len(offsets[0]) != len(offsets[1]):
            raise StorageError(f"{folder}: the encoded pairs {name} are damaged: the files do not belong together")
        return cls((ids[0], ids[1]), (offsets[0], offsets[1]), dropped=dropped)

    @classmethod
    def of(cls, rows: Iterable[tuple[Sequence[int], Sequence[int]]]) -> EncodedPairs:
        """Rows of (source ids, target ids) in memory."""
        pairs = list(rows)
        ids, offsets = [], []
        for side in range(2):
            offsets.append(np.cumsum([0, *(len(pair[side]) for pair in pairs)]))
            ids.append(np.array([i for pair in pairs for i in pair[side]], dtype=np.int32))
        return cls((ids[0], ids[1]), (offsets[0], offsets[1]))

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._offsets[0]) - 1

    def source(self, index: int) -> Ids:
        """Source ids of one pair."""
        return self._row(0, index)

    def target(self, index: int) -> Ids:
        """Target ids of one pair, without `<s>` and `</s>`."""
        return self._row(1, index)

    @property
    def source_lengths(self) -> Lengths:
        """(pairs,): tokens of each source; found anew each time, so that nothing grows with the corpus for good."""
        return self._all_lengths(0)

    @property
    def target_lengths(self) -> Lengths:
        """(pairs,): tokens of each target, without `<s>` and `</s>`; found anew each time."""
        return self._all_lengths(1)

    def lengths(self, indices: Ids) -> tuple[Lengths, Lengths]:
        """(indices,) each: tokens of the sources and of the targets of some pairs."""
        source, target = (start[indices + 1] - start[indices] for start in self._offsets)
        return source.astype(np.int32), target.astype(np.int32)

    def sources(self, indices: Ids) -> tuple[Ids, NDArray[np.int64]]:
        """The source ids of several pairs, one after the other, and their lengths."""
        return self._rows(0, indices)

    def targets(self, indices: Ids) -> tuple[Ids, NDArray[np.int64]]:
        """The target ids of several pairs, one after the other, and their lengths."""
        return self._rows(1, indices)

    def indices(self) -> Ids:
        """The index of each pair."""
        return np.arange(len(self), dtype=index_type(len(self)))

    def _row(self, side: int, index: int) -> Ids:
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        start, end = self._offsets[side][index : index + 2]
        return np.asarray(self._ids[side][start:end])

    def _all_lengths(self, side: int) -> Lengths:
        start = self._offsets[side]  # where rows are far into the file both ends lose the same high bits
        return np.subtract(start[1:], start[:-1], dtype=np.int32, casting="unsafe")

    def _rows(self, side: int, indices: Ids) -> tuple[Ids, NDArray[np.int64]]:
        starts = np.asarray(self._offsets[side][indices], dtype=np.int64)
        lengths = np.asarray(self._offsets[side][indices + 1], dtype=np.int64) - starts
        ends = np.cumsum(lengths)
        # position in the result -> position in the flat array
        where = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - (ends - lengths), lengths)
        return np.asarray(self._ids[side][where]), lengths


def index_type(count: int) -> type[np.int32 | np.int64]:
    """The smaller type that can count so many pairs."""
    return np.int32 if count < 2**31 else np.int64


class _RaggedFile:
    """Two `.npy` files that grow row by row; they get their names only when all is written."""

    def __init__(self, folder: Path, stem: str, vocab_size: int) -> None:
        self._paths = (folder / f"{stem}.npy", folder / f"{stem}.offsets.npy")
        self._dtypes = (np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.int32), np.dtype(np.int64))
        self._sizes = [0, 0]
        self._files: list[BinaryIO] = []

    def __enter__(self) -> _RaggedFile:
        for path, dtype in zip(self._paths, self._dtypes, strict=True):
            file = self._temporary(path).open("wb")
            self._files.append(file)
            _write_header(file, 0, dtype)
        self._write(1, np.zeros(1, np.int64))
        return self

    def append(self, rows: list[list[int]]) -> None:
        """Add rows of ids."""
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        self._write(1, self._sizes[0] + np.cumsum(lengths))
        flat = np.fromiter((i for row in rows for i in row), dtype=self._dtypes[0], count=int(lengths.sum()))
        self._write(0, flat)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for file, size, dtype in zip(self._files, self._sizes, self._dtypes, strict=True):
                if kind is None:
                    file.seek(0)
                    _write_header(file, size, dtype)
                file.close()
            if kind is None:
                for path in self._paths:
                    self._temporary(path).replace(path)
        finally:
            for path in self._paths:
                self._temporary(path).unlink(missing_ok=True)

    def _write(self, which: int, values: NDArray[Any]) -> None:
        self._files[which].write(np.ascontiguousarray(values, dtype=self._dtypes[which]).data)
        self._sizes[which] += len(values)

    @staticmethod
    def _temporary(path: Path) -> Path:
        return path.with_name(f"{path.name}.{os.getpid()}.tmp")


def _write_header(file: BinaryIO, size: int, dtype: np.dtype[Any]) -> None:
    """NumPy leaves room in the header for the first axis to grow, so the same bytes can be written again."""
    before = file.tell()
    npy.write_array_header_1_0(file, {"shape": (size,), "fortran_order": False, "descr": npy.dtype_to_descr(dtype)})
    assert (file.tell() - before) % 64 == 0


def _names(name: str) -> list[str]:
    """The files of ids, source and target, and the files of where their rows start."""
    return [f"{name}.{side}{kind}.npy" for kind in ("", ".offsets") for side in _SIDES]


def _map(path: Path) -> Ids:
    array: Ids = npy.open_memmap(path, mode="r")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{path.name} is not a flat array of whole numbers")
    return array

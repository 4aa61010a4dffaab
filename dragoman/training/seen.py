"""Which sources and words a model was trained on; knows the training data in its directory, if it is there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.tokenization import Tokenizer
from dragoman.evaluation.metrics import Writing, tokens_of
from dragoman.storage import ModelDirectory

_AT_ONCE = 10_000
"""Training pairs that are compared at a time."""


def seen_in_training(directory: ModelDirectory, source_ids: Sequence[Sequence[int]]) -> list[bool] | None:
    """For each source whether the model was trained on the same ids; None if its training data is not there any more."""
    train = _train(directory)
    if train is None:
        return None
    kind = train.source(0).dtype
    wanted = [np.array(ids, kind).tobytes() for ids in source_ids]
    found, missing = set(), set(wanted)
    lengths = train.source_lengths
    for length in {len(ids) for ids in source_ids} - {0}:
        rows = np.flatnonzero(lengths == length)
        for start in range(0, len(rows), _AT_ONCE):
            ids, _ = train.sources(rows[start : start + _AT_ONCE])  # (rows·length,)
            found.update(missing.intersection(ids.view(np.dtype((np.void, length * kind.itemsize))).tolist()))
    return [key in found for key in wanted]


def words_in_training(
    directory: ModelDirectory,
    tokenizer: Tokenizer,
    *,
    writing: Writing,
    listener: Callable[[int], None] = lambda _: None,
) -> Counter[str] | None:
    """How often each word stands in the targets that the model was trained on; None if they are not there any more.

    `listener` is told how many more targets are counted.
    """
    train = _train(directory)
    if train is None:
        return None
    words: Counter[str] = Counter()
    for row in range(len(train)):
        words.update(tokens_of(tokenizer.decode(train.target(row).tolist()), writing))
        listener(1)
    return words


def _train(directory: ModelDirectory) -> EncodedPairs | None:
    folder = directory.training / "data"
    return EncodedPairs.open(folder, "train") if (folder / "train.json").exists() else None

"""Which sources a model was trained on, as it saw them: as ids; knows the training data in its directory, if it is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragoman.corpus.dataset import EncodedPairs
from dragoman.storage import ModelDirectory

_AT_ONCE = 10_000
"""Training pairs that are compared at a time."""


def seen_in_training(directory: ModelDirectory, source_ids: Sequence[Sequence[int]]) -> list[bool] | None:
    """For each source whether the model was trained on the same ids; None if its training data is not there any more."""
    folder = directory.training / "data"
    if not (folder / "train.json").exists():
        return None
    train = EncodedPairs.open(folder, "train")
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

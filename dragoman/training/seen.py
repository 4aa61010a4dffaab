"""Which sources a model was trained on, as it saw them: as ids; knows the training data in its directory, if it is there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragoman.corpus.dataset import EncodedPairs
from dragoman.storage import ModelDirectory


def seen_in_training(directory: ModelDirectory, source_ids: Sequence[Sequence[int]]) -> list[bool] | None:
    """For each source whether the model was trained on the same ids; None if its training data is not there any more."""
    folder = directory.training / "data"
    if not (folder / "train.json").exists():
        return None
    train = EncodedPairs.open(folder, "train")
    kind = train.source(0).dtype
    wanted = [np.array(ids, kind).tobytes() for ids in source_ids]
    found, missing = set(), set(wanted)
    for index in np.flatnonzero(np.isin(train.source_lengths, [len(ids) for ids in source_ids])):
        row = train.source(int(index)).tobytes()
        if row in missing:
            found.add(row)
    return [key in found for key in wanted]

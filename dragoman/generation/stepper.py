"""What search sees of a model: three operations over rows; knows no torch, no ONNX and no text.

A *row* is one unfinished output. `batch * beam` rows exist only inside this room: a Stepper sees rows, and never
knows which of them compete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

PAD, UNK, BOS, EOS = range(4)
"""Ids of `<pad>`, `<unk>`, `<s>` (sos) and `</s>` (eos) in every vocabulary."""

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
State = Any
"""Whatever a back end needs to go on; opaque to search."""

SORT_LIMIT = 512
"""Rows of more values than this are cut by selection before they are sorted."""


@dataclass(frozen=True)
class Step:
    """What one step of the model gives for every row."""

    ids: Ints
    """(rows, k): candidate next ids, best first; with `top_k=None` all ids in order, 0 to vocab - 1."""
    log_probs: Floats
    """(rows, k): their log-probabilities, normalised over the whole vocabulary, before `allowed` and `bias`."""
    attention: Floats | None
    """(rows, source_length): the weights over the source tokens in this step, or None without attention."""
    state: State
    """The state after this step; row i continues row i."""


class Stepper(Protocol):
    """A model that can be run one output token at a time."""

    @property
    def vocab_size(self) -> int:
        """Size of the target vocabulary."""
        ...

    def start(self, source_ids: list[list[int]]) -> State:
        """Encode sources (ids without PAD) and return the state before the first step, one row per source."""
        ...

    def step(
        self,
        state: State,
        last_ids: Ints,
        *,
        top_k: int | None,
        allowed: Bools | None = None,
        bias: Floats | None = None,
    ) -> Step:
        """Feed each row's last id, `(rows,)`, and return its `top_k` best next ids.

        `allowed`, `(rows, vocab)`, is False where an id may not be chosen; such ids rank last and have log-probability
        -inf if they are returned at all. `bias`, `(rows, vocab)`, is added for the ranking only. With fewer than
        `top_k` ids in the vocabulary, k is the vocabulary's size.
        """
        ...

    def select(self, state: State, rows: Ints) -> State:
        """The state whose row i is the old row `rows[i]`: reorders, repeats or drops rows."""
        ...


def ranked(
    log_probs: Floats, *, top_k: int | None, allowed: Bools | None = None, bias: Floats | None = None
) -> tuple[Ints, Floats]:
    """The `ids` and `log_probs` of a `Step` from `(rows, vocab)` log-probabilities, for Steppers that have them as arrays.

    Equals come in the order of their ids.
    """
    rows, vocab = log_probs.shape
    if allowed is not None:
        log_probs = np.where(allowed, log_probs, -np.inf)
    if top_k is None:
        return np.broadcast_to(np.arange(vocab), (rows, vocab)), log_probs
    ids = best(log_probs if bias is None else log_probs + bias, top_k)
    return ids, np.take_along_axis(log_probs, ids, axis=1)


def best(values: Floats, n: int) -> Ints:
    """Positions of the n best of each row, best first, ties to the lower position: `(rows, width)` -> (rows, n)."""
    width = values.shape[1]
    n = min(n, width)
    if width <= SORT_LIMIT:
        order: Ints = (-values).argsort(axis=1, kind="stable")[:, :n]
        return order
    values = np.fmax(values, -np.inf)  # NaN would count as the highest
    cutoffs = np.partition(values, width - n, axis=1)[:, width - n]
    order = np.empty((len(values), n), np.int64)
    for row, (line, cutoff) in enumerate(zip(values, cutoffs, strict=True)):
        places = np.flatnonzero(line >= cutoff)
        order[row] = places[(-line[places]).argsort(kind="stable")[:n]]
    return order

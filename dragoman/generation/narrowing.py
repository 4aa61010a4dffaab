"""Which few ids suffice to find a row's best under rules, so that a whole vocabulary need not be sorted; knows no model.

Rules say of every id whether it may come next (`allowed`) and what its rank gains or loses (`bias`), but nearly always either
touch few ids (`</s>` before the minimum length, repeated n-grams, required words) or leave few (a list of allowed outputs, a
forced prefix). If they touch at most n ids of a row, its k best are among the model's own k + n best and the ids that gain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragoman.generation.stepper import Bools, Floats, Ints

FEW = 256
"""Up to so many candidates of a row; beyond them sorting the whole vocabulary is as cheap."""


@dataclass(frozen=True)
class Narrowed:
    """The candidates that hold the best of every row."""

    top_k: int
    """How many of the model's own best; 0 for none."""
    named: Ints
    """(rows, n): ids that are candidates whatever the model thinks of them, -1 where a row has fewer."""


def narrow(allowed: Bools | None, bias: Floats | None, *, top_k: int) -> Narrowed | None:
    """What suffices for the `top_k` best ids under rules, both (rows, vocab) if given; None if that is not few."""
    touched, named = 0, np.zeros((0, 0), np.int64)
    if allowed is not None:
        counts = [np.count_nonzero(row) for row in allowed]
        if max(counts) <= FEW:
            return Narrowed(0, _aligned(*_places(allowed), rows=len(allowed)))
        touched, named = allowed.shape[1] - min(counts), np.zeros((len(allowed), 0), np.int64)
    if bias is not None:
        rows, ids = _places(bias != 0)
        touched += int(np.bincount(rows, minlength=1).max())
        gains = bias[rows, ids] > 0
        named = _aligned(rows[gains], ids[gains], rows=len(bias))
    return Narrowed(top_k + touched, named) if top_k + touched + named.shape[1] <= FEW else None


def _places(table: Bools) -> tuple[Ints, Ints]:
    """Rows and columns of what is true: `table.nonzero()`, which takes ten times as long for a few of many columns."""
    rows, columns = np.divmod(np.flatnonzero(table), table.shape[1])
    return rows, columns


def _aligned(rows_of: Ints, ids: Ints, *, rows: int) -> Ints:
    """Ids by row, `rows_of` ascending, as an array with -1 after the end of shorter rows."""
    counts = np.bincount(rows_of, minlength=rows)
    aligned = np.full((rows, int(counts.max(initial=0))), -1, np.int64)
    aligned[np.arange(aligned.shape[1]) < counts[:, None]] = ids
    return aligned


def best_of(
    narrowed: Narrowed,
    ids: Ints,
    log_probs: Floats,
    whole: Floats | None,
    *,
    top_k: int,
    allowed: Bools | None,
    bias: Floats | None,
) -> tuple[Ints, Floats]:
    """What `ranked` would make of the whole distribution, from the candidates alone.

    `ids` and `log_probs`, (rows, narrowed.top_k), are the model's best; `whole`, (rows, vocab), is only looked up for the
    named ids. Where a row has fewer than `top_k` allowed ids, the rest is any ids, with log-probability -inf.
    """
    rows = np.arange(len(ids))[:, None]
    if whole is not None:
        named = narrowed.named
        if bias is not None and ids.shape[1]:
            log_probs = np.where(bias[rows, ids] > 0, -np.inf, log_probs)  # these are named, too
        looked_up = np.where(named < 0, -np.inf, whole[rows, named])
        ids = np.concatenate([ids, np.maximum(named, 0)], axis=1)
        log_probs = np.concatenate([log_probs, looked_up], axis=1, dtype=whole.dtype)
    if missing := max(0, top_k - ids.shape[1]):
        ids = np.pad(ids, ((0, 0), (0, missing)))
        log_probs = np.pad(log_probs, ((0, 0), (0, missing)), constant_values=-np.inf)
    if allowed is not None:
        log_probs = np.where(allowed[rows, ids], log_probs, -np.inf)
    by_id = ids.argsort(axis=1, kind="stable")  # equals come in the order of their ids
    ids, log_probs = ids[rows, by_id], log_probs[rows, by_id]
    ranks = -log_probs if bias is None else -(log_probs + bias[rows, ids])
    order = ranks.argsort(axis=1, kind="stable")[:, :top_k]
    return ids[rows, order], log_probs[rows, order]

"""The teacher-forcing gap: a model fed the truth against the same model fed its own output; knows ids, not models.

In training every step reads the reference's words; in use it reads its own, mistakes included ("exposure bias",
Ranzato et al. 2016). Until the first error both are the same computation, so the gap opens after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.config import whole
from dragoman.errors import OptionError

Floats = NDArray[np.float64]
Ids = Sequence[int]

RUN = 2
"""Words in a row that are the reference's where an output has come back to it."""
MAX_SHIFT = 3
"""Positions that they may be away from where the reference has them."""
_MOST = 10_000
"""Words that are followed, at most."""


@dataclass(frozen=True, eq=False)
class Gap:
    """One model's outputs for a test set, teacher-forced and free-running."""

    sentences: int
    """Number of items."""
    counts: NDArray[np.int64]
    """(positions,): items whose reference reaches this position."""
    forced_accuracy: Floats
    """(positions,): share of these with the right word there, when fed the reference."""
    free_accuracy: Floats
    """(positions,): the same when fed its own words; an output that has ended is wrong."""
    forced_total: float
    """Share of all reference words that are predicted when fed the reference."""
    free_total: float
    """The same when fed its own words."""
    flawless: float
    """Share of the items without any error; the same both ways."""
    first_error: Floats
    """(positions,): of the items right so far, the share whose first error is here."""
    after_error_counts: NDArray[np.int64]
    """(horizon,): items whose reference has a k-th word after the position of the first error."""
    forced_after_error: Floats
    """(horizon,): share of these with the right word there, when fed the reference; NaN where there is none."""
    free_after_error: Floats
    """(horizon,): the same when fed its own words."""
    recoverable: int
    """Items whose first error leaves enough words of the reference to come back to."""
    recovered: float | None
    """Share of these that come back (see `recovery_delay`); None if there are none."""
    delays: tuple[int, ...]
    """For each item that comes back, the words from the first error to the first word of the run."""

    @property
    def gap(self) -> float:
        """Accuracy lost by feeding on its own words."""
        return self.forced_total - self.free_total

    @property
    def median_delay(self) -> float | None:
        """Median of `delays`; None if nothing recovered."""
        return float(np.median(self.delays)) if self.delays else None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a share of nothing is None."""
        result: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                result[name] = [None if np.isnan(v) else v for v in value.tolist()]
            else:
                result[name] = list(value) if isinstance(value, tuple) else value
        return result | {"gap": self.gap, "median_delay": self.median_delay}


def measure_gap(
    references: Sequence[Ids],
    forced: Sequence[Ids],
    free: Sequence[Ids],
    *,
    horizon: int = 10,
) -> Gap:
    """Compare predictions with references, all as ids with the end token; `forced[i]` is as long as `references[i]`.

    `forced[i][t]` is the best word after the true words 0 to t-1, `free[i]` the greedy output. `horizon` is how many words
    after the first error are followed.
    """
    _check(references, forced, free, horizon)
    references, free = list(references), list(free)  # a column of a table has its own names for places
    longest = max(map(len, references))
    forced_right = _right(references, forced, longest)
    free_right = _right(references, free, longest)
    exists = np.arange(longest) < np.array([len(ids) for ids in references])[:, None]
    counts = exists.sum(axis=0)
    errors = [first_error(reference, output) for reference, output in zip(references, free, strict=True)]
    delays = [
        recovery_delay(references[i], free[i], first=position)
        for i, position in enumerate(errors)
        if position is not None and position + 1 + RUN < len(references[i])
    ]
    back = tuple(delay for delay in delays if delay is not None)
    after, forced_after, free_after = _after_error(forced_right, free_right, exists, errors, horizon)
    reached = (
        np.minimum.accumulate(np.hstack([np.ones((len(references), 1), bool), free_right[:, :-1]]), axis=1) & exists
    )
    return Gap(
        sentences=len(references),
        counts=counts,
        forced_accuracy=forced_right.sum(axis=0) / counts,
        free_accuracy=free_right.sum(axis=0) / counts,
        forced_total=float(forced_right.sum() / exists.sum()),
        free_total=float(free_right.sum() / exists.sum()),
        flawless=errors.count(None) / len(references),
        first_error=_share((reached & ~free_right).sum(axis=0), reached.sum(axis=0)),
        after_error_counts=after,
        forced_after_error=_share(forced_after, after),
        free_after_error=_share(free_after, after),
        recoverable=len(delays),
        recovered=len(back) / len(delays) if delays else None,
        delays=back,
    )


def first_error(reference: Ids, output: Ids) -> int | None:
    """The first position where `output` is not `reference`, or None if they are the same; both with the end token."""
    for position, (right, chosen) in enumerate(zip(reference, output, strict=False)):
        if right != chosen:
            return position
    return None if len(reference) == len(output) else min(len(reference), len(output))


def recovery_delay(reference: Ids, output: Ids, *, first: int) -> int | None:
    """Words from the first error to where `output` is back on the reference's track, or None if it never is.

    Back on track: `RUN` words in a row are the reference's, at most `MAX_SHIFT` positions away, neither before the
    error. The earliest such place counts. The end token is no word: nearly every output ends as it should.
    """
    true, mine = list(reference[:-1]), list(output[:-1] if output[-1:] == reference[-1:] else output)
    for start in range(first, len(mine) - RUN + 1):
        for other in range(max(first, start - MAX_SHIFT), min(len(true) - RUN, start + MAX_SHIFT) + 1):
            if mine[start : start + RUN] == true[other : other + RUN]:
                return start - first
    return None


def _right(references: Sequence[Ids], outputs: Sequence[Ids], longest: int) -> NDArray[np.bool_]:
    """(items, positions): whether the output has the reference's word there."""
    right = np.zeros((len(references), longest), dtype=bool)
    for row, (reference, output) in enumerate(zip(references, outputs, strict=True)):
        shared = min(len(reference), len(output))
        right[row, :shared] = np.asarray(reference[:shared]) == np.asarray(output[:shared])
    return right


def _after_error(
    forced: NDArray[np.bool_],
    free: NDArray[np.bool_],
    exists: NDArray[np.bool_],
    errors: Sequence[int | None],
    horizon: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(horizon,) each: items with a k-th word after the first error, and how many are right there, both ways."""
    sums = np.zeros((3, horizon), dtype=np.int64)
    for row, error in enumerate(errors):
        if error is None:
            continue
        for slot, table in enumerate((exists, forced, free)):
            after = table[row, error + 1 : error + 1 + horizon]
            sums[slot, : len(after)] += after
    return sums[0], sums[1], sums[2]


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


def _check(references: Sequence[Ids], forced: Sequence[Ids], free: Sequence[Ids], horizon: int) -> None:
    if not references:
        raise OptionError("`references` must not be empty: there is nothing to compare")
    if not len(references) == len(forced) == len(free):
        raise OptionError(
            f"`references`, `forced` and `free` must be equally many, but are {len(references)}, {len(forced)} and {len(free)}"
        )
    for number, (reference, predicted) in enumerate(zip(references, forced, strict=True), 1):
        if not reference or len(reference) != len(predicted):
            raise OptionError(
                f"`forced` must predict every word of a reference that has one, but entry {number} has {len(predicted)} of {len(reference)}"
            )
    if whole("horizon", horizon) > _MOST:
        raise OptionError(f"`horizon` must be at most {_MOST}, but is {horizon}")

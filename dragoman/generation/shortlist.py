"""Which target ids an output may be made of, by the ids of its source; knows no model and no text.

A *candidate* of a source is a translation of one of its tokens, a frequent id, or a special one. Each source has its own, so
that what it gives never depends on what else is in the batch; a batch has the *union* of its sources' candidates besides, which is
what a model computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from dragoman.config import SearchOptions
from dragoman.generation.constraints import Constraints
from dragoman.generation.stepper import BOS, EOS, PAD, UNK, Bools, Ints, Stepper

SPECIAL = (PAD, UNK, BOS, EOS)


@dataclass(frozen=True)
class Shortlist:
    """Candidates for every source id."""

    offsets: NDArray[Any]
    """(source vocabulary + 1,): where the candidates of each source id begin in `ids`."""
    ids: NDArray[Any]
    """(entries,): target ids."""
    frequent: NDArray[Any]
    """(frequent,): target ids that are candidates of every source."""
    vocab_size: int
    """Size of the target vocabulary."""

    def candidates(self, source_ids: Sequence[Sequence[int]], *, also: Sequence[Ints] | None = None) -> Candidates:
        """The candidates of every source of a batch; `also` are more of them for each source."""
        mine = np.tile(self._of_all, (len(source_ids), 1))
        tokens = np.concatenate([np.array(ids, np.int64) for ids in source_ids])
        starts = self.offsets[tokens]
        counts = self.offsets[tokens + 1] - starts
        ends = np.cumsum(counts)
        entries = np.arange(ends[-1]) + np.repeat(starts - (ends - counts), counts)
        row_of_token = np.repeat(np.arange(len(source_ids)), [len(ids) for ids in source_ids])
        mine[np.repeat(row_of_token, counts), self.ids[entries]] = True
        for row, ids in enumerate(also or ()):
            mine[row, ids] = True
        return _laid_out(mine)

    @cached_property
    def _of_all(self) -> Bools:
        """(vocab,): what is a candidate of every source."""
        found = np.zeros(self.vocab_size, np.bool_)
        found[self.frequent] = True
        found[list(SPECIAL)] = True
        return found


@dataclass(frozen=True)
class Candidates:
    """The candidates of a batch of sources."""

    union: Ints
    """(union,): ids that are a candidate of some source, rising; the special ones come first."""
    places: NDArray[np.int32]
    """(sources, most): the places in `union` of each source's own candidates, rising; -1 after their end."""

    def place_of(self, ids: Ints) -> Ints:
        """For ids of each source, (sources, n), that are candidates of it, their places among its own, (sources, n)."""
        own = np.where(self.places < 0, np.iinfo(np.int64).max, self.union[self.places])
        return np.stack([np.searchsorted(row, some) for row, some in zip(own, ids, strict=True)])


def _laid_out(mine: Bools) -> Candidates:
    """Candidates from a table of who has which, (sources, vocab)."""
    if len(mine) == 1:
        union = np.flatnonzero(mine)
        return Candidates(union, np.arange(len(union), dtype=np.int32)[None])
    some = mine.any(axis=0)
    place_of_id = np.cumsum(some, dtype=np.int32) - 1
    rows, ids = np.divmod(np.flatnonzero(mine), mine.shape[1])
    counts = np.bincount(rows)
    places = np.full((len(mine), int(counts.max())), -1, np.int32)
    places[rows, np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]] = place_of_id[ids]
    return Candidates(np.flatnonzero(some), places)


def needed(constraints: Constraints | None) -> Ints:
    """Ids that must be candidates so that phrases and choices can be met; a pattern, which may need any id, gives none."""
    if constraints is None:
        return np.zeros(0, np.int64)
    phrases = (constraints.prefix, *constraints.require, *constraints.choices)
    return np.array(sorted({token for phrase in phrases for token in phrase}), np.int64)


class _Restricted(Stepper, Protocol):
    def with_candidates(self, ids: Ints) -> Stepper: ...


def restrict(
    stepper: Stepper, options: SearchOptions, constraints: Constraints | None
) -> tuple[Stepper, SearchOptions]:
    """What is searched with, and how: with a shortlist, whatever `constraints` need is a candidate too.

    `stepper` has the shortlist already if `options` ask for one.
    """
    if not options.shortlist:
        return stepper, options
    wider = cast("_Restricted", stepper).with_candidates(needed(constraints))
    return wider, options.model_copy(update={"shortlist": False})

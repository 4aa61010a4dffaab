"""Constraints while a search runs: which ids each row may choose next; knows the rows' ids so far, but no scores.

`Rules` are immutable and travel with the rows: `allowed` says what may come next, `move` follows a choice. Lookup tables are
made once per search, for every distinct set of constraints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dragoman.generation.automaton import START
from dragoman.generation.constraints import Constraints, fallbacks
from dragoman.generation.stepper import BOS, EOS, Bools, Floats, Ints


@dataclass(frozen=True)
class Tables:
    """What holds for a whole search. A *kind* is a distinct set of constraints."""

    kinds: tuple[Constraints, ...]
    """The distinct sets."""
    kind_of: Ints
    """(sources,): the set that each source has."""
    base: Bools
    """(kinds, vocab): ids that may ever be chosen."""
    forbidden: tuple[tuple[Ints, ...], ...]
    """Per kind: forbidden phrases of several ids, those of one length as an array (phrases, length)."""
    prefixes: Ints
    """(kinds, longest prefix): forced ids, -1 after their end."""
    phrases: Ints
    """(kinds, phrases, length): required phrases, -1 after their end."""
    sizes: Ints
    """(kinds, phrases): their lengths; 0 for none."""
    fallback: Ints
    """(kinds, phrases, length + 1): how much of the phrase still stands after so much of it failed to go on."""
    min_lengths: Ints
    """(sources,): fewest ids, `</s>` included."""
    max_lengths: Ints
    """(sources,): most ids, `</s>` included."""
    no_repeat_ngram: int
    """No run of so many ids may come twice; 0 for no such limit."""
    repetition_penalty: float
    """What an id that the output holds already loses."""


@dataclass(frozen=True)
class Rules:
    """Where the constraints stand for every row."""

    tables: Tables
    """What holds for all rows."""
    sentences: Ints
    """(rows,): the source of each row."""
    ids: Ints
    """(rows, 1 + length): `<s>`, with which a forbidden phrase may begin, and the ids so far."""
    states: Ints
    """(rows,): where each row is in its automaton, if it has one."""
    progress: Ints
    """(rows, phrases): how many ids of each required phrase stand at the end of the row; all of them once it was there."""

    @property
    def kinds(self) -> Ints:
        """(rows,): the constraints of each row."""
        kinds: Ints = self.tables.kind_of[self.sentences]
        return kinds

    def move(self, rows: Ints, ids: Ints) -> Rules:
        """The rules after each of `rows` has chosen the id of the same place in `ids`; rows may repeat or be missing."""
        sentences, states, progress = self.sentences[rows], self.states[rows], self.progress[rows]
        kinds = self.tables.kind_of[sentences]
        for number, kind in enumerate(self.tables.kinds):
            if kind.pattern is not None:
                mine = kinds == number
                states[mine] = kind.pattern.advance(states[mine], ids[mine])
        if progress.size:
            progress = advance_phrases(self.tables, kinds, progress, ids)
        so_far = np.concatenate([self.ids[rows], ids[:, None]], axis=1)
        return Rules(self.tables, sentences, so_far, states, progress)

    def select(self, rows: Ints) -> Rules:
        """The rules of some rows, which have not chosen anything."""
        return replace(
            self,
            sentences=self.sentences[rows],
            ids=self.ids[rows],
            states=self.states[rows],
            progress=self.progress[rows],
        )

    def allowed(self) -> Bools:
        """(rows, vocab): the ids that each row may choose next."""
        tables, kinds, length = self.tables, self.kinds, self.ids.shape[1] - 1
        allowed: Bools = tables.base[kinds]
        if length + 1 < tables.min_lengths.max():
            allowed[length + 1 < tables.min_lengths[self.sentences], EOS] = False
        if self.progress.size:
            allowed[self.lacking(), EOS] = False
        for number, kind in enumerate(tables.kinds):
            mine = np.flatnonzero(kinds == number)
            for phrases in tables.forbidden[number]:
                before = phrases.shape[1] - 1
                if before <= length + 1:
                    ends = self.ids[mine, None, length + 1 - before :]
                    meets = (ends == phrases[:, :-1]).all(axis=2)  # (rows, phrases)
                    rows, which = meets.nonzero()
                    allowed[mine[rows], phrases[which, -1]] = False
            if kind.pattern is not None and len(mine):
                least, most = (
                    limits[self.sentences[mine]] - length for limits in (tables.min_lengths, tables.max_lengths)
                )
                allowed[mine] &= kind.pattern.allow(self.states[mine], least, most, allowed.shape[1])
        if tables.no_repeat_ngram:
            rows, ids = repeated(self.ids[:, 1:], tables.no_repeat_ngram)
            allowed[rows, ids] = False
        if length < tables.prefixes.shape[1]:
            forced = tables.prefixes[kinds, length]
            rows = np.flatnonzero(forced >= 0)
            only = np.zeros((len(rows), allowed.shape[1]), np.bool_)
            only[np.arange(len(rows)), forced[rows]] = True
            allowed[rows] &= only
        return allowed

    def bias(self) -> Floats | None:
        """(rows, vocab): what the repetition penalty takes from each id; None without one."""
        if not self.tables.repetition_penalty:
            return None
        bias = np.zeros((len(self.ids), self.tables.base.shape[1]), np.float32)
        bias[np.arange(len(self.ids))[:, None], self.ids[:, 1:]] = -self.tables.repetition_penalty
        return bias

    def wanted(self) -> tuple[Ints, Ints]:
        """Rows and ids that would go on with (or begin) a required phrase that is still missing."""
        kinds = self.kinds
        rows, phrases = np.nonzero(self.progress < self.tables.sizes[kinds])
        return rows, self.tables.phrases[kinds[rows], phrases, self.progress[rows, phrases]]

    def lacking(self) -> Bools:
        """(rows,): whether a required phrase is still missing."""
        lacking: Bools = np.any(self.progress < self.tables.sizes[self.kinds], axis=1)
        return lacking

    def met(self, ids: Ints) -> Ints:
        """How many ids of required phrases each row would have with each next id: `(rows, k)` -> (rows, k)."""
        rows, k = ids.shape
        progress = advance_phrases(self.tables, self.kinds.repeat(k), self.progress.repeat(k, axis=0), ids.ravel())
        met: Ints = progress.sum(axis=1).reshape(rows, k)
        return met

    def complete(self, ids: Ints) -> Bools:
        """Whether each row would have all required phrases with each next id: `(rows, k)` -> (rows, k)."""
        complete: Bools = self.met(ids) == self.tables.sizes[self.kinds].sum(axis=1)[:, None]
        return complete


def advance_phrases(tables: Tables, kinds: Ints, progress: Ints, ids: Ints) -> Ints:
    """`progress`, (n, phrases), after one more id each; a phrase that was met stays met (Knuth, Morris and Pratt 1977)."""
    sizes, places = tables.sizes[kinds], np.arange(progress.shape[1])
    kinds = kinds[:, None]
    missing = progress < sizes
    standing = progress
    while True:
        fits = tables.phrases[kinds, places, np.minimum(standing, tables.phrases.shape[2] - 1)] == ids[:, None]
        back = missing & ~fits & (standing > 0)
        if not back.any():
            break
        standing = np.where(back, tables.fallback[kinds, places, standing], standing)
    following: Ints = np.where(missing, standing + fits, progress)
    return following


def repeated(ids: Ints, n: int) -> tuple[Ints, Ints]:
    """Rows and ids that would end a run of n ids which the row, (rows, length), has already."""
    rows, length = ids.shape
    if length < n:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    if n == 1:
        return np.arange(rows).repeat(length), ids.ravel()
    starts = length - n + 1
    alike = np.ones((rows, starts), np.bool_)  # whether the n - 1 ids from a place on are the last n - 1
    for place in range(n - 1):
        alike &= ids[:, place : place + starts] == ids[:, starts + place, None]
    found, places = alike.nonzero()
    return found, ids[found, places + n - 1]


def make_tables(
    per_source: Sequence[Constraints],
    *,
    never: Floats,
    min_lengths: Ints,
    max_lengths: Ints,
    no_repeat_ngram: int,
    repetition_penalty: float,
) -> Tables:
    """Lookup tables for constraints that have been settled, one set per source."""
    kinds = list(dict.fromkeys(per_source))
    numbers = {kind: number for number, kind in enumerate(kinds)}
    base = np.tile(never == 0, (len(kinds), 1))
    longest_prefix = max(len(kind.prefix) for kind in kinds)
    count = max(len(kind.require) for kind in kinds)
    longest = max((len(phrase) for kind in kinds for phrase in kind.require), default=0)
    prefixes = np.full((len(kinds), longest_prefix), -1, np.int64)
    phrases = np.full((len(kinds), count, longest), -1, np.int64)
    sizes = np.zeros((len(kinds), count), np.int64)
    fallback = np.zeros((len(kinds), count, longest + 1), np.int64)
    for number, kind in enumerate(kinds):
        base[number, [phrase[0] for phrase in kind.forbid if len(phrase) == 1]] = False
        prefixes[number, : len(kind.prefix)] = kind.prefix
        for place, phrase in enumerate(kind.require):
            phrases[number, place, : len(phrase)] = phrase
            sizes[number, place] = len(phrase)
            fallback[number, place, : len(phrase) + 1] = fallbacks(phrase)
    kind_of = np.array([numbers[kind] for kind in per_source], np.int64)
    return Tables(
        tuple(kinds),
        kind_of,
        base,
        tuple(_by_length(kind.forbid) for kind in kinds),
        prefixes,
        phrases,
        sizes,
        fallback,
        min_lengths,
        max_lengths,
        no_repeat_ngram,
        repetition_penalty,
    )


def _by_length(phrases: Sequence[tuple[int, ...]]) -> tuple[Ints, ...]:
    """Phrases of several ids, those of one length as an array (phrases, length)."""
    sizes = sorted({len(phrase) for phrase in phrases} - {1})
    return tuple(np.array([phrase for phrase in phrases if len(phrase) == size], np.int64) for size in sizes)


def first_rules(tables: Tables) -> Rules:
    """The rules of one row per source, before the first id."""
    sources = len(tables.kind_of)
    return Rules(
        tables,
        sentences=np.arange(sources),
        ids=np.full((sources, 1), BOS),
        states=np.full(sources, START, np.int64),
        progress=np.zeros((sources, tables.sizes.shape[1]), np.int64),
    )

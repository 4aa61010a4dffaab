"""Training pairs joined with others, anew in every epoch, so that longer texts are learned than one pair has.

A model that only saw single sentences says little of the second one (Kondo et al. 2021; Nguyen et al. 2021). Knows ids and
tokenizers, no files and no models. Every pair is still there once in an epoch. A row of `JoinedPairs` is gathered when its batch
is made, and a pair takes no more than the byte that tells whether it is joined, so that a corpus may still be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dragoman.corpus.dataset import LONGEST, EncodedPairs, Ids, Lengths, index_type
from dragoman.corpus.tokenization import Tokenizer
from dragoman.errors import OptionError

Ints = NDArray[np.int64]

_SAMPLE = 10_000
"""Pairs that tell whether a side has spaces."""
_CHUNK = 1 << 18
"""Pairs whose lengths are looked at together."""
_MOST = 16
"""Pairs in a row at most."""
_ROUNDS = 4
"""Times that all rows and columns of an order are shifted."""


class Followers(NamedTuple):
    """What the first token of a text becomes when the text follows another one: a space before it, or none."""

    ids: Ids
    """The ids of all first tokens, one after the other."""
    starts: Ints
    """(vocabulary + 1,): those of token i are `starts[i]` to `starts[i + 1]`."""

    def extra(self, heads: Ids) -> Ints:
        """(texts,): by how many tokens texts grow that begin with `heads`."""
        grown: Ints = self.starts[heads + 1] - self.starts[heads] - 1
        return grown

    def apply(self, flat: Ids, lengths: Ints, follow: NDArray[np.bool_]) -> tuple[Ids, Ints]:
        """Texts, (tokens,) and (texts,), some of which `follow` another one, to what they then are."""
        places = (np.cumsum(lengths) - lengths)[follow]
        heads = np.asarray(flat[places], np.int64)
        extra = self.extra(heads)
        counts = np.ones(len(flat), np.int64)
        counts[places] += extra
        first = (np.cumsum(counts) - counts)[places]
        new = np.repeat(flat, counts)
        sizes = extra + 1
        inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        new[np.repeat(first, sizes) + inside] = self.ids[np.repeat(self.starts[heads], sizes) + inside]
        lengths = lengths.copy()
        lengths[follow] += extra
        return new, lengths


class JoinAnew:
    """Encoded pairs of which some are joined, others in every epoch; a function of seed and epoch alone."""

    def __init__(
        self,
        pairs: EncodedPairs,
        source: Tokenizer,
        target: Tokenizer,
        *,
        share: float,
        seed: int,
        split: Callable[[int], EncodedPairs] | None = None,
    ) -> None:
        """A pair follows another one with probability `share`, so that a row has 1 / (1 - `share`) of them in the mean.

        `split` gives the pairs of an epoch, in the same order; without it they are `pairs` in every one.
        """
        check_concatenation(source, share)
        self._pairs, self._split = pairs, split
        self._share, self._seed = share, seed
        sample = np.unique(np.linspace(0, len(pairs) - 1, _SAMPLE).astype(np.int64))
        self._followers = (followers(source, *pairs.sources(sample)), followers(target, *pairs.targets(sample)))

    def __call__(self, epoch: int) -> JoinedPairs:
        """The rows of an epoch."""
        pairs = self._split(epoch) if self._split else self._pairs
        # Four numbers: others seed the order of the batches and the subwords.
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence((self._seed, epoch, 0, 1))))
        order = RandomOrder(len(pairs), random)
        alone = np.ones(len(pairs) + _MOST, bool)
        for begin in range(0, len(pairs), _CHUNK):
            places = np.arange(begin, min(begin + _CHUNK, len(pairs)))
            first = random.random(len(places), np.float32) >= self._share
            first[0] = True
            starts = np.flatnonzero(first)
            rows = np.cumsum(first) - 1
            # Rows that would be too long, with a space between texts, are not joined.
            tokens = np.maximum.reduce([np.bincount(rows, sizes + 1) for sizes in pairs.lengths(order(places))])
            first |= (tokens > LONGEST)[rows]
            first |= (np.arange(len(places)) - starts[rows]) % _MOST == 0
            alone[places] = first
        return JoinedPairs(pairs, order, alone, self._followers)


class RandomOrder:
    """Each of so many numbers once, in a random order that takes the memory of their root only.

    A number is a place in a table. Each column is shifted by a number of its own, then each row, again and again: whatever
    the numbers, no two places become one. The table has a few places more than there are numbers; from one of these the walk
    goes on until it is back among them.
    """

    def __init__(self, count: int, random: np.random.Generator) -> None:
        """`count` numbers, from 0 on."""
        self._count = count
        self._width = isqrt(max(count - 1, 0)) + 1
        self._height = -(-count // self._width)
        self._shifts = [
            (random.integers(self._height, size=self._width), random.integers(self._width, size=self._height))
            for _ in range(_ROUNDS if count else 0)
        ]

    def __call__(self, places: Ids) -> Ints:
        """The numbers at some places of the order."""
        found = self._walked(np.asarray(places, np.int64))
        while (outside := found >= self._count).any():
            found[outside] = self._walked(found[outside])
        return found

    def _walked(self, places: Ints) -> Ints:
        row, column = np.divmod(places, self._width)
        for down, right in self._shifts:
            row = (row + down[column]) % self._height
            column = (column + right[row]) % self._width
        return row * self._width + column


class JoinedPairs:
    """The rows of one epoch: pairs alone, and pairs one after the other. A row's index is the place of its first pair."""

    def __init__(
        self,
        pairs: EncodedPairs,
        order: RandomOrder,
        alone: NDArray[np.bool_],
        followers: tuple[Followers | None, Followers | None],
    ) -> None:
        """`alone` says of each place in the order whether a row begins there; `followers` of each side, if any."""
        self._pairs, self._order, self._alone, self._followers = pairs, order, alone, followers

    def indices(self) -> Ids:
        """The index of each row."""
        rows: Ids = np.flatnonzero(self._alone[: len(self._pairs)]).astype(index_type(len(self._pairs)))
        return rows

    def lengths(self, indices: Ids) -> tuple[Lengths, Lengths]:
        """(indices,) each: tokens of the sources and of the targets of some rows."""
        members, firsts = self._members(indices)
        sizes = self._pairs.lengths(members)
        if not len(firsts):
            return sizes
        source, target = (
            np.add.reduceat(
                sizes[side] if known is None else sizes[side] + self._extra(side, known, members, firsts), firsts
            )
            for side, known in enumerate(self._followers)
        )
        return source.astype(np.int32), target.astype(np.int32)

    def sources(self, indices: Ids) -> tuple[Ids, Ints]:
        """The source ids of several rows, one after the other, and their lengths."""
        return self._rows(0, indices)

    def targets(self, indices: Ids) -> tuple[Ids, Ints]:
        """The target ids of several rows, one after the other, and their lengths."""
        return self._rows(1, indices)

    def _rows(self, side: int, indices: Ids) -> tuple[Ids, Ints]:
        members, firsts = self._members(indices)
        flat, lengths = (self._pairs.sources, self._pairs.targets)[side](members)
        known = self._followers[side]
        if known is not None:
            flat, lengths = known.apply(flat, lengths, _all_but(firsts, len(members)))
        return flat, np.add.reduceat(lengths, firsts) if len(firsts) else lengths

    def _extra(self, side: int, known: Followers, members: Ids, firsts: Ints) -> Ints:
        """(members,): by how many tokens each text grows."""
        follow = _all_but(firsts, len(members))
        extra = np.zeros(len(members), np.int64)
        extra[follow] = known.extra(self._pairs.heads(side, members[follow]).astype(np.int64))
        return extra

    def _members(self, indices: Ids) -> tuple[Ids, Ints]:
        """The pairs of some rows, one after the other, and where those of each row begin."""
        begins = np.asarray(indices, np.int64)
        counts = 1 + self._alone[begins[:, None] + np.arange(1, _MOST + 1)].argmax(
            axis=1
        )  # to where the next row begins
        firsts = np.cumsum(counts) - counts
        return self._order(np.arange(counts.sum()) + np.repeat(begins - firsts, counts)), firsts


def check_concatenation(source: Tokenizer, share: float) -> None:
    """Raise `OptionError` if pairs are to be joined whose sources have several columns."""
    if share and len(source.methods) > 1:
        raise OptionError(f"`concatenate` needs sources of one column, but they have {len(source.methods)}")


def followers(tokenizer: Tokenizer, flat: Ids, lengths: Ints) -> Followers | None:
    """How texts like these, (tokens,) and (texts,), follow each other; None if they stay as they are.

    Where at least half of the texts have spaces inside, there is one between them.
    """
    marked = tokenizer.begins_with_space()
    inner = marked[flat]
    firsts = np.cumsum(lengths) - lengths
    inner[firsts] = False
    spaced = len(firsts) > 0 and np.logical_or.reduceat(inner, firsts).mean() >= 0.5
    following = [tokenizer.after_another(i, spaced=bool(spaced)) for i in range(tokenizer.vocab_size)]
    if all(ids == (i,) for i, ids in enumerate(following)):
        return None
    starts = np.cumsum([0, *map(len, following)])
    return Followers(np.array([i for ids in following for i in ids], flat.dtype), starts)


def _all_but(firsts: Ints, count: int) -> NDArray[np.bool_]:
    follow = np.ones(count, bool)
    follow[firsts] = False
    return follow

"""Training pairs joined with others, anew in every epoch, so that longer texts are learned than one pair has.

A model that only saw single sentences says little of the second one (Kondo et al. 2021; Nguyen et al. 2021). Knows ids and
tokenizers, no files and no models. Every pair is still there once in an epoch. Nothing is copied: a row of `JoinedPairs` is
gathered when its batch is made, so that a corpus may still be larger than memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dragoman.corpus.dataset import LONGEST, EncodedPairs, Ids, Lengths
from dragoman.corpus.tokenization import Tokenizer
from dragoman.errors import OptionError

Ints = NDArray[np.int64]

_SAMPLE = 10_000
"""Pairs that tell whether a side has spaces."""
_CHUNK = 1 << 18
"""Pairs whose lengths are looked at together."""


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
        order: Ids = np.arange(len(pairs), dtype=np.int32 if len(pairs) < 2**31 else np.int64)
        random.shuffle(order)
        starts: list[Ids] = []
        for begin in range(0, len(order), _CHUNK):
            members = order[begin : begin + _CHUNK]
            alone = random.random(len(members), np.float32) >= self._share
            alone[0] = True
            rows = np.cumsum(alone) - 1
            tokens = np.maximum.reduce([np.bincount(rows, sizes) for sizes in pairs.lengths(members)])
            alone |= (tokens > LONGEST)[rows]  # such rows are not joined
            starts.append((begin + np.flatnonzero(alone)).astype(order.dtype))
        starts.append(np.array([len(order)], order.dtype))
        return JoinedPairs(pairs, order, np.concatenate(starts), self._followers)


class JoinedPairs:
    """The rows of one epoch: pairs alone, and pairs one after the other."""

    def __init__(
        self, pairs: EncodedPairs, order: Ids, starts: Ids, followers: tuple[Followers | None, Followers | None]
    ) -> None:
        """Row i joins the pairs `order[starts[i]]` to `order[starts[i + 1] - 1]`; `followers` of each side, if any."""
        self._pairs, self._order, self._starts, self._followers = pairs, order, starts, followers

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._starts) - 1

    def lengths(self, indices: Ids) -> tuple[Lengths, Lengths]:
        """(indices,) each: tokens of the sources and of the targets of some rows."""
        members, firsts = self._members(indices)
        source, target = (
            np.add.reduceat(sizes if known is None else sizes + self._extra(side, known, members, firsts), firsts)
            if len(firsts)
            else sizes
            for side, (sizes, known) in enumerate(zip(self._pairs.lengths(members), self._followers, strict=True))
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
        """The pairs of some rows, one after the other, and the place of each row's first."""
        begins = np.asarray(self._starts[indices], np.int64)
        counts = np.asarray(self._starts[np.asarray(indices) + 1], np.int64) - begins
        firsts = np.cumsum(counts) - counts
        return self._order[np.arange(counts.sum()) + np.repeat(begins - firsts, counts)], firsts


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

"""Training pairs as they differ from epoch to epoch: joined with others, made of other parts, with sources as people type them.

A model that only saw single sentences says little of the second one (Kondo et al. 2021), and one that only saw edited text is lost
without a full stop (Belinkov and Bisk 2018). Knows ids and tokenizers, no files and no models. Every pair is there once in an
epoch. A row is gathered when its batch is made, and a pair takes no more than the byte that tells what is done to it, so that a corpus
may still be larger than memory.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from math import isqrt
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dragoman.corpus.casing import in_case
from dragoman.corpus.column_profile import ColumnProfile
from dragoman.corpus.dataset import LONGEST, EncodedPairs, Ids, Lengths, index_type
from dragoman.corpus.names import OtherNames
from dragoman.corpus.recombination import Pair, Recombination
from dragoman.corpus.tokenization import UNK, Tokenizer
from dragoman.errors import OptionError

Ints = NDArray[np.int64]

AUGMENTATIONS = ("concatenate", "source_noise", "other_names", "recombine")
"""Options for how many pairs are changed."""
_SAMPLE = 10_000
"""Pairs that tell whether a side has spaces."""
_HARDLY = 0.05
"""Share of the texts that may have a space inside where there is none between texts."""
_CHUNK = 1 << 18
"""Pairs whose lengths are looked at together."""
_BLOCK = 1 << 14
"""Rows that are gathered together to know their lengths."""
_MOST = 16
"""Pairs in a row at most."""
_OFTEN = 0.9
"""Probability of a pair to follow another one in a stretch of long rows."""
_RENAMED = 16
"""Mark of a pair with other names and numbers; below it there is room for the first pair of a row and for `HASTY`."""
_RECOMBINED = 32
"""Mark of a pair that is made of other parts."""
_KEPT = 1 << 16
"""Such pairs of an epoch that are made once only."""
_PARTS_SAMPLE = 50_000
"""Pairs whose parts are known at most."""
_ROUNDS = 4
"""Times that all rows and columns of an order are shifted."""
_APOSTROPHES = str.maketrans("'\u2019", "\u2019'")
_MEANT = frozenset("%\uff05\u2030\u066a&\uff06@\uff20#\uff03*/\uff0f\\\u0f0b\u0f0c\u1361")
"""Signs that are read as words, and marks between syllables or words (Tibetan, Ethiopic): Unicode's punctuation, but nobody's to leave out."""
_IN_WORDS = frozenset("'\u2019\u00b7\u055a\u055b\u055c\u055e\u05f3\u05f4")
"""Signs that stand within words (l'eau, Catalan col\u00b7legi, Armenian questions, Hebrew acronyms), which are one without them."""
_IN_NUMBERS = re.compile(r"(?<=\d)\W(?=\d)|(?<!\w)-(?=\d)")


def without_end(text: str) -> str:
    """Without the punctuation at its end: `Go home.` -> `Go home`."""
    end = len(text)
    while end and (text[end - 1].isspace() or _is_punctuation(text[end - 1])):
        end -= 1
    return text[:end]


def unpunctuated(text: str) -> str:
    """Without punctuation, that of numbers apart: `I'm here at 9:30, too.` -> `Im here at 9:30 too`."""
    gap, numbers = " " if " " in text else "", {found.start() for found in _IN_NUMBERS.finditer(text)}
    kept = (c if i in numbers or not _is_punctuation(c) else "" if c in _IN_WORDS else gap for i, c in enumerate(text))
    return " ".join("".join(kept).split())


def other_apostrophes(text: str) -> str:
    """Straight apostrophes for curly ones, and the other way round."""
    return text.translate(_APOSTROPHES)


HASTY: tuple[Callable[[str], str], ...] = (
    without_end,
    lambda text: in_case(text, "lower"),
    lambda text: without_end(in_case(text, "lower")),
    lambda text: unpunctuated(in_case(text, "lower")),
    other_apostrophes,
)
"""What people do to a text that they type, each as often as the others."""


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


class Augmented:
    """Encoded pairs of which some are joined and some are typed in haste, others in every epoch: a function of seed and epoch."""

    def __init__(
        self,
        pairs: EncodedPairs,
        source: Tokenizer,
        target: Tokenizer,
        *,
        concatenate: float,
        source_noise: float,
        other_names: float,
        recombine: float,
        seed: int,
        split: Callable[[int], EncodedPairs] | None = None,
    ) -> None:
        """A pair follows another one with probability `concatenate` in the mean, so that a row has 1 / (1 - it) pairs.

        A source is changed by one of `HASTY` with probability `source_noise`, a pair has the names and numbers that its sides share
        replaced with probability `other_names`, and its parts with probability `recombine`. `split` gives the pairs of an epoch, in
        the same order; without it they are `pairs` in every one.
        """
        self._pairs, self._split, self._sides = pairs, split, (source, target)
        self._concatenate, self._noise, self._renamed, self._seed = concatenate, source_noise, other_names, seed
        sample = np.unique(np.linspace(0, len(pairs) - 1, _SAMPLE).astype(np.int64))
        found = (pairs.sources(sample), pairs.targets(sample))
        self._followers = (followers(source, *found[0]), followers(target, *found[1]))
        texts = (text for side, read in zip(self._sides, found, strict=True) for text in decoded(side, *read))
        self._names = OtherNames(texts) if other_names else None
        self._recombine, self._parts = recombine, Recombination(some_pairs(pairs, _PARTS_SAMPLE)) if recombine else None
        self._capitals = tuple(np.array([_capital(name) for name in side.surfaces()]) for side in self._sides)

    def __call__(self, epoch: int) -> AugmentedPairs:
        """The rows of an epoch."""
        pairs = self._split(epoch) if self._split else self._pairs
        # Four numbers: others seed the order of the batches and the subwords.
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence((self._seed, epoch, 0, 1))))
        order = RandomOrder(len(pairs), random)
        marks = np.ones(len(pairs) + _MOST, np.uint8)
        for begin in range(0, len(pairs), _CHUNK):
            places = np.arange(begin, min(begin + _CHUNK, len(pairs)))
            first = random.random(len(places), np.float32) >= self._shares(len(places), random)
            first[0] = True
            starts = np.flatnonzero(first)
            rows = np.cumsum(first) - 1
            # Rows that would be too long, with a space between texts, are not joined.
            tokens = np.maximum.reduce([np.bincount(rows, sizes + 1) for sizes in pairs.lengths(order(places))])
            first |= (tokens > LONGEST)[rows]
            first |= (np.arange(len(places)) - starts[rows]) % _MOST == 0
            noisy = random.random(len(places), np.float32) < self._noise
            kinds = random.integers(1, len(HASTY) + 1, len(places), np.uint8) * noisy
            marks[places] = first + 2 * kinds
            if self._names:
                chosen = places[random.random(len(places), np.float32) < self._renamed]
                marks[chosen[self._may_share_names(pairs, order(chosen))]] += _RENAMED
            if self._parts:
                marks[places] += _RECOMBINED * (random.random(len(places), np.float32) < self._recombine).astype(
                    np.uint8
                )
        salt = int(random.integers(1 << 32)) if self._names or self._parts else 0
        return AugmentedPairs(pairs, order, marks, self._sides, self._followers, self._names, self._parts, salt)

    def _may_share_names(self, pairs: EncodedPairs, numbers: Ints) -> NDArray[np.bool_]:
        """Which of some pairs have a capital letter or a digit on both sides: to write out all would take too long."""
        keys = []
        for capitals, (flat, lengths) in zip(
            self._capitals, (pairs.sources(numbers), pairs.targets(numbers)), strict=True
        ):
            found = capitals[flat]
            keys.append((np.repeat(np.arange(len(numbers)) << 32, lengths) + found)[found > 0])
        share = np.zeros(len(numbers), bool)
        share[keys[0][np.isin(*keys)] >> 32] = True
        return share

    def _shares(self, count: int, random: np.random.Generator) -> NDArray[np.float32]:
        """(count,): with which probability each pair follows the one before it: in most stretches seldom, in some nearly always.

        With the same one everywhere hardly a row would be a long text.
        """
        long = self._concatenate / 2  # the share of the stretches of long rows
        seldom = (self._concatenate - long * _OFTEN) / (1 - long)
        stretches = random.random(-(-count // _MOST), np.float32) < long
        shares: NDArray[np.float32] = np.where(stretches, _OFTEN, seldom).astype(np.float32)
        return shares.repeat(_MOST)[:count]


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


class AugmentedPairs:
    """The rows of one epoch: pairs alone, and pairs one after the other. A row's index is the place of its first pair."""

    def __init__(
        self,
        pairs: EncodedPairs,
        order: RandomOrder,
        marks: NDArray[np.uint8],
        sides: tuple[Tokenizer, Tokenizer],
        followers: tuple[Followers | None, Followers | None],
        names: OtherNames | None,
        parts: Recombination | None,
        salt: int,
    ) -> None:
        """`marks` has for each place in the order 1 if a row begins there, twice the number of what is done to its source, and
        `_RENAMED` or `_RECOMBINED` if names or parts are replaced, by what `salt` and the place say.
        """
        self._pairs, self._order, self._marks = pairs, order, marks
        self._sides, self._followers, self._names, self._parts, self._salt = sides, followers, names, parts, salt
        self._last: tuple[bytes, list[tuple[int, Pair]]] = (b"", [])
        self._made: dict[
            int, Pair
        ] = {}  # of other parts, by place: first their lengths are asked for, then they are trained on

    def indices(self) -> Ids:
        """The index of each row."""
        rows: Ids = np.flatnonzero(self._marks[: len(self._pairs)] & 1).astype(index_type(len(self._pairs)))
        return rows

    def lengths(self, indices: Ids) -> tuple[Lengths, Lengths]:
        """(indices,) each: tokens of the sources and of the targets of some rows."""
        found = [np.zeros((2, 0), np.int32)]
        for start in range(0, len(indices), _BLOCK):
            rows = indices[start : start + _BLOCK]
            found.append(np.array([self.sources(rows)[1], self.targets(rows)[1]], np.int32))
        source, target = np.concatenate(found, axis=1)
        return source, target

    def sources(self, indices: Ids) -> tuple[Ids, Ints]:
        """The source ids of several rows, one after the other, and their lengths."""
        places, firsts = self._places(indices)
        flat, lengths = self._with_others(0, places, *self._pairs.sources(self._order(places)))
        return self._joined(0, *self._hasty(flat, lengths, self._marks[places] % _RENAMED >> 1), firsts)

    def targets(self, indices: Ids) -> tuple[Ids, Ints]:
        """The target ids of several rows, one after the other, and their lengths."""
        places, firsts = self._places(indices)
        return self._joined(1, *self._with_others(1, places, *self._pairs.targets(self._order(places))), firsts)

    def _places(self, indices: Ids) -> tuple[Ints, Ints]:
        """The places of all pairs of some rows, one after the other, and where those of each row begin."""
        begins = np.asarray(indices, np.int64)
        following = self._marks[begins[:, None] + np.arange(1, _MOST + 1)] & 1  # up to where the next row begins
        counts = 1 + following.argmax(axis=1)
        firsts = np.cumsum(counts) - counts
        return np.arange(counts.sum()) + np.repeat(begins - firsts, counts), firsts

    def _joined(self, side: int, flat: Ids, lengths: Ints, firsts: Ints) -> tuple[Ids, Ints]:
        known = self._followers[side]
        if known is not None:
            follow = np.ones(len(lengths), bool)
            follow[firsts] = False
            flat, lengths = known.apply(flat, lengths, follow)
        return flat, np.add.reduceat(lengths, firsts) if len(firsts) else lengths

    def _with_others(self, side: int, places: Ints, flat: Ids, lengths: Ints) -> tuple[Ids, Ints]:
        """One side of the pairs at some places, (tokens,) and (texts,), with other parts, names and numbers."""
        rows = np.flatnonzero(self._marks[places] >= _RENAMED)
        if not len(rows):
            return flat, lengths
        chosen = places[rows]
        last = self._last  # both sides are asked for one after the other, and made together
        if last[0] != (key := chosen.tobytes()):
            last = self._last = (key, self._others(chosen))
        return replaced(flat, lengths, {int(rows[i]): pair[side] for i, pair in last[1]})

    def _others(self, places: Ints) -> list[tuple[int, Pair]]:
        """For those of some places whose pairs become others: which it is, and the ids of both sides."""
        numbers, marks = self._order(places), self._marks[places]
        pairs = pairs_at(self._pairs, numbers)
        new: dict[int, Pair] = {}
        if self._parts is not None:
            for row in np.flatnonzero(marks & _RECOMBINED).tolist():
                place, pair = int(places[row]), pairs[row]
                if (changed := self._made.get(place)) is None:
                    changed = self._parts(pair, self._random(place))
                    if len(self._made) < _KEPT:
                        self._made[place] = changed
                if changed != pair:
                    new[row] = pairs[row] = changed
        if self._names is not None:
            named = np.flatnonzero(marks & _RENAMED).tolist()
            new |= self._with_other_names(self._names, {row: pairs[row] for row in named}, places)
        return sorted(new.items())

    def _random(self, place: int) -> Random:
        """What is drawn for the pair at a place."""
        return Random(self._salt << 32 | int(place))

    def _with_other_names(self, names: OtherNames, pairs: Mapping[int, Pair], places: Ints) -> dict[int, Pair]:
        """Those of some pairs that share names or numbers, with others. Those that have unknown tokens, or would have, are not among them."""
        rows, texts = [], []
        for row, pair in pairs.items():
            source, target = (side.decode(part) for side, part in zip(self._sides, pair, strict=True))
            new = names(source, target, self._random(places[row]))
            if new != (source, target) and not any(UNK in part for part in pair):
                rows.append(row)
                texts.append(new)
        encoded = (side.encode_batch([new[k] for new in texts]) for k, side in enumerate(self._sides))
        made = zip(rows, zip(*encoded, strict=True), strict=True)
        return {row: pair for row, pair in made if not any(UNK in part for part in pair)}

    def _hasty(self, flat: Ids, lengths: Ints, kinds: Ids) -> tuple[Ids, Ints]:
        """Sources, (tokens,) and (texts,), changed in the way that `kinds`, (texts,), says.

        What has unknown tokens, or would have, or would be empty stays.
        """
        ends = np.cumsum(lengths)
        rows, texts = [], []
        for row in np.flatnonzero(kinds).tolist():
            ids = flat[ends[row] - lengths[row] : ends[row]].tolist()
            typed = HASTY[kinds[row] - 1](text := self._sides[0].decode(ids))
            if typed != text and UNK not in ids:  # the same text may be split anew
                rows.append(row)
                texts.append(typed)
        encoded = zip(rows, self._sides[0].encode_batch(texts), strict=True)
        return replaced(flat, lengths, {row: ids for row, ids in encoded if ids and UNK not in ids})


def split_flat(flat: Ids, lengths: Ints) -> list[list[int]]:
    """Texts, (tokens,) and (texts,), one by one."""
    return [part.tolist() for part in np.split(flat, np.cumsum(lengths)[:-1])]


def some_pairs(pairs: EncodedPairs, most: int) -> list[Pair]:
    """The ids of at most so many pairs, spread evenly."""
    return pairs_at(pairs, np.unique(np.linspace(0, len(pairs) - 1, most).astype(np.int64)))


def pairs_at(pairs: EncodedPairs, rows: Ints) -> list[Pair]:
    """The ids of the pairs in some rows."""
    return list(zip(split_flat(*pairs.sources(rows)), split_flat(*pairs.targets(rows)), strict=True))


def decoded(tokenizer: Tokenizer, flat: Ids, lengths: Ints) -> list[str]:
    """Texts, (tokens,) and (texts,), as they are written."""
    return [tokenizer.decode(ids) for ids in split_flat(flat, lengths)]


def replaced(flat: Ids, lengths: Ints, new: dict[int, list[int]]) -> tuple[Ids, Ints]:
    """Texts, (tokens,) and (texts,), some of which are `new`; these are in the order of the texts."""
    if not new:
        return flat, lengths
    places = list(new)
    stays = np.ones(len(lengths), bool)
    stays[places] = False
    sizes = lengths.copy()
    sizes[places] = [len(ids) for ids in new.values()]
    kept = np.repeat(stays, sizes)
    changed = np.empty(len(kept), flat.dtype)
    changed[kept] = flat[np.repeat(stays, lengths)]
    changed[~kept] = [i for ids in new.values() for i in ids]
    return changed, sizes


def check_augmentation(columns: int, shares: Mapping[str, float | None]) -> None:
    """Raise `OptionError` if pairs are to be changed whose sources have several columns; `shares` may hold other options, too."""
    for name in AUGMENTATIONS:
        if shares[name] and columns > 1:
            raise OptionError(f"`{name}` needs sources of one column, but they have {columns}")


def followers(tokenizer: Tokenizer, flat: Ids, lengths: Ints) -> Followers | None:
    """How texts like these, (tokens,) and (texts,), follow each other; None if they stay as they are.

    Where at least half of the texts have spaces inside, there is one between them; where fewer do, unless hardly one does, or their
    script has no spaces between words: a list of phrases has many of one word.
    """
    marked = tokenizer.begins_with_space()
    inner = marked[flat]
    firsts = np.cumsum(lengths) - lengths
    inner[firsts] = False
    share = float(np.logical_or.reduceat(inner, firsts).mean()) if len(firsts) else 0.0
    spaced = share >= 0.5
    if not spaced and share > _HARDLY:
        spaced = not ColumnProfile.of(decoded(tokenizer, flat, lengths)).is_mostly_unspaced()
    following = [tokenizer.after_another(i, spaced=spaced) for i in range(tokenizer.vocab_size)]
    if all(ids == (i,) for i, ids in enumerate(following)):
        return None
    starts = np.cumsum([0, *map(len, following)])
    return Followers(np.array([i for ids in following for i in ids], flat.dtype), starts)


def _capital(token: str) -> int:
    """The code of the first capital letter or digit in a token; 0 if it has none."""
    return next((ord(c) for c in token if c.isupper() or c.isdecimal()), 0)


def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character not in _MEANT

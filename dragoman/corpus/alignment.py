"""Which target words translate which source words, learned from encoded pairs; knows ids, and neither models nor files.

IBM Model 1 (Brown et al. 1993, section 4.1; expectation maximisation over word translation probabilities alone), in NumPy. The
aligners that can be installed are no dependencies for this: eflomal and fast_align compile C or C++ on the user's machine, and
NLTK's model takes hours in Python's dictionaries where this takes seconds. A shortlist needs neither their word order
models nor a single best link, only which words go together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.corpus.dataset import EncodedPairs

ROUNDS = 5
"""Rounds of expectation maximisation; the order of a word's translations hardly changes after them."""
MOST_LINKS = 32_000_000
"""Pairs of a source and a target token that are looked at, at most: some 500 MB, and a minute. Of a larger corpus, pairs evenly spread
over it are taken."""
_CHUNK_LINKS = 1_000_000
NOTHING = 0
"""The source word of target words that translate no word: the id of `<pad>`, which no source holds."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Watch = Callable[[str, int, int], None]
"""Is told what is being done, how many pairs are done, and of how many."""


@dataclass(frozen=True)
class Translations:
    """Word translation probabilities, for words that stand in the same pair somewhere; sorted by source, then target."""

    sources: Ints
    """(entries,): source ids; `NOTHING` among them."""
    targets: Ints
    """(entries,): target ids."""
    probabilities: Floats
    """(entries,): of the target, given the source; they add up to 1 for every source."""
    target_counts: Ints
    """(target vocabulary,): how often each target id stands in the pairs."""
    pairs: int
    """Pairs that were looked at."""


@dataclass(frozen=True)
class _Chunk:
    """Some pairs' links: every target token with every source token and `NOTHING`, target by target."""

    entries: NDArray[np.int32]
    """(links,): the entry of the table that each link is one of."""
    widths: Ints
    """(target tokens,): links of each."""
    pairs: int
    """How many pairs these are."""


def align(pairs: EncodedPairs, *, target_vocab_size: int, watch: Watch = lambda *_: None) -> Translations:
    """Fit IBM Model 1 to pairs; the same pairs give the same table, bit for bit."""
    chosen = _evenly(pairs)
    counts = np.zeros(target_vocab_size, np.int64)
    links: list[tuple[Ints, NDArray[np.int32], Ints, int]] = []
    done = 0
    for indices in _chunks(pairs, chosen):
        watch("counting words", done, len(chosen))
        keys, widths, targets = _links(pairs, indices, target_vocab_size)
        counts += np.bincount(targets, minlength=target_vocab_size)
        distinct, places = np.unique(keys, return_inverse=True)
        links.append((distinct, places.astype(np.int32), widths, len(indices)))
        done += len(indices)
    table = np.unique(np.concatenate([distinct for distinct, *_ in links]))
    chunks = [
        _Chunk(np.searchsorted(table, distinct).astype(np.int32)[places], widths, number)
        for distinct, places, widths, number in links
    ]
    del links
    sources = table // target_vocab_size
    probabilities = np.ones(len(table))
    for turn in range(ROUNDS):
        expected, done = np.zeros(len(table)), 0
        for chunk in chunks:
            watch(f"aligning, round {turn + 1} of {ROUNDS}", done, len(chosen))
            expected += _expected(chunk, probabilities)
            done += chunk.pairs
        probabilities = expected / np.bincount(sources, expected)[sources]
    watch("aligning", len(chosen), len(chosen))
    return Translations(sources, table % target_vocab_size, probabilities, counts, len(chosen))


def _expected(chunk: _Chunk, probabilities: Floats) -> Floats:
    """How often each entry is expected to be the link of a target token: each token has one link in all."""
    shares = probabilities[chunk.entries]
    starts = np.cumsum(chunk.widths) - chunk.widths
    shares /= np.repeat(np.add.reduceat(shares, starts), chunk.widths)
    expected: Floats = np.bincount(chunk.entries, shares, minlength=len(probabilities)).astype(np.float64)
    return expected


def _links(pairs: EncodedPairs, indices: Ints, target_vocab_size: int) -> tuple[Ints, Ints, Ints]:
    """Every link of some pairs as source id x vocabulary + target id; how many each target token has; the target tokens."""
    flat, lengths = pairs.sources(indices)
    targets, target_lengths = (part.astype(np.int64) for part in pairs.targets(indices))
    # `NOTHING` before the tokens of every source
    sources = np.insert(flat.astype(np.int64), np.cumsum(lengths) - lengths, NOTHING)
    lengths = lengths + 1
    starts = np.cumsum(lengths) - lengths
    widths = np.repeat(lengths, target_lengths)
    before = np.cumsum(widths) - widths
    where = np.arange(int(widths.sum())) + np.repeat(np.repeat(starts, target_lengths) - before, widths)
    return sources[where] * target_vocab_size + np.repeat(targets, widths), widths, targets


def _evenly(pairs: EncodedPairs) -> Ints:
    """Pairs evenly spread over all, that have `MOST_LINKS` links at most."""
    total = int(_sizes(pairs).sum())
    return np.arange(len(pairs))[:: -(-total // MOST_LINKS)]


def _sizes(pairs: EncodedPairs) -> Ints:
    return (pairs.source_lengths.astype(np.int64) + 1) * pairs.target_lengths


def _chunks(pairs: EncodedPairs, chosen: Ints) -> Iterator[Ints]:
    """The chosen pairs, in pieces of about `_CHUNK_LINKS` links."""
    piece = np.cumsum(_sizes(pairs)[chosen]) // _CHUNK_LINKS
    yield from np.split(chosen, np.flatnonzero(np.diff(piece)) + 1)


def best_targets(table: Translations, *, source_vocab_size: int, most: int) -> tuple[Ints, NDArray[Any]]:
    """The `most` likely translations of every source id: `ids[offsets[s]:offsets[s + 1]]`, the likeliest first."""
    order = np.lexsort((-table.probabilities, table.sources))
    sources = table.sources[order]
    firsts = np.searchsorted(sources, np.arange(source_vocab_size + 1))
    kept = np.arange(len(sources)) - firsts[sources] < most
    offsets = np.concatenate([[0], np.cumsum(np.bincount(sources[kept], minlength=source_vocab_size))])
    return offsets, table.targets[order][kept]

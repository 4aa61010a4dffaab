"""Encoded pairs into batches of about equally long ones; the order is a pure function of seed, epoch and position.

Knows ids and lengths, no text and no torch. One epoch: shuffle all pairs; sort windows of the shuffled order by target and
source length, equal lengths staying shuffled; cut into batches whose padded sides hold at most `batch_tokens`; shuffle
the batches. So a run that is resumed needs only (epoch, position) to go on as if it had never stopped. Pairs may be others in
every epoch (`subword_dropout`, `concatenate`, `source_noise`), as long as they too are a function of the epoch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dragoman.corpus.dataset import EncodedPairs, Ids, Lengths
from dragoman.corpus.tokenization import BOS, EOS, PAD

Ints = NDArray[np.int64]

WINDOW_BATCHES = 200
"""Batches' worth of pairs that are sorted together: more is less padding, fewer is a freer order."""
_SAMPLE = 1 << 14
"""Rows, in a random order, that tell the mean length."""


class Rows(Protocol):
    """Encoded pairs, or what is made of them for an epoch."""

    def indices(self) -> Ids:
        """The index of each row, in an array of its own."""
        ...

    def lengths(self, indices: Ids, /) -> tuple[Lengths, Lengths]:
        """(indices,) each: tokens of the sources and of the targets of some rows."""
        ...

    def sources(self, indices: Ids, /) -> tuple[Ids, Ints]:
        """The source ids of several rows, one after the other, and their lengths."""
        ...

    def targets(self, indices: Ids, /) -> tuple[Ids, Ints]:
        """The target ids of several rows, one after the other, and their lengths."""
        ...


@dataclass(frozen=True)
class Batch:
    """Pairs of about equal length, padded on the right."""

    source_ids: Ints
    """(batch, source_length)"""
    source_lengths: Ints
    """(batch,)"""
    target_input: Ints
    """(batch, target_length): `<s>` and the target."""
    target_output: Ints
    """(batch, target_length): the target and `</s>`."""
    target_lengths: Ints
    """(batch,): tokens of the target with its `</s>`."""
    indices: Ints
    """(batch,): which rows of the data these are."""

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.indices)

    @property
    def target_tokens(self) -> int:
        """Real tokens of `target_output`."""
        return int(self.target_lengths.sum())

    def slice(self, rank: int, world: int) -> Batch:
        """The pairs that process `rank` of `world` trains on: together all of them, each once.

        Shapes keep the whole batch's lengths. With fewer pairs than processes some get none.
        """
        assert 0 <= rank < world
        return Batch(**{name: array[rank::world] for name, array in vars(self).items()})


@dataclass(frozen=True)
class _Epoch:
    """The batches of an epoch: four bytes for a pair and sixteen for a batch, as a corpus may have millions of them."""

    order: Ids
    """(pairs,): all pairs, those of a batch next to each other."""
    ends: Ids
    """(batches,): where each batch ends in `order`."""
    shuffled: Ids
    """(batches,): which batch comes first, second and so on."""
    positions: Ids
    """(batches,): places in each batch, padding included."""

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, position: int) -> Ids:
        batch = self.shuffled[position]
        return self.order[self.ends[batch - 1] if batch else 0 : self.ends[batch]]


class BatchPlan:
    """All epochs over `pairs`, in batches of at most `batch_tokens` padded tokens on either side.

    A target counts with its `</s>`. A pair that is longer than that alone is a batch of its own.
    """

    def __init__(
        self,
        pairs: Rows | Callable[[int], Rows],
        *,
        batch_tokens: int,
        seed: int,
        window_batches: int = WINDOW_BATCHES,
    ) -> None:
        """`pairs` of any epoch, or a function from an epoch to its pairs; `seed` gives the order.

        `window_batches` is for experiments.
        """
        assert batch_tokens > 0
        self._pairs = pairs
        self._batch_tokens = batch_tokens
        self._seed = seed
        self._window_batches = window_batches
        self._cached: tuple[int, Rows, _Epoch] | None = None

    @property
    def batches_per_epoch(self) -> int:
        """Batches in the first epoch; another epoch may have a few more or fewer."""
        return len(self._epoch(0)[1])

    def plan(self, epoch: int) -> list[Ids]:
        """The indices of each batch of an epoch, in order; every pair is in exactly one."""
        batches = self._epoch(epoch)[1]
        return [batches[position] for position in range(len(batches))]

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from position `start` on."""
        pairs, batches = self._epoch(epoch)
        for position in range(start, len(batches)):
            yield make_batch(pairs, batches[position])

    def sample(self, count: int) -> list[Batch]:
        """About `count` batches of the first epoch, spread over it, and the one with most positions last."""
        pairs, batches = self._epoch(0)
        chosen = np.unique(np.linspace(0, len(batches) - 1, count).astype(int)).tolist()
        largest = int(batches.positions[batches.shuffled].argmax())
        return [make_batch(pairs, batches[position]) for position in (*chosen, largest)]

    def _epoch(self, epoch: int) -> tuple[Rows, _Epoch]:
        """The pairs of an epoch and their batches; those of the last one asked for are kept."""
        if self._cached is None or self._cached[0] != epoch:
            self._cached = None  # two epochs' pairs need not be in memory at once
            pairs = self._pairs(epoch) if callable(self._pairs) else self._pairs
            self._cached = (epoch, pairs, self._make(epoch, pairs))
        return self._cached[1:]

    def _make(self, epoch: int, pairs: Rows) -> _Epoch:
        random = np.random.Generator(np.random.Philox(np.random.SeedSequence((self._seed, epoch))))
        order = pairs.indices()
        random.shuffle(order)
        sizes: list[Ids] = [np.zeros(0, np.int32)]
        positions: list[Ids] = [np.zeros(0, np.int64)]
        size = self._window_size(pairs, order)
        for start in range(0, len(order), size):
            window = order[start : start + size]
            sources, targets = pairs.lengths(window)
            by_length = _by_length(sources, targets + 1)
            window[:] = window[by_length]
            sources, targets = sources[by_length], targets[by_length] + 1
            sizes.append(_cut(sources, targets, self._batch_tokens))
            firsts = np.cumsum(sizes[-1]) - sizes[-1]
            longest = np.maximum.reduceat(sources, firsts) + np.maximum.reduceat(targets, firsts)
            positions.append(sizes[-1] * longest.astype(np.int64))
        ends = np.concatenate(sizes).cumsum(dtype=order.dtype)
        return _Epoch(order, ends, random.permutation(len(ends)).astype(np.int32), np.concatenate(positions))

    def _window_size(self, pairs: Rows, order: Ids) -> int:
        """Rows per window, all windows about equal."""
        if not len(order):
            return 1
        sources, targets = pairs.lengths(order[:_SAMPLE])
        mean = np.maximum(sources, targets + 1).mean()
        wanted = max(1, int(self._window_batches * self._batch_tokens / mean))
        windows = max(1, round(len(order) / wanted))
        return -(-len(order) // windows)


def dev_batches(pairs: EncodedPairs, *, batch_tokens: int, most: int | None = None) -> Iterator[Batch]:
    """Every pair once (at most `most`, spread evenly), in order of length: for evaluation, no randomness."""
    chosen = np.arange(len(pairs))
    if most is not None and most < len(pairs):
        chosen = np.linspace(0, len(pairs) - 1, most).round().astype(np.int64)
    sources, targets = pairs.lengths(chosen)
    order = _by_length(sources, targets + 1)
    ends = _cut(sources[order], targets[order] + 1, batch_tokens).cumsum()
    for indices in np.split(chosen[order], ends[:-1]) if len(ends) else ():
        yield make_batch(pairs, indices)


def make_batch(pairs: Rows, indices: Ids) -> Batch:
    """Gather and pad the pairs `indices`."""
    source_ids, source_lengths = pairs.sources(indices)
    target_ids, target_lengths = pairs.targets(indices)
    ends = np.full(len(indices), EOS)
    begins = np.full(len(indices), BOS)
    return Batch(
        source_ids=_pad(source_ids, source_lengths),
        source_lengths=source_lengths,
        target_input=_pad(target_ids, target_lengths, before=begins),
        target_output=_pad(target_ids, target_lengths, after=ends),
        target_lengths=target_lengths + 1,
        indices=np.asarray(indices, dtype=np.int64),
    )


def _pad(flat: Ids, lengths: Ints, *, before: Ints | None = None, after: Ints | None = None) -> Ints:
    """(tokens,) -> (batch, length), with a column of ids before or after each row's tokens."""
    extra = (before is not None) + (after is not None)
    padded = np.full((len(lengths), int(lengths.max()) + extra), PAD, dtype=np.int64)
    columns = np.arange(padded.shape[1])
    shift = 0
    if before is not None:
        padded[:, 0] = before
        shift = 1
    padded[(columns >= shift) & (columns < (lengths + shift)[:, None])] = flat
    if after is not None:
        padded[np.arange(len(lengths)), lengths + shift] = after
    return padded


def _by_length(sources: NDArray[Any], targets: NDArray[Any]) -> Ints:
    """The order by target length, and by source length within it; equal pairs stay in their order.

    Source lengths rise and fall by turns, so that a batch across two target lengths has sources of about one length.
    """
    return np.lexsort((np.where(targets % 2 == 0, sources, -sources), targets))


def _cut(sources: NDArray[Any], targets: NDArray[Any], batch_tokens: int) -> NDArray[np.int32]:
    """The sizes of the longest batches that hold at most `batch_tokens` a side, of pairs in order of target length."""
    sizes: list[int] = []
    start = 0
    while start < len(targets):
        # No more pairs than this fit, as those that follow are at least as long.
        most = max(1, batch_tokens // int(targets[start]))
        end = min(start + most, len(targets))
        longest = np.maximum.accumulate(np.maximum(sources[start:end], targets[start:end]), dtype=np.int64)
        fits = longest * np.arange(1, end - start + 1) <= batch_tokens
        sizes.append(len(fits) if fits.all() else max(1, int(fits.argmin())))
        start += sizes[-1]
    return np.array(sizes, np.int32)

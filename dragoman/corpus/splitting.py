"""Which rows are train, dev and test: decided by source, from 64-bit keys and a seed, whatever the order of the rows.

All rows of one key (one source sentence, or one group) go to one part. Every key has a rank, a seeded hash of it: the
test part takes the keys of the lowest ranks, the dev part those of the highest, so that neither moves when the other is
made larger. Knows keys, not texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dragoman.errors import DataError, OptionError

DEFAULT_DEV_SHARE = 0.05
DEFAULT_DEV_MOST = 2_000
DEFAULT_DEV_LEAST = 10

Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """What `dev` or `test` asks for; exactly one field is set."""

    sources: int | None = None
    """Hold out exactly so many different sources (or groups)."""
    share: float | None = None
    """Hold out this share of the sources."""
    paths: tuple[str, ...] = ()
    """Read this file, or these two aligned files, instead of holding anything out."""

    def count(self, available: int) -> int:
        """How many of `available` sources are held out."""
        if self.share is not None:
            return max(1, round(self.share * available))
        return self.sources or 0


@dataclass(frozen=True)
class Split:
    """Row indices of each part, ascending; parts without rows are empty."""

    train: Rows
    """Rows to learn from."""
    dev: Rows
    """Rows to choose the best checkpoint by."""
    test: Rows
    """Rows to score once."""
    train_sources: int
    """Different keys in `train`."""
    dev_sources: int
    """Different keys in `dev`."""
    test_sources: int
    """Different keys in `test`."""


def parse_held_out(values: tuple[str, ...], *, name: str) -> HeldOut | None:
    """What the values of the option `name` (`dev` or `test`) mean: a count, a share, a file or two; `None` if none."""
    if not values:
        return None
    numbers = [value for value in values if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?", value.strip())]
    if not numbers:
        if len(values) > 2:
            raise OptionError(f"`{name}` takes one file, or two aligned files, but {len(values)} were given")
        return HeldOut(paths=values)
    if len(values) > 1:
        raise OptionError(f"`{name}` takes files or one number, but is {' '.join(values)}")
    text = numbers[0].strip()
    if text.isdecimal() and int(text) > 0:
        return HeldOut(sources=int(text))
    if not text.endswith("%") and 0 < float(text) < 1:
        return HeldOut(share=float(text))
    raise OptionError(f"`{name}` must be a number of sources (2000), a share (0.05) or a file, but is {text}")


def default_dev(keys: Keys) -> HeldOut:
    """The dev part when nothing is said: 5 % of the sources, at most 2,000, at least 10 or a fifth of a tiny file."""
    available = len(different(keys))
    least = max(1, min(DEFAULT_DEV_LEAST, available // 5))
    return HeldOut(sources=min(DEFAULT_DEV_MOST, max(least, round(DEFAULT_DEV_SHARE * available))))


def split(keys: Keys, *, seed: int, dev: HeldOut | None = None, test: HeldOut | None = None) -> Split:
    """Split rows by their keys, shape (rows,). A part that is `None` or comes from files is left empty.

    The result depends on the set of keys and the seed alone: shuffling or repeating rows changes nothing. Raises
    `DataError` if nothing would be left to train on.
    """
    ranks = _ranks(keys, seed)
    ordered = different(ranks)
    available = len(ordered)
    test_count = test.count(available) if test else 0
    dev_count = dev.count(available) if dev else 0
    if test_count + dev_count >= available:
        raise DataError(_nothing_left(available, dev_count, test_count))
    in_test = ranks <= ordered[test_count - 1] if test_count else np.zeros(len(ranks), bool)
    in_dev = ranks >= ordered[available - dev_count] if dev_count else np.zeros(len(ranks), bool)
    return Split(
        train=np.flatnonzero(~(in_test | in_dev)),
        dev=np.flatnonzero(in_dev),
        test=np.flatnonzero(in_test),
        train_sources=available - dev_count - test_count,
        dev_sources=dev_count,
        test_sources=test_count,
    )


def different(values: Keys) -> Keys:
    """The different values, ascending; by sorting, which takes less time and memory than the table of `np.unique`."""
    ordered = np.sort(values)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def _nothing_left(available: int, dev: int, test: int) -> str:
    """The message when dev and test together take every source."""
    parts = " and ".join(f"{count:,} for {name}" for name, count in (("dev", dev), ("test", test)) if count)
    if not parts:
        return "there are no pairs to train on"
    return (
        f"the data has {available:,} different {'source' if available == 1 else 'sources'}, and {parts} would leave "
        "none to train on: hold out fewer, give files with `dev` and `test`, or add data"
    )


def _ranks(keys: Keys, seed: int) -> Keys:
    """A seeded hash of every key (splitmix64, a bijection: different keys have different ranks), shape (rows,)."""
    start = (0x9E3779B97F4A7C15 * (seed + 1)) % 2**64
    ranks = keys ^ np.uint64(_mix_one(start))
    ranks ^= ranks >> np.uint64(30)
    ranks *= np.uint64(0xBF58476D1CE4E5B9)
    ranks ^= ranks >> np.uint64(27)
    ranks *= np.uint64(0x94D049BB133111EB)
    ranks ^= ranks >> np.uint64(31)
    return ranks


def _mix_one(value: int) -> int:
    """Splitmix64 of one number, in Python integers: neighbouring seeds give unlike streams."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)

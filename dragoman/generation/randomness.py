"""Random numbers that depend on what they are for, not on when they are drawn; knows nothing of search.

A stream is a 64-bit key into which numbers are absorbed one after another: the seed, the source's ids, the sample, the
step. The same numbers give the same key in any batch and any order. The mixing function is the finaliser of SplitMix64
(Steele, Lea and Flood 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.generation.stepper import Floats

Keys = NDArray[np.uint64]

_STEP = 0x9E3779B97F4A7C15
_WORD = 2**64 - 1


def absorb(keys: Keys, values: NDArray[Any] | int) -> Keys:
    """New keys from keys and non-negative integers, broadcast against each other."""
    numbers = np.atleast_1d(values).astype(np.uint64)  # arrays wrap around in silence, single numbers do not
    mixed: Keys = _mix(keys + np.uint64(_STEP) * (numbers + np.uint64(1)))
    return mixed


def _mix(x: Any) -> Any:
    """An integer below 2**64, or an array of them."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _WORD
    return x ^ (x >> 31)


def source_keys(seed: int, source_ids: Sequence[Sequence[int]]) -> Keys:
    """(sources,): a key for each source, from the seed and its ids alone."""
    keys = []
    for ids in source_ids:
        key = 0
        for value in (seed, *ids):  # what `absorb` does, at a tenth of the time for a single number
            key = _mix(key + _STEP * (value + 1) & _WORD)
        keys.append(key)
    return np.array(keys, np.uint64)


def uniform(keys: Keys) -> Floats:
    """A number between 0 and 1, neither of them, for each key."""
    numbers: Floats = ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return numbers

"""Pairs a part of which is another one, as `jump left twice` from `walk twice`; knows ids, no texts and no models.

A model that read a word in few surroundings only is lost when it meets others (Lake and Baroni 2018). Good-enough compositional
augmentation shows them to it (Andreas 2020): parts that were seen in the same surroundings are put in each other's place. Here a
part is a whole source of its own, so that its target is known, and one is put nowhere if its like was seen there with another meaning. Nor is
a pair made whose source means something else if other parts of it are looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random
from typing import NamedTuple, TypeVar

import numpy as np

from dragoman.corpus.dataset import LONGEST

Pair = tuple[list[int], list[int]]
"""The ids of a source and of its target."""
Text = tuple[int, ...]
_Around = tuple[Text, Text]
"""What stands before a part and after it."""

_Between = tuple[Text, ...]
"""What a target leaves where that of a part is cut out of it."""
_ALONE: _Around = ((), ())
"""Surroundings of sources of one word."""
_LEAST = 3
"""Different targets that parts of a frame have at least: with fewer, a target may stand in a longer one by chance."""
_DOUBT = 0.1
"""Parts of another meaning for each one that fits, at most, among those that a part has surroundings in common with."""
_WORDS = 0.25
"""Probability that a word is replaced by any other one, whatever surroundings they have in common."""
_STEPS = 8
"""Parts that are replaced at most until a pair is none of those that are known."""
_AGAIN = 0.5
"""Probability that a new pair is changed once more."""
_LONGER = 3
"""Times that a new source or target may be as long as the longest known one."""
_READ = 64
"""Ids of sources that parts are looked for in, at most."""


_Item = TypeVar("_Item")


class _Frame(NamedTuple):
    """Surroundings of parts in sources, and what they become."""

    target: _Between
    """What stands before, between and after the target of a part."""
    parts: list[int]
    """Numbers of the parts that were seen in it and fit,"""
    fitting: int
    """as a set of bits,"""
    others: int
    """and of those whose pair is another one."""


class Recombination:
    """Puts other parts into pairs that are made of parts."""

    def __init__(self, pairs: Iterable[Pair]) -> None:
        """Sources of `pairs` with several targets are no parts, nor are long ones; none of those gets one more."""
        self._targets, self._several = _unambiguous(pairs)
        found = _found(self._targets)
        self._parts = sorted({part for _, fitting, _ in found.values() for part in fitting})
        self._numbers = {part: number for number, part in enumerate(self._parts)}
        self._frames: dict[_Around, _Frame] = {}
        self._around: list[list[_Around]] = [[] for _ in self._parts]
        self._near = [0] * len(self._parts)
        for around, (target, fitting, others) in found.items():
            inside = [self._numbers[part] for part in fitting]
            bits = _bits(inside)
            outside = [self._numbers[part] for part in others if part in self._numbers]
            self._frames[around] = _Frame(target, inside, bits, _bits(outside))
            for number in inside:
                self._around[number].append(around)
                self._near[number] |= bits
        self._known: dict[Text, list[tuple[_Around, int]]] = {}  # what was found before
        self._longest = tuple(
            min(_LONGER * max(map(len, side), default=0), LONGEST) for side in (self._targets, self._targets.values())
        )

    def __call__(self, pair: Pair, random: Random) -> Pair:
        """A pair that is not known, made of this one; this one where none is found."""
        text, said = map(tuple, pair)
        new: tuple[Text, Text] | None = None
        for _ in range(_STEPS):
            if (changed := self._changed(text, said, random)) is None:
                continue
            text, said = changed
            if text not in self._targets:
                new = changed
                if random.random() >= _AGAIN:
                    break
        return (list(new[0]), list(new[1])) if new else pair

    def agreement(self, pairs: Iterable[Pair], tries: int, random: Random) -> tuple[int, int]:
        """Of so many pairs that are made, how many have the source of one of `pairs` that is not known, and how many its target too."""
        known = list(self._targets)
        held = {source: target for source, target in _unambiguous(pairs)[0].items() if source not in self._targets}
        met = right = 0
        for _ in range(tries if known else 0):
            source = _one_of(known, random)
            changed = self._changed(source, self._targets[source], random)
            if changed is not None and (target := held.get(changed[0])) is not None:
                met += 1
                right += target == changed[1]
        return met, right

    def _changed(self, source: Text, target: Text, random: Random) -> tuple[Text, Text] | None:
        """The pair with one other part; None if it has none, or the one that is drawn does not fit."""
        if not (places := self._places(source, target)):
            return None
        around, part = _one_of(places, random)
        shared = _one_of(self._around[part], random)
        if (words := self._frames.get(_ALONE)) and words.fitting >> part & 1 and random.random() < _WORDS:
            shared = _ALONE
        other = _one_of(self._frames[shared].parts, random)
        if self._doubtful(around, other):
            return None
        source, target = around[0] + self._parts[other] + around[1], self._said(around, other)
        if len(source) > self._longest[0] or len(target) > self._longest[1] or self._disputed(source, target):
            return None
        return source, target

    def _doubtful(self, around: _Around, part: int) -> bool:
        """Whether the like of a part were seen there with another meaning."""
        frame, near = self._frames[around], self._near[part]
        return frame.others > 0 and (near & frame.others).bit_count() > _DOUBT * (near & frame.fitting).bit_count()

    def _said(self, around: _Around, part: int) -> Text:
        return _filled(self._frames[around].target, self._targets[self._parts[part]])

    def _disputed(self, source: Text, target: Text) -> bool:
        """Whether a source is known with another target or several, or has another one if it is taken apart elsewhere."""
        if source in self._several:
            return True
        if (known := self._targets.get(source)) is not None:
            return known != target
        return any(
            self._said(around, part) != target and not self._doubtful(around, part)
            for around, part in self._readings(source)
        )

    def _places(self, source: Text, target: Text) -> list[tuple[_Around, int]]:
        """The parts of a pair that could be others, and what stands around them."""
        if len(source) > _READ:
            return []
        known = self._targets.get(source) == target
        if known and source in self._known:
            return self._known[source]
        found = [reading for reading in self._readings(source) if self._said(*reading) == target]
        if known:
            self._known[source] = found
        return found

    def _readings(self, source: Text) -> Iterator[tuple[_Around, int]]:
        """All parts of a source, and what stands around them."""
        for begin in range(len(source)):
            for end in range(begin + 1, len(source) + (begin > 0)):
                if (part := self._numbers.get(source[begin:end])) is not None:
                    around = source[:begin], source[end:]
                    if around in self._frames:
                        yield around, part


def _one_of(items: list[_Item], random: Random) -> _Item:
    """As `Random.choice`, which takes several times as long."""
    return items[int(random.random() * len(items))]


def _unambiguous(pairs: Iterable[Pair]) -> tuple[dict[Text, Text], set[Text]]:
    """Of sources that are not long, the target of each that has only one, and those that have several."""
    targets: dict[Text, Text | None] = {}
    for source, target in pairs:
        if len(source) > _READ:
            continue
        key, value = tuple(source), tuple(target)
        targets[key] = value if targets.get(key, value) == value else None
    several = {source for source, target in targets.items() if target is None}
    return {source: target for source, target in targets.items() if source and target}, several


def _found(targets: dict[Text, Text]) -> dict[_Around, tuple[_Between, list[Text], list[Text]]]:
    """For surroundings of parts: what stands between their targets, the parts that fit, and the others.

    Where it may be this or that, it is the one with the fewest ids, as parts then say most of a target, and then with the shortest parts. Sources of
    one word whose target is one are alike: they have nothing around them in common.
    """
    seen = defaultdict[_Around, list[Text]](list)
    often = _often(targets)
    for around, part in _divisions(targets):
        if hash(around) in often:
            seen[around].append(part)
    found: dict[_Around, tuple[_Between, list[Text], list[Text]]] = {}
    for around, parts in seen.items():
        if len(parts) < _LEAST:
            continue
        wholes = [targets[around[0] + part + around[1]] for part in parts]
        said = defaultdict[_Between, set[Text]](set)
        for part, whole in zip(parts, wholes, strict=True):
            said[_cut(whole, targets[part])].add(targets[part])
        ranked = []
        for between, own in said.items():
            if len(between) > 1 and len(own) >= _LEAST:
                fits = [_filled(between, targets[part]) == whole for part, whole in zip(parts, wholes, strict=True)]
                mean = sum(len(part) for part, fit in zip(parts, fits, strict=True) if fit) / sum(fits)
                ranked.append((sum(map(len, between)), mean, between, fits))
        if ranked:
            *_, between, fits = min(ranked)
            fitting, others = (
                [part for part, fit in zip(parts, fits, strict=True) if fit is kind] for kind in (True, False)
            )
            found[around] = between, fitting, others
    words: list[Text] = [source for source, target in targets.items() if len(source) == len(target) == 1]
    if len(words) >= _LEAST:
        found[_ALONE] = ((), ()), words, []
    return found


def _often(targets: dict[Text, Text]) -> set[int]:
    """Hashes of surroundings that may have enough parts: the surroundings of all would take gigabytes."""
    hashes = np.fromiter((hash(around) for around, _ in _divisions(targets)), np.int64)
    values, counts = np.unique(hashes, return_counts=True)
    return set(values[counts >= _LEAST].tolist())


def _divisions(targets: dict[Text, Text]) -> Iterator[tuple[_Around, Text]]:
    """All parts of all sources, and what stands around them."""
    beginnings = {hash(source[:end]) for source in targets for end in range(1, len(source) + 1)}
    for source in targets:
        for begin in range(len(source)):
            for end in range(begin + 1, len(source) + (begin > 0)):
                part = source[begin:end]
                if hash(part) not in beginnings:
                    break
                if part in targets:
                    yield (source[:begin], source[end:]), part


def _cut(whole: Text, part: Text) -> _Between:
    """What is left of a target without that of a part, wherever it stands, from the left."""
    found, begin, place = list[Text](), 0, 0
    while place < len(whole):
        if whole[place : place + len(part)] == part:
            found.append(whole[begin:place])
            begin = place = place + len(part)
        else:
            place += 1
    return (*found, whole[begin:])


def _filled(between: _Between, part: Text) -> Text:
    """A target with that of a part in all places that were cut out."""
    whole = between[0]
    for following in between[1:]:
        whole += part + following
    return whole


def _bits(numbers: Iterable[int]) -> int:
    """Numbers as a set of bits."""
    found = 0
    for number in numbers:
        found |= 1 << number
    return found

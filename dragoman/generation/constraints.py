"""What an output must and must not be, in ids, and the checks that it can be; knows no text and no model.

`Constraints` are what one source's outputs must satisfy; `dragoman.generation.rules` keeps them while searching.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from dragoman.errors import OptionError, counted
from dragoman.generation.automaton import START, Automaton, trie
from dragoman.generation.stepper import BOS, EOS, PAD, UNK

Phrase = tuple[int, ...]

_MOST_PAIRS = 20_000
"""Pairs of states, times phrases, that are looked at to find an output within a pattern."""


@dataclass(frozen=True)
class Constraints:
    """What the outputs of one source must satisfy; all ids are target ids, without `<s>` and `</s>`."""

    prefix: Phrase = ()
    """The output begins with these ids."""
    require: tuple[Phrase, ...] = ()
    """Every one of these phrases stands somewhere in the output, its ids side by side."""
    forbid: tuple[Phrase, ...] = ()
    """None of these phrases stands anywhere in the output; what follows `<s>` in one may only not begin the output."""
    choices: tuple[Phrase, ...] = ()
    """The output is one of these; empty for no such limit."""
    pattern: Automaton | None = None
    """The output stays in this automaton."""

    def __bool__(self) -> bool:
        return bool(self.prefix or self.require or self.forbid or self.choices or self.pattern)


def contains(ids: Sequence[int], phrase: Sequence[int]) -> bool:
    """Whether `phrase` stands side by side in `ids`."""
    n = len(phrase)
    return any(tuple(ids[i : i + n]) == tuple(phrase) for i in range(len(ids) - n + 1))


def least_room(phrases: Sequence[Phrase]) -> int:
    """Ids that any output with all these phrases has at least: each may share its beginning with one other's end."""
    whole = [p for p in set(phrases) if not any(p != q and contains(q, p) for q in phrases)]
    shared = 0
    for phrase in whole:
        others = [q for q in whole if q != phrase]
        shared += max((n for q in others for n in range(len(phrase)) if n and q[-n:] == phrase[:n]), default=0)
    longest = max((len(p) for p in whole), default=0)
    return max(longest, sum(len(p) for p in whole) - shared)


def _room(constraints: Constraints) -> int:
    """Ids that any output with the prefix and all required phrases has at least."""
    prefix = constraints.prefix
    missing = [phrase for phrase in constraints.require if not contains(prefix, phrase)]
    # The end of the prefix may be the beginning of what is missing.
    shared = max((n for p in missing for n in range(1, len(p)) if prefix[-n:] == p[:n]), default=0)
    return len(prefix) + max(0, least_room(missing) - shared)


def fallbacks(phrase: Sequence[int]) -> list[int]:
    """For every length of the phrase's beginning, the longest shorter beginning that is its end too."""
    table = [0] * (len(phrase) + 1)
    for size in range(2, len(phrase) + 1):
        standing = table[size - 1]
        while standing and phrase[standing] != phrase[size - 1]:
            standing = table[standing]
        table[size] = standing + (phrase[standing] == phrase[size - 1])
    return table


def settle(constraints: Constraints, *, min_length: int, max_length: int, no_repeat_ngram: int) -> Constraints:
    """Check that `constraints` can be met by some output of `min_length` to `max_length` ids (with `</s>`).

    Choices become an automaton of those that satisfy all the rest, which then needs no watching. Raises `OptionError`.
    """
    if constraints.choices and constraints.pattern:
        raise OptionError("`choices` and `match` must not be given together: both say what whole outputs may be")
    if constraints.choices:
        return Constraints(pattern=_settle_choices(constraints, min_length, max_length, no_repeat_ngram))
    _check_phrases(constraints, no_repeat_ngram)
    needed = _room(constraints) + 1
    if needed > max_length:
        raise OptionError(
            f"`prefix` and `require` must fit into `max_length` ({counted(max_length, 'token')} with the end), but need {needed:,}"
        )
    if constraints.pattern is not None:
        _check_pattern(constraints, constraints.pattern, min_length, max_length)
    return constraints


@lru_cache(maxsize=64)
def check_ids(constraints: Constraints, *, vocab_size: int, allow_unknown: bool = True) -> None:
    """Raise `OptionError` if a phrase is empty or holds an id that no output may hold."""
    named = {"prefix": (constraints.prefix,), "require": constraints.require, "forbid": constraints.forbid}
    for name, phrases in (*named.items(), ("choices", constraints.choices)):
        for phrase in phrases:
            if not phrase and name in ("require", "forbid"):
                raise OptionError(f"`{name}` must hold phrases of at least one token, but one is empty")
            words = phrase[1:] if name == "forbid" and len(phrase) > 1 and phrase[0] == BOS else phrase
            for token in words:
                if not 0 <= token < vocab_size or token in (PAD, BOS, EOS):
                    raise OptionError(
                        f"`{name}` must hold ids of words (below {vocab_size}, no special ones), but has {token}"
                    )
                if token == UNK and not allow_unknown and name != "forbid":
                    raise OptionError(f"`{name}` must not hold the unknown word (id {UNK}) without `allow_unknown`")


def _check_phrases(constraints: Constraints, n: int) -> None:
    for phrase in constraints.forbid:
        if contains((BOS, *constraints.prefix), phrase):
            raise OptionError(f"`prefix` must not hold a phrase of `forbid`, but does: {list(phrase)}")
        if any(contains(required, phrase) for required in constraints.require):
            raise OptionError(f"`require` must not hold a phrase of `forbid`, but does: {list(phrase)}")
    for name, phrases in (("prefix", (constraints.prefix,)), ("require", constraints.require)):
        if n and any(_repeats(phrase, n) for phrase in phrases):
            raise OptionError(f"`{name}` must not repeat {counted(n, 'token')} in a row while `no_repeat_ngram` is {n}")


def _runs(ids: Phrase, n: int) -> list[Phrase]:
    """All runs of n ids side by side."""
    return [ids[i : i + n] for i in range(len(ids) - n + 1)]


def _repeats(ids: Phrase, n: int) -> bool:
    grams = _runs(ids, n)
    return len(grams) > len(set(grams))


def _settle_choices(constraints: Constraints, min_length: int, max_length: int, n: int) -> Automaton:
    lengths = [len(choice) + 1 for choice in constraints.choices]
    # Limits that exclude nothing are all the same, so that sources of many lengths share one automaton.
    left = _choices_left(constraints, max(min_length, min(lengths)), min(max_length, max(lengths)), n)
    if left is None:
        raise OptionError(
            f"`choices` must hold an output that the other options allow, but none of its {len(lengths):,} is allowed"
        )
    return left


@lru_cache(maxsize=64)
def _choices_left(constraints: Constraints, min_length: int, max_length: int, n: int) -> Automaton | None:
    """The automaton of the choices that satisfy everything else; None if there is none."""
    prefix, forbidden = constraints.prefix, frozenset(constraints.forbid)
    sizes = {len(phrase) for phrase in forbidden}
    left = [
        choice
        for choice in constraints.choices
        if min_length <= len(choice) + 1 <= max_length
        and choice[: len(prefix)] == prefix
        and all(contains(choice, phrase) for phrase in constraints.require)
        and not any(grams in forbidden for size in sizes for grams in _runs((BOS, *choice), size))
        and not (n and _repeats(choice, n))
    ]
    return trie(left) if left else None


def _check_pattern(constraints: Constraints, pattern: Automaton, min_length: int, max_length: int) -> None:
    state, prefix = np.array([START]), constraints.prefix
    for token in prefix:
        state = pattern.advance(state, np.array([token]))
    if state[0] < 0:
        raise OptionError("`prefix` must be the beginning of an output that `match` allows, but is not")
    needed, most = (len(prefix) + int(lengths[state[0]]) for lengths in (pattern.distance, pattern.reach))
    if needed > max_length:
        raise OptionError(
            f"`match` must allow an output of at most `max_length` ({counted(max_length, 'token')} with the end), "
            f"but the shortest has {needed:,}"
        )
    if most < min_length:
        raise OptionError(
            f"`match` must allow an output of at least `min_length` ({counted(min_length, 'token')} with the end), "
            f"but the longest has {most}"
        )
    if (constraints.require or constraints.forbid) and not _some_output(
        pattern, int(state[0]), prefix, constraints.require, constraints.forbid, max_length
    ):
        raise OptionError(
            f"`match` must allow an output of at most {counted(max_length, 'token')} with all of `require` and nothing of "
            "`forbid`, but there is none"
        )


@lru_cache(maxsize=64)
def _some_output(
    pattern: Automaton, state: int, prefix: Phrase, require: tuple[Phrase, ...], forbid: tuple[Phrase, ...], most: int
) -> bool:
    """Whether an output of at most so many ids stays in the automaton and keeps to both lists; True if that is long to tell.

    A search over pairs of the automaton's state and how much of every phrase stands at the end of the output.
    """
    phrases = (*require, *forbid)
    tables = [fallbacks(phrase) for phrase in phrases]
    named = np.array(sorted({token for phrase in phrases for token in phrase}))

    def after(standing: tuple[int, ...], token: int) -> tuple[int, ...] | None:
        """Of each phrase so much stands after one more id; None if a forbidden one is whole."""
        grown = []
        for number, (phrase, table, size) in enumerate(zip(phrases, tables, standing, strict=True)):
            if number < len(require) and size == len(phrase):  # once there, it is there
                grown.append(size)
                continue
            while size and phrase[size] != token:
                size = table[size]
            size += phrase[size] == token
            if number >= len(require) and size == len(phrase):
                return None
            grown.append(size)
        return tuple(grown)

    def edges(state: int) -> list[tuple[int, int]]:
        """Ids and states that may follow; of the ids that stand in no phrase one for each state."""
        own = slice(pattern.offsets[state], pattern.offsets[state + 1])
        ids, targets = pattern.ids[own], pattern.targets[own]
        known = np.isin(ids, named)
        others = [(-1, target) for target in np.unique(targets[~known]).tolist()]
        return [*zip(ids[known].tolist(), targets[known].tolist(), strict=True), *others]

    standing: tuple[int, ...] | None = (0,) * len(phrases)
    for token in (BOS, *prefix):
        standing = after(standing, token) if standing is not None else None
    seen = {(state, standing)}
    layer, length = list(seen), len(prefix)
    whole = tuple(map(len, require))
    while layer and length < most:
        coming = []
        for state, standing in layer:
            if standing is None:
                continue
            if pattern.distance[state] == 1 and standing[: len(require)] == whole:
                return True
            for token, target in edges(state):
                pair = (target, after(standing, token))
                if pair not in seen:
                    seen.add(pair)
                    coming.append(pair)
        if len(seen) * len(phrases) > _MOST_PAIRS:
            return True
        layer, length = coming, length + 1
    return False


def constraints_from_text(
    encode: Callable[[str], Sequence[int]],
    *,
    spellings: Callable[[Phrase], Iterable[Phrase]] = lambda ids: (ids,),
    prefix: str | None = None,
    require: Iterable[str] = (),
    forbid: Iterable[str] = (),
    choices: Iterable[str] = (),
    pattern: Automaton | None = None,
) -> Constraints:
    """Constraints from words and phrases; `encode` gives the ids of a text, with UNK for what it cannot spell.

    `spellings` gives all ids that spell what some ids spell: what is forbidden is forbidden in each of them.

    Raises `OptionError` for a text that the vocabulary cannot spell, or that holds what is forbidden.
    """

    def spell(name: str, text: str) -> Phrase:
        ids = tuple(encode(text))
        if not ids or UNK in ids:
            raise OptionError(f"`{name}` must be spelled with the model's vocabulary, but {text!r} cannot be")
        return ids

    forbidden = {ids: text for text in forbid for ids in spellings(spell("forbid", text))}
    required = {spell("require", text): text for text in require}
    begun = {spell("prefix", prefix): prefix} if prefix else {}
    for name, held in (("prefix", begun), ("require", required)):
        for (ids, text), (phrase, other) in product(held.items(), forbidden.items()):
            if contains(ids, phrase):
                raise OptionError(f"`{name}` must not hold a phrase of `forbid`, but {text!r} holds {other!r}")
    return Constraints(
        prefix=next(iter(begun), ()),
        require=tuple(required),
        forbid=tuple(forbidden),
        choices=tuple(dict.fromkeys(spell("choices", text) for text in choices)),
        pattern=pattern,
    )

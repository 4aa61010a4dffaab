"""Laws of pairs that are made of other parts: they mean what the language says, are new, and the same for the same draw."""

from __future__ import annotations

import re
import tracemalloc
from itertools import product
from random import Random

import pytest

from dragoman.corpus.recombination import Pair, Recombination

VERBS, WAYS, TIMES = {"walk": "W", "run": "R", "look": "L"}, {"left": "<", "right": ">"}, {"twice": 2, "thrice": 3}
WORDS = [*VERBS, *WAYS, *TIMES, "around", "and", "after", *VERBS.values(), *WAYS.values()]


def meaning(words: list[str]) -> str:
    """What a command says; `and` and `after` bind less than what follows a verb, as `left`, `around left` and `twice` do."""
    for joint, order in (("and", 1), ("after", -1)):
        if joint in words:
            place = words.index(joint)
            return "".join([meaning(words[:place]), meaning(words[place + 1 :])][::order])
    if len(words) == 1:
        return VERBS[words[0]]
    *rest, last = words
    if last in TIMES:
        return meaning(rest) * TIMES[last]
    return (WAYS[last] + meaning(rest[:-1])) * 4 if rest[-1] == "around" else WAYS[last] + meaning(rest)


def ids(text: str, gap: str | None = None) -> list[int]:
    return [4 + WORDS.index(word) for word in (text.split(gap) if gap else text)]


def words(source: list[int]) -> list[str]:
    return [WORDS[i - 4] for i in source]


def commands(longest: int) -> list[Pair]:
    """All commands of at most so many actions."""
    ways = ["", *WAYS, *(f"around {way}" for way in WAYS)]
    simple = [" ".join(" ".join(found).split()) for found in product(VERBS, ways, ["", *TIMES])]
    double = [f"{one} {joint} {other}" for one, joint, other in product(simple, ("and", "after"), simple)]
    said = [(text, meaning(text.split())) for text in [*simple, *double]]
    return [(ids(text, " "), ids(target)) for text, target in said if len(target) <= longest]


SHORT = commands(12)
KNOWN = {tuple(source) for source, _ in SHORT}


def made(parts: Recombination, pairs: list[Pair]) -> list[Pair]:
    return [parts(pair, Random(i)) for i, pair in enumerate(pairs)]


def test_a_source_with_several_targets_gets_no_other_one() -> None:
    """It is known, though it is no part: a pair of it is not new, or says something else than those that are known."""
    alone = [([word], [10 + word]) for word in (4, 5, 6, 7, 8)]
    twice = [([word, 9], [10 + word] * 2) for word in (5, 6, 7, 8)]
    assert ([4, 9], [14, 14]) in made(Recombination(alone + twice), twice * 50)
    several: list[Pair] = [([4, 9], [14, 14]), ([4, 9], [14, 99])]
    assert made(Recombination(alone + twice + several), twice * 50) == twice * 50


def test_new_commands_mean_what_the_language_says() -> None:
    found = [pair for pair, old in zip(made(Recombination(SHORT), SHORT), SHORT, strict=True) if pair != old]
    assert len(found) > len(SHORT) / 3
    assert not KNOWN & {tuple(source) for source, _ in found}
    right = [target == ids(meaning(words(source))) for source, target in found]
    assert sum(right) > 0.99 * len(found)
    for (source, _), said in zip(found, right, strict=True):
        assert said or sum(word in ("and", "after") for word in words(source)) > 1  # no command has two of them
    assert sum(len(target) > 12 for _, target in found) > 20


def test_a_part_stands_nowhere_where_its_like_has_another_meaning() -> None:
    """`walk and run twice` is no `walk and run`, twice."""
    said = {
        words_of: meaning(list(words_of)) for words_of in (("walk", "and", "run", "twice"), ("walk", "left", "twice"))
    }
    assert said == {("walk", "and", "run", "twice"): "WRR", ("walk", "left", "twice"): "<W<W"}
    parts = Recombination(SHORT)
    found = [parts(pair, Random(i)) for pair in SHORT for i in range(5) if words(pair[0])[-1] in TIMES]
    joined = [pair for pair in found if {"and", "after"} & set(words(pair[0])) and tuple(pair[0]) not in KNOWN]
    assert len(joined) > 50
    assert all(target == ids(meaning(words(source))) for source, target in joined)


def test_nothing_is_made_of_parts_that_say_different_things() -> None:
    """Nobody has seen whether `f a + b` is `f` of a sum or a sum with an `f`."""
    names = list("abc")
    sums = [" + ".join(found) for length in (1, 2, 3) for found in product(names, repeat=length)]
    calls = [f"f {name}" for name in names]
    sources = [*sums, *calls, *(f"{name} + {call}" for name, call in product(names, calls))]
    known = {word: i for i, word in enumerate(["+", "f", *names, "(", ")"], start=4)}
    targets = [re.sub(r"f (\w)", r"f ( \1 )", source) for source in sources]
    pairs = [
        ([known[word] for word in one.split()], [known[word] for word in other.split()])
        for one, other in zip(sources, targets, strict=True)
    ]
    parts = Recombination(pairs)
    new = [parts(pair, Random(i)) for pair in pairs for i in range(50)]
    called = [source for source, _ in new if known["f"] in source]
    assert len(called) > 500
    assert all(known["+"] not in source[source.index(known["f"]) :] for source in called)


def test_the_commands_it_makes_reach_what_was_left_out() -> None:
    rest = [pair for pair in commands(24) if len(pair[1]) > 12]
    met, right = Recombination(SHORT).agreement(rest, 5_000, Random(1))
    assert met > 50
    assert right == met


def test_agreement_tells_where_commands_mean_something_else() -> None:
    rest = [(source, [*target, 4]) for source, target in commands(24) if len(target) > 12]
    met, right = Recombination(SHORT).agreement(rest, 5_000, Random(1))
    assert met > 50
    assert right == 0


def test_nothing_agrees_by_chance() -> None:
    """Where a target is no more than its length and the sum of its source."""
    draw = Random(3)
    texts = {tuple(draw.choices(range(4, 9), k=draw.randint(1, 5))) for _ in range(2_000)}
    pairs = [(list(text), [4 + (sum(text) * len(text) + i) % 7 for i in range(len(text))]) for text in sorted(texts)]
    draw.shuffle(pairs)
    met, right = Recombination(pairs[: len(pairs) // 2]).agreement(pairs[len(pairs) // 2 :], 5_000, Random(1))
    assert right < 0.9 * met or met < 20


def test_agreement_is_that_of_new_commands() -> None:
    """A known one is made right of what it was taken apart to, and wrong if it has another target, too."""
    other = [(source, [*target, 4]) for source, target in SHORT]
    for pairs in (SHORT, other):
        assert Recombination(SHORT).agreement(pairs, 1_000, Random(1)) == (0, 0)


def test_the_same_draw_gives_the_same_pair_however_often_it_is_asked() -> None:
    parts = Recombination(SHORT)
    first = made(parts, SHORT)
    assert first == made(parts, SHORT)
    fresh = Recombination(SHORT)
    for i in (len(SHORT) - 1, len(SHORT) // 2, 0):  # whatever was asked before
        assert fresh(SHORT[i], Random(i)) == first[i]


def test_a_word_stands_where_other_words_do_even_if_it_was_seen_alone_only() -> None:
    jump = len(WORDS) + 4
    pairs = [*SHORT, ([jump], [jump + 1])]
    new = [pair for pair in made(Recombination(pairs), pairs) if jump in pair[0] and len(pair[0]) > 1]
    assert len(new) > 20
    walk = {jump: ids("walk", " ")[0], jump + 1: ids("W")[0]}
    as_walk = [[[walk.get(i, i) for i in side] for side in pair] for pair in new]
    single = [
        (source, target) for source, target in as_walk if sum(word in ("and", "after") for word in words(source)) < 2
    ]
    assert all(target == ids(meaning(words(source))) for source, target in single)


def test_a_word_of_a_longer_meaning_is_not_like_the_others() -> None:
    long = len(WORDS) + 4
    pairs = [*SHORT, ([long], [long + 1, long + 2])]
    assert not any(long in source and len(source) > 1 for source, _ in made(Recombination(pairs), pairs))


def test_a_source_that_comes_with_another_target_is_not_taken_apart_by_the_first() -> None:
    parts, odd = Recombination(SHORT), (ids("walk left twice", " "), ids("RRR"))
    for i in range(20):
        parts((ids("walk left twice", " "), ids("<W<W")), Random(i))
        assert parts(odd, Random(i)) == odd


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [([4], [])],
        [([4] * 100, [5] * 100), ([4], [5])],
        [([4], [5]), ([4], [6]), ([4, 7], [5, 8]), ([5, 7], [6, 8])],  # 4 has two targets
    ],
)
def test_pairs_without_parts_stay_as_they_are(pairs: list[Pair]) -> None:
    parts = Recombination(pairs)
    assert made(parts, [*pairs, ([9, 9], [9])]) == [*pairs, ([9, 9], [9])]
    assert parts.agreement(SHORT, 100, Random(1)) == (0, 0)


def test_outputs_grow_to_three_times_the_longest_at_most() -> None:
    parts = Recombination(SHORT)
    sizes = [len(target) for i in range(20) for _, target in (parts(pair, Random(i)) for pair in SHORT)]
    assert 24 < max(sizes) <= 36


def test_surroundings_that_were_seen_once_take_no_memory() -> None:
    """50,000 sources of 60 words took four gigabytes."""
    draw = Random(4)
    texts = [(word,) for word in range(4, 24)] + [tuple(draw.choices(range(4, 24), k=60)) for _ in range(500)]
    pairs = [(list(text), list(text)) for text in texts]
    tracemalloc.start()
    try:
        Recombination(pairs)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()

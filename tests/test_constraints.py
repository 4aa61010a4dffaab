"""Constraints, each by brute force: a search under constraints finds the best of the outputs that satisfy them."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from steppers import Prefix, TableStepper, every_output

from dragoman.config import SearchOptions
from dragoman.corpus.tokenization import Tokenizer
from dragoman.corpus.tokenizer_learning import learn
from dragoman.errors import OptionError
from dragoman.generation import plan
from dragoman.generation.automaton import FAR, START, Automaton, distances, trie
from dragoman.generation.choosing import Candidates, Layout, choose_by_banks
from dragoman.generation.constraints import Constraints, constraints_from_text, contains, fallbacks, least_room
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.patterns import compile_pattern, token_texts
from dragoman.generation.rules import repeated
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, EOS, PAD, UNK
from dragoman.translation.texts import Texts

ROOM = SearchOptions(beam_size=200, num_hypotheses=200, max_length=4)
WORDS = [UNK, 4, 5]
"""All ids that a model with a vocabulary of 6 may put into an output."""

sources = st.lists(st.lists(st.integers(4, 9), min_size=1, max_size=3), min_size=1, max_size=3)
seeds = st.integers(0, 10_000)
phrases = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(tuple)


def assert_best(
    model: TableStepper,
    source: list[int],
    found: list[Hypothesis],
    good: Callable[[Prefix], bool],
    max_length: int = 4,
    penalty: Callable[[Prefix], float] = lambda _: 0.0,
) -> None:
    """`found` starts with all finished outputs whose words are `good`, ranked by mean score less penalties."""
    outputs = [o for o in every_output(model, source, max_length) if o.finished and good(o.ids[:-1])]
    outputs.sort(key=lambda o: -(o.score - penalty(o.ids[:-1])) / len(o.ids))
    finished = [h for h in found if h.finished]
    assert [h.ids for h in finished] == [o.ids for o in outputs]
    assert [h.score for h in finished] == pytest.approx([o.score for o in outputs], abs=1e-10)
    values = [(o.score - penalty(o.ids[:-1])) / len(o.ids) for o in outputs]
    assert [h.normalized_score for h in finished] == pytest.approx(values, abs=1e-6)
    assert [h.finished for h in found] == sorted((h.finished for h in found), reverse=True)


def assert_all_best(
    seed: int,
    source_ids: list[list[int]],
    options: SearchOptions,
    constraints: Constraints | None,
    good: Callable[[Prefix], bool],
) -> None:
    model = TableStepper(seed=seed)
    results = search(model, source_ids, options=options, constraints=constraints)
    for source, found in zip(source_ids, results, strict=True):
        assert_best(model, source, found, good, int(options.max_length or 4))
        alone = search(TableStepper(seed=seed), [source], options=options, constraints=constraints)[0]
        assert alone == found


# Brute force, mode by mode


@given(seeds, sources, st.integers(0, 4))
@settings(max_examples=20, deadline=None)
def test_min_length(seed: int, source_ids: list[list[int]], least: int) -> None:
    options = ROOM.model_copy(update={"min_length": least})
    assert_all_best(seed, source_ids, options, None, lambda words: len(words) + 1 >= least)


@given(seeds, sources, phrases)
@settings(max_examples=20, deadline=None)
def test_prefix(seed: int, source_ids: list[list[int]], prefix: Prefix) -> None:
    good = lambda words: words[: len(prefix)] == prefix  # noqa: E731
    assert_all_best(seed, source_ids, ROOM, Constraints(prefix=prefix), good)


@given(seeds, sources, st.lists(phrases, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_forbidden_phrases(seed: int, source_ids: list[list[int]], forbid: list[Prefix]) -> None:
    good = lambda words: not any(contains(words, phrase) for phrase in forbid)  # noqa: E731
    assert_all_best(seed, source_ids, ROOM, Constraints(forbid=tuple(forbid)), good)


@given(seeds, sources, st.lists(phrases, min_size=1, max_size=3, unique=True))
@settings(max_examples=50, deadline=None)
def test_required_phrases(seed: int, source_ids: list[list[int]], require: list[Prefix]) -> None:
    assume(least_room(require) < 4)
    good = lambda words: all(contains(words, phrase) for phrase in require)  # noqa: E731
    assert_all_best(seed, source_ids, ROOM, Constraints(require=tuple(require)), good)


@given(seeds, sources, st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_no_repeated_ngrams(seed: int, source_ids: list[list[int]], n: int) -> None:
    def good(words: Prefix) -> bool:
        grams = [words[i : i + n] for i in range(len(words) - n + 1)]
        return len(grams) == len(set(grams))

    options = ROOM.model_copy(update={"no_repeat_ngram": n})
    assert_all_best(seed, source_ids, options, None, good)


@given(seeds, sources, st.sampled_from([0.5, 2.0]))
@settings(max_examples=20, deadline=None)
def test_repetition_penalty(seed: int, source_ids: list[list[int]], penalty: float) -> None:
    def repeats(words: Prefix) -> float:
        return penalty * sum(word in words[:i] for i, word in enumerate(words))

    model = TableStepper(seed=seed)
    options = ROOM.model_copy(update={"repetition_penalty": penalty})
    for source, found in zip(source_ids, search(model, source_ids, options=options), strict=True):
        assert_best(model, source, found, lambda _: True, penalty=repeats)


choice_lists = st.lists(st.lists(st.sampled_from(WORDS), max_size=5).map(tuple), min_size=1, max_size=8, unique=True)


@given(seeds, sources, choice_lists)
@settings(max_examples=40, deadline=None)
def test_choices(seed: int, source_ids: list[list[int]], choices: list[Prefix]) -> None:
    constraints = Constraints(choices=tuple(choices))
    if all(len(choice) > 3 for choice in choices):
        with pytest.raises(OptionError, match="`choices` must hold an output that the other options allow"):
            search(TableStepper(), source_ids, options=ROOM, constraints=constraints)
        return
    assert_all_best(seed, source_ids, ROOM, constraints, lambda words: words in choices)
    for beam_size in (1, 2):  # a narrow beam never leaves the list, nor starts on what it cannot finish
        options = SearchOptions(beam_size=beam_size, max_length=4)
        for found in search(TableStepper(seed=seed), source_ids, options=options, constraints=constraints):
            assert found[0].finished
            assert found[0].ids[:-1] in choices


TEXTS = [None, "?", None, None, "a", "ab"]
"""What ids add to the text."""


@given(seeds, sources, st.sampled_from(["a*", "(ab|a)+", "aab.*", "a?b?.b", "(a|ab){2,3}", "[^a]+|ab", "(?i)AB?.?"]))
@settings(max_examples=40, deadline=None)
def test_pattern(seed: int, source_ids: list[list[int]], pattern: str) -> None:
    constraints = Constraints(pattern=compile_pattern(pattern, TEXTS))

    def good(words: Prefix) -> bool:
        return re.fullmatch(pattern, "".join(TEXTS[word] for word in words)) is not None

    assert_all_best(seed, source_ids, ROOM, constraints, good)
    for found in search(
        TableStepper(seed=seed), source_ids, options=SearchOptions(beam_size=1), constraints=constraints
    ):
        assert not found[0].finished or good(found[0].ids[:-1])


@given(seeds, sources, phrases, phrases, st.integers(0, 3), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_all_together(
    seed: int, source_ids: list[list[int]], require: Prefix, forbid: Prefix, least: int, n: int
) -> None:
    constraints = Constraints(require=(require,), forbid=(forbid,))
    options = ROOM.model_copy(update={"min_length": least, "no_repeat_ngram": n})

    def good(words: Prefix) -> bool:
        grams = [words[i : i + n] for i in range(len(words) - n + 1)] if n else []
        new = len(grams) == len(set(grams))
        return contains(words, require) and not contains(words, forbid) and len(words) + 1 >= least and new

    try:
        assert_all_best(seed, source_ids, options, constraints, good)
    except OptionError:
        outputs = every_output(TableStepper(), [4], 4)
        assert not any(good(o.ids[:-1]) for o in outputs if o.finished)


@given(seeds, sources, st.sampled_from([Constraints(prefix=(4,)), Constraints(forbid=((4,), (5, 5))), None]))
@settings(max_examples=10, deadline=None)
def test_diverse_groups_keep_to_them_too(seed: int, source_ids: list[list[int]], constraints: Constraints) -> None:
    options = ROOM.model_copy(update={"beam_size": 400, "beam_groups": 2, "num_hypotheses": 400, "min_length": 2})

    def good(words: Prefix) -> bool:
        given = constraints or Constraints()
        begun = words[: len(given.prefix)] == given.prefix
        return len(words) > 0 and begun and not any(contains(words, phrase) for phrase in given.forbid)

    assert_all_best(seed, source_ids, options, constraints, good)


def test_each_source_has_its_own_constraints() -> None:
    model = TableStepper(seed=7)
    each = [Constraints(require=((4, 5),)), None, Constraints(prefix=(5,)), Constraints(choices=((5, 5), (4,)))]
    found = search(model, [[4, 5]] * 4, options=ROOM, constraints=each)
    for constraints, hypotheses in zip(each, found, strict=True):
        assert hypotheses == search(TableStepper(seed=7), [[4, 5]], options=ROOM, constraints=constraints)[0]
    assert {h.ids for h in found[3]} == {(5, 5, EOS), (4, EOS)}


# Effects with a beam of the usual width


@pytest.mark.parametrize("beam_size", [1, 2, 5])
def test_required_phrases_appear_with_any_beam(beam_size: int) -> None:
    class Averse(TableStepper):
        """Finds the words 20 and up very improbable."""

        def logits(self, random: np.random.Generator) -> np.ndarray:
            logits = super().logits(random)
            logits[20:] -= 30
            return logits

    model = Averse(vocab=30)
    constraints = Constraints(require=((20, 21, 22), (25,), (22, 23)))
    options = SearchOptions(beam_size=beam_size, max_length=9)
    for found in search(model, [[4], [5, 6], [7]], options=options, constraints=constraints):
        assert all(contains(found[0].ids, phrase) for phrase in constraints.require)
    for found in search(model, [[4], [5, 6], [7]], options=options):
        assert not any(contains(found[0].ids, phrase) for phrase in constraints.require)


def test_relative_lengths_hold_per_source() -> None:
    model = TableStepper(seed=1)
    options = SearchOptions(min_length_ratio=2.0, max_length_ratio=2.5)
    for source, found in zip(([4], [4] * 4), search(model, [[4], [4] * 4], options=options), strict=True):
        assert 2 * len(source) <= len(found[0].ids) <= np.ceil(2.5 * len(source))


def test_repetition_penalty_makes_outputs_less_repetitive() -> None:
    def repeated_words(penalty: float) -> int:
        options = SearchOptions(beam_size=3, repetition_penalty=penalty, min_length=8, max_length=10)
        found = search(TableStepper(seed=1, vocab=12), [[4, i] for i in range(4, 14)], options=options)
        return sum(len(h.ids) - len(set(h.ids)) for hypotheses in found for h in hypotheses)

    assert repeated_words(0.0) > repeated_words(1.0) > repeated_words(4.0)


def test_a_row_that_may_choose_nothing_ends_as_it_stands() -> None:
    constraints = Constraints(forbid=tuple((word,) for word in WORDS))
    for beam_size in (1, 3):
        options = SearchOptions(beam_size=beam_size, min_length=3)
        found = search(TableStepper(), [[4]], options=options, constraints=constraints)[0]
        assert [(h.ids, h.score, h.finished) for h in found] == [((), 0.0, False)]
        assert found[0].attention is not None
        assert found[0].attention.shape == (0, 1)


# Impossible and contradictory constraints: an error before the model is asked


@pytest.mark.parametrize(
    ("constraints", "options", "message"),
    [
        (Constraints(require=((4,) * 3, (5,))), {}, r"`max_length` \(4 tokens with the end\), but need 5"),
        (Constraints(prefix=(4, 4, 4, 4)), {}, r"`max_length` \(4 tokens with the end\), but need 5"),
        (Constraints(prefix=(4, 5), forbid=((4, 5),)), {}, r"`prefix` must not hold a phrase of `forbid`.*\[4, 5\]"),
        (Constraints(require=((4, 5),), forbid=((5,),)), {}, r"`require` must not hold a phrase of `forbid`.*\[5\]"),
        (Constraints(require=((4, 4),)), {"no_repeat_ngram": 1}, "`require` must not repeat 1 token in"),
        (Constraints(prefix=(4, 5, 4)), {"no_repeat_ngram": 1}, "`prefix` must not repeat 1 token in"),
        (Constraints(require=((),)), {}, "`require` must hold phrases of at least one token"),
        (Constraints(require=((6,),)), {}, "`require` must hold ids .* but has 6"),
        (Constraints(forbid=((EOS,),)), {}, "`forbid` must hold ids .* but has 3"),
        (Constraints(prefix=(BOS,)), {}, "`prefix` must hold ids .* but has 2"),
        (Constraints(choices=((4, PAD),)), {}, "`choices` must hold ids .* but has 0"),
        (Constraints(choices=((4,),), require=((5,),)), {}, "none of its 1 is allowed"),
        (Constraints(choices=((4,), (5,)), prefix=(4,), forbid=((4,),)), {}, "none of its 2 is allowed"),
        (Constraints(choices=((4,), (5,))), {"min_length": 3}, "none of its 2 is allowed"),
        (Constraints(choices=((4,),), pattern=trie([(4,)])), {}, "must not be given together"),
        (Constraints(pattern=trie([(4,)]), prefix=(5,)), {}, "`prefix` must be the beginning of an output"),
        (Constraints(pattern=trie([(4,) * 4])), {}, r"`match` must allow .* but the shortest has 5"),
        (
            Constraints(pattern=trie([(4,)])),
            {"min_length": 3},
            r"at least `min_length` \(3 .*\), but the longest has 2",
        ),
        (Constraints(pattern=trie([(4,), (5,)]), require=((4,), (5,))), {}, "`match` .* but there is none"),
        (Constraints(pattern=trie([(4,), (5,)]), forbid=((4,), (5,))), {}, "`match` .* but there is none"),
        (
            Constraints(pattern=trie([(4, 5), (4,)]), prefix=(4,), forbid=((4, 5),), require=((5,),)),
            {},
            "there is none",
        ),
        (Constraints(prefix=(4, 4), require=((5, 4),)), {}, r"\(4 tokens with the end\), but need 5"),
        (Constraints(prefix=(UNK,)), {"allow_unknown": False}, "`prefix` must not hold the unknown word"),
        (Constraints(choices=((UNK,), (4,))), {"allow_unknown": False}, "`choices` must not hold the unknown word"),
    ],
)
def test_impossible_constraints(constraints: Constraints, options: dict[str, Any], message: str) -> None:
    model = TableStepper()
    with pytest.raises(OptionError, match=message):
        search(model, [[4]], options=SearchOptions(max_length=4, **options), constraints=constraints)
    assert model.steps == 0


@given(
    seeds,
    st.lists(st.lists(st.sampled_from(WORDS), max_size=3).map(tuple), min_size=1, max_size=5),
    st.lists(phrases, max_size=2),
    st.lists(phrases, max_size=2),
    st.lists(st.sampled_from(WORDS), max_size=2).map(tuple),
    st.integers(0, 4),
)
@settings(max_examples=150, deadline=None)
def test_what_a_pattern_leaves_is_found_or_refused(
    seed: int, outputs: list[Prefix], require: list[Prefix], forbid: list[Prefix], prefix: Prefix, least: int
) -> None:
    """A list of outputs as a pattern is watched step by step; the same list as `choices` is filtered before."""
    options = SearchOptions(beam_size=40, num_hypotheses=40, max_length=4, min_length=least)
    rest = {"prefix": prefix, "require": tuple(require), "forbid": tuple(forbid)}
    found = []
    for whole in ({"pattern": trie(outputs)}, {"choices": tuple(outputs)}):
        try:
            hypotheses = search(
                TableStepper(seed=seed), [[4]], options=options, constraints=Constraints(**rest, **whole)
            )  # type: ignore[arg-type]
            found.append([h.ids for h in hypotheses[0] if h.finished])
        except OptionError:
            found.append([])
    assert found[0] == found[1]


@pytest.mark.parametrize("method", ["beam", "sample"])
def test_a_pattern_does_not_lead_to_an_output_that_is_too_short(method: str) -> None:
    texts = [None, None, None, None, "a", "b"]
    options = SearchOptions(method=method, beam_size=1 if method == "beam" else 5, min_length=5)  # type: ignore[arg-type]
    constraints = Constraints(pattern=compile_pattern("a|bbbb", texts))
    for seed in range(20):
        found = search(TableStepper(seed=seed), [[4]], options=options, constraints=constraints)[0][0]
        assert found.ids == (5, 5, 5, 5, EOS)


@pytest.mark.parametrize("method", ["beam", "sample", "best_first"])
def test_a_pattern_keeps_to_the_limits_of_each_source(method: Any) -> None:
    constraints = Constraints(pattern=compile_pattern("aa|bbbbbb", [None, None, None, None, "a", "b"]))
    options = SearchOptions(method=method, min_length_ratio=1.5, max_length_ratio=3.0)
    for seed in range(8):
        found = search(TableStepper(seed=seed), [[4], [4] * 4], options=options, constraints=constraints)
        assert [hypotheses[0].ids for hypotheses in found] == [(4, 4, EOS), (5, 5, 5, 5, 5, 5, EOS)]


def test_contradictory_options() -> None:
    with pytest.raises(OptionError, match=r"^`beam_groups` must divide `beam_size` \(5\) evenly, but is 2$"):
        SearchOptions(beam_groups=2)
    with pytest.raises(OptionError, match="`diversity_penalty` needs `beam_groups`"):
        SearchOptions(diversity_penalty=1.0)
    with pytest.raises(OptionError, match="`require` must not be given with several `beam_groups`"):
        SearchOptions(beam_size=4, beam_groups=2, require=("a",))
    with pytest.raises(OptionError, match="`choices` must not be given with `match`"):
        SearchOptions(choices="a.txt", match="b")


def test_required_ids_with_groups_are_an_error() -> None:
    with pytest.raises(OptionError, match="`require` must not be given with several `beam_groups`"):
        search(
            TableStepper(),
            [[4]],
            options=SearchOptions(beam_size=4, beam_groups=2),
            constraints=Constraints(require=((4,),)),
        )


def test_text_must_become_ids_first() -> None:
    with pytest.raises(OptionError, match="`require` must be turned into ids"):
        search(TableStepper(), [[4]], options=SearchOptions(require="word"))
    with pytest.raises(OptionError, match="`constraints` must be one for all or one per source"):
        search(TableStepper(), [[4]], constraints=[None, None])


def test_constraints_from_text() -> None:
    def encode(text: str) -> list[int]:
        return [{"a": 4, "b": 5}.get(word, UNK) for word in text.split()]

    made = constraints_from_text(encode, prefix="a", require=["b", "b", "a b"], forbid=["b a"], choices=["a b b"])
    assert made == Constraints(prefix=(4,), require=((5,), (4, 5)), forbid=((5, 4),), choices=((4, 5, 5),))
    with pytest.raises(OptionError, match="`require` must be spelled with the model's vocabulary, but 'c' cannot be"):
        constraints_from_text(encode, require=["c"])
    with pytest.raises(OptionError, match="`prefix` must not hold a phrase of `forbid`, but 'a b' holds 'b'"):
        constraints_from_text(encode, prefix="a b", forbid=["b"])
    made = constraints_from_text(encode, spellings=lambda ids: [ids, (6,)], require=["a"], forbid=["b"])
    assert made == Constraints(require=((4,),), forbid=((5,), (6,)))


@given(seeds, sources, st.lists(phrases, min_size=1, max_size=3), st.lists(phrases, max_size=2))
@settings(max_examples=15, deadline=None)
def test_what_is_forbidden_at_the_beginning_may_come_later(
    seed: int, source_ids: list[list[int]], first: list[Prefix], forbid: list[Prefix]
) -> None:
    def good(words: Prefix) -> bool:
        begins = any(words[: len(phrase)] == phrase for phrase in first)
        return not begins and not any(contains(words, phrase) for phrase in forbid)

    every = (*forbid, *((BOS, *phrase) for phrase in first))
    assert_all_best(seed, source_ids, ROOM, Constraints(forbid=every), good)
    listed = tuple(itertools.chain.from_iterable(itertools.product(WORDS, repeat=n) for n in range(1, 3)))
    if any(map(good, listed)):
        assert_all_best(
            seed,
            source_ids,
            ROOM,
            Constraints(forbid=every, choices=listed),
            lambda words: good(words) and words in listed,
        )


@pytest.mark.parametrize("spelling", [1, -1])  # in other pieces, and without the mark of a space
def test_a_forbidden_word_comes_in_no_spelling(spelling: int) -> None:
    tokenizer = Tokenizer([learn(["le chat", "les chats", "un chaton"] * 9, method="bpe")])
    forbidden = constraints_from_text(tokenizer.encode, spellings=tokenizer.spellings, forbid=["chat"])
    usual = constraints_from_text(tokenizer.encode, forbid=["chat"])
    other = [token for token in tokenizer.spellings(tokenizer.encode("chat"))[spelling] if token != BOS]

    class Speller(TableStepper):
        """Likes one unusual spelling of a word."""

        def look_up(self, source: Prefix, prefix: Prefix) -> tuple[Any, Any]:
            _, attention = super().look_up(source, prefix)
            liked = other[len(prefix)] if len(prefix) < len(other) else EOS
            return np.where(np.arange(self.vocab) == liked, -0.01, -9.0), attention

    for options in (SearchOptions(), SearchOptions(beam_size=1), SearchOptions(method="sample", top_k=3)):
        said = [
            tokenizer.decode(
                search(Speller(vocab=tokenizer.vocab_size), [[4]], options=options, constraints=each)[0][0].ids
            )
            for each in (usual, forbidden)
        ]
        assert said[0] == "chat"
        assert "chat" not in said[1].split()


@pytest.mark.parametrize("method", ["word", "char", "bpe"])
@pytest.mark.parametrize("given", [{"forbid": ("été",)}, {"require": ("été à",)}, {"prefix": "la é"}, {"match": "é.*"}])
def test_texts_are_constraints_in_the_form_that_targets_have(method: Any, given: dict[str, Any]) -> None:
    """A keyboard, or a file's name, may give letters and their accents apart; with bytes that can be spelled, but is never said."""
    tokenizer = Tokenizer([learn(["été à la mer", "la é"] * 9, method=method, byte_fallback=method == "bpe")])
    config = {
        "tokenizer": {"source": tokenizer.config(), "target": tokenizer.config()},
        "architecture": {"source_vocab_size": tokenizer.vocab_size, "target_vocab_size": tokenizer.vocab_size},
        "normalization": "nfc",
    }
    texts = Texts(config, tokenizer.files().__getitem__)

    def apart(text: str) -> str:
        return unicodedata.normalize("NFD", text).replace(" ", "\N{NO-BREAK SPACE}  ")

    options = {name: apart(it) if isinstance(it, str) else tuple(map(apart, it)) for name, it in given.items()}
    found, expected = (texts.constraints(SearchOptions(**each)) for each in (options, given))
    assert found is not None
    assert expected is not None
    if found.pattern is None:
        assert found == expected
    else:
        assert expected.pattern is not None
        assert found.pattern.keys.tolist() == expected.pattern.keys.tolist()


# The operations


@given(st.lists(phrases, min_size=1, max_size=3, unique=True))
@settings(max_examples=60, deadline=None)
def test_least_room_is_never_too_much(required: list[Prefix]) -> None:
    shorter = itertools.product(WORDS, repeat=least_room(required) - 1)
    assert not any(all(contains(words, phrase) for phrase in required) for words in shorter)


@given(choice_lists)
def test_a_trie_holds_its_outputs_and_no_others(outputs: list[Prefix]) -> None:
    automaton = trie(outputs)
    for candidate in [*outputs, *(o[:-1] for o in outputs), *((*o, 5) for o in outputs)]:
        state = np.array([START])
        for token in candidate:
            state = automaton.advance(state, np.array([token]))
        inside = state[0] >= 0 and bool(automaton.allow(state, np.array([0]), np.array([1]), 6)[0, EOS])
        assert inside == (candidate in outputs)


def test_an_automaton_allows_only_what_fits() -> None:
    automaton = trie([(4,), (5, 5, 5)])
    states = np.array([START, START, START, -1])
    allowed = automaton.allow(states, np.zeros(4, np.int64), np.array([4, 3, 1, 9]), 6)
    assert [np.flatnonzero(row).tolist() for row in allowed] == [[4, 5], [4], [], []]
    allowed = automaton.allow(states, np.array([2, 3, 5, 1]), np.full(4, 9), 6)
    assert [np.flatnonzero(row).tolist() for row in allowed] == [[4, 5], [5], [], []]
    assert automaton.advance(np.array([START, START, -1]), np.array([5, UNK, 4])).tolist()[1:] == [-1, -1]


def test_distances_are_those_of_all_outputs() -> None:
    """By brute force over random automata: the shortest output, and the longest where none can go round."""
    random = np.random.default_rng(3)
    for _ in range(200):
        size = int(random.integers(1, 6))
        following = [np.flatnonzero(random.random(size) < 0.3).tolist() for _ in range(size)]
        ends = random.random(size) < 0.4
        distance, reach = distances(following, ends)
        for state in range(size):
            lengths, layer = [], {state}
            for length in range(1, 3 * size):
                lengths += [length] if any(ends[here] for here in layer) else []
                layer = {target for here in layer for target in following[here]}
            assert distance[state] == min(lengths, default=FAR)
            if lengths and max(lengths) > size:
                assert reach[state] == FAR
            else:
                assert reach[state] == max(lengths, default=0)


expressions = st.recursive(
    st.sampled_from(
        [
            "a",
            "b",
            ".",
            "[ab]",
            "[^a]",
            r"[\]a]",
            r"[^\]a]+",
            "[]b]",
            r"[\\a]",
            r"[\w.]",
            "(){3}",
            r"\w",
            r"\.",
            r"\s",
            "",
            "x",
        ]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{,2}", "{2,}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
    ),
    max_leaves=6,
)
letters = st.text("ab. c]\\", max_size=6)


def accepts(automaton: Automaton, texts: list[str | None], text: str) -> bool:
    """Whether the automaton lets this text be written letter by letter."""
    state = np.array([START])
    for letter in text:
        state = automaton.advance(state, np.array([texts.index(letter)]))
    return state[0] >= 0 and bool(automaton.allow(state, np.array([0]), np.array([1]), len(texts))[0, EOS])


@given(expressions, st.lists(letters, min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_patterns_are_pythons(pattern: str, written: list[str]) -> None:
    texts = [None, "?", None, None, *"ab. c]\\"]
    try:
        automaton = compile_pattern(pattern, texts)
    except OptionError:  # nothing of these letters matches
        assert not any(re.fullmatch(pattern, text) for text in written)
        return
    for text in written:
        assert accepts(automaton, texts, text) == (re.fullmatch(pattern, text) is not None)


def test_only_ascii_digits_count_repetitions_as_in_python() -> None:
    texts = [None, "?", None, None, *"a{٣}"]
    for text in ("aaa", "a{٣}"):
        assert accepts(compile_pattern("a{٣}", texts), texts, text) == (re.fullmatch("a{٣}", text) is not None)


def test_the_first_token_may_have_another_text() -> None:
    inside, first = [None, None, None, None, " a", "b"], [None, None, None, None, "a", "b"]
    automaton = compile_pattern("a( ab)*", inside, first_texts=first)
    state = automaton.advance(np.array([START]), np.array([4]))
    for token in (4, 5):
        state = automaton.advance(state, np.array([token]))
    assert automaton.allow(state, np.array([0]), np.array([1]), 6)[0, EOS]
    assert automaton.advance(np.array([START]), np.array([5]))[0] == -1


def test_token_texts_come_from_decoding() -> None:
    names = ["<pad>", "<unk>", "<s>", "</s>", "▁a", "b", "▁", "\ufffd"]

    def decode(ids: Sequence[int]) -> str:
        text = "".join(names[i] for i in ids if i > EOS).replace("▁", " ").removeprefix(" ")
        return text.replace("b\ufffd", "é")

    first, inside = token_texts(decode, 8)
    assert first == [None] * 4 + ["a", "b", "", None]
    assert inside == [None] * 4 + [" a", "b", " ", None]
    automaton = compile_pattern("a( ab*)+", inside, first_texts=first)
    assert automaton.distance[START] == 3


def test_words_of_a_vocabulary_without_ascii_are_set_apart_inside_too() -> None:
    names = ["<pad>", "<unk>", "<s>", "</s>", "▁да", "нет", "▁", "\ufffd"]
    first, inside = token_texts(lambda ids: "".join(names[i] for i in ids).replace("▁", " ").removeprefix(" "), 8)
    assert first == [None] * 4 + ["да", "нет", "", None]
    assert inside == [None] * 4 + [" да", "нет", " ", None]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", "must be a regular expression"),
        ("a{99999999999}", "must be a regular expression"),
        ("(?a)(?u)a", "must be a regular expression"),
        (r"(a)\1", "a back reference"),
        ("(?=a)a", "look-around"),
        (r"a\bb", "an anchor or boundary"),
        ("a^b", "an anchor inside"),
        ("a++", "a possessive repetition"),
        ("c", "cannot spell any: c"),
        ("(?x) a", "the flag x"),
        ("(a|b)*a(a|b){12}", "at most 2000 states"),
        ("((a{100}){100}){100}", "too large"),
        ("(" * 2000 + "a" + ")" * 2000, "must not nest its groups so deeply"),
    ],
)
def test_patterns_that_cannot_be_kept(pattern: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        compile_pattern(pattern, [None, None, None, None, "a", "b"])


def test_a_long_list_of_choices_is_looked_through_once_for_sources_of_one_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled: list[int] = []

    def settle(constraints: Constraints, *, max_length: int, **limits: Any) -> Constraints:
        settled.append(max_length)
        return constraints_settle(constraints, max_length=max_length, **limits)

    constraints_settle = plan.settle
    monkeypatch.setattr(plan, "settle", settle)
    sources = [[4], [5, 6], [7], [8, 9], [4]]
    plan.make_plan(sources, 10, options=SearchOptions(), constraints=Constraints(choices=((4, 5), (6,))))
    assert settled == [53, 56]


def test_anchors_at_the_ends_are_harmless() -> None:
    texts = [None, None, None, None, "a", "$"]
    assert accepts(compile_pattern("^a$", texts), texts, "a")
    assert accepts(compile_pattern(r"^a\$", texts), texts, "a$")


def test_places_are_shared_by_banks() -> None:
    values = np.array([[-1.0, -2.0, -3.0, -4.0, -5.0, -np.inf]])
    candidates = Candidates(values, np.zeros((3, 2), int), Layout(np.array([3])), np.array([3]), np.array([0]))
    order, taken = choose_by_banks(candidates, met=np.array([[0, 0, 0, 1, 2, 2]]))
    assert order[taken].tolist() == [0, 3, 4]
    candidates = Candidates(values, np.zeros((3, 2), int), Layout(np.array([3])), np.array([2]), np.array([0]))
    order, taken = choose_by_banks(candidates, met=np.array([[0, 0, 0, 1, 2, 2]]))
    assert order[taken].tolist() == [3, 4]
    candidates = Candidates(values, np.zeros((3, 2), int), Layout(np.array([3])), np.array([4]), np.array([0]))
    order, taken = choose_by_banks(candidates, met=np.array([[0, 0, 0, 0, 2, 2]]))
    assert order[taken].tolist() == [0, 1, 2, 4]


def test_repeated_finds_what_would_end_a_known_run() -> None:
    ids = np.array([[4, 5, 6, 4, 5], [4, 4, 4, 4, 4], [1, 4, 5, 6, 7]])
    rows, ends = repeated(ids, 3)
    assert set(zip(rows.tolist(), ends.tolist(), strict=True)) == {(0, 6), (1, 4)}
    assert repeated(ids[:, :2], 3)[0].size == 0


@given(st.lists(st.sampled_from([4, 5]), min_size=1, max_size=7))
def test_fallbacks(phrase: list[int]) -> None:
    for size, back in enumerate(fallbacks(phrase)):
        longest = max((n for n in range(size) if phrase[:n] == phrase[size - n : size]), default=0)
        assert back == longest

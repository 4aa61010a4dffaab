"""Options of search together: laws 2, 3 and 4 for any method under any constraints, streamed and traced too, by brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steppers import Prefix, TableStepper, every_output

from dragoman.config import SearchOptions
from dragoman.errors import OptionError
from dragoman.generation.automaton import trie
from dragoman.generation.constraints import Constraints, contains
from dragoman.generation.hypothesis import Hypothesis, Ranking
from dragoman.generation.plan import length_limits
from dragoman.generation.scoring import score_ids
from dragoman.generation.search import search
from dragoman.generation.stepper import UNK
from dragoman.generation.streaming import stream
from dragoman.generation.tracing import Trace

WIDE = {"beam_size": 400, "num_hypotheses": 400}
"""A beam that holds every output of at most 5 ids over 3 words."""

words = st.sampled_from([UNK, 4, 5])
phrases = st.lists(words, min_size=1, max_size=2).map(tuple)
outputs = st.lists(st.lists(words, max_size=3).map(tuple), min_size=1, max_size=6, unique=True).map(tuple)
limits = st.fixed_dictionaries(
    {"length_penalty": st.sampled_from([0.0, 0.5, 1.5]), "length_norm": st.sampled_from(["power", "gnmt"])},
    optional={
        "coverage_penalty": st.just(0.3),
        "repetition_penalty": st.sampled_from([0.5, 2.0]),
        "no_repeat_ngram": st.integers(1, 3),
        "allow_unknown": st.just(False),
        "min_length": st.integers(1, 3),
        "max_length": st.integers(3, 5),
        "max_length_ratio": st.just(2.5),
    },
).map(lambda given: {"max_length": 5} | given)
methods = st.one_of(
    st.integers(1, 4).flatmap(
        lambda size: st.fixed_dictionaries(
            {
                "beam_size": st.just(size),
                "num_hypotheses": st.integers(1, size),
                "stopping": st.sampled_from(["full", "first", "exact"]),
                "beam_groups": st.sampled_from([n for n in (1, 2, 3) if size % n == 0]),
            }
        )
    ),
    st.fixed_dictionaries(
        {"method": st.just("sample"), "num_hypotheses": st.integers(1, 3), "seed": st.integers(0, 99)},
        optional={"temperature": st.just(0.7), "top_k": st.just(3), "top_p": st.just(0.8), "min_p": st.just(0.1)},
    ),
    st.fixed_dictionaries({"method": st.just("stochastic_beam"), "seed": st.integers(0, 99)}),
    st.fixed_dictionaries({"method": st.just("best_first"), "num_hypotheses": st.integers(1, 3)}),
)
kept = st.fixed_dictionaries(
    {},
    optional={
        "prefix": phrases,
        "require": st.lists(phrases, min_size=1, max_size=2, unique=True).map(tuple),
        "forbid": st.lists(phrases, min_size=1, max_size=2, unique=True).map(tuple),
        "choices": outputs,
        "pattern": outputs.map(trie),
    },
)
sources = st.lists(st.lists(st.integers(4, 9), min_size=1, max_size=2), min_size=1, max_size=3)


def is_good(ids: Prefix, options: SearchOptions, constraints: Constraints) -> bool:
    """Whether a finished output keeps to everything, written from the definitions."""
    said, n = ids[:-1], options.no_repeat_ngram
    grams = [said[i : i + n] for i in range(len(said) - n + 1)] if n else []
    state = np.array([0])
    for word in said if constraints.pattern is not None else ():
        state = constraints.pattern.advance(state, np.array([word]))
    return (
        len(ids) >= options.min_length
        and len(grams) == len(set(grams))
        and (options.allow_unknown or UNK not in said)
        and said[: len(constraints.prefix)] == constraints.prefix
        and all(contains(said, phrase) for phrase in constraints.require)
        and not any(contains(said, phrase) for phrase in constraints.forbid)
        and (not constraints.choices or said in constraints.choices)
        and (constraints.pattern is None or (state[0] >= 0 and constraints.pattern.distance[state[0]] == 1))
    )


def best_values(seed: int, source: list[int], options: SearchOptions, constraints: Constraints) -> list[float]:
    """The normalised scores of all good outputs, best first."""
    ranking = Ranking(options.length_penalty, options.length_norm, options.coverage_penalty)
    longest = int(length_limits(np.array([len(source)]), options=options)[1][0])
    values = []
    for output in every_output(TableStepper(seed=seed), source, longest):
        if output.finished and is_good(output.ids, options, constraints):
            repeats = sum(word in output.ids[:i] for i, word in enumerate(output.ids))
            value = (output.score - options.repetition_penalty * repeats) / ranking.norm(np.array(len(output.ids)))
            values.append(float(value + ranking.coverage(output.received)))
    return sorted(values, reverse=True)


def plain(found: list[Hypothesis]) -> list[tuple[Any, ...]]:
    return [(h.ids, h.score, h.normalized_score, h.finished) for h in found]


def facts(found: list[Hypothesis]) -> list[tuple[Any, ...]]:
    """The same, for comparing with `plain`: up to rounding."""
    return [(ids, pytest.approx(score), pytest.approx(value), finished) for ids, score, value, finished in plain(found)]


@given(st.integers(0, 10_000), sources, methods, limits, kept)
@settings(max_examples=100, deadline=None)
def test_any_options_together_keep_the_laws(
    seed: int, source_ids: list[list[int]], method: dict[str, Any], limit: dict[str, Any], keep: dict[str, Any]
) -> None:
    constraints = Constraints(**keep)
    try:
        options = SearchOptions(**method, **limit)
        together = search(TableStepper(seed=seed), source_ids, options=options, constraints=constraints)
    except OptionError as error:
        told = ("needs `method`", "with several `beam_groups`", "given together", "the unknown word", "longer than")
        if not any(words in str(error) for words in told):  # then some source has no output
            assert not all(best_values(seed, source, options, constraints) for source in source_ids)
        return
    for source, found in zip(source_ids, together, strict=True):
        alone = search(TableStepper(seed=seed), [source], options=options, constraints=constraints)[0]
        assert facts(alone) == plain(found)  # law 3
        scored = score_ids(TableStepper(seed=seed), [source] * len(found), [h.ids for h in found])
        assert [h.score for h in found] == pytest.approx([h.score for h in scored])  # law 4
        assert all(is_good(h.ids, options, constraints) for h in found if h.finished)
        values = best_values(seed, source, options, constraints)
        finished = [h.normalized_score for h in found if h.finished]
        if options.method == "best_first":
            assert finished == pytest.approx(values[: options.num_hypotheses])
        if options.method == "beam":  # law 2
            wide = options.model_copy(update=WIDE | {"beam_size": 400 * options.beam_groups})
            if options.stopping == "first":
                wide = wide.model_copy(update={"stopping": "exact"})
            every = search(TableStepper(seed=seed), [source], options=wide, constraints=constraints)[0]
            assert [h.normalized_score for h in every if h.finished] == pytest.approx(values)
        if options.method in ("beam", "sample"):
            news = list(stream(TableStepper(seed=seed), source, options=options, constraints=constraints))
            assert tuple(token for each in news for token in each.ids) == found[0].ids
            assert facts([news[-1].hypothesis]) == plain(found[:1])  # type: ignore[list-item]
    if options.method == "beam":
        traced = search(TableStepper(seed=seed), source_ids, options=options, constraints=constraints, trace=Trace())
        assert list(map(facts, traced)) == list(map(plain, together))

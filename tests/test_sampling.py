"""Sampling, stochastic beams, best-first search and streaming: distributions by chi-square, the rest by brute force."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steppers import EndlessStepper, TableStepper, every_output

from dragoman.config import SearchOptions
from dragoman.errors import OptionError
from dragoman.generation import best_first
from dragoman.generation.ask import Answer
from dragoman.generation.best_first import Queue, Siblings
from dragoman.generation.constraints import Constraints, contains
from dragoman.generation.plan import make_plan
from dragoman.generation.randomness import absorb, source_keys, uniform
from dragoman.generation.sampling import Sampler, draw, draw_several, draw_within, keep_best, keep_near_best, weigh
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, EOS, PAD, UNK, Floats, Ints, Step
from dragoman.generation.stochastic import highest
from dragoman.generation.streaming import stream

sources = st.lists(st.lists(st.integers(4, 9), min_size=1, max_size=3), min_size=1, max_size=4)
seeds = st.integers(0, 10_000)

Counts = dict[tuple[int, ...], int]


class OneSource(TableStepper):
    """Gives every source the same distribution, so that many sources are many independent draws from it."""

    def look_up(self, _source, prefix):
        return super().look_up((4,), prefix)


MANY = [[4, i // 60 + 4, i % 60 + 4] for i in range(3000)]
"""Sources that differ only in their ids."""


def distribution(model: TableStepper, max_length: int, temperature: float = 1.0) -> dict[tuple[int, ...], float]:
    """Probability of every output when `<pad>` and `<s>` are left out."""
    found = {}
    for output in every_output(model, [4], max_length):
        probability = 1.0
        for t, token in enumerate(output.ids):
            weights = np.exp(model.look_up((4,), output.ids[:t])[0] / temperature)
            weights[[PAD, BOS]] = 0
            probability *= weights[token] / weights.sum()
        found[output.ids] = probability
    assert sum(found.values()) == pytest.approx(1.0)
    return found


def assert_drawn_from(counts: Counts, expected: dict[tuple[int, ...], float]) -> None:
    """A chi-square test that a right sampler passes 9,999 times of 10,000; rare outcomes are pooled."""
    assert set(counts) <= set(expected)
    total = sum(counts.values())
    cells: list[tuple[float, int]] = []
    pooled, pooled_count = 0.0, 0
    for outcome, probability in expected.items():
        if probability * total >= 5:
            cells.append((probability * total, counts.get(outcome, 0)))
        else:
            pooled, pooled_count = pooled + probability * total, pooled_count + counts.get(outcome, 0)
    if pooled >= 5:
        cells.append((pooled, pooled_count))
    freedom = len(cells) - 1
    if not freedom:
        return  # a single outcome, which was the only one
    statistic = sum((count - mean) ** 2 / mean for mean, count in cells)
    # Wilson and Hilferty (1931): the 0.9999 quantile, with 3.719 that of the normal distribution
    limit = freedom * (1 - 2 / (9 * freedom) + 3.719 * math.sqrt(2 / (9 * freedom))) ** 3
    assert statistic < limit


def count(results: list[list]) -> Counts:
    counts: Counts = {}
    for hypotheses in results:
        for hypothesis in hypotheses:
            counts[hypothesis.ids] = counts.get(hypothesis.ids, 0) + 1
    return counts


# Sampling


@pytest.mark.parametrize("temperature", [1.0, 0.6, 2.5])
def test_samples_follow_the_model(temperature: float) -> None:
    model = OneSource(seed=3, sharpness=1.0)
    options = SearchOptions(method="sample", temperature=temperature, max_length=3)
    counts = count(search(model, MANY, options=options))
    assert_drawn_from(counts, distribution(model, 3, temperature))


def test_several_samples_of_one_source_follow_the_model() -> None:
    model = OneSource(seed=4, sharpness=1.0)
    options = SearchOptions(method="sample", num_hypotheses=1000, max_length=3)
    counts = count(
        [hs for seed in range(3) for hs in search(model, [[4]], options=options.model_copy(update={"seed": seed}))]
    )
    assert sum(counts.values()) == 3000
    assert_drawn_from(counts, distribution(model, 3))


def test_constrained_samples_follow_the_model_over_what_is_allowed() -> None:
    model = OneSource(seed=3, sharpness=1.0)
    options = SearchOptions(method="sample", max_length=2)
    counts = count(search(model, MANY, options=options, constraints=Constraints(forbid=((UNK,),))))
    expected = {}
    for first, second in itertools.product((EOS, 4, 5), repeat=2):
        probability = 1.0
        ids = (first,) if first == EOS else (first, second)
        for t, token in enumerate(ids):
            weights = np.exp(model.look_up((4,), ids[:t])[0])
            weights[[PAD, BOS, UNK]] = 0
            probability *= weights[token] / weights.sum()
        expected[ids] = probability
    assert_drawn_from(counts, expected)


@given(seeds, sources, st.randoms(use_true_random=False), st.sampled_from(["sample", "stochastic_beam"]))
@settings(max_examples=30, deadline=None)
def test_draws_do_not_depend_on_the_batch(seed: int, source_ids: list[list[int]], random, method) -> None:
    options = SearchOptions(method=method, num_hypotheses=4, seed=seed, temperature=1.3, max_length_ratio=3.0)
    alone = [search(TableStepper(seed=seed), [source], options=options)[0] for source in source_ids]
    order = list(range(len(source_ids)))
    random.shuffle(order)
    together = search(TableStepper(seed=seed), [source_ids[i] for i in order], options=options)
    assert together == [alone[i] for i in order]
    fewer = options.model_copy(update={"num_hypotheses": 2})
    assert search(TableStepper(seed=seed), source_ids, options=fewer) == [hypotheses[:2] for hypotheses in alone]


@given(seeds, sources, st.sampled_from(["sample", "stochastic_beam", "best_first"]))
@settings(max_examples=30, deadline=None)
def test_the_score_is_what_the_model_gives_the_ids(seed: int, source_ids: list[list[int]], method: str) -> None:
    model = TableStepper(seed=seed)
    options = SearchOptions(method=method, num_hypotheses=3, max_length=4, repetition_penalty=0.4, coverage_penalty=0.2)
    for source, hypotheses in zip(source_ids, search(model, source_ids, options=options), strict=True):
        assert len(hypotheses) == 3
        for h in hypotheses:
            steps = [model.look_up(tuple(source), h.ids[:t]) for t in range(len(h.ids))]
            assert h.token_scores == pytest.approx([s[0][i] for s, i in zip(steps, h.ids, strict=True)], abs=1e-12)
            assert h.score == pytest.approx(sum(h.token_scores), abs=1e-12)
            np.testing.assert_allclose(h.attention, [s[1] for s in steps], atol=1e-12)
            repeats = sum(token in h.ids[:t] for t, token in enumerate(h.ids))
            covered = sum(math.log(min(a, 1.0)) for a in h.attention.sum(axis=0))
            value = (h.score - 0.4 * repeats) / len(h.ids) + 0.2 * covered
            assert h.normalized_score == pytest.approx(value, abs=1e-6)
            assert h.finished == (h.ids[-1] == EOS)


def test_seeds_and_sources_draw_differently() -> None:
    draws = {
        tuple(h.ids for h in search(OneSource(sharpness=0.3), [source], options=options)[0])
        for options in (SearchOptions(method="sample", num_hypotheses=5, max_length=9, seed=seed) for seed in range(5))
        for source in ([4], [5], [4, 4])
    }
    assert len(draws) == 15


@pytest.mark.parametrize("method", ["sample", "stochastic_beam", "best_first"])
def test_a_model_that_never_ends_stops_at_the_maximum_and_says_so(method: str) -> None:
    options = SearchOptions(method=method, max_length=6, length_penalty=0)
    found = search(EndlessStepper(), [[4], [5]], options=options)
    assert [(len(h.ids), h.finished) for hs in found for h in hs] == [(6, False)] * 2


@pytest.mark.parametrize("method", ["sample", "stochastic_beam", "best_first"])
def test_where_nothing_is_allowed_the_output_ends(method: str) -> None:
    options = SearchOptions(method=method, min_length=3)
    found = search(TableStepper(), [[4]], options=options, constraints=Constraints(forbid=((UNK,), (4,), (5,))))[0]
    assert [(h.ids, h.finished) for h in found] == [((), False)]


class AverseStepper(TableStepper):
    """A model to which word 4 is too improbable for the exponential of its log-probability."""

    def logits(self, random: np.random.Generator) -> Floats:
        logits = super().logits(random)
        logits[4] -= 900
        return logits


@pytest.mark.parametrize("method", ["sample", "stochastic_beam"])
def test_what_rules_leave_is_drawn_however_improbable(method: str) -> None:
    options = SearchOptions(method=method, max_length=8)
    found = search(AverseStepper(seed=1), [[4]], options=options, constraints=Constraints(prefix=(4,)))[0][0]
    assert (found.ids[0], len(found.ids) > 1) == (4, True)
    assert found.token_scores[0] < -800


# Shaping the distribution


def shaped(values: Floats, *, temperature: float = 1.0, top_k: int | None = None, min_p: float | None = None) -> Floats:
    """What is left, as probabilities."""
    left = keep_near_best(keep_best(weigh(values, temperature=temperature), top_k), min_p)
    return left / left.sum(axis=1, keepdims=True)


def test_top_k_keeps_the_most_probable() -> None:
    values = np.log(np.array([[0.1, 0.4, 0.3, 0.2]]))
    np.testing.assert_allclose(shaped(values, top_k=2), [[0, 4 / 7, 3 / 7, 0]])
    np.testing.assert_allclose(shaped(values, top_k=9), np.exp(values))


def drawn_within(weights: Floats, mass: Floats, seed: int = 0) -> Ints:
    """The columns that `draw_within` draws, and the turns it may take are few."""
    random = np.random.default_rng(seed)
    turns = []

    def more(rows: Ints, turn: int) -> Floats:
        turns.append(turn)
        return random.random(len(rows))

    columns = draw_within(weights, mass, random.random(len(weights)), more)
    assert turns == list(range(1, len(turns) + 1))
    return columns


@pytest.mark.parametrize(
    ("share", "kept"), [(0.65, [0, 4, 3, 0]), (0.75, [0, 4, 3, 2]), (0.01, [0, 1, 0, 0]), (0.95, [1, 4, 3, 2])]
)
def test_top_p_draws_from_the_fewest_that_have_so_much_together(share: float, kept: list[int]) -> None:
    rows = 20_000
    columns = drawn_within(np.tile([0.1, 0.4, 0.3, 0.2], (rows, 1)), np.full(rows, share))
    counts = {(column,): int(number) for column, number in enumerate(np.bincount(columns, minlength=4)) if number}
    assert_drawn_from(counts, {(column,): weight / sum(kept) for column, weight in enumerate(kept) if weight})


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.floats(0.01, 0.9999))
@settings(max_examples=100, deadline=None)
def test_top_p_is_the_shortest_beginning_of_the_whole_vocabulary_sorted(seed: int, size: int, top_p: float) -> None:
    values = np.random.default_rng(seed).normal(size=(4, size)) * [[0.1], [1], [4], [8]]  # from flat to peaked
    weights = weigh(values)
    columns = drawn_within(weights.repeat(50, axis=0), top_p * weights.sum(axis=1).repeat(50), seed)
    for row, drawn in zip(weights / weights.sum(axis=1, keepdims=True), columns.reshape(4, 50), strict=True):
        order = (-row).argsort()
        needed = int(np.searchsorted(row[order].cumsum(), top_p)) + 1
        assert set(drawn) <= set(order[:needed])


def test_equals_at_the_border_of_top_p_are_drawn_alike() -> None:
    rows = 20_000
    columns = drawn_within(np.tile([1.0, 2.0, 1.0, 1.0, 0.5], (rows, 1)), np.full(rows, 2.5))
    counts = {(column,): int(number) for column, number in enumerate(np.bincount(columns))}
    assert_drawn_from(counts, {(0,): 0.2, (1,): 0.4, (2,): 0.2, (3,): 0.2})


def test_min_p_keeps_what_is_near_the_best() -> None:
    values = np.log(np.array([[0.1, 0.4, 0.3, 0.2]]))
    np.testing.assert_allclose(shaped(values, min_p=0.6), [[0, 4 / 7, 3 / 7, 0]])
    np.testing.assert_allclose(shaped(values, min_p=1.0), [[0, 1, 0, 0]])


def test_the_temperature_comes_first_and_the_rest_in_turn() -> None:
    values = np.log(np.array([[0.1, 0.4, 0.3, 0.2]]))
    np.testing.assert_allclose(shaped(values, temperature=0.5), [[1 / 30, 16 / 30, 9 / 30, 4 / 30]])
    # squared, the first two have 25/29 and the third 4/16 of the best
    np.testing.assert_allclose(shaped(values, temperature=0.5, top_k=3, min_p=0.3), [[0, 16 / 25, 9 / 25, 0]])


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"top_p": 0.6}, 2),  # 0.4 + 0.3
        ({"top_k": 3, "top_p": 0.44}, 1),  # 4 / 9 of what is left
        ({"top_k": 3, "top_p": 0.45}, 2),
        ({"temperature": 0.5, "top_p": 0.5}, 1),  # 16 / 30
        ({"temperature": 2.0, "top_p": 0.5}, 2),
        ({"top_p": 0.9, "min_p": 0.6}, 2),  # top_p alone leaves three, and of the two that min_p leaves 0.7 is not 0.9
        ({"top_p": 0.5, "min_p": 0.6}, 2),  # the mass is that of all: of what min_p leaves, 0.4 is more than half
    ],
)
def test_a_sampler_shapes_in_turn(options: dict[str, float], kept: int) -> None:
    probabilities = np.array([0.1, 0.4, 0.3, 0.2])
    sampler = Sampler(make_plan(MANY, 9, options=SearchOptions(method="sample", **options)))
    values = np.log(np.tile(probabilities, (len(MANY), 1)))
    answer = Answer(np.tile([5, 6, 7, 8], (len(MANY), 1)), values, values, None, None)
    picked = sampler.pick(answer, np.arange(len(MANY)), 0)
    weights = probabilities ** (1 / options.get("temperature", 1.0))
    left = {(5 + place,): weights[place] for place in (-weights).argsort()[:kept]}
    counts = {(id_,): int((picked.ids == id_).sum()) for id_ in set(picked.ids.tolist())}
    assert_drawn_from(counts, {ids: weight / sum(left.values()) for ids, weight in left.items()})


def test_a_draw_that_top_p_repeats_is_a_new_one_every_time() -> None:
    weights = np.linspace(1.0, 1.1, 64)[::-1]
    sampler = Sampler(make_plan(MANY, 70, options=SearchOptions(method="sample", top_p=0.1)))
    values = np.log(np.tile(weights / weights.sum(), (len(MANY), 1)))
    answer = Answer(np.tile(np.arange(64), (len(MANY), 1)), values, values, None, None)
    ids = sampler.pick(answer, np.arange(len(MANY)), 0).ids
    kept = int(np.searchsorted(weights.cumsum(), 0.1 * weights.sum())) + 1
    counts = {(id_,): int((ids == id_).sum()) for id_ in set(ids.tolist())}
    assert_drawn_from(counts, {(id_,): weights[id_] / weights[:kept].sum() for id_ in range(kept)})


def test_no_two_steps_of_a_long_output_are_drawn_by_the_same_number() -> None:
    class Forgetful(EndlessStepper):
        """Says the same at every step, so that equal numbers would draw equal ids."""

        def look_up(self, source, _prefix):
            return super().look_up(source, ())

    [found] = search(Forgetful(vocab=40, sharpness=0.3), [[4]], options=SearchOptions(method="sample", max_length=96))
    parts = [found[0].ids[start : start + 32] for start in (0, 32, 64)]
    assert len(set(parts)) == 3


@pytest.mark.parametrize("options", [{"top_k": 1}, {"top_p": 0.001}, {"min_p": 1.0}, {"temperature": 0.001}])
def test_at_the_edge_sampling_is_greedy(options: dict[str, float]) -> None:
    source_ids = [[4, i] for i in range(4, 14)]
    greedy = search(TableStepper(seed=9), source_ids, options=SearchOptions(beam_size=1, max_length=8))
    drawn = search(TableStepper(seed=9), source_ids, options=SearchOptions(method="sample", max_length=8, **options))
    assert [[h.ids for h in hs] for hs in drawn] == [[h.ids for h in hs] for hs in greedy]


def test_a_row_without_any_probability_is_survived() -> None:
    nothing = np.full((1, 3), -np.inf)
    assert weigh(nothing).tolist() == [[0, 0, 0]]
    assert keep_near_best(keep_best(weigh(nothing), 1), 0.1).tolist() == [[0, 0, 0]]
    assert draw(weigh(nothing), np.array([0.5])).shape == (1,)
    assert drawn_within(weigh(nothing), np.zeros(1)).shape == (1,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_draw_never_takes_the_impossible(weights: list[float], number: float) -> None:
    if sum(weights) > 1e-300:
        assert weights[draw(np.array([weights]), np.array([number]))[0]] > 0


def test_streams_are_uniform_and_of_their_own() -> None:
    keys = absorb(source_keys(1, [[4, 5]]), np.arange(100_000))
    numbers = uniform(keys)
    assert 0 < numbers.min() < 1e-4
    assert 1 - 1e-4 < numbers.max() < 1
    cells = np.histogram(numbers, bins=100, range=(0, 1))[0]
    assert ((cells - 1000) ** 2 / 1000).sum() < 156  # chi-square with 99 degrees of freedom, 0.9998
    neighbours = np.corrcoef(numbers[:-1], numbers[1:])[0, 1]
    assert abs(neighbours) < 0.02
    assert (
        len({int(key[0]) for key in (source_keys(s, [ids]) for s in (0, 1) for ids in ([4], [5], [4, 5], [5, 4], []))})
        == 10
    )


def test_the_key_of_a_source_absorbs_the_seed_and_its_ids() -> None:
    key = np.zeros(1, np.uint64)
    for number in (7, 4, 31_999, 0):
        key = absorb(key, number)
    assert source_keys(7, [[9], [4, 31_999, 0]])[1] == key[0]


# Stochastic beams


def test_draws_without_replacement_follow_the_model() -> None:
    model = OneSource(seed=8, sharpness=1.0)
    options = SearchOptions(method="stochastic_beam", beam_size=2, num_hypotheses=2, max_length=2)
    counts: Counts = {}
    for first, second in search(model, MANY, options=options):
        pair = (*first.ids, -1, *second.ids)
        counts[pair] = counts.get(pair, 0) + 1
    p = distribution(model, 2)
    pairs = {(*a, -1, *b): p[a] * p[b] / (1 - p[a]) for a, b in itertools.permutations(p, 2)}
    assert_drawn_from(counts, pairs)


@given(seeds, sources, st.integers(1, 5), st.sampled_from([0.7, 1.0, 1.6]))
@settings(max_examples=40, deadline=None)
def test_a_narrow_stochastic_beam_loses_none_of_the_best(
    seed: int, source_ids: list[list[int]], k: int, temperature: float
) -> None:
    model = TableStepper(seed=seed)
    wide = SearchOptions(
        method="stochastic_beam", beam_size=130, num_hypotheses=130, max_length=4, seed=seed, temperature=temperature
    )
    narrow = wide.model_copy(update={"beam_size": k, "num_hypotheses": k})
    everything = search(model, source_ids, options=wide)
    for source, found in zip(source_ids, everything, strict=True):
        assert sorted(h.ids for h in found) == sorted(o.ids for o in every_output(model, source, 4))
    assert search(model, source_ids, options=narrow) == [found[:k] for found in everything]


def test_at_low_temperatures_as_many_outputs_are_drawn() -> None:
    class Single(TableStepper):
        """In single precision, as models are."""

        def step(self, *given: Any, **more: Any) -> Step:
            step = super().step(*given, **more)
            return dataclasses.replace(step, log_probs=step.log_probs.astype(np.float32))

    options = SearchOptions(method="stochastic_beam", temperature=0.02, beam_size=5, num_hypotheses=5, max_length=4)
    for seed in range(5):
        found = search(Single(seed=seed, vocab=30, sharpness=10), [[4, 5]], options=options)[0]
        assert len({h.ids for h in found}) == 5


def test_perturbed_values_are_gumbel_variables_drawn_from_the_top_down() -> None:
    """Law: places and values, drawn one after another below a Gumbel variable, are those of independent noise."""
    random, rows = np.random.default_rng(4), 20_000
    weights = np.array([0.6, 0.0, 0.3, 0.1])
    columns, _, left = draw_several(np.tile(weights, (rows, 1)), random.random((rows, 3)))
    values = highest(np.log(left), -np.log(-np.log(random.random(rows))), random.random((rows, 2)))
    assert (np.diff(values, axis=1) < 0).all()
    for column in (0, 2, 3):
        own = values[columns == column]
        assert len(own) == rows
        cells = np.histogram(np.exp(-np.exp(np.log(weights[column]) - own)), bins=20, range=(0, 1))[0]
        assert ((cells - rows / 20) ** 2 / (rows / 20)).sum() < 50  # chi-square with 19 degrees of freedom, 0.9999


def test_after_everything_was_drawn_nothing_is_left() -> None:
    columns, drawn, left = draw_several(np.array([[0.0, 2.0, 1.0]]), np.array([[0.9, 0.9, 0.9]]))
    assert (columns[0, :2].tolist(), drawn.tolist()) == ([2, 1], [[1, 2, 0]])
    assert left.tolist() == [[3, 2, 0]]
    with np.errstate(divide="ignore"):
        assert highest(np.log(left), np.zeros(1), np.array([[0.5, 0.5]]))[0, 2] == -np.inf


@given(st.integers(0, 2**32 - 1), st.integers(1, 700))
@settings(max_examples=50, deadline=None)
def test_blocks_do_not_change_a_draw(seed: int, size: int) -> None:
    """Law: the column is where the running sum over all weights passes the number."""
    random = np.random.default_rng(seed)
    weights = random.integers(0, 3, size=(5, size)).astype(np.float32)
    weights[:, random.integers(size)] = 1
    numbers = random.random(5)
    sums = weights.cumsum(axis=1)
    assert draw(weights, numbers).tolist() == (sums <= numbers[:, None] * sums[:, -1:]).sum(axis=1).tolist()


# Best-first search


@given(
    seeds,
    sources,
    st.sampled_from([0.0, 0.7, 1.0]),
    st.sampled_from(["power", "gnmt"]),
    st.sampled_from([0.0, 0.3]),
    st.integers(1, 60),
)
@settings(max_examples=40, deadline=None)
def test_best_first_is_brute_force(
    seed: int, source_ids: list[list[int]], penalty: float, norm: str, coverage: float, n: int
) -> None:
    ranking = {"max_length": 4, "length_penalty": penalty, "length_norm": norm, "coverage_penalty": coverage}
    options = SearchOptions(method="best_first", num_hypotheses=n, **ranking)
    wide = SearchOptions(beam_size=200, num_hypotheses=200, **ranking)
    found = search(TableStepper(seed=seed), source_ids, options=options)
    for mine, everything in zip(found, search(TableStepper(seed=seed), source_ids, options=wide), strict=True):
        assert [h.ids for h in mine] == [h.ids for h in everything[:n]]
        assert [h.normalized_score for h in mine] == pytest.approx([h.normalized_score for h in everything[:n]])


def test_best_first_keeps_constraints() -> None:
    constraints = Constraints(require=((4, 5), (UNK,)), forbid=((5, 5),))
    options = SearchOptions(method="best_first", num_hypotheses=50, max_length=5)
    found = search(TableStepper(seed=6), [[4, 5]], options=options, constraints=constraints)[0]
    outputs = [o for o in every_output(TableStepper(seed=6), [4, 5], 5) if o.finished]
    good = [o for o in outputs if contains(o.ids, (4, 5)) and UNK in o.ids and not contains(o.ids, (5, 5))]
    good.sort(key=lambda o: -o.score / len(o.ids))
    assert [h.ids for h in found if h.finished] == [o.ids for o in good]


@pytest.mark.parametrize("vocab", [6, 12])  # after most prefixes fewer words than outputs, and more
@pytest.mark.parametrize("seed", range(4))
def test_best_first_prefers_cut_outputs_that_lack_nothing(seed: int, vocab: int) -> None:
    model = EndlessStepper(seed=seed, vocab=vocab)
    options = SearchOptions(method="best_first", num_hypotheses=3, max_length=2, length_penalty=0)
    found = search(model, [[4]], options=options, constraints=Constraints(require=((5,),)))[0]
    every = [output for output in every_output(model, [4], 2) if not output.finished]
    every.sort(key=lambda output: (5 not in output.ids, -output.score))
    assert [h.ids for h in found] == [output.ids for output in every[:3]]


def test_best_first_keeps_no_more_continuations_than_it_can_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []

    def siblings(*values: Any) -> Siblings:
        kept.append(len(values[1]))
        return Siblings(*values)

    monkeypatch.setattr(best_first, "Siblings", siblings)
    options = SearchOptions(method="best_first", max_expansions=5, max_length=8)
    search(TableStepper(seed=1, vocab=40), [[5, 6]], options=options)
    assert len(kept) == max(kept) == 5


def test_best_first_keeps_no_more_cut_outputs_than_are_wanted() -> None:
    options = SearchOptions(method="best_first", num_hypotheses=2, max_length=3, length_penalty=0)
    queue = Queue(EndlessStepper(vocab=30), make_plan([[4]], 30, options=options), 0)
    assert [len(h.ids) for h in queue.run()] == [3, 3]
    assert len(queue.cut) == 2


def test_best_first_gives_up_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    model = TableStepper(seed=1, sharpness=0.3)
    options = SearchOptions(method="best_first", max_expansions=10, max_length=40)
    with caplog.at_level(logging.WARNING, logger="dragoman"):
        found = search(model, [[4]], options=options)[0]
    assert len(found) == 1
    assert model.steps == 10
    assert "gave up after 10 steps" in caplog.text


def test_best_first_needs_few_steps_with_the_bare_score() -> None:
    model = TableStepper(seed=2, vocab=40, sharpness=4)
    search(model, [[4]], options=SearchOptions(method="best_first", length_penalty=0))
    assert model.steps < 30


# Streaming

STREAMED = [
    SearchOptions(beam_size=1),
    SearchOptions(beam_size=4, num_hypotheses=2),
    SearchOptions(beam_size=4, stopping="exact", length_penalty=0),
    SearchOptions(beam_size=4, beam_groups=2),
    SearchOptions(method="sample", num_hypotheses=3),
]


@pytest.mark.parametrize("options", STREAMED)
@given(seeds, st.lists(st.integers(4, 9), min_size=1, max_size=3))
@settings(max_examples=20, deadline=None)
def test_what_is_streamed_is_the_best_output(options: SearchOptions, seed: int, source: list[int]) -> None:
    options = options.model_copy(update={"max_length": 12})
    news = list(stream(TableStepper(seed=seed), source, options=options))
    expected = search(TableStepper(seed=seed), [source], options=options)[0][0]
    assert [item.hypothesis for item in news] == [None] * (len(news) - 1) + [expected]
    assert tuple(token for item in news for token in item.ids) == expected.ids


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_what_is_streamed_stays_where_a_group_of_the_beam_is_stuck(seed: int) -> None:
    """What a group could not go on with may be the best output in the end."""
    options = SearchOptions(beam_size=2, beam_groups=2, max_length=6, min_length=6)
    constraints = Constraints(forbid=((4, 4), (4, 5), (4, 1)))
    news = list(stream(TableStepper(seed=seed), [4], options=options, constraints=constraints))
    assert news[-1].hypothesis is not None
    assert tuple(token for item in news for token in item.ids) == news[-1].hypothesis.ids


def test_greedy_ids_come_one_by_one_and_a_beams_before_its_end() -> None:
    def first_news(options: SearchOptions) -> tuple[int, int]:
        """Steps done when the first ids came, and all steps."""
        model = EndlessStepper(seed=5, vocab=20, sharpness=3)
        news = stream(model, [4, 5], options=options)
        next(news)
        first = model.steps
        list(news)
        return first, model.steps

    greedy = [
        item.ids for item in stream(EndlessStepper(seed=5), [4], options=SearchOptions(beam_size=1, max_length=9))
    ]
    assert [len(ids) for ids in greedy] == [1] * 9
    first, steps = first_news(SearchOptions(beam_size=4, max_length=30))
    assert first < steps == 30


def test_streams_of_other_methods_are_refused() -> None:
    with pytest.raises(OptionError, match="`method` must be beam or sample for streaming, but is best_first"):
        stream(TableStepper(), [4], options=SearchOptions(method="best_first"))


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.5}, "`temperature` needs `method` sample or stochastic_beam, but it is beam"),
        ({"method": "stochastic_beam", "top_k": 3}, "`top_k` needs `method` sample, but it is stochastic_beam"),
        ({"top_p": 0.9}, "`top_p` needs `method` sample, but it is beam"),
        ({"min_p": 0.1}, "`min_p` needs `method` sample, but it is beam"),
        ({"method": "sample", "beam_groups": 5}, "`beam_groups` needs `method` beam, but it is sample"),
        ({"method": "sample", "stopping": "exact"}, "`stopping` needs `method` beam, but it is sample"),
        ({"max_expansions": 5}, "`max_expansions` needs `method` best_first, but it is beam"),
        ({"seed": 2}, "`seed` needs `method` sample or stochastic_beam, but it is beam"),
        ({"method": "sample", "beam_size": 2}, "`beam_size` needs `method` beam or stochastic_beam or best_first"),
        ({"allow_unknown": False, "replace_unknown": True}, "`replace_unknown` needs `allow_unknown`"),
        ({"method": "sample", "require": "a"}, "`require` needs `method` beam or best_first, but it is sample"),
        ({"method": "stochastic_beam", "num_hypotheses": 6}, "`num_hypotheses` must be at most `beam_size`"),
        ({"method": "sample", "temperature": 1e-40}, "`temperature` must be at least 0.001, but is 1e-40"),
        ({"max_length_ratio": 0}, "`max_length_ratio` must be more than 0, but is 0"),
        ({"method": "sample", "top_p": 1.5}, "`top_p` must be at most 1, but is 1.5"),
    ],
)
def test_contradictory_options(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        SearchOptions(**options)


def test_required_ids_need_a_search_that_can_place_them() -> None:
    for method in ("sample", "stochastic_beam"):
        model = TableStepper()
        with pytest.raises(OptionError, match="`require` needs `method` beam or best_first"):
            search(model, [[4]], options=SearchOptions(method=method), constraints=Constraints(require=((4,),)))
        assert model.steps == 0

"""Greedy and beam search: laws 2, 3 and 4 by brute force on small random models, and each operation alone."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from steppers import EndlessStepper, Output, TableStepper, every_output, reference_beam

from dragoman.config import SearchOptions
from dragoman.errors import OptionError
from dragoman.generation.beam import Beam
from dragoman.generation.choosing import Candidates, Layout, choose_best
from dragoman.generation.constraints import Constraints
from dragoman.generation.finish import merge_best
from dragoman.generation.hypothesis import Hypothesis, Ranking, align, pharaoh
from dragoman.generation.plan import length_limits, make_plan
from dragoman.generation.scoring import score_ids
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, EOS, PAD, UNK, best, ranked
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper

WIDE = 200
"""A beam that holds every output of at most 4 ids over 3 words: nothing is ever pruned."""

ROOM = SearchOptions(beam_size=WIDE, num_hypotheses=WIDE, max_length=4)

sources = st.lists(st.lists(st.integers(4, 9), min_size=1, max_size=4), min_size=1, max_size=5)
seeds = st.integers(0, 10_000)


def ids_of(results: list[list[Hypothesis]]) -> list[list[tuple[int, ...]]]:
    return [[hypothesis.ids for hypothesis in hypotheses] for hypotheses in results]


def brute_force(model: TableStepper, source: list[int], options: SearchOptions) -> list[tuple[Output, float]]:
    """All outputs with their normalised scores, best first, written from the definitions."""
    limit = int(length_limits(np.array([len(source)]), options=options)[1][0])
    scored = []
    for output in every_output(model, source, limit):
        norm = len(output.ids) if options.length_norm == "power" else (5 + len(output.ids)) / 6
        value = output.score / norm**options.length_penalty
        if options.coverage_penalty:
            value += options.coverage_penalty * sum(np.log(min(a, 1.0)) for a in output.received)
        scored.append((output, value))
    return sorted(scored, key=lambda pair: (not pair[0].finished, -pair[1]))


def assert_same(found: list[Hypothesis], expected: list[tuple[Output, float]]) -> None:
    assert [h.ids for h in found] == [output.ids for output, _ in expected]
    for hypothesis, (output, value) in zip(found, expected, strict=True):
        assert hypothesis.score == pytest.approx(output.score, abs=1e-10)
        assert hypothesis.normalized_score == pytest.approx(value, abs=1e-10)
        assert hypothesis.finished == output.finished
        assert hypothesis.token_scores == pytest.approx(output.token_scores, abs=1e-10)


# Law 2: beam 1 is greedy; a beam as wide as the space is brute force


@given(seeds, sources)
@settings(max_examples=40, deadline=None)
def test_greedy_takes_the_most_probable_id_at_every_step(seed: int, source_ids: list[list[int]]) -> None:
    model = TableStepper(seed=seed)
    for source, hypotheses in zip(
        source_ids, search(model, source_ids, options=SearchOptions(beam_size=1, max_length=6)), strict=True
    ):
        ids: tuple[int, ...] = ()
        while len(ids) < 6 and EOS not in ids:
            log_probs = model.look_up(tuple(source), ids)[0].copy()
            log_probs[[PAD, BOS]] = -np.inf
            ids = (*ids, int(log_probs.argmax()))
        assert [h.ids for h in hypotheses] == [ids]


@given(seeds, sources, st.sampled_from(["full", "first"]))
@settings(max_examples=40, deadline=None)
def test_a_beam_of_one_is_greedy(seed: int, source_ids: list[list[int]], stopping: str) -> None:
    options = SearchOptions(beam_size=1, max_length=6, coverage_penalty=0.3, stopping=stopping)
    beam = Beam(TableStepper(seed=seed), make_plan(source_ids, 6, options=options))
    while beam.advance():
        pass
    for mine, greedy in zip(beam.results(), search(TableStepper(seed=seed), source_ids, options=options), strict=True):
        assert mine == greedy
        np.testing.assert_array_equal(mine[0].attention, greedy[0].attention)


@given(
    seeds,
    sources,
    st.sampled_from([0.0, 0.6, 1.0, 2.5]),
    st.sampled_from(["power", "gnmt"]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from(["full", "exact"]),
    st.integers(1, 4),
)
@settings(max_examples=60, deadline=None)
def test_a_beam_as_wide_as_the_space_is_brute_force(
    seed: int, source_ids: list[list[int]], penalty: float, norm: str, coverage: float, stopping: str, longest: int
) -> None:
    model = TableStepper(seed=seed)
    options = ROOM.model_copy(
        update={
            "length_penalty": penalty,
            "length_norm": norm,
            "coverage_penalty": coverage,
            "stopping": stopping,
            "max_length": longest,
        }
    )
    for source, found in zip(source_ids, search(model, source_ids, options=options), strict=True):
        assert_same(found, brute_force(model, source, options))
    best_only = options.model_copy(update={"num_hypotheses": 1})
    for source, found in zip(source_ids, search(model, source_ids, options=best_only), strict=True):
        assert_same(found, brute_force(model, source, options)[:1])


STOPPINGS = st.sampled_from(["full", "exact"])


@given(seeds, sources, st.integers(1, 6), st.integers(1, 6), STOPPINGS)
@settings(max_examples=120, deadline=None)
def test_a_narrow_beam_is_the_one_on_paper(
    seed: int, source_ids: list[list[int]], beam_size: int, longest: int, stopping: str
) -> None:
    model = TableStepper(seed=seed, vocab=8)
    options = SearchOptions(beam_size=beam_size, num_hypotheses=beam_size, max_length=longest, stopping=stopping)  # type: ignore[arg-type]
    for source, found in zip(source_ids, search(model, source_ids, options=options), strict=True):
        expected = reference_beam(model, source, beam_size=beam_size, max_length=longest, stopping=stopping)
        assert [h.ids for h in found if h.finished] == expected[:beam_size]


SHAPES = st.sampled_from([(2, 1), (4, 2), (6, 3), (6, 2), (4, 4)])


@given(seeds, sources, SHAPES, st.sampled_from([0.3, 1.0, 5.0]), STOPPINGS)
@settings(max_examples=120, deadline=None)
def test_diverse_groups_are_the_ones_on_paper(
    seed: int, source_ids: list[list[int]], shape: tuple[int, int], diversity: float, stopping: str
) -> None:
    model = TableStepper(seed=seed, vocab=8)
    beam_size, groups = shape
    options = SearchOptions(
        beam_size=beam_size,
        num_hypotheses=beam_size,
        beam_groups=groups,
        diversity_penalty=diversity if groups > 1 else None,
        max_length=5,
        stopping=stopping,  # type: ignore[arg-type]
    )
    paper = {"beam_size": beam_size, "max_length": 5, "groups": groups, "diversity": diversity, "stopping": stopping}
    for source, found in zip(source_ids, search(model, source_ids, options=options), strict=True):
        expected = reference_beam(model, source, **paper)  # type: ignore[arg-type]
        assert [h.ids for h in found if h.finished] == expected[:beam_size]


@given(seeds, sources, st.integers(2, 3))
@settings(max_examples=15, deadline=None)
def test_diverse_groups_as_wide_as_the_space_are_brute_force(
    seed: int, source_ids: list[list[int]], groups: int
) -> None:
    model = TableStepper(seed=seed)
    update = {"beam_size": WIDE * groups, "beam_groups": groups, "max_length": 3, "num_hypotheses": WIDE * groups}
    options = ROOM.model_copy(update=update)
    for source, found in zip(source_ids, search(model, source_ids, options=options), strict=True):
        assert_same(found, brute_force(model, source, options))


def test_groups_make_outputs_more_diverse() -> None:
    def distinct_beginnings(groups: int) -> int:
        options = SearchOptions(
            beam_size=4,
            num_hypotheses=4,
            beam_groups=groups,
            diversity_penalty=3.0 if groups > 1 else None,
            max_length=8,
            min_length=4,
        )
        model = TableStepper(seed=5, vocab=12)
        found = search(model, [[4, i] for i in range(4, 24)], options=options)
        return sum(len({h.ids[:2] for h in hypotheses}) for hypotheses in found)

    assert distinct_beginnings(4) > 1.3 * distinct_beginnings(1)


# Law 3: a source gives the same alone, in any batch, in any order

MODES = [
    SearchOptions(beam_size=1),
    SearchOptions(beam_size=3, num_hypotheses=3),
    SearchOptions(beam_size=2, stopping="exact", length_penalty=0.7),
    SearchOptions(beam_size=4, stopping="first", num_hypotheses=2),
    SearchOptions(beam_size=4, coverage_penalty=0.5, length_norm="gnmt", num_hypotheses=2),
    SearchOptions(beam_size=4, beam_groups=2, num_hypotheses=3),
    SearchOptions(beam_size=3, no_repeat_ngram=2, repetition_penalty=0.7, min_length=2, num_hypotheses=2),
    SearchOptions(beam_size=1, no_repeat_ngram=2, repetition_penalty=0.7, min_length=2),
]


@pytest.mark.parametrize("options", MODES)
@given(seeds, sources, st.randoms(use_true_random=False))
@settings(max_examples=15, deadline=None)
def test_results_do_not_depend_on_the_batch(options: SearchOptions, seed: int, source_ids: list, random) -> None:
    options = options.model_copy(update={"max_length_ratio": 2.0})
    alone = [search(TableStepper(seed=seed), [source], options=options)[0] for source in source_ids]
    order = list(range(len(source_ids)))
    random.shuffle(order)
    together = search(TableStepper(seed=seed), [source_ids[i] for i in order], options=options)
    for i, hypotheses in zip(order, together, strict=True):
        assert hypotheses == alone[i]
        for mine, other in zip(hypotheses, alone[i], strict=True):
            np.testing.assert_allclose(mine.attention, other.attention)


def test_coverage_does_not_depend_on_padding() -> None:
    received = np.random.default_rng(1).random((50, 7), np.float32)
    ranking = Ranking(coverage_penalty=0.3)
    padded = np.pad(received, ((0, 0), (0, 30)), constant_values=1)
    np.testing.assert_array_equal(ranking.coverage(padded), ranking.coverage(received))


@pytest.mark.parametrize("stopping", ["full", "first", "exact"])
@given(seeds, st.lists(st.sampled_from([{}, {"require": ((4,),)}, {"require": ((5, 4), (1,))}, {"prefix": (4,)},
       {"choices": ((4, 5), (5,), (1, 4, 5))}, {"prefix": (4,), "require": ((4,),)}]), min_size=2, max_size=4),
       st.integers(1, 4), st.booleans())  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_results_do_not_depend_on_the_constraints_of_others(
    stopping: str, seed: int, given_each: list, beam_size: int, many: bool
) -> None:
    options = SearchOptions(
        beam_size=beam_size, stopping=stopping, max_length=6, num_hypotheses=beam_size if many else 1
    )  # type: ignore[arg-type]
    source_ids, each = [[4], [5, 4], [6], [4, 6]][: len(given_each)], [Constraints(**more) for more in given_each]
    model = TableStepper(seed=seed, vocab=50 if many else 7)
    together = search(model, source_ids, options=options, constraints=each)
    for source, constraints, found in zip(source_ids, each, together, strict=True):
        assert found == search(model, [source], options=options, constraints=[constraints])[0]


@given(seeds, st.sampled_from(["full", "first", "exact"]), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_to_require_what_the_prefix_holds_changes_nothing(seed: int, stopping: str, beam_size: int) -> None:
    options = SearchOptions(beam_size=beam_size, stopping=stopping, max_length=6)  # type: ignore[arg-type]
    plain, required = (
        search(TableStepper(seed=seed), [[4], [5]], options=options, constraints=Constraints(prefix=(4,), require=more))
        for more in ((), ((4,),))
    )
    assert plain == required


# Law 4: the raw score is the model's own


@pytest.mark.parametrize("options", MODES)
@given(seeds, sources)
@settings(max_examples=15, deadline=None)
def test_the_score_is_what_the_model_gives_the_ids(options: SearchOptions, seed: int, source_ids: list) -> None:
    model = TableStepper(seed=seed)
    options = options.model_copy(update={"max_length": 7})
    for source, hypotheses in zip(source_ids, search(model, source_ids, options=options), strict=True):
        assert 1 <= len(hypotheses) <= options.num_hypotheses
        assert len({h.ids for h in hypotheses}) == len(hypotheses)
        for h in hypotheses:
            steps = [model.look_up(tuple(source), h.ids[:t]) for t in range(len(h.ids))]
            assert h.token_scores == pytest.approx([s[0][i] for s, i in zip(steps, h.ids, strict=True)], abs=1e-12)
            assert h.score == pytest.approx(sum(h.token_scores), abs=1e-12)
            assert h.attention is not None
            np.testing.assert_allclose(h.attention, [s[1] for s in steps], atol=1e-12)
            assert h.finished == (h.ids[-1] == EOS)
            assert not {PAD, BOS} & set(h.ids)
            assert EOS not in h.ids[:-1]


# Ends


@pytest.mark.parametrize("options", [mode for mode in MODES if not mode.no_repeat_ngram])
def test_a_model_that_never_ends_stops_at_the_maximum_and_says_so(options: SearchOptions) -> None:
    model = EndlessStepper(seed=1)
    for source, hypotheses in zip(([4], [5, 6, 7]), search(model, [[4], [5, 6, 7]], options=options), strict=True):
        assert not hypotheses[0].finished
        assert len(hypotheses[0].ids) == 3 * len(source) + 50


def test_a_finished_output_comes_before_a_better_one_that_was_cut() -> None:
    model = TableStepper(seed=3)
    found = search(model, [[4]], options=ROOM)[0]
    cut = [h.normalized_score for h in found if not h.finished]
    whole = [h.normalized_score for h in found if h.finished]
    assert [h.finished for h in found] == [True] * len(whole) + [False] * len(cut)
    assert max(cut) > min(whole)


def test_finished_sources_leave_the_batch() -> None:
    class Clean(EndlessStepper):
        """Never prefers an id that must not be chosen."""

        def logits(self, random: np.random.Generator) -> np.ndarray:
            logits = super().logits(random)
            logits[[PAD, BOS]] = -50
            return logits

    model = Clean(seed=1)
    search(model, [[4], [4, 5, 6, 7]], options=SearchOptions(beam_size=1, max_length_ratio=2.0))
    assert (model.steps, model.rows_fed) == (8, 2 + 8)
    model = Clean(seed=1)
    search(model, [[4], [4, 5, 6, 7]], options=SearchOptions(beam_size=3, max_length_ratio=2.0))
    assert (model.steps, model.rows_fed) == (8, (1 + 3) + (1 + 7 * 3))


@given(
    seeds,
    sources,
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from(["full", "exact"]),
    st.integers(1, 3),
    st.sampled_from([1, 2]),
)
@settings(max_examples=50, deadline=None)
def test_the_bound_changes_no_result(
    seed: int, source_ids: list[list[int]], penalty: float, stopping: str, n: int, groups: int
) -> None:
    options = SearchOptions(
        beam_size=4,
        beam_groups=groups,
        num_hypotheses=n,
        max_length=9,
        length_penalty=penalty,
        stopping=stopping,
        coverage_penalty=0.1,
    )
    bounded = search(TableStepper(seed=seed, sharpness=4), source_ids, options=options)
    plan = make_plan(source_ids, 6, options=options)
    beam = Beam(TableStepper(seed=seed, sharpness=4), plan)
    beam._decided = lambda *_: np.zeros(len(beam.sentences), bool)
    while beam.advance():
        pass
    assert bounded == beam.results()


@pytest.mark.parametrize("stopping", ["full", "first", "exact"])
def test_the_stop_rule_saves_steps(stopping: str) -> None:
    class Sure(TableStepper):
        """Ends after two ids with probability near 1."""

        def look_up(self, source, prefix):
            log_probs, attention = super().look_up(source, prefix)
            log_probs = np.full(self.vocab, -20.0)
            log_probs[EOS] = -40.0
            log_probs[EOS if len(prefix) == 2 else 4] = -0.01
            return log_probs, attention

    model = Sure(vocab=9)
    options = SearchOptions(beam_size=4, length_penalty=0.5, max_length=50, stopping=stopping)
    assert search(model, [[4]], options=options)[0][0].ids == (4, 4, EOS)
    assert model.steps == 3


def test_first_stops_with_the_first_that_finish() -> None:
    steps = {}
    for stopping in ("first", "full", "exact"):
        model = TableStepper(seed=11, sharpness=0.5)
        options = SearchOptions(beam_size=4, stopping=stopping, max_length=30)
        search(model, [[4, 5]], options=options)
        steps[stopping] = model.steps
    assert steps["first"] < steps["full"] < steps["exact"]


def test_nan_ends_the_search() -> None:
    class Broken(TableStepper):
        def look_up(self, source, prefix):
            log_probs, attention = super().look_up(source, prefix)
            return (log_probs * np.nan if len(prefix) == 1 else log_probs), attention

    for beam_size in (1, 3):
        found = search(Broken(seed=4), [[4, 5]], options=SearchOptions(beam_size=beam_size, num_hypotheses=beam_size))[
            0
        ]
        assert not found[-1].finished
        assert len(found[-1].ids) == 1


@pytest.mark.parametrize("limit", [{}, {"min_length": 3}, {"no_repeat_ngram": 2}, {"repetition_penalty": 1.0}])
def test_no_sources_give_no_results(limit: dict[str, float]) -> None:
    assert search(TableStepper(), [], options=SearchOptions(**limit)) == []  # type: ignore[arg-type]


# Options


def test_more_outputs_than_places_is_an_error() -> None:
    with pytest.raises(OptionError, match=r"^`num_hypotheses` must be at most `beam_size` \(5\), but is 6$"):
        SearchOptions(num_hypotheses=6)


def test_impossible_lengths_are_errors_before_the_model_is_asked() -> None:
    with pytest.raises(OptionError, match=r"^`min_length` must be at most `max_length` \(3\), but is 4$"):
        SearchOptions(min_length=4, max_length=3)
    model = TableStepper()
    with pytest.raises(OptionError, match=r"longest \(2\).*for a source of 1 token$"):
        search(model, [[4, 5], [4]], options=SearchOptions(min_length=3, max_length_ratio=2.0))
    assert model.steps == 0


@pytest.mark.parametrize("options", [*MODES, SearchOptions(method="sample")])
def test_a_source_without_ids_is_an_error_before_the_model_is_asked(options: SearchOptions) -> None:
    """PyTorch fails on one, but the graphs answer as if there were something to read."""
    model = TableStepper()
    with pytest.raises(OptionError, match="every source must have at least one id, but number 2 has none"):
        search(model, [[4], []], options=options)
    assert model.steps == 0


@pytest.mark.parametrize("method", ["beam", "sample", "stochastic_beam", "best_first"])
def test_coverage_needs_attention(method: Any) -> None:
    with pytest.raises(OptionError, match="`coverage_penalty` needs a model with attention"):
        search(TableStepper(attention=False), [[4]], options=SearchOptions(method=method, coverage_penalty=0.2))


def test_without_attention_hypotheses_have_none() -> None:
    for beam_size in (1, 2):
        assert (
            search(TableStepper(attention=False), [[4]], options=SearchOptions(beam_size=beam_size))[0][0].attention
            is None
        )


def test_unknown_is_chosen_unless_forbidden() -> None:
    for beam_size in (1, 3):
        options = SearchOptions(beam_size=beam_size, max_length=8)
        model = TableStepper(seed=2)
        sources = [[4, i] for i in range(4, 12)]
        assert any(UNK in h.ids for hs in search(model, sources, options=options) for h in hs)
        options = options.model_copy(update={"allow_unknown": False})
        assert not any(UNK in h.ids for hs in search(model, sources, options=options) for h in hs)


def test_length_limits() -> None:
    lengths = np.array([1, 10])
    least, most = length_limits(lengths, options=SearchOptions())
    assert (least.tolist(), most.tolist()) == ([0, 0], [53, 80])
    options = SearchOptions(max_length=12, max_length_ratio=1.5, min_length=1, min_length_ratio=0.25)
    least, most = length_limits(lengths, options=options)
    assert (least.tolist(), most.tolist()) == ([1, 3], [2, 12])
    least, most = length_limits(lengths, options=SearchOptions(min_length=60))  # a default gives way
    assert (least.tolist(), most.tolist()) == ([60, 60], [120, 120])


@pytest.mark.parametrize("tenths", range(1, 60))
def test_relative_lengths_are_exact_multiples_rounded_up(tenths: int) -> None:
    lengths = np.arange(1, 101)
    expected = -(-tenths * lengths // 10)  # in whole numbers
    options = SearchOptions(min_length_ratio=tenths / 10, max_length_ratio=tenths / 10)
    least, most = length_limits(lengths, options=options)
    assert least.tolist() == most.tolist() == expected.tolist()


# The operations


def test_candidates_are_laid_out_by_beam() -> None:
    log_probs = np.array([[-1.0, -2.0], [-3.0, -4.0], [-5.0, -6.0]])
    values = Layout(np.array([2, 1])).by_beam(np.array([[0.0], [-10.0], [-20.0]]) + log_probs, fill=-np.inf)
    np.testing.assert_array_equal(values, [[-1, -2, -13, -14], [-25, -26, -np.inf, -np.inf]])
    full = Layout(np.ones(3, np.int64)).by_beam(log_probs, fill=-np.inf)
    np.testing.assert_array_equal(full, log_probs)


@given(st.integers(1, 40), st.integers(0, 1000))
def test_best_sorts_with_ties_to_the_lower_position(n: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 9, size=(2, 50)).astype(float)
    expected = [sorted(range(50), key=lambda i: (-row[i], i))[:n] for row in values]
    assert best(values, n).tolist() == expected


def test_best_of_very_many_is_the_same() -> None:
    values = np.random.default_rng(0).integers(0, 40, size=(2, 5000)).astype(float)
    np.testing.assert_array_equal(best(values, 300), (-values).argsort(axis=1, kind="stable")[:, :300])


def test_best_takes_nan_last_of_very_many_too() -> None:
    values = np.full((2, 5000), -np.inf)
    values[:, 7], values[0, 9:] = -1.0, np.nan
    assert best(values, 3)[:, 0].tolist() == [7, 7]
    assert best(values[:, :100], 3)[:, 0].tolist() == [7, 7]


def candidates(values: list[list[float]], ids: list[list[int]], places: list[int]) -> Candidates:
    beams = len(values)
    rows_each = len(ids) // beams
    layout = Layout(np.full(beams, rows_each))
    return Candidates(np.array(values), np.array(ids), layout, np.array(places), np.arange(beams))


def test_prune_keeps_as_many_as_there_are_places() -> None:
    order, taken = choose_best(candidates([[-1, -5, -2, -3], [-1, -np.inf, -9, -4]], [[4, 5]] * 4, [2, 4]))
    assert [row[mask].tolist() for row, mask in zip(order, taken, strict=True)] == [[0, 2], [0, 3, 2]]


def test_open_choice_keeps_places_for_unfinished_outputs() -> None:
    given = candidates([[-1, -2, -3, -4, -5, -6]], [[EOS, 4, 5], [EOS, 6, 7]], [2])
    order, taken = choose_best(dataclasses.replace(given, ends=given.ids.reshape(1, 6) == EOS))
    # the best two are `</s>` and 4: the first ends, and 4 and 5 go on; the second `</s>` is not among the best two
    assert order[taken].tolist() == [0, 1, 2]


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-9, 0)), max_size=12), st.integers(1, 4))
def test_merge_best_keeps_the_best_of_each(new: list[tuple[int, float]], n: int) -> None:
    new = sorted(new, key=lambda pair: pair[0])
    best_scores = np.tile(-np.arange(1.0, n + 1), (4, 1))
    merged = merge_best(best_scores, np.array([s for s, _ in new], int), np.array([v for _, v in new]))
    for sentence in range(4):
        values = [*best_scores[sentence], *(v for s, v in new if s == sentence)]
        assert merged[sentence].tolist() == sorted(values, reverse=True)[:n]


@given(st.floats(-50, 0), st.integers(1, 30), st.sampled_from(["power", "gnmt"]), st.floats(0, 3))
def test_the_bound_is_never_exceeded(score: float, limit: int, norm: str, penalty: float) -> None:
    ranking = Ranking(length_penalty=penalty, length_norm=norm)
    bound = ranking.bound(np.array([score]), np.array([limit]))[0]
    reached = score / ranking.norm(np.arange(1, limit + 1))
    assert (reached <= bound + 1e-12).all()


def test_ranked_orders_with_ties_to_the_lower_id() -> None:
    log_probs = np.array([[-2.0, -1.0, -3.0, -1.0]])
    ids, values = ranked(log_probs, top_k=3)
    assert ids.tolist() == [[1, 3, 0]]
    assert values.tolist() == [[-1, -1, -2]]
    ids, values = ranked(log_probs, top_k=None)
    assert ids.tolist() == [[0, 1, 2, 3]]
    ids, values = ranked(log_probs, top_k=2, bias=np.array([[0.0, 0.0, 9.0, 0.5]]))
    assert (ids.tolist(), values.tolist()) == ([[2, 3]], [[-3, -1]])
    ids, values = ranked(log_probs, top_k=2, allowed=np.array([[True, False, False, False]]))
    assert ids[0, 0] == 0
    assert values.tolist() == [[-2, -np.inf]]
    for vocab in (100, 1000):
        assert ranked(np.zeros((2, vocab)), top_k=5)[0].tolist() == [[0, 1, 2, 3, 4]] * 2


def test_ties_go_to_the_lower_id_and_the_better_place() -> None:
    class Flat(TableStepper):
        def look_up(self, source, _prefix):
            return np.full(self.vocab, -np.log(self.vocab)), np.ones(len(source)) / len(source)

    options = SearchOptions(beam_size=3, num_hypotheses=3, max_length=2, length_penalty=0, allow_unknown=False)
    found = search(Flat(), [[4]], options=options)[0]
    assert [h.ids for h in found] == [(EOS,), (4, EOS), (4, 4)]


def test_alignments() -> None:
    attention = np.array([[0.1, 0.9], [0.5, 0.5], [0.0, 1.0]])
    assert align(attention).tolist() == [1, 0, 1]
    assert pharaoh(attention) == "1-0 0-1 1-2"


def test_hypotheses_are_frozen() -> None:
    found = search(TableStepper(), [[4]], options=SearchOptions())[0][0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.score = 0.0


def test_every_output_is_every_output() -> None:
    outputs = every_output(TableStepper(seed=5), [4], 3)
    assert len({output.ids for output in outputs}) == len(outputs) == 1 + 3 + 9 + 27
    for ids in itertools.product((UNK, 4, 5), repeat=3):
        assert ids in {output.ids for output in outputs}


# The torch model is a Stepper like any other


@pytest.mark.parametrize("options", [*MODES, SearchOptions(method="sample"), SearchOptions(method="stochastic_beam")])
def test_the_torch_model_keeps_laws_3_and_4(options: SearchOptions) -> None:
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "embedding_size": 16, "decoder_layers": 2, "encoder_layers": 2}
    model = Seq2Seq(source_vocab_size=30, target_vocab_size=30, attention="multihead", attention_heads=2, **shape)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    stepper = TorchStepper(model.double())
    options = options.model_copy(update={"max_length": 10})
    source_ids = [list(range(4 + i, 5 + i + i % 7)) for i in range(12)]
    together = search(stepper, source_ids, options=options)
    for source, found in zip(source_ids, together, strict=True):
        alone = search(stepper, [source], options=options)[0]
        assert [h.ids for h in alone] == [h.ids for h in found]
        for hypothesis, scored in zip(
            found, score_ids(stepper, [source] * len(found), [h.ids for h in found]), strict=True
        ):
            assert scored.token_scores == pytest.approx(hypothesis.token_scores, abs=1e-10)
            np.testing.assert_allclose(scored.attention, hypothesis.attention, atol=1e-10)


def test_sources_may_be_read_only_once() -> None:
    sources = [[4, 5], [5]]
    assert search(TableStepper(), iter(sources)) == search(TableStepper(), sources)

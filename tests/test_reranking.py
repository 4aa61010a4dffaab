"""Forced scoring, ensembles, choosing among candidates, and the trace of a beam."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from steppers import TableStepper, every_output

from dragoman.config import SearchOptions
from dragoman.errors import OptionError, counted
from dragoman.generation.constraints import Constraints, contains
from dragoman.generation.ensemble import EnsembleStepper
from dragoman.generation.reranking import combine_lists, minimum_bayes_risk, probabilities, weigh
from dragoman.generation.scoring import score_ids
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, EOS, PAD
from dragoman.generation.tracing import Trace

sources = st.lists(st.lists(st.integers(4, 9), min_size=1, max_size=3), min_size=1, max_size=4)
seeds = st.integers(0, 10_000)

EVERY_MODE = [
    SearchOptions(beam_size=1),
    SearchOptions(beam_size=4, num_hypotheses=4),
    SearchOptions(beam_size=4, num_hypotheses=4, beam_groups=2),
    SearchOptions(beam_size=3, num_hypotheses=2, stopping="exact"),
    SearchOptions(beam_size=3, coverage_penalty=0.3, repetition_penalty=0.5, no_repeat_ngram=2, min_length=2),
    SearchOptions(method="sample", num_hypotheses=3, temperature=1.4),
    SearchOptions(method="stochastic_beam", num_hypotheses=3),
    SearchOptions(method="best_first", num_hypotheses=2),
]


# Scoring (law 4)


@pytest.mark.parametrize("options", EVERY_MODE)
@pytest.mark.parametrize("members", [1, 3])
@given(seeds, sources)
@settings(max_examples=8, deadline=None)
def test_every_mode_gives_the_score_that_scoring_gives(
    options: SearchOptions, members: int, seed: int, source_ids: list[list[int]]
) -> None:
    options = options.model_copy(update={"max_length": 5})
    models = [TableStepper(seed=seed + i) for i in range(members)]
    model = models[0] if members == 1 else EnsembleStepper(models, weights=[1.0, 2.0, 0.5])
    constraints = Constraints(forbid=((5, 5),))
    pairs = [
        (source, hypothesis)
        for source, found in zip(
            source_ids, search(model, source_ids, options=options, constraints=constraints), strict=True
        )
        for hypothesis in found
    ]
    scored = score_ids(model, [source for source, _ in pairs], [h.ids for _, h in pairs])
    for (_, hypothesis), forced in zip(pairs, scored, strict=True):
        assert forced.ids == hypothesis.ids
        assert forced.token_scores == pytest.approx(hypothesis.token_scores, abs=1e-10)
        assert forced.score == pytest.approx(hypothesis.score, abs=1e-10)
        assert forced.finished == hypothesis.finished
        np.testing.assert_allclose(forced.attention, hypothesis.attention, atol=1e-12)


def test_scores_are_the_models_own_and_their_means() -> None:
    model = TableStepper(seed=1)
    targets = [(4, 5, EOS), (), (PAD, BOS), (5,)]
    scored = score_ids(model, [[4], [5, 6], [7], [4]], targets)
    for source, target, hypothesis in zip(([4], [5, 6], [7], [4]), targets, scored, strict=True):
        expected = [model.look_up(tuple(source), target[:t])[0][i] for t, i in enumerate(target)]
        assert hypothesis.ids == target
        assert hypothesis.token_scores == pytest.approx(expected)
        assert hypothesis.normalized_score == pytest.approx(sum(expected) / max(len(target), 1))
        assert hypothesis.attention.shape == (len(target), len(source))
    assert [hypothesis.finished for hypothesis in scored] == [True, False, False, False]
    assert score_ids(model, [], []) == []


def test_scoring_refuses_what_it_cannot_score() -> None:
    with pytest.raises(OptionError, match="must be pairs, but there are 1 and 2"):
        score_ids(TableStepper(), [[4]], [[4], [5]])
    with pytest.raises(OptionError, match="target ids must be from 0 to 5, but one is -1"):
        score_ids(TableStepper(), [[4]], [[5, -1]])
    with pytest.raises(OptionError, match="must be from 0 to 5, but one is 6"):
        score_ids(TableStepper(), [[4]], [[4, 6]])
    with pytest.raises(OptionError, match="every source must have at least one id, but number 1 has none"):
        score_ids(TableStepper(), [[], [4]], [[4], [5]])


# Ensembles


@given(seeds, sources, st.lists(st.floats(0.1, 5), min_size=2, max_size=3))
@settings(max_examples=15, deadline=None)
def test_an_ensemble_averages_probabilities(seed: int, source_ids: list[list[int]], weights: list[float]) -> None:
    models = [TableStepper(seed=seed + i) for i in range(len(weights))]
    ensemble = EnsembleStepper(models, weights=weights)
    options = SearchOptions(beam_size=60, num_hypotheses=60, max_length=3)
    for source, found in zip(source_ids, search(ensemble, source_ids, options=options), strict=True):
        best = []
        for output in every_output(models[0], source, 3):
            score = 0.0
            for t, token in enumerate(output.ids):
                each = [np.exp(model.look_up(tuple(source), output.ids[:t])[0][token]) for model in models]
                score += float(np.log(np.average(each, weights=weights)))
            best.append((not output.finished, -score / len(output.ids), output.ids))
        assert [h.ids for h in found] == [ids for _, _, ids in sorted(best)]
        assert found[0].normalized_score == pytest.approx(-min(best)[1])


def test_an_ensemble_of_one_model_twice_is_that_model() -> None:
    for options in EVERY_MODE:
        options = options.model_copy(update={"max_length": 6})
        one = search(TableStepper(seed=3), [[4, 5], [6]], options=options)
        twice = search(EnsembleStepper([TableStepper(seed=3)] * 2), [[4, 5], [6]], options=options)
        assert [[h.ids for h in hs] for hs in one] == [[h.ids for h in hs] for hs in twice]


@pytest.mark.parametrize("beam_size", [1, 3])
def test_an_ensemble_keeps_to_what_is_required_and_forbidden(beam_size: int) -> None:
    """With so many words those that are required are among the best only if they are asked for."""
    model = TableStepper(seed=3, vocab=60)
    constraints = Constraints(require=((20, 21), (30,)), forbid=((40,), (4, 5)))
    options = SearchOptions(beam_size=beam_size, max_length=9, repetition_penalty=0.5)
    one, twice = (
        search(each, [[4, 5], [6]], options=options, constraints=constraints)
        for each in (model, EnsembleStepper([model] * 2))
    )
    for mine, other in zip(one, twice, strict=True):
        assert other[0].ids == mine[0].ids
        assert all(contains(other[0].ids, phrase) for phrase in constraints.require)


def test_ensembles_attend_where_their_models_attend() -> None:
    source, plain = [[4, 5, 6]], TableStepper(seed=1, attention=False)
    one, other = TableStepper(seed=2), TableStepper(seed=3)
    options = SearchOptions(beam_size=1)

    def first_step(model) -> np.ndarray | None:
        attention = search(model, source, options=options)[0][0].attention
        return None if attention is None else attention[0]

    expected = [model.look_up((4, 5, 6), ())[1] for model in (one, other)]
    mixed = first_step(EnsembleStepper([plain, one, other], weights=[5, 1, 3]))
    np.testing.assert_allclose(mixed, 0.25 * expected[0] + 0.75 * expected[1])
    assert first_step(EnsembleStepper([plain, plain])) is None


def test_ensembles_that_cannot_be() -> None:
    with pytest.raises(OptionError, match="must share one target vocabulary, but theirs have 6 and 7 tokens"):
        EnsembleStepper([TableStepper(vocab=7), TableStepper(vocab=6)])
    with pytest.raises(OptionError, match="at least one model"):
        EnsembleStepper([])
    for weights in ([1.0], [1.0, -1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(OptionError, match="weights of an ensemble must be positive, one for each of its 2"):
            EnsembleStepper([TableStepper(), TableStepper()], weights=weights)


# Choosing


def likeness(a: str, b: str) -> float:
    return len(set(a) & set(b)) / max(len(set(a) | set(b)), 1)


@given(st.lists(st.text("abc", max_size=3), min_size=1, max_size=8), st.data())
def test_minimum_bayes_risk_is_the_definition(candidates: list[str], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 3), min_size=len(candidates), max_size=len(candidates)))
    found = minimum_bayes_risk(candidates, likeness, weights=weights)
    assert {candidates[place] for place, _ in found} == set(candidates)
    assert all(candidates.index(candidates[place]) == place for place, _ in found)
    for place, expected in found:
        mean = np.average([likeness(candidates[place], other) for other in candidates], weights=weights)
        assert expected == pytest.approx(mean)
    assert [value for _, value in found] == sorted((value for _, value in found), reverse=True)


def test_minimum_bayes_risk_prefers_the_common_ground() -> None:
    found = minimum_bayes_risk(["xyz", "abc", "abd", "abe"], likeness)
    assert found[-1][0] == 0
    assert minimum_bayes_risk(["xyz", "abc", "abd"], likeness, weights=[9, 1, 1])[0][0] == 0
    assert minimum_bayes_risk(["b", "a", "b"], lambda a, b: float(a == b)) == [(0, 2 / 3), (1, 1 / 3)]
    assert minimum_bayes_risk([], likeness) == []


def test_minimum_bayes_risk_asks_for_equal_candidates_once() -> None:
    asked = []
    minimum_bayes_risk(["a", "b"] * 10, lambda a, b: asked.append((a, b)) or 1.0)
    assert len(asked) == 4


def test_weights_of_candidates() -> None:
    assert probabilities([-1000.0, -1000.0 + np.log(3)]) == pytest.approx([0.25, 0.75])
    with pytest.raises(OptionError, match="`weights` must be positive, one for each of the 2 candidates"):
        minimum_bayes_risk(["a", "b"], likeness, weights=[1.0])
    with pytest.raises(OptionError, match="`weights` must be positive"):
        minimum_bayes_risk(["a", "b"], likeness, weights=[-1.0, 2.0])


def test_reverse_scores_change_the_order() -> None:
    scores, reverse = [-1.0, -1.2, -3.0], [-9.0, -2.0, -1.0]
    assert weigh(scores, (0.5, reverse)) == [-5.5, -2.2, -3.5]
    assert weigh(scores, (0.5, reverse), (-1.0, [0.0, 0.0, -9.0])) == [-5.5, -2.2, 5.5]
    with pytest.raises(OptionError, match="every candidate must have every score, but 3 have one and 2 another"):
        weigh(scores, (1.0, [0.0, 0.0]))


def test_lists_are_combined_by_their_scores() -> None:
    lists = [{"a": -1.0, "b": -2.0}, {"b": -1.0, "c": -4.0}, {}]
    assert combine_lists(lists) == [("b", -1.5), ("a", -2.5), ("c", -3.0)]
    assert combine_lists([*lists, lists[0]]) == [("b", -5 / 3), ("a", -2.0), ("c", -8 / 3)]
    assert combine_lists([{}, {}]) == []


# The trace


@given(seeds, sources, st.sampled_from([1, 3]), st.sampled_from(["full", "first", "exact"]), st.sampled_from([1, 3]))
@settings(max_examples=40, deadline=None)
def test_a_trace_is_what_happened(
    seed: int, source_ids: list[list[int]], beam_size: int, stopping: str, groups: int
) -> None:
    groups = min(groups, beam_size)
    options = SearchOptions(
        beam_size=beam_size, num_hypotheses=beam_size, beam_groups=groups, stopping=stopping, max_length=6
    )
    trace = Trace()
    found = search(TableStepper(seed=seed), source_ids, options=options, trace=trace)
    assert found == search(TableStepper(seed=seed), source_ids, options=options)
    assert json.loads(json.dumps(trace.as_dict(), allow_nan=False))["sources"]
    for source, steps, hypotheses in zip(source_ids, trace.sources, found, strict=True):
        ends = set()
        for step in steps:
            fates = [candidate.fate for candidate in step.candidates]
            assert len(fates) >= len(step.outputs)
            if stopping != "exact":
                assert sum(fate in ("kept", "finished", "cut", "stopped") for fate in fates) <= step.places
            kept = [c.rank for c in step.candidates if c.fate in ("kept", "finished", "cut", "stopped")]
            fallen = [c.rank for c in step.candidates if c.fate == "pruned"]
            if stopping != "exact" and fallen:
                assert max(fallen) <= min(kept)
            for candidate in step.candidates:
                ids = (*step.outputs[candidate.place], candidate.id)
                assert len(ids) == step.step + 1
                assert (candidate.fate == "forbidden") == (candidate.id in (PAD, BOS)) == (candidate.rank is None)
                if candidate.log_prob is not None:
                    expected = model_log_prob(seed, source, ids)
                    assert candidate.log_prob == pytest.approx(expected)
                if candidate.fate in ("finished", "cut"):
                    ends.add(ids)
                following = [s for s in steps if s.step == step.step + 1 and s.group == step.group]
                assert (candidate.fate == "kept") == any(list(ids) in s.outputs for s in following)
                if candidate.fate == "pruned":
                    better = sum(c.rank is not None and c.rank > candidate.rank for c in step.candidates)
                    assert (
                        candidate.reason
                        == f"number {better + 1} of the candidates, for {counted(step.places, 'place')}"
                    )
        assert {h.ids for h in hypotheses} <= ends


def model_log_prob(seed: int, source: list[int], ids: tuple[int, ...]) -> float:
    return float(TableStepper(seed=seed).look_up(tuple(source), ids[:-1])[0][ids[-1]])


def test_a_trace_says_why() -> None:
    trace = Trace()
    options = SearchOptions(beam_size=2, max_length=3)
    constraints = Constraints(forbid=((5,),))
    search(TableStepper(seed=1), [[4]], options=options, constraints=constraints, trace=trace)
    reasons = {c.fate: c.reason for step in trace.sources[0] for c in step.candidates}
    assert set(reasons) >= {"kept", "pruned"}
    assert reasons["pruned"].endswith((", for 2 places", ", for 1 place"))


def test_a_trace_says_what_shared_the_places_out_and_what_ended_the_search() -> None:
    options = SearchOptions(beam_size=2, max_length=5)
    trace = Trace()
    search(TableStepper(seed=1), [[4]], options=options, constraints=Constraints(require=((5,),)), trace=trace)
    candidates = [c for step in trace.sources[0] for c in step.candidates if c.fate in ("kept", "pruned")]
    assert candidates
    assert all(c.reason.endswith(", with places shared out by required tokens") for c in candidates)
    for stopping, reason in (("first", "enough outputs have finished"), ("full", "it cannot get among the best")):
        reasons = set[str]()
        for seed in range(20):
            trace = Trace()
            options = SearchOptions(beam_size=3, max_length=6, stopping=stopping)
            search(TableStepper(seed=seed), [[4]], options=options, trace=trace)
            reasons |= {c.reason for step in trace.sources[0] for c in step.candidates if c.fate == "stopped"}
        assert [each.startswith(f"the search has ended: {reason}") for each in reasons] == [True]


def test_a_trace_can_name_its_tokens() -> None:
    trace = Trace()
    search(TableStepper(), [[4]], options=SearchOptions(beam_size=2, max_length=2), trace=trace)
    for step in trace.as_dict(lambda token: f"<{token}>")["sources"][0]:
        assert all(candidate["token"] == f"<{candidate['id']}>" for candidate in step["candidates"])


def test_only_beams_are_traced() -> None:
    model = TableStepper()
    with pytest.raises(OptionError, match="a trace needs `method` beam, but it is sample"):
        search(model, [[4]], options=SearchOptions(method="sample"), trace=Trace())
    assert model.steps == 0

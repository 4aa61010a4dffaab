"""A look inside agrees with the model it looks into, and the gap and calibration with counts done by hand."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor

from dragoman.config import SearchOptions
from dragoman.errors import OptionError, StorageError
from dragoman.evaluation import calibration, exposure, forcing
from dragoman.evaluation.feeding import feed_both_ways
from dragoman.evaluation.forcing import force
from dragoman.evaluation.inspection import Inspection, gradient_norms, inspect
from dragoman.evaluation.tables import inspection_tables
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, EOS
from dragoman.model.seq2seq import Output, Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.model.trace import trace

SOURCE, REFERENCE = [4, 5, 6, 7], [8, 9, 4]
NAMES = ["<pad>", "<unk>", "<s>", "</s>", "▁나", "는", "[학교]", "에", "간다", "."]


def names(ids: Sequence[int]) -> list[str]:
    return [NAMES[i] for i in ids]


def build(**options: object) -> Seq2Seq:
    torch.manual_seed(7)
    sizes = {"source_vocab_size": 10, "target_vocab_size": 10, "embedding_size": 6, "hidden_size": 8}
    return Seq2Seq(**{**sizes, **options}).double().eval()  # type: ignore[arg-type]


SHAPES = {
    "textbook": {},
    "reversed": {"reverse_source": True, "peek": True},
    "attention": {"attention": "general", "bidirectional": True, "decoder_layers": 2, "encoder_layers": 2},
    "fed": {"attention": "dot", "input_feeding": True, "cell": "gru"},
}


def look(model: Seq2Seq, *, reference: list[int] | None = REFERENCE, **options: int) -> Inspection:
    return inspect(model, SOURCE, source_names=names, target_names=names, reference_ids=reference, **options)


@pytest.mark.parametrize("shape", SHAPES)
def test_free_running_steps_are_greedy_search(shape: str) -> None:
    model = build(**SHAPES[shape])
    seen = look(model, max_length=6)
    stepper, last = TorchStepper(model), BOS
    state = stepper.start([SOURCE])
    for index, step in enumerate(seen.steps):
        expected = stepper.step(state, np.array([last]), top_k=None)
        state, best = expected.state, np.argsort(-expected.log_probs[0], kind="stable")
        assert step.input == NAMES[last]
        assert [word.id for word in step.candidates] == list(best[:5])
        assert [word.probability for word in step.candidates] == pytest.approx(np.exp(expected.log_probs[0][best[:5]]))
        assert step.chosen == NAMES[best[0]]
        if seen.attention is not None:
            assert expected.attention is not None
            np.testing.assert_allclose(seen.attention[index], expected.attention[0])
        last = int(best[0])
    assert seen.finished == (last == EOS)
    assert len(seen.steps) == 6 or seen.finished
    assert len(seen.output) == len(seen.steps) - seen.finished
    assert (seen.attention is None) == (SHAPES[shape].get("attention") is None)


@pytest.mark.parametrize("shape", SHAPES)
def test_forced_steps_are_the_fused_pass(shape: str) -> None:
    model = build(**SHAPES[shape])
    seen = look(model)
    output = model(torch.tensor([SOURCE]), torch.tensor([4]), torch.tensor([[BOS, *REFERENCE]]))
    expected = torch.softmax(model.decoder.output(output.features)[0], dim=1).detach().numpy()
    assert seen.forced is not None
    assert [step.input for step in seen.forced] == names([BOS, *REFERENCE])
    for step, row, true_id in zip(seen.forced, expected, [*REFERENCE, EOS], strict=True):
        assert step.expected == NAMES[true_id]
        assert step.expected_probability == pytest.approx(row[true_id])
        assert step.candidates[0].probability == pytest.approx(row.max())
        assert step.right == (row.argmax() == true_id)
    memory, _ = model.encode(torch.tensor([SOURCE]), torch.tensor([4]))
    np.testing.assert_allclose(seen.context, memory.context[0].detach())
    np.testing.assert_allclose(look(model, reference=None).context, seen.context)


def moved_losses(model: Seq2Seq, place: int, move: Tensor, *, side: str) -> Tensor:
    """The steps' losses if the top state after position `place` of one side were moved by `move`."""
    inputs = model.encoder.embed(torch.tensor([SOURCE]), torch.tensor([4]))
    memory, state = model.encode(torch.tensor([SOURCE]), torch.tensor([4]))
    if side == "encoder":  # one layer, one direction, no attention: the last state is all the decoder gets
        final = model.encoder.forward_layers[0].zero_state(inputs)
        for position in range(4):
            final = model.encoder.forward_layers[0].step(inputs[:, position], final)
            final = (final[0] + move, *final[1:]) if position == place else final
        memory = dataclasses.replace(memory, context=final[0])
        state = dataclasses.replace(state, layers=(final,))
    losses = []
    for position, (fed, true_id) in enumerate(zip([BOS, *REFERENCE], [*REFERENCE, EOS], strict=True)):
        features, _, state = model.decoder.step(torch.tensor([fed]), memory, state)
        losses.append(-torch.log_softmax(model.decoder.output(features)[0], dim=0)[true_id])
        if side == "decoder" and position == place:
            top = state.layers[-1]
            state = dataclasses.replace(state, layers=(*state.layers[:-1], (top[0] + move, *top[1:])))
    return torch.stack(losses)


@pytest.mark.parametrize(
    ("shape", "side"),
    [("textbook", "encoder"), ("textbook", "decoder"), ("reversed", "decoder"), ("attention", "decoder")],
)
def test_gradients_through_time_are_finite_differences(shape: str, side: str) -> None:
    model, small = build(**SHAPES[shape]), 1e-6
    traced = trace(model, torch.tensor([SOURCE]), torch.tensor([[BOS, *REFERENCE]]))
    encoder, decoder = gradient_norms(traced, [*REFERENCE, EOS])
    norms = encoder if side == "encoder" else decoder
    assert norms.shape == (4, 4)
    for place in range(4):
        with torch.no_grad():
            columns = [
                moved_losses(model, place, small * axis, side=side)
                - moved_losses(model, place, -small * axis, side=side)
                for axis in torch.eye(8, dtype=torch.float64)
            ]
        expected = torch.stack(columns).norm(dim=0).numpy() / (2 * small)
        # A decoder state is moved after its own word was predicted, so only later losses change.
        first = place + 1 if side == "decoder" else 0
        np.testing.assert_allclose(norms[first:, place], expected[first:], rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_flow_to_every_earlier_state_and_to_no_later_one(shape: str) -> None:
    seen = look(build(**SHAPES[shape]))
    assert seen.encoder_gradients is not None
    assert seen.decoder_gradients is not None
    assert (seen.encoder_gradients > 0).all()
    assert (seen.decoder_gradients[np.tril_indices(4)] > 0).all()
    assert (seen.decoder_gradients[np.triu_indices(4, 1)] == 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_what_the_encoder_reads(shape: str) -> None:
    model = build(**SHAPES[shape])
    seen = look(model, reference=None)
    table = model.encoder.embedding.weight.detach().numpy()
    table = table[4:] / np.linalg.norm(table[4:], axis=1, keepdims=True)  # <pad> is all zeros
    assert seen.source_tokens == tuple(names(SOURCE))
    for token in seen.source:
        others = [i for i in range(4, 10) if i != token.id]
        closest = sorted(others, key=lambda i: -float(table[token.id - 4] @ table[i - 4]))[:3]
        assert [name for name, _ in token.neighbours] == names(closest)
        assert [cosine for _, cosine in token.neighbours] == pytest.approx(
            [table[token.id - 4] @ table[i - 4] for i in closest]
        )
    last = 0 if model.encoder.reverse_source else -1  # with reversal the first token is read last
    assert seen.source[last].summary == pytest.approx(1.0)
    assert sum(token.summary == pytest.approx(1.0) for token in seen.source) == 1


def test_the_summary_of_a_prefix_is_what_reading_it_alone_gives() -> None:
    model = build()
    memory, _ = model.encode(torch.tensor([SOURCE[:2]]), torch.tensor([2]))
    prefix, whole = memory.context[0].detach().numpy(), look(model).context
    cosine = prefix @ whole / np.linalg.norm(prefix) / np.linalg.norm(whole)
    assert look(model).source[1].summary == pytest.approx(cosine)


def test_the_gradient_at_the_first_decoder_state_vanishes_with_the_recurrent_weights() -> None:
    model = build(cell="rnn_tanh")
    with torch.no_grad():
        for layer in model.decoder.layers:
            for name, weight in layer.named_parameters():
                if weight.dim() == 2 and weight.shape[0] == weight.shape[1]:
                    weight.mul_(1e-3)
                assert name
    fading = look(model).gradient_left
    assert fading is not None
    assert fading[0] == pytest.approx(1.0)
    assert fading[1] < 1e-2 * fading[0]
    assert fading[2] < 1e-2 * fading[1]


def test_what_is_left_of_a_gradient_does_not_depend_on_the_loss() -> None:
    seen = look(build())
    norms = np.array([[2.0, 0, 0], [5.0, 10.0, 0], [0.01, 0.02, 0.08]])
    left = dataclasses.replace(seen, decoder_gradients=norms).gradient_left
    assert left == pytest.approx([1.0, np.sqrt(0.5 * 0.25), 0.125])
    norms[1] = 0.0  # a word that was certain
    left = dataclasses.replace(seen, decoder_gradients=norms).gradient_left
    assert left == pytest.approx([1.0, 0.25, 0.125])


def test_encoder_gradients_stand_in_the_sources_order() -> None:
    """The last word read before decoding has the strongest short path: with reversal, that is the first word."""
    plain, mirrored = build(cell="rnn_tanh"), build(cell="rnn_tanh", reverse_source=True)
    straight = look(plain).encoder_gradients
    turned = inspect(
        mirrored, SOURCE[::-1], source_names=names, target_names=names, reference_ids=REFERENCE
    ).encoder_gradients
    assert straight is not None
    assert turned is not None
    np.testing.assert_allclose(turned[:, ::-1], straight)


def test_looking_leaves_the_model_as_it_was() -> None:
    model = build().requires_grad_(False)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert look(model).decoder_gradients is not None
    assert not any(weight.requires_grad for weight in model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.parametrize("shape", SHAPES)
def test_inspections_become_json_and_tables(shape: str) -> None:
    seen = look(build(**SHAPES[shape]), max_length=5)
    again = json.loads(json.dumps(seen.as_dict()))
    assert again["source_tokens"] == ["▁나", "는", "[학교]", "에"]
    assert len(again["forced"]) == len(again["decoder_gradients"]) == 4
    assert again["forced"][0]["expected"] == "간다"
    assert again["gradient_left"] == seen.gradient_left.tolist()
    console = Console(width=160, file=io.StringIO())
    for part in inspection_tables(seen):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for word in ("Context vector", "closest embeddings", "간다", "[학교]", "teacher forcing", "fades", "wrong"):
        assert word in text


def test_a_word_that_is_certain_has_no_loss() -> None:
    model = build()
    with torch.no_grad():
        model.decoder.output.bias[REFERENCE[0]] = 100
    losses = inspection_tables(look(model, max_length=3))[4].columns[2]
    assert next(iter(losses.cells)) == "0.000"


def test_exploding_gradients_and_impossible_words_have_their_numbers_in_single_precision() -> None:
    model = build(cell="rnn_relu")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "weight_hh" in name or "weight_ih" in name:
                weight.abs_().mul_(1000)
    exact, single = look(model, max_length=3), look(model.float(), max_length=3)
    assert exact.encoder_gradients is not None
    assert single.encoder_gradients is not None
    assert exact.encoder_gradients.max() > 1e20  # whose square is infinite
    np.testing.assert_allclose(single.encoder_gradients, exact.encoder_gradients, rtol=1e-3)
    model = build().float()
    with torch.no_grad():
        model.decoder.output.bias[5] = 200
    forced = look(model, max_length=3).forced
    assert forced is not None
    assert all(-np.log(step.expected_probability) == pytest.approx(200, abs=3) for step in forced)


def test_what_is_no_number_is_an_error_and_what_is_infinite_is_null() -> None:
    model = build(cell="rnn_relu")
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(1e200)
    with pytest.raises(StorageError, match="scores are not numbers: its weights are too large"):
        look(model, max_length=3)
    seen = dataclasses.replace(look(build()), encoder_gradients=np.array([[1.0, np.inf]]))
    assert seen.as_dict()["encoder_gradients"] == [[1.0, None]]


@pytest.mark.parametrize(("source", "ends"), [([4], ["▁나"]), ([4, 5], ["는", "▁나"])])
def test_both_ends_of_a_source_are_shown_and_a_single_token_once(source: list[int], ends: list[str]) -> None:
    seen = inspect(build(), source, source_names=names, target_names=names, reference_ids=REFERENCE)
    gradients = inspection_tables(seen)[4]
    assert [str(column.header) for column in gradients.columns][5:] == [f"source: {end}" for end in ends]
    assert seen.encoder_gradients is not None
    for column, place in zip(gradients.columns[5:], [len(source) - 1, 0], strict=False):
        assert list(column.cells) == [f"{norm:.1e}" for norm in seen.encoder_gradients[:, place]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "`candidates` must be at least 1, but is 0"),
        ({"max_length": 0}, "`max_length` must be at least 1, but is 0"),
    ],
)
def test_mistakes_are_one_clear_line(options: dict[str, int], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        look(build(), **options)
    with pytest.raises(OptionError, match="`source_ids` must not be empty"):
        inspect(build(), [], source_names=names, target_names=names)


def test_forcing_many_gives_what_forcing_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(attention="dot")
    sources, targets = [[4, 5, 6], [7], [5, 5]], [[8], [], [9, 4, 5, 6]]
    monkeypatch.setattr(forcing, "AT_ONCE", 2)
    together = force(model, sources, targets)
    for source, target, result in zip(sources, targets, together, strict=True):
        alone = force(model, [source], [target])[0]
        np.testing.assert_allclose(result.log_probs, alone.log_probs, atol=1e-10)
        assert list(result.predicted) == list(alone.predicted)
        steps = inspect(model, source, source_names=names, target_names=names, reference_ids=target).forced
        assert steps is not None
        assert [step.candidates[0].id for step in steps] == list(result.predicted)
        assert np.exp(result.log_probs) == pytest.approx([step.expected_probability for step in steps])


def test_forcing_holds_the_distributions_of_one_target_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 long targets with a large vocabulary they would take gigabytes."""
    model, sizes = build(attention="dot", copying=True), list[int]()
    log_probs = model.log_probs

    def watched(output: Output) -> Tensor:
        found = log_probs(output)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(model, "log_probs", watched)
    force(model, [SOURCE] * 9, [REFERENCE] * 9)
    assert max(sizes) == (len(REFERENCE) + 1) * 10


def test_what_is_looked_at_is_the_model_without_dropout() -> None:
    """Even in the middle of a training, where dropout is at work."""
    model = build(dropout=0.5, encoder_layers=2, decoder_layers=2)
    expected = force(model, [SOURCE], [REFERENCE])[0], look(model).context
    np.testing.assert_array_equal(force(model.train(), [SOURCE], [REFERENCE])[0].log_probs, expected[0].log_probs)
    np.testing.assert_array_equal(look(model.train()).context, expected[1])


# The teacher-forcing gap


def test_gap_by_hand() -> None:
    references = [[4, 5, 6, 7, 3], [4, 5, 3], [7, 3]]
    forced = [[4, 9, 6, 7, 3], [4, 5, 3], [8, 3]]
    free = [[4, 9, 9, 6, 7, 3], [4, 5, 3], [8]]
    gap = exposure.measure_gap(references, forced, free, horizon=4)
    assert list(gap.counts) == [3, 3, 2, 1, 1]
    assert list(gap.forced_accuracy) == pytest.approx([2 / 3, 2 / 3, 1, 1, 1])
    assert list(gap.free_accuracy) == pytest.approx([2 / 3, 1 / 3, 1 / 2, 0, 0])
    assert gap.forced_total == pytest.approx(8 / 10)
    assert gap.free_total == pytest.approx(4 / 10)
    assert gap.gap == pytest.approx(4 / 10)
    assert gap.flawless == pytest.approx(1 / 3)
    assert list(gap.first_error[:3]) == pytest.approx([1 / 3, 1 / 2, 0])
    assert np.isnan(gap.first_error[3])  # nobody is right so far
    assert list(gap.after_error_counts) == [2, 1, 1, 0]
    assert list(gap.forced_after_error[:3]) == [1, 1, 1]
    assert list(gap.free_after_error[:3]) == [0, 0, 0]
    assert np.isnan(gap.free_after_error[3])
    # "6 7" comes back one place late, two words after the error; the third reference has no words left to come back to.
    assert (gap.recoverable, gap.recovered, gap.delays, gap.median_delay) == (1, 1.0, (2,), 2)
    assert json.loads(json.dumps(gap.as_dict()))["free_after_error"] == [0, 0, 0, None]


@pytest.mark.parametrize(
    ("output", "delay"),
    [
        ([4, 9, 6, 7, 8, 3], 1),  # one word wrong
        ([4, 6, 7, 8, 3], 0),  # one word left out
        ([4, 9, 5, 6, 7, 8, 3], 1),  # one word too many
        ([4, 9, 9, 7, 8], 2),  # cut at the maximum length, but back by then
        ([4, 9, 9, 9, 8, 3], None),  # one right word and the end are too little
        ([4, 3], None),  # ended too early
        ([4, 9, 9, 9, 9, 9, 9, 9, 9, 7, 8, 3], None),  # back, but too far away
        ([4, 5, 6, 7, 8, 9, 9], None),  # cannot end
    ],
)
def test_recovery_by_hand(output: list[int], delay: int | None) -> None:
    reference = [4, 5, 6, 7, 8, 3]
    first = exposure.first_error(reference, output)
    assert first == (5 if output[1] == 5 else 1)
    assert exposure.recovery_delay(reference, output, first=first) == delay


sentences = st.lists(st.integers(4, 6), max_size=8)


@given(sentences, sentences, st.booleans())
def test_recovery_equals_brute_force(true: list[int], mine: list[int], ended: bool) -> None:
    reference, output = [*true, EOS], mine + [EOS] * ended
    first = exposure.first_error(reference, output)
    if first is None:
        assert reference == output
        return
    assert reference[:first] == output[:first]
    places = [
        start - first
        for start, other in itertools.product(range(first, 8), range(first, 8))
        if abs(start - other) <= exposure.MAX_SHIFT
        and mine[start : start + 2] == true[other : other + 2]
        and start + 2 <= len(mine)
    ]
    assert exposure.recovery_delay(reference, output, first=first) == min(places, default=None)


@pytest.mark.parametrize("shape", SHAPES)
def test_fed_the_truth_and_fed_itself_a_model_errs_first_at_the_same_place(shape: str) -> None:
    model = build(**SHAPES[shape])
    random = np.random.default_rng(1)
    targets = [list(map(int, random.integers(4, 10, size=4))) for _ in range(12)]
    forced = [list(map(int, result.predicted)) for result in force(model, [SOURCE] * 12, targets)]
    free = [[word.candidates[0].id for word in look(model, reference=None, max_length=9).steps]] * 12
    references = [[*target, EOS] for target in targets]
    for reference, one, other in zip(references, forced, free, strict=True):
        assert exposure.first_error(reference, one) == exposure.first_error(reference, other)
    gap = exposure.measure_gap(references, forced, free)
    assert gap.sentences == 12
    assert gap.flawless == np.mean([list(one) == reference for one, reference in zip(forced, references, strict=True)])


def test_of_several_references_the_one_that_the_model_says_counts() -> None:
    """Others are as long as the output with its end token."""
    model, sources = build(), [[4, 5, 6], [5, 4], [7]]
    with torch.no_grad():
        model.decoder.output.bias[EOS] += 0.5
    found = search(TorchStepper(model), sources, options=SearchOptions(beam_size=1))
    assert all(hypotheses[0].finished for hypotheses in found)
    said = [list(hypotheses[0].ids[:-1]) for hypotheses in found]
    assert feed_both_ways(model, sources, [[ids, [*ids, 4], [*ids, 5]] for ids in said]).flawless == 1.0


def test_gap_names_mistakes() -> None:
    with pytest.raises(OptionError, match="`references` must not be empty"):
        exposure.measure_gap([], [], [])
    with pytest.raises(OptionError, match="must be equally many, but are 1, 1 and 0"):
        exposure.measure_gap([[3]], [[3]], [])
    with pytest.raises(OptionError, match="entry 1 has 2 of 1"):
        exposure.measure_gap([[3]], [[4, 3]], [[3]])
    with pytest.raises(OptionError, match="`horizon` must be at least 1, but is 0"):
        exposure.measure_gap([[3]], [[3]], [[3]], horizon=0)


# Calibration


TRUE = calibration.Calibrator(a=0.5, b=2.0, c=-0.5)


def made_up_scores(truth: calibration.Calibrator = TRUE, size: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and truths drawn so that `truth` gives exactly how often outputs are right."""
    random = np.random.default_rng(2)
    scores = -random.exponential(2.0, size=size)
    return scores, random.random(size) < truth.confidence(scores)


def cross_entropy(scores: np.ndarray, right: np.ndarray, calibrator: calibration.Calibrator) -> float:
    sure = calibrator.confidence(scores)
    return float(-np.where(right, np.log(sure), np.log1p(-sure)).sum())


def test_confidence_is_the_formula_and_without_numbers_the_probability_itself() -> None:
    scores = np.log([0.001, 0.3, 0.5, 0.9, 0.999])
    p = np.exp(scores)
    odds = np.exp(-0.5) * p**0.5 / (1 - p) ** 2.0
    assert TRUE.confidence(scores) == pytest.approx(odds / (1 + odds))
    assert calibration.Calibrator().confidence(scores) == pytest.approx(p)


def test_the_fitted_calibrator_is_the_true_one() -> None:
    fitted = calibration.fit_calibrator(*made_up_scores())
    assert (fitted.a, fitted.b, fitted.c) == pytest.approx((TRUE.a, TRUE.b, TRUE.c), abs=0.15)


@pytest.mark.parametrize(
    "slopes", [(0.5, 2.0), (1.0, -0.5), (-0.5, 1.0), (-1.0, -1.0)], ids=["both", "b is 0", "a is 0", "both are 0"]
)
def test_no_allowed_calibrator_nearby_is_better(slopes: tuple[float, float]) -> None:
    """Also where the truth has a negative slope: the fit is then the best on the border, not the free one cut off."""
    random = np.random.default_rng(3)
    scores = -random.exponential(2.0, size=3000)
    log_odds = slopes[0] * scores - slopes[1] * np.log(-np.expm1(scores)) - 0.5
    right = random.random(len(scores)) < 1 / (1 + np.exp(-log_odds))
    fitted = calibration.fit_calibrator(scores, right)
    assert [value > 0 for value in (fitted.a, fitted.b)] == [slope > 0 for slope in slopes]
    least = cross_entropy(scores, right, fitted)
    for shift in itertools.product((-0.2, 0.0, 0.2), repeat=3):
        a, b, c = np.array([fitted.a, fitted.b, fitted.c]) + shift
        near = calibration.Calibrator(max(a, 0.0), max(b, 0.0), c)
        assert least <= cross_entropy(scores, right, near) + 0.1, near


def test_a_fitted_calibrator_calibrates_fresh_data() -> None:
    scores, right = made_up_scores(size=6000)
    fitted = calibration.fit_calibrator(scores[:3000], right[:3000])
    before, after = (
        calibration.reliability(each.confidence(scores[3000:]), right[3000:]).error
        for each in (calibration.Calibrator(), fitted)
    )
    assert before > 0.05
    assert after < 0.03


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.floats(-1e300, 0), st.booleans()), min_size=2, max_size=30))
def test_confidence_never_falls_as_the_score_rises(items: list[tuple[float, bool]]) -> None:
    scores, right = np.array([s for s, _ in items]), np.array([r for _, r in items])
    assume(right.any() and not right.all())
    fitted = calibration.fit_calibrator(scores, right)
    ladder = -np.logspace(-320, 308, 2000)[::-1]
    sure = fitted.confidence(np.append(ladder, 0.0))
    assert np.isfinite(sure).all()
    assert (np.diff(sure) >= -1e-9).all()  # but for rounding
    assert 0 <= sure[0] <= sure[-1] <= 1


@pytest.mark.parametrize("size", [10, 10_000])
def test_a_perfect_model_has_a_finite_calibrator(size: int) -> None:
    scores = -np.linspace(0, 4, size)
    right = scores > -1
    fitted = calibration.fit_calibrator(scores, right)
    assert np.isfinite([fitted.a, fitted.b, fitted.c]).all()
    assert max(fitted.a, fitted.b) < 1000
    sure = fitted.confidence(scores)
    assert ((sure > 0.5) == right).mean() > 0.99


def test_reliability_by_hand() -> None:
    result = calibration.reliability([0.0, 0.5, 0.6, 1.0], [False, True, False, True], bins=2)
    assert [(b.low, b.high, b.count) for b in result.bins] == [(0, 0.5, 2), (0.5, 1, 2)]
    assert [b.confidence for b in result.bins] == pytest.approx([0.25, 0.8])
    assert [b.accuracy for b in result.bins] == pytest.approx([0.5, 0.5])
    assert result.error == pytest.approx(0.5 * 0.25 + 0.5 * 0.3)
    assert result.worst == pytest.approx(0.3)
    assert json.loads(json.dumps(result.as_dict()))["bins"][0]["count"] == 2


outcomes = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12)


@settings(deadline=None)
@given(outcomes)
def test_risk_and_coverage_equal_brute_force(items: list[tuple[int, bool]]) -> None:
    confidences, right = np.array([c / 4 for c, _ in items]), np.array([r for _, r in items])
    curve = calibration.risk_coverage(confidences, right)
    assert list(curve.threshold) == sorted(set(confidences), reverse=True)
    for threshold, coverage, risk in zip(curve.threshold, curve.coverage, curve.risk, strict=True):
        answered = confidences >= threshold
        assert coverage == pytest.approx(answered.mean())
        assert risk == pytest.approx((~right)[answered].mean())
    assert curve.coverage[-1] == pytest.approx(1.0)


def test_area_under_the_risk_coverage_curve_by_hand() -> None:
    assert calibration.risk_coverage([0.9, 0.8, 0.7, 0.6], [True, False, True, True]).area == pytest.approx(
        (0 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    )


def test_calibration_names_mistakes() -> None:
    with pytest.raises(OptionError, match="to fit a calibrator, but all are right"):
        calibration.fit_calibrator([-1.0], [True])
    with pytest.raises(OptionError, match="to fit a calibrator, but all are wrong"):
        calibration.fit_calibrator([-1.0], [False])
    with pytest.raises(OptionError, match="1 entries stand for 2 outputs"):
        calibration.reliability([0.1, 0.2], [True])
    with pytest.raises(OptionError, match="nothing to calibrate on"):
        calibration.reliability([], [])
    with pytest.raises(OptionError, match=r"`confidences` must lie between 0 and 1, but run from -1 to 0\.5"):
        calibration.reliability([-1, 0.5], [True, False])
    with pytest.raises(OptionError, match="`bins` must be at least 1, but is 0"):
        calibration.reliability([0.5], [True], bins=0)
    with pytest.raises(OptionError, match="`a` and `b` must be at least 0, but are -1 and 2"):
        calibration.Calibrator(a=-1, b=2)
    with pytest.raises(OptionError, match="finite"):
        calibration.fit_calibrator([float("-inf"), -1.0], [True, False])
    for scores, correct in ((["a", "b"], [True, False]), ([-1.0, -2.0], ["right", "wrong"])):  # such texts are all true
        with pytest.raises(OptionError, match="scores must be numbers, and `correct` truth values: could not"):
            calibration.fit_calibrator(scores, correct)
    with pytest.raises(OptionError, match=r"`correct` must be truth values \(or 0 and 1\), but some are others"):
        calibration.reliability([0.5, 0.2], [0.3, 0])
    assert calibration.reliability([0.5, 0.2], [1, 0]) == calibration.reliability([0.5, 0.2], [True, False])

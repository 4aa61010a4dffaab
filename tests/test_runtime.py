"""Law 5: the ONNX engine gives the torch model's steps and outputs; its graphs are of these weights, whole, or refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.numpy_helper import to_array
from steppers import assert_alike
from test_model import CASES, SHAPES, build
from tiny import PAIRS

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions, TrainOptions, processors
from dragoman.errors import OptionError, StorageError, at_most
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, EOS
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper, session_options
from dragoman.runtime.export import check_sample, default_of, export_graphs
from dragoman.runtime.graph import FLOAT, INT64, GraphBuilder
from dragoman.runtime.parity import MAX_LENGTH, Parity, Sample, compare, losses
from dragoman.storage import GRAPHS_VERSION, ModelDirectory
from dragoman.training.checkpoint import load_tensors, save_tensors
from dragoman.training.events import Event, Note
from dragoman.translation.loading import choose_engine, load_model
from dragoman.translation.texts import Texts

LONG = [4 + (7 * place) % 5 for place in range(70)]
BATCHES = [[[4]], [[4, 5, 6, 7, 8], [9, 10, 4], [5]], [[7, 8]], [LONG, [6]]]


def both(shape: str, cell: str, **more: object) -> tuple[TorchStepper, OnnxStepper]:
    model = build(shape, cell, **more).float().eval()
    return TorchStepper(model), engine_of(model)


def engine_of(model: Seq2Seq, precision: str = "float32") -> OnnxStepper:
    return OnnxStepper(encoder_graph(model, precision=precision), decoder_graph(model, precision=precision), threads=1)


@pytest.mark.parametrize("value", [0.119, 8.1e-06, 0.96, 9.99e-07, 3e-06, 0.1, 1.0, 7.0])
def test_what_is_said_of_a_difference_is_one_digit_and_not_less(value: float) -> None:
    said = f"{Parity(sources=1, same=1, token_agreement=1.0, largest_difference=value)}".rpartition(" ")[2]
    assert said == at_most(value)
    assert value <= float(said) < 2.1 * value
    assert (at_most(0.119), at_most(0.0)) == ("0.2", "0")


def test_threads_are_those_of_the_processors_that_the_process_may_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2, 5}, raising=False)
    assert processors() == session_options(None).intra_op_num_threads == 3
    assert session_options(2).intra_op_num_threads == 2


@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_law_5_every_step_is_the_torch_models(shape: str, cell: str) -> None:
    torch_model, engine = both(shape, cell)
    assert engine.vocab_size == torch_model.vocab_size
    draw = np.random.default_rng(1)
    for sources in BATCHES:  # unlike one another, and unlike any example: the graphs have seen none
        one, other = torch_model.start(sources), engine.start(sources)
        for _ in range(4):
            last = draw.integers(0, 11, size=len(sources))
            expected, given = torch_model.step(one, last, top_k=None), engine.step(other, last, top_k=None)
            np.testing.assert_allclose(given.log_probs, expected.log_probs, atol=1e-5)
            np.testing.assert_array_equal(given.ids, expected.ids)
            if expected.attention is None:
                assert given.attention is None
            else:
                np.testing.assert_allclose(given.attention, expected.attention, atol=1e-5)
            rows = draw.integers(0, len(sources), size=len(sources))
            one, other = torch_model.select(expected.state, rows), engine.select(given.state, rows)


def test_what_is_fed_past_the_end_of_an_output_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a batch end at different steps; only `</s>` is fed to those that are over, and no search ever does that."""
    torch_model, engine = both("general", "lstm")
    sources = [ids for batch in BATCHES for ids in batch]
    lengths = {len(found[0].ids) for found in search(torch_model, sources, options=SearchOptions(beam_size=1))}
    assert len(lengths) > 1
    step = engine.step

    def astray(state: object, last_ids: np.ndarray, **options: object) -> object:
        taken = step(state, last_ids, **options)
        taken.log_probs[last_ids == after] += 5
        return taken

    monkeypatch.setattr(engine, "step", astray)
    after = EOS
    assert compare(torch_model, engine, sources).largest_difference < 1e-4
    after = BOS
    assert compare(torch_model, engine, sources).largest_difference > 4


def test_outputs_are_compared_as_far_as_references_go(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is lost after 60 characters would be lost on every name, word or sentence that is longer."""
    directory = ModelDirectory.open(shutil.copytree(trained, tmp_path / "model"))
    file = directory.training / "data" / "texts.json"
    known = json.loads(file.read_text(encoding="utf-8"))
    known["dev"]["references"][0].append("de " * 80)
    file.write_text(json.dumps(known), encoding="utf-8")
    texts = Texts(directory.config, directory.read_text)
    reading = (
        lambda some: texts.encode_sources(some).ids,
        texts.encode_targets,
        texts.target_tokenizer.decode,
    )
    sample = check_sample(directory, *reading)
    longest = len(texts.encode_targets(["de " * 80])[0]) + 1
    assert sample.max_length == longest > 80
    known["dev"]["references"][1] = ["de"] * 200  # of so many answers it is the one that is too long
    file.write_text(json.dumps(known), encoding="utf-8")
    assert check_sample(directory, *reading).max_length == MAX_LENGTH

    model = build("general", "lstm").float().eval()
    with torch.no_grad():
        model.decoder.output.bias[EOS] = -100  # no output ends
    torch_model, engine = TorchStepper(model), engine_of(model)
    step = engine.step
    taken = itertools.count(1)

    def astray(*given: object, **options: object) -> object:
        after = step(*given, **options)
        if options["top_k"] is None and next(taken) > 75:  # `None` where every log-probability is compared
            after.log_probs[:] += 5
        return after

    monkeypatch.setattr(engine, "step", astray)
    found = compare(torch_model, engine, BATCHES[1], max_length=sample.max_length)
    assert found.largest_difference > 4


@pytest.mark.parametrize("shape", SHAPES)
def test_law_5_hypotheses_are_the_torch_models(shape: str) -> None:
    options = SearchOptions(beam_size=4, num_hypotheses=4, max_length=12)
    sources = [ids for batch in BATCHES for ids in batch]
    found = [search(stepper, sources, options=options) for stepper in both(shape, "lstm")]
    for one, other in zip(*found, strict=True):
        assert_alike(other, one)


def test_law_3_a_row_does_not_depend_on_its_neighbours() -> None:
    _, engine = both("multihead", "lstm")
    together = engine.start(BATCHES[1])
    expected = engine.step(together, np.array([2, 2, 2]), top_k=None).log_probs
    for row, ids in enumerate(BATCHES[1]):
        alone = engine.step(engine.start([ids]), np.array([2]), top_k=None).log_probs
        np.testing.assert_allclose(alone[0], expected[row], atol=1e-5)


ROUNDING = {"int8": 0.1, "float16": 0.005}
"""How far log-probabilities may be from the torch model's in a model of random weights, 64 wide."""


@pytest.mark.parametrize("precision", ROUNDING)
@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_law_5_fewer_bits_stay_near_the_torch_model(shape: str, cell: str, precision: str) -> None:
    model = build(shape, cell, hidden_size=64, embedding_size=64).float().eval()
    torch_model, engine = TorchStepper(model), engine_of(model, precision)
    one, other = torch_model.start(BATCHES[1]), engine.start(BATCHES[1])
    for last in ([2, 2, 2], [4, 5, 6], [7, 7, 3]):
        expected = torch_model.step(one, np.array(last), top_k=None)
        given = engine.step(other, np.array(last), top_k=None)
        np.testing.assert_allclose(given.log_probs, expected.log_probs, atol=ROUNDING[precision])
        assert not np.array_equal(given.log_probs, expected.log_probs)  # or it is no such graph
        np.testing.assert_allclose(np.exp(given.log_probs).sum(axis=1), 1, atol=1e-5)
        one, other = expected.state, given.state


@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_law_3_in_int8_a_row_does_not_depend_on_its_neighbours(shape: str, cell: str) -> None:
    engine = engine_of(build(shape, cell, hidden_size=64, embedding_size=64).float().eval(), "int8")
    batch = [*BATCHES[1], LONG]  # the long one pads the others
    state, alone = engine.start(batch), [engine.start([ids]) for ids in batch]
    for last in ([2, 2, 2, 2], [4, 5, 6, 7]):
        together = engine.step(state, np.array(last), top_k=None)
        for row in range(len(batch)):
            step = engine.step(alone[row], np.array(last[row : row + 1]), top_k=None)
            np.testing.assert_allclose(step.log_probs[0], together.log_probs[row], atol=1e-5)
            alone[row] = step.state
        state = together.state


@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_law_3_in_int8_a_source_gets_the_same_outputs_in_any_company(shape: str, beam_size: int) -> None:
    engine = engine_of(build(shape, "lstm", hidden_size=64, embedding_size=64).float().eval(), "int8")
    options = SearchOptions(beam_size=beam_size, num_hypotheses=beam_size, max_length=12)
    sources = [ids for batch in BATCHES for ids in batch]
    alone = [search(engine, [ids], options=options)[0] for ids in sources]
    together = search(engine, sources, options=options)
    turned = search(engine, sources[::-1], options=options)[::-1]
    for expected, *found in zip(alone, together, turned, strict=True):
        for given in found:
            assert [hypothesis.ids for hypothesis in given] == [hypothesis.ids for hypothesis in expected]
            assert [hypothesis.score for hypothesis in given] == pytest.approx(
                [hypothesis.score for hypothesis in expected], abs=1e-5
            )


WEIGHTS = {
    "drawn": np.random.default_rng(1).standard_normal((40, 65)),
    "all equal": np.full((40, 64), 0.7),
    "all equal, an odd one": np.full((40, 65), -0.7),
    "alternating": np.tile([0.9, -0.9], (40, 32)),
    "one large": np.concatenate([np.ones((40, 1)), np.full((40, 62), 0.01)], axis=1),
}


@pytest.mark.parametrize("chosen", [False, True], ids=["all rows", "some rows"])
@pytest.mark.parametrize("name", WEIGHTS)
def test_in_int8_sums_are_exact_on_every_processor(name: str, chosen: bool) -> None:
    """Without VNNI two products are added in 16 bits, which is enough if two neighbours are at most 128 together."""
    weight = WEIGHTS[name].astype(np.float32)
    outputs, width = weight.shape
    graph = GraphBuilder("product", precision="int8")
    inputs = graph.input("inputs", FLOAT, ["rows", width])
    rows = graph.input("chosen", INT64, ["chosen"]) if chosen else None
    graph.output(graph.linear(inputs, "product", weight, None, chosen=rows), "outputs", FLOAT, ["rows", "some"])
    made = graph.build()
    stored = {constant.name: to_array(constant) for constant in onnx.load_from_string(made).graph.initializer}
    whole, scales = stored["product.weight"].astype(np.int64), stored["product.weight.scales"]
    assert np.abs(whole).max() > 60
    assert np.abs(whole[:, : width // 2 * 2].reshape(outputs, -1, 2).sum(axis=2)).max() <= 128
    np.testing.assert_allclose(whole * scales[:, None], weight, atol=0.51 * float(scales.max()))

    session = onnxruntime.InferenceSession(made, session_options(1), providers=["CPUExecutionProvider"])
    which = np.array([3, 0, 39, 7]) if chosen else np.arange(outputs)
    for count in (1, 2, 3, 4, 5, 6, 7, 30):
        for numbers in (np.full((count, width), 127), np.full((count, width), -127), signs(count, width)):
            given = {"inputs": numbers.astype(np.float32)} | ({"chosen": which} if chosen else {})
            sums = numbers @ whole[which].T
            np.testing.assert_allclose(session.run(None, given)[0], sums * scales[which], rtol=1e-5, atol=1e-3)


def signs(rows: int, columns: int) -> np.ndarray:
    return np.random.default_rng(2).choice([-127, 127], size=(rows, columns))


def test_in_int8_every_row_has_a_scale_of_its_own_and_a_row_of_zeros_is_a_row_of_biases() -> None:
    draw = np.random.default_rng(1)
    weight, bias = (draw.standard_normal(shape).astype(np.float32) for shape in ((40, 24), 40))
    graph = GraphBuilder("product", precision="int8")
    inputs = graph.input("inputs", FLOAT, ["rows", 24])
    graph.output(graph.linear(inputs, "product", weight, bias), "outputs", FLOAT, ["rows", 40])
    session = onnxruntime.InferenceSession(graph.build(), session_options(1), providers=["CPUExecutionProvider"])
    sizes = np.array([1, 0, 1e-30, 1e20], np.float32)[:, None]
    rows = draw.standard_normal((4, 24)).astype(np.float32) * sizes
    given = session.run(None, {"inputs": rows})[0]
    np.testing.assert_array_equal(given[1], bias)
    for row in (0, 3):
        exact = rows[row] @ weight.T
        assert np.abs(given[row] - bias - exact).max() < 0.03 * np.abs(exact).max()


def test_fewer_bits_make_smaller_graphs() -> None:
    model = build("multihead", "lstm", hidden_size=128, embedding_size=128).float().eval()
    for build_graph in (encoder_graph, decoder_graph):
        whole = len(build_graph(model))
        assert len(build_graph(model, precision="float16")) < 0.6 * whole
        assert len(build_graph(model, precision="int8")) < 0.4 * whole


def test_a_tied_table_stands_in_the_graph_once() -> None:
    sizes = {}
    for tied in ("none", "target"):
        model = build("textbook", "lstm", target_vocab_size=5000, embedding_size=8, tie_embeddings=tied).float().eval()
        sizes[tied] = len(decoder_graph(model, precision="int8"))
    assert sizes["target"] < 0.7 * sizes["none"]


def test_ranking_in_the_graph_is_ranking_outside() -> None:
    _, engine = both("general", "gru")
    state, last = engine.start(BATCHES[1]), np.array([2, 2, 2])
    inside = engine.step(state, last, top_k=3)
    outside = engine.step(state, last, top_k=3, allowed=np.ones((3, 11), dtype=bool))
    np.testing.assert_array_equal(inside.ids, outside.ids)
    np.testing.assert_allclose(inside.log_probs, outside.log_probs)
    assert engine.step(state, last, top_k=50).ids.shape == (3, 11)


@pytest.mark.parametrize("words", [2_000, 2_048, 2_011])
def test_in_a_large_vocabulary_equals_are_ranked_by_their_ids_too(words: int) -> None:
    model = build("general", "lstm", target_vocab_size=words).float().eval()
    draw = np.random.default_rng(1)
    with torch.no_grad():  # fewer values than words, so that most are equal to others
        model.decoder.output.weight.zero_()
        model.decoder.output.bias.copy_(torch.from_numpy(draw.integers(0, 40, size=words) / 8))
    engine = engine_of(model)
    state, last = engine.start(BATCHES[1]), np.array([2, 3, 4])
    whole = engine.step(state, last, top_k=None).log_probs
    for top_k in (1, 6, 50, 300, words):
        best = engine.step(state, last, top_k=top_k)
        order = (-whole).argsort(axis=1, kind="stable")[:, :top_k]
        np.testing.assert_array_equal(best.ids, order)
        np.testing.assert_array_equal(best.log_probs, np.take_along_axis(whole, order, axis=1))


def test_the_memory_is_copied_only_when_rows_change_their_source() -> None:
    _, engine = both("general", "lstm")
    state = engine.start(BATCHES[1])
    assert engine.select(state, np.array([0, 1, 2])).memory is state.memory
    assert engine.step(state, np.array([2, 2, 2]), top_k=1).state.memory is state.memory
    moved = engine.select(state, np.array([2, 2]))
    np.testing.assert_array_equal(moved.memory["memory_keys"][0], state.sources["memory_keys"][2])


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "model"))


def test_training_ends_with_graphs_that_were_checked(trained: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    parity = config["onnx"]["precisions"]["float32"]
    assert parity["same"] == parity["sources"] == 4
    assert parity["token_agreement"] == 1
    assert parity["largest_difference"] < 1e-5
    assert set(config["onnx"]["precisions"]["int8"]["loss"]) == {"bleu", "exact_match"}
    assert "4 of 4 greedy outputs and 100.0% of tokens the same as PyTorch's" in (trained / "README.md").read_text()
    assert sorted(file.name for file in (trained / "onnx").iterdir()) == [
        "decoder.float32.onnx",
        "decoder.int8.onnx",
        "encoder.float32.onnx",
        "encoder.int8.onnx",
        "graphs.json",
    ]
    translator = dragoman.load(trained)
    assert (translator.engine, translator.precision) == ("onnx", config["onnx"]["default"])


def parity(agreement: float, **loss: float) -> dict[str, object]:
    return {"parity": {"token_agreement": agreement, "loss": loss or None}}


def test_int8_runs_by_default_where_it_was_found_to_lose_little() -> None:
    whole = parity(1.0)
    assert default_of({"float32": whole, "int8": parity(0.9, bleu=0.3, exact_match=2.0)}) == "int8"
    assert default_of({"float32": whole, "int8": parity(0.999, bleu=0.31, exact_match=0.0)}) == "float32"
    assert default_of({"float32": whole, "int8": parity(0.9, exact_match=0.29)}) == "int8"
    assert default_of({"float32": whole, "int8": parity(0.979)}) == "float32"
    assert default_of({"float16": whole, "float32": whole}) == "float32"
    assert default_of({"int8": parity(0.5)}) == "int8"


def test_what_graphs_lose_is_above_zero_and_shown_below() -> None:
    sample = Sample([[4]] * 2, [["a b c d"]] * 2, lambda ids: " ".join("abcde"[i - 4] for i in ids))
    right, wrong = [(4, 5, 6, 7, EOS)] * 2, [(4, 5, 6, 7, EOS), (4, 5, 6, 7, 8, EOS)]
    lost, gained = losses(right, wrong, sample), losses(wrong, right, sample)
    assert lost["exact_match"] == 50.0
    assert 0 < lost["bleu"] < 50
    assert gained == {name: -value for name, value in lost.items()}
    assert default_of({"float32": parity(1.0), "int8": parity(1.0, **lost)}) == "float32"
    assert default_of({"float32": parity(1.0), "int8": parity(1.0, **gained)}) == "int8"
    assert "and -50.00 points of exact match on 2 sources" in str(Parity(2, 1, 1.0, 0.1, 2, lost))
    assert list(losses(right, wrong, dataclasses.replace(sample, metric="chrf"))) == ["chrf", "exact_match"]


@pytest.mark.parametrize("right", [750, 784, 787])
def test_three_outputs_of_a_thousand_are_no_more_than_the_accepted_loss(right: int) -> None:
    sample = Sample([[4]] * 1000, [["a"]] * 1000, lambda ids: "ab"[ids[0]], metric="exact_match")

    def outputs(count: int) -> list[tuple[int, ...]]:
        return [(0,)] * count + [(1,)] * (1000 - count)

    for lost, default in ((3, "int8"), (4, "float32")):
        loss = losses(outputs(right), outputs(right - lost), sample)
        assert default_of({"float32": parity(1.0), "int8": parity(1.0, **loss)}) == default


@pytest.mark.parametrize(
    ("kind", "writing", "metric", "judge"),
    [
        ("text", "spaced", "bleu", "bleu"),
        ("text", "spaced", "chrf", "chrf"),
        ("text", "unspaced", "loss", "chrf"),
        ("symbols", "spaced", "exact_match", "exact_match"),
        ("symbols", "spaced", "loss", "exact_match"),
        ("symbols", "spaced", "bleu", "exact_match"),
    ],
)
def test_what_graphs_lose_is_counted_by_a_metric_that_can_fall(
    trained: Path, tmp_path: Path, kind: str, writing: str, metric: str, judge: str
) -> None:
    """BLEU of single words is 0 for right ones and wrong ones: by it int8 would never lose anything."""
    directory = ModelDirectory.open(shutil.copytree(trained, tmp_path / "model"))
    file = directory.training / "data" / "texts.json"
    known = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(known | {"kind": kind, "writing": writing}), encoding="utf-8")
    directory.config["recipe"]["metric"] = metric
    texts = Texts(directory.config, directory.read_text)
    encode, decode = lambda some: texts.encode_sources(some).ids, texts.target_tokenizer.decode
    sample = check_sample(directory, encode, texts.encode_targets, decode)
    assert sample.metric == judge
    right = [(*ids, EOS) for ids in texts.encode_targets([answers[0] for answers in sample.references or ()])]
    wrong = [(*ids[1:-1], EOS) for ids in right]
    lost = losses(right, wrong, sample)
    assert next(iter(lost.values())) > 0.3
    assert default_of({"float32": parity(1.0), "int8": parity(1.0, **lost)}) == "float32"


def test_a_precision_is_added_to_those_that_are_there(model: Path) -> None:
    with pytest.raises(
        StorageError, match=r"has no float16 graphs, but float32, int8; make them .* --precision float16"
    ):
        dragoman.load(model, precision="float16")
    before = (model / "onnx" / "decoder.int8.onnx").read_bytes()
    assert list(dragoman.export(model, precision="float16", threads=1)) == ["float16"]
    assert (model / "onnx" / "decoder.int8.onnx").read_bytes() == before
    for precision in ("float32", "float16", "int8"):
        translator = dragoman.load(model, precision=precision)
        assert (translator.engine, translator.precision) == ("onnx", precision)
        assert translator.translate("source 3 of many").candidates
    flip_a_bit(model / "model.safetensors")
    dragoman.export(model, precision="int8", threads=1)
    assert list(ModelDirectory.open(model).precisions) == ["int8"]  # the others were of other weights
    assert not (model / "onnx" / "decoder.float32.onnx").exists()


def test_graphs_of_another_precision_that_are_damaged_are_no_longer_listed(model: Path) -> None:
    """The command that is advised makes those of float32 and int8, so that it must not need the others."""
    dragoman.export(model, precision="float16", threads=1)
    dragoman.make_shortlist(model)
    flip_a_bit(model / "onnx" / "decoder.float16.onnx")
    with pytest.raises(StorageError, match=rf"is damaged; make them again with: dragoman export {model}$"):
        dragoman.load(model, precision="float16")
    dragoman.export(model, threads=1)
    with pytest.raises(StorageError, match=r"has no float16 graphs, but float32, int8; make them with: .* float16$"):
        dragoman.load(model, precision="float16")


def test_evaluate_says_what_ran(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    for words, ran in ((["--precision", "int8"], "onnx int8"), (["--engine", "torch"], "torch float32")):
        assert main(["evaluate", str(trained), str(tmp_path / "pairs.tsv"), "--beam-size", "1", *words]) == 0
        assert f"greedy search, {ran}" in capsys.readouterr().out


def test_both_engines_translate_alike(trained: Path) -> None:
    texts = [line.split("\t")[0] for line in PAIRS.splitlines()[:5]]
    one = dragoman.load(trained, engine="torch", threads=1).translate(texts)
    other = dragoman.load(trained, precision="float32", threads=1).translate(texts)
    assert [translation.text for translation in one] == [translation.text for translation in other]
    assert [t.score for t in one] == pytest.approx([t.score for t in other], abs=1e-4)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def relist(model: Path, **changes: object) -> None:
    listed = json.loads((model / "onnx/graphs.json").read_text())
    (model / "onnx/graphs.json").write_text(json.dumps(listed | changes))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no list": (lambda p: (p / "onnx/graphs.json").unlink(), "has no ONNX graphs; make them with: dragoman export"),
    "cut list": (lambda p: (p / "onnx/graphs.json").write_text("{"), r"graphs\.json is damaged"),
    "empty list": (lambda p: (p / "onnx/graphs.json").write_text("{}"), r"graphs\.json is damaged"),
    "deep list": (lambda p: (p / "onnx/graphs.json").write_text("[" * 100_000), r"graphs\.json is damaged"),
    "no files": (lambda p: relist(p, precisions={"float32": {}}), r"graphs\.json is damaged: it does not say"),
    "numbers": (lambda p: relist(p, precisions={"float32": 7}), r"graphs\.json is damaged: it does not say"),
    "elsewhere": (lambda p: relist(p, precisions={"../x": {"files": {}}}), r"graphs\.json is damaged: it does not say"),
    "no default": (lambda p: relist(p, default=["float32"]), r"graphs\.json is damaged: it does not say"),
    "newer": (
        lambda p: (p / "onnx/graphs.json").write_text(json.dumps({"format_version": GRAPHS_VERSION + 1})),
        "written by a newer dragoman",
    ),
    "older": (
        lambda p: (p / "onnx/graphs.json").write_text(json.dumps({"format_version": 1})),
        "of other weights or an older dragoman",
    ),
    "no decoder": (lambda p: (p / "onnx/decoder.float32.onnx").unlink(), r"decoder\.float32\.onnx is missing"),
    "one bit": (lambda p: flip_a_bit(p / "onnx/encoder.float32.onnx"), r"encoder\.float32\.onnx is damaged"),
    "cut": (lambda p: (p / "onnx/decoder.float32.onnx").write_bytes(b"ab"), r"decoder\.float32\.onnx is damaged"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_named_with_the_command_that_mends_it(model: Path, kind: str) -> None:
    damage, message = DAMAGES[kind]
    damage(model)
    with pytest.raises(StorageError, match=message) as caught:
        dragoman.load(model, engine="onnx", precision="float32")
    assert "\n" not in str(caught.value)
    assert f"dragoman export {model}" in str(caught.value)
    dragoman.export(model, threads=1)
    assert dragoman.load(model, engine="onnx").translate("source 3 of many").candidates


def test_graphs_of_other_weights_are_refused_and_auto_goes_on_with_torch(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_a_bit(model / "model.safetensors")
    with pytest.raises(
        StorageError, match="are of other weights or an older dragoman; make them again with: dragoman export"
    ):
        dragoman.load(model, engine="onnx")
    assert dragoman.load(model).engine == "torch"
    assert "are of other weights" in caplog.text
    assert main(["export", str(model), "--threads", "1"]) == 0
    assert dragoman.load(model).engine == "onnx"


def test_graphs_that_find_no_memory_are_not_called_unusable(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("Exception during initialization: std::bad_alloc")

    monkeypatch.setattr("onnxruntime.InferenceSession", fail)
    with pytest.raises(MemoryError, match="bad_alloc"):
        dragoman.load(model, engine="onnx")


@pytest.mark.parametrize("left", ["None", "types.ModuleType('onnxruntime')"], ids=["nothing", "an empty folder"])
def test_an_onnx_runtime_that_is_not_there_is_one_line(left: str, model: Path) -> None:
    """Of two ONNX Runtimes that are installed over each other, uninstalling one leaves a folder without the library."""
    for words in (["translate", str(model), "a"], ["export", str(model)]):
        script = f"import sys, types; sys.modules['onnxruntime'] = {left}; from dragoman.cli import main; sys.exit(main({words}))"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "ONNX Runtime cannot be loaded (" in done.stderr
        assert "): pip install --force-reinstall onnxruntime (for a GPU: onnxruntime-gpu)\n" in done.stderr


def test_graphs_that_onnx_runtime_cannot_run_are_a_named_error(model: Path) -> None:
    directory = ModelDirectory.open(model)
    graphs, facts = {"int8": (b"no graph", b"no graph")}, {"int8": dict[str, Any]()}
    directory.write_graphs(graphs, weights=directory.weights_sum, default=lambda _: "int8", facts=facts)
    with pytest.raises(StorageError, match=r"cannot run the graphs in .* dragoman export") as caught:
        dragoman.load(model)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shift", [0.01, np.nan])
def test_graphs_that_differ_from_torch_are_not_kept(model: Path, monkeypatch: pytest.MonkeyPatch, shift: float) -> None:
    import dragoman.runtime.export as exporting

    expected, other = (build("general", "lstm").float().eval() for _ in range(2))
    with torch.no_grad():
        other.decoder.output.bias[5] += shift
    monkeypatch.setattr(exporting, "decoder_graph", lambda _, precision: decoder_graph(other, precision=precision))
    (model / "onnx" / "graphs.json").unlink()
    directory = ModelDirectory.open(model)
    with pytest.raises(StorageError, match="are not what PyTorch computes"):
        export_graphs(directory, expected, Sample(BATCHES[1]), weights=directory.weights_sum)
    assert not ModelDirectory.open(model).has_graphs


def test_graphs_never_pass_for_those_of_weights_that_came_meanwhile(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_before_an_evaluation(*given: Any, **options: Any) -> Seq2Seq:
        loaded = load_model(*given, **options)
        tensors, _ = load_tensors(model / "model.safetensors")
        save_tensors(model / "model.safetensors", {name: 2 * value for name, value in tensors.items()})
        return loaded

    monkeypatch.setattr("dragoman.making.load_model", load_before_an_evaluation)
    with pytest.raises(StorageError, match="were replaced while they were exported, so no graphs were written"):
        dragoman.export(model, threads=1)
    assert ModelDirectory.open(model).graphs_are_stale


def test_a_training_whose_graphs_cannot_be_written_is_not_spoilt(model: Path) -> None:
    shutil.rmtree(model / "onnx")
    (model / "onnx").write_text("in the way", encoding="utf-8")
    events: list[Event] = []
    options = TrainOptions(threads=1, device="cpu")
    translator = dragoman.resume(model, options=options, listener=events.append)
    assert translator.engine == "torch"
    assert translator.translate("source 3 of many").candidates
    warnings = [event.text for event in events if isinstance(event, Note) and event.warning]
    assert len(warnings) == 1
    assert warnings[0].startswith("the model has no ONNX graphs: ")


def test_a_model_without_its_training_data_is_checked_on_random_ids(model: Path) -> None:
    shutil.rmtree(model / "training")
    found = dragoman.export(model, threads=1)
    assert found["float32"].sources == found["float32"].same == 16
    assert found["int8"].loss is None


def test_a_saved_copy_keeps_its_graphs(trained: Path, tmp_path: Path) -> None:
    copy = dragoman.load(trained).save_pretrained(tmp_path / "copy")
    assert dragoman.load(copy).engine == "onnx"


def test_a_copy_never_takes_the_place_of_its_own_model(trained: Path, tmp_path: Path) -> None:
    for name in ("m", "m.old", "m/within"):
        shutil.copytree(trained, tmp_path / name)
    for name in ("m.old", "m/within"):
        weights = (tmp_path / name / "model.safetensors").read_bytes()
        with pytest.raises(
            StorageError, match=f"{name} is the model to be saved, and would itself be moved or removed"
        ):
            dragoman.load(tmp_path / name).save_pretrained(tmp_path / "m", overwrite=True)
        assert (tmp_path / name / "model.safetensors").read_bytes() == weights


def test_without_a_connection_the_hub_gives_one_error(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match="someone/model could not be uploaded: "):
        dragoman.load(trained).push_to_hub("someone/model")


def test_the_engine_is_one_of_three_and_has_its_devices_and_precisions(trained: Path) -> None:
    with pytest.raises(OptionError, match='`engine` must be auto, onnx or torch, but is "tf"'):
        dragoman.load(trained, engine="tf")
    for device in ("mps", "cuda:first"):
        with pytest.raises(OptionError, match=f'onnx computes on the cpu, cuda or cuda:N, but `device` is "{device}"'):
            dragoman.load(trained, engine="onnx", device=device)
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with pytest.raises(
            OptionError, match='`device` "cuda:1" needs an ONNX Runtime for CUDA, but this one is for the cpu'
        ):
            dragoman.load(trained, engine="onnx", device="cuda:1")
    with pytest.raises(OptionError, match='`precision` int8 computes on the cpu, but `device` is "cuda"'):
        dragoman.load(trained, engine="onnx", device="cuda", precision="int8")
    with pytest.raises(OptionError, match='`precision` must be auto, float32, int8, float16, but is "int4"'):
        dragoman.load(trained, precision="int4")
    with pytest.raises(OptionError, match="`precision` needs `engine` onnx, but"):
        dragoman.load(trained, precision="int8", engine="torch")


def test_auto_takes_the_graphs_on_a_gpu_that_onnx_runtime_can_use(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = ModelDirectory.open(trained)
    chosen = {}
    for providers in (["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]):
        monkeypatch.setattr("onnxruntime.get_available_providers", lambda providers=providers: providers)
        chosen[len(providers)] = choose_engine(directory, "auto", device="cuda:1", precision="auto")
    assert chosen == {1: "torch", 2: "onnx"}
    assert choose_engine(directory, "auto", device="mps", precision="auto") == "torch"


def test_a_memory_that_lies_elsewhere_gives_the_same_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where attention reads it in every step; here it lies in ONNX Runtime's own memory of the processor."""
    place = onnxruntime.OrtValue.ortvalue_from_numpy
    monkeypatch.setattr("onnxruntime.OrtValue.ortvalue_from_numpy", lambda value, *_: place(value, "cpu", 0))
    stepper = engine_of(build("multihead", "lstm").float().eval())
    sources, options = [[4, 5, 6, 7], [8, 9], [5]], SearchOptions(beam_size=3, max_length=6)
    here = search(stepper, sources, options=options)
    stepper._gpu = 0
    assert isinstance(stepper.start(sources).memory["memory_keys"], onnxruntime.OrtValue)
    for one, other in zip(here, search(stepper, sources, options=options), strict=True):
        assert [(each.ids, each.score) for each in one] == [(each.ids, each.score) for each in other]

    monkeypatch.setattr(stepper, "_decoder", None)  # as if it could not compute
    with pytest.raises(OptionError, match=r"ONNX Runtime failed on cuda:0 \(.*\); fewer sentences at once need less"):
        search(stepper, sources, options=options)


_WITHOUT_TRAINING_EXTRA = """
import sys
for name in ("torch", "onnx", "safetensors", "pyarrow", "sacrebleu", "rapidfuzz", "matplotlib"):
    sys.modules[name] = None
from dragoman.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_without_extra(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", _WITHOUT_TRAINING_EXTRA, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_translating_needs_no_torch_and_the_runtime_says_nothing(trained: Path, precision: str) -> None:
    expected = dragoman.load(trained, precision=precision).translate("source 3 of many", max_length=200).text
    words = ("translate", str(trained), "source 3 of many", "--max-length", "200", "--precision", precision)
    done = run_without_extra(*words)
    assert (done.returncode, done.stdout.strip()) == (0, expected)
    assert "onnxruntime" not in done.stderr
    assert all(line.startswith("dragoman: warning: line 1") for line in done.stderr.splitlines())


def test_what_needs_torch_says_so_in_one_line(trained: Path) -> None:
    for words in (["translate", str(trained), "a", "--engine", "torch"], ["export", str(trained)]):
        done = run_without_extra(*words)
        assert done.returncode == 2
        assert 'needs the train extra: pip install "dragoman[train]"' in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("call", "task"),
    [
        ("model.evaluate(['a'], [['a']])", "evaluating"),
        ("model.gap(['a'], [['a']])", "measuring the gap"),
        ("model.calibrate(['a'], [['a']])", "calibrating"),
        ("model.translate('a', options=dragoman.SearchOptions(rerank='mbr'))", "`rerank` mbr"),
        ("dragoman.distill('m', 'pairs.tsv')", "making pairs"),
    ],
)
def test_what_needs_the_extra_says_so_in_python_too(call: str, task: str, trained: Path) -> None:
    """Law: whatever a library that is not there keeps from working is a `DragomanError`, which names the extra."""
    script = _WITHOUT_TRAINING_EXTRA.partition("from dragoman")[0] + (
        f"import dragoman\nmodel = dragoman.load({str(trained)!r})\n"
        f"try:\n    {call}\nexcept dragoman.DragomanError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == f'{task} needs the train extra: pip install "dragoman[train]"\n', done.stderr

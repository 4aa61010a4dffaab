"""Law 5: the ONNX engine gives the torch model's steps and outputs; its graphs are of these weights, whole, or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_model import CASES, SHAPES, build
from tiny import PAIRS

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions
from dragoman.errors import OptionError, StorageError
from dragoman.generation.search import search
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper
from dragoman.runtime.export import export_graphs
from dragoman.storage import GRAPHS_VERSION, ModelDirectory

LONG = [4 + (7 * place) % 5 for place in range(70)]
BATCHES = [[[4]], [[4, 5, 6, 7, 8], [9, 10, 4], [5]], [[7, 8]], [LONG, [6]]]


def both(shape: str, cell: str, **more: object) -> tuple[TorchStepper, OnnxStepper]:
    model = build(shape, cell, **more).float().eval()
    return TorchStepper(model), engine_of(model)


def engine_of(model: Seq2Seq) -> OnnxStepper:
    return OnnxStepper(encoder_graph(model), decoder_graph(model), threads=1)


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


@pytest.mark.parametrize("shape", SHAPES)
def test_law_5_hypotheses_are_the_torch_models(shape: str) -> None:
    options = SearchOptions(beam_size=4, num_hypotheses=4, max_length=12)
    sources = [ids for batch in BATCHES for ids in batch]
    found = [search(stepper, sources, options=options) for stepper in both(shape, "lstm")]
    for one, other in zip(*found, strict=True):
        for expected, given in zip(one, other, strict=True):
            assert given.score == pytest.approx(expected.score, abs=1e-4)
            assert given.ids == expected.ids or abs(given.score - expected.score) < 1e-4


def test_law_3_a_row_does_not_depend_on_its_neighbours() -> None:
    _, engine = both("multihead", "lstm")
    together = engine.start(BATCHES[1])
    expected = engine.step(together, np.array([2, 2, 2]), top_k=None).log_probs
    for row, ids in enumerate(BATCHES[1]):
        alone = engine.step(engine.start([ids]), np.array([2]), top_k=None).log_probs
        np.testing.assert_allclose(alone[0], expected[row], atol=1e-5)


def test_ranking_in_the_graph_is_ranking_outside() -> None:
    _, engine = both("general", "gru")
    state, last = engine.start(BATCHES[1]), np.array([2, 2, 2])
    inside = engine.step(state, last, top_k=3)
    outside = engine.step(state, last, top_k=3, allowed=np.ones((3, 11), dtype=bool))
    np.testing.assert_array_equal(inside.ids, outside.ids)
    np.testing.assert_allclose(inside.log_probs, outside.log_probs)
    assert engine.step(state, last, top_k=50).ids.shape == (3, 11)


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
    parity = config["onnx"]["parity"]
    assert parity["same"] == parity["sources"] == 4
    assert parity["largest_difference"] < 1e-5
    assert "4 of 4 greedy outputs the same as PyTorch's" in (trained / "README.md").read_text()
    assert dragoman.load(trained).engine == "onnx"


def test_both_engines_translate_alike(trained: Path) -> None:
    texts = [line.split("\t")[0] for line in PAIRS.splitlines()[:5]]
    one, other = (dragoman.load(trained, engine=engine, threads=1).translate(texts) for engine in ("torch", "onnx"))
    assert [translation.text for translation in one] == [translation.text for translation in other]
    assert [t.score for t in one] == pytest.approx([t.score for t in other], abs=1e-4)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no list": (lambda p: (p / "onnx/graphs.json").unlink(), "has no ONNX graphs; make them with: dragoman export"),
    "cut list": (lambda p: (p / "onnx/graphs.json").write_text("{"), r"graphs\.json is damaged"),
    "empty list": (lambda p: (p / "onnx/graphs.json").write_text("{}"), r"graphs\.json is damaged"),
    "newer": (
        lambda p: (p / "onnx/graphs.json").write_text(json.dumps({"format_version": GRAPHS_VERSION + 1})),
        "written by a newer dragoman",
    ),
    "no decoder": (lambda p: (p / "onnx/decoder.onnx").unlink(), r"decoder\.onnx is missing"),
    "one bit": (lambda p: flip_a_bit(p / "onnx/encoder.onnx"), r"encoder\.onnx is damaged"),
    "cut": (lambda p: (p / "onnx/decoder.onnx").write_bytes(b"ab"), r"decoder\.onnx is damaged"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_named_with_the_command_that_mends_it(model: Path, kind: str) -> None:
    damage, message = DAMAGES[kind]
    damage(model)
    with pytest.raises(StorageError, match=message) as caught:
        dragoman.load(model, engine="onnx")
    assert "\n" not in str(caught.value)
    assert f"dragoman export {model}" in str(caught.value)
    dragoman.export(model, threads=1)
    assert dragoman.load(model, engine="onnx").translate("source 3 of many").candidates


def test_graphs_of_other_weights_are_refused_and_auto_goes_on_with_torch(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flip_a_bit(model / "model.safetensors")
    with pytest.raises(StorageError, match="are of other weights; make them again with: dragoman export"):
        dragoman.load(model, engine="onnx")
    assert dragoman.load(model).engine == "torch"
    assert "are of other weights" in caplog.text
    assert main(["export", str(model), "--threads", "1"]) == 0
    assert dragoman.load(model).engine == "onnx"


def test_graphs_that_onnx_runtime_cannot_run_are_a_named_error(model: Path) -> None:
    directory = ModelDirectory.open(model)
    directory.write_graphs(encoder=b"no graph", decoder=b"no graph", facts={})
    with pytest.raises(StorageError, match=r"cannot run the graphs in .* dragoman export") as caught:
        dragoman.load(model)
    assert "\n" not in str(caught.value)


def test_graphs_that_differ_from_torch_are_not_kept(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dragoman.runtime.export as exporting

    shifted, other = (build("general", "lstm").float().eval() for _ in range(2))
    with torch.no_grad():
        shifted.decoder.output.bias[5] += 0.01
    monkeypatch.setattr(exporting, "decoder_graph", lambda _: decoder_graph(other))
    (model / "onnx" / "graphs.json").unlink()
    with pytest.raises(StorageError, match="are not what PyTorch computes"):
        export_graphs(ModelDirectory.open(model), shifted, BATCHES[1])
    assert not ModelDirectory.open(model).has_graphs


def test_a_model_without_its_training_data_is_checked_on_random_ids(model: Path) -> None:
    shutil.rmtree(model / "training")
    parity = dragoman.export(model, threads=1)
    assert parity.sources == parity.same == 16


def test_a_saved_copy_keeps_its_graphs(trained: Path, tmp_path: Path) -> None:
    copy = dragoman.load(trained).save_pretrained(tmp_path / "copy")
    assert dragoman.load(copy).engine == "onnx"


def test_the_engine_is_one_of_three_and_computes_on_the_cpu(trained: Path) -> None:
    with pytest.raises(OptionError, match='`engine` must be auto, onnx or torch, but is "tf"'):
        dragoman.load(trained, engine="tf")
    with pytest.raises(OptionError, match='`engine` onnx computes on the cpu, but `device` is "cuda"'):
        dragoman.load(trained, engine="onnx", device="cuda")


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


def test_translating_needs_no_torch_and_the_runtime_says_nothing(trained: Path) -> None:
    expected = dragoman.load(trained, engine="torch").translate("source 3 of many", max_length=200).text
    done = run_without_extra("translate", str(trained), "source 3 of many", "--max-length", "200")
    assert (done.returncode, done.stdout.strip()) == (0, expected)
    assert "W:onnxruntime" not in done.stderr
    assert all(line.startswith("dragoman: warning: line 1") for line in done.stderr.splitlines())


def test_what_needs_torch_says_so_in_one_line(trained: Path) -> None:
    for words in (["translate", str(trained), "a", "--engine", "torch"], ["export", str(trained)]):
        done = run_without_extra(*words)
        assert done.returncode == 2
        assert 'needs the train extra: pip install "dragoman[train]"' in done.stderr
        assert len(done.stderr.splitlines()) == 1

"""From a trained model to the ONNX graphs in its directory, held against PyTorch before they are accepted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from dragoman.config import SearchOptions
from dragoman.errors import StorageError
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, Stepper
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper
from dragoman.runtime.graph import OPSET
from dragoman.storage import ModelDirectory

TOLERANCE = 1e-4
"""The largest difference of any log-probability that is still the same model."""
CHECKED = 64
"""Sources that an export is checked on."""
_BATCH = 32
_GREEDY = SearchOptions(beam_size=1, max_length=60)


@dataclass(frozen=True)
class Parity:
    """How far the graphs are from PyTorch, measured along PyTorch's own greedy outputs."""

    sources: int
    """Sources translated by both."""
    same: int
    """Sources whose outputs have the same ids."""
    largest_difference: float
    """Of any log-probability of the whole vocabulary at any step."""

    def __str__(self) -> str:
        return (
            f"{self.same:,} of {self.sources:,} outputs the same as PyTorch's, log-probabilities within "
            f"{self.largest_difference:.1g}"
        )


def export_graphs(
    directory: ModelDirectory, model: Seq2Seq, source_ids: Sequence[list[int]], *, threads: int | None = None
) -> Parity:
    """Write the graphs of `model`, whose weights are those of `directory`, after checking them on `source_ids`.

    The result stands in `directory.config["onnx"]` too; writing the configuration is the caller's. Raises
    `StorageError` if the graphs do not give what PyTorch gives; then none are written.
    """
    encoder, decoder = encoder_graph(model), decoder_graph(model)
    parity = compare(TorchStepper(model), OnnxStepper(encoder, decoder, threads=threads), source_ids)
    if not parity.largest_difference <= TOLERANCE:  # NaN is no parity either
        raise StorageError(
            f"the ONNX graphs of {directory.path} are not what PyTorch computes (log-probabilities differ by up to "
            f"{parity.largest_difference:.1g}), so none were written; translating with PyTorch works"
        )
    facts: dict[str, Any] = {"precision": "float32", "opset": OPSET, "parity": asdict(parity)}
    directory.write_graphs(encoder=encoder, decoder=decoder, facts=facts)
    directory.config["onnx"] = {**facts, "onnxruntime": onnxruntime.__version__}
    return parity


def check_sources(directory: ModelDirectory, encode: Callable[[list[str]], Sequence[list[int]]]) -> list[list[int]]:
    """What to compare on: development sources if the directory still has them, else random ids."""
    try:
        texts = json.loads((directory.training / "data" / "texts.json").read_text(encoding="utf-8"))
        sources = [str(source) for source in texts["dev"]["sources"]]
    except (OSError, ValueError, KeyError, TypeError):
        sources = []
    if sources:
        chosen = np.linspace(0, len(sources) - 1, min(CHECKED, len(sources))).astype(int)
        found = [ids for ids in encode([sources[i] for i in chosen]) if ids]
        if found:
            return found
    draw = np.random.default_rng(1)
    vocab = directory.config["architecture"]["source_vocab_size"]
    lengths = draw.integers(1, 30, size=CHECKED // 4)
    return [draw.integers(min(4, vocab - 1), vocab, size=length).tolist() for length in lengths]


def compare(expected: Stepper, given: Stepper, source_ids: Sequence[list[int]]) -> Parity:
    """Translate with `expected`, follow its outputs with both, and look at every log-probability."""
    usable = sorted((ids for ids in source_ids if ids), key=len)
    same, largest = 0, 0.0
    for start in range(0, len(usable), _BATCH):
        batch = usable[start : start + _BATCH]
        outputs = _greedy(expected, batch)
        same += sum(one == other for one, other in zip(outputs, _greedy(given, batch), strict=True))
        largest = float(np.maximum(largest, _largest_difference(expected, given, batch, outputs)))
    return Parity(len(usable), same, largest)


def _greedy(stepper: Stepper, source_ids: list[list[int]]) -> list[tuple[int, ...]]:
    return [tuple(found[0].ids) for found in search(stepper, source_ids, options=_GREEDY)]


def _largest_difference(
    expected: Stepper, given: Stepper, source_ids: list[list[int]], outputs: list[tuple[int, ...]]
) -> float:
    """Over every step of every output; a row that is over goes on with its last id, which is as good as any."""
    states = [stepper.start(source_ids) for stepper in (expected, given)]
    largest = 0.0
    for position in range(max(map(len, outputs))):
        last = np.array([BOS if position == 0 else ids[min(position, len(ids)) - 1] for ids in outputs])
        values: list[NDArray[Any]] = []
        for index, stepper in enumerate((expected, given)):
            step = stepper.step(states[index], last, top_k=None)
            states[index] = step.state
            values.append(step.log_probs)
        largest = float(np.maximum(largest, np.abs(values[0] - values[1]).max()))
    return largest

"""From a trained model to the ONNX graphs in its directory, held against PyTorch before they are accepted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dragoman.errors import StorageError
from dragoman.evaluation.metrics import PRIMARY
from dragoman.generation.shortlist import Shortlist
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper
from dragoman.runtime.graph import OPSET
from dragoman.runtime.parity import COMPARED, MAX_LENGTH, SCORED, Parity, Sample, compare, greedy, losses
from dragoman.storage import PRECISIONS, ModelDirectory

TOLERANCE = {"float32": 1e-3, "float16": 0.1, "int8": 10.0}
"""The largest difference of any log-probability that is still the same model: beyond it is a mistake, not a rounding.
Unlikely words of a well-trained model have -60, of which float32 rounds off 4e-6 in each of many sums: 7e-5 was met."""
ACCEPTED_LOSS = 0.3
"""Points of the leading metric that int8 may lose and still be what runs by default."""
ACCEPTED_AGREEMENT = 0.98
"""The same as a share of tokens, where there are no references to score against."""
_REACHED = 0.99
"""Share of the right answers that are compared to their ends at least."""
STANDARD = ("float32", "int8")
"""What training exports."""


def export_graphs(
    directory: ModelDirectory,
    model: Seq2Seq,
    sample: Sample,
    *,
    weights: str,
    precisions: Sequence[str] = STANDARD,
    threads: int | None = None,
) -> dict[str, Parity]:
    """Write the graphs of `model`, whose weights `directory` had when their checksum was `weights`, after checking them on `sample`.

    The result stands in `directory.config["onnx"]` too; writing the configuration is the caller's. Raises
    `StorageError` if the graphs do not give what PyTorch gives; then none are written.
    """
    torch_model, sources = TorchStepper(model), sample.thinned(COMPARED)
    graphs: dict[str, tuple[bytes, bytes]] = {}
    found: dict[str, Parity] = {}
    reference: list[tuple[int, ...]] | None = None
    lossy = set(precisions) - {"float32"}
    # float32 first, even if it is not asked for: what the others lose is counted from its outputs.
    for precision in sorted({*precisions, "float32"}, key=PRECISIONS.index):
        graphs[precision] = (encoder_graph(model, precision=precision), decoder_graph(model, precision=precision))
        engine = OnnxStepper(*graphs[precision], threads=threads)
        parity = compare(torch_model, engine, sources, max_length=sample.max_length)
        if not parity.largest_difference <= TOLERANCE[precision]:  # NaN is no parity either
            raise StorageError(
                f"the {precision} ONNX graphs of {directory.path} are not what PyTorch computes (log-probabilities differ by "
                f"up to {parity.largest_difference:.1g}), so none were written; translating with PyTorch works"
            )
        if sample.references is not None and lossy:
            outputs = greedy(engine, sample.source_ids, max_length=sample.max_length)
            if reference is None:
                reference = outputs
            else:
                parity = dataclasses.replace(parity, scored=len(outputs), loss=losses(reference, outputs, sample))
        found[precision] = parity
    import onnxruntime  # here, because the engine says it best if there is none

    found = {precision: found[precision] for precision in precisions}
    facts = {precision: {"parity": dataclasses.asdict(parity)} for precision, parity in found.items()}
    directory.write_graphs(
        {precision: graphs[precision] for precision in precisions}, weights=weights, default=default_of, facts=facts
    )
    directory.config["onnx"] = {
        "default": directory.choose_precision("auto"),
        "opset": OPSET,
        "onnxruntime": onnxruntime.__version__,
        "precisions": {precision: known["parity"] for precision, known in directory.precisions.items()},
    }
    return found


def add_shortlist_graphs(directory: ModelDirectory, model: Seq2Seq) -> None:
    """Write, beside the graphs of every precision, the decoder's graph for a shortlist; `model` has the directory's weights.

    With a shortlist of all words it must give what the graph without one gives, or a `StorageError` says that it does not.
    """
    graphs = {
        precision: decoder_graph(model, precision=precision, shortlist=True) for precision in directory.precisions
    }
    source_words, words = (int(directory.config["architecture"][f"{side}_vocab_size"]) for side in ("source", "target"))
    nothing = np.zeros(source_words + 1, np.int64)
    everything = Shortlist(nothing, nothing[:0], np.arange(words), words)
    for precision, graph in graphs.items():
        encoder, decoder = directory.read_graphs(precision)
        whole = OnnxStepper(encoder, decoder, threads=1)
        parity = compare(whole, OnnxStepper(encoder, graph, threads=1, shortlist=everything), _drawn(source_words))
        if not parity.largest_difference <= TOLERANCE["float32"]:
            raise StorageError(
                f"the {precision} ONNX graph of {directory.path} for a shortlist is not what the one without computes "
                f"(log-probabilities differ by up to {parity.largest_difference:.1g}), so none were written; {directory.renewal}"
            )
    directory.add_graphs(graphs)


def default_of(precisions: dict[str, Any]) -> str:
    """What runs if nothing else is asked for: int8 where it was found to lose little, else float32, else what there is."""
    if "int8" in precisions and _loses_little(precisions["int8"]["parity"]):
        return "int8"
    return min(precisions, key=PRECISIONS.index)


def _loses_little(parity: dict[str, Any]) -> bool:
    if parity["loss"]:
        return bool(next(iter(parity["loss"].values())) <= ACCEPTED_LOSS)
    return bool(parity["token_agreement"] >= ACCEPTED_AGREEMENT)


def check_sample(
    directory: ModelDirectory,
    encode: Callable[[list[str]], dict[int, list[int]]],
    encode_targets: Callable[[list[str]], list[list[int]]],
    decode: Callable[[list[int]], str],
) -> Sample:
    """What to check on: development data if the directory still has it, else random ids.

    `encode` gives the ids of those sources that can be used, by their places.
    """
    try:
        texts = json.loads((directory.training / "data" / "texts.json").read_text(encoding="utf-8"))
        sources = [str(source) for source in texts["dev"]["sources"]]
        references = [[str(text) for text in several] for several in texts["dev"]["references"]]
        writing, kind = texts["writing"], texts["kind"]
    except (OSError, ValueError, KeyError, TypeError):
        sources, references, writing, kind = [], [], "", ""
    chosen = np.linspace(0, len(sources) - 1, min(SCORED, len(sources))).astype(int)
    found = encode([sources[place] for place in chosen]) if sources else {}
    if found:
        answers = [references[chosen[place]] for place in found]
        lengths = [len(ids) + 1 for ids in encode_targets([text for several in answers for text in several])]
        # One that is a page long must not let every output that does not end run on for as long.
        most = int(np.quantile(lengths, _REACHED, method="higher"))
        metric = _judge(directory.config["recipe"].get("metric"), writing, kind)
        return Sample(list(found.values()), answers, decode, writing, metric, max_length=max(MAX_LENGTH, most))
    return Sample(_drawn(directory.config["architecture"]["source_vocab_size"]))


def _judge(metric: str | None, writing: Any, kind: str) -> str:
    """The metric of outputs that a model is judged by: that of its training, but none that is 0 whatever the outputs are.

    BLEU counts four words in a row, so that it cannot tell one spelled word from another.
    """
    if kind == "symbols":
        return "exact_match"
    return PRIMARY[writing] if metric in (None, "loss") else str(metric)


def _drawn(vocab: int) -> list[list[int]]:
    """Sources of random ids."""
    draw = np.random.default_rng(1)
    lengths = draw.integers(1, 30, size=COMPARED // 4)
    return [draw.integers(min(4, vocab - 1), vocab, size=length).tolist() for length in lengths]

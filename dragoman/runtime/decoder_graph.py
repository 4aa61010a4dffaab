"""One step of the decoder as an ONNX graph; mirrors `dragoman.model.decoder`.

last_ids (rows,), top_k (1,), state_*, memory_*  ->  top_ids, top_log_probs (rows, k)
                                                     log_probs (rows, vocab)
                                                     attention (rows, source_length)
                                                     next_*: the state after the step

With a shortlist the output layer is computed for some words only, `union`, and a row answers from its own candidates among them:

union (n,), own (rows, c): places in `union`, -1 for none  ->  log_probs (rows, c), normalised over the row's candidates
memory_copied holds places in `own` then.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn import Linear

from dragoman.model.attention import AdditiveAttention, MultiHeadAttention
from dragoman.model.decoder import Decoder
from dragoman.model.recurrent import RecurrentLayer
from dragoman.model.seq2seq import Seq2Seq
from dragoman.runtime.cells import array, cell_step
from dragoman.runtime.encoder_graph import seam_nodes
from dragoman.runtime.graph import FLOAT, INT32, INT64, GraphBuilder

_TABLE = "decoder.embedding"
_LARGE = 2_000
"""From so many words on the best are found block by block,"""
_BLOCK_SIZES = range(64, 15, -1)
"""of the largest of these sizes that the vocabulary is a multiple of."""


def decoder_graph(model: Seq2Seq, *, precision: str = "float32", shortlist: bool = False) -> bytes:
    """Build the graph of a decoder's step: over the whole vocabulary, or for a `shortlist` of candidates."""
    return _Step(model.decoder, precision, shortlist=shortlist).build()


class _Step:
    """The graph of one step, in the order of `Decoder._step`."""

    def __init__(self, decoder: Decoder, precision: str, *, shortlist: bool) -> None:
        self.decoder = decoder
        self.layers, self.readout = _reading_heads(decoder)
        self.shortlist = shortlist
        self.hidden = decoder.layers[0].hidden_size
        self.g = GraphBuilder("decoder", precision=precision)

    def build(self) -> bytes:
        """Declare the inputs, follow one step, give out what follows."""
        g, decoder = self.g, self.decoder
        last_ids = g.input("last_ids", INT64, ["rows"])
        top_k = g.input("top_k", INT64, [1])
        states = self._declare_states()
        context = g.input("memory_context", FLOAT, ["rows", self.hidden]) if decoder.peek else ""
        self._declare_memory()
        embedded = g.rows(_TABLE, array(decoder.embedding.weight), last_ids)
        parts = [embedded]
        attended = weights = ""
        if decoder.peek:
            parts.append(context)
        if decoder.inside:
            attended, weights = self._attend(states[-1][0])
            parts.append(attended)
        if decoder.input_feeding:
            parts.append("state_fed")
        inputs = g.joined(parts)
        following: list[list[str]] = []
        for index, (layer, seam) in enumerate(zip(self.layers, decoder.seams, strict=True)):
            read = [inputs, attended] if decoder.early and index > 0 else [inputs]
            after = cell_step(g, f"decoder.{index}", layer, read, states[index])
            following.append(after)
            inputs = seam_nodes(g, f"decoder.{index}", seam, inputs, after[0])
            if index == 0 and decoder.early:
                attended, weights = self._attend(inputs)
        if decoder.attention is not None and not attended:
            attended, weights = self._attend(inputs)
        features = self._features(inputs, attended, embedded)
        self._answer(features, weights, top_k)
        for index, state in enumerate(part for after in following for part in after):
            g.output(state, f"next_state_{index}", FLOAT, ["rows", self.hidden])
        if decoder.input_feeding:
            g.output(features, "next_state_fed", FLOAT, ["rows", decoder.feature_size])
        if weights:
            g.output(weights, "attention", FLOAT, ["rows", "source_length"])
        return g.build()

    def _declare_states(self) -> list[list[str]]:
        g, count = self.g, self.decoder.layers[0].state_count
        names = [f"state_{index}" for index in range(count * len(self.decoder.layers))]
        for name in names:
            g.input(name, FLOAT, ["rows", self.hidden])
        if self.decoder.input_feeding:
            g.input("state_fed", FLOAT, ["rows", self.decoder.feature_size])
        return [names[start : start + count] for start in range(0, len(names), count)]

    def _declare_memory(self) -> None:
        """What `encoder_graph` says it gives, row by row."""
        g, attention, hidden = self.g, self.decoder.attention, self.hidden
        if attention is None:
            return
        if self.decoder.gate is not None:
            g.input("memory_copied", INT64, ["rows", "source_length"])
        if isinstance(attention, MultiHeadAttention):
            heads, width = attention.heads, hidden // attention.heads
            g.input("memory_keys", FLOAT, ["rows", heads, width, "source_length"])
            g.input("memory_values", FLOAT, ["rows", heads, "source_length", width])
            g.input("memory_bias", FLOAT, ["rows", 1, 1, "source_length"])
            return
        values: list[str | int] = ["rows", "source_length", hidden]
        additive = isinstance(attention, AdditiveAttention)
        g.input("memory_keys", FLOAT, values if additive else ["rows", hidden, "source_length"])
        g.input("memory_values", FLOAT, values)
        g.input("memory_bias", FLOAT, ["rows", 1, "source_length"])

    def _attend(self, query: str) -> tuple[str, str]:
        """(rows, hidden) -> what is attended to, (rows, hidden), and the weights, (rows, source_length).

        Several heads stand side by side as they are: see `_reading_heads`.
        """
        g, attention = self.g, self.decoder.attention
        if isinstance(attention, MultiHeadAttention):
            return self._attend_with_heads(attention, query)
        if isinstance(attention, AdditiveAttention):
            asked = g.linear(query, "attention.query", array(attention.query.weight), array(attention.query.bias))
            both = g.node("Add", g.node("Unsqueeze", asked, g.numbers(1)), "memory_keys")
            energy = g.constant("attention.energy", array(attention.energy.weight).T)
            scores = g.node("MatMul", g.node("Tanh", both), energy)  # (rows, source_length, 1)
            scores = g.node("Transpose", scores, attributes={"perm": [0, 2, 1]})
        else:
            scores = g.node("MatMul", g.node("Unsqueeze", query, g.numbers(1)), "memory_keys")
        weights = g.node("Softmax", g.node("Add", scores, "memory_bias"), attributes={"axis": -1})
        attended = g.node("MatMul", weights, "memory_values")  # (rows, 1, hidden)
        return g.node("Squeeze", attended, g.numbers(1)), g.node("Squeeze", weights, g.numbers(1))

    def _attend_with_heads(self, attention: MultiHeadAttention, query: str) -> tuple[str, str]:
        g, width = self.g, self.hidden // attention.heads
        asked = g.linear(query, "attention.query", array(attention.query.weight), array(attention.query.bias))
        asked = g.node("Reshape", asked, g.numbers(0, attention.heads, 1, width))
        scores = g.node("MatMul", asked, "memory_keys")  # (rows, heads, 1, source_length)
        weights = g.node("Softmax", g.node("Add", scores, "memory_bias"), attributes={"axis": -1})
        mixed = g.node("MatMul", weights, "memory_values")  # (rows, heads, 1, width)
        mean = g.node("ReduceMean", weights, g.numbers(1, 2), attributes={"keepdims": 0})
        return g.node("Reshape", mixed, g.numbers(0, self.hidden)), mean

    def _features(self, states: str, attended: str, embedded: str) -> str:
        g, readout = self.g, self.readout
        if readout is None:
            return states
        parts = [states, *([attended] if attended else []), *([embedded] if self.decoder.inside else [])]
        return g.node("Tanh", g.linear(g.joined(parts), "readout", array(readout.weight), array(readout.bias)))

    def _answer(self, features: str, weights: str, top_k: str) -> None:
        """The dense layer, log-probabilities over the whole vocabulary or a row's candidates, and the best of them."""
        g, output = self.g, self.decoder.output
        words: str | int = "candidates" if self.shortlist else output.out_features
        union = g.input("union", INT64, ["union"]) if self.shortlist else None
        tied = output.weight is self.decoder.embedding.weight
        weight, bias = array(output.weight), array(output.bias)
        bounded = self.decoder.readout is not None  # which ends in tanh
        table = _TABLE if tied else None
        logits = g.linear(features, "output", weight, bias, bounded=bounded, table=table, chosen=union)
        own = g.input("own", INT32, ["rows", "candidates"]) if self.shortlist else ""
        if own:  # -1 gathers the last one, which is not kept
            logits = self._kept(own, g.node("GatherElements", logits, own, attributes={"axis": 1}))
        log_probs = g.node("LogSoftmax", logits, attributes={"axis": -1})
        if self.decoder.gate is not None:
            log_probs = self._mixed(self.decoder.gate, features, weights, log_probs)
            log_probs = self._kept(own, log_probs) if own else log_probs
        chosen, ids = self._best(log_probs, top_k)
        if union:
            ids = g.node("Gather", union, g.node("GatherElements", own, ids, attributes={"axis": 1}))
        g.output(ids, "top_ids", INT64, ["rows", "k"])
        g.output(chosen, "top_log_probs", FLOAT, ["rows", "k"])
        g.output(log_probs, "log_probs", FLOAT, ["rows", words])

    def _best(self, log_probs: str, top_k: str) -> tuple[str, str]:
        """The best values of each row and their places, both (rows, k); equals in the order of their places.

        A large vocabulary is looked at in blocks: the k best are in the k blocks with the highest maxima. For many rows that takes
        half the time of one TopK, for one row the same.
        """
        g, words = self.g, self.decoder.output.out_features
        size = next((size for size in _BLOCK_SIZES if words % size == 0), 0)
        if self.shortlist or words < _LARGE or not size:
            chosen, ids = g.nodes("TopK", log_probs, top_k, outputs=2, attributes={"axis": -1})
            return chosen, ids
        blocks = words // size
        apart = g.node("Reshape", log_probs, g.numbers(0, blocks, size))
        highest = g.node("ReduceMax", apart, g.numbers(2), attributes={"keepdims": 0})
        count = g.node("Min", top_k, g.numbers(blocks))
        _, found = g.nodes("TopK", highest, count, outputs=2, attributes={"axis": -1})
        rising, _ = g.nodes("TopK", found, count, outputs=2, attributes={"axis": -1, "largest": 0})
        places = g.node("Gather", g.constant("places", np.arange(words).reshape(blocks, size)), rising)
        places = g.node("Reshape", places, g.numbers(0, -1))  # (rows, count, size) -> (rows, count * size)
        candidates = g.node("GatherElements", log_probs, places, attributes={"axis": 1})
        chosen, among = g.nodes("TopK", candidates, top_k, outputs=2, attributes={"axis": -1})
        return chosen, g.node("GatherElements", places, among, attributes={"axis": 1})

    def _kept(self, own: str, values: str) -> str:
        """`values`, (rows, candidates), and -inf where a row has no candidate any more."""
        g = self.g
        none = g.node("Less", own, g.constant("first_place", np.array(0, dtype=np.int32)))
        return g.node("Where", none, g.constant("never", np.array(-np.inf, dtype=np.float32)), values)

    def _mixed(self, gate: Linear, features: str, weights: str, log_probs: str) -> str:
        """`Pointer.mixed`: the vocabulary's log-probabilities with what is copied, (rows, vocab)."""
        g = self.g
        zero = g.constant("zero", np.array(0, dtype=np.float32))
        asked = g.linear(features, "gate", array(gate.weight), array(gate.bias))  # (rows, 1)
        nothing = g.node("Equal", "memory_copied", g.constant("no_id", np.array(0)))
        lost = g.node("ReduceSum", g.node("Where", nothing, weights, zero), g.numbers(1))  # (rows, 1)
        generated = g.node("Sub", g.node("Softplus", g.node("Add", asked, self._log(lost))), g.node("Softplus", asked))
        said = g.node("Add", log_probs, generated)
        none = g.node("Expand", zero, g.node("Shape", log_probs))
        copyable = g.node("Where", nothing, zero, weights)
        copied = g.node("ScatterElements", none, "memory_copied", copyable, attributes={"axis": 1, "reduction": "add"})
        share = g.node("Neg", g.node("Softplus", g.node("Neg", asked)))  # log sigmoid
        pointed = g.node("Add", self._log(copied), share)
        # log(e^said + e^pointed)
        return g.node("Add", said, g.node("Softplus", g.node("Sub", pointed, said)))

    def _log(self, probability: str) -> str:
        tiny = self.g.constant("tiny", np.array(np.finfo(np.float32).tiny))
        return self.g.node("Log", self.g.node("Max", probability, tiny))


def _reading_heads(decoder: Decoder) -> tuple[list[RecurrentLayer], Linear | None]:
    """The recurrent layers and the readout of a decoder, as they read the heads of its attention themselves.

    What several heads find goes through an output layer, and from there into other linear layers only: their product is one layer,
    which saves a product in every step.
    """
    layers, readout = list(decoder.layers), decoder.readout
    if not isinstance(decoder.attention, MultiHeadAttention):
        return layers, readout
    output, hidden = decoder.attention.output, layers[0].hidden_size
    reads = [(index, hidden) for index in range(1, len(layers)) if decoder.early]
    if decoder.inside:
        reads.append((0, layers[0].input_size - hidden))
    for index, first in reads:
        layers[index] = copy.deepcopy(layers[index])
        weight, _, bias, _ = layers[index].weights
        _multiply_in(output, weight, bias, first)
    assert readout is not None, "a decoder with attention has a readout"
    readout = copy.deepcopy(readout)
    _multiply_in(output, readout.weight, readout.bias, hidden)
    return layers, readout


@torch.no_grad()
def _multiply_in(inner: Linear, weight: Tensor, bias: Tensor, first: int) -> None:
    """Let a layer read in its columns from `first` on what `inner` reads, in place of what it gives."""
    columns = weight[:, first : first + inner.out_features]
    outer = columns.double()
    bias += outer @ inner.bias.double()
    columns.copy_(outer @ inner.weight.double())

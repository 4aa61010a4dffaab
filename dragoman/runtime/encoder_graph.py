"""The encoder as an ONNX graph: from padded ids to all that decoding needs; mirrors `dragoman.model.encoder`.

    ids (batch, source_length), lengths (batch,)  ->  state_*: the decoder's first state
                                                      memory_*: what attention and `peek` read at every step

The recurrent operators take each row's own length, so padding is inert here too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from dragoman.model.attention import AdditiveAttention, Attention, DotAttention, GeneralAttention, MultiHeadAttention
from dragoman.model.decoder import Decoder
from dragoman.model.encoder import Encoder
from dragoman.model.layers import Seam
from dragoman.model.recurrent import RecurrentLayer
from dragoman.model.seq2seq import Seq2Seq
from dragoman.runtime.cells import array, scanned_layer
from dragoman.runtime.graph import FLOAT, INT32, INT64, Array, GraphBuilder

_OPERATORS = {"lstm": "LSTM", "gru": "GRU", "rnn_tanh": "RNN", "rnn_relu": "RNN"}
# ONNX wants input, output, forget, cell for an LSTM and update, reset, new for a GRU; these are torch's places of them.
_GATE_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}


def encoder_graph(model: Seq2Seq, *, precision: str = "float32") -> bytes:
    """Build the encoder's graph."""
    g = GraphBuilder("encoder", precision=precision)
    encoder, decoder = model.encoder, model.decoder
    ids = g.input("ids", INT64, ["batch", "source_length"])
    lengths = g.input("lengths", INT64, ["batch"])
    states, finals = _encode(g, encoder, ids, lengths)
    context = finals[-1][0]
    _start(g, decoder, context, finals)
    if decoder.peek:
        g.output(context, "memory_context", FLOAT, ["batch", decoder.layers[0].hidden_size])
    if decoder.attention is not None:
        _memory(g, decoder.attention, states, lengths, decoder.layers[0].hidden_size)
    if model.copy_ids is not None:
        table = g.constant("copy_ids", model.copy_ids.cpu().numpy())
        g.output(g.node("Gather", table, ids), "memory_copied", INT64, ["batch", "source_length"])
    return g.build()


def _encode(g: GraphBuilder, encoder: Encoder, ids: str, lengths: str) -> tuple[str, list[list[str]]]:
    """Top states, (batch, source_length, hidden), and every layer's last state, (batch, hidden) each."""
    row_lengths = g.node("Cast", lengths, attributes={"to": INT32})
    if encoder.reverse_source:
        ids = _reversed(g, ids, lengths)
    # Recurrent operators want time first: (source_length, batch, embedding)
    turned = g.node("Transpose", ids, attributes={"perm": [1, 0]})
    inputs = g.rows("encoder.embedding", array(encoder.embedding.weight), turned, axes=2)
    finals: list[list[str]] = []
    for index, seam in enumerate(encoder.seams):
        directions = [encoder.forward_layers[index]]
        if len(encoder.backward_layers):
            directions.append(encoder.backward_layers[index])
        if g.precision == "int8":
            outputs, final = scanned_layer(g, f"encoder.{index}", directions, inputs, lengths)
        else:
            outputs, final = _recurrent(g, f"encoder.{index}", directions, inputs, row_lengths)
        finals.append(final)
        inputs = seam_nodes(g, f"encoder.{index}", seam, inputs, outputs)
    states = g.node("Transpose", inputs, attributes={"perm": [1, 0, 2]})
    return (_reversed(g, states, lengths) if encoder.reverse_source else states), finals


def _recurrent(
    g: GraphBuilder, name: str, directions: list[RecurrentLayer], inputs: str, lengths: str
) -> tuple[str, list[str]]:
    """One layer in one or two directions over whole sequences: outputs, (source_length, batch, hidden), and last state."""
    layer, count = directions[0], len(directions)
    w, r, b = (np.stack(parts) for parts in zip(*(_onnx_weights(one) for one in directions), strict=True))
    attributes: dict[str, Any] = {
        "hidden_size": layer.hidden_size,
        "direction": "forward" if count == 1 else "bidirectional",
    }
    if layer.cell == "gru":
        attributes["linear_before_reset"] = 1
    if layer.cell.startswith("rnn"):
        attributes["activations"] = [layer.cell.removeprefix("rnn_").capitalize()] * count
    weights = [g.constant(f"{name}.{part}", value) for part, value in (("W", w), ("R", r), ("B", b))]
    outputs, *finals = g.nodes(
        _OPERATORS[layer.cell], inputs, *weights, lengths, outputs=1 + layer.state_count, attributes=attributes
    )
    if count == 1:
        squeezed = g.node("Squeeze", outputs, g.numbers(1))
        return squeezed, [g.node("Squeeze", final, g.numbers(0)) for final in finals]
    # (time, 2, batch, width) -> (time, batch, 2 * width), and (2, batch, width) -> (batch, 2 * width)
    apart = g.node("Transpose", outputs, attributes={"perm": [0, 2, 1, 3]})
    both = [g.node("Transpose", final, attributes={"perm": [1, 0, 2]}) for final in finals]
    width = 2 * layer.hidden_size
    return g.node("Reshape", apart, g.numbers(0, 0, width)), [
        g.node("Reshape", final, g.numbers(0, width)) for final in both
    ]


def _onnx_weights(layer: RecurrentLayer) -> tuple[Array, Array, Array]:
    """A layer's weights with ONNX's order of gates; both biases in one vector."""
    order = _GATE_ORDER[layer.cell]
    w, r, input_bias, state_bias = (
        np.concatenate([np.split(array(part), len(order))[gate] for gate in order]) for part in layer.weights
    )
    return w, r, np.concatenate([input_bias, state_bias])


def seam_nodes(g: GraphBuilder, name: str, seam: Seam, inputs: str, outputs: str) -> str:
    """What stands between two layers outside training: residual and norm."""
    if seam.residual:
        outputs = g.node("Add", outputs, inputs)
    if seam.norm is None:
        return outputs
    scale = g.constant(f"{name}.norm.scale", array(seam.norm.weight))
    shift = g.constant(f"{name}.norm.shift", array(seam.norm.bias))
    return g.node("LayerNormalization", outputs, scale, shift, attributes={"axis": -1, "epsilon": seam.norm.eps})


def _reversed(g: GraphBuilder, rows: str, lengths: str) -> str:
    """Each row's first `lengths[i]` positions backwards."""
    return g.node("ReverseSequence", rows, lengths, attributes={"batch_axis": 0, "time_axis": 1})


def _start(g: GraphBuilder, decoder: Decoder, context: str, finals: list[list[str]]) -> None:
    """The bridge, and zeros for what input feeding reads at first."""
    hidden = decoder.layers[0].hidden_size
    states = [part for final in finals for part in final]
    if decoder.bridge.map is not None:
        bridge = decoder.bridge.map
        mapped = g.node("Tanh", g.linear(context, "bridge", array(bridge.weight), array(bridge.bias)))
        count = bridge.out_features // hidden
        states = [mapped]
        if count > 1:
            sizes = g.numbers(*[hidden] * count)
            states = g.nodes("Split", mapped, sizes, outputs=count, attributes={"axis": 1})
    for index, state in enumerate(states):
        g.output(state, f"state_{index}", FLOAT, ["batch", hidden])
    if decoder.input_feeding:
        batch = g.node("Shape", context, attributes={"start": 0, "end": 1})
        shape = g.node("Concat", batch, g.numbers(decoder.feature_size), attributes={"axis": 0})
        zeros = g.node("Expand", g.constant("zero", np.zeros(1, dtype=np.float32)), shape)
        g.output(zeros, "state_fed", FLOAT, ["batch", decoder.feature_size])


def _memory(g: GraphBuilder, attention: Attention, states: str, lengths: str, hidden: int) -> None:
    """Keys and values as the decoder's products read them, and -inf at padding.

    Keys are (batch, hidden, source_length), for additive attention (batch, source_length, hidden); several heads have an
    axis of their own after the first.
    """
    keys, values = states, states
    key_shape: list[str | int] = ["batch", hidden, "source_length"]
    value_shape: list[str | int] = ["batch", "source_length", hidden]
    if isinstance(attention, MultiHeadAttention):
        heads, width = attention.heads, hidden // attention.heads
        projected = _projected(g, "attention.key", states, attention.key.weight / math.sqrt(width), None)
        keys = _split_heads(g, projected, heads, width, perm=[0, 2, 3, 1])
        projected = _projected(g, "attention.value", states, attention.value.weight, attention.value.bias)
        values = _split_heads(g, projected, heads, width, perm=[0, 2, 1, 3])
        key_shape, value_shape = ["batch", heads, width, "source_length"], ["batch", heads, "source_length", width]
    elif isinstance(attention, AdditiveAttention):
        keys, key_shape = _projected(g, "attention.key", states, attention.key.weight, None), value_shape
    else:
        if isinstance(attention, GeneralAttention):
            keys = _projected(g, "attention.key", states, attention.key.weight, None)
        else:
            assert isinstance(attention, DotAttention), f"no graph for {type(attention).__name__}"
        keys = g.node("Transpose", keys, attributes={"perm": [0, 2, 1]})
    g.output(keys, "memory_keys", FLOAT, key_shape)
    g.output(values, "memory_values", FLOAT, value_shape)
    middle = [1] * (len(key_shape) - 2)
    g.output(_bias(g, states, lengths, len(middle)), "memory_bias", FLOAT, ["batch", *middle, "source_length"])


def _projected(g: GraphBuilder, name: str, states: str, weight: Tensor, bias: Tensor | None) -> str:
    return g.linear(states, name, array(weight), None if bias is None else array(bias), axes=3)


def _split_heads(g: GraphBuilder, states: str, heads: int, width: int, *, perm: list[int]) -> str:
    # (batch, source_length, heads * width) -> (batch, source_length, heads, width) -> as `perm` says
    apart = g.node("Reshape", states, g.numbers(0, 0, heads, width))
    return g.node("Transpose", apart, attributes={"perm": perm})


def _bias(g: GraphBuilder, states: str, lengths: str, middle: int) -> str:
    """0 at real tokens and -inf at padding, (batch, 1.., source_length), to be added to scores."""
    zero, one = g.constant("zero_step", np.array(0)), g.constant("one_step", np.array(1))
    shape = g.node("Shape", states, attributes={"start": 1, "end": 2})
    length = g.node("Squeeze", shape)
    positions = g.node("Range", zero, length, one)
    ends = g.node("Unsqueeze", lengths, g.numbers(*range(1, middle + 2)))
    real = g.node("Less", positions, ends)
    keep = g.constant("keep", np.array(0, dtype=np.float32))
    drop = g.constant("drop", np.array(-np.inf, dtype=np.float32))
    return g.node("Where", real, keep, drop)

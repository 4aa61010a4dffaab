"""Recurrent cells as nodes: one step of a layer, for every cell alike; mirrors `dragoman.model.recurrent`.

A step is one matrix product over [input; state] (two for a GRU) and a few nodes. The encoder uses ONNX's recurrent operators
instead where they can be had (`encoder_graph`); they have no form with 8-bit weights, so there `scanned_layer` steps.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from dragoman.model.recurrent import RecurrentLayer
from dragoman.runtime.graph import BOOL, FLOAT, Array, GraphBuilder

# torch's input, forget, cell, output -> input, forget, output, cell: one sigmoid for three gates
_LSTM_ORDER = (0, 1, 3, 2)


def array(tensor: Tensor) -> Array:
    """A parameter as float32 NumPy values."""
    return tensor.detach().cpu().float().numpy()


def cell_step(g: GraphBuilder, name: str, layer: RecurrentLayer, parts: list[str], state: list[str]) -> list[str]:
    """One step of a recurrent layer over `parts` side by side; the next state, its output first."""
    from_input, from_state, input_bias, state_bias = _weights(layer)
    if layer.cell == "gru":
        read = g.linear(g.joined(parts), f"{name}.input", from_input, input_bias)
        held = g.linear(state[0], f"{name}.state", from_state, state_bias, bounded=True)
        return [_gru(g, read, held, state[0], layer.hidden_size)]
    both = g.joined([*parts, state[0]])
    weight = np.concatenate([from_input, from_state], axis=1)
    return _activated(g, layer, g.linear(both, name, weight, input_bias + state_bias), state)


def scanned_layer(
    g: GraphBuilder, name: str, directions: list[RecurrentLayer], inputs: str, lengths: str
) -> tuple[str, list[str]]:
    """One encoder layer in one or two directions, step by step: outputs, (source_length, batch, width), and last state.

    `inputs` is (source_length, batch, input_size), `lengths` (batch,). What does not depend on the state is one product over all steps.
    Both directions go through one loop, the backward one over rows reversed within their lengths; their rows stand below each other.
    At padding the state stays as it is.
    """
    layer, count = directions[0], len(directions)
    hidden = layer.hidden_size
    body = GraphBuilder(f"{name}.step", precision=g.precision)
    states = [body.input(f"{name}.old_{index}", FLOAT, ["rows", hidden]) for index in range(layer.state_count)]
    read = body.input(f"{name}.read", FLOAT, ["rows", layer.weights[0].size(0)])
    going = body.input(f"{name}.going", BOOL, ["rows", 1])
    rows = [states[0]]
    if count > 1:
        rows = body.nodes("Split", states[0], outputs=count, attributes={"axis": 0, "num_outputs": count})
    held, reads = [], []
    for index, (direction, part) in enumerate(zip(directions, rows, strict=True)):
        from_input, from_state, input_bias, state_bias = _weights(direction)
        apart = layer.cell == "gru"  # its reset gate acts on the product with the state, bias and all
        sequence = _reversed(g, inputs, lengths) if index else inputs
        bias = input_bias if apart else input_bias + state_bias
        reads.append(g.linear(sequence, f"{name}.{index}.input", from_input, bias, axes=3))
        bounded = layer.cell != "rnn_relu"
        held.append(
            body.linear(part, f"{name}.{index}.state", from_state, state_bias if apart else None, bounded=bounded)
        )
    after = _stepped(body, layer, read, body.joined(held, axis=0), states)
    kept = [body.node("Where", going, new, old) for new, old in zip(after, states, strict=True)]
    for index, state in enumerate(kept):
        body.output(state, f"{name}.new_{index}", FLOAT, ["rows", hidden])
    body.output(kept[0], f"{name}.output", FLOAT, ["rows", hidden])

    batch = g.node("Shape", lengths)
    zeros = g.node(
        "Expand",
        g.constant("zero", np.zeros(1, dtype=np.float32)),
        g.node("Concat", g.node("Mul", batch, g.numbers(count)), g.numbers(hidden), attributes={"axis": 0}),
    )
    sequences = [g.joined(reads, axis=1), g.joined([_real(g, inputs, lengths)] * count, axis=1)]
    *finals, outputs = g.scan(body, [zeros] * layer.state_count, sequences)
    if count == 1:
        return outputs, finals
    forward, backward = g.nodes("Split", outputs, outputs=2, attributes={"axis": 1, "num_outputs": 2})
    return g.joined([forward, _reversed(g, backward, lengths)]), [
        g.joined(g.nodes("Split", final, outputs=2, attributes={"axis": 0, "num_outputs": 2})) for final in finals
    ]


def _real(g: GraphBuilder, inputs: str, lengths: str) -> str:
    """True at real tokens, (source_length, batch, 1)."""
    length = g.node("Squeeze", g.node("Shape", inputs, attributes={"start": 0, "end": 1}))
    positions = g.node(
        "Range", g.constant("zero_step", np.array(0)), length, g.constant("one_step", np.array(1))
    )  # (source_length,)
    return g.node("Less", g.node("Unsqueeze", positions, g.numbers(1, 2)), g.node("Unsqueeze", lengths, g.numbers(1)))


def _reversed(g: GraphBuilder, sequence: str, lengths: str) -> str:
    """Each row's first `lengths[i]` steps backwards: (source_length, batch, width) -> the same shape."""
    return g.node("ReverseSequence", sequence, lengths, attributes={"batch_axis": 1, "time_axis": 0})


def _weights(layer: RecurrentLayer) -> tuple[Array, Array, Array, Array]:
    """A layer's weights; an LSTM's gates in the order that `_lstm` wants."""
    weights = [array(part) for part in layer.weights]
    if layer.cell == "lstm":
        weights = [np.concatenate([np.split(part, 4)[gate] for gate in _LSTM_ORDER]) for part in weights]
    from_input, from_state, input_bias, state_bias = weights
    return from_input, from_state, input_bias, state_bias


def _stepped(g: GraphBuilder, layer: RecurrentLayer, read: str, held: str, state: list[str]) -> list[str]:
    """The next state from the products with the input and with the state."""
    if layer.cell == "gru":
        return [_gru(g, read, held, state[0], layer.hidden_size)]
    return _activated(g, layer, g.node("Add", read, held), state)


def _activated(g: GraphBuilder, layer: RecurrentLayer, total: str, state: list[str]) -> list[str]:
    """The next state of an LSTM or RNN from the sum of its products."""
    if layer.cell == "lstm":
        return _lstm(g, total, state[1], layer.hidden_size)
    return [g.node("Tanh" if layer.cell == "rnn_tanh" else "Relu", total)]


def _lstm(g: GraphBuilder, gates: str, c: str, hidden: int) -> list[str]:
    between, new = g.nodes("Split", gates, g.numbers(3 * hidden, hidden), outputs=2, attributes={"axis": 1})
    shares = g.node("Sigmoid", between)
    i, f, o = g.nodes("Split", shares, g.numbers(*[hidden] * 3), outputs=3, attributes={"axis": 1})
    c = g.node("Add", g.node("Mul", f, c), g.node("Mul", i, g.node("Tanh", new)))
    return [g.node("Mul", o, g.node("Tanh", c)), c]


def _gru(g: GraphBuilder, read: str, held: str, h: str, hidden: int) -> str:
    """The GRU of torch: the reset gate acts after the product with the state."""
    sizes = g.numbers(2 * hidden, hidden)
    read_gates, read_new = g.nodes("Split", read, sizes, outputs=2, attributes={"axis": 1})
    held_gates, held_new = g.nodes("Split", held, sizes, outputs=2, attributes={"axis": 1})
    shares = g.node("Sigmoid", g.node("Add", read_gates, held_gates))
    r, z = g.nodes("Split", shares, g.numbers(hidden, hidden), outputs=2, attributes={"axis": 1})
    new = g.node("Tanh", g.node("Add", read_new, g.node("Mul", r, held_new)))
    return g.node("Add", new, g.node("Mul", z, g.node("Sub", h, new)))

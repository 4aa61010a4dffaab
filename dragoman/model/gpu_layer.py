"""A recurrent layer as a GPU wants it: one call for both directions, weights in one piece; knows no stacks and no seams.

What cuDNN needs to be fast, measured on an NVIDIA H200 (512 rows of 28 steps, LSTM of 1,024, bfloat16, forward and backward):

- all weights as views of one tensor, in its order; else they are copied in every call, and PyTorch warns
- a width of the input that 8 divides: 1,025 columns took 5.3 ms where 1,032 take 3.3 ms
- both directions in one call: 5.3 ms, two calls and the sequences turned around 6.2 ms
- bfloat16 asked for by the types of the tensors: PyTorch's autocast would take float16 here

It computes the same on every device, which the tests make use of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from dragoman.model.padding import HELD, last_real, reading_flags, with_flags

Weights = tuple[Tensor, Tensor, Tensor, Tensor]
"""From the input and from the state, then their biases; gates stacked along the rows."""

_ALIGNED: Final = 8


def takes_whole(inputs: Tensor) -> bool:
    """Whether layers over these inputs are run by `run_whole`: on a CUDA GPU. Processors have ways of their own."""
    return inputs.is_cuda


def run_whole(
    cell: str, directions: Sequence[Weights], inputs: Tensor, state: Sequence[Tensor], *, lengths: Tensor | None = None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run over whole sequences, (batch, time, input_size), in one direction, or forwards and backwards.

    `state` has tensors (directions, batch, hidden_size); `lengths`, (batch,), says where right padding starts. Two directions with
    `lengths` need a cell that is `HELD`. Returns the outputs, (batch, time, directions · hidden_size), and the state after each row's
    last token in reading order, like `state`. Products are in the type that autocast asks for.
    """
    kind = inputs.device.type
    exact = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else inputs.dtype
    if lengths is not None and cell in HELD:
        width = _ALIGNED - inputs.size(2) % _ALIGNED
        inputs = with_flags(inputs.to(exact), lengths, width)
        directions = [(reading_flags(cell, weights[0], width), *weights[1:]) for weights in directions]
    flat = in_one_piece(directions, exact)
    start = [part.to(exact).contiguous() for part in state]
    both = len(directions) == 2
    # Biases, one layer, no dropout, whether there will be a backward pass, directions, batch first.
    fixed = (True, 1, 0.0, torch.is_grad_enabled(), both, True)
    with torch.autocast(kind, enabled=False):
        if cell == "lstm":
            outputs, *final = torch.lstm(inputs.to(exact), start, flat, *fixed)
        else:
            function = {"gru": torch.gru, "rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}[cell]
            outputs, *final = function(inputs.to(exact), start[0], flat, *fixed)
    if lengths is not None and cell != "gru":  # whose held state is its output
        assert cell in HELD or not both, f"a backward {cell} cannot pass padding"
        forward = last_real(outputs[:, :, : start[0].size(2)], lengths).unsqueeze(0)
        final[0] = torch.cat([forward, final[0][1:]])
    return outputs, tuple(final)


def in_one_piece(directions: Sequence[Weights], exact: torch.dtype) -> list[Tensor]:
    """Weights of each direction in torch's order, as views of one tensor in cuDNN's: all matrices, then all biases."""
    order = [weights[part] for parts in ((0, 1), (2, 3)) for weights in directions for part in parts]
    whole = torch.cat([weight.flatten() for weight in order]).to(exact)
    pieces = torch.split(whole, [weight.numel() for weight in order])
    parts = [piece.view(weight.shape) for piece, weight in zip(pieces, order, strict=True)]
    biases = 2 * len(directions)
    return [part for i in range(0, biases, 2) for part in (*parts[i : i + 2], *parts[biases + i : biases + i + 2])]

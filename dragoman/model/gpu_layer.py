"""A recurrent layer as a GPU wants it: one call for both directions, weights in one piece; knows no stacks and no seams.

What cuDNN needs to be fast, measured on an NVIDIA H200 (512 rows of 28 steps, LSTM of 1,024, bfloat16, forward and backward):

- all weights as views of one tensor, in its order; else they are copied in every call, and PyTorch warns
- a width of the input that 8 divides: 1,025 columns took 5.3 ms where 1,032 take 3.3 ms
- both directions in one call: 5.3 ms, two calls and the sequences turned around 6.2 ms
- bfloat16 asked for by the types of the tensors: PyTorch's autocast would take float16 here

It computes the same on every device, which the tests make use of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress
from typing import Any, Final

import torch
from torch import Tensor

from dragoman.model.padding import HELD, flag_columns, last_real, with_flags

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
    flags = 0
    if lengths is not None and cell in HELD:
        flags = _ALIGNED - inputs.size(2) % _ALIGNED
        inputs = with_flags(inputs.to(exact), lengths, flags)
    flat = in_one_piece(cell, directions, exact, flags=flags)
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


def in_one_piece(cell: str, directions: Sequence[Weights], exact: torch.dtype, *, flags: int = 0) -> list[Tensor]:
    """Weights of each direction in torch's order, as views of one tensor in cuDNN's: all matrices, then all biases.

    With `flags` the weights from the input have so many more columns, by which the first holds the state at padding.
    """
    order = [weights[part] for parts in ((0, 1), (2, 3)) for weights in directions for part in parts]
    parts: tuple[Tensor, ...] = _OnePiece.apply(cell, exact, flags, *order)  # type: ignore[no-untyped-call]
    biases = 2 * len(directions)
    return [part for i in range(0, biases, 2) for part in (*parts[i : i + 2], *parts[biases + i : biases + i + 2])]


class _OnePiece(torch.autograd.Function):
    """Copies of weights in one tensor; few passes over them, in which they become as exact as `exact`.

    Of matrices and then as many biases, every other matrix reads the input, from the first on. Gradients are as exact as the weights.
    """

    @staticmethod
    def forward(ctx: Any, cell: str, exact: torch.dtype, flags: int, *weights: Tensor) -> tuple[Tensor, ...]:
        reading = range(0, len(weights) // 2, 2) if flags else ()
        shapes = [[*weight.shape] for weight in weights]
        for index in reading:
            shapes[index][1] += flags
        sizes = [math.prod(shape) for shape in shapes]
        pieces = torch.split(weights[0].new_empty(sum(sizes), dtype=exact), sizes)
        parts = [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
        for index in reading:
            parts[index][:, -flags:] = flag_columns(cell, weights[index], flags)
        _copy([part.narrow(-1, 0, weight.size(-1)) for part, weight in zip(parts, weights, strict=True)], weights)
        ctx.like = [(weight.shape, weight.dtype) for weight in weights]
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        like = [grad.new_empty(shape, dtype=exact) for grad, (shape, exact) in zip(grads, ctx.like, strict=True)]
        _copy(like, [grad.narrow(-1, 0, weight.size(-1)) for grad, weight in zip(grads, like, strict=True)])
        return (None, None, None, *like)


def _copy(to: Sequence[Tensor], what: Sequence[Tensor]) -> None:
    """Copy tensors to others, those without gaps in one pass."""
    gapless = [one.is_contiguous() and other.is_contiguous() for one, other in zip(to, what, strict=True)]
    torch._foreach_copy_([*compress(to, gapless)], [*compress(what, gapless)])
    for one, other, done in zip(to, what, gapless, strict=True):
        if not done:
            one.copy_(other)

"""Matrix products for batches of many shapes, made from shapes that come again; knows no model.

What a processor multiplies in bfloat16 is multiplied by oneDNN, which writes code for every shape that it meets and keeps that of few
(`dragoman.training.machine.bound_caches`). The next batch has other lengths, so that a seventh of a step went into such code: half a
millisecond to one for a product, fifteen times in a step of sixty milliseconds (an English-French model of 256 units in one layer).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_STEPS_PER_OCTAVE = 8
"""How many numbers of rows there are between one power of two and the next: with eight, a sixteenth is added on average."""


def writes_code(factor: Tensor) -> bool:
    """Whether code is written for the shape of a product with `factor`."""
    return factor.device.type == "cpu" and factor.dtype == torch.bfloat16


def rounded(rows: int, *, down: bool = False) -> int:
    """The next number of rows that comes again, or the last one: 8, 16, 24, ... 128, 144, ... 256, 288, ..."""
    step = max(_STEPS_PER_OCTAVE, 1 << max(0, (rows - 1).bit_length() - 4))
    return rows // step * step if down else -(-rows // step) * step


def with_rows(inputs: Tensor, rows: int) -> Tensor:
    """(n, width) -> (rows, width), with rows of zeros after the others."""
    return inputs if len(inputs) == rows else nn.functional.pad(inputs, (0, 0, 0, rows - len(inputs)))


def batched(left: Tensor, right: Tensor) -> Tensor:
    """(..., n, k) · (..., k, m) of many small matrices: in float32 where autocast would have code written for each of their shapes.

    With an n of 1, as in a single step, the shape comes again in the next step.
    """
    if not _converts(left) or left.size(-2) == 1:
        return left @ right
    with torch.autocast("cpu", enabled=False):
        return left.float() @ right.float()


class Linear(nn.Linear):
    """`nn.Linear`; where code is written for shapes, with rows of zeros up to one that comes again.

    A single step's inputs, (batch, width) or (batch, 1, width), have a shape that comes again in the next step.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(..., in_features) -> (..., out_features)."""
        given = input.to(torch.get_autocast_dtype("cpu")) if _converts(input) else input
        if not writes_code(given) or given.dim() == 2 or given.size(1) == 1:
            return super().forward(given)
        rows = given.flatten(0, -2)
        outputs = super().forward(with_rows(rows, rounded(len(rows))))
        return outputs[: len(rows)].view(*input.shape[:-1], self.out_features)


def _converts(factor: Tensor) -> bool:
    return factor.device.type == "cpu" and torch.is_autocast_enabled("cpu")

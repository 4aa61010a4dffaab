"""What padding must not change: last states at each row's last real token, and states that are held through padding."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

# Added to the gates at padding: sigmoid gives exactly 0 and 1, so that a state passes padding unchanged.
_SHUT: Final = 1e4
HELD: Final = {"lstm": (-_SHUT, _SHUT, 0.0, 0.0), "gru": (0.0, _SHUT, 0.0)}
"""What is added to each gate at padding, in torch's order: an LSTM's input gate is shut and its forget gate opened, a GRU's update
gate opened. Other cells have no gate that could hold a state."""


def last_real(outputs: Tensor, lengths: Tensor) -> Tensor:
    """Each row's output at its last real position: (batch, time, width) -> (batch, width)."""
    index = (lengths - 1).view(-1, 1, 1).expand(-1, 1, outputs.size(2))
    return outputs.gather(1, index).squeeze(1)


def with_flags(inputs: Tensor, lengths: Tensor, width: int = 1) -> Tensor:
    """`inputs`, (batch, time, size), with `width` more features that are 1 at padding."""
    padding = torch.arange(inputs.size(1), device=inputs.device) >= lengths.unsqueeze(1)  # (batch, time)
    return torch.cat([inputs, padding.unsqueeze(2).to(inputs.dtype).expand(-1, -1, width)], dim=2)


def flag_columns(cell: str, weight: Tensor, width: int = 1) -> Tensor:
    """(gates, width): columns beside a cell's weights from its input, by which the first of `width` flags holds the state."""
    gates = weight.new_zeros(len(HELD[cell]), weight.size(0) // len(HELD[cell]), width)
    for gate, value in zip(gates, HELD[cell], strict=True):
        if value:
            gate[:, 0] = value
    return gates.flatten(0, 1)

"""One recurrent layer in one direction: fused over a whole sequence, or one step at a time; knows no text.

Layers are stacked one by one (never `num_layers=2`), so that dropout, norms and residuals have a seam between them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from dragoman.model.gpu_layer import Weights, run_whole, takes_whole
from dragoman.model.layers import dropout_mask
from dragoman.model.padding import flag_columns, last_real, with_flags

LayerState = tuple[Tensor, ...]
"""(h,) or, for an LSTM, (h, c); each (batch, hidden_size)."""


def _module(cell: str, input_size: int, hidden_size: int) -> nn.RNN | nn.GRU | nn.LSTM:
    if cell == "lstm":
        return nn.LSTM(input_size, hidden_size, batch_first=True)
    if cell == "gru":
        return nn.GRU(input_size, hidden_size, batch_first=True)
    return nn.RNN(input_size, hidden_size, nonlinearity=cell.removeprefix("rnn_"), batch_first=True)


def reverse_within_length(sequence: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each row's first `lengths[i]` positions and leave its padding where it is.

    `sequence` is (batch, time) or (batch, time, width); `lengths` is (batch,). Applying it twice changes nothing.
    """
    position = torch.arange(sequence.size(1), device=sequence.device)
    mirrored = lengths.unsqueeze(1) - 1 - position  # (batch, time)
    index = torch.where(mirrored >= 0, mirrored, position)
    if sequence.dim() == 2:
        return sequence.gather(1, index)
    rows = torch.arange(sequence.size(0), device=sequence.device).unsqueeze(1) * sequence.size(1)
    reversed_rows: Tensor = _Exchanged.apply(sequence, (rows + index).flatten())  # type: ignore[no-untyped-call]
    return reversed_rows


class _Exchanged(torch.autograd.Function):
    """(batch, time, width) with places that are exchanged in pairs, so that gradients go the same way: whole rows are copied."""

    @staticmethod
    def forward(ctx: Any, sequence: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        return sequence.flatten(0, 1).index_select(0, places).view_as(sequence)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        return grads[0].flatten(0, 1).index_select(0, places).view_as(grads[0]), None


class RecurrentLayer(nn.Module):
    """A tanh or relu RNN (Elman 1990), GRU (Cho et al. 2014) or LSTM (Hochreiter and Schmidhuber 1997) layer.

    The GRU is torch's: its reset gate acts after the matrix product, as in cuDNN; Cho et al. apply it before. In training
    `recurrent_dropout` is the share of the weights from the state that a pass leaves out.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, *, recurrent_dropout: float = 0.0) -> None:
        super().__init__()
        self.cell = cell
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.recurrent_dropout = recurrent_dropout
        self.rnn = _module(cell, input_size, hidden_size)
        self.reset_parameters()

    @property
    def state_count(self) -> int:
        """Tensors in a state: 2 for an LSTM, else 1."""
        return 2 if self.cell == "lstm" else 1

    @property
    def weights(self) -> Weights:
        """From the input and from the state, then their biases, in torch's layout: gates stacked along the rows."""
        rnn = self.rnn
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        return cast("Weights", tuple(getattr(rnn, name) for name in names))

    def mask(self) -> Tensor | None:
        """A pass's mask of the weights from the state, (gates · hidden_size, hidden_size); None outside training.

        It is the same at every step and for every row (DropConnect, Merity et al. 2018), so that layers stay one call.
        """
        if not self.training or self.recurrent_dropout == 0:
            return None
        return dropout_mask(self.weights[1], self.hidden_size, share=self.recurrent_dropout)

    def dropped(self, mask: Tensor | None) -> Weights:
        """The weights under a mask of `mask()`."""
        from_input, from_state, input_bias, state_bias = self.weights
        return from_input, from_state if mask is None else from_state * mask, input_bias, state_bias

    def reset_parameters(self) -> None:
        """Glorot weights from the input, orthogonal ones in the recurrence, a forget gate that starts open."""
        from_input, from_state, input_bias, state_bias = self.weights
        for gate in torch.split(from_input, self.hidden_size):
            nn.init.xavier_uniform_(gate)
        for gate in torch.split(from_state, self.hidden_size):
            nn.init.orthogonal_(gate)
        nn.init.zeros_(input_bias)
        nn.init.zeros_(state_bias)
        if self.cell == "lstm":  # torch's gate order is input, forget, cell, output
            with torch.no_grad():
                input_bias[self.hidden_size : 2 * self.hidden_size] = 1

    def zero_state(self, inputs: Tensor) -> LayerState:
        """The state before the first token, for the rows of `inputs`, (batch, ...)."""
        zeros = inputs.new_zeros(inputs.size(0), self.hidden_size)
        return (zeros,) * self.state_count

    def forward(
        self,
        inputs: Tensor,
        state: LayerState | None = None,
        *,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, LayerState]:
        """Run over a whole sequence in one fused call.

        `inputs` is (batch, time, input_size); `lengths`, (batch,), says where right padding starts (None: no
        padding); `mask` is one of `mask()`. Returns the outputs, (batch, time, hidden_size), and the state after each row's
        last real token. What stands at padding positions of the outputs means nothing, and influences nothing else.
        """
        state = self.zero_state(inputs) if state is None else state
        weights = self.dropped(mask)
        if takes_whole(inputs):
            start = [part.unsqueeze(0) for part in state]
            outputs, final = run_whole(self.cell, [weights], inputs, start, lengths=lengths)
            return outputs, tuple(part.squeeze(0) for part in final)
        if lengths is None or self.cell != "lstm":
            outputs, final = self._run(inputs, state, weights)
            if lengths is not None:
                final = (last_real(outputs, lengths),)
            return outputs, final
        outputs, (_, c) = self._run_holding_cell(inputs, state, lengths, weights)
        return outputs, (last_real(outputs, lengths), c)

    def step(self, inputs: Tensor, state: LayerState, *, mask: Tensor | None = None) -> LayerState:
        """Run one step: (batch, input_size) and a state in, the next state out; its first tensor is the output."""
        weights = self.dropped(mask)
        if self.cell == "lstm":
            return torch.lstm_cell(inputs, state, *weights)
        if self.cell == "gru":
            return (torch.gru_cell(inputs, state[0], *weights),)
        run = torch.rnn_tanh_cell if self.cell == "rnn_tanh" else torch.rnn_relu_cell
        return (run(inputs, state[0], *weights),)

    def _run(self, inputs: Tensor, state: LayerState, weights: Weights) -> tuple[Tensor, LayerState]:
        start = [part.unsqueeze(0).contiguous() for part in state]  # (batch, hidden) -> (1, batch, hidden)
        # Biases, one layer, no dropout, in training or not, one direction, batch first.
        fixed = (True, 1, 0.0, self.training, False, True)
        if self.cell == "lstm":
            outputs, h, c = torch.lstm(inputs, start, weights, *fixed)
            return outputs, (h.squeeze(0), c.squeeze(0))
        run = {"gru": torch.gru, "rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}[self.cell]
        outputs, h = run(inputs, start[0], weights, *fixed)
        return outputs, (h.squeeze(0),)

    def _run_holding_cell(
        self, inputs: Tensor, state: LayerState, lengths: Tensor, weights: Weights
    ) -> tuple[Tensor, LayerState]:
        """An LSTM over padded rows whose final c is the one after the last real token, in the same fused call.

        The fused call gives every h but only the last c. One more input feature, 1 at padding, shuts the input gate
        and opens the forget gate wide, so that c is carried through padding exactly.
        """
        flagged = with_flags(inputs, lengths)
        from_input, *rest = weights
        flat = [torch.cat([from_input, flag_columns("lstm", from_input)], dim=1), *rest]
        start = [part.unsqueeze(0).contiguous() for part in state]
        outputs, h, c = torch.lstm(flagged, start, flat, True, 1, 0.0, self.training, False, True)
        return outputs, (h.squeeze(0), c.squeeze(0))

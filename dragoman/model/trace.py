"""A teacher-forced pass, one step at a time, that keeps every state with its gradient: for looking inside.

The fused pass hides the recurrence, so its outputs do not show what flows back through time. Here each state is a tensor
of its own, and after `loss.backward()` its `.grad` is the whole gradient that reached it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.model.attention import Memory
from dragoman.model.encoder import Encoded
from dragoman.model.recurrent import LayerState, RecurrentLayer
from dragoman.model.seq2seq import Seq2Seq


@dataclass(frozen=True)
class Trace:
    """One sentence pair, unrolled in time."""

    encoder_states: tuple[Tensor, ...]
    """The top layer's forward-direction h after each source token in reading order; each (1, width)."""
    context: Tensor
    """(1, hidden_size): the context vector."""
    decoder_states: tuple[Tensor, ...]
    """The top layer's h after each target input; each (1, hidden_size)."""
    log_probs: Tensor
    """(1, target_length, vocab)."""


def trace(model: Seq2Seq, source_ids: Tensor, target_input: Tensor) -> Trace:
    """Unroll `model` over one pair: ids (1, source_length) without padding and (1, target_length)."""
    encoder, decoder = model.encoder, model.decoder
    lengths = torch.tensor([source_ids.size(1)], device=source_ids.device)
    inputs = encoder.embed(source_ids, lengths)  # (1, source_length, embedding)
    finals: list[LayerState] = []
    states: list[Tensor] = []
    for index, seam in enumerate(encoder.seams):
        states, final = _unroll(encoder.forward_layers[index], inputs)
        outputs = torch.stack(states, dim=1)
        if len(encoder.backward_layers):
            backward, backward_final = _unroll(encoder.backward_layers[index], inputs.flip(1))
            outputs = torch.cat([outputs, torch.stack(backward, dim=1).flip(1)], dim=2)
            final = tuple(torch.cat(pair, dim=1) for pair in zip(final, backward_final, strict=True))
        finals.append(final)
        inputs = seam(inputs, outputs, None)
    aligned = inputs.flip(1) if encoder.reverse_source else inputs
    mask = torch.ones(aligned.shape[:2], dtype=torch.bool, device=aligned.device)
    memory, state = decoder.start(Encoded(Memory(aligned, mask, finals[-1][0]), tuple(finals)))
    decoder_states, features, weights = [], [], []
    for position in range(target_input.size(1)):
        feature, weight, state = decoder.step(target_input[:, position], memory, state)
        decoder_states.append(_keep(state.layers[-1][0]))
        features.append(feature)
        weights.append(weight)
    attention = torch.stack([w for w in weights if w is not None], dim=1) if decoder.attention is not None else None
    log_probs = decoder.log_probs(torch.stack(features, dim=1), attention, model.copied(source_ids))
    return Trace(tuple(states), memory.context, tuple(decoder_states), log_probs)


def _unroll(layer: RecurrentLayer, inputs: Tensor) -> tuple[list[Tensor], LayerState]:
    state: LayerState = layer.zero_state(inputs)
    states = []
    for position in range(inputs.size(1)):
        state = layer.step(inputs[:, position], state)
        states.append(_keep(state[0]))
    return states, state


def _keep(state: Tensor) -> Tensor:
    if state.requires_grad:
        state.retain_grad()
    return state

"""From batches to the gradients of one update: what is minimised and how it is computed; knows no optimiser or schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dragoman.corpus.batching import Batch
from dragoman.model.loss import Loss, chunked_cross_entropy, chunked_divergence
from dragoman.model.seq2seq import Output, Seq2Seq
from dragoman.model.truncation import Cut


@dataclass(frozen=True)
class Objective:
    """What one update minimises."""

    label_smoothing: float = 0.0
    """Probability mass that is spread over the whole vocabulary."""
    own_share: float = 0.0
    """Share of the decoder's inputs that the model draws itself (scheduled sampling)."""
    bptt: int = 0
    """Decoder steps that a gradient flows back through at most; 0 sets no limit."""
    r_drop: float = 0.0
    """Weight of the divergence between two passes with different dropout; 0 makes one pass."""
    bfloat16: bool = False
    """Whether matrix products are in bfloat16; weights, their gradients and all sums of the loss stay in float32."""
    recompute: bool = False
    """Whether the backward pass computes the activations within layers again instead of finding them in memory."""
    share: float = 1.0
    """What all of this counts beside another term."""

    def autocast(self, device: torch.device) -> torch.autocast:
        """A context for the forward pass in which products are as exact as asked for."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.bfloat16)

    @property
    def passes(self) -> int:
        """How often each pair goes through the model."""
        return 2 if self.r_drop else 1


@dataclass(frozen=True)
class Tensors:
    """A batch on the device."""

    source_ids: Tensor
    """(batch, source_length)"""
    source_lengths: Tensor
    """(batch,)"""
    target_input: Tensor
    """(batch, target_length): `<s>` and the target."""
    target_output: Tensor
    """(batch, target_length): the target and `</s>`."""
    real: NDArray[np.bool_]
    """(batch, target_length): which tokens of the target are no padding. On the processor: to ask a GPU is to wait for it."""

    def tokens(self, chunk: slice = slice(None)) -> Tensor:
        """(tokens,): the places of the real tokens of some positions, numbered across rows and positions."""
        return torch.from_numpy(np.flatnonzero(self.real[:, chunk])).to(self.target_output.device)

    @classmethod
    def of(cls, batch: Batch, device: torch.device, *, times: int = 1) -> Tensors:
        """Copy a batch to `device`, all its rows so many times one after the other."""
        arrays = (batch.source_ids, batch.source_lengths, batch.target_input, batch.target_output)
        tensors = [torch.from_numpy(array).to(device, torch.long) for array in arrays]
        real = np.tile(batch.target_output != 0, (times, 1))
        one, two, three, four = (torch.cat([tensor] * times) if times > 1 else tensor for tensor in tensors)
        return cls(one, two, three, four, real)


PLAIN = Objective()
"""Teacher-forced cross-entropy."""


def batch_loss(model: Seq2Seq, batch: Batch, device: torch.device, objective: Objective = PLAIN) -> Loss:
    """The loss of a batch, over its real tokens only: padding never reaches the output layer."""
    tensors = Tensors.of(batch, device, times=objective.passes)
    tokens = tensors.tokens()  # before the model runs: a copy waits for what was begun
    with objective.autocast(device):
        output = model(
            tensors.source_ids,
            tensors.source_lengths,
            tensors.target_input,
            own_share=objective.own_share,
            recompute=objective.recompute,
        )
    return _token_loss(model, output, tensors.target_output, tokens, objective)


def add_gradients(
    model: Seq2Seq, batches: Sequence[Batch], device: torch.device, objective: Objective, *, tokens: int | None = None
) -> Loss:
    """Add the gradient of the mean loss per token over all `batches` to the parameters' `grad`; return the sums.

    Every token counts the same, whichever batch it stands in: each batch's sum is divided by the tokens of all, so
    several batches give the gradient of the one batch that holds all their pairs. `tokens` are those of all processes'
    batches, where others have some too; then the sum over processes is that gradient.
    """
    tokens = tokens or sum(batch.target_tokens for batch in batches)
    sums = []
    for batch in batches:
        if objective.bptt:
            sums += _add_truncated(model, Tensors.of(batch, device, times=objective.passes), tokens, objective)
        else:
            sums.append(_backward(batch_loss(model, batch, device, objective), tokens, objective.share))
    nothing = torch.zeros((), device=device)
    objectives = torch.stack([nothing, *(loss.objective for loss in sums)])
    nlls = torch.stack([nothing, *(loss.nll for loss in sums)])
    return Loss(objectives.sum(), nlls, tokens)


def _backward(loss: Loss, tokens: int, share: float) -> Loss:
    """Add `share` of a loss's gradient, divided by all `tokens`; returns the loss without its graph."""
    (loss.objective * (share / tokens)).backward()  # type: ignore[no-untyped-call]
    return Loss(loss.objective.detach(), loss.nll, loss.tokens)


def _add_truncated(model: Seq2Seq, batch: Tensors, tokens: int, objective: Objective) -> list[Loss]:
    """Truncated back-propagation through time: the decoder runs and is differentiated a chunk at a time.

    The state crosses from chunk to chunk, its gradient does not; the encoder gets the gradients of all chunks.
    """
    device = batch.source_ids.device
    with objective.autocast(device):
        memory, state = model.encode(batch.source_ids, batch.source_lengths, recompute=objective.recompute)
    cut = Cut()
    memory, state = cut.memory(memory), cut.state(state)
    masks = model.decoder.masks(memory.context)
    sums = []
    for start in range(0, batch.target_input.size(1), objective.bptt):
        chunk = slice(start, start + objective.bptt)
        with objective.autocast(device):
            features, attention, state = model.decoder(
                batch.target_input[:, chunk], memory, state, masks=masks, recompute=objective.recompute
            )
        output = Output(features, attention, memory.copied)
        loss = _token_loss(model, output, batch.target_output[:, chunk], batch.tokens(chunk), objective)
        sums.append(_backward(loss, tokens, objective.share))
        state = state.detach()
    cut.backward()
    return sums


def _token_loss(model: Seq2Seq, given: Output, target_output: Tensor, tokens: Tensor, objective: Objective) -> Loss:
    """The loss of what the decoder gave, over the real `tokens` (`Tensors.tokens`) of `target_output`, (batch, target_length).

    With two passes, the loss is their mean, and half the weighted divergence between them: half of R-Drop's, so that
    gradients are as large as those of one pass.
    """
    output = model.decoder.output
    pointer = model.decoder.pointer(given.features, given.attention, given.copied)
    pointer = None if pointer is None else pointer.of(tokens)
    features = given.features.flatten(0, 1).index_select(0, tokens)
    features = features.to(torch.bfloat16) if objective.bfloat16 else features
    loss = chunked_cross_entropy(
        features,
        output.weight,
        output.bias,
        target_output.flatten().index_select(0, tokens),
        label_smoothing=objective.label_smoothing,
        pointer=pointer,
    )
    if objective.passes == 1:
        return loss
    one, other = features.chunk(2)
    first, second = slice(0, len(one)), slice(len(one), None)
    pointers = (None, None) if pointer is None else (pointer.at(first), pointer.at(second))
    apart = chunked_divergence(one, other, output.weight, output.bias, pointers=pointers)
    return Loss((loss.objective + objective.r_drop * apart) / 2, loss.nll / 2, loss.tokens // 2)

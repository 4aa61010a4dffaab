"""From batches to the gradients of one update: what is minimised and how it is computed; knows no optimiser or schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dragoman.corpus.batching import Batch
from dragoman.model.loss import Loss, chunked_cross_entropy
from dragoman.model.seq2seq import Seq2Seq


@dataclass(frozen=True)
class Objective:
    """What one update minimises."""

    label_smoothing: float = 0.0
    """Probability mass that is spread over the whole vocabulary."""
    own_share: float = 0.0
    """Share of the decoder's inputs that the model draws itself (scheduled sampling)."""


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

    @classmethod
    def of(cls, batch: Batch, device: torch.device) -> Tensors:
        """Copy a batch to `device`."""
        arrays = (batch.source_ids, batch.source_lengths, batch.target_input, batch.target_output)
        return cls(*(torch.from_numpy(array).to(device, torch.long) for array in arrays))


PLAIN = Objective()
"""Teacher-forced cross-entropy."""


def batch_loss(model: Seq2Seq, batch: Batch, device: torch.device, objective: Objective = PLAIN) -> Loss:
    """The loss of a batch, over its real tokens only: padding never reaches the output layer."""
    tensors = Tensors.of(batch, device)
    output = model(tensors.source_ids, tensors.source_lengths, tensors.target_input, own_share=objective.own_share)
    return _token_loss(model, output.features, tensors.target_output, objective)


def add_gradients(model: Seq2Seq, batches: Sequence[Batch], device: torch.device, objective: Objective) -> Loss:
    """Add the gradient of the mean loss per token over all `batches` to the parameters' `grad`; return the sums.

    Every token counts the same, whichever batch it stands in: each batch's sum is divided by the tokens of all, so
    several batches give the gradient of the one batch that holds all their pairs.
    """
    tokens = sum(batch.target_tokens for batch in batches)
    sums = []
    for batch in batches:
        loss = batch_loss(model, batch, device, objective)
        (loss.objective / tokens).backward()  # type: ignore[no-untyped-call]
        sums.append(loss)
    total = torch.stack([loss.objective.detach() for loss in sums]).sum()
    return Loss(total, sum(loss.cross_entropy for loss in sums), tokens)


def _token_loss(model: Seq2Seq, features: Tensor, target_output: Tensor, objective: Objective) -> Loss:
    """The loss of features, (batch, target_length, feature_size), over the real tokens of `target_output`."""
    real = target_output != 0
    output = model.decoder.output
    return chunked_cross_entropy(
        features[real], output.weight, output.bias, target_output[real], label_smoothing=objective.label_smoothing
    )

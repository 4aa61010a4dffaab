"""Cross-entropy over real tokens, computed together with the output layer in chunks; knows nothing of batches.

The logits of all tokens over the whole vocabulary are the largest tensor of training by far. Here they exist for one
chunk of tokens at a time, forward and backward: the gradients are formed while the chunk is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_CHUNK_VALUES = 2**23
"""Logits held at once: 32 MiB in float32."""


@dataclass(frozen=True)
class Loss:
    """Sums over tokens, in nats; divide by `tokens` for means."""

    objective: Tensor
    """What training minimises: cross-entropy with the smoothed labels. The only part with a gradient."""
    cross_entropy: float
    """Negative log-likelihood of the true tokens."""
    tokens: int
    """Real target tokens, `</s>` included."""


def chunked_cross_entropy(
    features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, *, label_smoothing: float = 0.0
) -> Loss:
    """Cross-entropy of softmax(features · weightᵀ + bias) against ids.

    `features` is (tokens, width), `weight` (vocab, width), `bias` (vocab,), `target` (tokens,): real tokens only.
    `label_smoothing` spreads that much of each label evenly over the vocabulary (Szegedy et al. 2016, section 7).
    """
    objective, cross_entropy = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        features, weight, bias, target, label_smoothing
    )
    return Loss(objective, float(cross_entropy), target.numel())


def chunked_log_probs(features: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    """(tokens,): the log-probability of each id of `target`, (tokens,), given its features, (tokens, width).

    The logits exist for a chunk at a time: the backward pass computes them again.
    """
    rows = max(1, _CHUNK_VALUES // weight.size(0))
    chunks = [
        checkpoint(
            _log_probs, features[start : start + rows], weight, bias, target[start : start + rows], use_reentrant=False
        )
        for start in range(0, len(target), rows)
    ]
    return torch.cat(chunks)


def _log_probs(features: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    logits = torch.addmm(bias, features, weight.t())
    return logits.gather(1, target.unsqueeze(1)).squeeze(1) - torch.logsumexp(logits, dim=1)


def chunked_divergence(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The mean of both Kullback-Leibler divergences between two passes' distributions, summed over tokens.

    `one` and `other` are features of the same tokens, (tokens, width). The logits exist for a chunk at a time: the
    backward pass computes them again.
    """
    rows = max(1, _CHUNK_VALUES // (2 * weight.size(0)))
    total = one.new_zeros(())
    for start in range(0, len(one), rows):
        chunks = one[start : start + rows], other[start : start + rows]
        total = total + checkpoint(_divergence, *chunks, weight, bias, use_reentrant=False)
    return total


def _divergence(one: Tensor, other: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    p, q = (torch.log_softmax(torch.addmm(bias, features, weight.t()), dim=1) for features in (one, other))
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The sum of the loss, with its gradients formed in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        vocab = weight.size(0)
        rows = max(1, _CHUNK_VALUES // vocab)
        learning = any(ctx.needs_input_grad[:3])
        to_features = torch.empty_like(features) if learning else None
        to_weight = torch.zeros_like(weight) if learning else None
        to_bias = torch.zeros_like(bias) if learning else None
        objective = features.new_zeros(())
        cross_entropy = features.new_zeros(())
        even = smoothing / vocab
        weight_sum, bias_sum = weight.sum(0), bias.sum()  # the even part of the labels meets only these
        for start in range(0, len(target), rows):
            chunk, labels = features[start : start + rows], target[start : start + rows].unsqueeze(1)
            logits = torch.addmm(bias, chunk, weight.t())
            true = logits.gather(1, labels)
            normalizer = torch.logsumexp(logits, dim=1, keepdim=True)
            nll = (normalizer - true).sum()
            cross_entropy += nll
            objective += (1 - smoothing) * nll
            if smoothing:
                objective += smoothing * normalizer.sum() - even * ((chunk @ weight_sum).sum() + len(chunk) * bias_sum)
            if to_features is None or to_weight is None or to_bias is None:
                continue
            slope = logits.sub_(normalizer).exp_()  # d objective / d logits = p - smoothed label, the even part apart
            slope.scatter_add_(1, labels, slope.new_full(labels.shape, smoothing - 1))
            torch.mm(slope, weight, out=to_features[start : start + rows])
            to_weight.addmm_(slope.t(), chunk)
            to_bias += slope.sum(0)
        if to_features is not None and to_weight is not None and to_bias is not None and smoothing:
            to_features -= even * weight_sum
            to_weight -= even * features.sum(0)
            to_bias -= even * len(target)
        if learning:
            ctx.save_for_backward(to_features, to_weight, to_bias)
        ctx.mark_non_differentiable(cross_entropy)
        return objective, cross_entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0]
        return (*(part * scale for part in ctx.saved_tensors), None, None)

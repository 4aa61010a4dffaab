"""Cross-entropy over real tokens, computed together with the output layer in chunks; knows nothing of batches.

The logits of all tokens over the whole vocabulary are the largest tensor of training by far. Here they exist for one
chunk of tokens at a time, forward and backward: the gradients are formed while the chunk is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

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
        for start in range(0, len(target), rows):
            chunk, labels = features[start : start + rows], target[start : start + rows].unsqueeze(1)
            log_probs = torch.log_softmax(torch.addmm(bias, chunk, weight.t()), dim=1)
            nll = -log_probs.gather(1, labels).sum()
            cross_entropy += nll
            objective += (1 - smoothing) * nll - smoothing / vocab * log_probs.sum() if smoothing else nll
            if to_features is None or to_weight is None or to_bias is None:
                continue
            slope = log_probs.exp_()  # d objective / d logits = p - smoothed label
            if smoothing:
                slope -= smoothing / vocab
            slope.scatter_add_(1, labels, slope.new_full(labels.shape, smoothing - 1))
            torch.mm(slope, weight, out=to_features[start : start + rows])
            to_weight.addmm_(slope.t(), chunk)
            to_bias += slope.sum(0)
        if learning:
            ctx.save_for_backward(to_features, to_weight, to_bias)
        ctx.mark_non_differentiable(cross_entropy)
        return objective, cross_entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale = grads[0]
        return (*(part * scale for part in ctx.saved_tensors), None, None)

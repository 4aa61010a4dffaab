"""Cross-entropy over real tokens, computed together with the output layer in chunks; knows nothing of batches.

The logits of all tokens over the whole vocabulary are the largest tensor of training by far. Here they exist for one
chunk of tokens at a time, forward and backward: the gradients are formed while the chunk is at hand.

A model that copies (`dragoman.model.pointer`) is judged by the whole distribution, of which only the true word's copied part is
computed: it and the vocabulary's share are numbers per token.

Features in half precision ask for products in half precision. Everything that is summed over the vocabulary or over
tokens is float32 all the same, and so are the gradients of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dragoman.model.pointer import Pointer
from dragoman.model.products import rounded, with_rows, writes_code

_CHUNK_VALUES = 2**21
"""Logits held at once: 8 MiB in float32, which a processor's cache holds from one pass over them to the next."""
_GPU_BYTES_A_VALUE = 256
"""On a GPU, as many as it has bytes of memory for so many each: few chunks are few calls, and in bfloat16 what is held takes a 64th.
An H200 took 7.6 ms for the loss of 14,336 tokens over 32,000 words with 2**27 logits at once, and 6.7 ms with 2**29."""

_LEAST = 1e-37
"""The smallest probability of a true word whose logarithm is taken on a GPU."""
_TINY = 1e-30
"""Divides where nothing is generated, as all is copied."""


@dataclass(frozen=True)
class Loss:
    """Sums over tokens, in nats; divide by `tokens` for means."""

    objective: Tensor
    """What training minimises: cross-entropy with the smoothed labels. The only part with a gradient."""
    nll: Tensor
    """Negative log-likelihood of the true tokens; of each batch, where there are several."""
    tokens: int
    """Real target tokens, `</s>` included."""

    @property
    def cross_entropy(self) -> float:
        """The negative log-likelihood as a number; to read it is to wait for a GPU."""
        return float(self.nll.cpu().sum(dtype=torch.float64))  # which not every GPU has


def chunked_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    pointer: Pointer | None = None,
) -> Loss:
    """Cross-entropy of softmax(features · weightᵀ + bias), or of its mixture with what is copied, against ids.

    `features` is (tokens, width), `weight` (vocab, width), `bias` (vocab,), `target` (tokens,): real tokens only, of
    which `pointer` says what can be copied. Features in half precision are multiplied in half precision, whatever the
    weights are in. `label_smoothing` spreads that much of each label evenly over the vocabulary
    (Szegedy et al. 2016, section 7); with a pointer the even part is asked of the softmax alone, so that it never
    decides whether to copy.
    """
    generated = None if pointer is None else pointer.log_generated()
    copied = None if pointer is None else pointer.log_copied(target)
    objective, cross_entropy = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        features, weight, bias, target, label_smoothing, generated, copied
    )
    return Loss(objective, cross_entropy, target.numel())


def chunked_log_probs(
    features: Tensor, weight: Tensor, bias: Tensor, target: Tensor, *, pointer: Pointer | None = None
) -> Tensor:
    """(tokens,): the log-probability of each id of `target`, (tokens,), given its features, (tokens, width).

    The logits exist for a chunk at a time: the backward pass computes them again. `pointer` is what can be copied.
    """
    rows = _rows_at_once(weight)
    chunks = [
        checkpoint(
            _log_probs, features[start : start + rows], weight, bias, target[start : start + rows], use_reentrant=False
        )
        for start in range(0, len(target), rows)
    ]
    said = torch.cat(chunks)
    return said if pointer is None else torch.logaddexp(pointer.log_generated() + said, pointer.log_copied(target))


def _rows_at_once(weight: Tensor) -> int:
    """Tokens of a chunk, whose logits are held over the whole vocabulary of `weight`, (vocab, width)."""
    values = _CHUNK_VALUES
    if weight.is_cuda:
        values = max(values, torch.cuda.get_device_properties(weight.device).total_memory // _GPU_BYTES_A_VALUE)
    return max(1, values // weight.size(0))


def _on_gpu(weight: Tensor) -> bool:
    """Whether passes over the vocabulary cost more than products with it, so that few and fused ones are better than in place."""
    return weight.is_cuda


def _log_probs(features: Tensor, weight: Tensor, bias: Tensor, target: Tensor) -> Tensor:
    logits = _logits(features, weight.to(features.dtype), bias)
    return logits.gather(1, target.unsqueeze(1)).squeeze(1) - torch.logsumexp(logits, dim=1)


def chunked_divergence(
    one: Tensor,
    other: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    pointers: tuple[Pointer | None, Pointer | None] = (None, None),
) -> Tensor:
    """The mean of both Kullback-Leibler divergences between two passes' distributions, summed over tokens.

    `one` and `other` are features of the same tokens, (tokens, width), `pointers` what they copy. The logits exist for a
    chunk at a time: the backward pass computes them again.
    """
    rows = max(1, _rows_at_once(weight) // 2)
    total = bias.new_zeros(())
    for start in range(0, len(one), rows):
        chunk = slice(start, start + rows)
        pointed = [None if pointer is None else pointer.at(chunk) for pointer in pointers]
        total = total + checkpoint(_divergence, one[chunk], other[chunk], weight, bias, *pointed, use_reentrant=False)
    return total


def _divergence(
    one: Tensor, other: Tensor, weight: Tensor, bias: Tensor, pointer: Pointer | None, other_pointer: Pointer | None
) -> Tensor:
    weight = weight.to(one.dtype)
    p, q = (torch.log_softmax(_logits(features, weight, bias), dim=1) for features in (one, other))
    if pointer is not None and other_pointer is not None:
        p, q = pointer.mixed(p), other_pointer.mixed(q)
    return ((p.exp() - q.exp()) * (p - q)).sum() / 2


def _logits(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The logits, features · weightᵀ + bias, as exact as `bias`; the product is as exact as `features` and `weight`."""
    if weight.dtype == bias.dtype:
        return torch.addmm(bias, features, weight.t())
    return torch.mm(features, weight.t()) + bias


class _Softmax(NamedTuple):
    """Of each row of features over the vocabulary; numbers per row are (rows, 1) and as exact as the bias."""

    true: Tensor
    """The logit of the label."""
    normalizer: Tensor
    """The logarithm of the sum of all words' exponentiated logits."""
    label: Tensor
    """The label's weight."""
    weights: Tensor
    """(rows, vocab): of all words; what stands at the label is to be set."""
    total: Tensor
    """The sum of the weights."""


def _softmax(chunk: Tensor, factor: Tensor, bias: Tensor, labels: Tensor) -> _Softmax:
    """The softmax of features, (rows, width), with the output layer's weights, which are as exact as the features."""
    if _on_gpu(factor):
        return _softmax_on_gpu(chunk, factor, bias, labels)
    logits = _logits(chunk, factor, bias)
    true = logits.gather(1, labels)
    highest = logits.amax(dim=1, keepdim=True)
    weights = logits.sub_(highest).exp_()  # before they are divided by their sum
    total = weights.sum(dim=1, keepdim=True)
    return _Softmax(true, highest + total.log(), weights.gather(1, labels), weights, total)


def _softmax_on_gpu(chunk: Tensor, factor: Tensor, bias: Tensor, labels: Tensor) -> _Softmax:
    """The softmax by few passes over the vocabulary; what is held of it is as exact as the features.

    In half precision a label's probability near 1 would be rounded to 1, and what there is left to learn to nothing: there it is
    what the other words leave.
    """
    logits = torch.addmm(bias.to(factor.dtype), chunk, factor.t())
    true = logits.gather(1, labels).to(bias.dtype)
    weights = torch.softmax(logits, dim=1)
    rounded = weights.gather(1, labels).to(bias.dtype)
    left = 1 - weights.scatter_(1, labels, 0.0).sum(dim=1, keepdim=True, dtype=bias.dtype)
    label = torch.where(rounded < 0.5, rounded, left)
    return _Softmax(true, true - label.clamp_min(_LEAST).log(), label, weights, torch.ones_like(true))


class _ChunkedCrossEntropy(torch.autograd.Function):
    """The sum of the loss, with its gradients formed in the forward pass.

    With `generated` and `copied`, (tokens,) logarithms, P(true) = e^generated · softmax(true) + e^copied.
    """

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        smoothing: float,
        generated: Tensor | None,
        copied: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        vocab = weight.size(0)
        rows, shaped = _rows_at_once(weight), writes_code(features)
        rows = max(1, rounded(rows, down=True)) if shaped else rows
        learning = any(ctx.needs_input_grad[:3])
        to_features = torch.empty_like(features) if learning else None
        to_weight = torch.zeros_like(weight) if learning else None
        to_bias = torch.zeros_like(bias) if learning else None
        shares = bias.new_ones(len(target))  # of the softmax in the probability of each true word
        objective = bias.new_zeros(())
        cross_entropy = bias.new_zeros(())
        factor = weight.to(features.dtype)
        even = smoothing / vocab
        weight_sum, bias_sum = weight.sum(0), bias.sum()  # the even part of the labels meets only these
        for start in range(0, len(target), rows):
            chunk, labels = features[start : start + rows], target[start : start + rows].unsqueeze(1)
            real, filled = len(chunk), rounded(len(chunk)) if shaped else len(chunk)
            found = _softmax(with_rows(chunk, filled), factor, bias, with_rows(labels, filled))
            true, normalizer, label, total = (
                part[:real] for part in (found.true, found.normalizer, found.label, found.total)
            )
            own = (normalizer - true).squeeze(1)  # -log softmax(true)
            share = shares[start : start + rows]
            if generated is not None and copied is not None:
                said, pointed = generated[start : start + rows] - own, copied[start : start + rows]
                torch.sigmoid(said - pointed, out=share)
                own = -torch.logaddexp(said, pointed)
            nll = own.sum()
            cross_entropy += nll
            objective += (1 - smoothing) * nll
            if smoothing:
                objective += smoothing * normalizer.sum() - even * (
                    chunk.sum(0, dtype=bias.dtype) @ weight_sum + len(chunk) * bias_sum
                )
            if to_features is None or to_weight is None or to_bias is None:
                continue
            # d objective / d logits = share · (p - true label), and with smoothing p - even label, the even part apart.
            # Everything that is one number for a row stays out of the passes over the vocabulary, and scales the features.
            share = (1 - smoothing) * share.unsqueeze(1)
            rate = share + smoothing
            label = label - total * share / rate.clamp_min(_TINY)
            weights = found.weights
            weights[:real].scatter_(1, labels, label.to(weights.dtype))
            rate = rate / total
            to_bias += weights[:real].t() @ rate.squeeze(1).to(weights.dtype)
            weights = weights.to(features.dtype)
            to_features[start : start + rows] = (weights @ factor)[:real].mul_(rate)
            scaled = with_rows((chunk * rate).to(features.dtype), filled)
            if weight.dtype == features.dtype:
                to_weight.addmm_(weights.t(), scaled)
            else:
                to_weight += weights.t() @ scaled
        if to_features is not None and to_weight is not None and to_bias is not None and smoothing:
            to_features -= even * weight_sum
            to_weight -= even * features.sum(0, dtype=bias.dtype)
            to_bias -= even * len(target)
        if learning:
            to_generated = None if generated is None else (smoothing - 1) * shares
            to_copied = None if copied is None else (smoothing - 1) * (1 - shares)
            ctx.save_for_backward(to_features, to_weight, to_bias, to_generated, to_copied)
        ctx.mark_non_differentiable(cross_entropy)
        return objective, cross_entropy

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if part is None else part * grads[0] for part in ctx.saved_tensors]
        return (*scaled[:3], None, None, *scaled[3:])

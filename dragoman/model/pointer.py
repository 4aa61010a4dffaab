"""Copying from the source: the next word is said by the vocabulary, or pointed at (See et al. 2017); knows no decoder.

    P(w) = generated · softmax(w) + pointed · (attention at the source tokens that are w)        (their eq. 9)

A gate, sigmoid(linear(features)), says how much is pointed. What attention puts on source tokens that no target token
stands for (`<unk>`, a character that only the source has) cannot be copied: it is the vocabulary's too, so that P always
sums to 1, and a source without anything to copy leaves the softmax as it is. All is computed from logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True)
class Pointer:
    """Where the source's words stand in some steps' distributions; the leading axes are those of the steps."""

    gate: Tensor
    """(...,): before the sigmoid, which is the share that is pointed."""
    weights: Tensor
    """(..., source_length): attention, 0 at padding."""
    ids: Tensor
    """(..., source_length): the target id of each source token, 0 where there is none."""

    def at(self, steps: slice) -> Pointer:
        """The pointer of a slice of the first axis."""
        return Pointer(self.gate[steps], self.weights[steps], self.ids[steps])

    def of(self, tokens: Tensor) -> Pointer:
        """The pointer of the steps at `tokens`, (tokens,), which are numbered across both leading axes, (batch, time)."""
        parts = (self.gate.flatten(0, 1), self.weights.flatten(0, 1), self.ids.flatten(0, 1))
        return Pointer(*(part.index_select(0, tokens) for part in parts))

    def log_generated(self) -> Tensor:
        """(...,): the logarithm of the vocabulary's share, 1 - pointed + pointed · (attention that cannot be copied)."""
        lost = _log(self.weights.masked_fill(self.ids != 0, 0).sum(-1))
        # softplus(gate + lost) - softplus(gate): nothing is taken from a 1 that is nearly reached
        return logsigmoid(-self.gate) - logsigmoid(-self.gate - lost)

    def log_copied(self, target: Tensor) -> Tensor:
        """(...,): the logarithm of the part of P(target) that is pointed; `target` (...,) are ids above 0."""
        there = self.ids == target.unsqueeze(-1)
        return logsigmoid(self.gate) + _log(self.weights.masked_fill(~there, 0).sum(-1))

    def mixed(self, log_probs: Tensor) -> Tensor:
        """The whole distribution: the vocabulary's `log_probs`, (..., vocab), to log P, (..., vocab)."""
        copyable = self.weights.masked_fill(self.ids == 0, 0)
        copied = torch.zeros_like(log_probs).scatter_add(-1, self.ids, copyable)
        pointed = logsigmoid(self.gate).unsqueeze(-1) + _log(copied)
        return torch.logaddexp(self.log_generated().unsqueeze(-1) + log_probs, pointed)


def _log(probability: Tensor) -> Tensor:
    """The logarithm, with the smallest number in the place of 0: its gradient there is 0, not NaN."""
    return probability.clamp_min(torch.finfo(probability.dtype).tiny).log()

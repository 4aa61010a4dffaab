"""What a model thinks of given outputs: teacher-forced predictions and log-probabilities; knows ids, not texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dragoman.generation.stepper import BOS, EOS
from dragoman.model.seq2seq import Output, Seq2Seq
from dragoman.model.stepper import numbers, padded

AT_ONCE = 64
"""Pairs that are computed together."""


@dataclass(frozen=True, eq=False)
class Forced:
    """One target, fed to the model word by word."""

    predicted: NDArray[np.int64]
    """(target_length + 1,): the best id at each position, the last one in the place of `</s>`."""
    log_probs: NDArray[np.floating[Any]]
    """(target_length + 1,): log-probability of the target's own id at each position, `</s>` included."""


@torch.inference_mode()
def force(model: Seq2Seq, source_ids: Sequence[Sequence[int]], target_ids: Sequence[Sequence[int]]) -> list[Forced]:
    """Teacher-force targets, ids without `<s>` and `</s>`, given their sources; results in the order given.

    The sum of `log_probs` is the raw score that search gives the same ids.
    """
    model.eval()
    device = model.decoder.embedding.weight.device
    order = sorted(range(len(source_ids)), key=lambda i: (len(source_ids[i]), len(target_ids[i])))
    results: dict[int, Forced] = {}
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        sources, lengths = padded([source_ids[i] for i in rows], device)
        inputs, _ = padded([[BOS, *target_ids[i]] for i in rows], device)
        outputs, ends = padded([[*target_ids[i], EOS] for i in rows], device)
        output = model(sources, lengths, inputs)
        for row, (i, end) in enumerate(zip(rows, ends.tolist(), strict=True)):
            # The distributions of one target at a time: those of all would take gigabytes where targets are long.
            one: list[Any] = [None if part is None else part[row : row + 1] for part in vars(output).values()]
            log_probs = model.log_probs(Output(*one))[0, :end]
            own = log_probs.gather(1, outputs[row, :end].unsqueeze(1)).squeeze(1)
            results[i] = Forced(log_probs.argmax(dim=1).cpu().numpy(), numbers(own))
    return [results[i] for i in range(len(source_ids))]

"""What a model thinks of given outputs (forced decoding); knows a Stepper, and searches nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragoman.errors import OptionError
from dragoman.generation.finish import FINISHED, Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis, Ranking
from dragoman.generation.plan import lengths_of
from dragoman.generation.stepper import BOS, Stepper


def score_ids(
    stepper: Stepper,
    source_ids: Sequence[Sequence[int]],
    target_ids: Sequence[Sequence[int]],
) -> list[Hypothesis]:
    """Each target as a hypothesis for the source of the same place: `token_scores` hold its log-probabilities.

    Target ids are without `<s>`; nothing is added to them, so put `</s>` at the end of a whole output. Normalised
    scores are divided by the length. All pairs are one batch.

        score_ids(stepper, [[5, 6]], [[7, 8, EOS]])[0].token_scores
    """
    if len(source_ids) != len(target_ids):
        raise OptionError(f"sources and targets must be pairs, but there are {len(source_ids)} and {len(target_ids)}")
    vocab = stepper.vocab_size
    for target in target_ids:
        for token in target:
            if not 0 <= token < vocab:
                raise OptionError(f"target ids must be from 0 to {vocab - 1}, but one is {token}")
    source_lengths = lengths_of(source_ids)
    if not source_ids:
        return []
    lengths = np.array([len(target) for target in target_ids], np.int64)
    targets = np.zeros((len(lengths), int(lengths.max())), np.int64)
    for row, target in enumerate(target_ids):
        targets[row, : len(target)] = target
    history, finished = History(), Finished(len(lengths), 1, Ranking())
    pairs = nodes = np.arange(len(lengths))
    totals = np.zeros(len(lengths))
    last_ids = np.full(len(lengths), BOS, np.int64)
    state = stepper.start([list(ids) for ids in source_ids])
    for length in range(targets.shape[1] + 1):
        done = lengths[pairs] == length
        finished.add(pairs[done], length, nodes[done], totals[done], None, grade=FINISHED)
        if done.any():
            rows = np.flatnonzero(~done)
            pairs, nodes, totals, last_ids = pairs[rows], nodes[rows], totals[rows], last_ids[rows]
            if not len(rows):
                break
            state = stepper.select(state, rows)
        step = stepper.step(state, last_ids, top_k=None)
        rows, last_ids = np.arange(len(pairs)), targets[pairs, length]
        log_probs = step.log_probs[rows, last_ids]
        history.add(last_ids, log_probs, rows, nodes, step.attention)
        totals, nodes, state = totals + log_probs, rows, step.state
    return [found[0] for found in finished.results(history, source_lengths)]

"""One question to the model: the next ids of every row, under whatever rules there are; knows no search.

`values` are what candidates are ranked by: log-probabilities, less the repetition penalty, and -inf for ids that may not
be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragoman.generation.plan import Plan
from dragoman.generation.rules import Rules
from dragoman.generation.stepper import Floats, Ints, State, Stepper

FIRST = 1e4
"""Added to the ranking of ids that must be among the answers, whatever the model thinks of them."""


@dataclass(frozen=True)
class Answer:
    """What the model says, and what may be done with it."""

    ids: Ints
    """(rows, k): candidate next ids."""
    log_probs: Floats
    """(rows, k): their log-probabilities; -inf where an id may not be chosen."""
    values: Floats
    """(rows, k): `log_probs` less penalties."""
    attention: Floats | None
    """(rows, source_length)."""
    state: State
    """The state after the step."""


def ask(
    stepper: Stepper, state: State, last_ids: Ints, *, plan: Plan, rules: Rules | None, top_k: int | None
) -> Answer:
    """The `top_k` best of the ids that may be chosen, of every row, best first; None for all ids in order.

    With required phrases the ids that go on with them are among the answers too.
    """
    if rules is not None:
        return _ask_under_rules(stepper, state, last_ids, rules=rules, top_k=top_k)
    if top_k == 1:
        # Asking for one is cheaper than for enough to drop some, and a trained model never prefers `<pad>`.
        step = stepper.step(state, last_ids, top_k=1)
        if plan.bars(step.ids):
            allowed = np.tile(plan.never == 0, (len(last_ids), 1))
            step = stepper.step(state, last_ids, top_k=1, allowed=allowed)
        return Answer(step.ids, step.log_probs, step.log_probs, step.attention, step.state)
    step = stepper.step(state, last_ids, top_k=None if top_k is None else plan.top_k(top_k))
    log_probs = step.log_probs
    if top_k is None:
        log_probs = log_probs + plan.never
    elif plan.bars(step.ids):
        log_probs = log_probs + plan.never[step.ids]
    return Answer(step.ids, log_probs, log_probs, step.attention, step.state)


def _ask_under_rules(stepper: Stepper, state: State, last_ids: Ints, *, rules: Rules, top_k: int | None) -> Answer:
    allowed, penalties = rules.allowed(), rules.bias()
    bias = penalties
    if rules.progress.size and top_k is not None:
        rows, ids = rules.wanted()
        bias = np.zeros(allowed.shape, np.float32) if penalties is None else penalties.copy()
        bias[rows, ids] += FIRST
        top_k += rules.progress.shape[1]
    step = stepper.step(state, last_ids, top_k=top_k, allowed=allowed, bias=bias)
    values = step.log_probs
    if penalties is not None:
        values = values + penalties[np.arange(len(values))[:, None], step.ids]
    return Answer(step.ids, step.log_probs, values, step.attention, step.state)

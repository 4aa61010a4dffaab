"""Drawing outputs at random from the model's distribution; knows values of candidates, not the model.

The distribution is shaped in this order, each step on what the one before it left: the temperature divides the
log-probabilities; `top_k` keeps the most probable ids; `top_p` the fewest most probable ids that have so much probability
together (Holtzman et al. 2020); `min_p` ids with at least so much of the best one's probability (Nguyen et al. 2024).

The number that decides a draw comes from the seed, the source's ids, the sample's number and the step: a source's samples
are the same in any batch, and sample 3 is the same whether 3 or 300 are drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dragoman.generation.ask import Answer
from dragoman.generation.plan import Plan
from dragoman.generation.randomness import absorb, source_keys, uniform
from dragoman.generation.stepper import Floats, Ints
from dragoman.generation.walk import Picked

_BLOCK = 128
"""Columns whose weights are added up first, when one of many is drawn."""
_BELOW_ONE = 1 - 2**-50
"""Keeps what falls into a sum below the sum, however it is rounded."""
_AHEAD = 32
"""Steps whose numbers are made together."""


class Sampler:
    """Picks every row's next id at random."""

    def __init__(self, plan: Plan) -> None:
        options = plan.options
        self.top_k = options.top_k
        self.temperature, self.top_p, self.min_p = options.temperature, options.top_p, options.min_p
        self.ruled = plan.rules is not None
        samples = np.arange(options.num_hypotheses)
        self.keys = absorb(source_keys(options.seed, plan.source_ids)[:, None], samples).ravel()
        """(sources * samples,): a stream for each output."""
        self.numbers: Floats = np.zeros((len(self.keys), 0))
        """(sources * samples, _AHEAD): what decides the draws of the next steps, which come one after another from 0."""

    def pick(self, answer: Answer, ways: Ints, length: int, /) -> Picked:
        """Candidates drawn from the shaped distribution."""
        values = answer.values
        weights = weigh(values, temperature=self.temperature, ruled=self.ruled)
        weights = keep_best(weights, self.top_k)
        mass = self.top_p * weights.sum(axis=1) if self.top_p is not None and self.top_p < 1 else None
        weights = keep_near_best(weights, self.min_p)
        if length % _AHEAD == 0:
            self.numbers = uniform(absorb(self.keys[:, None], np.arange(length, length + _AHEAD)))
        rows, numbers = np.arange(len(ways)), self.numbers[ways, length % _AHEAD]
        if mass is None:
            columns = draw(weights, numbers)
        else:
            keys = absorb(self.keys[ways], length)
            columns = draw_within(weights, mass, numbers, lambda left, turn: uniform(absorb(keys[left], turn)))
        return Picked(answer.ids[rows, columns], answer.log_probs[rows, columns], values[rows, columns])


def weigh(values: Floats, *, temperature: float = 1.0, ruled: bool = True) -> Floats:
    """Each row's probabilities from log-values, not scaled to 1; -inf has 0.

    What rules leave, or a temperature, may be too improbable for an `exp`, so that the highest value is 1 then.
    """
    if temperature == 1 and not ruled:
        return np.exp(values)
    values = values / temperature if temperature != 1 else values
    highest = values.max(axis=1, keepdims=True)
    weights: Floats = np.exp(values - np.where(np.isfinite(highest), highest, 0))
    return weights


def keep_best(weights: Floats, top_k: int | None) -> Floats:
    """Leaves of `weights`, (rows, n), the `top_k` highest of each row, in their place; equals at the border all stay."""
    size = weights.shape[1]
    if top_k is not None and top_k < size:
        weights *= weights >= np.partition(weights, size - top_k, axis=1)[:, size - top_k, None]
    return weights


def keep_near_best(weights: Floats, min_p: float | None) -> Floats:
    """Leaves of `weights`, (rows, n), what has so much of the highest one of its row, in their place."""
    if min_p:
        weights *= weights >= weights.max(axis=1, keepdims=True) * min_p
    return weights


def draw(weights: Floats, numbers: Floats) -> Ints:
    """The column of each row, drawn as `weights`, (rows, n), say, that its number, between 0 and 1, falls on."""
    if weights.shape[1] <= 2 * _BLOCK:
        return _fallen_on(weights, numbers * weights.sum(axis=1, dtype=np.float64))
    return draw_several(weights, numbers[:, None])[0][:, 0]


def draw_within(weights: Floats, mass: Floats, numbers: Floats, more: Callable[[Ints, int], Floats]) -> Ints:
    """The column of each row, drawn from the fewest of its highest weights that have its `mass`, (rows,), together.

    Nothing is sorted for it: whatever has less than `mass` in higher weights is one of them (with its equals), and where a
    draw is not, it is repeated among the higher ones only. `more(rows, turn)` gives the numbers of those rows for turn 1, 2
    and so on; `numbers`, (rows,), are those of the first.
    """
    columns, left, turn = np.zeros(len(weights), np.int64), np.arange(len(weights)), 0
    while True:
        columns[left] = drawn = draw(weights, numbers)
        higher = weights * (weights > weights[np.arange(len(left)), drawn, None])
        above = higher.sum(axis=1)
        again = np.flatnonzero((above >= mass) & (above > 0))
        if not len(again):
            return columns
        turn += 1
        left, weights, mass = left[again], higher[again], mass[again]
        numbers = more(left, turn)


def draw_several(weights: Floats, numbers: Floats) -> tuple[Ints, Floats, Floats]:
    """Several columns of each row without replacement, one for each of its `numbers`, (rows, k), one after another.

    With them come their weights, and the sum of the weights that were left before each draw; where that is 0, the column
    means nothing. All but the last one drawn are taken out of `weights`.
    """
    # Running sums over a whole vocabulary are slow: first the block that a number falls into, then its place in there.
    rows, size, span = np.arange(len(weights)), weights.shape[1], np.arange(_BLOCK)
    sums = _sum_blocks(weights)
    columns, drawn, totals = np.zeros(numbers.shape, np.int64), np.zeros(numbers.shape), np.zeros(numbers.shape)
    for place in range(numbers.shape[1]):
        until = sums.cumsum(axis=1)
        totals[:, place] = until[:, -1]
        falls = numbers[:, place] * until[:, -1] * _BELOW_ONE
        block = (until[:, 1:-1] <= falls[:, None]).sum(axis=1)
        within = block[:, None] * _BLOCK + span
        inside = weights[rows[:, None], np.minimum(within, size - 1)]
        if size % _BLOCK:
            inside *= within < size
        column = block * _BLOCK + _fallen_on(inside, falls - until[rows, block])
        columns[:, place] = column = np.minimum(column, size - 1)
        drawn[:, place] = weights[rows, column]
        if place + 1 < numbers.shape[1]:
            inside[rows, column - block * _BLOCK] = 0
            weights[rows, column] = 0
            sums[rows, block + 1] = inside.sum(axis=1, dtype=np.float64)
    return columns, drawn, totals


def _sum_blocks(weights: Floats) -> Floats:
    """(rows, 1 + blocks): 0, and the sum of every `_BLOCK` columns; the last block may have fewer."""
    size = weights.shape[1]
    whole = size - size % _BLOCK
    sums = np.zeros((len(weights), 1 + -(-size // _BLOCK)))
    blocks = weights[:, :whole].reshape(len(weights), -1, _BLOCK)
    sums[:, 1 : 1 + whole // _BLOCK] = np.einsum("rbc->rb", blocks)  # a third of the time of `sum` and `reduceat`
    if whole < size:
        sums[:, -1] = weights[:, whole:].sum(axis=1)
    return sums


def _fallen_on(weights: Floats, places: Floats) -> Ints:
    """The column of each row in which the running sum of its weights passes its place, (rows,)."""
    return _or_last((weights.cumsum(axis=1, dtype=np.float64) <= places[:, None]).sum(axis=1), weights)


def _or_last(columns: Ints, weights: Floats) -> Ints:
    """`columns`, but the last one with any weight where rounding has carried a row to one without (or past the end)."""
    columns = np.minimum(columns, weights.shape[1] - 1)
    empty = weights[np.arange(len(columns)), columns] <= 0
    if empty.any():
        beyond = np.flatnonzero(empty)
        columns[beyond] = weights.shape[1] - 1 - (weights[beyond, ::-1] > 0).argmax(axis=1)
    return columns

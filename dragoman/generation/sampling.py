"""Drawing outputs at random from the model's distribution; knows values of candidates, not the model.

The distribution is shaped in this order, each step on what the one before it left: the temperature divides the
log-probabilities; `top_k` keeps the most probable ids; `top_p` the fewest most probable ids that have so much probability
together (Holtzman et al. 2020); `min_p` ids with at least so much of the best one's probability (Nguyen et al. 2024).

The number that decides a draw comes from the seed, the source's ids, the sample's number and the step: a source's samples
are the same in any batch, and sample 3 is the same whether 3 or 300 are drawn.
"""

from __future__ import annotations

import numpy as np

from dragoman.generation.ask import Answer
from dragoman.generation.plan import Plan
from dragoman.generation.randomness import absorb, source_keys, uniform
from dragoman.generation.stepper import Floats, Ints
from dragoman.generation.walk import Picked

_BLOCK = 128
"""Columns whose weights are added up first, when one of many is drawn."""
_LIKELY = (1e-3, 1e-5)
"""From which probability on words are sorted alone, if they hold enough together."""
_AHEAD = 32
"""Steps whose numbers are made together."""


class Sampler:
    """Picks every row's next id at random."""

    def __init__(self, plan: Plan) -> None:
        options = plan.options
        self.top_k = options.top_k
        self.temperature, self.top_p, self.min_p = options.temperature, options.top_p, options.min_p
        whole = self.top_k is None and not self.min_p and (self.top_p or 1) == 1
        self.plain = self.temperature == 1 and whole and plan.rules is None
        """Whether the distribution is drawn from as it is: what rules leave of it may be too improbable for an `exp`."""
        samples = np.arange(options.num_hypotheses)
        self.keys = absorb(source_keys(options.seed, plan.source_ids)[:, None], samples).ravel()
        """(sources * samples,): a stream for each output."""
        self.numbers: Floats = np.zeros((len(self.keys), 0))
        """(sources * samples, _AHEAD): what decides the draws of the next steps, which come one after another from 0."""

    def pick(self, answer: Answer, ways: Ints, length: int, /) -> Picked:
        """Candidates drawn from the shaped distribution."""
        values = answer.values
        if self.plain:
            weights = np.exp(values)
        else:
            weights = shape(values, temperature=self.temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p)
        if length % _AHEAD == 0:
            self.numbers = uniform(absorb(self.keys[:, None], np.arange(length, length + _AHEAD)))
        rows, columns = np.arange(len(ways)), draw(weights, self.numbers[ways, length % _AHEAD])
        return Picked(answer.ids[rows, columns], answer.log_probs[rows, columns], values[rows, columns])


def normalize(values: Floats) -> Floats:
    """Probabilities of each row from log-values; a row of nothing but -inf stays without any."""
    highest = values.max(axis=1, keepdims=True)
    weights = np.exp(values - np.where(np.isfinite(highest), highest, 0))
    totals = weights.sum(axis=1, keepdims=True)
    probabilities: Floats = weights / np.where(totals > 0, totals, 1)
    return probabilities


def shape(
    values: Floats,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Floats:
    """What to draw from, `(rows, n)`: the probabilities that are left, not scaled to 1; equals at a border stay or go together."""
    probabilities = normalize(values / temperature if temperature != 1 else values)
    size, total = values.shape[1], np.ones((len(values), 1), probabilities.dtype)
    if top_k is not None and top_k < size:
        least = np.partition(probabilities, size - top_k, axis=1)[:, size - top_k, None]
        probabilities = np.where(probabilities >= least, probabilities, 0)
        total = probabilities.sum(axis=1, keepdims=True)
    if top_p is not None and top_p < 1:
        least = _least_with(probabilities, top_p * total[:, 0])
        probabilities = np.where(probabilities >= least[:, None], probabilities, 0)
    if min_p:
        highest = probabilities.max(axis=1, keepdims=True)
        probabilities = np.where(probabilities >= highest * min_p, probabilities, 0)
    return probabilities


def _least_with(probabilities: Floats, mass: Floats) -> Floats:
    """(rows,): the least of each row's highest probabilities, of the fewest that have the row's `mass` together."""
    least, left = np.zeros(len(probabilities), probabilities.dtype), np.arange(len(probabilities))
    # In most rows of a trained model a few words hold nearly all, so that the rest need not be sorted.
    for likely in _LIKELY:
        some = probabilities if len(left) == len(probabilities) else probabilities[left]
        enough = np.where(some >= likely, some, 0).sum(axis=1) > mass[left]
        rows = left[enough]
        if len(rows):
            least[rows] = _least_of_falling(_falling(some if enough.all() else some[enough], likely), mass[rows])
            left = left[~enough]
        if not len(left):
            return least
    least[left] = _least_of_falling(np.sort(probabilities[left], axis=1)[:, ::-1], mass[left])
    return least


def _falling(probabilities: Floats, likely: float) -> Floats:
    """What is at least `likely` in each row, falling: (rows, most in one), with 0 after the last."""
    places = np.flatnonzero(probabilities >= likely)
    counts = np.bincount(places // probabilities.shape[1], minlength=len(probabilities))
    found = np.zeros((len(probabilities), int(counts.max())), probabilities.dtype)
    found[np.arange(found.shape[1]) < counts[:, None]] = probabilities.ravel()[places]
    falling: Floats = np.sort(found, axis=1)[:, ::-1]
    return falling


def _least_of_falling(falling: Floats, mass: Floats) -> Floats:
    before = falling.cumsum(axis=1) - falling
    kept = ((before < mass[:, None]) & (falling > 0)).sum(axis=1)
    least: Floats = falling[np.arange(len(falling)), np.maximum(kept - 1, 0)]
    return least


def draw(weights: Floats, numbers: Floats) -> Ints:
    """The column of each row, drawn as `weights`, (rows, n), say, that its number, between 0 and 1, falls on."""
    if weights.shape[1] <= 2 * _BLOCK:
        return _fallen_on(weights, numbers * weights.sum(axis=1, dtype=np.float64))
    return draw_several(weights, numbers[:, None])[0][:, 0]


def draw_several(weights: Floats, numbers: Floats) -> tuple[Ints, Floats]:
    """Several columns of each row without replacement, one for each of its `numbers`, (rows, k), one after another.

    With them comes the sum of the weights that were left before each draw; where that is 0, the column means nothing.
    """
    # Running sums over a whole vocabulary are slow: first the block that a number falls into, then its place in there.
    rows, size = np.arange(len(weights)), weights.shape[1]
    left = weights if numbers.shape[1] == 1 else weights.copy()
    sums = np.add.reduceat(left, np.arange(0, size, _BLOCK), axis=1, dtype=np.float64)
    columns, totals = np.zeros(numbers.shape, np.int64), np.zeros(numbers.shape)
    for place in range(numbers.shape[1]):
        until = sums.cumsum(axis=1)
        totals[:, place] = until[:, -1]
        falls = numbers[:, place] * until[:, -1]
        block = _or_last((until <= falls[:, None]).sum(axis=1), sums)
        within = block[:, None] * _BLOCK + np.arange(_BLOCK)
        inside = np.where(within < size, left[rows[:, None], np.minimum(within, size - 1)], 0)
        column = block * _BLOCK + _fallen_on(inside, falls - np.where(block > 0, until[rows, block - 1], 0))
        columns[:, place] = column = np.minimum(column, size - 1)
        if place + 1 < numbers.shape[1]:
            inside[rows, column - block * _BLOCK] = 0
            left[rows, column] = 0
            sums[rows, block] = inside.sum(axis=1, dtype=np.float64)
    return columns, totals


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

"""Stochastic beam search: several different outputs drawn without replacement; knows a Stepper and arrays only.

Kool, van Hoof and Welling (2019), Stochastic Beams and Where to Find Them. Every output has a *perturbed* log-probability:
its own plus Gumbel noise. The outputs with the k highest ones are k draws without replacement, in that order. Noise is
drawn from the top down: a prefix's perturbed value is the highest of its outputs', so that a beam which keeps the k highest
prefixes loses none of the k highest outputs.

Of a prefix's continuations only the k highest are ever needed. They are drawn one after another, as of several Gumbel variables
the place of the highest and its value are independent (Maddison, Tarlow and Minka 2014, A* Sampling): the highest has the
prefix's value, and falls on a continuation as its probability says; the next one is drawn from the others, below it; and so on.

The noise of a prefix comes from the seed, the source's ids and the prefix itself, so that a source's draws do not depend on
its batch. Where ids are forbidden the draws follow the distribution over the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragoman.generation.ask import ask
from dragoman.generation.finish import CUT, FINISHED, Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan
from dragoman.generation.randomness import absorb, source_keys, uniform
from dragoman.generation.sampling import draw_several, weigh
from dragoman.generation.stepper import BOS, EOS, Bools, Floats, Ints, State, Stepper, best

_NOISE = 2**32
"""Absorbed before what is drawn at a prefix, where an id would be the key of the next prefix."""


@dataclass(frozen=True)
class Leaf:
    """An output that has ended but may still be pushed out by ones with higher perturbed values."""

    perturbed: float
    """Its perturbed log-probability."""
    length: int
    """Its ids."""
    node: int
    """Its last node in the history."""
    total: float
    """Sum of its log-probabilities, less penalties."""
    received: Floats | None
    """(source_length,): attention received, if coverage counts."""
    grade: int
    """`FINISHED` or `CUT`."""


def highest(locations: Floats, most: Floats, numbers: Floats) -> Floats:
    """Perturbed values, (rows, k), each the highest of what was left, falling from `most`, (rows,).

    `locations`, (rows, k), are log-probabilities of all that was left before each; `numbers` are uniform, (rows, k - 1).
    A Gumbel variable at `a`, given that it is below `b`, is `a - log(exp(a - b) - log(u))` (Maddison et al., section 4).
    """
    values = [most]
    drops = np.log(-np.log(numbers))
    with np.errstate(invalid="ignore"):
        for place in range(1, locations.shape[1]):
            fallen = locations[:, place] - np.logaddexp(locations[:, place] - values[-1], drops[:, place - 1])
            values.append(np.where(np.isfinite(fallen), fallen, -np.inf))
    return np.stack(values, axis=1)


class StochasticBeam:
    """A running stochastic beam search: `advance` until it returns False, then `results`."""

    def __init__(self, stepper: Stepper, plan: Plan) -> None:
        sources = len(plan.source_ids)
        self.stepper, self.plan = stepper, plan
        self.width = plan.options.beam_size
        self.history = History()
        self.leaves: list[list[Leaf]] = [[] for _ in range(sources)]
        self.length = 0

        # Each (rows,); the rows of a source stand together
        self.sentences = np.arange(sources)
        self.nodes = self.sentences
        self.state: State = stepper.start(plan.source_ids)
        self.rules = plan.rules
        self.last_ids = np.full(sources, BOS, np.int64)
        self.keys = source_keys(plan.options.seed, plan.source_ids)
        self.log_q: Floats = np.zeros(sources)
        """Log-probabilities under the distribution that is drawn from (tempered, over allowed ids)."""
        self.perturbed: Floats = np.zeros(sources)
        self.totals: Floats = np.zeros(sources)
        self.received: Floats | None = None

    def results(self) -> list[list[Hypothesis]]:
        """The outputs of every source in the order in which they were drawn."""
        plan, wanted = self.plan, self.plan.options.num_hypotheses
        drawn = [sorted(leaves, key=lambda leaf: -leaf.perturbed)[:wanted] for leaves in self.leaves]
        finished = Finished(sum(len(leaves) for leaves in drawn), 1, plan.ranking)
        for place, leaf in enumerate(leaf for leaves in drawn for leaf in leaves):
            received = None if leaf.received is None else leaf.received[None]
            at, node, total = np.array([place]), np.array([leaf.node]), np.array([leaf.total])
            finished.add(at, leaf.length, node, total, received, grade=leaf.grade)
        lengths = plan.source_lengths.repeat([len(leaves) for leaves in drawn])
        found = iter(finished.results(self.history, lengths))
        return [[next(found)[0] for _ in leaves] for leaves in drawn]

    def advance(self) -> bool:
        """One step of all beams; False when every output has ended."""
        answer = ask(self.stepper, self.state, self.last_ids, plan=self.plan, rules=self.rules, top_k=None)
        temperature, ruled = self.plan.options.temperature, self.rules is not None
        # Below a temperature of 1 the second best may be too improbable for an `exp` in float32.
        values = answer.values.astype(np.float64) if temperature < 1 else answer.values
        weights = weigh(values, temperature=temperature, ruled=ruled)
        width = min(self.width, weights.shape[1])
        numbers = uniform(absorb(absorb(self.keys, _NOISE)[:, None], np.arange(2 * width)))
        columns_of, drawn, left = draw_several(weights, numbers[:, ::2])
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = self.log_q[:, None] - np.log(left[:, :1])
            log_q, locations = scale + np.log(drawn), scale + np.log(left)
        perturbed = highest(locations, self.perturbed, numbers[:, 3::2])
        perturbed = np.where(left > 0, perturbed, -np.inf)  # nothing was left to draw
        self._set_aside(np.flatnonzero(perturbed[:, 0] == -np.inf), CUT)  # these rows may choose nothing
        rows, ranks = self._choose(perturbed)
        columns = columns_of[rows, ranks]
        ids = answer.ids[rows, columns]
        received = None
        if self.plan.ranking.coverage_penalty:
            received = self.plan.receive(self.received, answer.attention, self.sentences)[rows]
        self.history.add(ids, answer.log_probs[rows, columns], rows, self.nodes, answer.attention)
        self.length += 1
        self.perturbed, self.log_q = perturbed[rows, ranks], log_q[rows, ranks]
        self.totals = self.totals[rows] + answer.values[rows, columns]
        self.sentences, self.nodes = self.sentences[rows], np.arange(len(rows))
        self.keys, self.last_ids = absorb(self.keys[rows], ids), ids
        self.received = received
        ended = ids == EOS
        self._set_aside(np.flatnonzero(ended), FINISHED)
        cut = ~ended & (self.length >= self.plan.max_lengths[self.sentences])
        self._set_aside(np.flatnonzero(cut), CUT)
        self._keep(answer.state, rows, ~ended & ~cut)
        return len(self.nodes) > 0

    def _choose(self, perturbed: Floats) -> tuple[Ints, Ints]:
        """Rows and columns of the candidates, (rows, k), that stay among their source's best, beside its leaves."""
        k = perturbed.shape[1]
        bounds = np.flatnonzero(self.sentences[1:] != self.sentences[:-1]) + 1
        firsts, ends = np.concatenate([[0], bounds]), np.concatenate([bounds, [len(perturbed)]])
        counts = ends - firsts
        sources = np.arange(len(firsts))
        leaves = [self.leaves[sentence] for sentence in self.sentences[firsts].tolist()]
        room = int(counts.max()) * k
        # Of each source its candidates, row by row, and its leaves
        pool = np.full((len(firsts), room + max(map(len, leaves))), -np.inf)
        places = (np.arange(len(perturbed)) - firsts.repeat(counts))[:, None] * k + np.arange(k)
        pool[sources.repeat(counts)[:, None], places] = perturbed
        for source, mine in enumerate(leaves):
            pool[source, room : room + len(mine)] = [leaf.perturbed for leaf in mine]
        kept = best(pool, self.width)
        taken = pool[sources[:, None], kept] > -np.inf
        for source, mine in enumerate(leaves):
            mine[:] = [mine[place - room] for place in kept[source, taken[source]].tolist() if place >= room]
        taken &= kept < room
        rows, ranks = np.divmod(kept, k)
        return (firsts[:, None] + rows)[taken], ranks[taken]

    def _set_aside(self, rows: Ints, grade: int) -> None:
        for row in rows.tolist():
            received = None if self.received is None else self.received[row]
            value, total = float(self.perturbed[row]), float(self.totals[row])
            leaf = Leaf(value, self.length, int(self.nodes[row]), total, received, grade)
            self.leaves[int(self.sentences[row])].append(leaf)

    def _keep(self, state: State, rows: Ints, live: Bools) -> None:
        """Go on with the live nodes."""
        nodes = np.flatnonzero(live)
        self.nodes, self.sentences, self.last_ids = nodes, self.sentences[nodes], self.last_ids[nodes]
        self.keys, self.log_q, self.perturbed = self.keys[nodes], self.log_q[nodes], self.perturbed[nodes]
        self.totals = self.totals[nodes]
        self.received = None if self.received is None else self.received[nodes]
        if len(nodes):
            self.rules = self.rules.move(rows[nodes], self.last_ids) if self.rules is not None else None
            self.state = self.stepper.select(state, rows[nodes])

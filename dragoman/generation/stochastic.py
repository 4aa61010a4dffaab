"""Stochastic beam search: several different outputs drawn without replacement; knows a Stepper and arrays only.

Kool, van Hoof and Welling (2019), Stochastic Beams and Where to Find Them. Every output has a *perturbed* log-probability:
its own plus Gumbel noise. The outputs with the k highest ones are k draws without replacement, in that order. Noise is
drawn from the top down: a prefix's perturbed value is the highest of its outputs', so that a beam which keeps the k highest
prefixes loses none of the k highest outputs.

The noise of a prefix comes from the seed, the source's ids and the prefix itself, so that a source's draws do not depend on
its batch. Where ids are forbidden the draws follow the distribution over the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragoman.generation.ask import ask
from dragoman.generation.choosing import best
from dragoman.generation.finish import CUT, FINISHED, Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan
from dragoman.generation.randomness import absorb, gumbel, source_keys
from dragoman.generation.sampling import normalize
from dragoman.generation.stepper import BOS, EOS, Bools, Floats, Ints, State, Stepper


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


def condition(noisy: Floats, highest: Floats) -> Floats:
    """Shift each row of perturbed values, `(rows, n)`, so that its maximum is `highest`, (rows,) (Kool et al., appendix B.3).

    The values stay Gumbel variables, now given their maximum.
    """
    top = noisy.max(axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    highest = highest[:, None]
    with np.errstate(divide="ignore"):
        v = highest - noisy + np.log1p(-np.exp(np.minimum(noisy - top, 0.0)))
    shifted: Floats = highest - np.maximum(0.0, v) - np.log1p(np.exp(-np.abs(v)))
    return shifted


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
        with np.errstate(divide="ignore"):
            log_q = self.log_q[:, None] + np.log(normalize(answer.values / self.plan.options.temperature))
        noisy = log_q + gumbel(self.keys, answer.ids[0])
        columns_of = best(noisy, self.width)  # conditioning keeps the order: each row's best suffice
        perturbed = condition(np.take_along_axis(noisy, columns_of, axis=1), self.perturbed)
        self._set_aside(np.flatnonzero(perturbed[:, 0] == -np.inf), CUT)  # these rows may choose nothing
        rows, ranks = self._choose(perturbed)
        columns = columns_of[rows, ranks]
        ids = answer.ids[rows, columns]
        received = self.plan.receive(self.received, answer.attention, self.sentences)
        self.history.add(ids, answer.log_probs[rows, columns], rows, self.nodes, answer.attention)
        self.length += 1
        self.perturbed, self.log_q = perturbed[rows, ranks], log_q[rows, columns]
        self.totals = self.totals[rows] + answer.values[rows, columns]
        self.sentences, self.nodes = self.sentences[rows], np.arange(len(rows))
        self.keys, self.last_ids = absorb(self.keys[rows], ids), ids
        self.received = None if received is None else received[rows]
        ended = ids == EOS
        self._set_aside(np.flatnonzero(ended), FINISHED)
        cut = ~ended & (self.length >= self.plan.max_lengths[self.sentences])
        self._set_aside(np.flatnonzero(cut), CUT)
        self._keep(answer.state, rows, ~ended & ~cut)
        return len(self.nodes) > 0

    def _choose(self, perturbed: Floats) -> tuple[Ints, Ints]:
        """Rows and columns of the candidates, (rows, k), that stay among their source's best, beside its leaves."""
        rows, ranks = [], []
        for sentence in np.unique(self.sentences).tolist():
            mine = np.flatnonzero(self.sentences == sentence)
            leaves = self.leaves[sentence]
            candidates = perturbed[mine].ravel()
            pool = np.concatenate([candidates, [leaf.perturbed for leaf in leaves]])
            kept = best(pool[None], self.width)[0]
            kept = kept[pool[kept] > -np.inf]
            self.leaves[sentence] = [leaves[place - len(candidates)] for place in kept if place >= len(candidates)]
            row, rank = np.divmod(kept[kept < len(candidates)], perturbed.shape[1])
            rows.append(mine[row])
            ranks.append(rank)
        return np.concatenate(rows), np.concatenate(ranks)

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

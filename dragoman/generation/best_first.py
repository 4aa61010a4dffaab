"""Best-first search: the n best outputs of any length, and proof that there are no better ones; knows a Stepper only.

Prefixes wait in a queue, the most promising first. What a prefix promises is `Ranking.bound`: the highest normalised score
that anything beginning with it can have. When a finished output is the most promising thing left, nothing can beat it:
it is the next best (A* search with an admissible bound). With `length_penalty` 0 the promise is the score itself and the
search is quick; the larger the exponent, the less a prefix's score says, and the more must be looked at.

The search gives up after `max_expansions` steps of the model: then it logs so, and the best outputs so far, not proven to be
the best, make up the number. Sources are searched one after another.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from dataclasses import dataclass

import numpy as np

from dragoman.errors import counted
from dragoman.generation.ask import ask
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan
from dragoman.generation.rules import Rules
from dragoman.generation.stepper import BOS, EOS, Floats, Ints, State, Stepper

log = logging.getLogger("dragoman")


@dataclass(frozen=True)
class Prefix:
    """An unfinished output that the model has not been asked about yet."""

    ids: tuple[int, ...]
    """Its ids."""
    token_scores: tuple[float, ...]
    """Their log-probabilities."""
    total: float
    """Their sum, less penalties."""
    attention: tuple[Floats, ...]
    """(source_length,) each: where each step looked; empty for a model without attention."""
    received: Floats | None
    """(1, source_length): attention that source positions got so far, if a coverage penalty needs it."""
    state: State
    """The model's state before the last id is fed."""
    rules: Rules | None
    """The constraints after the last id."""


@dataclass(frozen=True)
class Siblings:
    """All continuations of a prefix but `</s>`, best first; they enter the queue one by one."""

    parent: Prefix
    """The prefix."""
    ids: Ints
    """(n,): next ids."""
    log_probs: Floats
    """(n,): their log-probabilities."""
    totals: Floats
    """(n,): scores less penalties with each, in falling order."""
    attention: tuple[Floats, ...]
    """The attention of all steps so far."""
    received: Floats | None
    """Its sum, if a coverage penalty needs it."""
    state: State
    """The model's state after the prefix."""


Entry = tuple[float, int, int, "Hypothesis | tuple[Siblings, int]"]
"""Minus the promise; 0 for finished outputs and 1 for others; a running number; the thing itself."""


class BestFirst:
    """A running best-first search: `advance` does one source; then `results`."""

    def __init__(self, stepper: Stepper, plan: Plan) -> None:
        self.stepper, self.plan = stepper, plan
        self.found: list[list[Hypothesis]] = []

    def results(self) -> list[list[Hypothesis]]:
        """The best outputs of every source, best first."""
        return self.found

    def advance(self) -> bool:
        """Search the next source; False when all are done."""
        self.found.append(Queue(self.stepper, self.plan, len(self.found)).run())
        return len(self.found) < len(self.plan.source_ids)


class Queue:
    """The search for one source."""

    def __init__(self, stepper: Stepper, plan: Plan, source: int) -> None:
        self.stepper, self.plan, self.source = stepper, plan, source
        self.limit = int(plan.max_lengths[source])
        self.width = int(plan.source_lengths[source])
        self.entries: list[Entry] = []
        self.numbers = itertools.count()
        self.cut: list[tuple[bool, float, int, Hypothesis]] = []
        """The best outputs that reached the maximum length, or could not go on; never preferred to finished ones.

        Before each, what it is ranked by: whether it lacks something required, minus its score, a running number.
        """

    def run(self) -> list[Hypothesis]:
        """The best outputs, best first."""
        wanted, budget = self.plan.options.num_hypotheses, self.plan.options.max_expansions
        rules = None if self.plan.rules is None else self.plan.rules.select(np.array([self.source]))
        self._expand(Prefix((), (), 0.0, (), None, self.stepper.start([self.plan.source_ids[self.source]]), rules))
        found: list[Hypothesis] = []
        expansions = 1
        while self.entries and len(found) < wanted:
            _, _, _, entry = heapq.heappop(self.entries)
            if isinstance(entry, Hypothesis):
                found.append(entry)
                continue
            siblings, place = entry
            self._push_sibling(siblings, place + 1)
            prefix = self._child(siblings, place)
            if expansions == budget:
                steps = counted(budget, "step")
                log.warning("best-first search gave up after %s: its outputs are not proven best", steps)
                self._set_aside([prefix])
                break
            self._expand(prefix)
            expansions += 1
        waiting = [entry[3] for entry in sorted(self.entries) if isinstance(entry[3], Hypothesis)]
        return [*found, *waiting, *(hypothesis for _, _, _, hypothesis in self.cut)][:wanted]

    def _expand(self, prefix: Prefix) -> None:
        """Ask the model what may follow, and queue it."""
        last = np.array([prefix.ids[-1] if prefix.ids else BOS])
        answer = ask(self.stepper, prefix.state, last, plan=self.plan, rules=prefix.rules, top_k=None)
        attention = prefix.attention
        if answer.attention is not None:
            attention = (*attention, answer.attention[0, : self.width])
        received = prefix.received
        if self.plan.ranking.coverage_penalty:
            received = self.plan.receive(received, answer.attention, np.array([self.source]))
        usable = np.flatnonzero(answer.values[0] > -np.inf)
        order = usable[(-answer.values[0, usable]).argsort(kind="stable")]
        ids = answer.ids[0, order]
        if not len(order):
            self._set_aside([prefix])
        if EOS in ids:
            at = order[ids == EOS][0]
            scores = (*prefix.token_scores, float(answer.log_probs[0, at]))
            total = prefix.total + float(answer.values[0, at])
            end = Prefix((*prefix.ids, EOS), scores, total, attention, received, None, None)
            hypothesis = self._hypothesis(end)
            heapq.heappush(self.entries, (-hypothesis.normalized_score, 0, next(self.numbers), hypothesis))
        rest, goes_on = order[ids != EOS], len(prefix.ids) + 1 < self.limit
        if goes_on:  # no more of them can be looked at, and the rest of a vocabulary would take gigabytes
            rest = rest[: self.plan.options.max_expansions]
        totals = prefix.total + answer.values[0, rest]
        ids, log_probs = answer.ids[0, rest], answer.log_probs[0, rest]
        following = Siblings(prefix, ids, log_probs, totals, attention, received, answer.state)
        if goes_on:
            self._push_sibling(following, 0)
        else:
            best = np.arange(len(rest))
            if prefix.rules is not None and prefix.rules.progress.size:  # what lacks nothing comes first
                best = (~prefix.rules.complete(following.ids[None])[0]).argsort(kind="stable")
            wanted = best[: self.plan.options.num_hypotheses].tolist()
            self._set_aside([self._child(following, place) for place in wanted])

    def _set_aside(self, prefixes: list[Prefix]) -> None:
        """Keep the best of these and of those before them as outputs that are cut."""
        for prefix in prefixes:
            hypothesis = self._hypothesis(prefix)
            lacking = prefix.rules is not None and bool(prefix.rules.lacking()[0])
            self.cut.append((lacking, -hypothesis.normalized_score, next(self.numbers), hypothesis))
        self.cut = sorted(self.cut)[: self.plan.options.num_hypotheses]

    def _push_sibling(self, siblings: Siblings, place: int) -> None:
        if place < len(siblings.ids):
            limits = np.array([self.limit])
            promise = float(self.plan.ranking.bound(siblings.totals[place : place + 1], limits)[0])
            heapq.heappush(self.entries, (-promise, 1, next(self.numbers), (siblings, place)))

    def _child(self, siblings: Siblings, place: int) -> Prefix:
        parent, token = siblings.parent, int(siblings.ids[place])
        return Prefix(
            ids=(*parent.ids, token),
            token_scores=(*parent.token_scores, float(siblings.log_probs[place])),
            total=float(siblings.totals[place]),
            attention=siblings.attention,
            received=siblings.received,
            state=siblings.state,
            rules=None if parent.rules is None else parent.rules.move(np.array([0]), np.array([token])),
        )

    def _hypothesis(self, prefix: Prefix) -> Hypothesis:
        """The output that a prefix is if it goes no further."""
        ranking = self.plan.ranking
        value = prefix.total / float(ranking.norm(np.array([len(prefix.ids)]))[0])
        if prefix.received is not None:
            value += float(ranking.coverage(prefix.received)[0])
        return Hypothesis(
            ids=prefix.ids,
            score=float(sum(prefix.token_scores)),
            normalized_score=value,
            token_scores=prefix.token_scores,
            attention=np.array(prefix.attention).reshape(-1, self.width) if prefix.attention else None,
            finished=bool(prefix.ids) and prefix.ids[-1] == EOS,
        )

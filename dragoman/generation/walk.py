"""Search with one way per output: greedy search, and the frame in which samples are drawn; knows no beams.

Every row is one output from its first id to its last. A *picker* chooses each row's next id; greedy search takes the
most probable one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dragoman.generation.ask import Answer, ask
from dragoman.generation.finish import CUT, FINISHED, Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan
from dragoman.generation.stepper import BOS, EOS, Bools, Floats, Ints, State, Stepper


@dataclass(frozen=True)
class Picked:
    """One candidate of every row; all arrays are (rows,)."""

    ids: Ints
    """The ids chosen."""
    log_probs: Floats
    """Their log-probabilities; -inf where a row may choose nothing."""
    values: Floats
    """Log-probabilities less penalties."""


class Picker(Protocol):
    """Chooses every row's next id."""

    @property
    def top_k(self) -> int | None:
        """How many ids it must see; None for all."""
        ...

    def pick(self, answer: Answer, ways: Ints, length: int, /) -> Picked:
        """A candidate of each row, not one of value -inf if others are not; `ways`, (rows,), are those of `Walk`.

        `length` is how many ids each row has already.
        """
        ...


class Greedy:
    """Picks the most probable id."""

    top_k: int | None = 1

    def pick(self, answer: Answer, _ways: Ints, _length: int, /) -> Picked:
        """The first column: candidates come best first."""
        return Picked(answer.ids[:, 0], answer.log_probs[:, 0], answer.values[:, 0])


class Walk:
    """A running search of one way per output: `advance` until it returns False, then `results`."""

    def __init__(self, stepper: Stepper, plan: Plan, picker: Picker, *, outputs: int = 1) -> None:
        sources = len(plan.source_ids)
        self.stepper, self.plan, self.picker, self.outputs = stepper, plan, picker, outputs
        self.history = History()
        self.finished = Finished(sources * outputs, 1, plan.ranking)
        self.length = 0

        # Each (rows,)
        self.rows = self.ways = self.nodes = np.arange(sources * outputs)
        """Ways are source times `outputs` plus sample."""
        self.limits = plan.max_lengths.repeat(outputs)
        self.soonest = int(self.limits.min())
        """The lowest of the limits."""
        self.scores: Floats = np.zeros(sources * outputs)
        """Sums of log-probabilities, less penalties."""
        self.received: Floats | None = None
        self.last_ids = np.full(sources * outputs, BOS, np.int64)
        self.state: State = stepper.start(plan.source_ids)
        if outputs > 1:
            self.state = stepper.select(self.state, self.ways // outputs)
        self.rules = plan.rules.select(self.ways // outputs) if plan.rules is not None else None

    def results(self) -> list[list[Hypothesis]]:
        """The outputs of every source, in the order of their samples."""
        found = self.finished.results(self.history, self.plan.source_lengths.repeat(self.outputs))
        ways = [hypothesis for hypotheses in found for hypothesis in hypotheses]
        return [ways[i : i + self.outputs] for i in range(0, len(ways), self.outputs)]

    def advance(self) -> bool:
        """One more id for every row; False when all outputs have ended."""
        answer = ask(self.stepper, self.state, self.last_ids, plan=self.plan, rules=self.rules, top_k=self.picker.top_k)
        picked = self.picker.pick(answer, self.ways, self.length)
        self.history.add(picked.ids, picked.log_probs, self.rows, self.nodes, answer.attention)
        live: Bools = picked.log_probs > -np.inf
        if not live.all():  # nothing may be chosen any more: these end as they stand, unfinished
            self._set_aside(~live, self.nodes, grade=CUT)
        self.scores = self.scores + picked.values
        if self.plan.ranking.coverage_penalty:
            self.received = self.plan.receive(self.received, answer.attention, self.ways // self.outputs)
        self.length += 1
        goes_on = picked.ids != EOS
        if not goes_on.all():
            self._set_aside(live & ~goes_on, self.rows, grade=FINISHED)
            live &= goes_on
        if self.length >= self.soonest:
            at_limit = self.length >= self.limits
            self._set_aside(live & at_limit, self.rows, grade=CUT)
            live &= ~at_limit
        self._keep(answer.state, picked.ids, live)
        return len(self.ways) > 0

    def _set_aside(self, which: Bools, nodes: Ints, *, grade: int) -> None:
        rows = np.flatnonzero(which)
        received = None if self.received is None else self.received[rows]
        self.finished.add(self.ways[rows], self.length, nodes[rows], self.scores[rows], received, grade=grade)

    def _keep(self, state: State, ids: Ints, live: Bools) -> None:
        """Go on with the live rows."""
        self.nodes, self.last_ids, self.state = self.rows, ids, state
        if not live.all():
            rows = self.nodes = np.flatnonzero(live)
            self.rows, self.last_ids = np.arange(len(rows)), ids[rows]
            self.ways, self.limits, self.scores = self.ways[rows], self.limits[rows], self.scores[rows]
            self.received = None if self.received is None else self.received[rows]
            if not len(rows):
                return
            self.soonest = int(self.limits.min())
            self.state = self.stepper.select(state, rows)
        self.rules = self.rules.move(self.nodes, self.last_ids) if self.rules is not None else None

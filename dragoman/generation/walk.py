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
class Rows:
    """Which outputs the rows of a step are."""

    sentences: Ints
    """(rows,): the source of each."""
    samples: Ints
    """(rows,): which of its source's outputs each is, from 0."""
    length: int
    """Ids that each has already."""


class Picker(Protocol):
    """Chooses every row's next id."""

    @property
    def top_k(self) -> int | None:
        """How many ids it must see; None for all."""
        ...

    def pick(self, answer: Answer, rows: Rows, /) -> Ints:
        """The column of each row's choice in `answer.ids`; its value must not be -inf if another's is not."""
        ...


class Greedy:
    """Picks the most probable id."""

    top_k: int | None = 1

    def pick(self, answer: Answer, _rows: Rows, /) -> Ints:
        """The first column: candidates come best first."""
        return np.zeros(len(answer.ids), np.int64)


class Walk:
    """A running search of one way per output: `advance` until it returns False, then `results`."""

    def __init__(self, stepper: Stepper, plan: Plan, picker: Picker, *, outputs: int = 1) -> None:
        sources = len(plan.source_ids)
        self.stepper, self.plan, self.picker, self.outputs = stepper, plan, picker, outputs
        self.history = History()
        self.finished = Finished(sources * outputs, 1, plan.ranking)
        self.length = 0

        # Each (rows,)
        self.ways = np.arange(sources * outputs)
        """Source times `outputs` plus sample."""
        self.nodes = self.ways
        self.limits = plan.max_lengths.repeat(outputs)
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
        sentences, samples = np.divmod(self.ways, self.outputs)
        answer = ask(self.stepper, self.state, self.last_ids, plan=self.plan, rules=self.rules, top_k=self.picker.top_k)
        columns = self.picker.pick(answer, Rows(sentences, samples, self.length))
        rows = np.arange(len(columns))
        ids, log_probs = answer.ids[rows, columns], answer.log_probs[rows, columns]
        self.history.add(ids, log_probs, rows, self.nodes, answer.attention)
        live: Bools = log_probs > -np.inf
        if not live.all():  # nothing may be chosen any more: these end as they stand, unfinished
            self._set_aside(~live, self.nodes, grade=CUT)
        self.scores = self.scores + answer.values[rows, columns]
        self.received = self.plan.receive(self.received, answer.attention, sentences)
        self.length += 1
        ended = live & (ids == EOS)
        if ended.any():
            self._set_aside(ended, rows, grade=FINISHED)
            live &= ~ended
        if self.length >= self.limits.min():
            at_limit = self.length >= self.limits
            self._set_aside(live & at_limit, rows, grade=CUT)
            live &= ~at_limit
        self._keep(answer.state, ids, live)
        return len(self.ways) > 0

    def _set_aside(self, which: Bools, nodes: Ints, *, grade: int) -> None:
        rows = np.flatnonzero(which)
        received = None if self.received is None else self.received[rows]
        self.finished.add(self.ways[rows], self.length, nodes[rows], self.scores[rows], received, grade=grade)

    def _keep(self, state: State, ids: Ints, live: Bools) -> None:
        """Go on with the live rows."""
        rows = np.flatnonzero(live)
        self.rules = self.rules.move(rows, ids[rows]) if self.rules is not None else None
        self.nodes, self.last_ids, self.state = rows, ids, state
        if len(rows) == len(ids):
            return
        self.last_ids = ids[rows]
        self.ways, self.limits, self.scores = self.ways[rows], self.limits[rows], self.scores[rows]
        self.received = None if self.received is None else self.received[rows]
        if len(rows):
            self.state = self.stepper.select(state, rows)

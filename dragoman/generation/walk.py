"""Search with one way per output: greedy search, and the frame in which samples are drawn; knows no beams.

Every row is one output from its first id to its last. A *picker* chooses each row's next id; greedy search takes the
most probable one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dragoman.generation.finish import Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan
from dragoman.generation.stepper import BOS, EOS, Bools, Floats, Ints, State, Step, Stepper


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

    def pick(self, step: Step, rows: Rows, /) -> Ints:
        """The column of each row's choice in `step.ids`; disallowed ids have log-probability -inf."""
        ...


class Greedy:
    """Picks the most probable id."""

    top_k: int | None = 1

    def pick(self, step: Step, _rows: Rows, /) -> Ints:
        """The first column: candidates come best first."""
        return np.zeros(len(step.ids), np.int64)


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
        self.scores = np.zeros(sources * outputs)
        self.received: Floats | None = None
        self.last_ids = np.full(sources * outputs, BOS, np.int64)
        self.state: State = stepper.start(plan.source_ids)
        if outputs > 1:
            self.state = stepper.select(self.state, self.ways // outputs)

    def results(self) -> list[list[Hypothesis]]:
        """The outputs of every source, in the order of their samples."""
        found = self.finished.results(self.history, self.plan.source_lengths.repeat(self.outputs))
        ways = [hypothesis for hypotheses in found for hypothesis in hypotheses]
        return [ways[i : i + self.outputs] for i in range(0, len(ways), self.outputs)]

    def advance(self) -> bool:
        """One more id for every row; False when all outputs have ended."""
        sentences, samples = np.divmod(self.ways, self.outputs)
        step = self._ask()
        columns = self.picker.pick(step, Rows(sentences, samples, self.length))
        rows = np.arange(len(columns))
        ids, log_probs = step.ids[rows, columns], step.log_probs[rows, columns]
        self.history.add(ids, log_probs, rows, self.nodes, step.attention)
        live: Bools = log_probs > -np.inf
        if not live.all():  # nothing may be chosen any more: these end as they stand, unfinished
            self._set_aside(~live, self.nodes, finished=False)
        self.scores = self.scores + log_probs
        self.received = self.plan.receive(self.received, step.attention, sentences)
        self.length += 1
        ended = live & (ids == EOS)
        if ended.any():
            self._set_aside(ended, rows, finished=True)
            live &= ~ended
        if self.length >= self.limits.min():
            at_limit = self.length >= self.limits
            self._set_aside(live & at_limit, rows, finished=False)
            live &= ~at_limit
        self._keep(step.state, ids, live)
        return len(self.ways) > 0

    def _ask(self) -> Step:
        """What the picker must see of the model's next step, with -inf for ids that are never chosen."""
        never = self.plan.never
        if self.picker.top_k == 1:
            # Asking for one id is cheaper than for enough to drop some, and a trained model never prefers `<pad>`.
            step = self.stepper.step(self.state, self.last_ids, top_k=1)
            if not np.isinf(never[step.ids]).any():
                return step
            allowed = np.broadcast_to(never == 0, (len(self.ways), len(never))).copy()
            return self.stepper.step(self.state, self.last_ids, top_k=1, allowed=allowed)
        top_k = None if self.picker.top_k is None else self.plan.top_k(self.picker.top_k)
        step = self.stepper.step(self.state, self.last_ids, top_k=top_k)
        return Step(step.ids, step.log_probs + never[step.ids], step.attention, step.state)

    def _set_aside(self, which: Bools, nodes: Ints, *, finished: bool) -> None:
        rows = np.flatnonzero(which)
        received = None if self.received is None else self.received[rows]
        self.finished.add(self.ways[rows], self.length, nodes[rows], self.scores[rows], received, finished=finished)

    def _keep(self, state: State, ids: Ints, live: Bools) -> None:
        """Go on with the live rows."""
        self.nodes, self.last_ids, self.state = np.arange(len(ids)), ids, state
        if live.all():
            return
        rows = np.flatnonzero(live)
        self.nodes, self.last_ids = rows, ids[rows]
        self.ways, self.limits, self.scores = self.ways[rows], self.limits[rows], self.scores[rows]
        self.received = None if self.received is None else self.received[rows]
        if len(rows):
            self.state = self.stepper.select(state, rows)

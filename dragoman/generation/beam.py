"""Beam search over a batch of sources, as small named operations; knows a Stepper and arrays only.

A *beam* keeps the best unfinished outputs of one source (with diverse search, of one group of one source); it has
`places` for so many. All beams advance together: the rows of all of them are one batch for the model.

One step:
1. `ask` the model for the best continuations of every row;
2. `expand`: lay the candidates' scores out by beam;
3. choose the best of each beam (`choose_best`, or another chooser);
4. record them in the history;
5. finish: outputs that chose `</s>` or reached the maximum length are set aside;
6. stop beams that have no place left, or whose live outputs can no longer matter;
7. keep the others, and reorder the model's state to match.

The rules that stop a source's search (`stopping`):
- "full": a finished output keeps its place, so the beam narrows by one for each; the search ends when no place is
  left. With one place that is greedy search.
- "first": as "full", but the search ends as soon as `num_hypotheses` outputs have finished.
- "exact": finished outputs give their places back; the search ends when nothing live can matter.
Under each of them the search also ends when no live output can reach the `num_hypotheses`-th best finished normalised
score any more: `Ranking.bound` is an upper bound for whatever the model may still say, so this changes no result.

Ties go to the earlier output: to the better place in the beam, then to the id that the Stepper ranks first (the lower
one), and among finished outputs to the one that finished first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dragoman.generation.finish import Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan
from dragoman.generation.stepper import BOS, EOS, Bools, Floats, Ints, State, Step, Stepper

SORT_LIMIT = 4096
"""Rows of candidates longer than this are cut by selection before they are sorted."""


@dataclass(frozen=True)
class Candidates:
    """All continuations of all rows at one step, laid out by beam."""

    values: Floats
    """(beams, slots * k): what candidates are ranked by; -inf where there is none."""
    ids: Ints
    """(rows, k): the ids, by row."""
    first_row: Ints
    """(beams,): the row of each beam's best output; its others follow."""
    places: Ints
    """(beams,): how many outputs each beam may still choose."""
    sentences: Ints
    """(beams,): the source that each beam belongs to."""

    def locate(self, beams: Ints, flat: Ints) -> tuple[Ints, Ints]:
        """Row and column in `ids` of positions `flat` in the values of `beams` (broadcast against each other)."""
        slots, columns = np.divmod(flat, self.ids.shape[1])
        return self.first_row[beams] + slots, columns


Chooser = Callable[[Candidates], tuple[Ints, Bools]]
"""Gives `(beams, n)` positions in the values, best first, and which of them are chosen."""


def expand(totals: Floats, log_probs: Floats, beam_of_row: Ints, first_row: Ints) -> Floats:
    """Scores of all continuations by beam: `(rows,)` and `(rows, k)` -> (beams, slots * k), -inf for empty slots."""
    rows, k = log_probs.shape
    beams = len(first_row)
    candidates = totals[:, None] + log_probs
    slots = -(-rows // beams)
    if rows == beams * slots and (first_row == np.arange(beams) * slots).all():
        return candidates.reshape(beams, slots * k)  # (B·S, k) -> (B, S·k)
    slot_of_row = np.arange(rows) - first_row[beam_of_row]
    slots = int(slot_of_row.max()) + 1
    values = np.full((beams, slots, k), -np.inf)
    values[beam_of_row, slot_of_row] = candidates
    return values.reshape(beams, slots * k)  # (B, S, k) -> (B, S·k)


def best(values: Floats, n: int) -> Ints:
    """Positions of the n best of each row, best first, ties to the lower position: `(rows, width)` -> (rows, n)."""
    width = values.shape[1]
    n = min(n, width)
    if width <= SORT_LIMIT:
        order: Ints = (-values).argsort(axis=1, kind="stable")[:, :n]
        return order
    cutoffs = np.partition(values, width - n, axis=1)[:, width - n]
    order = np.empty((len(values), n), np.int64)
    for row, (line, cutoff) in enumerate(zip(values, cutoffs, strict=True)):
        places = np.flatnonzero(line >= cutoff)
        order[row] = places[(-line[places]).argsort(kind="stable")[:n]]
    return order


def choose_best(candidates: Candidates) -> tuple[Ints, Bools]:
    """The best candidates of each beam, finished or not, as many as it has places."""
    order = best(candidates.values, int(candidates.places.max()))
    values = candidates.values[np.arange(len(order))[:, None], order]
    taken: Bools = values > -np.inf
    taken &= np.arange(order.shape[1]) < candidates.places[:, None]
    return order, taken


def choose_open(candidates: Candidates) -> tuple[Ints, Bools]:
    """For "exact": the best unfinished candidates, as many as there are places, and every `</s>` among the best so many."""
    order = best(candidates.values, 2 * int(candidates.places.max()))
    beams = np.arange(len(order))[:, None]
    ends = candidates.ids[candidates.locate(beams, order)] == EOS
    places = candidates.places[:, None]
    within = np.where(ends, np.arange(order.shape[1]) < places, (~ends).cumsum(axis=1) <= places)
    return order, within & (candidates.values[beams, order] > -np.inf)


@dataclass(frozen=True)
class Chosen:
    """The nodes of one step, by beam and then best first; all arrays are (nodes,)."""

    beams: Ints
    """The beam of each."""
    rows: Ints
    """The row that each continues."""
    ids: Ints
    """The ids chosen."""
    ranks: Floats
    """What they were chosen by: scores, less whatever steers the search."""
    scores: Floats
    """Sums of log-probabilities."""
    received: Floats | None
    """(nodes, source_length): attention that each source position got so far, if a coverage penalty needs it."""


class Beam:
    """A running beam search: `advance` until it returns False, then `results`."""

    def __init__(self, stepper: Stepper, plan: Plan) -> None:
        options = plan.options
        sources = len(plan.source_ids)
        self.stepper, self.plan = stepper, plan
        self.open = options.stopping == "exact"
        self.choose: Chooser = choose_open if self.open else choose_best
        self.top_k = plan.top_k(options.beam_size + self.open)
        self.history = History()
        self.finished = Finished(sources, options.num_hypotheses, plan.ranking)
        self.length = 0
        """Ids in every live output."""

        # Beams still at work, each (beams,)
        self.sentences = np.arange(sources)
        self.places = np.full(sources, options.beam_size)
        self.limits = plan.max_lengths
        self.first_row = np.arange(sources)

        # Rows still at work, each (rows,); the rows of a beam stand together, best first
        self.state: State = stepper.start(plan.source_ids)
        self.last_ids = np.full(sources, BOS, np.int64)
        self.ranks: Floats = np.zeros(sources)
        self.scores: Floats = np.zeros(sources)
        self.beam_of_row = np.arange(sources)
        self.nodes = np.arange(sources)
        self.received: Floats | None = None

    def results(self) -> list[list[Hypothesis]]:
        """The best outputs of every source, best first; fewer than asked for if no more exist."""
        return self.finished.results(self.history, self.plan.source_lengths)

    def advance(self) -> bool:
        """One step of all beams; False when every search has ended."""
        step = self._ask()
        chosen = self._choose(step)
        self.length += 1
        live = self._set_ended_aside(chosen)
        self._keep(step.state, chosen, live)
        return len(self.scores) > 0

    def _ask(self) -> Step:
        """The model's best continuations of every row, with -inf for ids that are never chosen."""
        step = self.stepper.step(self.state, self.last_ids, top_k=self.top_k)
        return Step(step.ids, step.log_probs + self.plan.never[step.ids], step.attention, step.state)

    def _choose(self, step: Step) -> Chosen:
        """Expand all rows, choose each beam's best candidates and record them."""
        values = expand(self.ranks, step.log_probs, self.beam_of_row, self.first_row)
        candidates = Candidates(values, step.ids, self.first_row, self.places, self.sentences)
        order, taken = self.choose(candidates)
        beams, positions = taken.nonzero()
        flat = order[beams, positions]
        if len(beams) < taken.size:
            self._set_stuck_aside(beams)
        rows, columns = candidates.locate(beams, flat)
        ids, log_probs = step.ids[rows, columns], step.log_probs[rows, columns]
        self.history.add(ids, log_probs, rows, self.nodes, step.attention)
        received = self.plan.receive(self.received, step.attention, self.sentences[self.beam_of_row])
        received = None if received is None else received[rows]
        return Chosen(beams, rows, ids, candidates.values[beams, flat], self.scores[rows] + log_probs, received)

    def _set_stuck_aside(self, chosen_beams: Ints) -> None:
        """Beams without a single candidate (all ids forbidden, or NaN) end as they stand, unfinished."""
        stuck = np.ones(len(self.sentences), np.bool_)
        stuck[chosen_beams] = False
        rows = np.flatnonzero(stuck[self.beam_of_row])
        if len(rows):
            sentences = self.sentences[self.beam_of_row[rows]]
            received = None if self.received is None else self.received[rows]
            self.finished.add(sentences, self.length, self.nodes[rows], self.scores[rows], received, finished=False)

    def _set_ended_aside(self, chosen: Chosen) -> Bools:
        """Set aside what chose `</s>` or is at its maximum length, and close beams that are done; which nodes go on."""
        live: Bools = chosen.ids != EOS
        if not live.all():
            ended = ~live
            self._set_aside(chosen, ended, finished=True)
            if not self.open:
                self.places = self.places - np.bincount(chosen.beams[ended], minlength=len(self.places))
        if self.length >= self.limits.min():
            at_limit = self.length >= self.limits[chosen.beams]
            self._set_aside(chosen, live & at_limit, finished=False)
            live &= ~at_limit
        if self.finished.any_full:
            live &= ~self._decided(chosen, live)[chosen.beams]
        return live

    def _set_aside(self, chosen: Chosen, which: Bools, *, finished: bool) -> None:
        nodes = np.flatnonzero(which)
        received = None if chosen.received is None else chosen.received[nodes]
        sentences = self.sentences[chosen.beams[nodes]]
        self.finished.add(sentences, self.length, nodes, chosen.scores[nodes], received, finished=finished)

    def _decided(self, chosen: Chosen, live: Bools) -> Bools:
        """The stop rule, (beams,): whether nothing live can still change what is found for the beam's source."""
        worst = self.finished.best[:, -1]
        if self.plan.options.stopping == "first":
            enough: Bools = worst[self.sentences] > -np.inf
            return enough
        beams = chosen.beams[live]
        reach = np.full(len(worst), -np.inf)
        np.maximum.at(reach, self.sentences[beams], self.plan.ranking.bound(chosen.scores[live], self.limits[beams]))
        decided: Bools = (reach <= worst)[self.sentences]
        return decided

    def _keep(self, state: State, chosen: Chosen, live: Bools) -> None:
        """Go on with the live nodes: number their beams anew and reorder the model's state."""
        nodes = np.flatnonzero(live)
        rows, beams = chosen.rows[nodes], chosen.beams[nodes]
        busy = np.zeros(len(self.sentences), np.bool_)
        busy[beams] = True
        if not busy.all():
            self.sentences, self.places, self.limits = self.sentences[busy], self.places[busy], self.limits[busy]
            beams = (busy.cumsum() - 1)[beams]
        before = len(self.scores)
        self.nodes, self.beam_of_row = nodes, beams
        self.first_row = np.searchsorted(beams, np.arange(len(self.sentences)))
        self.last_ids, self.ranks, self.scores = chosen.ids[nodes], chosen.ranks[nodes], chosen.scores[nodes]
        self.received = None if chosen.received is None else chosen.received[nodes]
        if len(nodes):
            unmoved = len(rows) == before and bool((rows == np.arange(before)).all())
            self.state = state if unmoved else self.stepper.select(state, rows)

"""Beam search over a batch of sources; knows a Stepper and arrays only.

A *beam* keeps the best unfinished outputs of one source (in diverse search, of one group of one source); it has `places`
for so many. All beams advance together: the rows of all of them are one batch for the model.

One step:
1. ask the model for the best continuations of every row;
2. expand: lay the candidates' values out by beam;
3. choose the best of each beam, by one of the choosers of `dragoman.generation.choosing`, and record them;
4. set aside outputs that chose `</s>` or reached the maximum length;
5. close beams that have no place left, or whose live outputs can no longer matter;
6. keep the others, and reorder the model's state to match.

The rules that end a source's search (`stopping`):
- "full": a finished output keeps its place, so the beam narrows by one for each; the search ends when no place is
  left. With one place that is greedy search.
- "first": as "full", but the search ends as soon as `num_hypotheses` outputs have finished (of several groups, so many times
  their number, as groups may find the same).
- "exact": finished outputs give their places back; the search ends when nothing live can matter.
Under each of them the search also ends when no live output can reach the `num_hypotheses`-th best finished normalised
score any more: `Ranking.bound` is an upper bound for whatever the model may still say, so this changes no result.

Ties go to the earlier output: to the better place in the beam, then to the id that the Stepper ranks first (the lower
one), and among finished outputs to the one that finished first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dragoman.generation.ask import Answer, ask
from dragoman.generation.choosing import (
    Candidates,
    Layout,
    choose_best,
    choose_by_banks,
    choose_diverse,
)
from dragoman.generation.finish import CUT, FINISHED, LACKING, Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan
from dragoman.generation.stepper import BOS, EOS, Bools, Floats, Ints, State, Stepper

if TYPE_CHECKING:
    from dragoman.generation.tracing import Trace

DIVERSITY_PENALTY = 0.5
"""What diverse groups use if nothing else is asked for."""


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
    """What they were chosen by: totals, less what keeps groups diverse."""
    totals: Floats
    """Sums of log-probabilities, less repetition penalties."""
    received: Floats | None
    """(nodes, source_length): attention that each source position got so far, if a coverage penalty needs it."""
    values: Floats
    """(beams, slots * k): what all candidates were ranked by."""


class Beam:
    """A running beam search: `advance` until it returns False, then `results`."""

    def __init__(self, stepper: Stepper, plan: Plan, *, trace: Trace | None = None) -> None:
        options = plan.options
        sources, groups = len(plan.source_ids), options.beam_groups
        self.stepper, self.plan, self.trace = stepper, plan, trace
        self.open = options.stopping == "exact"
        self.history = History()
        self.finished = Finished(sources, options.num_hypotheses, plan.ranking, copies=groups)
        self.length = 0
        """Ids in every live output."""

        # Beams still at work, each (beams,)
        self.sentences = np.arange(sources).repeat(groups)
        self.groups = np.tile(np.arange(groups), sources)
        self.places = np.full(sources * groups, options.beam_size // groups)
        self.limits = plan.max_lengths.repeat(groups)
        self.soonest = int(self.limits.min())
        """The lowest of the limits."""
        self.layout = Layout(np.ones(sources * groups, np.int64))

        # Rows still at work, each (rows,); the rows of a beam stand together, best first
        self.state: State = stepper.start(plan.source_ids)
        self.rules = plan.rules
        if groups > 1:
            self.state = stepper.select(self.state, self.sentences)
            self.rules = self.rules.select(self.sentences) if self.rules is not None else None
        self.last_ids = np.full(sources * groups, BOS, np.int64)
        self.ranks: Floats = np.zeros(sources * groups)
        self.totals: Floats = self.ranks
        self.nodes = np.arange(sources * groups)
        self.received: Floats | None = None
        if trace is not None:
            trace.begin(sources, len(self.nodes))

    def results(self) -> list[list[Hypothesis]]:
        """The best outputs of every source, best first; fewer than asked for if no more exist."""
        return self.finished.results(self.history, self.plan.source_lengths)

    def advance(self) -> bool:
        """One step of all beams; False when every search has ended."""
        # Places for all groups, so that a group's best remain whatever the groups before it have made dearer.
        top_k = self.plan.options.beam_size + self.open
        answer = ask(self.stepper, self.state, self.last_ids, plan=self.plan, rules=self.rules, top_k=top_k)
        places = self.places
        chosen = self._choose(answer)
        self.length += 1
        live = self._set_ended_aside(chosen)
        if self.trace is not None:
            self._show(self.trace, answer, chosen, live, places)
        self._keep(answer.state, chosen, live)
        return len(self.ranks) > 0

    def _choose(self, answer: Answer) -> Chosen:
        """Expand all rows, choose each beam's best candidates and record them."""
        values = self.layout.by_beam(self.ranks[:, None] + answer.values, fill=-np.inf)
        ends = self.layout.by_beam(answer.ids == EOS, fill=0) if self.open else None
        candidates = Candidates(values, answer.ids, self.layout, self.places, self.sentences, ends)
        order, taken = self._chooser(candidates)
        beams, positions = taken.nonzero()
        flat = order[beams, positions]
        if len(beams) < taken.size:
            self._set_stuck_aside(beams)
        rows, columns = candidates.locate(beams, flat)
        ids = answer.ids[rows, columns]
        self.history.add(ids, answer.log_probs[rows, columns], rows, self.nodes, answer.attention)
        ranks = candidates.values[beams, flat]
        totals = ranks if self.plan.options.beam_groups == 1 else self.totals[rows] + answer.values[rows, columns]
        received = None
        if self.plan.ranking.coverage_penalty:
            sentences = self.sentences[self.layout.beam_of_row]
            received = self.plan.receive(self.received, answer.attention, sentences)[rows]
        return Chosen(beams, rows, ids, ranks, totals, received, candidates.values)

    def _chooser(self, candidates: Candidates) -> tuple[Ints, Bools]:
        options = self.plan.options
        if self.rules is not None and self.plan.required:
            met = self.layout.by_beam(self.rules.met(candidates.ids), fill=-1)
            return choose_by_banks(candidates, met=met)
        if options.beam_groups > 1:
            ids = self.layout.by_beam(candidates.ids, fill=0)
            penalty = options.diversity_penalty or DIVERSITY_PENALTY
            return choose_diverse(candidates, groups=self.groups, ids=ids, penalty=penalty)
        return choose_best(candidates)

    def _set_stuck_aside(self, chosen_beams: Ints) -> None:
        """Beams without a single candidate (all ids forbidden, or NaN) end as they stand, unfinished."""
        stuck = np.ones(len(self.sentences), np.bool_)
        stuck[chosen_beams] = False
        stuck_rows = stuck[self.layout.beam_of_row]
        lacking = np.zeros(len(stuck_rows), np.bool_) if self.rules is None else self.rules.lacking()
        for grade, which in ((CUT, stuck_rows & ~lacking), (LACKING, stuck_rows & lacking)):
            rows = np.flatnonzero(which)
            sentences = self.sentences[self.layout.beam_of_row[rows]]
            received = None if self.received is None else self.received[rows]
            self.finished.add(sentences, self.length, self.nodes[rows], self.totals[rows], received, grade=grade)

    def _set_ended_aside(self, chosen: Chosen) -> Bools:
        """Set aside what chose `</s>` or is at its maximum length, and close beams that are done; which nodes go on."""
        live: Bools = chosen.ids != EOS
        if not live.all():
            ended = ~live
            self._set_aside(chosen, ended, grade=FINISHED)
            if not self.open:
                self.places = self.places - np.bincount(chosen.beams[ended], minlength=len(self.places))
        if self.length >= self.soonest:
            at_limit = self.length >= self.limits[chosen.beams]
            moved = None if self.rules is None else self.rules.move(chosen.rows, chosen.ids)
            lacking = np.zeros(len(live), np.bool_) if moved is None else moved.lacking()
            self._set_aside(chosen, live & at_limit & ~lacking, grade=CUT)
            self._set_aside(chosen, live & at_limit & lacking, grade=LACKING)
            live &= ~at_limit
        if self.finished.any_full:
            live &= ~self._decided(chosen, live)[chosen.beams]
        return live

    def _set_aside(self, chosen: Chosen, which: Bools, *, grade: int) -> None:
        nodes = np.flatnonzero(which)
        received = None if chosen.received is None else chosen.received[nodes]
        sentences = self.sentences[chosen.beams[nodes]]
        self.finished.add(sentences, self.length, nodes, chosen.totals[nodes], received, grade=grade)

    def _decided(self, chosen: Chosen, live: Bools) -> Bools:
        """The stop rule, (beams,): whether nothing live can still change what is found for the beam's source."""
        worst = self.finished.best[:, -1]
        if self.plan.options.stopping == "first":
            enough: Bools = worst[self.sentences] > -np.inf
            return enough
        beams = chosen.beams[live]
        reach = np.full(len(worst), -np.inf)
        np.maximum.at(reach, self.sentences[beams], self.plan.ranking.bound(chosen.totals[live], self.limits[beams]))
        decided: Bools = (reach <= worst)[self.sentences]
        return decided

    def _show(self, trace: Trace, answer: Answer, chosen: Chosen, live: Bools, places: Ints) -> None:
        trace.record(
            sentences=self.sentences,
            groups=self.groups,
            places=places,
            first_row=self.layout.first_row,
            ids=answer.ids,
            log_probs=answer.log_probs,
            values=chosen.values,
            rows=chosen.rows,
            chosen=chosen.ids,
            live=live,
            cut=(chosen.ids != EOS) & (self.length >= self.limits[chosen.beams]),
            shared=self.plan.required,
            enough=self.plan.options.stopping == "first",
        )

    def _keep(self, state: State, chosen: Chosen, live: Bools) -> None:
        """Go on with the live nodes: number their beams anew and reorder the model's state."""
        rows, beams, before = chosen.rows, chosen.beams, len(self.ranks)
        self.last_ids, self.ranks, self.totals, self.received = chosen.ids, chosen.ranks, chosen.totals, chosen.received
        if live.all():
            self.nodes = np.arange(len(rows))
        else:
            nodes = self.nodes = np.flatnonzero(live)
            rows, beams = rows[nodes], beams[nodes]
            self.last_ids, self.ranks, self.totals = self.last_ids[nodes], self.ranks[nodes], self.totals[nodes]
            self.received = None if self.received is None else self.received[nodes]
        if not len(rows):
            return
        if len(beams) != before or (len(self.sentences) > 1 and (beams != self.layout.beam_of_row).any()):
            self._lay_out(np.bincount(beams, minlength=len(self.sentences)))
        self.rules = self.rules.move(rows, self.last_ids) if self.rules is not None else None
        unmoved = len(rows) == before and bool((rows == np.arange(before)).all())
        self.state = state if unmoved else self.stepper.select(state, rows)

    def _lay_out(self, sizes: Ints) -> None:
        """Keep the beams that have rows, `sizes` being how many each has."""
        busy = sizes > 0
        if not busy.all():
            self.sentences, self.groups = self.sentences[busy], self.groups[busy]
            self.places, self.limits, sizes = self.places[busy], self.limits[busy], sizes[busy]
            self.soonest = int(self.limits.min())
        self.layout = Layout(sizes)

"""The whole history of a beam search, for people and for JSON; knows what a beam did, and changes nothing of it.

    trace = Trace()
    search(stepper, source_ids, options=options, trace=trace)
    json.dumps(trace.as_dict())

Every candidate that the model was asked for is there, with its fate:
- `kept`: it went on to the next step;
- `finished`: it ended in `</s>`;
- `pruned`: others took the places;
- `forbidden`: it may not be chosen (`<pad>`, `<s>`, a constraint);
- `cut`: it reached the maximum length;
- `stopped`: the search ended, as it could no longer matter, or as enough outputs had finished (`stopping` "first").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from dragoman.errors import counted
from dragoman.generation.stepper import EOS, Bools, Floats, Ints

Fate = Literal["kept", "finished", "pruned", "forbidden", "cut", "stopped"]


@dataclass(frozen=True)
class TracedCandidate:
    """One continuation of one output of the beam."""

    place: int
    """Place of the output that it continues, from 0 for the best."""
    id: int
    """The id that it adds."""
    log_prob: float | None
    """The id's log-probability; None if it is forbidden."""
    rank: float | None
    """What it was ranked by: log-probabilities so far, less penalties; None if it is forbidden."""
    fate: Fate
    """What became of it."""
    reason: str
    """Why, in words."""


@dataclass(frozen=True)
class TracedStep:
    """One step of one beam."""

    step: int
    """Its number, from 0."""
    group: int
    """The diverse group, 0 if there is only one."""
    places: int
    """How many candidates could be chosen."""
    outputs: list[list[int]]
    """The unfinished outputs before the step, best first."""
    candidates: list[TracedCandidate]
    """All continuations, by place, most probable first."""


@dataclass
class Trace:
    """Records what it is shown; give a new one to each search."""

    sources: list[list[TracedStep]] = field(default_factory=list)
    """The steps of every source."""
    _prefixes: list[list[int]] = field(default_factory=list)

    def as_dict(self, name: Callable[[int], str] | None = None) -> dict[str, Any]:
        """Everything as plain lists and numbers; `name` gives each candidate its `token` and each output its `tokens` besides."""
        sources = [[dataclasses.asdict(step) for step in steps] for steps in self.sources]
        if name is not None:
            for step in (step for steps in sources for step in steps):
                step["tokens"] = [[name(token) for token in output] for output in step["outputs"]]
                for candidate in step["candidates"]:
                    candidate["token"] = name(candidate["id"])
        return {"sources": sources}

    def begin(self, sources: int, rows: int) -> None:
        """A search of so many sources starts with so many rows."""
        self.sources = [[] for _ in range(sources)]
        self._prefixes = [[] for _ in range(rows)]

    def record(
        self,
        *,
        sentences: Ints,
        groups: Ints,
        places: Ints,
        first_row: Ints,
        ids: Ints,
        log_probs: Floats,
        values: Floats,
        rows: Ints,
        chosen: Ints,
        live: Bools,
        cut: Bools,
        shared: bool,
        enough: bool,
    ) -> None:
        """One step of all beams.

        By beam: `sentences`, `groups`, `places`, `first_row`, and `values`, (beams, slots * k). By row: `ids` and
        `log_probs`, (rows, k). By node: `rows` and `chosen` ids, and whether it goes on (`live`) or was `cut`. `shared` is
        whether the places were shared out by required tokens, `enough` whether the search ends with enough outputs.
        """
        how = ", with places shared out by required tokens" if shared else ""
        fates = {
            (int(row), int(token)): _fate(int(token), bool(goes_on), bool(is_cut), how, enough=enough)
            for row, token, goes_on, is_cut in zip(rows, chosen, live, cut, strict=True)
        }
        k = ids.shape[1]
        ends = [*first_row[1:].tolist(), len(ids)]
        for beam, (begin, end) in enumerate(zip(first_row.tolist(), ends, strict=True)):
            rank_of = (-values[beam]).argsort(kind="stable").argsort(kind="stable")
            candidates = []
            for row in range(begin, end):
                for column in range(k):
                    flat = (row - begin) * k + column
                    token, value = int(ids[row, column]), float(values[beam, flat])
                    fate, reason = fates.get((row, token)) or _fall(
                        value, int(rank_of[flat]) + 1, int(places[beam]), how
                    )
                    known = np.isfinite(value)
                    log_prob = float(log_probs[row, column]) if known else None
                    candidates.append(
                        TracedCandidate(row - begin, token, log_prob, value if known else None, fate, reason)
                    )
            steps = self.sources[int(sentences[beam])]
            outputs = [list(self._prefixes[row]) for row in range(begin, end)]
            number = len(outputs[0])
            steps.append(TracedStep(number, int(groups[beam]), int(places[beam]), outputs, candidates))
        self._prefixes = [
            [*self._prefixes[row], token]
            for row, token, goes_on in zip(rows.tolist(), chosen.tolist(), live.tolist(), strict=True)
            if goes_on
        ]


def _fate(token: int, live: bool, cut: bool, how: str, *, enough: bool) -> tuple[Fate, str]:
    if token == EOS:
        return "finished", "the model ended the output"
    if cut:
        return "cut", "the maximum length is reached"
    if live:
        return "kept", f"among the best{how}"
    if enough:
        return "stopped", "the search has ended: enough outputs have finished"
    return "stopped", "the search has ended: it cannot get among the best finished outputs any more"


def _fall(value: float, rank: int, places: int, how: str) -> tuple[Fate, str]:
    if not np.isfinite(value):
        return "forbidden", "the id may not be chosen here"
    return "pruned", f"number {rank} of the candidates, for {counted(places, 'place')}{how}"

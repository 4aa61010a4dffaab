"""The ids of one source's best output as they become certain; knows running searches, not what they run on.

With greedy search and sampling an id is certain when it is chosen. A beam's ids are certain when everything that can still
become the best output begins with them: all live outputs, and the best of those that have ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dragoman.config import SearchOptions
from dragoman.errors import OptionError
from dragoman.generation.beam import Beam
from dragoman.generation.constraints import Constraints
from dragoman.generation.finish import Finished
from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import make_plan
from dragoman.generation.search import begin
from dragoman.generation.stepper import Ints, Stepper
from dragoman.generation.walk import Walk


@dataclass(frozen=True)
class Streamed:
    """News of an output."""

    ids: tuple[int, ...]
    """Ids that have become certain since the last news."""
    hypothesis: Hypothesis | None = None
    """The whole output, with the last news."""


def stream(
    stepper: Stepper,
    source_ids: Sequence[int],
    *,
    options: SearchOptions | None = None,
    constraints: Constraints | None = None,
) -> Iterator[Streamed]:
    """Ids of the best output as they become certain; what `search` would return first comes with the last ones.

    All `ids` together are the hypothesis's. Raises `OptionError` for methods whose outputs are certain only at the end.
    """
    options = SearchOptions.of(options)
    check_method(options)
    if options.method == "sample":  # the first sample is the same without the others
        options = options.model_copy(update={"num_hypotheses": 1})
    plan = make_plan([source_ids], stepper.vocab_size, options=options, constraints=constraints)
    running = begin(stepper, plan)
    assert isinstance(running, Beam | Walk)
    return _follow(running)


def check_method(options: SearchOptions) -> None:
    """Raise `OptionError` for methods whose outputs are certain only at the end."""
    if options.method not in ("beam", "sample"):
        raise OptionError(f"`method` must be beam or sample for streaming, but is {options.method}")


def _follow(running: Beam | Walk) -> Iterator[Streamed]:
    known = 0
    while running.advance():
        new = certain(running.history, running.finished, running.nodes, known)
        if new:
            known += len(new)
            yield Streamed(new)
    hypothesis = running.results()[0][0]
    yield Streamed(hypothesis.ids[known:], hypothesis)


def certain(history: History, finished: Finished, nodes: Ints, known: int) -> tuple[int, ...]:
    """The ids from place `known` on that all live `nodes` of the last step share with the best output that has ended."""
    ids = []
    at = nodes
    for step in range(len(history.ids) - 1, known - 1, -1):
        ids.append(history.ids[step][at])
        at = history.back(step, at)[1]
    table = np.array(ids[::-1]).reshape(-1, len(nodes))  # (steps, nodes)
    same = (table == table[:, :1]).all(axis=1)
    best = finished.best_of(0)
    if best is not None:
        length, node = best
        words = history.rebuild(length, node, 0, 0.0).ids[known:]
        same[len(words) :] = False
        same[: len(words)] &= table[: len(words), 0] == np.array(words[: len(same)])
    shared = len(same) if same.all() else int(same.argmin())
    return tuple(table[:shared, 0].tolist())

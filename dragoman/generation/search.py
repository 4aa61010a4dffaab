"""The door of this room: outputs for sources, by the method that the options ask for; knows no text.

Results never depend on what else is in the batch: a source gets the outputs that it would get alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from dragoman.config import SearchOptions
from dragoman.errors import OptionError
from dragoman.generation.beam import Beam
from dragoman.generation.constraints import Constraints
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import Plan, make_plan
from dragoman.generation.stepper import Stepper
from dragoman.generation.walk import Greedy, Walk

if TYPE_CHECKING:
    from dragoman.generation.tracing import Trace


def search(
    stepper: Stepper,
    source_ids: Iterable[Sequence[int]],
    *,
    options: SearchOptions | None = None,
    constraints: Constraints | Sequence[Constraints | None] | None = None,
    trace: Trace | None = None,
) -> list[list[Hypothesis]]:
    """The best outputs of every source, best first, up to `num_hypotheses` of them (fewer if no more were found).

    `source_ids` are non-empty lists of ids without PAD. `constraints` are one set for all sources or one for each.
    `trace` records the beam's history. Raises `OptionError` before the model is asked anything if the options contradict
    each other or cannot be met. An output that reaches its maximum length is returned as it stands, with
    `finished=False`, after all finished ones (samples stay in the order in which they were drawn).

        search(stepper, [[5, 6, 7]], options=SearchOptions(beam_size=5))[0][0].ids
    """
    options = SearchOptions.of(options)
    plan = make_plan(source_ids, stepper.vocab_size, options=options, constraints=constraints)
    if not plan.source_ids:
        return []
    running = begin(stepper, plan, trace=trace)
    while running.advance():
        pass
    return running.results()


class Running(Protocol):
    """A search that is under way."""

    def advance(self) -> bool:
        """Do one step; False when there is nothing left to do."""
        ...

    def results(self) -> list[list[Hypothesis]]:
        """The outputs of every source."""
        ...


def begin(stepper: Stepper, plan: Plan, *, trace: Trace | None = None) -> Running:
    """The search that the options ask for, before its first step."""
    options = plan.options
    if trace is not None:
        check_traceable(options)
        return Beam(stepper, plan, trace=trace)
    # Only the method that is asked for is imported: it is a part of the time that one sentence takes.
    if options.method == "sample":
        from dragoman.generation.sampling import Sampler

        return Walk(stepper, plan, Sampler(plan), outputs=options.num_hypotheses)
    if options.method == "stochastic_beam":
        from dragoman.generation.stochastic import StochasticBeam

        return StochasticBeam(stepper, plan)
    if options.method == "best_first":
        from dragoman.generation.best_first import BestFirst

        return BestFirst(stepper, plan)
    # With one place "exact" is no greedy search: it goes on after `</s>`.
    if options.beam_size == 1 and options.stopping != "exact" and not plan.required:
        return Walk(stepper, plan, Greedy())
    return Beam(stepper, plan)


def check_traceable(options: SearchOptions) -> None:
    """Raise `OptionError` for methods that leave no trace."""
    if options.method != "beam":
        raise OptionError(f"a trace needs `method` beam, but it is {options.method}")

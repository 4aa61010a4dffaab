"""The door of this room: outputs for sources, by the method that the options ask for; knows no text.

Results never depend on what else is in the batch: a source gets the outputs that it would get alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from dragoman.config import SearchOptions
from dragoman.generation.beam import Beam
from dragoman.generation.constraints import Constraints
from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.plan import make_plan
from dragoman.generation.stepper import Stepper
from dragoman.generation.walk import Greedy, Walk


def search(
    stepper: Stepper,
    source_ids: Sequence[Sequence[int]],
    *,
    options: SearchOptions | None = None,
    constraints: Constraints | Sequence[Constraints | None] | None = None,
) -> list[list[Hypothesis]]:
    """The best outputs of every source, best first, up to `num_hypotheses` of them (fewer if no more exist).

    `source_ids` are non-empty lists of ids without PAD. Raises `OptionError` before the model is asked anything if the
    options contradict each other or cannot be met. `constraints` are one set for all sources or one for each. An output that reaches its maximum length is returned as it stands,
    with `finished=False`, after all finished ones.

        search(stepper, [[5, 6, 7]], options=SearchOptions(beam_size=5))[0][0].ids
    """
    options = options or SearchOptions()
    plan = make_plan(source_ids, stepper.vocab_size, options=options, constraints=constraints)
    if not plan.source_ids:
        return []
    single = options.beam_size == 1 and not plan.required
    running = Walk(stepper, plan, Greedy()) if single else Beam(stepper, plan)
    while running.advance():
        pass
    return running.results()

"""Several models as one: a Stepper whose probabilities are the average of others'; knows no model and no text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dragoman.errors import OptionError
from dragoman.generation.stepper import Bools, Floats, Ints, State, Step, Stepper, ranked


class EnsembleStepper:
    """Averages the probabilities of models with the same vocabularies, whatever their architectures.

    Each next id has probability `sum of weight * probability`; weights default to equal ones and are scaled to sum to 1.
    Attention is the average of the models that have any. Where vocabularies differ, n-best lists are combined instead
    (`dragoman.translation.choosing.by_all_models`).
    """

    def __init__(self, steppers: Sequence[Stepper], *, weights: Sequence[float] | None = None) -> None:
        if not steppers:
            raise OptionError("an ensemble must have at least one model, but has none")
        sizes = sorted({stepper.vocab_size for stepper in steppers})
        if len(sizes) > 1:
            raise OptionError(
                "the models of an ensemble must share one target vocabulary, "
                f"but theirs have {' and '.join(str(size) for size in sizes)} tokens"
            )
        shares = np.ones(len(steppers)) if weights is None else np.array(weights, np.float64)
        if len(shares) != len(steppers) or not (shares > 0).all() or not np.isfinite(shares).all():
            raise OptionError(
                f"the weights of an ensemble must be positive, one for each of its {len(steppers)} models, "
                f"but are {shares.tolist()}"
            )
        self.steppers = tuple(steppers)
        self.log_weights = np.log(shares / shares.sum())

    @property
    def vocab_size(self) -> int:
        """Size of the target vocabulary."""
        return self.steppers[0].vocab_size

    def start(self, source_ids: list[list[int]]) -> State:
        """Encode the sources with every model."""
        return tuple(stepper.start(source_ids) for stepper in self.steppers)

    def step(
        self,
        state: State,
        last_ids: Ints,
        *,
        top_k: int | None,
        allowed: Bools | None = None,
        bias: Floats | None = None,
    ) -> Step:
        """One step of every model, averaged."""
        steps = [stepper.step(part, last_ids, top_k=None) for stepper, part in zip(self.steppers, state, strict=True)]
        log_probs = steps[0].log_probs + self.log_weights[0]
        for step, log_weight in zip(steps[1:], self.log_weights[1:], strict=True):
            log_probs = np.logaddexp(log_probs, step.log_probs + log_weight)
        ids, chosen = ranked(log_probs, top_k=top_k, allowed=allowed, bias=bias)
        return Step(ids, chosen, self._attention(steps), tuple(step.state for step in steps))

    def select(self, state: State, rows: Ints) -> State:
        """Reorder rows in every model."""
        return tuple(stepper.select(part, rows) for stepper, part in zip(self.steppers, state, strict=True))

    def _attention(self, steps: list[Step]) -> Floats | None:
        weighted = [
            (float(np.exp(log_weight)), step.attention)
            for log_weight, step in zip(self.log_weights, steps, strict=True)
            if step.attention is not None
        ]
        if not weighted:
            return None
        total = sum(share for share, _ in weighted)
        average: Floats = np.sum([share / total * attention for share, attention in weighted], axis=0)
        return average

"""The learning rate and the share of sampled inputs as functions of the step; knows no optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to `peak`, then the decay called `kind`; counts steps only, never time.

    - constant: stays at the peak
    - inverse_sqrt: falls with 1 / sqrt(step) (Vaswani et al. 2017, section 5.3)
    - linear, cosine: fall to a hundredth of the peak at `total` steps
    - plateau: stays at the peak; the trainer halves it when the dev loss stops falling
    """

    kind: str
    peak: float
    warmup: int
    total: int

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 1."""
        if step < self.warmup:
            return self.peak * step / self.warmup
        if self.kind == "inverse_sqrt":
            return self.peak * math.sqrt(max(1, self.warmup) / max(1, step))
        progress = min(1.0, (step - self.warmup) / max(1, self.total - self.warmup))
        if self.kind == "linear":
            return self.peak * (1 - 0.99 * progress)
        if self.kind == "cosine":
            return self.peak * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
        return self.peak


@dataclass(frozen=True)
class SamplingCurve:
    """How the share of the model's own words among the decoder's inputs rises from 0 to `ratio` (Bengio et al. 2015).

    One minus the paper's probability of a true word, so that `steps` is where (nearly) all of the way has been gone:

    - linear: evenly
    - exponential: fast at first; 99 % after `steps`
    - sigmoid: slowly, fast in the middle, slowly; 99.3 % after `steps`
    - constant: `ratio` from the first step on
    """

    kind: str
    ratio: float
    steps: int

    def share(self, step: int) -> float:
        """The share at a step, counted from 0."""
        done = step / self.steps
        if self.kind == "linear":
            return self.ratio * min(1.0, done)
        if self.kind == "exponential":
            return self.ratio * (1 - math.exp(-math.log(100) * done))
        if self.kind == "sigmoid":
            return self.ratio / (1 + math.exp(5 - 10 * min(done, 10.0)))
        return self.ratio

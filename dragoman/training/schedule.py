"""The learning rate and the share of sampled inputs as functions of the step; knows no optimiser."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

FALLING = frozenset({"linear", "cosine"})
"""Schedules that must know the last step."""


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up to `peak`, then the decay called `kind`; counts steps only, never time.

    - constant: stays at the peak
    - inverse_sqrt: falls with 1 / sqrt(step) (Vaswani et al. 2017, section 5.3)
    - linear, cosine: fall to a hundredth of the peak at `total` steps
    - plateau: stays at the peak; the trainer halves it when the dev loss stops falling

    A run under `linear` or `cosine` that stops early does so with a landing: from the step where nothing got better any
    more the rate falls to nothing, within a fifth of the steps so far. What a high rate leaves unsettled is gained yet.
    """

    kind: str
    peak: float
    warmup: int
    total: int
    anchor: int = 0
    """The step after which `total` was last set."""
    fallen: float = 0.0
    """How much of the fall was behind it, 0 to 1."""

    def moved(self, step: int, total: int) -> Schedule:
        """The same schedule, which from where it stands after `step` falls to an end at another step, `total`."""
        return replace(self, total=total, anchor=step, fallen=self._progress(step))

    @property
    def falls(self) -> bool:
        """Whether the rate is next to nothing at `total`."""
        return self.kind in FALLING

    def landing_steps(self, landing: int) -> int:
        """How many steps a landing takes that begins after step `landing`; 0 under schedules that have none."""
        return max(0, min(math.ceil(landing / 5), self.total - landing)) if self.falls else 0

    def rate(self, step: int, *, landing: int = 0) -> float:
        """The learning rate of a step, counted from 1; `landing` is the step after which it lands, if it does."""
        if landing and step > landing:
            return self.rate(landing) * max(0.01, 1 - (step - landing) / max(1, self.landing_steps(landing)))
        if step < self.warmup:
            return self.peak * step / self.warmup
        if self.kind == "inverse_sqrt":
            return self.peak * math.sqrt(max(1, self.warmup) / max(1, step))
        progress = self._progress(step)
        if self.kind == "linear":
            return self.peak * (1 - 0.99 * progress)
        if self.kind == "cosine":
            return self.peak * (0.01 + 0.99 * (1 + math.cos(math.pi * progress)) / 2)
        return self.peak

    def _progress(self, step: int) -> float:
        """How much of the fall is behind `step`, 0 to 1."""
        start = max(self.warmup, self.anchor)
        gone = min(1.0, max(0.0, (step - start) / max(1, self.total - start)))
        return self.fallen + (1 - self.fallen) * gone


@dataclass(frozen=True)
class SamplingCurve:
    """How the share of the model's own words among the decoder's inputs rises to `ratio` (Bengio et al. 2015).

    One minus the paper's probability of a true word, so that `steps` is where (nearly) all of the way has been gone:

    - linear: evenly
    - exponential: fast at first; 99 % after `steps`
    - sigmoid: slowly, fast in the middle, slowly; from 0.7 to 99.3 % of `ratio`
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

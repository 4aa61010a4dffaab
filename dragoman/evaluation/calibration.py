"""How far confidence can be trusted: temperature, calibration error, abstention; knows scores and who was right.

A confidence is a probability that an output is right. An output's raw score is the sum of its tokens' log-probabilities;
`exp(score)` falls with every token, so it is too low for long outputs. One temperature, fitted on development
data, corrects it: `confidence = exp(score / temperature)` (after Guo et al. 2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dragoman.errors import OptionError

Floats = NDArray[np.float64]

TEMPERATURES = (0.01, 1000.0)
"""Least and greatest temperature."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Outputs of about the same confidence."""

    low: float
    """Least confidence, exclusive (but 0 belongs to the first bin)."""
    high: float
    """Greatest confidence."""
    count: int
    """Number of outputs."""
    confidence: float
    """Mean confidence."""
    accuracy: float
    """Share of right outputs."""


@dataclass(frozen=True)
class Reliability:
    """Confidence held against accuracy."""

    bins: tuple[ReliabilityBin, ...]
    """Bins of equal width that hold any output, rising."""
    error: float
    """Expected calibration error: mean distance of confidence and accuracy over bins, weighted by count (0 to 1)."""
    worst: float
    """Greatest such distance of any bin."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Coverage:
    """What it costs to answer more: outputs taken in order of falling confidence."""

    threshold: Floats
    """(points,): answer if confidence is at least this; falling, every different confidence once."""
    coverage: Floats
    """(points,): share of the outputs that are then answered, rising to 1."""
    risk: Floats
    """(points,): share of wrong outputs among the answered."""
    area: float
    """Mean risk over all coverages (area under the curve); lower is better."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "threshold": self.threshold.tolist(),
            "coverage": self.coverage.tolist(),
            "risk": self.risk.tolist(),
            "area": self.area,
        }


@dataclass(frozen=True)
class Threshold:
    """A confidence below which a system says nothing."""

    threshold: float
    """Answer if the confidence is at least this."""
    coverage: float
    """Share of the outputs that are answered, on the data it was chosen on."""
    risk: float
    """Share of wrong outputs among the answered, on that data."""


def confidence(scores: ArrayLike, *, temperature: float = 1.0) -> Floats:
    """exp(score / temperature) of raw log-probability sums: the probability that the output is right."""
    if not temperature > 0:
        raise OptionError(f"`temperature` must be greater than 0, but is {temperature}")
    return np.exp(np.minimum(np.asarray(scores, dtype=np.float64), 0.0) / temperature)


def fit_temperature(scores: ArrayLike, correct: ArrayLike) -> float:
    """The temperature that makes confidences most probable, given which outputs were right (least cross-entropy).

    `scores` are raw log-probability sums, `correct` their outputs' truth values. The problem is convex in
    1 / temperature; bisection on its derivative finds the one minimum. At least one output must be right and one wrong.
    """
    values, right = _checked(scores, correct)
    if right.all() or not right.any():
        kind = "right" if right.all() else "wrong"
        raise OptionError(f"`correct` must hold right and wrong outputs to fit a temperature, but all are {kind}")
    values = np.minimum(values, -1e-12)
    low, high = np.log(1 / TEMPERATURES[1]), np.log(1 / TEMPERATURES[0])
    for _ in range(60):
        middle = (low + high) / 2
        if _slope(values, right, float(np.exp(middle))) > 0:
            high = middle
        else:
            low = middle
    return float(np.exp(-(low + high) / 2))


def _slope(scores: Floats, right: NDArray[np.bool_], inverse: float) -> float:
    """Derivative by 1 / temperature of the cross-entropy of exp(score / temperature)."""
    exponents = scores * inverse
    # right: d/du of -su is -s; wrong: d/du of -log(1 - e^(su)) is s / (e^(-su) - 1)
    with np.errstate(over="ignore"):
        slopes = np.where(right, -scores, scores / np.maximum(np.expm1(-exponents), 1e-300))
    return float(slopes.mean())


def reliability(confidences: ArrayLike, correct: ArrayLike, *, bins: int = 10) -> Reliability:
    """Hold confidences, in 0 to 1, against the truth in `bins` bins of equal width (Naeini et al. 2015; Guo et al. 2017)."""
    values, right = _checked(confidences, correct)
    _check_probabilities(values)
    if bins < 1:
        raise OptionError(f"`bins` must be at least 1, but is {bins}")
    edges = np.linspace(0, 1, bins + 1)
    index = np.clip(np.searchsorted(edges, values) - 1, 0, bins - 1)  # (low, high], and 0 in the first
    filled = [
        ReliabilityBin(
            float(edges[k]),
            float(edges[k + 1]),
            int((index == k).sum()),
            float(values[index == k].mean()),
            float(right[index == k].mean()),
        )
        for k in np.unique(index)
    ]
    distances = np.array([abs(b.confidence - b.accuracy) for b in filled])
    weights = np.array([b.count for b in filled]) / len(values)
    return Reliability(tuple(filled), float(distances @ weights), float(distances.max()))


def risk_coverage(confidences: ArrayLike, correct: ArrayLike) -> Coverage:
    """The risk-coverage curve (El-Yaniv and Wiener 2010); equal confidences are answered together."""
    values, right = _checked(confidences, correct)
    order = np.argsort(-values, kind="stable")
    sorted_values, wrong = values[order], ~right[order]
    last = np.flatnonzero(np.append(sorted_values[1:] != sorted_values[:-1], True))  # last of each confidence
    answered = last + 1.0
    risk = np.cumsum(wrong)[last] / answered
    coverage = answered / len(values)
    area = float(np.sum(risk * np.diff(coverage, prepend=0.0)))
    return Coverage(sorted_values[last], coverage, risk, area)


def threshold_for_risk(confidences: ArrayLike, correct: ArrayLike, *, risk: float) -> Threshold:
    """The threshold that answers most while at most a share `risk` of the answers is wrong, on this data.

    Raises `OptionError` if even the most confident outputs are wrong more often.
    """
    if not 0 <= risk <= 1:
        raise OptionError(f"`risk` must be a share from 0 to 1, but is {risk}")
    curve = risk_coverage(confidences, correct)
    good = np.flatnonzero(curve.risk <= risk)
    if not len(good):
        least = float(curve.risk.min())
        raise OptionError(f"`risk` cannot be as low as {risk:g} on this data: its lowest is {least:.4g}")
    k = good[-1]
    return Threshold(float(curve.threshold[k]), float(curve.coverage[k]), float(curve.risk[k]))


def _check_probabilities(values: Floats) -> None:
    if values.min() < 0 or values.max() > 1:
        raise OptionError(
            f"`confidences` must lie between 0 and 1, but run from {values.min():.4g} to {values.max():.4g}"
        )


def _checked(values: ArrayLike, correct: ArrayLike | Sequence[bool]) -> tuple[Floats, NDArray[np.bool_]]:
    numbers, right = np.asarray(values, dtype=np.float64), np.asarray(correct, dtype=bool)
    if numbers.ndim != 1 or numbers.shape != right.shape:
        raise OptionError(
            f"`correct` must have one entry per output, but {right.size} entries stand for {numbers.size} outputs"
        )
    if not len(numbers):
        raise OptionError("`correct` must not be empty: there is nothing to calibrate on")
    if not np.isfinite(numbers).all():
        raise OptionError("scores must be finite numbers, but some are not")
    return numbers, right

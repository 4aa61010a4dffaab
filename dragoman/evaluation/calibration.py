"""How far confidence can be trusted: calibrators, calibration error, abstention; knows scores and who was right.

A confidence is a probability that an output is right. An output's raw score is the sum of its tokens' log-probabilities;
`exp(score)` falls with every token, so it is too low for long outputs. Three numbers, fitted on development data,
correct it (beta calibration: Kull, Silva Filho and Flach 2017).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dragoman.errors import OptionError, counted

Floats = NDArray[np.float64]

SCORES = (-1e6, -1e-12)
"""Scores outside count as the nearest inside: beyond, log p or log(1 - p) would be infinite."""
BARE = np.array([1.0, 1.0, 0.0])
"""The calibrator that changes nothing."""
RIDGE = 0.1
"""Pull towards it, as of a Gaussian prior with a standard deviation of about 3; a few hundred outputs outweigh it."""


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
class Calibrator:
    """From raw scores to confidences: `sigmoid(a log p - b log(1 - p) + c)` of the probability `p = exp(score)`.

    Without numbers it gives `p` itself. Raises `OptionError` for a negative `a` or `b`: confidence would fall as the score rises.
    """

    a: float = 1.0
    """What log p counts: how fast confidence falls where p is low."""
    b: float = 1.0
    """What -log(1 - p) counts: how fast confidence rises where p is high."""
    c: float = 0.0
    """Shifts all confidences, up if above 0."""

    def __post_init__(self) -> None:
        if not (self.a >= 0 and self.b >= 0):
            raise OptionError(f"`a` and `b` must be at least 0, but are {self.a:g} and {self.b:g}")

    def confidence(self, scores: ArrayLike) -> Floats:
        """Probabilities of being right, shaped like `scores`; never lower for a higher score."""
        return _sigmoid(_features(scores) @ np.array([self.a, self.b, self.c]))


def fit_calibrator(scores: ArrayLike, correct: ArrayLike) -> Calibrator:
    """The calibrator that makes the truth most probable (beta calibration: Kull, Silva Filho and Flach 2017).

    `scores` are raw log-probability sums, `correct` their outputs' truth values; at least one output must be right and
    one wrong. It is a logistic regression on `log p` and `-log(1 - p)`: convex, so there is one best. A weak pull towards
    the bare probabilities keeps it finite where right and wrong outputs can be told apart without error.
    """
    values, right = _checked(scores, correct)
    if right.all() or not right.any():
        kind = "right" if right.all() else "wrong"
        raise OptionError(f"`correct` must hold right and wrong outputs to fit a calibrator, but all are {kind}")
    features = _features(values)
    # The best with a, b >= 0 is the best of one of these: both free, one of them 0, both 0.
    fits = [_newton(features, right, free) for free in ([0, 1, 2], [0, 2], [1, 2], [2])]
    best = min((fit for fit in fits if fit[:2].min() >= 0), key=lambda fit: _loss(features, right, fit))
    return Calibrator(*best.tolist())


def _features(scores: ArrayLike) -> Floats:
    """(...) scores -> (..., 3): log p, -log(1 - p), 1; held where all three are finite."""
    values = np.clip(np.asarray(scores, dtype=np.float64), *SCORES)
    with np.errstate(under="ignore"):
        wrong = np.where(values > -np.log(2), np.log(-np.expm1(values)), np.log1p(-np.exp(values)))
    return np.stack([values, -wrong, np.ones_like(values)], axis=-1)


def _sigmoid(values: Floats) -> Floats:
    with np.errstate(under="ignore"):
        return np.exp(-np.logaddexp(0.0, -values))


def _loss(features: Floats, right: NDArray[np.bool_], weights: Floats) -> float:
    """Cross-entropy, summed over outputs, and the pull towards the bare probabilities."""
    log_odds = features @ weights
    with np.errstate(under="ignore"):
        entropy = np.logaddexp(0.0, np.where(right, -log_odds, log_odds)).sum()
    return float(entropy + RIDGE / 2 * ((weights - BARE) ** 2).sum())


def _newton(features: Floats, right: NDArray[np.bool_], free: list[int]) -> Floats:
    """(3,): the weights of least loss if all but `free` are 0, by Newton steps that are halved until the loss falls."""
    weights = np.zeros(3)
    weights[free] = BARE[free]
    columns, loss = features[:, free], _loss(features, right, weights)
    for _ in range(200):
        sure = _sigmoid(features @ weights)
        slope = columns.T @ (sure - right) + RIDGE * (weights - BARE)[free]
        curvature = (columns.T * (sure * (1 - sure))) @ columns + RIDGE * np.eye(len(free))
        step = np.zeros(3)
        step[free] = np.linalg.solve(curvature, slope)
        gain = float(slope @ step[free])  # twice what the step would win if the loss were a parabola
        while gain > 1e-9 and _loss(features, right, weights - step) > loss - 1e-4 * gain:
            step, gain = step / 2, gain / 2
        if gain <= 1e-9:
            break
        weights = weights - step
        loss = _loss(features, right, weights)
    return weights


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


def _check_probabilities(values: Floats) -> None:
    if values.min() < 0 or values.max() > 1:
        raise OptionError(
            f"`confidences` must lie between 0 and 1, but run from {values.min():.4g} to {values.max():.4g}"
        )


def _checked(values: ArrayLike, correct: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    try:
        numbers, truth = np.asarray(values, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"scores must be numbers, and `correct` truth values: {error}") from None
    right = truth != 0
    if not (right == truth).all():
        raise OptionError("`correct` must be truth values (or 0 and 1), but some are others")
    if numbers.ndim != 1 or numbers.shape != right.shape:
        raise OptionError(
            f"`correct` must have one entry per output, but {right.size} entries stand for {counted(numbers.size, 'output')}"
        )
    if not len(numbers):
        raise OptionError("`correct` must not be empty: there is nothing to calibrate on")
    if not np.isfinite(numbers).all():
        raise OptionError("scores must be finite numbers, but some are not")
    return numbers, right

"""Fits the calibrator that makes a model's scores confidences, and judges it on other outputs; knows no files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dragoman.errors import DataError
from dragoman.evaluation.calibration import (
    Calibrator,
    Coverage,
    Reliability,
    fit_calibrator,
    reliability,
    risk_coverage,
)
from dragoman.translation.outputs import Translation

_LEAST = 10
"""Fewest outputs that anything can be said from."""
_ENOUGH = 400
"""Outputs from which on confidences are worth a decision. Drawn from known calibrators, they are off by 0.15 to 0.18 on average if
10 outputs are given (and half of them fitted on), by 0.06 if 100 are, 0.04 if 400, 0.02 if 1,000."""
_LOG = logging.getLogger("dragoman")


@dataclass(frozen=True)
class Calibration:
    """A calibrator, fitted on one half of the outputs and judged on the other."""

    calibrator: Calibrator
    """From scores to confidences."""
    items: int
    """Outputs in all, both halves."""
    right: int
    """Those that are right."""
    error_before: float
    """Expected calibration error of the bare probabilities on the second half, 0 to 1."""
    error_after: float
    """The same of the calibrated confidences."""
    reliability: Reliability
    """Confidence against accuracy on the second half, calibrated."""
    coverage: Coverage
    """What share of the answers is wrong if only the most confident are given, on the second half."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        curves = {"reliability": self.reliability.as_dict(), "coverage": self.coverage.as_dict()}
        return self.facts() | curves

    def facts(self) -> dict[str, Any]:
        """What is kept with the model."""
        names = ("items", "right", "error_before", "error_after")
        return asdict(self.calibrator) | {name: getattr(self, name) for name in names}


def calibrate(translations: Sequence[Translation], correct: Sequence[bool], *, seed: int = 1) -> Calibration:
    """Fit on a random half and judge on the other; outputs that were cut, and sources without one, are left out."""
    usable = [i for i, found in enumerate(translations) if found.candidates and found.candidates[0].finished]
    scores = np.array([translations[i].candidates[0].score for i in usable])
    right = np.array([correct[i] for i in usable], dtype=bool)
    if len(usable) < _LEAST:
        raise DataError(f"a calibration needs at least {_LEAST} finished outputs, but there are {len(usable)}")
    order = np.random.default_rng(seed).permutation(len(usable))
    fit, judge = order[::2], order[1::2]
    for half in (fit, judge):
        if right[half].all() or not right[half].any():
            kind = "right" if right[half].all() else "wrong"
            raise DataError(
                f"a calibration needs right and wrong outputs in both halves, but all {len(half):,} finished outputs of one are {kind}; give more pairs"
            )
    if len(usable) < _ENOUGH:
        _LOG.warning(
            f"a calibration on {len(usable)} outputs is a rough guess, as is the error that is measured: give at least {_ENOUGH}"
        )
    calibrator = fit_calibrator(scores[fit], right[fit])
    bare, calibrated = (each.confidence(scores[judge]) for each in (Calibrator(), calibrator))
    after = reliability(calibrated, right[judge])
    return Calibration(
        calibrator=calibrator,
        items=len(usable),
        right=int(right.sum()),
        error_before=reliability(bare, right[judge]).error,
        error_after=after.error,
        reliability=after,
        coverage=risk_coverage(calibrated, right[judge]),
    )

"""Whether the two sides of a corpus are out of step: a stretch of rows whose targets belong some rows further up or down.

Works on a few anchors per row that a translation keeps whatever the languages: its length, question and exclamation
marks, commas, and the numbers and capitalised words that both sides share. For each shift it sums how much better the
shifted pairing agrees than the straight one, finds the stretch with the largest sum, and asks whether that is far
beyond chance, also against the opposite shift and against pairings that are surely wrong (paradigm tables and
files sorted by length agree with themselves a row further on). No stretch is found in any of the public corpora that
dragoman is developed with; where half of the rows are made to slip by one it is found in all those whose sides go
together by length or by anchors.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SHIFTS = (1, -1, 2, -2, 3, -3)
"""By how many rows targets may have slipped."""
FAR = (6, -6)
"""Shifts at which nothing should agree."""
LEAST_ROWS = 16
"""Shortest stretch that is reported."""
MOST_STRETCHES = 20
EVIDENCE = 5.0
"""Standard deviations by which a shift must agree better than the straight pairing, over its stretch."""
EVIDENCE_FAR = 4.0
"""The same against the opposite shift and against `FAR`."""

Anchors = npt.NDArray[np.void]
"""A structured array with the fields of `_FIELDS`, shape (rows,)."""

_FIELDS = np.dtype([("length", "f4"), ("question", "?"), ("exclamation", "?"), ("commas", "u1"), ("names", "u8")])
_NAME = re.compile(r"\d+|[A-Z]\w+")
_QUESTIONS, _EXCLAMATIONS, _COMMAS = "?？؟", "!！", ",，、،"


@dataclass(frozen=True)
class Shift:
    """A stretch of rows that looks out of step."""

    start: int
    """First row, from 0."""
    stop: int
    """Row after the last."""
    shift: int
    """The target of row i seems to stand in row i + shift."""


def anchors_of(texts: Sequence[str]) -> Anchors:
    """What of each text a translation keeps."""
    anchors = np.zeros(len(texts), _FIELDS)
    anchors["length"] = np.log([max(1, len(text)) for text in texts])
    anchors["question"] = [any(mark in text for mark in _QUESTIONS) for text in texts]
    anchors["exclamation"] = [any(mark in text for mark in _EXCLAMATIONS) for text in texts]
    anchors["commas"] = [min(3, sum(map(text.count, _COMMAS))) for text in texts]
    anchors["names"] = [_names(text) for text in texts]
    return anchors


def _names(text: str) -> int:
    """Numbers and capitalised words as a set of bits: what two such sets share, the texts mostly share."""
    bits = 0
    for word in _NAME.findall(text):
        bits |= 1 << (zlib.crc32(word.encode()) & 63)
    return bits


def find_shifts(source: Anchors, target: Anchors) -> list[Shift]:
    """The stretches that look out of step, in the order of the rows."""
    if len(source) < 2 * LEAST_ROWS:
        return []
    usual = float(np.median(target["length"] - source["length"]))
    straight = _agreement(source, target, 0, usual)
    gains = {shift: _agreement(source, target, shift, usual) - straight for shift in SHIFTS}
    spreads = {shift: float(gain.std()) + 1e-9 for shift, gain in gains.items()}
    found: list[Shift] = []
    for _ in range(MOST_STRETCHES):
        start, stop, shift, evidence = max(
            (_best_stretch(gain, spreads[shift], shift) for shift, gain in gains.items()), key=lambda best: best[3]
        )
        if evidence < EVIDENCE:
            break
        if _is_peculiar(source, target, usual, gains[shift] + straight, Shift(start, stop, shift)):
            found.append(Shift(start, stop, shift))
            for gain in gains.values():
                gain[start:stop] = -np.inf
        else:
            gains[shift][start:stop] = -np.inf
    return sorted(found, key=lambda stretch: stretch.start)


def _agreement(source: Anchors, target: Anchors, shift: int, usual: float) -> npt.NDArray[np.float32]:
    """How well each source agrees with the target `shift` rows on, shape (rows,); rows without one agree badly."""
    rows = len(source)
    agreement = np.full(rows, -1.5, np.float32)
    here, there = slice(max(0, -shift), rows - max(0, shift)), slice(max(0, shift), rows - max(0, -shift))
    left, right = source[here], target[there]
    agreement[here] = -1.5 * np.minimum(np.abs(right["length"] - left["length"] - usual), 1.0)
    agreement[here] += left["question"] == right["question"]
    agreement[here] += 0.7 * (left["exclamation"] == right["exclamation"])
    agreement[here] += 0.5 * (left["commas"] == right["commas"])
    agreement[here] += np.bitwise_count(left["names"] & right["names"])
    return agreement


def _best_stretch(gain: npt.NDArray[np.float32], spread: float, shift: int) -> tuple[int, int, int, float]:
    """(start, stop, shift, evidence) of the stretch with the largest sum; too short a stretch has no evidence.

    The largest-sum stretch ends where the running sum is furthest above its lowest value so far (Bentley 1984).
    """
    finite = np.where(np.isfinite(gain), gain, -1e6)
    sums = np.concatenate([[0.0], np.cumsum(finite, dtype=np.float64)])
    above = sums - np.minimum.accumulate(sums)
    stop = int(above.argmax())
    start = int(sums[: stop + 1].argmin())
    if stop - start < LEAST_ROWS:
        return start, stop, shift, 0.0
    return start, stop, shift, float(above[stop] / (spread * np.sqrt(stop - start)))


def _is_peculiar(
    source: Anchors, target: Anchors, usual: float, agreement: npt.NDArray[np.float32], stretch: Shift
) -> bool:
    """Whether the stretch agrees at its own shift only, not at the opposite one nor at far ones."""
    for other in (-stretch.shift, *FAR):
        gain = agreement - _agreement(source, target, other, usual)
        inside = gain[stretch.start : stretch.stop]
        spread = float(gain[np.isfinite(gain)].std()) + 1e-9
        if inside.sum(dtype=np.float64) / (spread * np.sqrt(len(inside))) < EVIDENCE_FAR:
            return False
    return True

"""What looks wrong in a corpus, computed from a few numbers per row (hashes, lengths, scripts) that are
kept in arrays.

Never holds the text: 5 million rows take about 500 MB. Everything here is a finding, not a verdict; thresholds are
chosen so that clean public corpora give next to none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from html.entities import html5

import numpy as np
import numpy.typing as npt

from dragoman.corpus.cleaning import fold
from dragoman.corpus.reading import Pair
from dragoman.corpus.scripts import SCRIPTS, scripts_of
from dragoman.corpus.shifts import Anchors, anchors_of

EXAMPLES = 5
"""How many line numbers a finding shows."""

SMOOTHING = 10
"""Characters added to both lengths of a ratio: short sentences vary widely, and rightly so."""
ODD_RATIO = 3.0
"""A ratio is odd if it is so many times the usual one, and beyond `ODD_SPREADS` usual deviations."""
ODD_SPREADS = 6.0

MEMORY = 3
"""Rows before whose targets a source may hold, as many as a stretch may have slipped by."""

MAIN_SCRIPT_SHARE = 0.8
"""A column has a main script if so many of its rows are in it; rows in another are then findings."""

_ENTITY = re.compile(r"&(#[0-9]+;|#[xX][0-9a-fA-F]+;|[A-Za-z][A-Za-z0-9]*;)")

Mask = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Finding:
    """One kind of thing that looks wrong."""

    name: str
    """A short name: duplicates, conflicting targets, ..."""
    count: int
    """Rows that have it."""
    lines: tuple[int, ...]
    """The first of their line numbers."""
    definite: bool
    """Whether such rows are surely useless, and left out of the clean copy."""
    note: str
    """What it means, in one line."""


@dataclass(frozen=True)
class Rows:
    """What is remembered of every usable row; every array has shape (rows,)."""

    line: Whole
    """Line number."""
    source: Whole
    """Hash of the source after case and white-space folding."""
    target: Whole
    """Hash of the target."""
    pair: Whole
    """Hash of source and target as they are."""
    source_length: npt.NDArray[np.int32]
    """Characters in the source."""
    target_length: npt.NDArray[np.int32]
    """Characters in the target."""
    source_words: npt.NDArray[np.int32]
    """Words (between white space) in the source."""
    target_words: npt.NDArray[np.int32]
    """Words (between white space) in the target."""
    source_script: npt.NDArray[np.uint8]
    """Script of most letters of the source."""
    target_script: npt.NDArray[np.uint8]
    """Script of most letters of the target."""
    copied: Mask
    """The target is the source, case aside."""
    recalling: Mask
    """The source holds the target of one of the `MEMORY` rows before: a dialogue with its history."""
    mixed: Mask
    """A word of either side mixes Latin and Cyrillic letters."""
    source_anchors: Anchors
    """What of the source a translation keeps; see `shifts`."""
    target_anchors: Anchors
    """What of the target a translation keeps."""
    damaged: Mask
    """Either side holds U+FFFD, which stands where a character was lost."""
    escaped: Mask
    """Either side holds an HTML entity, such as `&amp;` or `&#39;`."""

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.line)


def measure(pairs: Sequence[Pair]) -> Rows:
    """The numbers of some rows. Hashes are Python's own: they differ between processes and mean nothing outside."""
    sources, targets = [pair.source for pair in pairs], [pair.target for pair in pairs]
    folded = [fold(source) for source in sources]
    source_script, source_mixed = scripts_of(sources)
    target_script, target_mixed = scripts_of(targets)
    return Rows(
        line=np.array([pair.line for pair in pairs], np.int64),
        source=np.array([hash(text) for text in folded], np.int64),
        target=np.array([hash(text) for text in targets], np.int64),
        pair=np.array([hash((pair.source, pair.target)) for pair in pairs], np.int64),
        source_length=np.array([len(text) for text in sources], np.int32),
        target_length=np.array([len(text) for text in targets], np.int32),
        source_words=np.array([len(text.split()) for text in sources], np.int32),
        target_words=np.array([len(text.split()) for text in targets], np.int32),
        source_script=source_script,
        target_script=target_script,
        copied=np.array(list(map(_is_copy, folded, targets)), bool),
        recalling=np.array(
            [_recalls(source, targets[max(0, i - MEMORY) : i]) for i, source in enumerate(sources)], bool
        ),
        mixed=source_mixed | target_mixed,
        source_anchors=anchors_of(sources),
        target_anchors=anchors_of(targets),
        damaged=np.array(["\ufffd" in pair.source or "\ufffd" in pair.target for pair in pairs], bool),
        escaped=np.array([_has_entity(pair.source) or _has_entity(pair.target) for pair in pairs], bool),
    )


def _has_entity(text: str) -> bool:
    """Whether a character is spelled as HTML spells it."""
    return "&" in text and any(name.startswith("#") or name in html5 for name in _ENTITY.findall(text))


def _recalls(source: str, before: Sequence[str]) -> bool:
    """Whether the source holds one of the targets before it, and more: one that it equals may be its own, slipped."""
    return any(target in source and len(target) < len(source) for target in before)


def _is_copy(folded: str, target: str) -> bool:
    """Whether the target is the source, case aside, and something that could be translated."""
    return (folded == target or folded == fold(target)) and any(character.isalpha() for character in target)


def collect(parts: Iterable[Rows]) -> Rows:
    """Rows one after the other, each part dropped as soon as its numbers are copied: growing buffers waste little."""
    types = {field.name: getattr(measure([]), field.name).dtype for field in fields(Rows)}
    columns = {name: bytearray() for name in types}
    for part in parts:
        for name, column in columns.items():
            column.extend(getattr(part, name).tobytes())
    return Rows(**{name: np.frombuffer(column, types[name]) for name, column in columns.items()})


def different(hashes: Whole) -> int:
    """How many different hashes there are (by sorting: `np.unique` builds a table several times as large)."""
    ordered = np.sort(hashes)
    return int(np.count_nonzero(ordered[1:] != ordered[:-1])) + bool(len(ordered))


def repeated(hashes: Whole) -> Mask:
    """Rows whose hash an earlier row has."""
    order = np.argsort(hashes, kind="stable")
    again = np.zeros(len(hashes), bool)
    again[order[1:]] = hashes[order[1:]] == hashes[order[:-1]]
    return again


def conflicts(source: Whole, target: Whole) -> tuple[Mask, int, int]:
    """Rows whose source has several different targets, how many such sources there are, and the most targets of one."""
    order = np.lexsort((target, source))
    sources, targets = source[order], target[order]
    new_source = np.ones(len(order), bool)
    new_source[1:] = sources[1:] != sources[:-1]
    new_target = new_source.copy()
    new_target[1:] |= targets[1:] != targets[:-1]
    starts = np.flatnonzero(new_source)
    different = np.add.reduceat(new_target, starts, dtype=np.int64)
    mask = np.zeros(len(order), bool)
    mask[order] = np.repeat(different > 1, np.diff(np.append(starts, len(order))))
    return mask, int((different > 1).sum()), int(different.max(initial=1))


def odd_ratios(source_length: npt.NDArray[np.int32], target_length: npt.NDArray[np.int32]) -> Mask:
    """Rows whose target is far longer or shorter than sources of that length usually have."""
    usual = target_length.sum(dtype=np.int64) / source_length.sum(dtype=np.int64)
    ratios = np.log((target_length + SMOOTHING * usual) / (source_length + SMOOTHING))
    away = np.abs(ratios - np.median(ratios))
    deviation = 1.4826 * float(np.median(away))
    return np.asarray(away > max(np.log(ODD_RATIO), ODD_SPREADS * deviation))


def main_script(scripts: npt.NDArray[np.uint8]) -> int:
    """The script that nearly all rows with letters are in, or 0."""
    counts = np.bincount(scripts, minlength=len(SCRIPTS))
    counts[0] = 0
    return int(counts.argmax()) if counts.max() > MAIN_SCRIPT_SHARE * max(1, counts.sum()) else 0


def in_another_script(scripts: npt.NDArray[np.uint8]) -> Mask:
    """Rows in another script than the column's main one, if it has one."""
    main = main_script(scripts)
    return (scripts != main) & (scripts != 0) if main else np.zeros(len(scripts), bool)

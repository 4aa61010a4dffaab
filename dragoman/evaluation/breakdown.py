"""Where a system is good and where it is bad: scores of parts of a test set, words by frequency, the worst sentences."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from dragoman.errors import OptionError
from dragoman.evaluation.metrics import MetricName, Scores, Writing, closest, score, tokens_of
from dragoman.evaluation.references import check_references
from dragoman.evaluation.significance import corpus_score, sentence_statistics

LENGTHS = (5, 10, 20, 40)
FREQUENCIES = (1, 2, 5, 10, 100, 1000)


@dataclass(frozen=True)
class Part:
    """One part of a test set with its own scores."""

    label: str
    """What its items have in common, such as `6-10 words`."""
    scores: Scores
    """Scores of these items alone."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"label": self.label} | self.scores.as_dict()


def _check_count(name: str, values: Sequence[object], hypotheses: Sequence[str]) -> None:
    if len(values) != len(hypotheses):
        raise OptionError(f"`{name}` must have one entry per hypothesis, but {len(values)} stand for {len(hypotheses)}")


def by_label(
    labels: Sequence[Hashable],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    writing: Writing = "spaced",
    metrics: Collection[MetricName] | None = None,
    primary: MetricName | None = None,
) -> list[Part]:
    """Score the items of each label by themselves; parts come in the order in which labels are first seen."""
    check_references(hypotheses, references)
    _check_count("labels", labels, hypotheses)
    hypotheses, references = list(hypotheses), list(references)  # a column of a table has its own names for places
    members: dict[Hashable, list[int]] = {}
    for index, label in enumerate(labels):
        members.setdefault(label, []).append(index)
    return [
        Part(
            str(label),
            score(
                [hypotheses[i] for i in rows],
                [references[i] for i in rows],
                writing=writing,
                metrics=metrics,
                primary=primary,
            ),
        )
        for label, rows in members.items()
    ]


def by_length(
    lengths: Sequence[int],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    edges: Sequence[int] = LENGTHS,
    unit: str = "tokens",
    writing: Writing = "spaced",
    metrics: Collection[MetricName] | None = None,
    primary: MetricName | None = None,
) -> list[Part]:
    """Score by length, shortest first; `lengths` are those of the sources in `unit`, `edges` the last of each bucket."""
    check_references(hypotheses, references)
    _check_count("lengths", lengths, hypotheses)
    lengths, hypotheses, references = list(lengths), list(hypotheses), list(references)
    labels = bucket_labels(lengths, edges, unit=unit)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    return by_label(
        [labels[i] for i in order],
        [hypotheses[i] for i in order],
        [references[i] for i in order],
        writing=writing,
        metrics=metrics,
        primary=primary,
    )


def by_seen(
    seen: Sequence[bool],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    writing: Writing = "spaced",
    metrics: Collection[MetricName] | None = None,
    primary: MetricName | None = None,
) -> list[Part]:
    """Score sources that were trained on and sources that were not by themselves; the unseen come first."""
    check_references(hypotheses, references)
    _check_count("seen", seen, hypotheses)
    seen, hypotheses, references = list(seen), list(hypotheses), list(references)
    order = sorted(range(len(seen)), key=lambda i: seen[i])
    return by_label(
        ["seen in training" if seen[i] else "unseen" for i in order],
        [hypotheses[i] for i in order],
        [references[i] for i in order],
        writing=writing,
        metrics=metrics,
        primary=primary,
    )


def bucket_names(edges: Sequence[int], *, unit: str) -> list[str]:
    """Names such as `up to 5 tokens`, `6-10 tokens`, `over 10 tokens`; `edges` are the last values, rising."""
    if not edges or list(edges) != sorted(set(edges)):
        raise OptionError(f"`edges` must be different and rising, but is {list(edges)}")
    names = [f"up to {edges[0]} {unit}"]
    for before, last in pairwise(edges):
        names.append(f"{last} {unit}" if before + 1 == last else f"{before + 1}-{last} {unit}")
    return [*names, f"over {edges[-1]} {unit}"]


def bucket_labels(values: Iterable[int], edges: Sequence[int], *, unit: str) -> list[str]:
    """The name of every value's bucket."""
    names = bucket_names(edges, unit=unit)
    return [names[bisect_left(edges, value)] for value in values]


@dataclass(frozen=True)
class WordPart:
    """How well the words of one range of training frequencies come out."""

    label: str
    """Range of frequencies in the training targets, such as `2-5 times in training`."""
    words: int
    """Words of this range in the closest references."""
    recall: float | None
    """Percent of these words that the outputs have too; None if there are none."""
    precision: float | None
    """Percent of the outputs' words of this range that the references have too; None if there are none."""
    f1: float
    """Harmonic mean of the two."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def by_word_frequency(
    frequencies: Mapping[str, int],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    edges: Sequence[int] = FREQUENCIES,
    writing: Writing = "spaced",
) -> list[WordPart]:
    """How well rare and common target words come out, rarest first, in any position (Neubig et al. 2019, compare-mt).

    `frequencies` are counts of words in the training targets; a missing word has 0. Each output is held against its
    closest reference.
    """
    check_references(hypotheses, references)
    if min(edges, default=1) < 1:
        raise OptionError(f"`edges` must be at least 1, but is {list(edges)}")
    edges = (0, *edges)
    names = ["never in training", *bucket_names(edges, unit="times in training")[1:]]
    names = ["once in training" if name == "1 times in training" else name for name in names]
    totals = [[0, 0, 0] for _ in names]  # words in both, in references, in outputs
    for hypothesis, alternatives in zip(hypotheses, references, strict=True):
        words, options = tokens_of(hypothesis, writing), [tokens_of(text, writing) for text in alternatives]
        output, reference = Counter(words), Counter(options[closest(words, options)[2]])
        for counts, slot in ((output & reference, 0), (reference, 1), (output, 2)):
            for word, count in counts.items():
                totals[bisect_left(edges, frequencies.get(word, 0))][slot] += count
    return [_word_part(name, *counts) for name, counts in zip(names, totals, strict=True) if any(counts)]


def _word_part(label: str, both: int, reference: int, output: int) -> WordPart:
    return WordPart(
        label,
        words=reference,
        recall=100.0 * both / reference if reference else None,
        precision=100.0 * both / output if output else None,
        f1=200.0 * both / (reference + output),
    )


@dataclass(frozen=True)
class Sentence:
    """One scored item of a test set."""

    index: int
    """Its position in the test set, from 0."""
    source: str
    """What was given."""
    hypothesis: str
    """What came out."""
    references: tuple[str, ...]
    """What would have been right."""
    score: float
    """Sentence score by `metric`, in percent."""
    metric: MetricName
    """chrF, or the symbol error rate."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def worst_sentences(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    count: int = 10,
    writing: Writing = "spaced",
) -> list[Sentence]:
    """The `count` worst items, worst first: by sentence chrF, or by error rate where targets are symbols.

    Perfect outputs are never listed; of equally bad ones the earlier comes first.
    """
    check_references(hypotheses, references)
    if count < 1:
        raise OptionError(f"`count` must be at least 1, but is {count}")
    _check_count("sources", sources, hypotheses)
    sources, hypotheses, references = list(sources), list(hypotheses), list(references)
    metric: MetricName = "wer" if writing == "symbols" else "chrf"
    values = corpus_score(metric, sentence_statistics(metric, hypotheses, references, writing=writing))
    badness = values if metric == "wer" else 100.0 - values
    order = [int(i) for i in np.argsort(-badness, kind="stable")[:count] if badness[i] > 1e-9]
    return [Sentence(i, sources[i], hypotheses[i], tuple(references[i]), float(values[i]), metric) for i in order]

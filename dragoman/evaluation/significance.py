"""Is one system better than another, or was it luck: the paired bootstrap; knows texts, not models.

Each sentence is reduced once to the few numbers its metric sums over a corpus; a resampled corpus is then a weighted sum
of rows, and thousands of corpora are one matrix product. The scores of resampled corpora are sacreBLEU's own formula.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.errors import OptionError, nearest
from dragoman.evaluation.metrics import (
    LOWER_IS_BETTER,
    PRIMARY,
    MetricName,
    Writing,
    check_names,
    edit_statistics,
    error_rate,
    is_exact,
    sacrebleu_metrics,
    sacrebleu_statistics,
    tokens_of,
)
from dragoman.evaluation.references import characters, check_references

Floats = NDArray[np.float64]

ADDITIVE: tuple[MetricName, ...] = ("bleu", "chrf", "ter", "exact_match", "cer", "wer")
"""Metrics of a corpus that follow from sums over its sentences."""

FEWEST = 6
"""Fewest items scored differently that say anything: by chance five are all on one side in 2 of 32 cases, which is over 5 %. The
bootstrap does not see that: of one item it draws nothing but this item."""

_CHUNK = 4_000_000
"""Most resampled sentence numbers held at once."""


@dataclass(frozen=True)
class Comparison:
    """Two systems on the same test set, by one metric."""

    metric: MetricName
    """What was measured."""
    baseline: float
    """Score of the first system."""
    system: float
    """Score of the second system."""
    difference: float
    """`system` minus `baseline`."""
    low: float
    """Lower end of the 95 % interval of the difference (percentiles of the resampled differences)."""
    high: float
    """Upper end of that interval."""
    p_value: float
    """How likely so large a difference is by chance (one-sided), computed as sacreBLEU's `--paired-bs` does."""
    wins: float
    """Share of the resampled test sets on which `system` is better (lower for error rates); a tie counts half."""
    differing: int
    """Items whose outputs the metric does not count alike."""
    resamples: int
    """Number of resampled test sets."""
    seed: int
    """Seed of the resampling."""

    @property
    def significant(self) -> bool:
        """Whether both tests say that it is not chance, p below 5 % and an interval without 0, and have `FEWEST` items to say it of.

        sacreBLEU's p-value looks at one side only, so by itself it finds a difference twice as easily as the interval.
        """
        return self.differing >= FEWEST and self.p_value < 0.05 and not self.low <= 0 <= self.high

    @property
    def better(self) -> bool:
        """Whether `system` scores better than `baseline`, significantly or not."""
        return self.difference < 0 if self.metric in LOWER_IS_BETTER else self.difference > 0

    def as_dict(self) -> dict[str, Any]:
        """All fields and conclusions as plain values for JSON."""
        return asdict(self) | {"significant": self.significant, "better": self.better}


def compare(
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    writing: Writing = "spaced",
    metrics: Collection[MetricName] | None = None,
    resamples: int = 1000,
    seed: int = 12345,
) -> list[Comparison]:
    """Paired bootstrap test of two systems' outputs for the same sources (Koehn 2004), one result per metric.

    By default the writing's leading metric and chrF are compared. With sacreBLEU's default seed, 12345, its resamples
    are drawn and its p-values come out.
    """
    check_references(baseline, references)
    check_references(system, references)
    for option, number, least in (("resamples", resamples, 1), ("seed", seed, 0)):
        if not isinstance(number, int | np.integer):
            raise OptionError(f"`{option}` must be a whole number, but is {number!r:.80}")
        if number < least:
            raise OptionError(f"`{option}` must be at least {least}, but is {number}")
    if writing not in PRIMARY:
        raise OptionError(f"`writing` has the unknown value {writing!r}; {nearest(str(writing), PRIMARY)}")
    if metrics is not None:
        check_names("metrics", metrics, ADDITIVE)
    names = list(dict.fromkeys((PRIMARY[writing], "chrf"))) if metrics is None else list(metrics)
    results = []
    for name in names:
        rows = [sentence_statistics(name, texts, references, writing=writing) for texts in (baseline, system)]
        exact = [float(corpus_score(name, values.sum(axis=0))) for values in rows]
        sums = resampled_sums(np.hstack(rows), resamples=resamples, seed=seed)
        first, second = (corpus_score(name, part) for part in np.hsplit(sums, 2))
        differing = int((rows[0] != rows[1]).any(axis=1).sum())
        results.append(_conclude(name, exact[0], exact[1], second - first, differing, seed))
    return results


def _conclude(
    name: MetricName, baseline: float, system: float, differences: Floats, differing: int, seed: int
) -> Comparison:
    sizes = np.abs(differences)
    # As sacreBLEU: how often does the difference, centred on its mean, exceed the observed one by chance?
    exceeding = int(np.sum(sizes - sizes.mean() > abs(system - baseline)))
    gains = -differences if name in LOWER_IS_BETTER else differences
    low, high = np.quantile(differences, (0.025, 0.975))
    return Comparison(
        metric=name,
        baseline=baseline,
        system=system,
        difference=system - baseline,
        low=float(low),
        high=float(high),
        p_value=(exceeding + 1) / (len(differences) + 1) if system != baseline else 1.0,
        wins=float(np.mean((gains > 0) + 0.5 * (gains == 0))),
        differing=differing,
        resamples=len(differences),
        seed=seed,
    )


def sentence_statistics(
    name: MetricName, hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, writing: Writing = "spaced"
) -> Floats:
    """(items, numbers): what each sentence adds to the sums that `corpus_score` turns into a corpus score."""
    if name == "cer":
        return edit_statistics(hypotheses, references, characters)
    if name == "wer":
        return edit_statistics(hypotheses, references, lambda text: tokens_of(text, writing))
    if name == "exact_match":
        right = list(map(is_exact, hypotheses, references))
        return np.stack([np.array(right, dtype=np.float64), np.ones(len(right))], axis=1)
    return np.array(sacrebleu_statistics(sacrebleu_metrics(writing)[name], hypotheses, references), dtype=np.float64)


def corpus_score(name: MetricName, sums: Floats) -> Floats:
    """Corpus scores in percent from sums of sentence statistics: (..., numbers) -> (...)."""
    if name == "bleu":
        return _bleu(sums)
    if name == "chrf":
        return _chrf(sums)
    return error_rate(sums)  # of exact matches too: right ones per 100 items


def _bleu(sums: Floats) -> Floats:
    """BLEU of orders 1 to 4 with exponential smoothing, sacreBLEU's default."""
    output, reference = sums[..., 0], sums[..., 1]
    right, total = sums[..., 2:6], sums[..., 6:10]
    halvings = np.cumsum((right == 0) & (total > 0), axis=-1)  # the k-th order without a match counts as 1 / 2^k
    precision = 100.0 * np.where(right > 0, right, 0.5**halvings) / np.maximum(total, 1)
    with np.errstate(divide="ignore"):
        brevity = np.where(output < reference, np.exp(1 - reference / np.maximum(output, 1e-300)), 1.0)
        mean = np.exp(np.log(np.where(total > 0, precision, 0.0)).mean(axis=-1))
    return np.asarray(np.where(right.sum(axis=-1) > 0, brevity * mean, 0.0))


def _chrf(sums: Floats) -> Floats:
    """chrF2 of character orders 1 to 6, averaged over the orders that occur."""
    output, reference, right = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    occurs = (output > 0) & (reference > 0)
    orders = np.maximum(occurs.sum(axis=-1), 1)
    precision = np.where(occurs, right / np.maximum(output, 1), 0.0).sum(axis=-1) / orders
    recall = np.where(occurs, right / np.maximum(reference, 1), 0.0).sum(axis=-1) / orders
    weighted = 4.0 * precision + recall
    return np.asarray(np.where(weighted > 0, 100.0 * 5.0 * precision * recall / np.where(weighted > 0, weighted, 1), 0))


def resampled_sums(statistics: Floats, *, resamples: int, seed: int) -> Floats:
    """(resamples, numbers): sums over sentences drawn with replacement, as many as there are.

    The draws are those of `rng.choice(items, (resamples, items))`, in chunks of bounded memory.
    """
    items = len(statistics)
    rng = np.random.default_rng(seed)
    sums = np.empty((resamples, statistics.shape[1]))
    step = max(1, _CHUNK // items)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.choice(items, size=(count, items))
        # (count, items) numbers -> (count, items) how often each sentence was drawn
        flat = (drawn + items * np.arange(count)[:, None]).ravel()
        weights = np.bincount(flat, minlength=count * items).reshape(count, items)
        sums[start : start + count] = weights @ statistics
    return sums

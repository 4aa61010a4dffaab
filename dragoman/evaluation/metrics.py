"""How good outputs are: one number per metric over a whole test set; knows texts, not models or files.

BLEU, chrF and TER are sacreBLEU's, with its signatures. The others are defined here. All are percentages. Where an
item has several references, any of them is right: exact match counts any, and the error rates count the closest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from dragoman.errors import OptionError, nearest
from dragoman.evaluation.references import characters, check_references, check_texts, reference_streams

Writing = Literal["spaced", "unspaced", "symbols"]
"""How targets are written: words with spaces between them; text without spaces (Japanese, Chinese, Thai); or
ready-made symbols with spaces between them, such as phones."""

MetricName = Literal["bleu", "chrf", "ter", "exact_match", "cer", "wer", "distinct_1", "distinct_2", "repeated"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
PRIMARY: dict[Writing, MetricName] = {"spaced": "bleu", "unspaced": "chrf", "symbols": "exact_match"}
"""Which metric leads for which writing."""
LOWER_IS_BETTER: frozenset[MetricName] = frozenset({"ter", "cer", "wer", "repeated"})

_NOT_FOR: dict[Writing, MetricName] = {"symbols": "cer", "unspaced": "wer"}
"""Characters of symbols mean nothing ("AH" is one phone), and without spaces no words can be told apart."""

BLEU_TOKENIZERS: dict[Writing, str] = {"spaced": "13a", "unspaced": "char", "symbols": "none"}
"""How sacreBLEU splits texts for BLEU."""
_SCORED_AT_ONCE = 256
"""Outputs given to sacreBLEU together."""
_LONGEST_TER = 10
"""Minutes that TER may take if nobody asked for it."""
_LOG = logging.getLogger("dragoman")

_LABELS: dict[MetricName, str] = {
    "bleu": "BLEU",
    "chrf": "chrF",
    "ter": "TER",
    "exact_match": "exact match",
    "cer": "character error rate",
    "wer": "word error rate",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "repeated": "repeated outputs",
}


@dataclass(frozen=True)
class Scores:
    """The scores of one set of outputs, in percent; a metric that was not asked for is None."""

    items: int
    """Number of scored outputs."""
    references: int
    """Number of references in all."""
    writing: Writing
    """How targets are written; decides on sacreBLEU's tokenisation and on what comes first."""
    primary: MetricName
    """Name of the metric that leads."""
    bleu: float | None = None
    """Corpus BLEU, cased (Papineni et al. 2002; Post 2018)."""
    chrf: float | None = None
    """Corpus chrF2 (Popović 2015)."""
    ter: float | None = None
    """Translation edit rate (Snover et al. 2006); lower is better."""
    exact_match: float | None = None
    """Outputs that equal one of their references."""
    cer: float | None = None
    """Character edits per 100 reference characters; lower is better."""
    wer: float | None = None
    """Word edits per 100 reference words; with `symbols` the symbol or phone error rate (PER); lower is better. With
    `unspaced` it must be asked for, and counts characters without spaces."""
    distinct_1: float | None = None
    """Different words per 100 words of all outputs (Li et al. 2016)."""
    distinct_2: float | None = None
    """Different word pairs per 100 word pairs of all outputs."""
    repeated: float | None = None
    """Outputs that an earlier source already got; a chatbot that always says the same comes near 100."""
    bleu_signature: str | None = None
    """sacreBLEU's signature of `bleu`."""
    chrf_signature: str | None = None
    """sacreBLEU's signature of `chrf`."""
    ter_signature: str | None = None
    """sacreBLEU's signature of `ter`."""

    @property
    def primary_value(self) -> float:
        """The leading metric's value."""
        return self.value(self.primary)

    def value(self, name: MetricName) -> float:
        """The value of one metric, which must have been computed."""
        value: float | None = getattr(self, name)
        if value is None:
            raise OptionError(f"`{name}` was not computed; name it in `metrics`")
        return value

    def signature(self, name: MetricName) -> str | None:
        """The signature sacreBLEU gives a metric, or None where it has none."""
        signature: str | None = getattr(self, f"{name}_signature", None)
        return signature

    def label(self, name: MetricName) -> str:
        """What people call the metric."""
        return "symbol error rate" if name == "wer" and self.writing == "symbols" else _LABELS[name]

    def names(self) -> list[MetricName]:
        """The computed metrics, the leading one first."""
        names = sorted(METRICS, key=lambda name: name != self.primary)
        return [name for name in names if getattr(self, name) is not None]

    def rows(self) -> list[tuple[str, str, str]]:
        """Label, value and signature of each metric as text for a table, the leading one first."""
        return [(self.label(name), f"{self.value(name):.2f}", self.signature(name) or "") for name in self.names()]

    def as_dict(self) -> dict[str, Any]:
        """Everything that was computed, as plain values for JSON."""
        result: dict[str, Any] = {
            "items": self.items,
            "references": self.references,
            "writing": self.writing,
            "primary": self.primary,
        }
        result.update({name: self.value(name) for name in self.names()})
        signatures = {name: self.signature(name) for name in self.names() if self.signature(name)}
        return result | ({"signatures": signatures} if signatures else {})


def score(
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    writing: Writing = "spaced",
    metrics: Collection[MetricName] | None = None,
    primary: MetricName | None = None,
) -> Scores:
    """Score outputs against any number of references each.

    `metrics` names what to compute (by default all that make sense for the `writing`, without TER for texts so long that it
    could take more than ten minutes, which a logged warning says), and `primary` what leads (by default BLEU; chrF for `unspaced`; exact match for `symbols`).
    Raises `OptionError` for an empty set, an item without references or an unknown metric.

        >>> score(["Ça va ?"], [["Ça va ?", "Tout va bien ?"]]).exact_match
        100.0
    """
    check_references(hypotheses, references)
    if writing not in PRIMARY:
        raise OptionError(f"`writing` has the unknown value {writing!r}; {nearest(str(writing), PRIMARY)}")
    wanted, primary = _choose(writing, metrics, primary)
    if metrics is None and primary != "ter" and _ter_minutes(hypotheses, references, writing) > _LONGEST_TER:
        _LOG.warning("TER is left out: it could take more than %d minutes for texts this long", _LONGEST_TER)
        wanted.remove("ter")
    values: dict[str, Any] = {}
    for name, metric in sacrebleu_metrics(writing).items():
        if name in wanted:
            rows = sacrebleu_statistics(metric, hypotheses, references)
            values[name] = float(metric._aggregate_and_compute(rows).score)
            values[f"{name}_signature"] = str(metric.get_signature())
    for name in wanted - values.keys():
        values[name] = _own_metric(name, hypotheses, references, writing)
    counted = sum(len(alternatives) for alternatives in references)
    return Scores(items=len(hypotheses), references=counted, writing=writing, primary=primary, **values)


def _ter_minutes(hypotheses: Sequence[str], references: Sequence[Sequence[str]], writing: Writing) -> float:
    """Minutes that TER takes at worst, on texts that repeat few words; the figures are a fit to measured times."""
    seconds = 0.0
    for hypothesis, alternatives in zip(hypotheses, references, strict=True):
        length = len(tokens_of(hypothesis, writing))
        for text in alternatives:
            # sacreBLEU stops searching for shifts at some point, so a pair is never slower than 100 s.
            seconds += min(100.0, 0.0015 * (length * len(tokens_of(text, writing)) / 800) ** 2.2)
    return seconds / 60


def _choose(
    writing: Writing, metrics: Collection[MetricName] | None, primary: MetricName | None
) -> tuple[set[MetricName], MetricName]:
    """What to compute, and which of it leads."""
    for option, names in (("metrics", metrics), ("primary", (primary,) if primary else None)):
        if names is not None:
            check_names(option, names, METRICS)
    wanted = set(fitting(METRICS, writing) if metrics is None else metrics)
    default = PRIMARY[writing] if PRIMARY[writing] in wanted else min(wanted, key=METRICS.index)
    leading: MetricName = primary or default
    return wanted | {leading}, leading


def check_names(option: str, names: Collection[str], known: Collection[str]) -> None:
    """Raise `OptionError` unless `names`, given as `option`, are one metric or more of those `known`."""
    if isinstance(names, str):
        raise OptionError(f"`{option}` must be a list of names, but is {names!r}")
    if not names:
        raise OptionError(f"`{option}` must name at least one metric")
    for name in names:
        if name not in known:
            raise OptionError(f"`{option}` has the unknown value {name!r}; {nearest(str(name), known)}")


def fitting(names: Iterable[MetricName], writing: Writing) -> list[MetricName]:
    """Those metrics that mean what their names say of targets that are written so."""
    return [name for name in names if _NOT_FOR.get(writing) != name]


def _own_metric(
    name: MetricName, hypotheses: Sequence[str], references: Sequence[Sequence[str]], writing: Writing
) -> float:
    match name:
        case "exact_match":
            return exact_match(hypotheses, references)
        case "cer":
            return character_error_rate(hypotheses, references)
        case "wer":
            return word_error_rate(hypotheses, references, writing=writing)
        case "distinct_1":
            return distinct_n(hypotheses, 1, writing=writing)
        case "distinct_2":
            return distinct_n(hypotheses, 2, writing=writing)
        case "repeated":
            return repeated_outputs(hypotheses)
        case _:  # pragma: no cover
            raise AssertionError(name)


def sacrebleu_metrics(writing: Writing) -> dict[MetricName, Any]:
    """The metric objects of sacreBLEU, as they are used for a kind of writing.

    Text without spaces is split into characters: by `--tokenize char` for BLEU, and for TER by
    `--ter-normalized --ter-asian-support`, which splits Chinese and Japanese (Thai stays whole: prefer chrF or CER).
    `force` silences a hint about tokenised input and changes no score.
    """
    unspaced = writing == "unspaced"
    return {
        "bleu": BLEU(tokenize=BLEU_TOKENIZERS[writing], force=True),
        "chrf": CHRF(),
        "ter": TER(normalized=unspaced, asian_support=unspaced),
    }


def sacrebleu_statistics(
    metric: Any, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
) -> list[list[float]]:
    """What each output adds to the sums of a metric of sacreBLEU, which counts the references for its signature.

    sacreBLEU keeps some 40 KB for each reference it is given, and asks every output for as many as one has, so it is given few
    at once. It has no public names for this; tests compare the results with its public scores.
    """
    hypotheses, references = list(hypotheses), [list(alternatives) for alternatives in references]  # or views of them
    rows: list[list[float]] = []
    for start in range(0, len(hypotheses), _SCORED_AT_ONCE):
        part = slice(start, start + _SCORED_AT_ONCE)
        rows += metric._extract_corpus_statistics(hypotheses[part], reference_streams(references[part]))
    numbers = {len(alternatives) for alternatives in references}
    metric.num_refs = numbers.pop() if len(numbers) == 1 else -1  # as sacreBLEU says that they vary
    return rows


def tokens_of(text: str, writing: Writing) -> list[str]:
    """The units that are counted: words or symbols between white space, or characters where there are no spaces."""
    return list("".join(text.split())) if writing == "unspaced" else text.split()


def is_exact(hypothesis: str, alternatives: Sequence[str]) -> bool:
    """Whether an output equals one of its references, up to white space."""
    words = hypothesis.split()
    return any(words == alternative.split() for alternative in alternatives)


def closest(hypothesis: Sequence[Hashable], alternatives: Sequence[Sequence[Hashable]]) -> tuple[int, int, int]:
    """Edit distance to the closest reference, that reference's length and its index.

    Of several that are equally close the longest counts (the lowest error rate), then the first.
    """
    distances = [(Levenshtein.distance(hypothesis, units), -len(units), k) for k, units in enumerate(alternatives)]
    distance, negative_length, index = min(distances)
    return distance, -negative_length, index


def edit_statistics(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], unit: Callable[[str], Sequence[str]]
) -> NDArray[np.float64]:
    """(items, 2): the edits each output needs to become its closest reference, and that reference's length."""
    rows = [
        closest(unit(hypothesis), [unit(text) for text in alternatives])[:2]
        for hypothesis, alternatives in zip(hypotheses, references, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def error_rate(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percent edits from sums of `edit_statistics`, `(..., 2) -> (...)`; edits against nothing are 100 %."""
    edits, length = statistics[..., 0], statistics[..., 1]
    return 100.0 * np.where(length > 0, edits / np.where(length > 0, length, 1), edits > 0)


def exact_match(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Percent of the outputs that equal one of their references, up to white space."""
    check_references(hypotheses, references)
    return 100.0 * sum(map(is_exact, hypotheses, references)) / len(hypotheses)


def exact_match_of_several(candidates: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> float:
    """Percent of the sources that have a right output among their candidates, up to white space (top-n accuracy)."""
    check_references(list(map(" ".join, candidates)), references)
    of_sources = zip(candidates, references, strict=True)
    right = sum(any(is_exact(text, alternatives) for text in texts) for texts, alternatives in of_sources)
    return 100.0 * right / len(candidates)


def exact_match_of_rows(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], rows: Sequence[Sequence[int]]
) -> float:
    """Percent of the rows of a file whose own target is what their source gave, up to white space.

    `rows` says in how many rows each reference stands (`references.group_rows`). Of running words that is the accuracy in running
    text: frequent words count as often as they stand there, and of several targets of a source only the row's own is right.
    """
    check_references(hypotheses, references)
    right = sum(
        count
        for hypothesis, alternatives, counts in zip(hypotheses, references, rows, strict=True)
        for alternative, count in zip(alternatives, counts, strict=True)
        if is_exact(hypothesis, [alternative])
    )
    return 100.0 * right / sum(map(sum, rows))


def character_error_rate(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Character edits to the closest reference, per 100 of its characters."""
    check_references(hypotheses, references)
    return float(error_rate(edit_statistics(hypotheses, references, characters).sum(axis=0)))


def word_error_rate(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], *, writing: Writing = "spaced"
) -> float:
    """Word edits to the closest reference, per 100 of its words; of phones, this is the phone error rate."""
    check_references(hypotheses, references)
    return float(error_rate(edit_statistics(hypotheses, references, lambda text: tokens_of(text, writing)).sum(axis=0)))


def distinct_n(hypotheses: Sequence[str], n: int, *, writing: Writing = "spaced") -> float:
    """Different n-grams per 100 n-grams of all outputs together (Li et al. 2016, over n-grams instead of words).

    0 where no output has n words.
    """
    check_texts("hypotheses", hypotheses)
    if n < 1:
        raise OptionError(f"`n` must be at least 1, but is {n}")
    ngrams = [
        tuple(tokens[i : i + n])
        for tokens in (tokens_of(text, writing) for text in hypotheses)
        for i in range(len(tokens) - n + 1)
    ]
    return 100.0 * len(set(ngrams)) / len(ngrams) if ngrams else 0.0


def repeated_outputs(hypotheses: Sequence[str]) -> float:
    """Percent of the outputs that an earlier source already got."""
    check_texts("hypotheses", hypotheses)
    return 100.0 * (1 - len({" ".join(text.split()) for text in hypotheses}) / len(hypotheses))

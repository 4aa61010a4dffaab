"""Choosing among the outputs that a search found, as texts: by likeness, by a reverse model, by confidence; knows no search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dragoman.config import SearchOptions
from dragoman.errors import OptionError, needs_extra
from dragoman.generation.reranking import combine_lists, minimum_bayes_risk, probabilities
from dragoman.translation.outputs import Candidate, Translation

if TYPE_CHECKING:
    from dragoman.evaluation.calibration import Calibrator
    from dragoman.evaluation.metrics import Writing

REVERSE_WEIGHT = 0.5
"""What a reverse model's opinion counts if nothing is said."""
UNREADABLE = -100.0
"""The reverse score of an output that the reverse model cannot read, such as an empty one."""
TEXT_OPTIONS = (
    "rerank",
    "utility",
    "num_candidates",
    "reverse_weight",
    "min_confidence",
    "replace_unknown",
    "phrase_table",
)
"""Options that are settled here, after the search."""

_BOTH = "both put the outputs in order"

Utility = Callable[[str, str], float]


def search_options(options: SearchOptions, *, reverse: bool, several: bool) -> SearchOptions:
    """What the search itself is told: to find as many outputs as there are to choose from.

    `several` models choose among the outputs of each. Raises `OptionError` for options that need a reverse model if there is
    none, and for two ways to choose.
    """
    if several:
        for name, given in (("rerank", options.rerank), ("reverse", reverse)):
            if given:
                raise OptionError(f"`{name}` must not be given with an `ensemble` of different vocabularies: {_BOTH}")
        if options.method not in ("beam", "best_first"):
            raise OptionError(
                "an `ensemble` of different vocabularies puts the best outputs of each model in order: `method` must be beam or "
                f"best_first, but is {options.method}"
            )
    if options.rerank and reverse:
        raise OptionError(f"`rerank` must not be given with a `reverse` model: {_BOTH}")
    if options.reverse_weight is not None and not reverse:
        raise OptionError("`reverse_weight` needs a `reverse` model, but none is given")
    chooses = bool(options.rerank) or reverse or several
    if options.num_candidates is not None and not chooses:
        raise OptionError("`num_candidates` needs `rerank` or a `reverse` model, but neither is given")
    if options.pool() == 1 and (options.rerank or reverse):
        name = "`rerank`" if options.rerank else "a `reverse` model"
        of = "num_candidates" if options.num_candidates else "beam_size"
        raise OptionError(f"{name} chooses among several outputs: `{of}` must be at least 2, but is 1")
    wider = options.beam_size != SearchOptions.model_fields["beam_size"].default
    if wider and options.method == "best_first" and not chooses:  # which would be among so many
        raise OptionError(
            "`beam_size` with `method` best_first needs `rerank` or a `reverse` model, but neither is given"
        )
    chosen = {name: SearchOptions.model_fields[name].default for name in TEXT_OPTIONS}
    if chooses:
        chosen["num_hypotheses"] = options.pool()
    return options.model_copy(update=chosen)


def by_likeness(candidates: Sequence[Candidate], options: SearchOptions, *, writing: Writing) -> list[Candidate]:
    """Minimum Bayes risk: the output that is most like all the others first; equal texts become one.

    Samples count equally, other outputs by their probability. Outputs that were cut come last.
    """
    texts = [candidate.text for candidate in candidates]
    weights = None if options.method == "sample" else probabilities([candidate.score for candidate in candidates])
    found = minimum_bayes_risk(texts, utility(options.utility or "chrf", writing), weights=weights)
    of_text = _by_text(candidates)
    chosen = [dataclasses.replace(of_text[texts[place]], choice_score=expected) for place, expected in found]
    return sorted(chosen, key=lambda candidate: not candidate.finished)


def by_reverse_model(
    candidates: Sequence[Candidate], reverse_scores: Sequence[float], options: SearchOptions
) -> list[Candidate]:
    """Outputs from which the source can be told first: `normalized_score + weight * reverse score` (Li et al. 2016).

    Reverse scores are the source's log-probabilities given each output, per token; equal texts become one. Outputs that were
    cut come last.
    """
    weight = REVERSE_WEIGHT if options.reverse_weight is None else options.reverse_weight
    chosen = [
        dataclasses.replace(candidate, choice_score=candidate.normalized_score + weight * score)
        for candidate, score in zip(candidates, reverse_scores, strict=True)
    ]
    return list(_by_text(sorted(chosen, key=lambda candidate: -candidate.rank)).values())


def by_all_models(found: Sequence[Sequence[Candidate]], scores: Sequence[Mapping[str, float]]) -> list[Candidate]:
    """Several models' outputs as one list, the highest mean of their scores first; equal texts become one.

    `found` has the outputs of each model, `scores` what each model thinks of each text, per token. Outputs that were cut come
    last.
    """
    of_text = _by_text([each for candidates in found for each in candidates])
    chosen = [dataclasses.replace(of_text[text], choice_score=mean) for text, mean in combine_lists(scores)]
    return sorted(chosen, key=lambda candidate: not candidate.finished)


def _by_text(candidates: Sequence[Candidate]) -> dict[str, Candidate]:
    """The first candidate of each text: of those that ended by themselves, which come first, else of those that were cut."""
    of_text: dict[str, Candidate] = {}
    for each in sorted(candidates, key=lambda candidate: not candidate.finished):
        of_text.setdefault(each.text, each)
    return of_text


def each_text_once(translation: Translation, options: SearchOptions) -> Translation:
    """The translation with the best candidate of each text: subwords spell a text in several ways. Samples stay as they were drawn."""
    if options.method not in ("beam", "best_first"):
        return translation
    return dataclasses.replace(translation, candidates=tuple(_by_text(translation.candidates).values()))


def utility(name: str, writing: Writing) -> Utility:
    """How good an output is if another is right, from 0 to 100 (an edit distance: at most 0)."""
    with needs_extra("`rerank` mbr"):
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        from dragoman.evaluation.metrics import BLEU_TOKENIZERS, closest, tokens_of
    if name == "edit":
        return lambda text, right: -float(closest(tokens_of(text, writing), [tokens_of(right, writing)])[0])
    if name == "chrf":
        chrf = CHRF()
        return lambda text, right: float(chrf.sentence_score(text, [right]).score)
    bleu = BLEU(tokenize=BLEU_TOKENIZERS[writing], effective_order=True)
    return lambda text, right: float(bleu.sentence_score(text, [right]).score)


def with_confidence(translation: Translation, *, calibrator: Calibrator, least: float | None) -> Translation:
    """Give finished candidates their confidence; below `least` the translation says nothing, and why."""
    candidates = tuple(
        dataclasses.replace(each, confidence=float(calibrator.confidence(each.score))) if each.finished else each
        for each in translation.candidates
    )
    if least is not None and candidates and (candidates[0].confidence or 0.0) < least:
        sure = candidates[0].confidence or 0.0
        return dataclasses.replace(
            translation, candidates=(), warning=f"not sure enough: the confidence is {sure:.3f}, below {least:g}"
        )
    return dataclasses.replace(translation, candidates=candidates)

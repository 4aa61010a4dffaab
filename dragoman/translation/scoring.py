"""What a model thinks of given targets (forced decoding); knows texts and a Stepper, not which model it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Sized
from itertools import chain
from typing import TYPE_CHECKING

from dragoman.corpus.cleaning import fault_in
from dragoman.errors import OptionError
from dragoman.generation.scoring import score_ids
from dragoman.generation.stepper import EOS, UNK, Stepper
from dragoman.translation.batches import batches
from dragoman.translation.outputs import ScoredPair
from dragoman.translation.texts import Texts

if TYPE_CHECKING:
    from dragoman.evaluation.perplexity import Perplexity


def score_pairs(stepper: Stepper, texts: Texts, sources: Sequence[str], targets: Sequence[str]) -> list[ScoredPair]:
    """Each target's log-probability given the source of the same place, token by token.

    A pair that cannot be used has no token scores, and a warning.
    """
    for given in (sources, targets):
        if isinstance(given, str) or not isinstance(given, Sized):
            raise OptionError(f"`sources` and `targets` must be lists of texts, but one is {given!r:.80}")
    sources, targets = list(sources), list(targets)  # a column of a table has its own names for places
    if len(sources) != len(targets):
        raise OptionError(
            f"`targets` must have one entry per source, but {len(targets):,} stand against {len(sources):,}"
        )
    for text in (*sources, *targets):
        if not isinstance(text, str):
            raise OptionError(f"`sources` and `targets` must be texts, but one is {text!r:.80}")
    encoded = texts.encode_sources(sources)
    faults = {place: f"source: {fault}" for place, fault in encoded.faults.items()}
    faults |= {place: f"target: {fault}" for place, target in enumerate(targets) if (fault := fault_in(target))}
    results = {place: _without_score(sources[place], targets[place], fault) for place, fault in faults.items()}
    sound = [place for place in range(len(sources)) if place not in faults]
    target_ids = dict(zip(sound, texts.encode_targets([targets[place] for place in sound]), strict=True))
    lengths = {place: max(len(ids) + 1, len(encoded.ids[place])) for place, ids in target_ids.items()}
    for batch in batches(lengths):
        found = score_ids(stepper, [encoded.ids[i] for i in batch], [[*target_ids[i], EOS] for i in batch])
        for place, hypothesis in zip(batch, found, strict=True):
            if math.isnan(hypothesis.score):
                fault = "the model's scores are not numbers: its weights are too large"
                results[place] = _without_score(sources[place], targets[place], fault)
                continue
            ids = target_ids[place]
            unknown = ids.count(UNK)
            attention = hypothesis.attention
            results[place] = ScoredPair(
                sources[place],
                targets[place],
                hypothesis.score,
                tuple(texts.target_tokenizer.tokens(ids)),
                tuple(float(score) for score in hypothesis.token_scores),
                attention=None if attention is None else attention[: len(ids)],
                warning=f"the target has unknown tokens ({unknown}): the score is that of <unk>" if unknown else None,
            )
    return [results[place] for place in range(len(sources))]


def _without_score(source: str, target: str, fault: str) -> ScoredPair:
    return ScoredPair(source, target, math.nan, (), (), warning=fault)


def perplexity_of(pairs: Iterable[ScoredPair]) -> Perplexity | None:
    """The perplexity of all pairs that have a score together, none of which is held; None if there are none."""
    from dragoman.evaluation.perplexity import perplexity

    usable = ((pair.token_scores, pair.target) for pair in pairs if pair.token_scores)
    first = next(usable, None)
    return None if first is None else perplexity(chain([first], usable))

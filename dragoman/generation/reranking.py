"""Choosing among candidates once they are found; knows scores and a utility function, not where they come from.

Three ways:
- minimum Bayes risk: the candidate that is most like all the others, instead of the most probable one (Kumar and Byrne 2004;
  Eikema and Aziz 2020);
- a weighted sum of scores: the model's, a reverse model's (how probable is the source, given the output) and a language
  model's. A positive weight for the reverse model, or a negative one for the language model, takes the advantage from outputs that
  fit every source (Li et al. 2016, A Diversity-Promoting Objective Function for Neural Conversation Models);
- several n-best lists as one, for models whose vocabularies differ.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from dragoman.errors import OptionError

Candidate = TypeVar("Candidate", bound=Hashable)


def probabilities(scores: Sequence[float]) -> list[float]:
    """Log-probabilities of candidates as shares of their sum: weights for `minimum_bayes_risk` over an n-best list."""
    values = np.exp(np.array(scores, np.float64) - max(scores, default=0.0))
    shares: list[float] = (values / values.sum()).tolist()
    return shares


def minimum_bayes_risk(
    candidates: Sequence[Candidate],
    utility: Callable[[Candidate, Candidate], float],
    *,
    weights: Sequence[float] | None = None,
) -> list[tuple[int, float]]:
    """Candidates by expected utility, best first: their places in `candidates`, and the expected utility of each.

    `utility(candidate, reference)` says how good a candidate is if the reference is right: chrF, BLEU, minus an edit
    distance. Every candidate is a reference for all, with its weight: 1 for samples (the default), their probabilities for
    an n-best list. Equal candidates are looked at once, under the first one's place, with all their weights. Ties go to the
    earlier one.
    """
    shares = np.ones(len(candidates)) if weights is None else np.array(weights, np.float64)
    if len(shares) != len(candidates) or (len(shares) and (shares.min() < 0 or not shares.sum() > 0)):
        raise OptionError(
            f"`weights` must be positive, one for each of the {len(candidates)} candidates, but are {list(shares)}"
        )
    first: dict[Candidate, int] = {}
    mass: dict[Candidate, float] = {}
    for place, (candidate, share) in enumerate(zip(candidates, shares.tolist(), strict=True)):
        first.setdefault(candidate, place)
        mass[candidate] = mass.get(candidate, 0.0) + share
    total = float(shares.sum())
    expected = [
        (place, sum(mass[reference] * utility(candidate, reference) for reference in first) / total)
        for candidate, place in first.items()
    ]
    return sorted(expected, key=lambda pair: (-pair[1], pair[0]))


def weigh(scores: Sequence[float], *others: tuple[float, Sequence[float]]) -> list[float]:
    """`score + weight * other score + ...` for every candidate; each of `others` is a weight and a score per candidate.

    weigh(scores, (0.5, reverse_scores), (-0.1, language_model_scores))
    """
    total = np.array(scores, np.float64)
    for weight, values in others:
        if len(values) != len(scores):
            raise OptionError(
                f"every candidate must have every score, but {len(scores)} have one and {len(values)} another"
            )
        total = total + weight * np.array(values, np.float64)
    weighed: list[float] = total.tolist()
    return weighed


def combine_lists(lists: Sequence[Mapping[Candidate, float]]) -> list[tuple[Candidate, float]]:
    """Several models' n-best lists (candidate to score) as one, best first, by the mean of their scores.

    A candidate that a list does not hold gets that list's lowest score: its model found it no better than that. Scores
    should be normalised by length. Ties go to the candidate that came first. Empty lists say nothing.
    """
    known = {candidate: None for scores in lists for candidate in scores}
    filled = [(scores, min(scores.values())) for scores in lists if scores]
    means = {
        candidate: sum(scores.get(candidate, lowest) for scores, lowest in filled) / len(filled) for candidate in known
    }
    return sorted(means.items(), key=lambda pair: -pair[1])

"""How probable a model finds given targets, as one number; knows texts and log-probabilities, and needs no library of metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dragoman.errors import OptionError
from dragoman.evaluation.references import characters


@dataclass(frozen=True)
class Perplexity:
    """How surprised a model is by given targets (teacher-forced)."""

    pairs: int
    """Number of targets."""
    per_token: float
    """exp of the mean negative log-probability per predicted token, `</s>` included; depends on the tokeniser."""
    per_character: float
    """The same per character of the target's text, comparable between tokenisers."""
    bits_per_character: float
    """log2 of `per_character`."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a perplexity beyond all numbers is None."""
        return {name: value if value < np.inf else None for name, value in asdict(self).items()}


def perplexity(targets: Iterable[tuple[Sequence[float], str]]) -> Perplexity:
    """Perplexity from each target's token log-probabilities, `</s>` included, and its text; of any number none is held."""
    total, pairs, tokens, count = 0.0, 0, 0, 0
    for log_probs, text in targets:
        total, pairs, tokens = total + float(np.sum(log_probs)), pairs + 1, tokens + len(log_probs)
        count += len(characters(text)) + 1  # + 1: the end of the text is predicted too
    if not tokens:
        raise OptionError("`targets` must not be empty: there is nothing to score")
    with np.errstate(over="ignore"):
        per_token, per_character = np.exp(-total / tokens), np.exp(-total / count)
    return Perplexity(pairs, float(per_token), float(per_character), -total / count / float(np.log(2)))

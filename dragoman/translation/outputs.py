"""What a translator gives back, as frozen results with plain values for JSON; does not know how they were found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.generation.hypothesis import pharaoh

Floats = NDArray[np.floating[Any]]

_DIGITS = 4
"""Digits of attention weights in JSON."""


@dataclass(frozen=True)
class Candidate:
    """One output, as text."""

    text: str
    """What a user reads."""
    score: float
    """Log-probability of the whole output, in nats."""
    normalized_score: float
    """What the search ranks candidates by: the score after length normalisation."""
    tokens: tuple[str, ...]
    """The output's tokens, the final `</s>` left out."""
    token_scores: tuple[float, ...]
    """Log-probability of each token; the last one is that of `</s>` if the output is finished."""
    attention: Floats | None = field(compare=False, repr=False)
    """(tokens, source tokens), or None without attention."""
    finished: bool
    """False if the output was cut at the maximum length."""
    choice_score: float | None = None
    """What candidates were put in order by after the search (`rerank`, a reverse model); None if they were not."""
    confidence: float | None = None
    """Probability that the output is right; None unless the model was calibrated."""
    ids: tuple[int, ...] = ()
    """The ids of `tokens`."""

    @property
    def rank(self) -> float:
        """What this candidate's place comes from: `choice_score` if there is one, else `normalized_score`."""
        return self.normalized_score if self.choice_score is None else self.choice_score

    @property
    def alignment(self) -> str | None:
        """The hard alignment, `source-target` token positions from 0 (Pharaoh format); None without attention."""
        return None if self.attention is None else pharaoh(self.attention)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        result: dict[str, Any] = {
            "text": self.text,
            "score": self.score,
            "normalized_score": self.normalized_score,
            "finished": self.finished,
            "tokens": list(self.tokens),
            "token_scores": list(self.token_scores),
        }
        for name in ("choice_score", "confidence"):
            if getattr(self, name) is not None:
                result[name] = getattr(self, name)
        if self.attention is not None:
            result |= {"alignment": self.alignment, "attention": _rounded(self.attention)}
        return result


@dataclass(frozen=True)
class Translation:
    """What one source gives."""

    source: str
    """The source as it was given."""
    candidates: tuple[Candidate, ...]
    """Best first; empty if the source could not be used, or nothing was sure enough."""
    warning: str | None = None
    """Why there is no output, or what is doubtful about it."""
    source_tokens: tuple[str, ...] = ()
    """The source's tokens: what the columns of `attention` stand for."""
    unknown: tuple[str, ...] = ()
    """The words or characters of the source that the vocabulary lacks, each once: the model reads `<unk>` for them."""

    @property
    def text(self) -> str:
        """The best candidate's text, or an empty string."""
        return self.candidates[0].text if self.candidates else ""

    @property
    def score(self) -> float:
        """The best candidate's normalised score; -inf without one."""
        return self.candidates[0].normalized_score if self.candidates else float("-inf")

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "source": self.source,
            "warning": self.warning,
            "source_tokens": list(self.source_tokens),
            "unknown": list(self.unknown),
            "candidates": [candidate.as_dict() for candidate in self.candidates],
        }


@dataclass(frozen=True)
class ScoredPair:
    """What a model thinks of a given target for a given source."""

    source: str
    """The source as it was given."""
    target: str
    """The target as it was given."""
    score: float
    """Log-probability of the whole target, its end included, in nats; NaN if the pair could not be used."""
    tokens: tuple[str, ...]
    """The target's tokens, the final `</s>` left out."""
    token_scores: tuple[float, ...]
    """Log-probability of each token; the last one is that of `</s>`. Empty if the pair could not be used."""
    attention: Floats | None = field(default=None, compare=False, repr=False)
    """(tokens, source tokens), or None without attention."""
    warning: str | None = None
    """Why there is no score, or what is doubtful about it."""

    @property
    def normalized_score(self) -> float:
        """The mean log-probability of a token."""
        return self.score / max(len(self.token_scores), 1)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; without a score, None."""
        usable = bool(self.token_scores)
        result: dict[str, Any] = {
            "source": self.source,
            "target": self.target,
            "warning": self.warning,
            "score": self.score if usable else None,
            "normalized_score": self.normalized_score if usable else None,
            "tokens": list(self.tokens),
            "token_scores": list(self.token_scores),
        }
        if self.attention is not None:
            result |= {"alignment": pharaoh(self.attention), "attention": _rounded(self.attention)}
        return result


def _rounded(attention: Floats) -> list[list[float]]:
    rows: list[list[float]] = np.round(np.asarray(attention, np.float64), _DIGITS).tolist()
    return rows

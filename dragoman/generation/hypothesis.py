"""What a search finds, and how finds are ranked; does not know how they were found.

Three numbers are kept apart. `score` is the plain sum of the log-probabilities that the model gave to the ids: nothing
else ever enters it. The *penalties* (for repetition) are subtracted while searching. `normalized_score` is what outputs
are ranked by:

    (score - penalties) / norm(length) + coverage

with `norm(length) = length^a` ("power") or `((5 + length) / 6)^a` ("gnmt": Wu et al. 2016, equation 14), and
`coverage = b * sum over source positions of log(min(attention received, 1))`. A length counts every id, `</s>` included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from dragoman.generation.stepper import Floats, Ints

LengthNorm = Literal["power", "gnmt"]

LEAST_COVERAGE = 1e-10
"""A source position that got less attention than this counts as having got this much, so that no score is -inf."""


@dataclass(frozen=True)
class Hypothesis:
    """One output for one source."""

    ids: tuple[int, ...]
    """Without `<s>`; the last one is `</s>` if and only if `finished`."""
    score: float
    """Sum of `token_scores`: what the model itself thinks of `ids`, before any penalty."""
    normalized_score: float
    """What outputs are ranked by; see the header of this file."""
    token_scores: tuple[float, ...]
    """The log-probability of each id given the source and the ids before it."""
    attention: Floats | None = field(default=None, compare=False, repr=False)
    """(len(ids), source_length): where each step looked in the source; None for a model without attention."""
    finished: bool = True
    """Whether the model ended the output itself; False if it was cut at the maximum length or could not go on."""


@dataclass(frozen=True)
class Ranking:
    """How scores become normalised scores."""

    length_penalty: float = 1.0
    """The exponent a."""
    length_norm: LengthNorm = "power"
    """The formula of the norm."""
    coverage_penalty: float = 0.0
    """The factor b; 0 leaves coverage out."""

    def norm(self, lengths: Ints) -> Floats:
        """What scores of outputs of these lengths, any shape, are divided by; it never falls as lengths grow."""
        sizes = np.maximum(lengths, 1).astype(np.float64)
        if self.length_norm == "gnmt":
            sizes = (5.0 + sizes) / 6.0
        powers: Floats = sizes**self.length_penalty
        return powers

    def coverage(self, received: Floats) -> Floats:
        """Coverage terms of `(n, source_length)` sums of attention (1 or more where there is padding) -> (n,)."""
        logarithms = np.log(np.clip(received, LEAST_COVERAGE, 1.0))
        # One after another: `sum` adds in an order that depends on how much padding there is.
        terms: Floats = self.coverage_penalty * logarithms.cumsum(axis=-1, dtype=np.float64)[..., -1]
        return terms

    def bound(self, scores: Floats, max_lengths: Ints) -> Floats:
        """The highest normalised score that unfinished outputs can still reach, whatever the model says next.

        Scores are at most 0 and only fall, norms only rise and the coverage term is at most 0, so no continuation does
        better than the present score over the largest norm.
        """
        limits: Floats = scores / self.norm(max_lengths)
        return limits


def align(attention: Floats) -> Ints:
    """The source position that each output token looked at most: `(target_length, source_length)` -> (target_length,).

    The first one of equals. This is what replaces an unknown word by its source word, and the hard alignment.
    """
    positions: Ints = np.asarray(attention).argmax(axis=-1)
    return positions


def pharaoh(attention: Floats) -> str:
    """The hard alignment in the Pharaoh format, `source-target` pairs from 0: `"0-0 2-1 1-2"`."""
    return " ".join(f"{source}-{target}" for target, source in enumerate(align(attention)))

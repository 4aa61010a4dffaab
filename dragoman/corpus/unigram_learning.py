"""Learns the pieces of a unigram tokenizer and their scores; knows strings and counts, no files.

The library's own trainer adds probabilities in the order of a hash table, so its result differs from run to run. We do
what it does (Kudo 2018, "Subword regularization", section 3.2) with the best segmentation in place of the sum over all:
start from frequent strings, count how often each is used in the best segmentation of every word, set its score to its
log-probability, and drop those whose loss costs least.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models

_LONGEST = 16
_SEED_CHARACTERS = 2_000_000
_LARGEST_SEED = 200_000
_SHRINK = 0.7
_ROUNDS = 2


def learn_pieces(
    words: Sequence[str], counts: Sequence[int], alphabet: Sequence[str], *, size: int
) -> list[tuple[str, float]]:
    """At most `size` pieces with their log-probabilities, best first; all of `alphabet` is among them.

    `words`, of which there are `counts`, never share a piece; the most frequent come first.
    """
    weights = np.asarray(counts, dtype=np.float64)
    seeds = _frequent_strings(words, counts, frozenset(alphabet), most=min(_LARGEST_SEED, max(20_000, 8 * size)))
    for character in alphabet:
        seeds.setdefault(character, 1)
    scores = _normalize({piece: float(n) for piece, n in seeds.items()})
    while True:
        used: dict[str, float] = {}
        for _ in range(_ROUNDS):
            used = _count_uses(words, weights, scores, alphabet)
            scores = _normalize(used)
        if len(scores) <= size:
            return sorted(((piece, round(score, 6)) for piece, score in scores.items()), key=lambda p: (-p[1], p[0]))
        wanted = max(size, int(len(scores) * _SHRINK))
        kept = _most_useful(used, scores, frozenset(alphabet), wanted)
        scores = {piece: score for piece, score in scores.items() if piece in kept}


def _frequent_strings(
    words: Sequence[str], counts: Sequence[int], alphabet: frozenset[str], *, most: int
) -> dict[str, int]:
    """The `most` frequent strings inside words, longer ones favoured, found length by length.

    A string is frequent only if both its ends are, so each length looks only where the one before found something.
    """
    room = _SEED_CHARACTERS
    chosen: list[tuple[str, int]] = []
    for word, count in zip(words, counts, strict=True):
        room -= len(word)
        if room < 0:
            break
        chosen.append((word, count))
    found: dict[str, int] = {}
    shorter: set[str] | frozenset[str] = alphabet
    for length in range(2, _LONGEST + 1):
        level: Counter[str] = Counter()
        for word, count in chosen:
            inside = [word[i : i + length - 1] in shorter for i in range(len(word) - length + 2)]
            for i in range(len(word) - length + 1):
                if inside[i] and inside[i + 1]:
                    level[word[i : i + length]] += count
        frequent = {piece: n for piece, n in level.items() if n > 1}
        if not frequent:
            break
        found.update(frequent)
        shorter = set(frequent)
        chosen = [(word, count) for word, count in chosen if len(word) > length]
    ranked = sorted(found.items(), key=lambda item: (-item[1] * len(item[0]), item[0]))
    return dict(ranked[:most])


def _count_uses(
    words: Sequence[str], weights: NDArray[np.float64], scores: dict[str, float], alphabet: Sequence[str]
) -> dict[str, float]:
    """How often each piece stands in the best segmentations; characters count at least half, the unused are gone."""
    pieces = sorted(scores)
    library = tokenizers.Tokenizer(models.Unigram([("<unk>", 0.0), *((p, scores[p]) for p in pieces)], unk_id=0))
    uses = np.zeros(len(pieces) + 1)
    for start in range(0, len(words), 50_000):
        encoded = [e.ids for e in library.encode_batch_fast(list(words[start : start + 50_000]))]
        lengths = [len(ids) for ids in encoded]
        flat = np.fromiter((i for ids in encoded for i in ids), dtype=np.int64, count=sum(lengths))
        uses += np.bincount(flat, np.repeat(weights[start : start + 50_000], lengths), minlength=len(uses))
    used = {piece: float(n) for piece, n in zip(pieces, uses[1:], strict=True) if n > 0}
    for character in alphabet:
        used[character] = max(0.5, used.get(character, 0.0))
    return used


def _most_useful(
    used: dict[str, float], scores: dict[str, float], alphabet: frozenset[str], wanted: int
) -> frozenset[str]:
    """`alphabet` and the pieces whose loss would cost most log-probability, `wanted` in all."""
    costs: list[tuple[float, str]] = []
    for piece in used:
        if piece not in alphabet:
            costs.append((-used[piece] * (scores[piece] - _score_without(piece, scores)), piece))
    costs.sort()
    return alphabet | {piece for _, piece in costs[: wanted - len(alphabet)]}


def _score_without(piece: str, scores: dict[str, float]) -> float:
    """Score of the best segmentation of `piece` into smaller pieces."""
    best = [0.0] + [-math.inf] * len(piece)
    for end in range(1, len(piece) + 1):
        for start in range(end):
            if end - start < len(piece) and (score := scores.get(piece[start:end])) is not None:
                best[end] = max(best[end], best[start] + score)
    return best[-1]


def _normalize(counts: dict[str, float]) -> dict[str, float]:
    total = math.log(math.fsum(counts.values()))
    return {piece: math.log(n) - total for piece, n in counts.items()}

"""Outputs that have ended, and which of them are the best; knows neither the model nor how the search goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dragoman.generation.history import History
from dragoman.generation.hypothesis import Hypothesis, Ranking
from dragoman.generation.stepper import Floats, Ints

FINISHED, CUT, LACKING = range(3)
"""Grades of outputs, better ones first: ended in `</s>`; cut; cut before all that is required was there."""


@dataclass(frozen=True)
class Ended:
    """Outputs that ended in one step, in the order of preference; all arrays are (n,)."""

    sentences: Ints
    """The source of each."""
    lengths: Ints
    """Their ids, `</s>` included."""
    nodes: Ints
    """Their last nodes in the history, at step `lengths - 1`."""
    normalized: Floats
    """Their normalised scores."""
    grade: int
    """One of `FINISHED`, `CUT` and `LACKING`."""


class Finished:
    """Collects ended outputs and keeps the best normalised scores of each source."""

    def __init__(self, sources: int, wanted: int, ranking: Ranking, *, copies: int = 1) -> None:
        """`wanted` outputs of each source will be asked for; each may be found `copies` times."""
        self.ranking = ranking
        self.wanted = wanted
        self.ended: list[Ended] = []
        self.best = np.full((sources, wanted * copies), -np.inf)
        """(sources, wanted * copies): the best normalised scores of outputs that ended in `</s>`, best first."""
        self.any_full = False
        """Whether some source has so many finished outputs: certainly `wanted` different ones."""

    def add(
        self, sentences: Ints, length: int, nodes: Ints, scores: Floats, received: Floats | None, *, grade: int
    ) -> None:
        """Set outputs of one length and grade aside; `sentences` must be in rising order.

        `received`, (n, source_length), is the attention that their sources got, if coverage counts.
        """
        if not len(nodes):
            return
        lengths = np.full(len(nodes), length, np.int64)
        normalized = scores / self.ranking.norm(lengths)
        if received is not None:
            normalized = normalized + self.ranking.coverage(received)
        self.ended.append(Ended(sentences, lengths, nodes, normalized, grade))
        if grade == FINISHED:
            self.best = merge_best(self.best, sentences, normalized)
            self.any_full = bool((self.best[:, -1] > -np.inf).any())

    def best_of(self, sentence: int) -> tuple[int, int] | None:
        """Length and last node of the source's best ended output so far: of the best grade there is; None if there is none."""
        best: tuple[float, float] = (np.inf, np.inf)
        place = None
        for ended in self.ended:
            for i in np.flatnonzero(ended.sentences == sentence):
                this = (ended.grade, -float(ended.normalized[i]))
                if this < best:
                    best, place = this, (int(ended.lengths[i]), int(ended.nodes[i]))
        return place

    def results(self, history: History, source_lengths: Ints) -> list[list[Hypothesis]]:
        """The `wanted` best distinct outputs of each source, best first; fewer if no more exist.

        Better grades come first, then better normalised scores; equals keep the order in which they ended.
        """
        sources = len(source_lengths)
        if not self.ended:
            return [[] for _ in range(sources)]
        sentences = np.concatenate([ended.sentences for ended in self.ended])
        lengths = np.concatenate([ended.lengths for ended in self.ended])
        nodes = np.concatenate([ended.nodes for ended in self.ended])
        normalized = np.concatenate([ended.normalized for ended in self.ended])
        grades = np.concatenate([np.full(len(ended.nodes), ended.grade) for ended in self.ended])
        order = np.lexsort((-normalized, grades, sentences))
        results: list[list[Hypothesis]] = [[] for _ in range(sources)]
        seen: set[tuple[int, tuple[int, ...]]] = set()
        ends = (sentences[order], lengths[order], nodes[order], normalized[order])
        for sentence, length, node, score in zip(*(each.tolist() for each in ends), strict=True):
            if len(results[sentence]) == self.wanted:
                continue
            hypothesis = history.rebuild(length, node, int(source_lengths[sentence]), score)
            if (sentence, hypothesis.ids) not in seen:
                results[sentence].append(hypothesis)
                seen.add((sentence, hypothesis.ids))
        return results


def merge_best(best: Floats, sentences: Ints, scores: Floats) -> Floats:
    """`best`, (sources, n) in falling order, with new scores of some sentences (in rising order) merged in."""
    ranks = np.arange(len(sentences)) - np.searchsorted(sentences, sentences)
    new = np.full((len(best), int(ranks.max(initial=0)) + 1), -np.inf)
    new[sentences, ranks] = scores
    merged: Floats = -np.sort(-np.concatenate([best, new], axis=1), axis=1)[:, : best.shape[1]]
    return merged

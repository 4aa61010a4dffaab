"""The memory of a search: back-pointers per step, from which outputs are rebuilt once at the end; knows no scores' meaning.

A *node* is a token chosen at some step, finished or not; a *row* is what was fed to the model in a step. Each step's
nodes point at the row that they continue, and each row at the node of the step before that it came from.
"""

from __future__ import annotations

import numpy as np

from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.stepper import EOS, Floats, Ints


class History:
    """Arrays per step; adding a step costs nothing but keeping them."""

    def __init__(self) -> None:
        self.ids: list[Ints] = []
        """Per step, (nodes,): the chosen ids."""
        self.log_probs: list[Floats] = []
        """Per step, (nodes,): their log-probabilities."""
        self.rows: list[Ints] = []
        """Per step, (nodes,): the row that each node continues."""
        self.nodes_of_rows: list[Ints] = []
        """Per step, (rows,): the node of the step before that each row came from (the source's number at step 0)."""
        self.attention: list[Floats | None] = []
        """Per step, (rows, source_length)."""

    def add(self, ids: Ints, log_probs: Floats, rows: Ints, nodes_of_rows: Ints, attention: Floats | None) -> None:
        """Record one step."""
        self.ids.append(ids)
        self.log_probs.append(log_probs)
        self.rows.append(rows)
        self.nodes_of_rows.append(nodes_of_rows)
        self.attention.append(attention)

    def back(self, step: int, nodes: Ints) -> tuple[Ints, Ints]:
        """The rows that `nodes` of `step` continue, and the nodes of the step before."""
        rows = self.rows[step][nodes]
        return rows, self.nodes_of_rows[step][rows]

    def rebuild(self, length: int, node: int, source_length: int, normalized_score: float) -> Hypothesis:
        """The hypothesis that ends in `node` of step `length - 1`; a length of 0 is an empty output."""
        ids, scores, rows = [], [], []
        for step in range(length - 1, -1, -1):
            row = self.rows[step][node]
            ids.append(int(self.ids[step][node]))
            scores.append(float(self.log_probs[step][node]))
            rows.append(row)
            node = self.nodes_of_rows[step][row]
        scores.reverse()
        return Hypothesis(
            ids=tuple(reversed(ids)),
            score=float(sum(scores)),
            normalized_score=normalized_score,
            token_scores=tuple(scores),
            attention=self._weights(rows[::-1], source_length),
            finished=length > 0 and ids[0] == EOS,
        )

    def _weights(self, rows: list[int], source_length: int) -> Floats | None:
        """(steps, source_length): where the first steps of an output looked, given the row of each."""
        if not self.attention or self.attention[0] is None:
            return None
        weights = np.zeros((len(rows), source_length))
        for step, row in enumerate(rows):
            attention = self.attention[step]
            if attention is not None:
                looked = attention[row, :source_length]  # a Stepper may have dropped columns that are padding
                weights[step, : len(looked)] = looked
        return weights

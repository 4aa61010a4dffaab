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

    def rebuild(
        self,
        lengths: Ints,
        nodes: Ints,
        source_lengths: Ints,
        normalized_scores: Floats,
    ) -> list[Hypothesis]:
        """Hypotheses that end in `nodes` of step `lengths - 1`; all arrays are (n,). A length of 0 is an empty output."""
        n, longest = len(lengths), int(lengths.max(initial=0))
        ids = np.zeros((n, longest), np.int64)
        token_scores = np.zeros((n, longest))
        width = int(source_lengths.max(initial=0))
        seen = bool(self.attention) and self.attention[0] is not None
        weights = np.zeros((n, longest, width)) if seen else None
        at = nodes.copy()
        for step in range(longest - 1, -1, -1):
            going = np.flatnonzero(lengths > step)
            ids[going, step] = self.ids[step][at[going]]
            token_scores[going, step] = self.log_probs[step][at[going]]
            rows, at[going] = self.back(step, at[going])
            attention = self.attention[step]
            if weights is not None and attention is not None:
                shared = min(width, attention.shape[1])
                weights[going, step, :shared] = attention[rows, :shared]
        found = []
        for i in range(n):
            size = int(lengths[i])
            scores = token_scores[i, :size].tolist()
            found.append(
                Hypothesis(
                    ids=tuple(ids[i, :size].tolist()),
                    score=float(sum(scores)),
                    normalized_score=float(normalized_scores[i]),
                    token_scores=tuple(scores),
                    attention=None if weights is None else weights[i, :size, : source_lengths[i]].copy(),
                    finished=size > 0 and int(ids[i, size - 1]) == EOS,
                )
            )
        return found

"""Automata over ids: which ids may follow, so that an output stays in a given set; knows nothing of the model or of text.

A list of allowed outputs (`trie`) and a regular expression (`dragoman.generation.patterns`) both become this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dragoman.generation.stepper import EOS, Bools, Ints

START = 0
"""The state before the first id."""


@dataclass(frozen=True, eq=False)
class Automaton:
    """States and the ids that lead from one to the next, as sorted arrays (compressed rows)."""

    offsets: Ints
    """(states + 1,): the edges of state s are numbers `offsets[s]` to `offsets[s + 1] - 1`."""
    ids: Ints
    """(edges,): the id of each edge, rising within a state."""
    targets: Ints
    """(edges,): the state that it leads to."""
    distance: Ints
    """(states,): ids still needed from each state until the output may end, `</s>` included; 1 where it may end now."""

    def allow(self, states: Ints, remaining: Ints, vocab: int) -> Bools:
        """The ids that keep each row's output in the set and let it end within `remaining` more ids, (rows, vocab).

        A state of -1 has been left for good and allows nothing.
        """
        allowed = np.zeros((len(states), vocab), np.bool_)
        rows = np.flatnonzero(states >= 0)
        states, remaining = states[rows], remaining[rows]
        starts = self.offsets[states]
        counts = self.offsets[states + 1] - starts
        row_of_edge = rows.repeat(counts)
        edges = np.arange(counts.sum()) + (starts - counts.cumsum() + counts).repeat(counts)
        fits = self.distance[self.targets[edges]] < remaining.repeat(counts)
        allowed[row_of_edge[fits], self.ids[edges[fits]]] = True
        allowed[rows, EOS] = (self.distance[states] == 1) & (remaining >= 1)
        return allowed

    def advance(self, states: Ints, ids: Ints) -> Ints:
        """The state of each row after its next id; -1 if the id is not allowed there."""
        following = np.full(len(states), -1, np.int64)
        rows = np.flatnonzero((states >= 0) & (ids < self.stride))
        if len(rows) and len(self.ids):
            wanted = states[rows] * self.stride + ids[rows]
            edges = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
            right = self.keys[edges] == wanted
            following[rows[right]] = self.targets[edges[right]]
        return following

    @cached_property
    def stride(self) -> int:
        """One more than the largest id."""
        return int(self.ids.max(initial=0)) + 1

    @cached_property
    def keys(self) -> Ints:
        """(edges,): state and id of every edge as one rising number."""
        keys: Ints = np.arange(len(self.distance)).repeat(np.diff(self.offsets)) * self.stride + self.ids
        return keys


def trie(outputs: Iterable[tuple[int, ...]]) -> Automaton:
    """The automaton of exactly these outputs (ids without `</s>`)."""
    children: list[dict[int, int]] = [{}]
    distance = [np.iinfo(np.int32).max]
    for output in sorted(set(outputs)):
        node = START
        for depth, token in enumerate(output):
            distance[node] = min(distance[node], len(output) - depth + 1)
            if token not in children[node]:
                children[node][token] = len(children)
                children.append({})
                distance.append(np.iinfo(np.int32).max)
            node = children[node][token]
        distance[node] = 1
    edges = [(token, target) for node in children for token, target in sorted(node.items())]
    return Automaton(
        offsets=np.cumsum([0, *(len(node) for node in children)]),
        ids=np.array([token for token, _ in edges], np.int64),
        targets=np.array([target for _, target in edges], np.int64),
        distance=np.array(distance, np.int64),
    )

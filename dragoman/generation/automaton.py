"""Automata over ids: which ids may follow, so that an output stays in a given set; knows nothing of the model or of text.

A list of allowed outputs (`trie`) and a regular expression (`dragoman.generation.patterns`) both become this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dragoman.generation.stepper import EOS, Bools, Ints

START = 0
"""The state before the first id."""
FAR = np.iinfo(np.int32).max
"""How far the end is where no output can end, and how far at most where there is no most."""


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
    reach: Ints
    """(states,): the most ids that may still come, `</s>` included; `FAR` where there is no most."""

    def allow(self, states: Ints, least: Ints, remaining: Ints, vocab: int) -> Bools:
        """The ids that keep each row's output in the set, (rows, vocab), and let it end.

        It ends after `least` more ids or later, `</s>` included, and after `remaining` at most. (That there is an output
        between both is not looked at.) A state of -1 has been left for good and allows nothing.
        """
        allowed = np.zeros((len(states), vocab), np.bool_)
        rows = np.flatnonzero(states >= 0)
        states, least, remaining = states[rows], least[rows], remaining[rows]
        starts = self.offsets[states]
        counts = self.offsets[states + 1] - starts
        row_of_edge = rows.repeat(counts)
        edges = np.arange(counts.sum()) + (starts - counts.cumsum() + counts).repeat(counts)
        targets = self.targets[edges]
        fits = (self.distance[targets] < remaining.repeat(counts)) & (self.reach[targets] >= least.repeat(counts) - 1)
        allowed[row_of_edge[fits], self.ids[edges[fits]]] = True
        allowed[rows, EOS] = (self.distance[states] == 1) & (least <= 1) & (remaining >= 1)
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


def distances(following: Sequence[Iterable[int]], ends: Bools) -> tuple[Ints, Ints]:
    """`distance` and `reach` of every state, given the states that follow each and where outputs may end.

    States from which no output can end have a distance of `FAR` and a reach of 0.
    """
    before: list[list[int]] = [[] for _ in following]
    for state, targets in enumerate(following):
        for target in targets:
            before[target].append(state)
    distance = np.where(ends, 1, FAR)
    waiting = deque(np.flatnonzero(ends).tolist())
    while waiting:
        target = waiting.popleft()
        for state in before[target]:
            if distance[state] == FAR:
                distance[state] = distance[target] + 1
                waiting.append(state)
    live = distance < FAR
    unknown = np.array([sum(live[target] for target in targets) for targets in following], np.int64)
    reach = np.where(ends, 1, 0)
    waiting.extend(np.flatnonzero(live & (unknown == 0)).tolist())
    while waiting:
        target = waiting.popleft()
        for state in before[target]:
            if live[state]:
                reach[state] = max(reach[state], reach[target] + 1)
                unknown[state] -= 1
                if not unknown[state]:
                    waiting.append(state)
    return distance, np.where(live & (unknown > 0), FAR, reach)  # what is left is on the way to a circle


def trie(outputs: Iterable[tuple[int, ...]]) -> Automaton:
    """The automaton of exactly these outputs (ids without `</s>`)."""
    children: list[dict[int, int]] = [{}]
    ends = [False]
    for output in sorted(set(outputs)):
        node = START
        for token in output:
            if token not in children[node]:
                children[node][token] = len(children)
                children.append({})
                ends.append(False)
            node = children[node][token]
        ends[node] = True
    edges = [(token, target) for node in children for token, target in sorted(node.items())]
    return Automaton(
        np.cumsum([0, *(len(node) for node in children)]),
        np.array([token for token, _ in edges], np.int64),
        np.array([target for _, target in edges], np.int64),
        *distances([node.values() for node in children], np.array(ends)),
    )

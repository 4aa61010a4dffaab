"""Small random models for the tests of search: their next-id probabilities depend on the source and on all ids so far."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from dragoman.generation.hypothesis import Hypothesis
from dragoman.generation.stepper import BOS, EOS, PAD, Bools, Floats, Ints, Step, ranked
from dragoman.translation.outputs import Candidate

Prefix = tuple[int, ...]


@dataclass(frozen=True)
class TableState:
    """Rows of (source, ids so far)."""

    rows: tuple[tuple[Prefix, Prefix], ...]


class TableStepper:
    """Log-probabilities drawn at random for every (source, prefix), the same whenever they are asked for again."""

    def __init__(self, *, seed: int = 0, vocab: int = 6, sharpness: float = 2.0, attention: bool = True) -> None:
        self.seed, self.vocab, self.sharpness, self.attends = seed, vocab, sharpness, attention
        self.known: dict[tuple[Prefix, Prefix], tuple[Floats, Floats]] = {}
        self.steps = self.rows_fed = 0

    @property
    def vocab_size(self) -> int:
        return self.vocab

    def logits(self, random: np.random.Generator) -> Floats:
        """Overridden by models with a habit."""
        return random.normal(size=self.vocab) * self.sharpness

    def look_up(self, source: Prefix, prefix: Prefix) -> tuple[Floats, Floats]:
        """Log-probabilities of the next id, and attention over the source."""
        if (source, prefix) not in self.known:
            random = np.random.default_rng([self.seed, len(source), *source, *prefix])
            logits = self.logits(random)
            weights = np.exp(random.normal(size=len(source)) * 2)
            log_probs = logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
            self.known[source, prefix] = (log_probs, weights / weights.sum())
        return self.known[source, prefix]

    def start(self, source_ids: list[list[int]]) -> TableState:
        assert all(source_ids), "a source without ids"
        return TableState(tuple((tuple(ids), ()) for ids in source_ids))

    def step(
        self,
        state: TableState,
        last_ids: Ints,
        *,
        top_k: int | None,
        allowed: Bools | None = None,
        bias: Floats | None = None,
    ) -> Step:
        assert len(last_ids) == len(state.rows) > 0
        self.steps += 1
        self.rows_fed += len(state.rows)
        rows = tuple(
            (source, () if last == BOS and not prefix else (*prefix, last))
            for (source, prefix), last in zip(state.rows, last_ids.tolist(), strict=True)
        )
        found = [self.look_up(*row) for row in rows]
        width = max(len(source) for source, _ in rows)
        ids, log_probs = ranked(np.array([f[0] for f in found]), top_k=top_k, allowed=allowed, bias=bias)
        attention = np.array([np.pad(f[1], (0, width - len(f[1]))) for f in found]) if self.attends else None
        return Step(ids, log_probs, attention, TableState(rows))

    def select(self, state: TableState, rows: Ints) -> TableState:
        return TableState(tuple(state.rows[row] for row in rows.tolist()))


class EndlessStepper(TableStepper):
    """A model that never ends its outputs."""

    def logits(self, random: np.random.Generator) -> Floats:
        logits = super().logits(random)
        logits[EOS] = -np.inf
        return logits


@dataclass(frozen=True)
class Output:
    """One way that an output can go."""

    ids: Prefix
    token_scores: tuple[float, ...]
    received: Floats

    @property
    def score(self) -> float:
        return float(sum(self.token_scores))

    @property
    def finished(self) -> bool:
        return bool(self.ids) and self.ids[-1] == EOS


def every_output(model: TableStepper, source: list[int], max_length: int) -> list[Output]:
    """All outputs of at most `max_length` ids: those that end in `</s>`, and those that are cut there."""
    tokens = [i for i in range(model.vocab) if i not in (PAD, BOS, EOS)]
    outputs = []
    for size in range(max_length + 1):
        for words in itertools.product(tokens, repeat=size):
            for ids in _ways(words, max_length):
                steps = [model.look_up(tuple(source), ids[:t]) for t in range(len(ids))]
                scores = tuple(float(s[0][i]) for s, i in zip(steps, ids, strict=True))
                outputs.append(Output(ids, scores, np.sum([s[1] for s in steps], axis=0)))
    return outputs


def _ways(words: Prefix, max_length: int) -> Iterator[Prefix]:
    if len(words) < max_length:
        yield (*words, EOS)
    else:
        yield words


def assert_alike(found: Sequence[Hypothesis | Candidate], expected: Sequence[Hypothesis | Candidate]) -> None:
    """The same outputs in the same order, but for the order of those whose normalised scores are closer than 1e-4."""
    for one, other in zip(found, expected, strict=True):
        near = [each for each in expected if abs(each.normalized_score - other.normalized_score) < 1e-4]
        assert one.score == pytest.approx({each.ids: each.score for each in near}[one.ids], abs=1e-4)


def reference_beam(
    model: TableStepper,
    source: list[int],
    *,
    beam_size: int,
    max_length: int,
    groups: int = 1,
    diversity: float = 0.0,
    stopping: str = "full",
) -> list[Prefix]:
    """Beam search ("full" or "exact", no bound) as one would write it on paper; the finished outputs by mean score."""
    places = [beam_size // groups] * groups
    live: list[list[tuple[float, Prefix]]] = [[(0.0, ())] for _ in range(groups)]
    done: dict[Prefix, float] = {}
    for _ in range(max_length):
        chosen: list[int] = []
        for group in range(groups):
            grown = []
            for place, (rank, ids) in enumerate(live[group]):
                log_probs = model.look_up(tuple(source), ids)[0]
                for token in range(model.vocab):
                    if token not in (PAD, BOS):
                        value = rank + log_probs[token] - diversity * chosen.count(token) * (token != EOS)
                        grown.append((-value, place, -log_probs[token], (*ids, token)))
            ranked = [(-value, ids) for value, _, _, ids in sorted(grown)]
            kept = ranked[: places[group]]
            if stopping == "exact":  # what ends takes no place
                ended = [entry for entry in kept if entry[1][-1] == EOS]
                kept = [*ended, *[entry for entry in ranked if entry[1][-1] != EOS][: places[group]]]
            chosen += [ids[-1] for _, ids in kept]
            live[group] = [(rank, ids) for rank, ids in kept if ids[-1] != EOS]
            for _, ids in kept:
                if ids[-1] == EOS:
                    scores = [model.look_up(tuple(source), ids[:t])[0][i] for t, i in enumerate(ids)]
                    done[ids] = float(sum(scores)) / len(ids)
                    places[group] -= stopping == "full"
    return sorted(done, key=lambda ids: -done[ids])

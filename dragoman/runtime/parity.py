"""How far graphs are from the model in PyTorch: log-probabilities, tokens, whole outputs, scores; knows no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dragoman.config import SearchOptions
from dragoman.errors import StorageError, at_most, counted
from dragoman.evaluation.metrics import score
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, EOS, Stepper

COMPARED = 64
"""Sources of which every log-probability is compared."""
SCORED = 1_000
"""Sources at most whose outputs are scored."""
MAX_LENGTH = 60
"""Tokens of an output, its end included, that are compared at most, unless right answers have more."""
_BATCH = 64


@dataclass(frozen=True)
class Sample:
    """What graphs are checked on."""

    source_ids: list[list[int]]
    """Non-empty sources."""
    references: list[list[str]] | None = None
    """Right answers to each; None for sources that were drawn."""
    decode: Callable[[list[int]], str] | None = None
    """Ids without `</s>` to text."""
    writing: Any = "spaced"
    """How targets are written, as metrics want it."""
    metric: Any = "bleu"
    """The metric by which outputs are judged; exact match is looked at besides."""
    max_length: int = MAX_LENGTH
    """Most tokens of an output, its end included."""

    def thinned(self, most: int) -> list[list[int]]:
        """At most so many sources, evenly from all."""
        places = np.linspace(0, len(self.source_ids) - 1, min(most, len(self.source_ids))).astype(int)
        return [self.source_ids[place] for place in places]


@dataclass(frozen=True)
class Parity:
    """How far graphs are from PyTorch, measured along PyTorch's own greedy outputs."""

    sources: int
    """Sources translated by both."""
    same: int
    """Sources whose outputs have the same ids."""
    token_agreement: float
    """Share of the tokens of PyTorch's outputs that are the graphs' first choice too, after the same tokens."""
    largest_difference: float
    """Of any log-probability of the whole vocabulary at any step of an output."""
    scored: int = 0
    """Sources whose outputs were scored against references."""
    loss: Mapping[str, float] | None = None
    """What the graphs lose by each metric, in points, the one that decides first; below 0 they gain."""

    def __str__(self) -> str:
        parts = [
            f"{self.same:,} of {counted(self.sources, 'output')} and {self.token_agreement:.1%} of tokens the same as PyTorch's",
            f"log-probabilities within {at_most(self.largest_difference)}",
        ]
        if self.loss:
            names = {"bleu": "BLEU", "chrf": "chrF", "exact_match": "points of exact match"}
            changes = " and ".join(f"{round(-value, 2) + 0.0:+.2f} {names[name]}" for name, value in self.loss.items())
            parts.append(f"{changes} on {counted(self.scored, 'source')}")
        return ", ".join(parts)


def compare(
    expected: Stepper, given: Stepper, source_ids: Sequence[list[int]], *, max_length: int = MAX_LENGTH
) -> Parity:
    """Translate with `expected`, follow its outputs with both, and look at every log-probability."""
    usable = sorted((ids for ids in source_ids if ids), key=len)
    same = agreed = tokens = 0
    largest = 0.0
    for start in range(0, len(usable), _BATCH):
        batch = usable[start : start + _BATCH]
        outputs, others = (greedy(stepper, batch, max_length=max_length) for stepper in (expected, given))
        same += sum(one == other for one, other in zip(outputs, others, strict=True))
        difference, alike = _followed(expected, given, batch, outputs)
        largest = float(np.maximum(largest, difference))
        agreed, tokens = agreed + alike, tokens + sum(map(len, outputs))
    if not tokens:  # not one output has even its end
        raise StorageError("the model's scores are not numbers (its weights are too large), so no graphs were written")
    return Parity(len(usable), same, agreed / tokens, largest)


def losses(expected: list[tuple[int, ...]], given: list[tuple[int, ...]], sample: Sample) -> dict[str, float]:
    """What `given` outputs lose against `expected` ones, in points of the sample's metric and of exact match."""
    assert sample.references is not None
    assert sample.decode is not None
    metrics: Any = list(dict.fromkeys([sample.metric, "exact_match"]))
    values = []
    for outputs in (expected, given):
        texts = [sample.decode([token for token in ids if token != EOS]) for ids in outputs]
        values.append(score(texts, sample.references, writing=sample.writing, metrics=metrics, primary=metrics[0]))
    # 3 of 1,000 outputs are 0.3 points, and not 0.3 and a rounding error, by which int8 would be refused.
    return {name: round(values[0].value(name) - values[1].value(name), 9) for name in metrics}


def greedy(stepper: Stepper, source_ids: Sequence[list[int]], *, max_length: int = MAX_LENGTH) -> list[tuple[int, ...]]:
    """Greedy outputs, in the order of their sources."""
    options = SearchOptions(beam_size=1, max_length=max_length)
    outputs: list[tuple[int, ...]] = [()] * len(source_ids)
    order = sorted(range(len(source_ids)), key=lambda place: -len(source_ids[place]))
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        for place, found in zip(batch, search(stepper, [source_ids[i] for i in batch], options=options), strict=True):
            outputs[place] = tuple(found[0].ids)
    return outputs


def _followed(
    expected: Stepper, given: Stepper, source_ids: list[list[int]], outputs: list[tuple[int, ...]]
) -> tuple[float, int]:
    """The largest difference at any step of any output, and how many of its tokens are the first choice of `given`.

    A row that is over goes on with its last id, but counts no more: no search feeds `</s>`, and a model that never read it
    answers with numbers so large that their rounding is, too.
    """
    states = [stepper.start(source_ids) for stepper in (expected, given)]
    largest, agreed = 0.0, 0
    for position in range(max(map(len, outputs))):
        last = np.array([BOS if position == 0 else ids[min(position, len(ids)) - 1] for ids in outputs])
        values: list[NDArray[Any]] = []
        for index, stepper in enumerate((expected, given)):
            step = stepper.step(states[index], last, top_k=None)
            states[index] = step.state
            values.append(step.log_probs)
        going = np.array([position < len(ids) for ids in outputs])
        largest = float(np.maximum(largest, np.abs(values[0] - values[1])[going].max()))
        agreed += int((values[0].argmax(axis=1) == values[1].argmax(axis=1))[going].sum())
    return largest, agreed

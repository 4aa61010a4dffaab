"""Runs a model both ways, fed the truth and fed its own output, and hands both to `exposure`; knows ids, not texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dragoman.config import SearchOptions
from dragoman.evaluation.exposure import Gap, measure_gap
from dragoman.evaluation.forcing import AT_ONCE, force
from dragoman.evaluation.metrics import closest
from dragoman.generation.search import search
from dragoman.generation.stepper import EOS
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper

Ids = Sequence[int]


def feed_both_ways(
    model: Seq2Seq,
    source_ids: Sequence[Ids],
    reference_ids: Sequence[Sequence[Ids]],
    *,
    horizon: int = 10,
    listener: Callable[[int], None] = lambda _: None,
) -> Gap:
    """The teacher-forcing gap on sources with one or more right answers each; ids without `<s>` and `</s>`.

    Of several right answers the one closest to the model's own output counts, both ways. `listener` is told how many more
    sources have an output.
    """
    free = _greedy(TorchStepper(model), source_ids, listener)
    truth = [_nearest(output, references) for output, references in zip(free, reference_ids, strict=True)]
    forced = [found.predicted.tolist() for found in force(model, source_ids, truth)]
    return measure_gap([[*ids, EOS] for ids in truth], forced, free, horizon=horizon)


def _nearest(output: Ids, references: Sequence[Ids]) -> list[int]:
    words = [i for i in output if i != EOS]
    return list(references[closest(words, references)[2]])


def _greedy(stepper: TorchStepper, source_ids: Sequence[Ids], listener: Callable[[int], None]) -> list[list[int]]:
    """The greedy output of every source; the end token stands where the model ended by itself."""
    order = sorted(range(len(source_ids)), key=lambda i: len(source_ids[i]))
    outputs: dict[int, list[int]] = {}
    for start in range(0, len(order), AT_ONCE):
        rows = order[start : start + AT_ONCE]
        found = search(stepper, [source_ids[i] for i in rows], options=SearchOptions(beam_size=1))
        outputs |= {i: list(hypotheses[0].ids) for i, hypotheses in zip(rows, found, strict=True)}
        listener(len(rows))
    return [outputs[i] for i in range(len(source_ids))]

"""Minimum risk: what a model's own outputs cost it, measured on ids; knows no text, no optimiser and no schedule.

Shen et al. 2016 (equations 10 to 13), Edunov et al. 2018. For every pair beam search finds the best outputs of the model; the
*risk* is their expected cost, under the model's probabilities to the power of `sharpness`, divided by their sum. A gradient
flows through these probabilities alone. Costs lie between 0 (right) and 1.

The references are not among the outputs, unless the model finds them: the cross-entropy beside the risk learns from them,
and what the risk is to change is what the model says itself. Nor are outputs drawn at random: label smoothing leaves so much
probability to words that are wrong that most draws have one, too improbable to matter (see benchmarks/recipes/eng-fra.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from dragoman.config import SearchOptions
from dragoman.corpus.batching import Batch, Ints
from dragoman.corpus.dataset import EncodedPairs
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, PAD
from dragoman.model.loss import chunked_log_probs
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper

_MOST_REFERENCES = 16
"""References of one source that an output is held against."""
_LONGEST_NGRAM = 4

Ids = tuple[int, ...]
Cost = Callable[[Ids, Sequence[Ids]], float]


@dataclass(frozen=True)
class Pool:
    """The outputs that were found for the sources of one batch, all different for each source."""

    source_ids: Ints
    """(batch, source_length)"""
    source_lengths: Ints
    """(batch,)"""
    rows: Ints
    """(outputs,): the source of each, from 0, rising."""
    outputs: list[Ids]
    """Ids with their `</s>`; without one if an output was cut at the maximum length."""
    costs: list[float]
    """What each costs."""

    def split(self) -> tuple[Pool, float]:
        """The sources whose outputs cost differently, and what the others cost together, whatever the probabilities."""
        costs = np.array(self.costs)
        starts = np.flatnonzero(np.diff(self.rows, prepend=-1))
        lowest, highest = np.minimum.reduceat(costs, starts), np.maximum.reduceat(costs, starts)
        open_ = np.zeros(len(self.source_lengths), bool)
        open_[self.rows[starts]] = lowest < highest
        kept = np.flatnonzero(open_[self.rows]).tolist()
        rest = Pool(
            self.source_ids[open_],
            self.source_lengths[open_],
            (np.cumsum(open_) - 1)[self.rows[kept]],
            [self.outputs[place] for place in kept],
            costs[kept].tolist(),
        )
        return rest, float(lowest[lowest == highest].sum())


class MinimumRisk:
    """Finds outputs, and adds the gradient of their expected cost."""

    def __init__(
        self,
        pairs: EncodedPairs,
        *,
        weight: float,
        metric: str,
        candidates: int,
        sharpness: float = 1.0,
        bfloat16: bool = False,
        recompute: bool = False,
    ) -> None:
        """`metric` is bleu, edit or exact_match; `pairs`, the training data, has the references of every source.

        With `bfloat16` the pass that has a gradient multiplies in bfloat16; the search does not. With `recompute` its
        activations within layers are computed again in the backward pass instead of held.
        """
        self.weight = weight
        self.cost = COSTS[metric]
        self.candidates = candidates
        self.sharpness = sharpness
        self.bfloat16 = bfloat16
        self.recompute = recompute
        self.references = References(pairs)

    def find(self, model: Seq2Seq, batch: Batch) -> Pool:
        """The up to `candidates` best outputs of beam search for every pair, without dropout: a function of weights and batch."""
        longest = 2 * batch.target_output.shape[1] + 10  # of the whole batch, whichever rows of it these are
        options = SearchOptions(beam_size=self.candidates, num_hypotheses=self.candidates, max_length=longest)
        sources = [
            ids[:length].tolist() for ids, length in zip(batch.source_ids, batch.source_lengths.tolist(), strict=True)
        ]
        rows, outputs, costs = [], [], []
        found = search(TorchStepper(model), sources, options=options)
        for row, hypotheses in enumerate(found):
            references = self.references.of(int(batch.indices[row]))
            for hypothesis in hypotheses:
                rows.append(row)
                outputs.append(hypothesis.ids)
                costs.append(self.cost(hypothesis.ids[: len(hypothesis.ids) - hypothesis.finished], references))
        return Pool(batch.source_ids, batch.source_lengths, np.array(rows, np.int64), outputs, costs)

    def add_gradients(self, model: Seq2Seq, pools: Sequence[Pool], *, sources: int | None = None) -> float:
        """Add the gradient of `weight` times the mean risk to the parameters' `grad`; return that risk.

        The mean is over so many `sources`, those of other processes included; by default those of the pools.
        """
        sources = sources or sum(len(pool.source_lengths) for pool in pools)
        total = 0.0
        for pool in pools:
            risk = self.risk(model, pool)
            if risk.requires_grad:
                (self.weight * risk / sources).backward()  # type: ignore[no-untyped-call]
            total += float(risk.detach())
        return total / sources

    def risk(self, model: Seq2Seq, pool: Pool) -> Tensor:
        """The expected cost of the sources of a pool, summed, with its graph."""
        pool, settled = pool.split()
        if not pool.outputs:
            return torch.tensor(settled, dtype=model.decoder.output.weight.dtype)
        log_probs = output_log_probs(model, pool, bfloat16=self.bfloat16, recompute=self.recompute)
        rows = torch.from_numpy(pool.rows).to(log_probs.device)
        costs = torch.tensor(pool.costs, dtype=log_probs.dtype, device=log_probs.device)
        scores = self.sharpness * log_probs
        count = len(pool.source_lengths)
        highest = torch.full((count,), -torch.inf, dtype=scores.dtype, device=scores.device)
        highest = highest.scatter_reduce(0, rows, scores.detach(), "amax")
        masses = (scores - highest[rows]).exp()
        sums = masses.new_zeros(count).index_add(0, rows, masses)
        return (masses / sums[rows] * costs).sum() + settled


def output_log_probs(model: Seq2Seq, pool: Pool, *, bfloat16: bool = False, recompute: bool = False) -> Tensor:
    """(outputs,): the log-probability of every output, in one teacher-forced pass, whose products may be in `bfloat16`.

    With `recompute` the backward pass computes the activations within layers again. In training, dropout's masks are
    those of the source: its outputs are compared under one model.
    """
    device = model.decoder.embedding.weight.device
    length = max(len(ids) for ids in pool.outputs)
    padded = np.full((len(pool.outputs), length + 1), PAD, np.int64)
    padded[:, 0] = BOS
    for row, ids in enumerate(pool.outputs):
        padded[row, 1 : len(ids) + 1] = ids
    target = torch.from_numpy(padded).to(device)
    real = target[:, 1:] != PAD
    sources, lengths, rows = (
        torch.from_numpy(array).to(device, torch.long) for array in (pool.source_ids, pool.source_lengths, pool.rows)
    )
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        memory, state = model.encode(sources, lengths, recompute=recompute)
        words = model.decoder.embedding.mask(len(sources), length)
        masks = replace(model.decoder.masks(memory.context), words=words).select(rows)
        memory = memory.select(rows)
        features, attention, _ = model.decoder(
            target[:, :-1], memory, state.select(rows), masks=masks, recompute=recompute
        )
    output = model.decoder.output
    pointer = model.decoder.pointer(features, attention, memory.copied)
    pointer = None if pointer is None else pointer.of(real.flatten().nonzero().squeeze(1))
    said = features[real].to(torch.bfloat16 if bfloat16 else output.weight.dtype)
    tokens = chunked_log_probs(said, output.weight, output.bias, target[:, 1:][real], pointer=pointer)
    places = torch.arange(len(pool.outputs), device=device).unsqueeze(1).expand_as(real)[real]
    return tokens.new_zeros(len(pool.outputs)).index_add(0, places, tokens)


class References:
    """All targets that the training data has for the source of a pair."""

    def __init__(self, pairs: EncodedPairs) -> None:
        self.pairs = pairs
        # Python's hashes differ from process to process, which matters to nobody: they only say which sources are equal.
        rows = range(len(pairs))
        self.keys = np.fromiter((hash(pairs.source(i).tobytes()) for i in rows), np.int64)
        targets = np.fromiter((hash(pairs.target(i).tobytes()) for i in rows), np.int64)
        # A pair that is there often counts once, or it would leave no room for the other targets of its source.
        order = np.lexsort((targets, self.keys))
        again = (np.diff(self.keys[order]) == 0) & (np.diff(targets[order]) == 0)
        first = np.sort(order[np.append(True, ~again)])
        self.order = first[np.argsort(self.keys[first], kind="stable")]
        self.sorted = self.keys[self.order]

    def of(self, index: int) -> list[Ids]:
        """The different targets of that pair's source, its own first; at most `_MOST_REFERENCES`."""
        start = np.searchsorted(self.sorted, self.keys[index])
        end = np.searchsorted(self.sorted, self.keys[index], side="right")
        same = self.order[start : min(end, start + _MOST_REFERENCES)].tolist()
        targets = dict.fromkeys(tuple(self.pairs.target(i).tolist()) for i in (index, *same))
        return list(targets)[:_MOST_REFERENCES]


def by_bleu(output: Ids, references: Sequence[Ids]) -> float:
    """1 - sentence BLEU, n-grams from 2 on smoothed by one (Lin and Och 2004); the reference of the nearest length counts."""
    if not output:
        return 1.0
    logs = 0.0
    for n in range(1, _LONGEST_NGRAM + 1):
        grams = _ngrams(output, n)
        most: Counter[Ids] = Counter()
        for reference in references:
            most |= _ngrams(reference, n)
        matched, total = sum((grams & most).values()), max(len(output) - n + 1, 0)
        if n > 1:
            matched, total = matched + 1, total + 1
        if not matched:
            return 1.0
        logs += log(matched / total) / _LONGEST_NGRAM
    nearest = min((len(reference) for reference in references), key=lambda size: (abs(size - len(output)), size))
    return 1.0 - exp(logs + min(0.0, 1.0 - nearest / len(output)))


def _ngrams(ids: Ids, n: int) -> Counter[Ids]:
    return Counter(zip(*(ids[start:] for start in range(n)), strict=False))


def by_edits(output: Ids, references: Sequence[Ids]) -> float:
    """The edit distance to the nearest reference, as a share of the longer of both."""
    return min(float(Levenshtein.normalized_distance(output, reference)) for reference in references)


def by_equality(output: Ids, references: Sequence[Ids]) -> float:
    """0 if the output is one of the references, else 1."""
    return float(output not in references)


COSTS: dict[str, Cost] = {"bleu": by_bleu, "edit": by_edits, "exact_match": by_equality}
"""What `risk_metric` may be."""

"""Laws of what an update minimises: each option changes the gradient as it says, and nothing else does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from dragoman.corpus.batching import Batch, make_batch
from dragoman.corpus.dataset import EncodedPairs
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.objective import Objective, add_gradients

CPU = torch.device("cpu")
VOCAB = 13


def pairs(count: int = 12, *, longest: int = 9) -> EncodedPairs:
    """Pairs of very unequal lengths."""
    random = np.random.default_rng(4)

    def ids() -> list[int]:
        return [int(i) for i in random.integers(4, VOCAB, size=random.integers(1, longest + 1))]

    return EncodedPairs.of([(ids(), ids()) for _ in range(count)])


def batch_of(data: EncodedPairs, indices: Sequence[int]) -> Batch:
    return make_batch(data, np.array(indices))


def build(**more: object) -> Seq2Seq:
    torch.manual_seed(2)
    shape: dict[str, object] = {"embedding_size": 6, "hidden_size": 8, "attention": "general", "bidirectional": True}
    sizes = {"source_vocab_size": VOCAB, "target_vocab_size": VOCAB}
    return Seq2Seq(**{**shape, **sizes, **more}).double()  # type: ignore[arg-type]


def gradients(model: Seq2Seq, batches: list[Batch], objective: Objective, *, seed: int = 1) -> dict[str, Tensor]:
    model.train().zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    add_gradients(model, batches, CPU, objective)
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


def test_accumulated_gradients_are_those_of_one_batch_as_large_as_all() -> None:
    data, model, objective = pairs(), build(), Objective(label_smoothing=0.1)
    parts = [batch_of(data, [0, 1, 2]), batch_of(data, [3]), batch_of(data, range(4, 12))]
    whole = gradients(model, [batch_of(data, range(12))], objective)
    assert distance(gradients(model, parts, objective), whole) < 1e-12
    each = [gradients(model, [part], objective) for part in parts]
    mean_of_means = {name: torch.stack([one[name] for one in each]).mean(0) for name in whole}
    assert distance(mean_of_means, whole) > 1e-3  # what a careless sum would give


def test_the_sums_of_the_loss_are_over_all_batches() -> None:
    data, model = pairs(), build()
    parts = [batch_of(data, [0, 1, 2]), batch_of(data, [3, 4])]
    several = add_gradients(model, parts, CPU, Objective())
    one = add_gradients(model, [batch_of(data, range(5))], CPU, Objective())
    assert several.tokens == one.tokens == sum(len(data.target(i)) + 1 for i in range(5))
    assert several.cross_entropy == pytest.approx(one.cross_entropy)
    assert float(several.objective) == pytest.approx(one.cross_entropy)

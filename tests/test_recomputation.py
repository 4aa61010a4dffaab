"""Laws of activations that are computed again: the same gradients, bit for bit, in less memory."""

from __future__ import annotations

import pytest
import torch
from processor import needs_bfloat16
from test_objective import CPU, SHAPES, batch_of, build, gradients, pairs
from torch.autograd.graph import saved_tensors_hooks
from train_memory import LiveBytes, peak

from dragoman.corpus.dataset import EncodedPairs
from dragoman.model import loss as losses
from dragoman.training.objective import Objective, batch_loss


@pytest.mark.parametrize("more", [{}, {"bptt": 3}, {"own_share": 0.5}, {"r_drop": 1.0}], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_the_same_with_dropout_too(shape: str, more: dict[str, float]) -> None:
    model = build(**SHAPES[shape], dropout=0.3, recurrent_dropout=0.3, word_dropout=0.1)
    batches = [batch_of(pairs(), range(6)), batch_of(pairs(), range(6, 12))]
    held, again = (
        gradients(model, batches, Objective(label_smoothing=0.1, recompute=recompute, **more))  # type: ignore[arg-type]
        for recompute in (False, True)
    )
    assert held.keys() == again.keys()
    assert all(torch.equal(value, again[name]) for name, value in held.items())


@needs_bfloat16
def test_gradients_are_the_same_in_bfloat16() -> None:
    model, batch = build(**SHAPES["attention"], dropout=0.3).float(), batch_of(pairs(), range(12))
    held, again = (
        gradients(model, [batch], Objective(bfloat16=True, recompute=recompute)) for recompute in (False, True)
    )
    assert all(torch.equal(value, again[name]) for name, value in held.items())


LONG = EncodedPairs.of([([4, 5, 6] * 10, [6, 7, 8, 9] * 10)] * 8)


@pytest.mark.parametrize("shape", ["plain", "attention", "input feeding", "inside"])
def test_less_memory_is_held(shape: str) -> None:
    """The most bytes at once, what is computed again in the backward pass included."""
    model, batch = build(**SHAPES[shape], dropout=0.3), batch_of(LONG, range(8))
    held, again = (peak(model, batch, Objective(recompute=recompute)) for recompute in (False, True))
    assert again < 0.75 * held


def test_no_layer_holds_what_is_within_it() -> None:
    """What the forward pass itself saves: without recomputation most of it is inside the layers."""
    model, batch = build(**SHAPES["attention"]).train(), batch_of(LONG, range(8))
    saved = {}
    for recompute in (False, True):
        saved[recompute] = 0

        def count(tensor: torch.Tensor, recompute: bool = recompute) -> torch.Tensor:
            saved[recompute] += tensor.nbytes
            return tensor

        with saved_tensors_hooks(count, lambda tensor: tensor):
            batch_loss(model, batch, CPU, Objective(recompute=recompute))
    assert saved[True] < 0.2 * saved[False]


@pytest.mark.parametrize("kind", ["cross-entropy", "log-probabilities", "divergence"])
def test_a_large_vocabulary_holds_the_logits_of_a_chunk_at_a_time(kind: str) -> None:
    """Of 1,200 tokens over 20,000 words the logits alone would have 96 MB."""
    features, weight = torch.randn(1_200, 2, requires_grad=True), torch.randn(20_000, 2, requires_grad=True)
    bias, target = torch.zeros(20_000, requires_grad=True), torch.randint(4, 20_000, (1_200,))
    with LiveBytes() as live:
        if kind == "cross-entropy":
            found = losses.chunked_cross_entropy(features, weight, bias, target, label_smoothing=0.1).objective
        elif kind == "log-probabilities":
            found = losses.chunked_log_probs(features, weight, bias, target).sum()
        else:
            found = losses.chunked_divergence(features[:600], features[600:], weight, bias)
        found.backward()  # type: ignore[no-untyped-call]
    assert live.most < 5 * 4 * losses._CHUNK_VALUES < 4 * 1_200 * 20_000 / 2

"""Laws of what an update minimises: each option changes the gradient as it says, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dragoman.corpus.batching import Batch, make_batch
from dragoman.corpus.dataset import EncodedPairs
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.objective import Objective, Tensors, add_gradients

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


SHAPES = {
    "plain": {"attention": "none", "bidirectional": False, "peek": True},
    "attention": {"decoder_layers": 2, "encoder_layers": 2, "layer_norm": True},
    "input feeding": {"input_feeding": True, "cell": "gru"},
    "inside": {"attention": "additive", "attention_inside": True, "tie_embeddings": "target"},
}


def features_of(model: Seq2Seq, batch: Batch, target_input: Tensor, *, own_share: float, seed: int = 1) -> Tensor:
    tensors = Tensors.of(batch, CPU)
    torch.manual_seed(seed)
    output = model.train()(tensors.source_ids, tensors.source_lengths, target_input, own_share=own_share)
    return output.features.detach()  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", SHAPES)
def test_sampling_steps_compute_what_teacher_forcing_does_when_nothing_is_drawn(shape: str) -> None:
    model, batch = build(**SHAPES[shape], dropout=0.3), batch_of(pairs(), range(6))
    true = Tensors.of(batch, CPU).target_input
    tiny = 1e-300  # steps, but draws no word
    forced, stepped = (features_of(model, batch, true, own_share=share) for share in (0.0, tiny))
    assert float((forced - stepped).abs().max()) < 1e-12


class Kinds(TorchDispatchMode):
    """Notes the types of all tensors that are computed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[torch.dtype] = set()

    def __torch_dispatch__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.found |= {part.dtype for part in tree_leaves(result) if isinstance(part, Tensor)}
        return result


@pytest.mark.parametrize("objective", [Objective(), Objective(label_smoothing=0.1, bptt=3, r_drop=1.0)])
def test_no_gradient_is_found_by_numbers_that_some_gpus_do_not_have(objective: Objective) -> None:
    """Apple's (mps) refuse float64."""
    model, batches = build(dropout=0.1).float(), [batch_of(pairs(), [0, 1]), batch_of(pairs(), range(2, 12))]
    with Kinds() as kinds:
        add_gradients(model, batches, CPU, objective)
    assert torch.float32 in kinds.found
    assert torch.float64 not in kinds.found


@pytest.mark.parametrize("shape", SHAPES)
def test_with_a_whole_share_of_its_own_words_the_model_never_sees_the_true_ones(shape: str) -> None:
    model, batch = build(**SHAPES[shape]), batch_of(pairs(), range(6))
    true = Tensors.of(batch, CPU).target_input
    other = torch.where(torch.arange(true.size(1)) > 0, (true + 3) % VOCAB, true)
    own, same = (features_of(model, batch, ids, own_share=1.0) for ids in (true, other))
    assert torch.equal(own, same)
    half, otherwise = (features_of(model, batch, ids, own_share=0.5) for ids in (true, other))
    assert not torch.allclose(half, otherwise)
    assert torch.equal(half, features_of(model, batch, true, own_share=0.5))  # a function of the seed
    assert not torch.allclose(half, features_of(model, batch, true, own_share=0.5, seed=2))


def test_draws_follow_the_models_distribution_and_are_what_the_decoder_reads() -> None:
    model, batch = build(), batch_of(pairs(), range(6))
    with torch.no_grad():
        model.decoder.output.weight.zero_()
        model.decoder.output.bias.copy_(torch.log(torch.tensor([1e-9] * 5 + [0.3] + [1e-9] * 6 + [0.7])))
    torch.manual_seed(3)
    drawn = model.decoder._draw(torch.zeros(4000, 6, dtype=torch.float64))
    assert set(drawn.tolist()) == {5, 12}
    assert float((drawn == 12).double().mean()) == pytest.approx(0.7, abs=0.03)
    with torch.no_grad():
        model.decoder.output.bias[5] = -1e9
    true = Tensors.of(batch, CPU).target_input
    always = torch.where(torch.arange(true.size(1)) > 0, 12, true)
    own, forced = features_of(model, batch, true, own_share=1.0), features_of(model, batch, always, own_share=0.0)
    assert float((own - forced).abs().max()) < 1e-12


def test_scheduled_sampling_changes_the_gradient_only_where_words_are_drawn() -> None:
    data, model = pairs(), build()
    batches = [batch_of(data, range(12))]
    forced = gradients(model, batches, Objective())
    assert distance(gradients(model, batches, Objective(own_share=0.5)), forced) > 1e-4
    assert distance(gradients(model, batches, Objective(own_share=1e-300)), forced) < 1e-12

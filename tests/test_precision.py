"""Laws of products in bfloat16: nearly the same gradient, in float32, of a loss that is summed in float32."""

from __future__ import annotations

import pytest
import torch
from processor import needs_bfloat16
from test_objective import CPU, SHAPES, batch_of, build, pairs
from torch import Tensor

from dragoman.model import loss as losses
from dragoman.model.loss import chunked_cross_entropy, chunked_divergence
from dragoman.training.objective import Objective, add_gradients

NEAR = 0.04
"""How far gradients in bfloat16 may be from those in float32, as a share of their length; one number errs by up to 0.4 %."""
MULTIHEAD = {"attention": "multihead", "attention_heads": 2, "decoder_layers": 2, "layer_norm": True, "residual": True}


def gradient(shape: dict[str, object], objective: Objective) -> Tensor:
    """The whole gradient of a small float32 model, as one vector."""
    model = build(**shape, dropout=0.2).float().train()
    torch.manual_seed(1)
    add_gradients(model, [batch_of(pairs(), range(12))], CPU, objective)
    parts = [value.grad for value in model.parameters() if value.grad is not None]
    assert all(part.dtype == torch.float32 for part in parts)
    return torch.cat([part.flatten() for part in parts])


@needs_bfloat16
@pytest.mark.parametrize("more", [{}, {"bptt": 3}, {"r_drop": 1.0}, {"own_share": 1e-30}], ids=str)
@pytest.mark.parametrize("shape", [*SHAPES, "multihead"])
def test_gradients_are_nearly_those_of_float32(shape: str, more: dict[str, float]) -> None:
    sizes = (SHAPES | {"multihead": MULTIHEAD})[shape]
    exact, rough = (
        gradient(sizes, Objective(label_smoothing=0.1, bfloat16=half, **more))  # type: ignore[arg-type]
        for half in (False, True)
    )
    assert 1e-4 < float((rough - exact).norm() / exact.norm()) < NEAR


@needs_bfloat16
@pytest.mark.parametrize("copying", [True, False])
def test_a_model_draws_its_own_words_from_a_distribution_in_float32(
    monkeypatch: pytest.MonkeyPatch, copying: bool
) -> None:
    model = build(**MULTIHEAD, copying=copying).float().train()
    if copying:
        model.set_copy_ids(list(range(model.encoder.embedding.weight.size(0))))
    drawn = []
    log_probs = model.decoder.log_probs

    def seen(*given: Tensor) -> Tensor:
        drawn.append(log_probs(*given))
        return drawn[-1]

    monkeypatch.setattr(model.decoder, "log_probs", seen)
    add_gradients(model, [batch_of(pairs(), range(12))], CPU, Objective(own_share=1.0, bfloat16=True))
    assert {one.dtype for one in drawn} == {torch.float32}
    within = 1e-2 if copying else 1e-5  # attention is a product in half precision
    assert all(float((one.exp().sum(-1) - 1).abs().max()) < within for one in drawn)


def features(tokens: int, *, vocab: int = 50, width: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    weight, bias = torch.randn(vocab, width, requires_grad=True), torch.randn(vocab, requires_grad=True)
    return torch.randn(tokens, width).bfloat16(), weight, bias, torch.randint(vocab, (tokens,))


def test_a_loss_is_summed_in_float32_whatever_its_products_are_in() -> None:
    """A sum in bfloat16 stands still where a loss is smaller than 1/256 of it: long before 5,000 tokens."""
    inputs, weight, bias, labels = features(5_000)
    exact = chunked_cross_entropy(inputs.double(), weight.double(), bias.double(), labels, label_smoothing=0.1)
    rough = chunked_cross_entropy(inputs, weight, bias, labels, label_smoothing=0.1)
    assert rough.objective.dtype == torch.float32
    assert rough.cross_entropy == pytest.approx(exact.cross_entropy, rel=1e-3)
    assert rough.objective.item() == pytest.approx(exact.objective.item(), rel=1e-3)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_gradients_of_the_output_layer_are_summed_in_float32_over_chunks(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_CHUNK_VALUES", rows * 50)
    inputs, weight, bias, labels = features(600)
    chunked_cross_entropy(inputs, weight, bias, labels, label_smoothing=0.1).objective.backward()  # type: ignore[no-untyped-call]
    found = [weight.grad, bias.grad]
    weight.grad = bias.grad = None
    loss = torch.nn.functional.cross_entropy(
        inputs.double() @ weight.double().t() + bias.double(), labels, label_smoothing=0.1, reduction="sum"
    )
    loss.backward()  # type: ignore[no-untyped-call]
    for one, other in zip(found, (weight.grad, bias.grad), strict=True):
        assert one is not None
        assert other is not None
        assert one.dtype == torch.float32
        assert float((one - other).norm() / other.norm()) < 0.01


def test_the_divergence_of_two_passes_is_summed_in_float32_too() -> None:
    one, weight, bias, _ = features(3_000)
    other = (one.float() + 0.3 * torch.randn(one.shape)).bfloat16()
    exact = chunked_divergence(one.double(), other.double(), weight.double(), bias.double())
    rough = chunked_divergence(one, other, weight, bias)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=5e-3)

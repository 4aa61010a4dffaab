"""R-Drop: two passes with different dropout, drawn together by the divergence between them."""

from __future__ import annotations

import pytest
import torch
from test_objective import CPU, batch_of, build, distance, gradients, pairs

from dragoman.config import TrainOptions
from dragoman.errors import OptionError
from dragoman.model import loss as losses
from dragoman.training.objective import Objective, Tensors, add_gradients
from dragoman.training.recipe import DataSummary, choose


def test_without_dropout_both_passes_are_one_and_nothing_is_added() -> None:
    model, batch = build(), batch_of(pairs(), range(12))
    plain = gradients(model, [batch], Objective(label_smoothing=0.1))
    assert distance(gradients(model, [batch], Objective(label_smoothing=0.1, r_drop=5.0)), plain) < 1e-12
    one, two = (add_gradients(model, [batch], CPU, Objective(r_drop=weight)) for weight in (0.0, 5.0))
    assert two.tokens == one.tokens
    assert two.cross_entropy == pytest.approx(one.cross_entropy)


def test_the_objective_is_half_of_the_papers(monkeypatch: pytest.MonkeyPatch) -> None:
    """-log p1 - log p2 + weight (KL(p1, p2) + KL(p2, p1)) / 2, by torch's own functions over whole logits."""
    monkeypatch.setattr(losses, "_CHUNK_VALUES", 100)  # several chunks
    model, batch, weight = build(dropout=0.4), batch_of(pairs(), range(8)), 3.0
    found = gradients(model, [batch], Objective(r_drop=weight), seed=5)
    model.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    tensors = Tensors.of(batch, CPU, times=2)
    features = model(tensors.source_ids, tensors.source_lengths, tensors.target_input).features
    real = tensors.target_output != 0
    p, q = torch.log_softmax(model.decoder.output(features[real]), dim=1).chunk(2)
    true = tensors.target_output[real].chunk(2)[0]
    nll = torch.nn.functional.nll_loss
    entropy = nll(p, true, reduction="sum") + nll(q, true, reduction="sum")
    kl = torch.nn.functional.kl_div
    apart = kl(p, q, log_target=True, reduction="sum") + kl(q, p, log_target=True, reduction="sum")
    ((entropy + weight * apart / 2) / 2 / batch.target_tokens).backward()
    expected = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    assert distance(found, expected) < 1e-12
    assert distance(found, gradients(model, [batch], Objective(r_drop=1e-9), seed=5)) > 1e-4


def test_training_on_it_brings_the_passes_together() -> None:
    apart = {}
    for weight in (1e-9, 20.0):
        model, batch = build(dropout=0.3).train(), batch_of(pairs(), range(12))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(40):
            optimizer.zero_grad()
            torch.manual_seed(step)
            add_gradients(model, [batch], CPU, Objective(r_drop=weight))
            optimizer.step()
        tensors = Tensors.of(batch, CPU, times=2)
        with torch.no_grad():
            features = model(tensors.source_ids, tensors.source_lengths, tensors.target_input).features
            one, other = features[tensors.target_output != 0].chunk(2)
            output = model.decoder.output
            apart[weight] = float(losses.chunked_divergence(one, other, output.weight, output.bias))
    assert apart[20.0] < 0.5 * apart[1e-9]


def test_it_needs_dropout() -> None:
    data = DataSummary(pairs=1000, kind="text", unspaced=False, shared_vocabulary=True, target_tokens=9.0)
    with pytest.raises(OptionError, match="`r_drop` compares two passes with dropout"):
        choose(TrainOptions(r_drop=1.0, preset="textbook"), data)

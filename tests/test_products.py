"""Laws of products in bfloat16 on a processor: the same numbers, from few shapes."""

from __future__ import annotations

import pytest
import torch
from processor import needs_bfloat16
from test_objective import CPU, batch_of, build, pairs
from test_precision import MULTIHEAD
from torch import Tensor, nn

from dragoman.model.products import Linear, batched, rounded
from dragoman.training.objective import Objective, add_gradients

BFLOAT16 = torch.autocast("cpu", torch.bfloat16)


def test_rows_are_rounded_to_few_numbers_by_an_eighth_at_most() -> None:
    for rows in range(9_000):
        up, down = rounded(rows), rounded(rows, down=True)
        assert down <= rows <= up <= max(rows * 9 / 8, rows + 7)
        assert rounded(up) == up == rounded(up, down=True)
        assert rounded(down) == down
    assert len({rounded(rows) for rows in range(257, 2_049)}) == 3 * 8


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (64,), (3, 43), (0, 4), (5, 1)])
def test_a_rounded_layer_gives_what_a_plain_one_gives(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    ours, plain = Linear(24, 16), nn.Linear(24, 16)
    plain.load_state_dict(ours.state_dict())
    given, back = torch.randn(*shape, 24), torch.randn(*shape, 16)
    found = []
    for layer in (ours, plain):
        inputs = given.clone().requires_grad_()
        with BFLOAT16:
            outputs = layer(inputs)
        outputs.backward(back.bfloat16())
        found.append([outputs, inputs.grad, layer.weight.grad, layer.bias.grad])
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert torch.allclose(one.float(), other.float(), rtol=0.01, atol=0.02)
    with torch.no_grad():
        assert torch.equal(ours(given), plain(given))  # outside of autocast nothing is rounded


def test_products_of_small_matrices_are_exact_where_others_are_not() -> None:
    torch.manual_seed(1)
    left, right = torch.randn(5, 3, 8), torch.randn(5, 8, 4)
    with BFLOAT16:
        found = batched(left, right)
    assert torch.equal(found, left @ right)
    assert batched(left.bfloat16(), right.bfloat16()).dtype == torch.bfloat16


@needs_bfloat16
def test_batches_of_many_shapes_ask_for_products_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every further shape costs more than its product."""
    met: set[tuple[int, ...]] = set()
    linear = nn.functional.linear

    def seen(inputs: Tensor, *layer: Tensor) -> Tensor:
        met.add((*inputs.shape[:-1],))
        return linear(inputs, *layer)

    monkeypatch.setattr(nn.functional, "linear", seen)
    model = build(**MULTIHEAD).float().train()
    batches = [batch_of(pairs(), range(count)) for count in range(1, 13)]
    for batch in batches:
        add_gradients(model, [batch], CPU, Objective(bfloat16=True))
    asked = {side.size for batch in batches for side in (batch.source_ids, batch.target_input)}
    shapes = {(rounded(rows),) for rows in asked}
    assert shapes <= met <= shapes | {(len(batch),) for batch in batches}  # those of the bridge, once in each
    assert len(shapes) < len(asked) * 2 / 3

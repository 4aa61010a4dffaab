"""Laws of truncated back-propagation through time: what crosses a chunk's border, what does not, and what it saves."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from test_objective import CPU, SHAPES, VOCAB, batch_of, build, distance, gradients, pairs
from torch import Tensor

from dragoman.corpus.dataset import EncodedPairs
from dragoman.errors import OptionError
from dragoman.training.objective import Objective, Tensors, add_gradients
from dragoman.training.recipe import DataSummary, choose

FULL = Objective(label_smoothing=0.1)


def truncated(steps: int) -> Objective:
    return Objective(label_smoothing=0.1, bptt=steps)


@pytest.mark.parametrize("shape", SHAPES)
def test_chunks_as_long_as_the_target_give_the_whole_gradient(shape: str) -> None:
    model, batches = build(**SHAPES[shape], dropout=0.2), [batch_of(pairs(), range(6)), batch_of(pairs(), range(6, 12))]
    whole = gradients(model, batches, FULL)
    for steps in (10, 99):
        assert distance(gradients(model, batches, truncated(steps)), whole) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_the_loss_is_the_same_wherever_the_target_is_cut(shape: str) -> None:
    model, batch = build(**SHAPES[shape]), batch_of(pairs(), range(12))
    whole = add_gradients(model, [batch], CPU, FULL)
    for steps in (1, 4):
        cut = add_gradients(model, [batch], CPU, truncated(steps))
        assert cut.cross_entropy == pytest.approx(whole.cross_entropy)
        assert float(cut.objective) == pytest.approx(float(whole.objective))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_gradient_is_that_of_a_graph_cut_at_the_borders(shape: str) -> None:
    """Against the plain way: one graph over all chunks, under one dropout mask, with the state detached between them."""
    model, data = build(**SHAPES[shape], dropout=0.2, recurrent_dropout=0.2), pairs()
    batch = batch_of(data, range(12))
    tensors = Tensors.of(batch, CPU)
    model.train().zero_grad(set_to_none=True)
    torch.manual_seed(1)
    memory, state = model.encode(tensors.source_ids, tensors.source_lengths)
    masks = model.decoder.masks(memory.context)
    losses = []
    for start in range(0, tensors.target_input.size(1), 4):
        features, _, state = model.decoder(tensors.target_input[:, start : start + 4], memory, state, masks=masks)
        true = tensors.target_output[:, start : start + 4].flatten()
        logits = model.decoder.output(features).flatten(0, 1)
        losses.append(torch.nn.functional.cross_entropy(logits, true, ignore_index=0, reduction="sum"))
        state = state.detach()
    (torch.stack(losses).sum() / batch.target_tokens).backward()
    expected = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    cut = gradients(model, [batch], Objective(bptt=4))
    assert distance(cut, expected) < 1e-12
    assert distance(cut, gradients(model, [batch], Objective())) > 1e-6


def test_no_gradient_crosses_a_border_and_the_encoder_hears_of_every_chunk() -> None:
    """Only the last word of a target of six is judged: with chunks of two, the words before the border get none of it."""
    model = build(attention="none", bidirectional=False)
    data = EncodedPairs.of([([4, 5, 6], [5, 6, 7, 8, 9])])
    touched = {}
    for steps in (0, 2):
        batch = batch_of(data, [0])
        batch.target_output[:, :-1] = 0
        found = gradients(model, [batch], Objective(bptt=steps))
        touched[steps] = {i for i in range(VOCAB) if bool(found["decoder.embedding.weight"][i].any())}
        reached = bool(found["encoder.embedding.weight"].any())
        assert reached == (steps == 0)  # without attention the source is only seen through the first state
    assert touched == {0: {2, 5, 6, 7, 8, 9}, 2: {8, 9}}
    attending = build()
    batch = batch_of(data, [0])
    batch.target_output[:, :-1] = 0
    assert bool(gradients(attending, [batch], Objective(bptt=2))["encoder.embedding.weight"].any())


class _Held:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@contextmanager
def activations() -> Iterator[list[int]]:
    """Counts the bytes that graphs hold: [now, at most]."""
    held, places = [0, 0], {}

    def release(place: int, size: int) -> None:
        places[place] -= 1
        if not places[place]:
            held[0] -= size

    def pack(tensor: Tensor) -> _Held:
        storage = tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        if not places.get(place):
            held[0] += size
            held[1] = max(held)
        places[place] = places.get(place, 0) + 1
        box = _Held(tensor)
        weakref.finalize(box, release, place, size)
        return box

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        yield held


@pytest.mark.parametrize("shape", ["plain", "attention", "input feeding"])
def test_truncation_holds_the_activations_of_one_chunk_at_a_time(shape: str) -> None:
    model = build(**SHAPES[shape])
    batch = batch_of(EncodedPairs.of([([4, 5], [6, 7, 8, 9] * 30)] * 8), range(8))
    peaks = {}
    for steps in (0, 30, 10):
        with activations() as held:
            gradients(model, [batch], Objective(bptt=steps))
            peaks[steps] = held[1]
    assert peaks[30] < 0.5 * peaks[0]
    assert peaks[10] < 0.6 * peaks[30]


def test_truncation_and_sampling_exclude_each_other() -> None:
    from dragoman.config import TrainOptions

    data = DataSummary(pairs=1000, kind="text", unspaced=False, shared_vocabulary=True, target_tokens=9.0)
    with pytest.raises(OptionError, match="`bptt` and `scheduled_sampling` exclude each other"):
        choose(TrainOptions(bptt=5, scheduled_sampling=0.2), data)

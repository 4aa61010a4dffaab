"""Laws of the model: steps are the fused pass, padding is inert, gradients are true, cells and attentions are the references'."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from dragoman.config import SearchOptions
from dragoman.evaluation.forcing import force
from dragoman.generation.search import search
from dragoman.model.attention import Memory, build_attention
from dragoman.model.gpu_layer import in_one_piece
from dragoman.model.layers import Seam
from dragoman.model.loss import chunked_cross_entropy
from dragoman.model.recurrent import RecurrentLayer, reverse_within_length
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.model.trace import trace

SHAPES = {
    "textbook": {},
    "peek": {"peek": True},
    "deep reversed": {"encoder_layers": 2, "decoder_layers": 2, "reverse_source": True, "residual": True},
    "bridge": {"encoder_layers": 2, "decoder_layers": 3, "layer_norm": True},
    "bidirectional tied": {"bidirectional": True, "tie_embeddings": "target"},
    "additive inside": {"bidirectional": True, "attention": "additive", "attention_inside": True},
    "additive inside deep": {"attention": "additive", "attention_inside": True, "decoder_layers": 2, "peek": True},
    "general fed": {"attention": "general", "input_feeding": True, "encoder_layers": 2, "decoder_layers": 2},
    "dot": {"attention": "dot", "encoder_layers": 1, "decoder_layers": 1},
    "general": {"attention": "general", "encoder_layers": 2, "decoder_layers": 2},
    "additive": {"attention": "additive", "bidirectional": True},
    "multihead": {
        "attention": "multihead",
        "attention_heads": 2,
        "bidirectional": True,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "layer_norm": True,
        "residual": True,
        "tie_embeddings": "all",
    },
    "copying": {
        "attention": "multihead",
        "attention_heads": 2,
        "decoder_layers": 2,
        "encoder_layers": 2,
        "copying": True,
    },
    "copying inside": {"attention": "additive", "attention_inside": True, "copying": True, "reverse_source": True},
    "copying fed": {"attention": "dot", "input_feeding": True, "copying": True, "tie_embeddings": "target"},
}
COPY_IDS = [0, 0, 0, 0, 5, 4, 6, 0, 4, 9, 10]
"""Which target id each source id is copied as: not the identity, two ids with one word, and one without any."""
CELLS = ("rnn_tanh", "rnn_relu", "gru", "lstm")
CASES = list(itertools.product(SHAPES, CELLS))


def build(shape: str, cell: str, **more: object) -> Seq2Seq:
    torch.manual_seed(3)
    sizes = {"source_vocab_size": 11, "target_vocab_size": 11, "embedding_size": 6, "hidden_size": 8}
    model = Seq2Seq(cell=cell, **{**sizes, **SHAPES[shape], **more}).double()  # type: ignore[arg-type]
    if model.copy_ids is not None:
        model.set_copy_ids(COPY_IDS)
    return model


def sources() -> tuple[Tensor, Tensor]:
    return torch.tensor([[4, 5, 6, 7, 8], [9, 10, 4, 0, 0], [5, 0, 0, 0, 0]]), torch.tensor([5, 3, 1])


TARGET = torch.tensor([[2, 4, 5, 6], [2, 7, 8, 0], [2, 9, 0, 0]])


@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_law_1_decoding_step_by_step_gives_the_teacher_forced_logits(shape: str, cell: str) -> None:
    model = build(shape, cell).eval()
    output = model(*sources(), TARGET)
    expected = model.log_probs(output).detach().numpy()
    stepper = TorchStepper(model)
    state = stepper.start([[4, 5, 6, 7, 8], [9, 10, 4], [5]])
    for position in range(TARGET.size(1)):
        step = stepper.step(state, TARGET[:, position].numpy(), top_k=None)
        np.testing.assert_allclose(step.log_probs, expected[:, position], atol=1e-10)
        if output.attention is not None:
            assert step.attention is not None
            np.testing.assert_allclose(step.attention, output.attention[:, position].detach().numpy(), atol=1e-10)
        state = step.state


@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_law_3_padding_and_neighbours_change_nothing(shape: str, cell: str) -> None:
    model = build(shape, cell).eval()
    ids, lengths = sources()
    together = model(ids, lengths, TARGET)
    wider = torch.cat([ids, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(wider, lengths, TARGET).features, together.features, atol=1e-10, rtol=0)
    for row, length in enumerate(lengths.tolist()):
        alone = model(ids[row : row + 1, :length], lengths[row : row + 1], TARGET[row : row + 1])
        torch.testing.assert_close(alone.features[0], together.features[row], atol=1e-10, rtol=0)
        if together.attention is not None:
            assert alone.attention is not None
            torch.testing.assert_close(alone.attention[0], together.attention[row, :, :length], atol=1e-10, rtol=0)


@pytest.mark.parametrize("shape", ["dot", "general", "additive", "multihead", "additive inside", "deep reversed"])
def test_law_3_states_without_bounds_at_padding_change_nothing(shape: str) -> None:
    model = build(shape, "rnn_relu").float().eval()
    with torch.no_grad():
        for layer in (*model.encoder.forward_layers, *model.encoder.backward_layers):
            _, from_state, bias, _ = layer.weights
            from_state.copy_(3 * torch.eye(len(from_state)))
            bias.fill_(1)
    wide = torch.zeros(1, 120, dtype=torch.long)
    wide[0, :2] = torch.tensor([4, 5])
    lengths, target = torch.tensor([2]), TARGET[:1]
    torch.testing.assert_close(model(wide, lengths, target).features, model(wide[:, :2], lengths, target).features)


def objective(model: Seq2Seq, smoothing: float = 0.1) -> Tensor:
    given, real = model(*sources(), TARGET), TARGET != 0
    labels = torch.tensor([4, 5, 6, 3, 7, 8, 3, 9, 3])
    output = model.decoder.output
    pointer = model.decoder.pointer(given.features, given.attention, given.copied)
    return chunked_cross_entropy(
        given.features[real],
        output.weight,
        output.bias,
        labels,
        label_smoothing=smoothing,
        pointer=None if pointer is None else pointer.of(real.flatten().nonzero().squeeze(1)),
    ).objective


@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_law_10_gradients_agree_with_finite_differences(shape: str, cell: str) -> None:
    model = build(shape, cell)
    objective(model).backward()
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        slope = float((parameter.grad * direction).sum())
        width = 1e-5
        values = []
        with torch.no_grad():
            for sign in (1, -2, 1):
                parameter += sign * width * direction
                values.append(float(objective(model)))
        assert (values[0] - values[1]) / (2 * width) == pytest.approx(slope, rel=1e-5, abs=1e-6), name


@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_law_10_the_float32_fused_path_agrees_with_float64(shape: str, cell: str) -> None:
    exact, quick = build(shape, cell), build(shape, cell).float()
    objective(exact).backward()
    objective(quick).backward()
    for (name, one), (_, other) in zip(exact.named_parameters(), quick.named_parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(other.grad.double(), one.grad, atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("shape", SHAPES)
def test_dropout_masks_are_one_per_sequence_in_both_paths(shape: str) -> None:
    model = build(shape, "lstm", dropout=0.5, recurrent_dropout=0.5, word_dropout=0.0).train()
    decoder = model.decoder
    memory, state = model.encode(*sources())
    masks = decoder.masks(memory.context)
    embedded = decoder._embed(TARGET, masks)
    features = []
    following = state
    for position in range(TARGET.size(1)):
        feature, _, following = decoder._step(embedded[:, position], memory, following, masks)
        features.append(feature)
    forced, _, _ = decoder(TARGET, memory, state, masks=masks)
    torch.testing.assert_close(forced, torch.stack(features, dim=1), atol=1e-10, rtol=0)
    other = decoder.masks(memory.context)
    assert not torch.equal(masks.layers[0], other.layers[0])  # type: ignore[arg-type]
    assert not torch.equal(masks.states[0], other.states[0])  # type: ignore[arg-type]


def test_dropout_stands_after_both_embeddings_and_every_layer_keeps_the_mean_and_ends_with_training() -> None:
    sizes = {"embedding_size": 60, "hidden_size": 60, "encoder_layers": 2, "decoder_layers": 2}
    model = build("textbook", "lstm", dropout=0.25, **sizes)
    layers = [*model.encoder.forward_layers, *model.decoder.layers]
    read, said = {}, {}
    for number, layer in enumerate(layers):

        def look(_: object, given: tuple[Tensor, ...], gave: tuple[Tensor, ...], number: int = number) -> None:
            read[number], said[number] = given[0], gave[0]

        layer.register_forward_hook(look)
    for training in (True, False):
        with torch.no_grad():
            memory, state = model.train(training).encode(*sources())
            features, _, _ = model.decoder(TARGET, memory, state)
            source, target = model.encoder.embedding(sources()[0]), model.decoder.embedding(TARGET)
        seams = [(source, read[0]), (said[0], read[1]), (said[1], memory.states)]
        seams += [(target, read[2]), (said[2], read[3]), (said[3], features)]
        for before, after in seams:
            if not training:
                assert torch.equal(before, after)
                continue
            mask = after[:, 0] / before[:, 0]  # (batch, width); real tokens stand first
            torch.testing.assert_close(after, before * mask.unsqueeze(1), atol=1e-12, rtol=0)  # the same at every step
            assert {round(float(value), 6) for value in mask.unique()} == {0.0, round(4 / 3, 6)}
            assert float(mask.mean()) == pytest.approx(1, abs=0.2)
            assert not torch.equal(mask[0], mask[1])


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_dropout_leaves_out_weights_from_the_state_for_a_whole_pass_keeps_their_mean_and_ends_with_training(
    cell: str,
) -> None:
    torch.manual_seed(2)
    layer = RecurrentLayer(cell, 3, 20, recurrent_dropout=0.25).double()
    mask, weights = layer.mask(), layer.weights
    assert mask is not None
    assert mask.shape == weights[1].shape
    assert {round(float(value), 6) for value in mask.unique()} == {0.0, round(4 / 3, 6)}
    assert float(mask.mean()) == pytest.approx(1, abs=0.1)
    assert not torch.equal(mask, layer.mask())  # type: ignore[arg-type]
    plain = RecurrentLayer(cell, 3, 20).double()
    plain.load_state_dict(layer.state_dict())
    with torch.no_grad():
        plain.weights[1].mul_(mask)
    inputs, lengths = torch.randn(2, 5, 3, dtype=torch.float64), torch.tensor([5, 3])
    for given in (None, lengths):
        outputs, final = layer(inputs, lengths=given, mask=mask)
        expected, state = plain(inputs, lengths=given)
        torch.testing.assert_close((outputs, final), (expected, state), atol=1e-12, rtol=0)
    layer.zero_grad(set_to_none=True)
    outputs.sum().backward()
    gradient = weights[1].grad
    assert gradient is not None
    assert not gradient[mask == 0].any()  # what is left out learns nothing
    assert gradient[mask != 0].any()
    torch.testing.assert_close(layer.step(inputs[:, 0], final, mask=mask), plain.step(inputs[:, 0], final))
    assert layer.eval().mask() is None


@pytest.mark.parametrize("shape", SHAPES)
def test_recurrent_dropout_is_of_every_layer_and_both_directions(shape: str) -> None:
    """With nearly all of these weights left out, nearly no layer learns how to read its last state."""
    model = build(shape, "lstm", recurrent_dropout=0.9).train()
    torch.manual_seed(4)
    objective(model).backward()
    layers = [part for part in model.modules() if isinstance(part, RecurrentLayer)]
    for layer in layers:
        gradient = layer.weights[1].grad
        assert gradient is not None
        assert float((gradient == 0).double().mean()) > 0.6
    with torch.no_grad():
        assert torch.equal(objective(model.eval()), objective(build(shape, "lstm").eval()))


def test_a_residual_connection_is_never_dropped() -> None:
    inputs, outputs = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    seam = Seam(4, 4, dropout=0.5, layer_norm=False, residual=True)
    assert torch.equal(seam(inputs, outputs, torch.zeros(2, 4)), inputs)
    assert torch.equal(seam(inputs, outputs, None), inputs + outputs)


def test_recurrence_begins_without_loss_and_an_lstm_remembers() -> None:
    for cell in CELLS:
        for gate in torch.split(RecurrentLayer(cell, 3, 8).weights[1], 8):
            torch.testing.assert_close(gate @ gate.T, torch.eye(8))  # as long as it was, whatever the state
    layer, cell_state = RecurrentLayer("lstm", 3, 8), torch.randn(2, 8)
    _, after = layer.step(torch.zeros(2, 3), (torch.zeros(2, 8), cell_state))
    torch.testing.assert_close(after, torch.sigmoid(torch.tensor(1.0)) * cell_state)  # Jozefowicz et al. 2015


def test_word_dropout_removes_whole_words() -> None:
    embedding = build("textbook", "gru", word_dropout=0.5).encoder.embedding.train()
    torch.manual_seed(0)
    vectors = embedding(torch.full((40, 50), 7))
    gone = (vectors == 0).all(dim=2)
    assert gone.float().mean() == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(vectors[~gone], (2 * embedding.weight[7]).expand(int((~gone).sum()), -1))
    assert torch.equal(embedding.eval()(torch.tensor([[7]])), embedding.weight[None, None, 7])


@pytest.mark.parametrize("cell", CELLS)
def test_cells_agree_with_equations_by_copied_weights(cell: str) -> None:
    torch.manual_seed(1)
    layer = RecurrentLayer(cell, 3, 4).double()
    w, u, b, d = (part.detach().numpy() for part in layer.weights)
    inputs = torch.randn(1, 6, 3, dtype=torch.float64)
    h, c = np.zeros(4), np.zeros(4)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    expected = []
    for x in inputs[0].numpy():
        from_input, from_state = w @ x + b, u @ h + d
        if cell == "lstm":
            i, f, g, o = np.split(from_input + from_state, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif cell == "gru":
            (ri, zi, ni), (rh, zh, nh) = np.split(from_input, 3), np.split(from_state, 3)
            r, z = sigmoid(ri + rh), sigmoid(zi + zh)
            h = (1 - z) * np.tanh(ni + r * nh) + z * h
        else:
            total = from_input + from_state
            h = np.tanh(total) if cell == "rnn_tanh" else np.maximum(total, 0)
        expected.append(h)
    outputs, final = layer(inputs)
    np.testing.assert_allclose(outputs[0].detach().numpy(), np.stack(expected), atol=1e-12)
    np.testing.assert_allclose(final[0][0].detach().numpy(), h, atol=1e-12)
    if cell == "lstm":
        np.testing.assert_allclose(final[1][0].detach().numpy(), c, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_last_state_is_that_of_packed_sequences(cell: str, dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    layer = RecurrentLayer(cell, 5, 16).to(dtype)
    inputs, lengths = torch.randn(4, 9, 5, dtype=dtype), torch.tensor([9, 4, 1, 7])
    _, final = layer(inputs, lengths=lengths)
    packed = torch.nn.utils.rnn.pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    _, expected = layer.rnn(packed)
    expected = expected if cell == "lstm" else (expected,)
    for one, other in zip(final, expected, strict=True):
        torch.testing.assert_close(one, other[0], atol=1e-5 if dtype == torch.float32 else 1e-10, rtol=0)


@pytest.mark.parametrize("kind", ["dot", "general", "additive", "multihead"])
def test_attentions_agree_with_equations_by_copied_weights(kind: str) -> None:
    torch.manual_seed(4)
    attention = build_attention(kind, 6, heads=2)
    assert attention is not None
    attention.double()
    states, mask = torch.randn(1, 4, 6, dtype=torch.float64), torch.tensor([[True, True, True, False]])
    query = torch.randn(1, 1, 6, dtype=torch.float64)
    memory = attention.prepare(Memory(states, mask, states[:, 0]))
    attended, weights = attention(query, memory)
    p = {name: value.detach().numpy() for name, value in attention.named_parameters()}
    q, m = query[0, 0].numpy(), states[0, :3].numpy()

    def softmax(x: np.ndarray) -> np.ndarray:
        return np.exp(x) / np.exp(x).sum()

    if kind == "multihead":
        per_head, mixed = [], []
        full_q = p["query.weight"] @ q + p["query.bias"]
        for head in (slice(0, 3), slice(3, 6)):
            keys = (m @ p["key.weight"].T)[:, head]
            values = (m @ p["value.weight"].T + p["value.bias"])[:, head]
            per_head.append(softmax(keys @ full_q[head] / np.sqrt(3)))
            mixed.append(per_head[-1] @ values)
        expected_weights = np.mean(per_head, axis=0)
        expected = p["output.weight"] @ np.concatenate(mixed) + p["output.bias"]
    else:
        if kind == "dot":
            scores = m @ q
        elif kind == "general":
            scores = (m @ p["key.weight"].T) @ q
        else:
            energies = np.tanh(p["query.weight"] @ q + p["query.bias"] + m @ p["key.weight"].T)
            scores = energies @ p["energy.weight"][0]
        expected_weights = softmax(scores)
        expected = expected_weights @ m
    np.testing.assert_allclose(weights[0, 0].detach().numpy(), [*expected_weights, 0], atol=1e-12)
    np.testing.assert_allclose(attended[0, 0].detach().numpy(), expected, atol=1e-12)


def test_the_identity_bridge_copies_each_layers_state() -> None:
    model = build("deep reversed", "lstm")
    encoded = model.encoder(*sources())
    _, state = model.decoder.start(encoded)
    assert model.decoder.bridge.map is None
    for layer, final in zip(state.layers, encoded.finals, strict=True):
        for one, other in zip(layer, final, strict=True):
            assert torch.equal(one, other)
    assert torch.equal(encoded.memory.context, encoded.finals[-1][0])


def test_the_context_vector_reaches_every_step_only_with_peek() -> None:
    for shape, reached in (("peek", True), ("textbook", False)):
        model = build(shape, "gru")
        memory, state = model.encode(*sources())
        changed = Memory(memory.states, memory.mask, memory.context + 1)
        before, _, _ = model.decoder(TARGET, memory, state)
        after, _, _ = model.decoder(TARGET, changed, state)
        assert bool((before != after).any(dim=2).all()) is reached


def test_source_reversal_reads_backwards() -> None:
    straight, reversing = build("textbook", "lstm"), build("textbook", "lstm", reverse_source=True)
    ids, lengths = sources()
    context = straight.encode(reverse_within_length(ids, lengths), lengths)[0].context
    torch.testing.assert_close(reversing.encode(ids, lengths)[0].context, context)


def test_a_row_is_reversed_without_its_padding_and_so_is_its_gradient() -> None:
    lengths = torch.tensor([4, 1, 3])
    sequence = torch.randn(3, 4, 2, dtype=torch.float64, requires_grad=True)
    turned = reverse_within_length(sequence, lengths)
    assert torch.equal(turned[0], sequence[0].flip(0))
    assert torch.equal(turned[1], sequence[1])
    assert torch.equal(turned[2], torch.cat([sequence[2, :3].flip(0), sequence[2, 3:]]))
    assert torch.equal(reverse_within_length(turned, lengths), sequence)
    assert torch.autograd.gradcheck(lambda given: reverse_within_length(given, lengths), (sequence,))


@pytest.mark.parametrize("on_gpu", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_chunked_loss_is_torchs_cross_entropy(smoothing: float, on_gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU it goes another way, which is gone here on the processor."""
    monkeypatch.setattr("dragoman.model.loss._on_gpu", lambda _: on_gpu)
    monkeypatch.setattr("dragoman.model.loss._CHUNK_VALUES", 40)  # several chunks, the last one not full
    torch.manual_seed(0)
    features = torch.randn(10, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(13, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(13, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 13, (10,))
    loss = chunked_cross_entropy(features, weight, bias, target, label_smoothing=smoothing)
    grads = torch.autograd.grad(3 * loss.objective, (features, weight, bias))
    logits = features @ weight.t() + bias
    expected = torch.nn.functional.cross_entropy(logits, target, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(loss.objective, expected)
    for one, other in zip(grads, torch.autograd.grad(3 * expected, (features, weight, bias)), strict=True):
        torch.testing.assert_close(one, other)
    assert loss.cross_entropy == pytest.approx(
        torch.nn.functional.cross_entropy(logits, target, reduction="sum").item()
    )
    assert loss.tokens == 10


def test_what_is_nearly_certain_still_teaches_in_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, in bfloat16: it rounds 0.999 to 1, by which a label would have nothing left to learn."""
    monkeypatch.setattr("dragoman.model.loss._on_gpu", lambda _: True)
    features = torch.zeros(3, 8)
    features[:, 0] = 1
    weight = torch.zeros(50, 8)
    weight[7, 0] = 11  # a probability of 1 - 49 / e^11
    target = torch.tensor([7, 7, 9])
    found = []
    for exact in (torch.float64, torch.bfloat16):
        inputs = features.to(exact).requires_grad_()
        weights, bias = (
            part.to(torch.promote_types(exact, torch.float32)).requires_grad_() for part in (weight, torch.zeros(50))
        )
        loss = chunked_cross_entropy(inputs[:2], weights, bias, target[:2])
        rare = chunked_cross_entropy(inputs[2:], weights, bias, target[2:])
        gradients = torch.autograd.grad(loss.objective, (inputs, weights, bias))
        found.append([loss.objective.detach(), rare.objective.detach(), *gradients])
    for exact, half in zip(*found, strict=True):
        assert float(exact.abs().sum()) > 0
        torch.testing.assert_close(half.double(), exact.double(), rtol=2e-2, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_trace_is_the_fused_pass_with_every_gradient_through_time(shape: str) -> None:
    model = build(shape, "lstm").eval()
    ids, target = torch.tensor([[4, 5, 6, 7]]), torch.tensor([[2, 4, 5]])
    seen = trace(model, ids, target)
    output = model(ids, torch.tensor([4]), target)
    torch.testing.assert_close(seen.log_probs, model.log_probs(output))
    seen.log_probs[0, -1, 4].backward()
    for state in (*seen.encoder_states, *seen.decoder_states):
        assert state.grad is not None
        assert float(state.grad.norm()) > 0


def test_select_moves_whole_rows_between_sources() -> None:
    stepper = TorchStepper(build("general", "gru").eval())
    sources_ids = [[4, 5, 6], [7, 8], [9]]
    state = stepper.step(stepper.start(sources_ids), np.array([2, 2, 2]), top_k=1).state
    moved = stepper.step(stepper.select(state, np.array([2, 0, 0])), np.array([4, 4, 4]), top_k=None)
    straight = stepper.step(state, np.array([4, 4, 4]), top_k=None)
    np.testing.assert_allclose(moved.log_probs, straight.log_probs[[2, 0, 0]], atol=1e-12)


def test_a_step_ranks_by_bias_and_allowed_but_reports_the_models_probabilities() -> None:
    stepper = TorchStepper(build("textbook", "gru").eval())
    state = stepper.start([[4, 5]])
    everything = stepper.step(state, np.array([2]), top_k=None).log_probs[0]
    assert np.exp(everything).sum() == pytest.approx(1)
    bias, allowed = np.zeros((1, 11)), np.ones((1, 11), dtype=bool)
    bias[0, 7] = 100
    step = stepper.step(state, np.array([2]), top_k=2, bias=bias)
    assert step.ids[0, 0] == 7
    assert step.log_probs[0, 0] == pytest.approx(everything[7])
    allowed[0, int(everything.argmax())] = False
    assert stepper.step(state, np.array([2]), top_k=1, allowed=allowed).ids[0, 0] == np.argsort(-everything)[1]


def test_a_model_in_bfloat16_which_numpy_has_not_is_searched_and_forced() -> None:
    model = build("dot", "lstm").bfloat16()
    found = search(TorchStepper(model), [[4, 5]], options=SearchOptions(max_length=4))[0][0]
    forced = force(model, [[4, 5]], [list(found.ids[:-1] if found.finished else found.ids)])[0]
    np.testing.assert_allclose(forced.log_probs[: len(found.ids)], found.token_scores, atol=0.05)


@pytest.mark.parametrize(("shape", "cell"), CASES)
def test_layers_run_as_on_a_gpu_give_what_they_give_here(
    shape: str, cell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(shape, cell)
    ids, lengths = sources()
    found = []
    for as_on_gpu in (False, True):
        monkeypatch.setattr("dragoman.model.recurrent.takes_whole", lambda _, chosen=as_on_gpu: chosen)
        monkeypatch.setattr("dragoman.model.encoder.takes_whole", lambda _, chosen=as_on_gpu: chosen)
        memory, state = model.encode(ids, lengths)
        gradients = torch.autograd.grad(objective(model), list(model.parameters()), allow_unused=True)
        states = memory.states.masked_fill(~memory.mask.unsqueeze(2), 0)  # what stands at padding means nothing
        found.append([states, memory.context, *(part for layer in state.layers for part in layer), *gradients])
    for here, there in zip(*found, strict=True):
        assert (here is None) == (there is None)
        if here is not None:
            torch.testing.assert_close(there, here, atol=1e-10, rtol=0)


@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_for_a_gpu_lie_in_one_piece_matrices_first(cell: str, directions: int) -> None:
    layers = [RecurrentLayer(cell, 5, 3) for _ in range(directions)]
    parts = in_one_piece(cell, [layer.weights for layer in layers], torch.float32)
    for index, layer in enumerate(layers):
        for part, weight in zip(parts[4 * index : 4 * index + 4], layer.weights, strict=True):
            assert torch.equal(part, weight)
    order = [
        place for first in (0, 2) for index in range(directions) for place in (4 * index + first, 4 * index + first + 1)
    ]
    start = parts[0].data_ptr()
    for place in order:  # as cuDNN takes them, or PyTorch would copy them in every call, and warn
        assert parts[place].data_ptr() == start
        start += parts[place].numel() * 4

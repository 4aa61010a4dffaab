"""Laws of copying: the mixture is the paper's sum, word by word; it is safe in logarithms; it copies what was never seen."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_model import COPY_IDS, SHAPES, TARGET, sources
from test_model import build as build_shape
from test_objective import CPU, VOCAB, batch_of, build, distance, gradients, pairs
from torch import Tensor

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions, TrainOptions
from dragoman.corpus.batching import BatchPlan
from dragoman.corpus.dataset import EncodedPairs
from dragoman.errors import OptionError
from dragoman.evaluation.forcing import force
from dragoman.generation.scoring import score_ids
from dragoman.generation.search import search
from dragoman.model import loss as losses
from dragoman.model.loss import chunked_cross_entropy
from dragoman.model.pointer import Pointer
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper
from dragoman.training.objective import Objective, Tensors, add_gradients, batch_loss
from dragoman.training.recipe import COPYING_PAYS, DataSummary, choose

COPYING = [shape for shape, options in SHAPES.items() if options.get("copying")]


def copying(**more: object) -> Seq2Seq:
    """A model over the pairs of `test_objective`; two source ids are copied as one word, one as none."""
    model = build(copying=True, **more)
    model.set_copy_ids([0, 0, 0, 0, 5, 4, 6, 0, 4, *range(9, VOCAB)])
    return model


def by_hand(model: Seq2Seq, ids: Tensor, lengths: Tensor, target: Tensor) -> Tensor:
    """See et al. (2017), eq. 8 and 9, one word, one position and one source token after the other."""
    output = model(ids, lengths, target)
    assert model.decoder.gate is not None
    assert output.attention is not None
    words = torch.softmax(model.decoder.output(output.features), dim=2)
    whole = torch.zeros_like(words)
    for row, position in itertools.product(range(target.size(0)), range(target.size(1))):
        pointed = torch.sigmoid(model.decoder.gate(output.features[row, position]))[0]
        generated = 1 - pointed
        for place in range(int(lengths[row])):
            weight = pointed * output.attention[row, position, place]
            word = COPY_IDS[int(ids[row, place])]
            if word:
                whole[row, position, word] += weight
            else:
                generated = generated + weight
        whole[row, position] += generated * words[row, position]
    return whole


@pytest.mark.parametrize("shape", COPYING)
def test_the_mixture_is_the_papers_sum(shape: str) -> None:
    model = build_shape(shape, "lstm").eval()
    ids, lengths = sources()
    found = model.log_probs(model(ids, lengths, TARGET)).exp()
    torch.testing.assert_close(found, by_hand(model, ids, lengths, TARGET), atol=1e-12, rtol=0)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(TARGET.shape, dtype=torch.float64), atol=1e-12, rtol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", COPYING)
@pytest.mark.parametrize("on_gpu", [False, True])
def test_the_loss_is_the_mixtures_and_smoothing_is_asked_of_the_softmax(
    shape: str, smoothing: float, on_gpu: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "_on_gpu", lambda _: on_gpu)
    monkeypatch.setattr(losses, "_CHUNK_VALUES", 40)  # several chunks, the last one not full
    model, labels = build_shape(shape, "gru"), torch.tensor([[4, 5, 6, 3], [7, 8, 3, 5], [9, 3, 10, 5]])
    model.zero_grad(set_to_none=True)
    output = model(*sources(), TARGET)
    pointer = model.decoder.pointer(output.features, output.attention, output.copied)
    assert pointer is not None
    dense = model.decoder.output
    loss = chunked_cross_entropy(
        output.features.flatten(0, 1),
        dense.weight,
        dense.bias,
        labels.flatten(),
        label_smoothing=smoothing,
        pointer=pointer.of(torch.arange(TARGET.numel())),
    )
    (3 * loss.objective).backward()
    found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    nll = -by_hand(model, *sources(), TARGET).log().gather(2, labels.unsqueeze(2)).sum()
    even = -torch.log_softmax(model.decoder.output(model(*sources(), TARGET).features), dim=2).mean(dim=2).sum()
    expected = (1 - smoothing) * nll + smoothing * even
    (3 * expected).backward()
    torch.testing.assert_close(loss.objective, expected)
    assert loss.cross_entropy == pytest.approx(float(nll.detach()))
    assert distance(found, {name: value.grad for name, value in model.named_parameters()}) < 1e-10  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", COPYING)
def test_law_3_padding_and_neighbours_copy_nothing(shape: str) -> None:
    model = build_shape(shape, "lstm").eval()
    ids, lengths = sources()
    together = model.log_probs(model(ids, lengths, TARGET))
    wider = torch.cat([ids, torch.zeros(3, 4, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model.log_probs(model(wider, lengths, TARGET)), together, atol=1e-10, rtol=0)
    for row, length in enumerate(lengths.tolist()):
        alone = model.log_probs(model(ids[row : row + 1, :length], lengths[row : row + 1], TARGET[row : row + 1]))
        torch.testing.assert_close(alone[0], together[row], atol=1e-10, rtol=0)


@pytest.mark.parametrize("shape", COPYING)
def test_law_4_a_hypothesis_scores_what_its_ids_score(shape: str) -> None:
    stepper = TorchStepper(build_shape(shape, "lstm"))
    source_ids = [[4, 5, 6, 7, 8], [9, 10, 4], [5], [7]]
    found = search(stepper, source_ids, options=SearchOptions(beam_size=3, num_hypotheses=3, max_length=6))
    for source, hypotheses in zip(source_ids, found, strict=True):
        given = [source] * len(hypotheses)
        again = score_ids(stepper, given, [hypothesis.ids for hypothesis in hypotheses])
        for hypothesis, scored in zip(hypotheses, again, strict=True):
            assert scored.score == pytest.approx(hypothesis.score, abs=1e-10)
            if hypothesis.ids[-1] == 3:
                forced = force(stepper.model, [source], [hypothesis.ids[:-1]])[0]
                assert float(forced.log_probs.sum()) == pytest.approx(hypothesis.score, abs=1e-10)


def test_a_source_without_anything_to_copy_leaves_the_softmax_as_it_is() -> None:
    model = build_shape("copying", "lstm").eval()
    ids, lengths = torch.tensor([[7, 1, 7]]), torch.tensor([3])  # no target token, and <unk>
    output = model(ids, lengths, TARGET[:1])
    torch.testing.assert_close(model.log_probs(output), torch.log_softmax(model.decoder.output(output.features), dim=2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gate", [-1e4, -90.0, 0.0, 90.0, 1e4])
def test_no_gate_however_sure_makes_a_number_that_is_none(gate: float, dtype: torch.dtype) -> None:
    gates = torch.full((2,), gate, dtype=dtype, requires_grad=True)
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], dtype=dtype, requires_grad=True)
    pointer = Pointer(gates, weights, torch.tensor([[5, 6, 5], [5, 0, 6]]))
    features, weight = torch.ones(2, 3, dtype=dtype), (100 * torch.eye(8, 3, dtype=dtype)).requires_grad_()
    logits = features @ weight.t()
    whole = pointer.mixed(torch.log_softmax(logits, dim=1))
    loss = chunked_cross_entropy(features, weight, weight.new_zeros(8), torch.tensor([5, 7]), pointer=pointer)
    assert bool(torch.isfinite(whole).all())
    assert loss.cross_entropy == pytest.approx(-float((whole[0, 5] + whole[1, 7]).detach()))
    assert float(whole.exp().sum(dim=1).detach().sub(1).abs().max()) < 1e-6
    for made in (loss.objective, whole.sum()):
        for gradient in torch.autograd.grad(made, (gates, weights, weight), retain_graph=True):
            assert bool(torch.isfinite(gradient).all())


@pytest.mark.parametrize("options", [{"decoder_layers": 2}, {"input_feeding": True}])
def test_bptt_with_long_chunks_and_accumulation_give_the_whole_gradient(options: dict[str, object]) -> None:
    model, data = copying(**options), pairs()
    whole = gradients(model, [batch_of(data, range(12))], Objective(label_smoothing=0.1))
    parts = [batch_of(data, [0, 1, 2]), batch_of(data, range(3, 12))]
    assert distance(gradients(model, parts, Objective(label_smoothing=0.1)), whole) < 1e-12
    assert distance(gradients(model, parts, Objective(label_smoothing=0.1, bptt=99)), whole) < 1e-12
    cut = add_gradients(model, parts, CPU, Objective(bptt=2))
    assert cut.cross_entropy == pytest.approx(add_gradients(model, parts, CPU, Objective()).cross_entropy)


def test_r_drop_draws_the_whole_distributions_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_CHUNK_VALUES", 100)  # several chunks
    model, batch, weight = copying(dropout=0.4), batch_of(pairs(), range(8)), 3.0
    found = gradients(model, [batch], Objective(r_drop=weight), seed=5)
    model.zero_grad(set_to_none=True)
    torch.manual_seed(5)
    tensors = Tensors.of(batch, CPU, times=2)
    output = model(tensors.source_ids, tensors.source_lengths, tensors.target_input)
    real = tensors.target_output != 0
    p, q = model.log_probs(output)[real].chunk(2)
    true = tensors.target_output[real].chunk(2)[0]
    nll, kl = torch.nn.functional.nll_loss, torch.nn.functional.kl_div
    apart = kl(p, q, log_target=True, reduction="sum") + kl(q, p, log_target=True, reduction="sum")
    entropy = nll(p, true, reduction="sum") + nll(q, true, reduction="sum")
    ((entropy + weight * apart / 2) / 2 / batch.target_tokens).backward()
    expected = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
    assert distance(found, expected) < 1e-12


def test_what_the_model_draws_itself_may_be_copied() -> None:
    model = copying()
    assert model.decoder.gate is not None
    with torch.no_grad():
        model.decoder.gate.weight.zero_()
        model.decoder.gate.bias.fill_(math.log(3))  # three quarters are pointed at
        model.decoder.output.weight.zero_()
        model.decoder.output.bias.fill_(-99).index_fill_(0, torch.tensor([12]), 0)
    attention = torch.tensor([[0.6, 0.4, 0.0]], dtype=torch.float64).expand(4000, -1)
    torch.manual_seed(3)
    drawn = model.decoder._draw(
        torch.zeros(4000, 6, dtype=torch.float64), attention, torch.tensor([[5, 9, 6]]).expand(4000, -1)
    )
    shares = {word: float((drawn == word).double().mean()) for word in drawn.unique().tolist()}
    assert shares == pytest.approx({5: 0.45, 9: 0.3, 12: 0.25}, abs=0.03)
    batch = batch_of(pairs(), range(6))
    assert (
        distance(gradients(copying(), [batch], Objective(own_share=1e-300)), gradients(copying(), [batch], Objective()))
        < 1e-12
    )


@pytest.mark.parametrize("shape", COPYING)
def test_the_runtime_has_nothing_to_say(shape: str, capfd: pytest.CaptureFixture[str]) -> None:
    model = build_shape(shape, "lstm").float().eval()
    engine = OnnxStepper(encoder_graph(model), decoder_graph(model), threads=1)
    for source_ids in ([[4]], [[4, 5, 6, 7, 8, 9] * 5, [5]], [[7, 1]]):
        search(engine, source_ids, options=SearchOptions(beam_size=2, max_length=8))
    assert capfd.readouterr().err == ""


def rows(count: int, low: int, high: int, *, seed: int) -> EncodedPairs:
    """Sequences of 2 to 6 symbols, with themselves as targets."""
    draw = np.random.default_rng(seed)
    some = [draw.integers(low, high, size=draw.integers(2, 7)).tolist() for _ in range(count)]
    return EncodedPairs.of([(ids, ids) for ids in some])


def exact(model: Seq2Seq, data: EncodedPairs) -> float:
    """Share of the sources that are copied without a mistake."""
    source_ids: Sequence[list[int]] = [data.source(i).tolist() for i in range(len(data))]
    found = search(TorchStepper(model.eval()), source_ids, options=SearchOptions(beam_size=1, max_length=10))
    return float(np.mean([one[0].ids == (*ids, 3) for one, ids in zip(found, source_ids, strict=True)]))


@pytest.mark.learning
def test_law_9_symbols_never_seen_in_training_are_copied_after_200_steps() -> None:
    """Half of 1,000 symbols never occur in training. With copying they come out right, without it never."""
    vocab, half, accuracy = 1_004, 504, {}
    plan = BatchPlan(rows(4_000, 4, half, seed=1), batch_tokens=300, seed=1)
    unseen = rows(100, half, vocab, seed=2)
    for copies in (True, False):
        torch.manual_seed(1)
        model = Seq2Seq(
            source_vocab_size=vocab,
            target_vocab_size=vocab,
            embedding_size=32,
            hidden_size=64,
            bidirectional=True,
            encoder_layers=2,
            decoder_layers=2,
            attention="multihead",
            attention_heads=4,
            layer_norm=True,
            residual=True,
            copying=copies,
        )
        if copies:
            model.set_copy_ids([0, 0, 0, 0, *range(4, vocab)])
        optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
        epochs = itertools.chain.from_iterable(plan.epoch(epoch) for epoch in itertools.count())
        for batch in itertools.islice(epochs, 200):
            model.train().zero_grad()
            add_gradients(model, [batch], CPU, Objective(label_smoothing=0.1))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        accuracy[copies] = exact(model, unseen)
    assert accuracy[True] >= 0.9
    assert accuracy[False] == 0.0


# From options to a model directory


DATA = DataSummary(pairs=1000, kind="text", unspaced=False, shared_vocabulary=True, target_tokens=9.0)
SHAPE = {"hidden_size": 16, "embedding_size": 8, "layers": 1, "dropout": 0.0}
RUN = {"batch_tokens": 200, "max_steps": 4, "device": "cpu", "threads": 1, "average_decay": 0.0, "learning_rate": 0.01}
WORDS = [(f"{word}{number}", f"{word}{number}z") for number in range(20) for word in ("ab", "ba", "cab")]


def train(out: Path | None = None, **options: object) -> dragoman.Translator:
    given = {**SHAPE, **RUN, "tokenizer": "char", "copying": True, **options}
    return dragoman.train(WORDS, out=out, options=TrainOptions(**given))  # type: ignore[arg-type]


def test_it_needs_attention() -> None:
    with pytest.raises(OptionError, match="`copying` needs attention, but `attention` is none"):
        choose(TrainOptions(copying=True, preset="textbook"), DATA)
    assert choose(TrainOptions(copying=True, preset="textbook", attention="dot"), DATA)[0].copying is True


def test_inflected_forms_are_copied_by_default() -> None:
    """Whatever is set wins, and what cannot point anywhere does not copy."""
    forms = replace(DATA, pairs=COPYING_PAYS - 1, kind="symbols", with_features=True, copied_share=0.8)
    chosen, reasons = choose(TrainOptions(), forms)
    assert chosen.copying
    assert "80% of their symbols" in next(reason.why for reason in reasons if reason.name == "copying")
    for other in ({"pairs": COPYING_PAYS}, {"copied_share": 0.5}, {"kind": "text"}, {"with_features": False}):
        assert not choose(TrainOptions(), replace(forms, **other))[0].copying  # type: ignore[arg-type]
    for options in ({"copying": False}, {"attention": "none"}, {"preset": "luong2015"}):
        chosen, reasons = choose(TrainOptions(**options), forms)  # type: ignore[arg-type]
        assert not chosen.copying
        assert "stand in the source" not in " ".join(reason.why for reason in reasons)


def test_inflected_forms_are_known_by_their_features_and_by_what_they_repeat(tmp_path: Path) -> None:
    lemmas = ["".join(letters) for letters in itertools.islice(itertools.product("abcdef", repeat=3), 60)]
    ends = (("V;PST", "ed"), ("V;PRS;3", "s"))
    rows = [(lemma, tag, lemma + end, (lemma + end).upper()) for lemma in lemmas for tag, end in ends]
    table = tmp_path / "forms.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    for target, copies in (("3", True), ("4", False)):
        given = TrainOptions(**{**SHAPE, **RUN, "max_steps": 1}, source=("1", "2"), target=target, dev=("20",))  # type: ignore[arg-type]
        dragoman.train(table, out=tmp_path / "m", options=given, overwrite=True)
        stored = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
        assert (stored["recipe"]["copying"], stored["architecture"]["copying"]) == (copies, copies)


def test_sides_that_share_no_token_leave_nothing_to_copy(tmp_path: Path) -> None:
    greek = [("abcdef"[i % 5 :], "αβγδεζ"[i % 4 :]) for i in range(40)]
    given = TrainOptions(
        copying=True, tokenizer="char", max_steps=1, dev=("2",), hidden_size=8, threads=1, device="cpu"
    )
    with pytest.raises(
        OptionError,
        match=r"^`copying` needs tokens that both sides share, but the vocabularies have none in common$",
    ):
        dragoman.train(greek, out=tmp_path / "m", options=given)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("shared", [True, False])
def test_the_map_from_source_to_target_ids_travels_with_the_model(tmp_path: Path, shared: bool) -> None:
    train(tmp_path / "m", shared_vocabulary=shared)
    one = dragoman.load(tmp_path / "m", engine="torch", threads=1)
    other = dragoman.load(tmp_path / "m", precision="float32", threads=1)
    source, target = one.source_tokenizer, one.target_tokenizer
    assert source.shares_vocabulary(target) is shared
    assert one.model.copy_ids.tolist() == source.ids_in(target)
    assert (source.ids_in(target) == [0, 0, 0, 0, *range(4, source.vocab_size)]) is shared
    letters = source.encode("abc")
    assert target.decode([one.model.copy_ids[i].item() for i in letters]) == "abc"
    texts = ["ab3", "cab12", "?"]
    assert [t.text for t in one.translate(texts)] == [t.text for t in other.translate(texts)]
    assert [t.score for t in one.translate(texts)] == pytest.approx([t.score for t in other.translate(texts)], abs=1e-4)


def test_models_of_an_earlier_version_do_not_copy_and_load(tmp_path: Path) -> None:
    train(tmp_path / "m", copying=False)
    file = tmp_path / "m" / "config.json"
    config = json.loads(file.read_text())
    for part in ("architecture", "recipe"):
        assert config[part].pop("copying") is False
    config["options"].pop("copying")
    file.write_text(json.dumps(config))
    assert dragoman.load(tmp_path / "m", engine="torch").translate("ab3").candidates
    dragoman.resume(tmp_path / "m", options=TrainOptions(max_steps=6, threads=1))
    with pytest.raises(OptionError, match=r"`copying` is False in the model at .*, but True was given"):
        dragoman.train(WORDS, options=TrainOptions(from_model=str(tmp_path / "m"), copying=True))


def test_a_model_that_copies_can_be_gone_on_from_and_stopped_and_resumed_exactly(tmp_path: Path) -> None:
    from dragoman.training.verifying import verify_resume

    train(tmp_path / "m", shared_vocabulary=False)
    run = TrainOptions(from_model=str(tmp_path / "m"), **RUN)  # type: ignore[arg-type]
    after = dragoman.train([(f"abc{i}", f"abc{i}") for i in range(40)], options=run)
    assert after.model.copy_ids.tolist() == after.source_tokenizer.ids_in(after.target_tokenizer)
    given = {**SHAPE, **RUN, "copying": True, "tokenizer": "char"}
    verify_resume(WORDS, TrainOptions(**given), listener=lambda _: None)  # type: ignore[arg-type]


def test_vocabularies_with_nothing_in_common_are_an_error() -> None:
    greek = [("αβγ"[i % 3] + "δ" * (i % 5), "xyz"[i % 3] * (1 + i % 4)) for i in range(40)]
    with pytest.raises(OptionError, match="`copying` needs tokens that both sides share"):
        dragoman.train(greek, options=TrainOptions(copying=True, tokenizer="char", **SHAPE, **RUN))  # type: ignore[arg-type]


def test_the_flag_is_copy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in WORDS), encoding="utf-8")
    tiny = "--max-steps 2 --embedding-size 8 --hidden-size 8 --layers 1 --threads 1 --device cpu".split()
    assert main(["train", str(tmp_path / "pairs.tsv"), "--out", str(tmp_path / "m"), "--copy", *tiny]) == 0
    assert json.loads((tmp_path / "m/config.json").read_text())["architecture"]["copying"] is True
    model = dragoman.load(tmp_path / "m")
    ids = model.source_tokenizer.ids_in(model.target_tokenizer)
    told = f"copying: {sum(map(bool, ids))} of the source's {len(ids)} tokens are tokens of the target too\n"
    assert told in capsys.readouterr().err


def test_dev_loss_is_the_mixtures() -> None:
    model, batch = copying().eval(), batch_of(pairs(), range(12))
    tensors = Tensors.of(batch, CPU)
    whole = model.log_probs(model(tensors.source_ids, tensors.source_lengths, tensors.target_input))
    own = whole.gather(2, tensors.target_output.unsqueeze(2)).squeeze(2)[tensors.target_output != 0]
    assert batch_loss(model, batch, CPU).cross_entropy == pytest.approx(-float(own.sum().detach()))

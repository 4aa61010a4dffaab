"""Minimum risk: the gradient is that of the expected cost, the cost falls, and a stopped run resumes exactly."""

from __future__ import annotations

import copy
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from processor import needs_bfloat16
from sacrebleu.metrics.bleu import BLEU
from test_objective import CPU, batch_of, build, distance, pairs
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions, TrainOptions
from dragoman.corpus.dataset import EncodedPairs
from dragoman.errors import OptionError
from dragoman.generation.scoring import score_ids
from dragoman.generation.search import search
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.training import risk as risk_room
from dragoman.training.objective import Objective, add_gradients
from dragoman.training.recipe import DataSummary, choose
from dragoman.training.risk import MinimumRisk, Pool, References, by_bleu, by_edits, by_equality, output_log_probs
from dragoman.training.verifying import verify_resume

UNK, EOS = 1, 3
SMALL = {"source_vocab_size": 6, "target_vocab_size": 6}


def all_outputs(longest: int) -> list[tuple[int, ...]]:
    """Every output over `<unk>` and two words: those that end, and those that are cut at `longest`."""
    words = (UNK, 4, 5)
    ended = [(*ids, EOS) for size in range(longest) for ids in itertools.product(words, repeat=size)]
    return ended + list(itertools.product(words, repeat=longest))


def whole_space(sources: list[list[int]], references: list[tuple[int, ...]], *, longest: int = 3) -> Pool:
    """A pool that holds everything the model can say."""
    outputs = all_outputs(longest)
    costs = [by_edits(tuple(i for i in ids if i != EOS), [right]) for right in references for ids in outputs]
    lengths = np.array([len(ids) for ids in sources])
    padded = np.zeros((len(sources), int(lengths.max())), np.int64)
    for row, ids in enumerate(sources):
        padded[row, : len(ids)] = ids
    return Pool(padded, lengths, np.arange(len(sources)).repeat(len(outputs)), outputs * len(sources), costs)


def brute_force(model: Seq2Seq, sources: list[list[int]], pool: Pool, *, sharpness: float) -> float:
    """The expected cost by the model run token by token, written as in the paper."""
    outputs, total = all_outputs(3), 0.0
    for place, source in enumerate(sources):
        scored = score_ids(TorchStepper(model), [source] * len(outputs), outputs)
        mass = np.exp(np.array([each.score for each in scored])) ** sharpness
        total += float((mass / mass.sum() * pool.costs[place * len(outputs) :][: len(outputs)]).sum())
    return total


def risk_of(
    *, sharpness: float = 1.0, candidates: int = 8, weight: float = 1.0, bfloat16: bool = False, recompute: bool = False
) -> MinimumRisk:
    options = {"candidates": candidates, "sharpness": sharpness, "bfloat16": bfloat16, "recompute": recompute}
    return MinimumRisk(pairs(), weight=weight, metric="edit", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("sharpness", [1.0, 0.3])
def test_over_the_whole_space_risk_and_gradient_are_those_of_brute_force(sharpness: float) -> None:
    model, sources = build(**SMALL).eval(), [[4, 5], [5]]
    pool, risk = whole_space(sources, [(4,), (5, 4)]), risk_of(sharpness=sharpness, weight=0.4)
    value = risk.risk(model, pool)
    assert float(value.detach()) == pytest.approx(brute_force(model, sources, pool, sharpness=sharpness), abs=1e-10)
    model.zero_grad(set_to_none=True)
    assert risk.add_gradients(model, [pool]) == pytest.approx(float(value.detach()) / len(sources))
    random, step = np.random.default_rng(1), 1e-6
    for parameter in model.parameters():
        assert parameter.grad is not None
        flat = parameter.data.view(-1)
        for place in random.integers(0, flat.numel(), size=2).tolist():
            before, sides = float(flat[place]), []
            for shift in (step, -step):
                flat[place] = before + shift
                sides.append(brute_force(model, sources, pool, sharpness=sharpness))
            flat[place] = before
            slope = 0.4 * (sides[0] - sides[1]) / (2 * step) / len(sources)
            assert float(parameter.grad.view(-1)[place]) == pytest.approx(slope, abs=1e-7)


def test_the_whole_space_has_all_the_probability_that_search_may_give() -> None:
    """So an output that was cut stands for all that begin with it, and nothing is left out."""
    model = build(**SMALL).eval()
    with torch.no_grad():
        model.decoder.output.bias[[0, 2]] = -50.0  # `<pad>` and `<s>`, which no search chooses
        pool = whole_space([[4, 5]], [(4,)])
        assert float(output_log_probs(model, pool).exp().sum()) == pytest.approx(1.0, abs=1e-10)


def test_candidates_are_the_best_outputs_with_their_costs_and_a_function_of_weights_and_batch() -> None:
    model, batch, risk = build(dropout=0.5), batch_of(pairs(), range(6)), risk_of(candidates=5)
    pool = risk.find(model.train(), batch)
    options = SearchOptions(beam_size=5, num_hypotheses=5, max_length=2 * int(batch.target_lengths.max()) + 10)
    best = search(TorchStepper(model.eval()), [pairs().source(row).tolist() for row in range(6)], options=options)
    found = [[ids for ids, row in zip(pool.outputs, pool.rows, strict=True) if row == k] for k in range(6)]
    assert found == [[hypothesis.ids for hypothesis in hypotheses] for hypotheses in best]
    assert [len(set(each)) for each in found] == [5] * 6
    for ids, row, cost in zip(pool.outputs, pool.rows.tolist(), pool.costs, strict=True):
        right = tuple(pairs().target(row).tolist())
        assert cost == by_edits(tuple(i for i in ids if i != EOS), [right])
    assert risk.find(model.train(), batch).outputs == pool.outputs


def test_a_processs_rows_of_a_batch_have_the_outputs_that_they_have_in_the_whole() -> None:
    model, batch, risk = build().eval(), batch_of(pairs(), range(12)), risk_of(candidates=2)
    with torch.no_grad():
        model.decoder.output.bias[EOS] = -50.0  # so that every output is cut at the maximum length
    whole = risk.find(model, batch)
    for rank in range(3):
        part = risk.find(model, batch.slice(rank, 3))
        assert part.outputs == [ids for ids, row in zip(whole.outputs, whole.rows, strict=True) if row % 3 == rank]


def test_several_pools_give_the_gradient_of_the_one_that_holds_all_their_sources() -> None:
    model, risk = build().eval(), risk_of()
    grads = []
    for parts in ([range(12)], [range(5), range(5, 12)]):
        model.zero_grad(set_to_none=True)
        risk.add_gradients(model, [risk.find(model, batch_of(pairs(), part)) for part in parts])
        grads.append({name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None})
    assert distance(*grads) < 1e-12


def test_sources_whose_outputs_all_cost_the_same_count_but_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No probabilities change what they cost."""
    model, risk = build().eval(), risk_of(candidates=20)
    pool = risk.find(model, batch_of(pairs(), range(4)))
    whole = value_of(risk, model, pool)
    same = [0.5 if row in {0, 2} else cost for row, cost in zip(pool.rows.tolist(), pool.costs, strict=True)]
    mixed, computed = replace(pool, costs=same), []
    original = risk_room.output_log_probs
    monkeypatch.setattr(
        risk_room, "output_log_probs", lambda *given, **more: computed.append(given[1]) or original(*given, **more)
    )
    value = value_of(risk, model, mixed)
    assert [pool.source_lengths.tolist() for pool in computed] == [mixed.source_lengths[[1, 3]].tolist()]
    assert {row for pool in computed for row in pool.rows.tolist()} == {0, 1}
    parts = [value_of(risk, model, risk.find(model, batch_of(pairs(), [row]))) for row in range(4)]
    assert sum(parts) == pytest.approx(whole, abs=1e-10)
    assert value == pytest.approx(parts[1] + parts[3] + 2 * 0.5, abs=1e-10)
    risk.add_gradients(model, [replace(pool, costs=[0.25] * len(pool.costs))])
    assert len(computed) == 5
    assert all(parameter.grad is None for parameter in model.parameters())


def value_of(risk: MinimumRisk, model: Seq2Seq, pool: Pool) -> float:
    return float(risk.risk(model, pool).detach())


@needs_bfloat16
def test_in_bfloat16_the_gradient_is_nearly_that_of_float32() -> None:
    exact, rough = gradient_of(bfloat16=False), gradient_of(bfloat16=True)
    assert 1e-4 < float((rough - exact).norm() / exact.norm()) < 0.04


def test_what_is_computed_again_is_not_held_and_gives_the_same_gradient() -> None:
    gradients, held = [], []
    for recompute in (False, True):
        held.append(0)

        def count(tensor: Tensor) -> Tensor:
            held[-1] += tensor.nbytes
            return tensor

        with saved_tensors_hooks(count, lambda tensor: tensor):
            gradients.append(gradient_of(recompute=recompute))
    assert torch.equal(*gradients)
    assert held[1] < 0.75 * held[0]


def gradient_of(**more: bool) -> Tensor:
    """The whole gradient of a small float32 model's risk, as one vector."""
    model, risk = build(dropout=0.2).float(), risk_of(**more)
    pool = risk.find(model, batch_of(pairs(), range(12)))
    torch.manual_seed(1)
    risk.add_gradients(model.train(), [pool])
    parts = [value.grad for value in model.parameters() if value.grad is not None]
    assert all(part.dtype == torch.float32 for part in parts)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("more", [{}, {"input_feeding": True}])
@pytest.mark.parametrize("kind", ["dropout", "recurrent_dropout", "word_dropout"])
def test_under_dropout_the_outputs_of_a_source_are_compared_under_one_model(kind: str, more: dict[str, bool]) -> None:
    model, batch = build(**{kind: 0.5}, **more), batch_of(pairs(), [3])
    pool = risk_of().find(model, batch)
    twice = Pool(pool.source_ids, pool.source_lengths, pool.rows.repeat(2), [*pool.outputs, *pool.outputs], [])
    log_probs = output_log_probs(model.train(), twice).view(2, -1)
    assert torch.allclose(log_probs[0], log_probs[1], atol=1e-10)
    assert not torch.allclose(log_probs, output_log_probs(model.train(), twice).view(2, -1))


def test_what_a_model_says_costs_less_after_minimum_risk_than_after_as_much_cross_entropy() -> None:
    data = pairs(24, longest=4)
    model = build(hidden_size=16).train()
    batch = batch_of(data, range(24))

    def train(model: Seq2Seq, weight: float, steps: int) -> float:
        risk = MinimumRisk(data, weight=weight, metric="edit", candidates=8)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(steps):
            pools = [risk.find(model, batch)] if weight else []
            model.train()
            optimizer.zero_grad()
            add_gradients(model, [batch], CPU, Objective(share=1 - weight))
            if pools:
                risk.add_gradients(model, pools)
            optimizer.step()
        judge = MinimumRisk(data, weight=1.0, metric="edit", candidates=40)
        with torch.no_grad():
            return float(judge.risk(model.eval(), judge.find(model, batch))) / len(batch)

    before = train(model, 0.0, 30)
    by_entropy, by_risk = (train(copy.deepcopy(model), weight, 12) for weight in (0.0, 0.9))
    assert by_risk < by_entropy < before
    assert before - by_risk > 1.3 * (before - by_entropy)


@pytest.mark.parametrize("repeated", [1, 40])
def test_every_target_of_a_source_is_right_its_own_first(repeated: int) -> None:
    data = EncodedPairs.of([([4], [5]), ([6], [7]), *[([4], [5])] * repeated, ([4], [8, 8])])
    references = References(data)
    assert references.of(0) == references.of(2) == [(5,), (8, 8)]
    assert references.of(repeated + 2) == [(8, 8), (5,)]
    assert references.of(1) == [(7,)]


def test_costs_are_sacrebleus_bleu_the_share_of_edits_and_equality() -> None:
    random = np.random.default_rng(2)
    bleu = BLEU(tokenize="none", smooth_method="add-k", smooth_value=1, effective_order=False)
    for _ in range(40):
        ids = [tuple(random.integers(4, 9, size=random.integers(4, 12)).tolist()) for _ in range(3)]
        texts = [" ".join(map(str, each)) for each in ids]
        expected = 1 - bleu.sentence_score(texts[0], texts[1:]).score / 100
        assert by_bleu(ids[0], ids[1:]) == pytest.approx(expected, abs=1e-9)
    for cost in (by_bleu, by_edits, by_equality):
        assert cost((4, 5), [(6,), (4, 5)]) == 0
        assert cost((), [(4,)]) == 1
    assert by_edits((4, 5, 6, 7), [(4, 5, 6)]) == 0.25
    assert by_equality((4, 5, 6, 7), [(4, 5, 6)]) == 1


def test_what_does_not_go_together_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"`minimum_risk` needs a trained model to start from"):
        dragoman.train([("a", "b")] * 9, out=tmp_path / "m", options=TrainOptions(minimum_risk=0.5))
    assert list(tmp_path.iterdir()) == []
    data = DataSummary(pairs=1000, kind="text", unspaced=False, shared_vocabulary=True, target_tokens=9.0)
    with pytest.raises(OptionError, match="`risk_metric` needs `minimum_risk`, but it is 0"):
        choose(TrainOptions(risk_metric="edit"), data)
    with pytest.raises(OptionError, match="`bptt` and `minimum_risk` exclude each other"):
        choose(TrainOptions(minimum_risk=0.5, bptt=3), data)


def test_the_defaults_follow_the_data() -> None:
    chosen = {}
    for kind in ("text", "symbols"):
        data = DataSummary(pairs=9_000, kind=kind, unspaced=False, shared_vocabulary=False, target_tokens=9.0)  # type: ignore[arg-type]
        chosen[kind], reasons = choose(TrainOptions(minimum_risk=0.5), data)
        plain, _ = choose(TrainOptions(), data)
        assert chosen[kind].learning_rate == plain.learning_rate / 10
        assert [reason.value for reason in reasons if reason.name == "learning_rate"] == [plain.learning_rate / 10]
    assert (chosen["text"].risk_metric, chosen["symbols"].risk_metric) == ("bleu", "edit")


def test_the_command_line_trains_with_it_and_a_stopped_run_resumes_exactly(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = [(f"source {i} of many", f"cible {i} de tant") for i in range(30)]
    (tmp_path / "pairs.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in rows), encoding="utf-8")
    words = ["--from", str(trained), "--minimum-risk", "0.7", "--risk-candidates", "3", "--batch-tokens", "60"]
    machine = ["--threads", "1", "--device", "cpu", "--dropout", "0.2"]
    out = tmp_path / "m"
    assert main(["train", str(tmp_path / "pairs.tsv"), "--out", str(out), *words, *machine, "--max-steps", "3"]) == 0
    recipe = json.loads((out / "config.json").read_text(encoding="utf-8"))["recipe"]
    assert (recipe["minimum_risk"], recipe["risk_candidates"]) == (0.7, 3)
    told = json.loads((out / "training/log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert 0 < told["risk"] < 1
    assert f", risk {told['risk']:.3f}, dev loss" in capfd.readouterr().err
    options = TrainOptions(
        from_model=str(trained),
        minimum_risk=0.7,
        risk_candidates=3,
        batch_tokens=60,
        dropout=0.2,
        threads=1,
        device="cpu",
    )
    assert verify_resume(rows, options, listener=lambda _: None, steps=8).stopped_at == 4

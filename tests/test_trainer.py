"""Laws of the loop itself: what a step is, what an evaluation is given, what its score decides; on a model without a directory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from processor import needs_bfloat16
from safetensors.torch import load_file
from test_objective import CPU, VOCAB, batch_of, build, distance, gradients, pairs
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from dragoman.config import TrainOptions
from dragoman.corpus.batching import BatchPlan
from dragoman.errors import TrainingError
from dragoman.model.loss import Loss
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training import session
from dragoman.training import trainer as trainer_room
from dragoman.training.events import ignore
from dragoman.training.objective import Objective, add_gradients, batch_loss
from dragoman.training.optimizer import build_optimizer, trained_parameters
from dragoman.training.processes import ALONE, Processes
from dragoman.training.recipe import DataSummary, choose
from dragoman.training.risk import COSTS, MinimumRisk
from dragoman.training.trainer import DevScore, Trainer

PLAN = BatchPlan(pairs(60), batch_tokens=40, seed=1)
DATA = DataSummary(pairs=60, kind="text", unspaced=False, shared_vocabulary=False, target_tokens=5.0)


def middling(model: Seq2Seq) -> DevScore:
    return DevScore(loss=1.0, score=1.0, seconds=0.0, sources=500)


def trainer_of(
    folder: Path,
    *,
    steps: int,
    evaluate: Callable[[Seq2Seq], DevScore] = middling,
    processes: Processes = ALONE,
    **more: object,
) -> Trainer:
    """A trainer of a small model in float64, that stops after so many steps."""
    small = {
        "embedding_size": 6,
        "hidden_size": 8,
        "layers": 1,
        "dropout": 0.0,
        "word_dropout": 0.0,
        "eval_every": 1000,
    }
    recipe, _ = choose(TrainOptions(**{**small, **more}), DATA)  # type: ignore[arg-type]
    torch.manual_seed(2)
    model = Seq2Seq(source_vocab_size=VOCAB, target_vocab_size=VOCAB, **recipe.model_arguments()).double()
    made = Trainer(
        model,
        recipe,
        batches=lambda epoch, position: PLAN.epoch(epoch, start=position),
        batches_per_epoch=PLAN.batches_per_epoch,
        evaluate=evaluate,
        folder=folder,
        keep=folder / "kept.safetensors",
        listener=ignore,
        interrupted=lambda: made.run.step >= steps,
        processes=processes,
    )
    return made


def weights(model: Seq2Seq) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def test_a_step_is_adamw_on_the_clipped_gradient_of_the_next_batch_and_the_average_follows(tmp_path: Path) -> None:
    """Against the plain way, which has torch's own optimiser, rates written out, and a list of all weights there were."""
    options = {"clip_norm": 0.3, "learning_rate": 0.02, "warmup_steps": 4, "schedule": "inverse_sqrt"}
    run = trainer_of(tmp_path, steps=7, average_decay=0.6, weight_decay=0.3, embedding_rate=2.5, **options)
    plain = trainer_of(tmp_path, steps=0).model
    names = dict(plain.named_parameters())
    groups = [[value for name, value in names.items() if ("embedding" in name) is embeds] for embeds in (False, True)]
    optimizer = torch.optim.AdamW(
        [{"params": group} for group in groups], betas=(0.9, 0.98), weight_decay=0.3, foreach=False
    )
    average, clipped = weights(plain), 0
    for step, batch in enumerate(list(PLAN.epoch(0))[:7], start=1):
        gradients(plain, [batch], Objective(label_smoothing=0.1))
        slopes = [value.grad for value in names.values() if value.grad is not None]
        norm = float(torch.cat([slope.flatten() for slope in slopes]).norm())
        for slope in slopes:
            slope *= min(1.0, 0.3 / norm)
        clipped += norm > 0.3
        rate = 0.02 * (step / 4 if step < 4 else (4 / step) ** 0.5)
        for group, share in zip(optimizer.param_groups, (1.0, 2.5), strict=True):
            group["lr"] = rate * share
        optimizer.step()
        held = min(0.6, (1 + step) / (10 + step))  # the random start is forgotten sooner than what comes after it
        average = {name: held * average[name] + (1 - held) * value.detach() for name, value in names.items()}
    run.fit()
    assert clipped
    assert distance(weights(run.model), weights(plain)) < 1e-6
    with run.averaged():
        assert distance(weights(run.model), average) < 1e-6
    assert distance(weights(run.model), weights(plain)) < 1e-6
    assert distance(weights(plain), average) > 1e-3


@pytest.mark.parametrize("kind", ["average_decay", "average_checkpoints"])
def test_an_average_keeps_numbers_alone_however_many_steps_there_were(kind: str, tmp_path: Path) -> None:
    """A graph of the steps behind it would grow for as long as the run takes."""
    run = trainer_of(tmp_path, steps=4, eval_every=2, **{kind: 0.9 if kind == "average_decay" else 2})
    run.fit()
    assert run.average
    assert not any(value.requires_grad for value in run.average)


USUAL = {
    "average_decay": 0.0,
    "dropout": 0.2,
    "learning_rate": 0.02,
    "warmup_steps": 2,
    "scheduled_sampling": 0.0,
    "epochs": 1,
}


@pytest.mark.parametrize(
    "given",
    [
        {"bptt": 2},
        {"r_drop": 3.0},
        pytest.param({"precision": "bfloat16"}, marks=needs_bfloat16),
        {"accumulate": 2},
        {"optimizer": "adam"},
        {"optimizer": "sgd"},
        {"label_smoothing": 0.4},
        {"clip_norm": 0.01},
        {"weight_decay": 0.9},
        {"embedding_rate": 2.0},
        {"dropout": 0.4},
        {"word_dropout": 0.4},
        {"schedule": "constant"},
        {"schedule": "cosine"},
        {"schedule": "inverse_sqrt"},
        {"warmup_steps": 0},
        {"scheduled_sampling": 0.9, "sampling_curve": "constant"},
        {"seed": 9},
    ],
    ids=str,
)
def test_every_option_of_a_step_changes_what_is_learned(given: dict[str, Any], tmp_path: Path) -> None:
    """From the option to the weights: what an option does is tested elsewhere, here that it arrives."""
    learned = []
    for options in (USUAL, {**USUAL, **given}):
        run = trainer_of(tmp_path, steps=6, **{"precision": "float32", **options})
        run.model.float()  # as bfloat16 is only made of float32
        run.fit()
        learned.append(weights(run.model))
    assert distance(*learned) > 1e-5


@pytest.mark.parametrize("curve", ["exponential", "sigmoid", "constant"])
def test_a_curve_is_the_one_that_was_asked_for(curve: str, tmp_path: Path) -> None:
    asked, usual = (
        trainer_of(tmp_path, steps=0, scheduled_sampling=0.8, sampling_curve=kind).sampling
        for kind in (curve, "linear")
    )
    assert asked == replace(usual, kind=curve)


def test_recomputation_saves_memory_in_training(tmp_path: Path) -> None:
    batch, saved = batch_of(pairs(), range(12)), [0, 0]
    for again in (False, True):
        run = trainer_of(tmp_path, steps=0, recompute=again)

        def count(tensor: Tensor, again: bool = again) -> Tensor:
            saved[again] += tensor.nbytes
            return tensor

        with saved_tensors_hooks(count, lambda tensor: tensor):
            batch_loss(run.model, batch, CPU, run.objective)
    assert saved[True] < 0.5 * saved[False]


def test_every_option_of_minimum_risk_arrives(tmp_path: Path) -> None:
    recipe = replace(
        trainer_of(tmp_path, steps=0).recipe,
        minimum_risk=0.4, risk_metric="exact_match", risk_candidates=3, risk_sharpness=0.5, precision="bfloat16", recompute=True,
    )  # fmt: skip
    prepared: Any = SimpleNamespace(train=pairs(9))
    risk = session._risk(prepared, recipe)
    assert risk is not None
    assert (risk.weight, risk.cost, risk.candidates, risk.sharpness) == (0.4, COSTS["exact_match"], 3, 0.5)
    assert (risk.bfloat16, risk.recompute) == (True, True)
    assert trainer_room.objective_of(recipe).share == 0.6


def test_no_two_steps_or_processes_or_seeds_draw_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    original = trainer_room.add_gradients

    def watching(*given: object, **more: object) -> object:
        seen.append(torch.initial_seed())
        return original(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer_room, "add_gradients", watching)
    monkeypatch.setattr(Processes, "_sum", lambda *_: None)  # the others have nothing to add
    for seed, processes in ((1, ALONE), (2, ALONE), (1, Processes(1, 3)), (1, Processes(2, 3))):
        trainer_of(tmp_path, steps=5, seed=seed, processes=processes).fit()
    assert len(seen) == len(set(seen)) == 20


@pytest.mark.parametrize("risky", [False, True])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_law_7_the_gradients_that_processes_put_together_in_a_step_are_those_of_one(
    accumulate: int, risky: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, Tensor]] = []

    def combine(_: Processes, parameters: Sequence[Tensor], loss: Loss) -> Loss:
        found.append(
            {str(place): value.grad.clone() for place, value in enumerate(parameters) if value.grad is not None}
        )
        return loss

    monkeypatch.setattr(Processes, "combine", combine)
    monkeypatch.setattr(Processes, "_sum", lambda *_: None)
    for processes in (ALONE, Processes(0, 2), Processes(1, 2)):
        run = trainer_of(tmp_path, steps=1, processes=processes, accumulate=accumulate)
        run.risk = MinimumRisk(pairs(60), weight=1.0, metric="edit", candidates=4) if risky else None
        run.fit()
    whole, one, other = found
    assert distance({name: value + other[name] for name, value in one.items()}, whole) < 1e-12
    assert distance(one, whole) > 1e-3


def test_the_share_of_a_models_own_words_follows_its_curve_through_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Objective] = []
    original = trainer_room.add_gradients

    def watching(*given: object, **more: object) -> object:
        seen.append(given[3])  # type: ignore[arg-type]
        return original(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(trainer_room, "add_gradients", watching)
    trainer_of(tmp_path, steps=6, scheduled_sampling=0.8, sampling_steps=4).fit()
    assert [one.own_share for one in seen] == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 0.8])


@pytest.mark.parametrize("average", [0.0, 0.7])
def test_an_evaluation_is_given_what_may_be_kept_without_dropout_and_touches_no_training(
    tmp_path: Path, average: float
) -> None:
    given: list[dict[str, Tensor]] = []

    def evaluate(model: Seq2Seq) -> DevScore:
        assert not any(module.training for module in model.modules())
        given.append(weights(model))
        return DevScore(loss=1.0, score=(1.0, 3.0, 2.0)[len(given) - 1], seconds=0.0, sources=500)

    often, never = (
        trainer_of(tmp_path / name, steps=7, evaluate=evaluate, dropout=0.3, average_decay=average, eval_every=every)
        for name, every in (("often", 2), ("never", 1000))
    )
    (tmp_path / "often").mkdir()
    (tmp_path / "never").mkdir()
    often.fit()
    never.fit()
    assert len(given) == 3
    assert distance(weights(often.model), weights(never.model)) == 0
    assert distance(load_file(tmp_path / "often/kept.safetensors"), given[1]) == 0  # the best of three
    assert (often.run.best, often.run.best_step) == (3.0, 4)
    straight = trainer_of(tmp_path / "never", steps=4, dropout=0.3, average_decay=average)
    straight.fit()
    with straight.averaged():
        assert distance(weights(straight.model), given[1]) == 0


@pytest.mark.parametrize(
    ("sources", "options", "kept"),
    [(99, {}, 6), (100, {}, 2), (99, {"schedule": "constant"}, 2), (99, {"metric": "loss"}, 2)],
)
def test_where_dev_is_too_small_to_tell_the_last_model_is_kept(
    sources: int, options: dict[str, str], kept: int, tmp_path: Path
) -> None:
    """By then the rate has fallen; and patience still counts from the best."""
    scores = iter([3.0, 1.0, 2.0])
    evaluated: list[dict[str, Tensor]] = []

    def evaluate(model: Seq2Seq) -> DevScore:
        score = next(scores)
        evaluated.append(weights(model))
        return DevScore(-score, score, 0.0, sources)

    trainer = trainer_of(tmp_path, steps=6, evaluate=evaluate, eval_every=2, **options)
    trainer.fit()
    assert (trainer.run.best, trainer.run.best_step, trainer.run.since_best) == (3.0, kept, 2)
    assert distance(load_file(tmp_path / "kept.safetensors"), evaluated[kept // 2 - 1]) == 0
    assert [row["best"] for row in trainer.run.history] == [True, kept == 6, kept == 6]


def test_by_loss_the_lowest_is_kept(tmp_path: Path) -> None:
    losses = iter([3.0, 1.0, 2.0])
    run = trainer_of(
        tmp_path, steps=3, evaluate=lambda _: DevScore(next(losses), -1.0, 0.0, 50), metric="loss", eval_every=1
    )
    run.fit()
    assert run.run.best_step == 2
    assert [row["score"] for row in run.run.history] == [3.0, 1.0, 2.0]


def test_on_a_plateau_the_rate_is_halved_after_every_two_evaluations_in_which_the_dev_loss_does_not_fall(
    tmp_path: Path,
) -> None:
    losses = iter([3.0, 2.0, 2.0, 2.5, 2.1, 1.9, 1.9, 1.9])
    options = {"schedule": "plateau", "learning_rate": 0.008, "warmup_steps": 0, "patience": 0, "eval_every": 1}
    run = trainer_of(tmp_path, steps=8, evaluate=lambda _: DevScore(next(losses), 0.0, 0.0, 500), **options)
    run.fit()
    rates = [row["learning_rate"] for row in run.run.history]  # of the step before each evaluation
    assert rates == pytest.approx([0.008, 0.008, 0.008, 0.008, 0.004, 0.004, 0.004, 0.004])
    assert run.rate == pytest.approx(0.002)


def test_sgd_learns_at_its_default_rate_as_adam_does_at_its_own() -> None:
    """A rate that is right for Adam is so low for SGD that nothing moves."""
    batch, after = batch_of(pairs(20), range(20)), {}
    for name, more in (("adam", {}), ("sgd", {}), ("too low", {"learning_rate": 0.002})):
        recipe, _ = choose(TrainOptions(optimizer=name.replace("too low", "sgd"), preset="textbook", **more), DATA)  # type: ignore[arg-type]
        model = build(attention="none")
        optimizer = build_optimizer(recipe, trained_parameters(model))
        for _ in range(20):
            optimizer.zero_grad()
            loss = add_gradients(model, [batch], CPU, Objective())
            optimizer.step()
        after[name] = loss.cross_entropy / loss.tokens
    assert after["sgd"] < after["adam"] + 0.05
    assert after["too low"] > after["adam"] + 0.05


def test_reading_the_loss_of_a_step_late_changes_nothing_and_still_saves_no_model_that_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where to read it is to wait for the step."""
    runs = []
    for late in (False, True):
        (tmp_path / str(late)).mkdir()
        run = trainer_of(tmp_path / str(late), steps=7, eval_every=3)
        run.reads_late = late
        run.fit()
        runs.append(run)
    at_once, late_run = runs
    assert distance(weights(at_once.model), weights(late_run.model)) == 0
    for one, other in zip(at_once.run.history, late_run.run.history, strict=True):
        assert one["train_loss"] == other["train_loss"]

    run = trainer_of(tmp_path, steps=7)
    run.reads_late = True
    run.save()
    before = run.checkpoint_path.read_bytes()
    original = trainer_room.add_gradients

    def broken(*given: Any, **named: Any) -> Loss:
        loss = original(*given, **named)
        return Loss(loss.objective, loss.nll * (torch.nan if run.run.step == 6 else 1), loss.tokens)

    monkeypatch.setattr(trainer_room, "add_gradients", broken)
    with pytest.raises(
        TrainingError, match="the loss is not a number at step 7"
    ):  # the last one, read before it is saved
        run.fit()
    assert run.checkpoint_path.read_bytes() == before


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_no_number_ends_a_run_before_its_weights_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: float
) -> None:
    """Though the loss of that step is one."""
    run = trainer_of(tmp_path, steps=7, clip_norm=clip)
    run.save()
    before = run.checkpoint_path.read_bytes()
    original = trainer_room.add_gradients

    def broken(*given: Any, **named: Any) -> Loss:
        loss = original(*given, **named)
        if run.run.step == 6:
            gradient = run.parameters[0].grad
            assert gradient is not None
            gradient.view(-1)[0] = torch.nan
        return loss

    monkeypatch.setattr(trainer_room, "add_gradients", broken)
    with pytest.raises(TrainingError, match="the loss has a gradient that is not a number at step 7: lower"):
        run.fit()
    assert run.checkpoint_path.read_bytes() == before

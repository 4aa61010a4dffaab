"""Laws of the plan: it changes no weight, turns minutes into steps, and refuses what cannot fit before any file is made."""

from __future__ import annotations

import itertools
import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from processor import needs_bfloat16
from test_training import checkpoint, options, reversed_words, same

import dragoman
from dragoman.config import TrainOptions
from dragoman.corpus.batching import Batch, BatchPlan
from dragoman.corpus.dataset import EncodedPairs
from dragoman.errors import Interrupted, TrainingError
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training import clock, planning, session
from dragoman.training.checkpoint import load_checkpoint, read_progress, save_checkpoint
from dragoman.training.events import Event, Note, ignore
from dragoman.training.objective import Objective
from dragoman.training.planning import Forecast, forecast
from dragoman.training.recipe import DataSummary, Recipe, choose
from dragoman.training.risk import MinimumRisk, Pool
from dragoman.training.trainer import Trainer

CPU = torch.device("cpu")


def recipe(**more: object) -> Recipe:
    summary = DataSummary(pairs=400, kind="text", unspaced=False, shared_vocabulary=True, target_tokens=6.0)
    return choose(options(layers=1, dropout=0.1, **more), summary)[0]


def batch_plan(recipe: Recipe) -> BatchPlan:
    draw = np.random.default_rng(1)
    rows = [(draw.integers(4, 30, n), draw.integers(4, 30, n)) for n in draw.integers(2, 12, 400)]
    return BatchPlan(EncodedPairs.of(rows), batch_tokens=recipe.batch_tokens, seed=1)


def expected(recipe: Recipe, *, evaluation_seconds: float = 0.0, **more: object) -> Forecast:
    torch.manual_seed(1)
    model = Seq2Seq(**recipe.model_arguments(), source_vocab_size=30, target_vocab_size=30)
    before = [value.clone() for value in model.parameters()]
    found = forecast(model, recipe, batch_plan(recipe), CPU, evaluation_seconds=evaluation_seconds, **more)  # type: ignore[arg-type]
    assert all(torch.equal(value, kept) for value, kept in zip(model.parameters(), before, strict=True))
    assert all(value.grad is None for value in model.parameters())
    assert found.parameters == sum(value.numel() for value in before)
    return found


def test_steps_and_epochs_are_counted_and_time_follows_from_them() -> None:
    run = recipe(epochs=7, accumulate=2, eval_every=10)
    found = expected(run, evaluation_seconds=3.0)
    assert found.steps_per_epoch == -(-batch_plan(run).batches_per_epoch // 2)
    assert found.steps == 7 * found.steps_per_epoch
    assert found.seconds == pytest.approx(found.steps * found.seconds_per_step + (found.steps / 10 + 1) * 3.0)
    assert expected(recipe(epochs=7, max_steps=5)).steps == 5


def test_a_step_takes_no_more_batches_than_an_epoch_has_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    at_pace(monkeypatch, step=0.1, tick=0.0)
    batches = batch_plan(recipe()).batches_per_epoch
    for accumulate, steps in ((1, batches), (batches - 1, 2), (10_000, 1)):
        found = expected(recipe(accumulate=accumulate))
        assert found.steps_per_epoch == steps
        assert found.steps_per_epoch * found.seconds_per_step == pytest.approx(0.1 * batches)


def test_minutes_hold_the_steps_and_the_evaluations_that_fit_into_them() -> None:
    long = {"epochs": 10**6, "eval_every": 10, "max_minutes": 60.0}
    for seconds in (0.0, 5.0):
        found = expected(recipe(**long), evaluation_seconds=seconds)
        within = 3600 * (1 - planning.SPARE)
        assert found.seconds == pytest.approx(within, rel=0.02)
        assert found.steps * found.seconds_per_step + (found.steps / 10 + 1) * seconds == pytest.approx(
            within, rel=0.02
        )
    behind = expected(recipe(**long), steps_done=1000, seconds_done=1800.0)
    assert (behind.steps - 1000) * behind.seconds_per_step == pytest.approx(1800 * (1 - planning.SPARE), rel=0.02)


def test_a_step_is_timed_with_all_that_it_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    original = planning.add_gradients

    def watched(model: Seq2Seq, batches: object, device: object, objective: Objective, **more: object) -> object:
        seen.append(objective.own_share)
        return original(model, batches, device, objective, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(planning, "add_gradients", watched)
    expected(recipe(scheduled_sampling=0.4))
    assert seen.count(0.4) >= planning.TIMED  # fused teacher forcing would be timed without it
    pairs = EncodedPairs.of([([4, 5], [6, 7])] * 400)
    risky = MinimumRisk(pairs, weight=0.5, metric="edit", candidates=4)
    find, searched = risky.find, []

    def counted(model: Seq2Seq, batch: Batch) -> Pool:
        searched.append(len(batch))
        return find(model, batch)

    monkeypatch.setattr(risky, "find", counted)
    expected(recipe(), risk=risky)
    assert len(searched) >= planning.TIMED


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_clock_is_read_when_a_gpu_has_done_what_it_was_given(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given work, and is not waited for; else the plan would be of the time to hand it over."""
    done: list[str] = []
    monkeypatch.setattr(getattr(torch, kind), "synchronize", lambda *_: done.append("wait"))
    finish = planning._finish
    monkeypatch.setattr(planning, "_finish", lambda _: finish(torch.device(kind)))
    optimizer = SimpleNamespace(step=lambda: done.append("step"))
    monkeypatch.setattr(planning, "build_optimizer", lambda *_: optimizer)
    planning._timed_update(recipe(), [torch.zeros(2)])
    assert done == ["step", "wait", "step", "wait"]


def test_the_predicted_memory_is_that_of_the_process_and_of_all_that_is_kept_per_parameter() -> None:
    plain, averaged = (expected(recipe(average_decay=decay)) for decay in (0.0, 0.9))
    assert plain.memory is not None
    assert averaged.memory is not None
    assert plain.memory > 50e6  # the interpreter and torch alone take more
    assert averaged.memory - plain.memory >= 4 * averaged.parameters
    kept = expected(recipe(average_decay=None, average_checkpoints=5))
    assert kept.memory is not None
    assert kept.memory - plain.memory >= 5 * 4 * kept.parameters


def test_the_predicted_memory_has_room_for_what_shapes_leave_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = expected(recipe()).memory
    monkeypatch.setattr(planning, "_bytes_of_activations", lambda *_: 100_000_000)
    larger = expected(recipe()).memory
    assert plain is not None
    assert larger is not None
    assert larger - plain > 190e6


@pytest.mark.parametrize("modern", [True, False])
def test_the_predicted_memory_counts_products_that_are_kept_prepared(
    monkeypatch: pytest.MonkeyPatch, modern: bool
) -> None:
    monkeypatch.setattr(planning, "computes_bfloat16", lambda _: modern)
    kept = partial(planning._bytes_of_prepared_products, steps=1_000)
    narrow, wide = (Seq2Seq(source_vocab_size=9, target_vocab_size=9, hidden_size=size) for size in (32, 64))
    half, cpu = recipe(precision="bfloat16"), torch.device("cpu")
    assert kept(wide, half, cpu) > kept(narrow, half, cpu) > 0
    in_float32 = kept(wide, recipe(precision="float32"), cpu)
    assert in_float32 == 0 if modern else kept(wide, half, cpu) > in_float32 > 0
    assert kept(wide, half, torch.device("cuda")) == 0


@needs_bfloat16
def test_the_predicted_memory_of_a_long_run_is_more_than_that_of_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "peak_memory", lambda _: 10**9)
    short, long = (expected(recipe(precision="bfloat16", epochs=10**6, max_steps=steps)).memory for steps in (9, 5_000))
    assert short is not None
    assert long is not None
    assert long > short


def trained(out: Path, *, stop_at: int | None = None, **more: object) -> dict[str, object]:
    session.start(
        reversed_words(60),
        out,
        options(**more),
        overwrite=False,
        listener=ignore,
        command=None,
        stop_at=stop_at,
    )
    return stored(out)


def stored(out: Path) -> dict[str, object]:
    config: dict[str, object] = json.loads((out / "config.json").read_text())
    return config


def test_a_limit_in_minutes_is_planned_and_the_rate_is_next_to_nothing_at_its_last_step(tmp_path: Path) -> None:
    long = {"max_minutes": 0.05, "epochs": 10**6, "patience": 0}
    with pytest.raises(Interrupted):
        trained(tmp_path / "m", stop_at=4, **long)
    planned = stored(tmp_path / "m")["recipe"]["planned_steps"]  # type: ignore[index]
    assert planned > 20
    with pytest.raises(Interrupted):
        session.go_on(tmp_path / "m", TrainOptions(threads=1), listener=ignore, stop_at=8)
    assert stored(tmp_path / "m")["recipe"]["planned_steps"] == planned  # type: ignore[index]
    dragoman.train(reversed_words(60), out=tmp_path / "whole", options=options(**long))
    config, last = stored(tmp_path / "whole"), json.loads(_last_line(tmp_path / "whole"))
    ended = config["run"]["finished"]  # type: ignore[index]
    assert ended.endswith(" steps, by the limit of 0.05 minutes") or ended == "0.05 minutes"
    if "steps" in ended:
        assert last["learning_rate"] < 0.011 * config["recipe"]["learning_rate"]  # type: ignore[index]


def at_pace(monkeypatch: pytest.MonkeyPatch, *, step: float, tick: float) -> None:
    """The plan thinks that a step takes so many seconds, and between two looks at the clock so many pass."""
    ticks = itertools.count()
    monkeypatch.setattr(planning, "_timed", lambda *_: step)
    monkeypatch.setattr(planning, "_timed_update", lambda *_: 0.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: next(ticks) * tick))


@pytest.mark.parametrize("seconds", [0.3, 0.03])
def test_a_run_that_is_slower_or_faster_than_its_plan_ends_in_time_with_a_rate_next_to_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    at_pace(monkeypatch, step=0.1, tick=seconds)
    rates, train_on = [], Trainer._train_on
    monkeypatch.setattr(Trainer, "_train_on", lambda run, batches: train_on(run, batches) or rates.append(run.rate))
    limits = {"max_minutes": 0.2, "epochs": 10**6, "patience": 0, "eval_every": 10, "schedule": "linear"}
    limits |= {"warmup_steps": 2}
    with pytest.raises(Interrupted):
        trained(tmp_path / "m", stop_at=13, **limits)
    session.go_on(tmp_path / "m", TrainOptions(threads=1), listener=ignore)
    config, last = stored(tmp_path / "m"), json.loads(_last_line(tmp_path / "m"))
    planned = config["recipe"]["planned_steps"]  # type: ignore[index]
    assert planned > 80
    steps, ended = config["run"]["steps"], config["run"]["finished"]  # type: ignore[index]
    assert ended == f"{steps:,} steps, by the limit of 0.2 minutes"
    assert 0.9 * 12 < last["seconds"] < 1.1 * 12
    assert (steps < planned / 2) if seconds > 0.1 else (steps > 2 * planned)
    assert len(rates) == steps
    assert all(before > after for before, after in itertools.pairwise(rates[2:])), "it rises where the last step moves"
    assert last["learning_rate"] < 0.011 * config["recipe"]["learning_rate"]  # type: ignore[index]


def test_other_limits_forget_where_the_last_step_had_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_pace(monkeypatch, step=0.1, tick=0.3)
    with pytest.raises(Interrupted):
        trained(tmp_path / "m", stop_at=35, max_minutes=0.5, epochs=10**6, patience=0, eval_every=10)
    planned = stored(tmp_path / "m")["recipe"]["planned_steps"]  # type: ignore[index]
    assert 0 < read_progress(tmp_path / "m" / "training" / "last.safetensors")["last_step"] < planned
    longer = TrainOptions(threads=1, max_minutes=0.55)
    notes: list[Event] = []
    for given, stop_at in ((longer, 37), (TrainOptions(threads=1), 39)):
        with pytest.raises(Interrupted):
            session.go_on(tmp_path / "m", given, listener=notes.append, stop_at=stop_at)
        assert stored(tmp_path / "m")["recipe"]["planned_steps"] < planned  # type: ignore[index]
        # Later than where it had moved, if not than planned at first.
        assert sum(isinstance(note, Note) and "is higher now than before" in note.text for note in notes) == 1
        run = read_progress(tmp_path / "m" / "training" / "last.safetensors")
        assert (run["last_step"], run["anchor"], run["fallen"]) == (0, 0, 0)


def test_a_run_of_a_version_that_did_not_write_its_minutes_keeps_where_the_last_step_had_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run that was faster than its plan would end at once, when the first plan's steps are over."""
    at_pace(monkeypatch, step=1.0, tick=0.03)
    with pytest.raises(Interrupted):
        trained(tmp_path / "m", stop_at=35, max_minutes=0.5, epochs=10**6, patience=0, eval_every=10)
    planned = stored(tmp_path / "m")["recipe"]["planned_steps"]  # type: ignore[index]
    last = tmp_path / "m" / "training" / "last.safetensors"
    checkpoint = load_checkpoint(last)
    moved = checkpoint.progress.copy()
    assert planned < 35 < moved["last_step"]
    del checkpoint.progress["planned_minutes"]
    save_checkpoint(last, checkpoint)
    for stop_at in (37, 39):
        with pytest.raises(Interrupted):
            session.go_on(tmp_path / "m", TrainOptions(threads=1), listener=ignore, stop_at=stop_at)
        run = read_progress(last)
        assert all(run[name] == moved[name] for name in ("last_step", "anchor", "fallen", "planned_minutes"))


def test_more_minutes_for_the_same_steps_forget_where_too_few_had_moved_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epochs end both plans, but the first time the machine was too slow for them."""
    at_pace(monkeypatch, step=0.01, tick=1.0)
    config = trained(tmp_path / "m", max_minutes=0.5, max_steps=60, patience=0, eval_every=10)
    assert config["recipe"]["planned_steps"] == 60  # type: ignore[index]
    assert config["run"]["steps"] < 40  # type: ignore[index]
    dragoman.resume(tmp_path / "m", options=TrainOptions(threads=1, max_minutes=9))
    config, last = stored(tmp_path / "m"), json.loads(_last_line(tmp_path / "m"))
    assert config["recipe"]["planned_steps"] == config["run"]["steps"] == 60  # type: ignore[index]
    assert last["learning_rate"] < 0.011 * config["recipe"]["learning_rate"]  # type: ignore[index]


def _last_line(out: Path) -> str:
    return (out / "training" / "log.jsonl").read_text().splitlines()[-1]


def test_schedules_that_need_no_end_are_not_planned(tmp_path: Path) -> None:
    config = trained(tmp_path / "m", max_minutes=5, max_steps=4, schedule="inverse_sqrt")
    assert config["recipe"]["planned_steps"] is None  # type: ignore[index]


def test_a_resumed_run_with_another_limit_is_planned_anew(tmp_path: Path) -> None:
    notes: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    trained(tmp_path / "m", max_steps=10)
    dragoman.resume(tmp_path / "m", options=TrainOptions(max_steps=20, threads=1), listener=listen)
    assert stored(tmp_path / "m")["run"]["steps"] == 20  # type: ignore[index]
    assert any("is higher now than before" in note for note in notes)
    assert any(note.startswith("plan: at most 20 steps") for note in notes)
    took = [note for note in notes if note.startswith("took 20 steps in ") and "(planned: at most 20 in " in note]
    assert len(took) == 1
    assert f"\n- {took[0]}\n" in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")


def test_resuming_with_the_same_limits_changes_nothing(tmp_path: Path) -> None:
    trained(tmp_path / "m", max_steps=6)
    before = checkpoint(tmp_path / "m")
    dragoman.resume(tmp_path / "m", options=TrainOptions(threads=1, max_steps=6))
    assert same(before, checkpoint(tmp_path / "m"))


@pytest.mark.parametrize(
    ("free", "more"),
    [(20_000, {}), (5_000_000, {"batch_tokens": 10**6, "hidden_size": 64})],
    ids=["its weights alone", "with its largest batch"],
)
def test_what_cannot_fit_is_refused_with_advice_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, more: dict[str, object]
) -> None:
    monkeypatch.setattr(planning, "free_memory", lambda _: free)
    with pytest.raises(
        TrainingError, match=r"training needs about .* GB of memory, but 0\.0 GB are free: lower `batch_t"
    ):
        dragoman.train(reversed_words(2_000), out=tmp_path / "m", options=options(max_steps=4, **more))
    assert list(tmp_path.iterdir()) == []

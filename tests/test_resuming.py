"""Beginnings, ends and stops of a run where they are awkward: before the first step, in the warm-up, while scoring."""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_training import checkpoint, options, reversed_words

import dragoman
from dragoman.cli import main
from dragoman.config import TrainOptions
from dragoman.errors import DataError, Interrupted, OptionError, StorageError, TrainingError
from dragoman.places import claim, placed
from dragoman.training import clock, planning, scoring, session, trainer
from dragoman.training.checkpoint import load_tensors, read_progress, save_tensors
from dragoman.training.events import Evaluated, Event, Note, Progress, ignore
from dragoman.training.interrupt import stop_on_interrupt, terminated_as_interrupted
from dragoman.training.limits import check_new_limits
from dragoman.training.processes import Processes
from dragoman.training.recipe import DataSummary, choose
from dragoman.training.schedule import Schedule

STILL = {"optimizer": "sgd", "learning_rate": 1e-12, "warmup_steps": 0, "average_decay": 0.0, "max_steps": 1}
WILD = {"optimizer": "sgd", "learning_rate": 1e30, "clip_norm": 0.0, "warmup_steps": 0, "schedule": "constant"}


@pytest.fixture
def slow_evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock on which a step takes 0.1 s, an evaluation 2 s, and nothing else any time."""
    now = [0.0]

    def taking(seconds: float, original: Callable[..., Any]) -> Callable[..., Any]:
        def do(*given: Any) -> Any:
            now[0] += seconds
            return original(*given)

        return do

    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(planning, "_timed", lambda *_: 0.1)
    monkeypatch.setattr(planning, "_timed_update", lambda *_: 0.0)
    monkeypatch.setattr(scoring.Evaluator, "__call__", taking(2.0, scoring.Evaluator.__call__))
    monkeypatch.setattr(scoring.Evaluator, "expected_seconds", lambda *_: 2.0)
    monkeypatch.setattr(trainer.Trainer, "_train_on", taking(0.1, trainer.Trainer._train_on))


@pytest.mark.usefixtures("slow_evaluations")
def test_a_stop_shortly_before_an_evaluation_does_not_shorten_a_limit_in_minutes(tmp_path: Path) -> None:
    """The pace is that since the last evaluation, whichever session that was in."""
    limits = options(max_minutes=0.4, epochs=10**6, patience=0, eval_every=40)
    pairs, ended = reversed_words(200), []
    for at in (None, 39, 78, 81):
        out = tmp_path / f"{at}"
        try:
            session.start(pairs, out, limits, overwrite=False, listener=ignore, command=None, stop_at=at)
        except Interrupted:
            session.go_on(out, TrainOptions(threads=1, device="cpu"), listener=ignore)
        ended.append(read_progress(out / "training/last.safetensors"))
    straight, *stopped = ended
    assert straight["step"] > 100
    rates, *others = ([row["learning_rate"] for row in run["history"] if row["step"] in (40, 80, 120)] for run in ended)
    for run, other in zip(stopped, others, strict=True):
        assert run["step"] == pytest.approx(straight["step"], abs=3)
        assert other == pytest.approx(rates, rel=0.1)


@pytest.mark.usefixtures("slow_evaluations")
def test_the_speed_since_an_evaluation_counts_the_session_before_too(tmp_path: Path) -> None:
    limits = options(max_steps=20, eval_every=10)
    with pytest.raises(Interrupted):
        session.start(
            reversed_words(200), tmp_path / "m", limits, overwrite=False, listener=ignore, command=None, stop_at=19
        )
    session.go_on(tmp_path / "m", TrainOptions(threads=1, device="cpu"), listener=ignore)
    history = read_progress(tmp_path / "m/training/last.safetensors")["history"]
    straight, stopped = (row["tokens_per_second"] for row in history)
    assert stopped == pytest.approx(straight, rel=0.1)


@pytest.mark.usefixtures("slow_evaluations")
def test_waiting_for_the_other_processes_to_begin_takes_no_time_of_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, original = [0.0], Processes.sum

    def first_waiting(self: Processes, *values: float) -> list[float]:
        now[0] = now[0] or 60.0
        return original(self, *values)

    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(trainer.Trainer, "resume", lambda _: monkeypatch.setattr(Processes, "sum", first_waiting))
    made = dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=1, max_minutes=1))
    assert now == [60.0]
    assert made.config["run"]["seconds"] == 0
    assert made.config["run"]["finished"] == "1 step"


def clocked(
    monkeypatch: pytest.MonkeyPatch, run: trainer.Run, **recipe: object
) -> tuple[list[float], Any, clock.Clock]:
    """A time that stands still unless it is moved, a trainer that keeps what it is told to do, and the clock of its run."""
    now, done = [100.0], []
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now[0]))
    limits = SimpleNamespace(**{"max_minutes": None} | recipe)
    told = SimpleNamespace(
        recipe=limits,
        last_step=100,
        epochs_done=1.5,
        rate=0.25,
        listener=done.append,
        save=lambda: done.append("saved"),
    )
    told.done = done
    return now, told, clock.Clock(run)


def test_progress_is_of_the_time_since_the_last_report_and_of_the_limit_that_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = trainer.Run(step=9, loss_sum=50.0, loss_tokens=10, seconds=30.0)  # of which a session before knows
    now, told, watch = clocked(monkeypatch, run, max_minutes=2)
    run.step, run.loss_sum, run.loss_tokens = 10, 56.0, 14
    now[0] += clock.REPORT_SECONDS / 2
    watch.report(told)
    assert told.done == []  # not yet
    now[0] += 10 - clock.REPORT_SECONDS / 2
    watch.report(told)
    assert told.done == [Progress(10, 1.5, 40 / 120, 6 / 4, 4 / 10, 0.25, 40.0, 80.0)]

    run.step, run.loss_sum, run.loss_tokens = 50, 57.0, 16
    now[0] += 10
    watch.report(told)  # half of the steps took 50 seconds, so they end before the minutes do
    assert told.done[1:] == [Progress(50, 1.5, 0.5, 1 / 2, 2 / 10, 0.25, 50.0, 50.0)]
    run.step = 51
    now[0] += 10
    watch.report(told)
    assert len(told.done) == 2  # nothing was learned from, of which there is a mean


@pytest.mark.parametrize(("step", "left"), [(19, None), (20, 40.0), (100, 0.0)])
def test_the_time_left_is_told_once_twenty_steps_have_shown_the_speed(
    step: int, left: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer.Run()
    now, told, watch = clocked(monkeypatch, run)
    run.step, run.loss_tokens = step, 1
    now[0] += 10
    watch.report(told)
    assert (told.done[0].share, told.done[0].seconds_left) == (step / 100, left)


def test_of_a_run_past_its_limit_no_more_than_all_is_done_and_no_time_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer.Run()
    now, told, watch = clocked(monkeypatch, run, max_minutes=1)
    run.step, run.loss_tokens = 5, 1
    now[0] += 61
    watch.report(told)
    assert (told.done[0].share, told.done[0].seconds_left) == (1.0, 0.0)


def test_a_run_is_saved_every_two_minutes_and_the_time_that_takes_is_in_no_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = trainer.Run()
    now, told, watch = clocked(monkeypatch, run)
    told.listener = lambda _: None
    told.save = lambda: (told.done.append(run.seconds), now.__setitem__(0, now[0] + 50))
    for step in range(1, 302):  # one second each
        run.step, run.loss_tokens, run.loss_sum = step, step * 3, float(step)
        now[0] += 1
        watch.report(told)
    assert told.done == [121.0, 121.0 + 50 + 121]  # what counts as the time of training is saved with the run
    seen: list[Progress] = []
    told.listener = seen.append
    watch.saved(told)
    run.step, run.loss_tokens, run.loss_sum = 302, 302 * 3, 302.0
    now[0] += 1
    watch.report(told)
    assert (seen[0].tokens_per_second, seen[0].loss) == (3.0, 1 / 3)


@pytest.mark.parametrize(("before", "seconds"), [(0, 10.0), (12, 60.0)])
def test_a_save_before_the_first_step_is_in_no_speed(
    before: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer.Run(loss_tokens=before)
    now, told, watch = clocked(monkeypatch, run)
    told.save = lambda: now.__setitem__(0, now[0] + 50)
    watch.saved(told)
    now[0] += 10
    run.loss_tokens += 18
    assert watch.speed_since_assessment() == (before + 18) / seconds


def test_a_landing_has_the_time_left_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Event] = []
    monkeypatch.setattr(clock, "REPORT_SECONDS", 0)  # after every step, however fast the machine
    still = options(max_steps=1000, patience=3, eval_every=10, optimizer="sgd", learning_rate=1e-9)
    session.start(
        reversed_words(200), tmp_path / "m", still, overwrite=False, listener=seen.append, command=None
    )  # 40 steps, and a fifth of them to land
    before, after = (
        [event for event in seen if isinstance(event, Progress) and (event.step > 40) == landing]
        for landing in (False, True)
    )
    assert before[-1].share < 0.1
    assert [event.share for event in after] == [event.step / 48 for event in after]
    assert all(event.seconds_left is not None and event.seconds_left < 4 for event in after)


def test_a_run_that_was_killed_before_its_first_step_begins_with_the_weights_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dragoman.train(reversed_words(60), out=tmp_path / "earlier", options=options(max_steps=3))
    again = options(from_model=str(tmp_path / "earlier"), hidden_size=None, embedding_size=None, layers=None, **STILL)
    again = TrainOptions(
        **{name: value for name, value in again.model_dump(exclude_unset=True).items() if value is not None}
    )
    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "resume", killed)
        with pytest.raises(KeyboardInterrupt):
            dragoman.train(reversed_words(60), out=tmp_path / "m", options=again)
    dragoman.resume(tmp_path / "m")
    before, after = (dragoman.load(tmp_path / name, engine="torch").model for name in ("earlier", "m"))
    assert before is not None
    assert after is not None
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-7)


def killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_without_a_checkpoint_nothing_is_resumed(tmp_path: Path) -> None:
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=3))
    (tmp_path / "m/training/last.safetensors").unlink()
    with pytest.raises(StorageError, match=r"m cannot be resumed: it has no training/last\.safetensors"):
        dragoman.resume(tmp_path / "m", options=TrainOptions(max_steps=9))


def damaged(kind: str, tensors: dict[str, torch.Tensor], progress: dict[str, Any]) -> object:
    """Changes a checkpoint in place, or returns what takes the place of its progress."""
    adam = [name for name in tensors if name.startswith("optimizer/decoder.output")]
    if kind == "no number of steps":
        del progress["step"]
    if kind == "a list":
        return [1]
    if kind == "another part":
        tensors["other/name"] = torch.zeros(1)
    if kind == "another parameter":
        tensors["optimizer/nobody/exp_avg"] = tensors.pop(adam[0])
    if kind == "half of a state":
        del tensors[next(name for name in adam if name.endswith("exp_avg"))]
    for part in ("optimizer", "average"):
        if kind == f"no {part}":
            for name in [name for name in tensors if name.startswith(part)]:
                del tensors[name]
    if kind == "no state of one":
        for name in adam:
            del tensors[name]
    if kind == "no average of one":
        del tensors["average/decoder.output.bias"]
    for part in ("optimizer", "average", "weights"):
        if kind == f"{part} of another shape":
            name = next(name for name, value in tensors.items() if name.startswith(part) and value.dim() == 2)
            tensors[name] = tensors[name][:1].clone()
    return progress


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no number of steps", "is no checkpoint of dragoman"),
        ("a list", "is no checkpoint of dragoman"),
        ("another part", "is no checkpoint of dragoman"),
        ("another parameter", r"does not fit the configuration beside it \(first at nobody/exp_avg\)"),
        ("half of a state", "lacks a part of the optimiser's state of decoder"),
        ("no state of one", r"lacks the optimiser's state of decoder\.output"),
        ("no average of one", r"lacks the average of decoder\.output\.bias"),
        ("no optimizer", r"lacks the optimiser's state of \w+coder\."),
        ("no average", r"lacks the average of \w+coder\."),
        ("optimizer of another shape", r"does not fit the configuration beside it \(first at .*/exp_avg\)"),
        ("average of another shape", r"does not fit the configuration beside it \(first at \w+coder\."),
        ("weights of another shape", r"does not fit the configuration beside it \(first at \w+coder\."),
    ],
)
def test_a_checkpoint_that_is_not_of_this_run_is_named_in_one_line(
    kind: str, message: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "m"))
    last = model / "training/last.safetensors"
    tensors = load_file(last)
    progress = damaged(kind, tensors, read_progress(last))
    save_file(tensors, last, {"progress": json.dumps(progress)})
    before = everything(model)
    assert main(["train", "--resume", str(model), "--max-steps", "3", "--threads", "1", "--device", "cpu"]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(said) == 1
    assert re.search(rf"^dragoman: error: {last} {message}", said[0])
    assert everything(model) == before


def test_a_checkpoint_has_as_many_copies_for_the_average_as_there_were_evaluations(tmp_path: Path) -> None:
    """At most as many as are averaged; what is kept of none is nothing."""
    out, last = tmp_path / "m", tmp_path / "m/training/last.safetensors"
    run = options(average_checkpoints=2, average_decay=None, eval_every=2, max_steps=9)
    with pytest.raises(Interrupted):
        session.start(reversed_words(60), out, run, overwrite=False, listener=ignore, command=None, stop_at=1)
    for step, copies in ((1, 0), (3, 1), (7, 2)):
        with pytest.raises(Interrupted):
            session.go_on(out, TrainOptions(threads=1, device="cpu"), listener=ignore, stop_at=step)
        tensors = load_file(last)
        numbers = {name.split("/")[1] for name in tensors if name.startswith("average/")}
        assert numbers == {str(number) for number in range(copies)}
    newest = {name: value for name, value in tensors.items() if not name.startswith("average/1/")}
    save_file(newest, last, {"progress": json.dumps(read_progress(last))})
    with pytest.raises(StorageError, match=r"last\.safetensors lacks the average of 1/\w+coder\."):
        dragoman.resume(out)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 32}, r"last\.safetensors does not fit the configuration beside it \(first at encoder\."),
        ({"encoder_layers": 2}, r"last\.safetensors does not fit the configuration beside it \(first at encoder\."),
        ({"hidden_size": 2**24}, r"last\.safetensors does not fit the configuration beside it \(first at encoder\."),
        (
            {"hidden_size": -3},
            r"config\.json describes no model of this version: hidden_size must be greater than zero",
        ),
        ({"tie_embeddings": "both"}, r"config\.json describes no model of this version: unknown tying both"),
        (
            {"dropout": 2},
            r"config\.json describes no model of this version: a dropout must be from 0 to below 1, but is 2",
        ),
        ({"dropout": None}, r"config\.json describes no model of this version: .*not supported between"),
        ({"cell": "best"}, r"config\.json describes no model of this version: Unknown nonlinearity 'best'"),
        ({"heads": 3}, r"config\.json describes no model of this version: .* unexpected keyword argument 'heads'"),
    ],
)
def test_an_architecture_that_does_not_fit_the_weights_is_found_before_anything_is_written(
    change: dict[str, Any], message: str, trained: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "m"))
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["architecture"] |= change
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    before = everything(model)
    with pytest.raises(StorageError, match=message):
        dragoman.resume(model, options=TrainOptions(max_steps=4, threads=1, device="cpu"))
    assert everything(model) == before


def test_the_card_says_which_limits_a_run_had_from_which_step_on(tmp_path: Path) -> None:
    """The options that it began with, and the command, are those of its first steps only."""
    out = tmp_path / "m"
    run = options(max_steps=4, epochs=90)
    session.start(reversed_words(60), out, run, overwrite=False, listener=ignore, command=None)
    began = [line for line in (out / "README.md").read_text(encoding="utf-8").splitlines() if "max_steps=4" in line]
    for limits in ({"max_steps": 6}, {}, {"max_steps": 7, "epochs": 90, "patience": 30}):
        session.go_on(out, TrainOptions(**limits, threads=1, device="cpu"), listener=ignore)  # type: ignore[arg-type]
    card = (out / "README.md").read_text(encoding="utf-8").splitlines()
    place = card.index(began[0])
    assert card[place + 1 : -1] == ["- from step 4 on: `max_steps=6`", "- from step 6 on: `max_steps=7, patience=30`"]


def test_tensors_that_share_memory_are_saved_apart(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    save_tensors(tmp_path / "t.safetensors", {"all": whole, "again": whole, "part": whole[:2]}, {"a": "b"})
    found, metadata = load_tensors(tmp_path / "t.safetensors")
    assert metadata == {"a": "b"}
    assert {name: value.tolist() for name, value in found.items()} == {
        "all": [0, 1, 2, 3, 4, 5],
        "again": [0, 1, 2, 3, 4, 5],
        "part": [0, 1],
    }


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Signals do what they do in a terminal: what runs in the background ignores SIGINT, and under `nohup` SIGHUP."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in zip((signal.SIGINT, signal.SIGHUP), before, strict=True):
        signal.signal(number, handler)


def test_a_signal_handler_that_is_not_pythons_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with monkeypatch.context() as patched:
        patched.setattr(signal, "getsignal", lambda _: None)  # what it says of a handler of C's
        with stop_on_interrupt():
            patched.undo()
            assert {number: signal.getsignal(number) for number in handlers} == handlers


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_to_stop_and_the_second_stops(first: signal.Signals, second: signal.Signals) -> None:
    with terminated_as_interrupted():
        outside = {number: signal.getsignal(number) for number in (first, second)}
        with stop_on_interrupt() as request:
            assert not request()
            os.kill(os.getpid(), first)
            assert request()
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), second)
        with stop_on_interrupt():
            pass
        assert {number: signal.getsignal(number) for number in (first, second)} == outside
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_signals_belong_to_the_main_thread_and_to_who_already_waits_for_them() -> None:
    seen: list[object] = []

    def elsewhere() -> None:
        with terminated_as_interrupted(), stop_on_interrupt() as request:
            seen.extend([request(), signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [False, signal.SIG_DFL]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with terminated_as_interrupted():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_closed_terminal_does_not_stop_what_nohup_began() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_as_interrupted(), stop_on_interrupt() as request:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not request()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_scoring_stops_and_resuming_scores(number: signal.Signals, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("scoring dev"):
            os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    try:
        with pytest.raises(
            Interrupted, match=r"before everything was scored; go on with: dragoman train --resume .*m$"
        ):
            dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=3), listener=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    kept = checkpoint(tmp_path / "m")
    dragoman.resume(tmp_path / "m")
    after = checkpoint(tmp_path / "m")
    assert all(torch.equal(value, after[name]) for name, value in kept.items())
    assert dragoman.load(tmp_path / "m").config["scores"]["dev"]["items"] > 0


def test_an_interrupt_during_the_last_evaluation_stops_too(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Evaluated):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"before everything was scored; go on with: dragoman train --resume .*m$"):
        dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=3), listener=interrupt)


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_stops_at_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Evaluated):
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)

    short = options(max_steps=6, eval_every=3)
    with pytest.raises(Interrupted, match=r"^stopped at once, .*; go on with: dragoman train --resume .*m$"):
        dragoman.train(reversed_words(60), out=tmp_path / "m", options=short, listener=interrupt)
    dragoman.resume(tmp_path / "m")
    dragoman.train(reversed_words(60), out=tmp_path / "straight", options=short)
    one, other = checkpoint(tmp_path / "m"), checkpoint(tmp_path / "straight")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_training_that_is_terminated_before_its_first_step_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(event: Event) -> None:
        if isinstance(event, Note) and event.text.startswith("plan:"):
            os.kill(os.getpid(), signal.SIGTERM)

    temporary, models = tmp_path / "temporary", tmp_path / "models"
    temporary.mkdir()
    models.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    for out in (models / "m", None):
        with pytest.raises(KeyboardInterrupt):
            dragoman.train(reversed_words(20), out=out, options=options(max_steps=3), listener=terminate)
        assert [*models.iterdir(), *temporary.glob("dragoman-*")] == []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("metric", ["loss", "exact_match"])
def test_what_has_diverged_is_never_kept(metric: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"the loss .* at step 1: lower `learning_rate`"):
        dragoman.train(
            reversed_words(60),
            out=tmp_path / "m",
            options=options(metric=metric, eval_every=1, average_decay=0.0, **WILD),
        )
    assert not (tmp_path / "m/model.safetensors").exists()
    kept = checkpoint(tmp_path / "m")
    assert max(float(value.abs().max()) for name, value in kept.items() if name.startswith("weights/")) < 1e3


def test_held_out_sources_that_are_too_long_are_left_out_of_decoding_too(tmp_path: Path) -> None:
    long = " ".join("abcdefgh" * 160)
    rows = [*reversed_words(8, seed=2), (long, "a b")]
    for name in ("dev", "test"):
        (tmp_path / f"{name}.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in rows), encoding="utf-8")
    seen: list[Event] = []
    held_out = {"dev": (str(tmp_path / "dev.tsv"),), "test": (str(tmp_path / "test.tsv"),)}
    made = dragoman.train(
        reversed_words(60), out=tmp_path / "m", options=options(max_steps=1, **held_out), listener=seen.append
    )
    notes = [event.text for event in seen if isinstance(event, Note) and event.warning]
    assert "left out 1 dev pair of more than 1,000 tokens" in notes
    assert "left out 1 test source of more than 1,000 tokens" in notes
    assert [made.config["scores"][name]["items"] for name in ("dev", "test")] == [8, 8]
    (tmp_path / "test.tsv").write_text(f"{long}\ta b\n", encoding="utf-8")
    with pytest.raises(DataError, match="no test pair is left"):
        dragoman.train(reversed_words(60), out=tmp_path / "n", options=options(max_steps=1, **held_out))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("step", [50, 120])
@pytest.mark.parametrize("total", [300, 5000])
def test_a_last_step_that_moves_makes_no_jump_in_the_warm_up(kind: str, step: int, total: int) -> None:
    before = Schedule(kind, 1.0, warmup=100, total=500)
    moved = before.moved(step, total)
    rates = [
        *(before.rate(place) for place in range(1, step + 1)),
        *(moved.rate(place) for place in range(step + 1, total)),
    ]
    assert max(abs(one - other) for one, other in itertools.pairwise(rates)) < 0.02


def test_the_warm_up_is_a_fifth_of_the_plan_at_most_and_stays_as_it_was(tmp_path: Path) -> None:
    seen: list[float] = []
    dragoman.train(
        reversed_words(60),
        out=tmp_path / "m",
        options=options(max_steps=20, warmup_steps=400, eval_every=1),
        listener=lambda event: seen.append(event.learning_rate) if hasattr(event, "dev_loss") else None,
    )
    assert seen.index(max(seen)) == 3  # the fourth of twenty


def test_only_a_later_end_is_said_to_make_the_rate_rise(tmp_path: Path) -> None:
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=10))
    with pytest.raises(Interrupted):
        session.go_on(tmp_path / "m", TrainOptions(max_steps=30), listener=ignore, stop_at=12)
    for more, expected in (({"patience": 30}, False), ({"max_steps": 35}, True), ({"max_steps": 20}, False)):
        seen: list[Event] = []
        with pytest.raises(Interrupted):
            session.go_on(tmp_path / "m", TrainOptions(**more), listener=seen.append, stop_at=12)  # type: ignore[arg-type]
        assert any(isinstance(event, Note) and "is higher now" in event.text for event in seen) == expected, more


def test_values_that_are_not_set_are_not_given(tmp_path: Path) -> None:
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=3))
    dragoman.resume(tmp_path / "m", options=TrainOptions(epochs=None, max_steps=4))
    with pytest.raises(OptionError, match="`max_minutes` must be a finite number, but is inf"):
        TrainOptions(max_minutes=float("inf"))


def test_embeddings_are_frozen_only_with_vectors_and_both_where_they_are_one(tmp_path: Path) -> None:
    for side in ("source", "target"):
        with pytest.raises(OptionError, match=f"`freeze_{side}_vectors` needs `{side}_vectors`"):
            dragoman.train(reversed_words(9), out=tmp_path / "m", options=options(**{f"freeze_{side}_vectors": True}))
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("".join(f"{letter} {' '.join(['0.5'] * 8)}\n" for letter in "abcdefgh"), encoding="utf-8")
    given = {"source_vectors": str(vectors), "target_vectors": str(vectors), "shared_vocabulary": True}
    with pytest.raises(OptionError, match="must be the same while `tie_embeddings` is all"):
        dragoman.train(
            reversed_words(60),
            out=tmp_path / "m",
            options=options(**given, tie_embeddings="all", freeze_source_vectors=True, max_steps=1),
        )
    assert not (tmp_path / "m").exists()


def test_a_model_may_take_the_place_of_an_empty_folder_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    dragoman.train(reversed_words(60), out=tmp_path / "link", options=options(max_steps=1))
    assert (tmp_path / "there/model.safetensors").exists()
    assert (tmp_path / "link").is_symlink()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(StorageError, match="here is the current directory, which cannot be replaced"):
        dragoman.train(reversed_words(60), out=Path(), options=options(max_steps=1))


def test_what_a_batch_keeps_is_not_measured_on_one_that_is_next_to_nothing() -> None:
    """What does not depend on the size of a batch would count as often as the largest is larger."""
    from test_objective import batch_of, build, pairs

    model = build(source_vocab_size=4000, target_vocab_size=4000, hidden_size=64).float().train()
    data, recipe = pairs(60), planning_recipe()
    full = batch_of(data, range(60))
    alone = planning._bytes_of_activations(model, recipe, [full, full, full])
    beside = planning._bytes_of_activations(model, recipe, [batch_of(data, [0]), full, full])
    assert beside == pytest.approx(alone, rel=0.1)


def planning_recipe() -> Any:
    from dragoman.training.recipe import DataSummary, choose

    summary = DataSummary(pairs=60, kind="text", unspaced=False, shared_vocabulary=False, target_tokens=5.0)
    return choose(TrainOptions(precision="float32"), summary)[0]


def test_a_model_in_training_is_trained_and_replaced_by_nobody_else(tmp_path: Path) -> None:
    """Two runs in one directory would write their checkpoints, weights and configuration over each other's."""
    out, pairs, limits = tmp_path / "model", reversed_words(40), options(max_steps=2, eval_every=1)
    refused: list[str] = []

    def meddle(event: Event) -> None:
        if not isinstance(event, Evaluated):
            return
        with pytest.raises(StorageError, match="model is being trained by another process") as resumed:
            session.go_on(out, TrainOptions(threads=1, device="cpu"), listener=ignore)
        with pytest.raises(StorageError, match="model is being trained by another process") as replaced:
            session.start(pairs, out, limits, overwrite=True, listener=ignore, command=None)
        refused.extend(str(caught.value) for caught in (resumed, replaced))

    session.start(pairs, out, limits, overwrite=False, listener=meddle, command=None)
    assert len(refused) == 4
    assert not out.with_name("model.old").exists()
    claim(out, overwrite=True)  # it is over
    assert out.with_name("model.old").exists()


def test_a_model_is_kept_from_others_from_the_moment_that_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "model"
    refused: list[StorageError] = []

    @contextmanager
    def placed_beside_another(path: Path, *, overwrite: bool) -> Iterator[Path]:
        with placed(path, overwrite=overwrite) as folder:
            yield folder
        with pytest.raises(StorageError, match="is being trained by another process") as caught:
            claim(path, overwrite=True)
        refused.append(caught.value)

    monkeypatch.setattr(session, "placed", placed_beside_another)
    session.start(reversed_words(40), out, options(max_steps=1), overwrite=False, listener=ignore, command=None)
    assert refused


def test_of_two_models_that_get_a_name_at_once_the_second_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim_beside_another(path: Path, *, overwrite: bool) -> None:
        claim(path, overwrite=overwrite)
        (path / "config.json").touch()

    monkeypatch.setattr("dragoman.places.claim", claim_beside_another)
    refused = pytest.raises(StorageError, match="model was made by another process meanwhile; choose another `out`")
    with refused, placed(tmp_path / "model", overwrite=True):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "config.json"]


def test_what_a_killed_run_had_half_written_is_removed_by_the_next(tmp_path: Path) -> None:
    out, limits = tmp_path / "m", options(max_steps=4)
    with pytest.raises(Interrupted):
        session.start(reversed_words(40), out, limits, overwrite=False, listener=ignore, command=None, stop_at=1)
    names = [
        "model.safetensors",
        "config.json",
        "README.md",
        "training.svg",
        "training/last.safetensors",
        "training/log.jsonl",
    ]
    halves = [(out / name).with_name(f".{Path(name).name}.123.tmp") for name in names]
    foreign = out / ".notes.tmp"
    for half in (*halves, foreign):
        half.write_bytes(b"half")
    with pytest.raises(Interrupted):
        session.go_on(out, TrainOptions(threads=1, device="cpu"), listener=ignore, stop_at=2)
    assert not any(half.exists() for half in halves)
    assert foreign.exists()


def test_a_disk_that_fills_up_in_training_is_said_with_how_to_go_on(tmp_path: Path) -> None:
    out, before = tmp_path / "m", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(event: Event) -> None:
        if isinstance(event, Evaluated):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))

    try:
        with pytest.raises(
            StorageError, match=r"m cannot be written: file too large; .*go on with: dragoman train --resume"
        ):
            session.start(reversed_words(40), out, options(max_steps=2), overwrite=False, listener=fill, command=None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    with pytest.raises(Interrupted):
        session.go_on(out, TrainOptions(threads=1, device="cpu"), listener=ignore, stop_at=1)


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its content and when it was written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_finished_model_changes_only_if_a_limit_that_ended_it_is_raised(tmp_path: Path) -> None:
    out, machine = tmp_path / "m", {"threads": 1, "device": "cpu"}
    dragoman.train(reversed_words(60), out=out, options=options(max_steps=8))
    before = everything(out)
    for limits in ({}, {"max_steps": 8}):
        seen: list[Event] = []
        dragoman.resume(out, options=TrainOptions(**machine, **limits), listener=seen.append)  # type: ignore[arg-type]
        assert seen == [Note(f"the training at {out} is finished (8 steps): it goes on only with a higher limit")]
    for limits, wrong in (
        ({"max_steps": 7}, r"`max_steps` is 7, but the run at .*m has had 8 steps already: give more"),
        ({"epochs": 1}, r"`epochs` is 1, but the run at .*m has had 1\.\d\d epochs already: give more"),
        ({"max_minutes": 1e-9}, r"`max_minutes` is 1e-09, but the run at .*m has had .* minutes already: give more"),
        ({"patience": 30}, r"the run at .*m ended with 8 steps: to go on, raise `max_steps` too"),
        ({"epochs": 9_999}, r"the run at .*m ended with 8 steps: to go on, raise `max_steps` too"),
    ):
        with pytest.raises(OptionError, match=wrong):
            dragoman.resume(out, options=TrainOptions(**machine, **limits))  # type: ignore[arg-type]
    assert everything(out) == before


def test_a_limit_that_is_too_low_is_named_to_its_last_digit() -> None:
    recipe, _ = choose(
        TrainOptions(), DataSummary(10_000, "text", unspaced=False, shared_vocabulary=True, target_tokens=9)
    )
    given = replace(recipe, max_steps=1_234_567)
    with pytest.raises(OptionError, match="`max_steps` is 1,234,567, but the run at m has had 2,000,000 steps already"):
        check_new_limits(Path("m"), recipe, given, trainer.Run(step=2_000_000), batches_per_epoch=10)


def test_a_stopped_run_may_be_ended_where_it_stands_but_not_before(tmp_path: Path) -> None:
    out = tmp_path / "m"
    with pytest.raises(Interrupted):
        session.start(
            reversed_words(60), out, options(max_steps=9), overwrite=False, listener=ignore, command=None, stop_at=5
        )
    with pytest.raises(OptionError, match=r"`max_steps` is 4, but the run at .*m has had 5 steps already"):
        dragoman.resume(out, options=TrainOptions(max_steps=4))
    assert dragoman.resume(out, options=TrainOptions(max_steps=5)).config["run"]["steps"] == 5


def test_a_run_that_its_epochs_ended_goes_on_with_more_of_them_whatever_time_is_left(tmp_path: Path) -> None:
    out = tmp_path / "m"
    made = dragoman.train(reversed_words(60), out=out, options=options(epochs=1, max_minutes=9))
    assert made.config["recipe"]["planned_steps"] == made.config["run"]["steps"]
    assert made.config["run"]["finished"] == "1 epoch"
    with pytest.raises(OptionError, match="to go on, raise `epochs` too"):
        dragoman.resume(out, options=TrainOptions(max_minutes=12))
    assert dragoman.resume(out, options=TrainOptions(epochs=2)).config["run"]["epochs"] == 2


def test_a_run_that_lost_its_patience_goes_on_with_more_of_it_whatever_time_is_left() -> None:
    given = options(epochs=30, max_minutes=9, patience=3)
    stored, _ = choose(given, DataSummary(60, "text", unspaced=False, shared_vocabulary=False, target_tokens=5.0))
    over = {"finished": "no better dev score in 3 evaluations", "landing": 20, "landing_patience": 3}
    run = trainer.Run(step=24, epoch=2, seconds=60.0, **over)  # type: ignore[arg-type]
    for more in (6, 0):
        check_new_limits(Path("m"), stored, replace(stored, patience=more), run, batches_per_epoch=10)
    for other in (replace(stored, patience=2), replace(stored, max_minutes=12)):
        with pytest.raises(OptionError, match="to go on, raise `patience` too"):
            check_new_limits(Path("m"), stored, other, run, batches_per_epoch=10)


def test_a_run_that_is_landing_goes_on_landing_with_less_patience(tmp_path: Path) -> None:
    still = options(max_steps=1000, optimizer="sgd", learning_rate=1e-9, patience=3, schedule="linear")
    with pytest.raises(Interrupted):
        session.start(reversed_words(60), tmp_path, still, overwrite=False, listener=ignore, command=None, stop_at=22)
    resumed = dragoman.resume(tmp_path, options=TrainOptions(threads=1, patience=2))
    assert resumed.config["run"]["steps"] == 24  # it began at 20


def test_epochs_of_fewer_batches_than_the_first_end_a_run_all_the_same() -> None:
    path, given = Path("m"), options(epochs=3, max_minutes=9)
    stored, _ = choose(given, DataSummary(60, "text", unspaced=False, shared_vocabulary=False, target_tokens=5.0))
    run = trainer.Run(step=29, epoch=3, seconds=60.0, finished="3 epochs")  # 30 by the batches of the first
    check_new_limits(path, stored, replace(stored, epochs=4), run, batches_per_epoch=10)
    with pytest.raises(OptionError, match="to go on, raise `epochs` too"):
        check_new_limits(path, stored, replace(stored, max_minutes=12), run, batches_per_epoch=10)


def test_epochs_of_more_batches_than_the_first_want_more_of_them_and_that_is_said() -> None:
    given = options(epochs=10)
    stored, _ = choose(given, DataSummary(60, "text", unspaced=False, shared_vocabulary=False, target_tokens=5.0))
    run = trainer.Run(step=37, epoch=10, finished="10 epochs")  # 30 by the batches of the first
    check_new_limits(Path("m"), stored, replace(stored, epochs=13), run, batches_per_epoch=3)
    with pytest.raises(OptionError, match=r"`epochs` is 11, which comes to about 33 steps, .* has had 37 already"):
        check_new_limits(Path("m"), stored, replace(stored, epochs=11), run, batches_per_epoch=3)


def test_what_is_said_of_an_end_is_not_said_of_a_run_that_goes_on(tmp_path: Path) -> None:
    """Its scores are those of weights that are soon replaced."""
    out = tmp_path / "m"
    made = dragoman.train(reversed_words(60), out=out, options=options(max_steps=4))
    assert made.config["scores"]
    assert "ended by: 4 steps" in (out / "README.md").read_text(encoding="utf-8")
    with pytest.raises(Interrupted):
        session.go_on(out, TrainOptions(max_steps=9, threads=1), listener=ignore, stop_at=6)
    stopped = dragoman.load(out, engine="torch").config
    assert (stopped["scores"], stopped["run"]) == ({}, {})
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "training was stopped before it was scored" in card
    assert "ended by" not in card
    with pytest.raises(StorageError, match="go on with it"):  # as of every run that was stopped
        dragoman.train(reversed_words(60), out=out, options=options(max_steps=4))


def test_graphs_that_a_kill_prevented_are_made_by_resuming(tmp_path: Path) -> None:
    out = tmp_path / "m"
    dragoman.train(reversed_words(60), out=out, options=options(max_steps=2))
    (out / "onnx/graphs.json").unlink()
    assert dragoman.resume(out).engine == "onnx"
    assert (out / "onnx/graphs.json").exists()


def test_an_option_that_conflicts_is_named_as_its_user_wrote_it(tmp_path: Path) -> None:
    out = tmp_path / "m"
    dragoman.train(reversed_words(60), out=out, options=options(max_steps=1))
    with pytest.raises(
        OptionError, match=r"`test` was not given to the run at .*m, but a\.tsv b\.tsv was given: leave"
    ):
        dragoman.resume(out, options=TrainOptions(test=("a.tsv", "b.tsv")))


def test_what_cannot_be_resumed_is_said_in_one_line(tmp_path: Path) -> None:
    """Such as a folder that was copied in part, or a configuration that was edited."""
    out = tmp_path / "m"
    with pytest.raises(Interrupted):
        session.start(
            reversed_words(40), out, options(max_steps=3), overwrite=False, listener=ignore, command=None, stop_at=1
        )
    file, config = out / "training/data/texts.json", out / "config.json"
    whole, known = file.read_text(encoding="utf-8"), json.loads(config.read_text(encoding="utf-8"))
    for damage in (whole[:100], "[]", '{"test": null}'):
        file.write_text(damage, encoding="utf-8")
        with pytest.raises(StorageError, match=r"texts\.json is missing or damaged: "):
            dragoman.resume(out)
    file.write_text(whole, encoding="utf-8")
    for change, wrong in (
        ({"epochs": None}, "`epochs` is missing"),
        ({"learning_rate": "fast"}, '`learning_rate` must be a number, but is "fast"'),
        ({"optimizer": "best"}, "`optimizer` must be"),
    ):
        config.write_text(json.dumps({**known, "recipe": {**known["recipe"], **change}}), encoding="utf-8")
        with pytest.raises(StorageError, match=rf"config\.json is damaged: in recipe, {wrong}"):
            dragoman.resume(out)
    config.write_text(json.dumps(known), encoding="utf-8")
    tokenizer = out / known["tokenizer"]["files"][0]
    spelled = tokenizer.read_text(encoding="utf-8")
    tokenizer.write_text(spelled.replace('a":', 'ä":', 1), encoding="utf-8")
    with pytest.raises(StorageError, match=rf"{tokenizer.name} is not what the model was trained with"):
        dragoman.resume(out)
    tokenizer.write_text(spelled.replace("\n", "\r\n"), encoding="utf-8")
    assert dragoman.resume(out).config["run"]["steps"] == 3

"""`train --verify-resume` proves law 6 for a configuration, and finds a run that does not resume exactly."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from tiny import PAIRS, TINY

from dragoman.cli import main
from dragoman.config import TrainOptions
from dragoman.errors import OptionError, TrainingError
from dragoman.training import trainer
from dragoman.training.events import Evaluated, Event, ignore
from dragoman.training.verifying import verify_resume

ROWS = [(f"turn {i} left", f"tourne {i} fois") for i in range(40)]


def options(**more: object) -> TrainOptions:
    small = {"hidden_size": 8, "embedding_size": 8, "layers": 1, "batch_tokens": 60, "threads": 1, "device": "cpu"}
    return TrainOptions(**{**small, **more})  # type: ignore[arg-type]


def test_a_run_that_resumes_exactly_is_proved_so() -> None:
    proof = verify_resume(
        iter(ROWS), options(dropout=0.3, recurrent_dropout=0.3, word_dropout=0.1), listener=ignore, steps=6
    )
    assert (proof.steps, proof.stopped_at) == (6, 3)
    assert proof.tensors > 30
    assert proof.values > 1000


def test_a_limit_in_minutes_is_not_left_out_in_silence() -> None:
    """It may choose another width, and what was proved would be of another model."""
    with pytest.raises(OptionError, match="`max_minutes` goes by time: leave it out"):
        verify_resume(ROWS, options(max_minutes=5), listener=ignore)


def test_evaluations_and_the_copies_that_they_keep_are_part_of_the_proof() -> None:
    """By default they are at least 50 steps apart."""
    seen: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.RecentWeights, "restore", lambda *_: None)
        with pytest.raises(TrainingError, match=r"first: average/"):
            verify_resume(ROWS, options(average_checkpoints=3), listener=seen.append, steps=6)
    assert [event.step for event in seen if isinstance(event, Evaluated)] == [2, 4, 6]


@pytest.mark.parametrize("limits", [{}, {"max_steps": 4}])
def test_an_interrupt_proves_nothing_and_stops_it(limits: dict[str, int]) -> None:
    """It had been taken for the stop in between: the rest was trained, and said to differ."""
    seen: list[Event] = []

    def interrupt(event: Event) -> None:
        seen.append(event)
        if isinstance(event, Evaluated) and event.step == limits.get("max_steps", 2):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            verify_resume(ROWS, options(**limits), listener=interrupt, steps=6)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not any("and resuming for" in str(event) for event in seen)


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("restore_optimizer", lambda *_: None),
        ("load_weights", lambda model, *_: torch.nn.init.ones_(model.decoder.output.bias)),
    ],
)
def test_a_run_that_does_not_is_an_error(monkeypatch: pytest.MonkeyPatch, place: str, broken: object) -> None:
    monkeypatch.setattr(trainer, place, broken)
    with pytest.raises(TrainingError, match=r"resuming is not exact here: after 4 steps, \d+ of \d+ values differ"):
        verify_resume(ROWS, options(), listener=ignore, steps=4)


def test_too_few_steps_to_stop_in_between_prove_nothing() -> None:
    with pytest.raises(OptionError, match="`max_steps` must be at least 2"):
        verify_resume(ROWS, options(max_steps=1), listener=ignore)
    with pytest.raises(TrainingError, match="the limits end the run before step 10"):
        verify_resume(ROWS[:8], options(epochs=1, batch_tokens=4000), listener=ignore)


def test_the_command_says_so_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = [word if word != "2" else "4" for word in TINY]
    assert main(["train", "pairs.tsv", "--verify-resume", *words]) == 0
    assert "resuming is exact: 4 steps" in capsys.readouterr().out
    assert main(["train", "pairs.tsv", "--verify-resume", "--json", *words]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["steps"], shown["stopped_at"]) == (4, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.tsv"]
    assert main(["train", "pairs.tsv", "--verify-resume", "--out", "m", *words]) == 2
    assert "--verify-resume trains in temporary folders: leave --out out" in capsys.readouterr().err
    assert main(["train", "-", "--verify-resume", *words]) == 2
    assert "--verify-resume reads the pairs twice: give a file" in capsys.readouterr().err

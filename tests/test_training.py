"""Laws of training: exact resume at any step, nothing lost, the schedule counts steps, divergence stops with advice."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from processor import needs_bfloat16
from safetensors.torch import load_file

import dragoman
from dragoman.config import TrainOptions
from dragoman.errors import DataError, DragomanError, Interrupted, OptionError, StorageError, TrainingError
from dragoman.evaluation.metrics import score
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training import session
from dragoman.training.events import Evaluated, Event, Note, ignore
from dragoman.training.schedule import SamplingCurve, Schedule
from dragoman.training.scoring import Evaluator
from dragoman.training.session import BEAM
from dragoman.training.trainer import DevScore, Trainer

LETTERS = "abcdefgh"


def reversed_words(count: int, *, seed: int = 1) -> list[tuple[str, str]]:
    """Letters, and the same letters backwards."""
    draw = random.Random(seed)
    words = {"".join(draw.choices(LETTERS, k=draw.randint(2, 6))) for _ in range(count)}
    return [(" ".join(word), " ".join(word[::-1])) for word in sorted(words)]


TINY = {
    "hidden_size": 16,
    "embedding_size": 8,
    "layers": 1,
    "batch_tokens": 60,
    "eval_every": 5,
    "average_decay": 0.9,
    "device": "cpu",
    "threads": 1,
}


def options(**more: object) -> TrainOptions:
    return TrainOptions(**{**TINY, **more})  # type: ignore[arg-type]


def checkpoint(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path / "training" / "last.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


VARIANTS = {
    "default": {"dropout": 0.3, "word_dropout": 0.1},  # as for long runs
    "adam, plateau": {"optimizer": "adam", "schedule": "plateau", "preset": "textbook"},
    "sgd, cosine": {
        "optimizer": "sgd",
        "schedule": "cosine",
        "cell": "gru",
        "learning_rate": 0.1,
        "epochs": 3,
        "dropout": 0.3,
    },
    "accumulated": {"accumulate": 2, "dropout": 0.1},
    "two passes": {"r_drop": 2.0, "dropout": 0.2, "bptt": 3},
    "truncated": {"bptt": 2, "dropout": 0.1},
    "bfloat16, recomputed": {"precision": "bfloat16", "recompute": True, "dropout": 0.1, "bptt": 3},
    "averaged evaluations": {"average_decay": None, "average_checkpoints": 3, "dropout": 0.1},
    "scheduled sampling": {"scheduled_sampling": 0.8, "sampling_steps": 12},
    "stepped, dropped words": {"preset": "luong2015", "word_dropout": 0.2, "layers": 1},
}


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=[needs_bfloat16] if "bfloat16" in name else []) for name in VARIANTS]
)
def test_law_6_stopping_anywhere_and_resuming_gives_the_same_weights(tmp_path: Path, variant: str) -> None:
    pairs, run = reversed_words(80), options(max_steps=24, **VARIANTS[variant])
    dragoman.train(pairs, out=tmp_path / "straight", options=run)
    stop_after = iter([3, 10, 17])  # within an epoch, on an evaluation, in a later epoch
    original = Trainer.fit

    def stopped(trainer: Trainer) -> object:
        limit = next(stop_after, None)
        trainer.interrupted = lambda: limit is not None and trainer.run.step >= limit
        return original(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "fit", stopped)
        with pytest.raises(Interrupted, match=r"stopped at step 3; go on with: dragoman train --resume"):
            dragoman.train(pairs, out=tmp_path / "broken", options=run)
        for _ in range(2):
            with pytest.raises(Interrupted):
                dragoman.resume(tmp_path / "broken", options=TrainOptions(threads=1))
        dragoman.resume(tmp_path / "broken", options=TrainOptions(threads=1))
    assert same(checkpoint(tmp_path / "straight"), checkpoint(tmp_path / "broken"))
    assert same(load_file(tmp_path / "straight/model.safetensors"), load_file(tmp_path / "broken/model.safetensors"))


def test_bfloat16_is_an_error_where_it_cannot_be_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "computes_bfloat16", lambda _: False)
    with pytest.raises(OptionError, match="`precision` bfloat16 is not possible on this cpu: leave it out"):
        dragoman.train(tmp_path / "missing.tsv", options=options(precision="bfloat16"))


def test_a_run_in_bfloat16_goes_on_in_float32_where_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs, run = reversed_words(60), options(max_steps=9, precision="float32")
    dragoman.train(pairs, out=tmp_path / "straight", options=run)
    with pytest.raises(Interrupted):
        session.start(pairs, tmp_path / "broken", run, overwrite=False, listener=ignore, command=None, stop_at=4)
    file = tmp_path / "broken" / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["recipe"]["precision"] = config["options"]["precision"] = "bfloat16"
    file.write_text(json.dumps(config), encoding="utf-8")
    monkeypatch.setattr(session, "computes_bfloat16", lambda _: False)
    told: list[Event] = []
    model = dragoman.resume(tmp_path / "broken", options=TrainOptions(threads=1), listener=told.append)
    text = "this cpu cannot compute in bfloat16, in which the run began: it goes on in float32"
    assert Note(text, warning=True) in told
    assert model.config["recipe"]["precision"] == "float32"
    assert same(checkpoint(tmp_path / "straight"), checkpoint(tmp_path / "broken"))


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        dragoman.train(reversed_words(60), out=tmp_path / name, options=options(max_steps=6, seed=seed))
    assert same(checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b"))
    assert not same(checkpoint(tmp_path / "a"), checkpoint(tmp_path / "c"))


def test_embeddings_learn_at_their_own_rate_and_nothing_else_does(tmp_path: Path) -> None:
    def after_one_step(rate: float, more: float) -> dict[str, torch.Tensor]:
        run = options(
            max_steps=1, optimizer="sgd", schedule="constant", warmup_steps=0, clip_norm=0, average_decay=0.0, seed=3,
            learning_rate=rate, embedding_rate=more, tie_embeddings="target", bidirectional=False, attention="none",
        )  # fmt: skip
        out = tmp_path / f"{rate} {more}"
        dragoman.train(reversed_words(60), out=out, options=run)
        return load_file(out / "model.safetensors")

    still, plain, own = after_one_step(1e-12, 1.0), after_one_step(0.5, 1.0), after_one_step(0.5, 3.0)
    embeddings = {name for name in plain if name.endswith("embedding.weight")}
    assert embeddings == {"encoder.embedding.weight", "decoder.embedding.weight"}
    for name in plain:
        moved = (plain[name] - still[name]) * (3 if name in embeddings else 1)
        assert moved.any()
        torch.testing.assert_close(own[name] - still[name], moved, rtol=1e-4, atol=1e-6)


def test_accumulating_takes_so_many_batches_a_step_and_the_rest_of_an_epoch_in_its_last(tmp_path: Path) -> None:
    steps = {}
    for n in (1, 2, 1000):
        dragoman.train(reversed_words(60), out=tmp_path / str(n), options=options(epochs=2, accumulate=n))
        steps[n] = json.loads((tmp_path / str(n) / "config.json").read_text())["run"]["steps"]
    assert steps[1] / 2 <= steps[2] <= steps[1] / 2 + 1  # an epoch's last step may have one batch
    assert steps[1000] == 2


def test_resuming_takes_the_stored_options_and_refuses_conflicts(tmp_path: Path) -> None:
    open_end = {"schedule": "inverse_sqrt"}
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=6, **open_end))
    with pytest.raises(OptionError, match=r"`hidden_size` is 16 in the run at .*, but 32 was given"):
        dragoman.resume(tmp_path / "m", options=TrainOptions(hidden_size=32))
    with pytest.raises(OptionError, match=r"`vocab_size` was not given to the run"):
        dragoman.resume(tmp_path / "m", options=TrainOptions(vocab_size=32))
    dragoman.resume(tmp_path / "m", options=TrainOptions(hidden_size=16, max_steps=9))
    longer = json.loads((tmp_path / "m" / "config.json").read_text())
    assert longer["run"]["steps"] == 9
    dragoman.train(reversed_words(60), out=tmp_path / "straight", options=options(max_steps=9, **open_end))
    assert same(checkpoint(tmp_path / "m"), checkpoint(tmp_path / "straight"))


def test_a_run_goes_on_where_it_began_unless_another_device_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_steps=2))
    asked: list[str] = []

    def choose_device(name: str) -> torch.device:
        asked.append(name)
        return torch.device("cpu")

    monkeypatch.setattr("dragoman.training.session.choose_device", choose_device)
    dragoman.resume(tmp_path / "m", options=TrainOptions(max_steps=3))
    assert set(asked) == {"cpu"}  # and not auto, which may be a GPU
    asked.clear()
    dragoman.resume(tmp_path / "m", options=TrainOptions(max_steps=4, device="cpu:0"))
    assert set(asked) == {"cpu:0"}


OPEN_END = {"patience": 0, "epochs": 100_000, "schedule": "inverse_sqrt", "dropout": 0.1, "word_dropout": 0.1}
"""What limits do not decide: the schedule's end, and how much dropout there is."""

_CHILD = """
import sys
sys.path.append("tests")
import dragoman
from test_training import OPEN_END, options, reversed_words
dragoman.train(reversed_words(80), out=sys.argv[1], options=options(max_steps=100000, **OPEN_END))
"""


def run_child(out: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parent.parent
    return subprocess.Popen([sys.executable, "-c", _CHILD, str(out)], cwd=root, stderr=subprocess.PIPE)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert path.exists(), process.communicate()[1]


def test_killed_at_any_moment_it_goes_on_from_the_last_checkpoint(tmp_path: Path) -> None:
    process = run_child(tmp_path / "m")
    wait_for(tmp_path / "m" / "model.safetensors", process)
    time.sleep(random.Random(5).random() / 5)
    process.kill()
    process.communicate()
    before = json.loads(_progress(tmp_path / "m"))["step"]
    dragoman.load(tmp_path / "m").translate("a b c")
    dragoman.resume(tmp_path / "m", options=TrainOptions(max_steps=before + 3, threads=1))
    dragoman.train(reversed_words(80), out=tmp_path / "straight", options=options(max_steps=before + 3, **OPEN_END))
    assert same(checkpoint(tmp_path / "m"), checkpoint(tmp_path / "straight"))


def _progress(path: Path) -> str:
    from safetensors import safe_open

    with safe_open(path / "training" / "last.safetensors", framework="pt") as file:
        return file.metadata()["progress"]


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    process = run_child(tmp_path / "m")
    wait_for(tmp_path / "m" / "training" / "last.safetensors", process)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert b"go on with: dragoman train --resume" in errors
    assert json.loads(_progress(tmp_path / "m"))["step"] > 0


def test_a_diverging_loss_stops_with_advice_and_keeps_the_checkpoints(tmp_path: Path) -> None:
    wild = options(max_steps=300, optimizer="sgd", learning_rate=1e6, clip_norm=0, warmup_steps=0, schedule="constant")
    with pytest.raises(
        TrainingError,
        match=r"the loss (is not a number|rose to .*) at step \d+: lower `learning_rate` \(now 1e\+06\) or give `clip_norm` 1",
    ):
        dragoman.train(reversed_words(60), out=tmp_path / "m", options=wild)
    assert (tmp_path / "m" / "training" / "last.safetensors").exists()


def test_a_loss_that_begins_high_has_not_risen(tmp_path: Path) -> None:
    # One table for what is fed and for what comes out: at first every word is likely to come again, and here none ever does.
    alternating = [" ".join(letters * count) for count in range(1, 9) for letters in ("abcd", "bcda", "cdab", "dabc")]
    wide = options(
        hidden_size=256, embedding_size=256, layers=2, max_steps=12, warmup_steps=20, attention="none"
    ).model_copy(update={"layer_norm": True, "residual": True, "tie_embeddings": "target"})
    dragoman.train([(text, text) for text in alternating], out=tmp_path / "m", options=wide)
    assert json.loads(_progress(tmp_path / "m"))["step"] == 12


def test_early_stopping_counts_evaluations_without_a_better_score_and_keeps_the_last_of_equals(tmp_path: Path) -> None:
    seen: list[Event] = []
    still = options(max_steps=1000, optimizer="sgd", learning_rate=1e-9, patience=3, schedule="constant")
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=still, listener=seen.append)
    evaluations = [event for event in seen if isinstance(event, Evaluated)]
    assert len({event.score for event in evaluations}) == 1
    assert [event.best for event in evaluations] == [True, True, True, True]  # the first, and the patience of three
    run = json.loads((tmp_path / "m/config.json").read_text())["run"]
    assert run["finished"].startswith("no better dev score")
    assert run["best_step"] == run["steps"]


def test_the_scores_that_training_tells_are_those_of_the_model_that_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured again on the directory, one source at a time; the last weights are not the best."""
    evaluate, seen = Evaluator.__call__, []

    def ever_worse(self: Evaluator, model: Seq2Seq) -> DevScore:
        seen.append(evaluate(self, model))
        return replace(seen[-1], score=-float(len(seen)), sources=500)

    monkeypatch.setattr(Evaluator, "__call__", ever_worse)
    run = options(max_steps=60, eval_every=20, learning_rate=0.01, metric="chrf", dev=12, test=9)
    dragoman.train(reversed_words(120), out=tmp_path / "m", options=run)
    kept = dragoman.load(tmp_path / "m", device="cpu", threads=1, precision="float32")
    texts = json.loads((tmp_path / "m/training/data/texts.json").read_text(encoding="utf-8"))

    def measured(part: str, beam: int) -> float:
        sources, references = texts[part]["sources"], texts[part]["references"]
        said = [kept.translate(source, beam_size=beam).text for source in sources]
        return score(said, references, writing=texts["writing"], primary="chrf").primary_value

    for part in ("dev", "test"):
        assert 0 < measured(part, BEAM.beam_size) < 100
        assert kept.config["scores"][part]["chrf"] == pytest.approx(measured(part, BEAM.beam_size))
    assert seen[0].score == pytest.approx(measured("dev", 1))
    answers = kept.score(texts["dev"]["sources"], [each[0] for each in texts["dev"]["references"]])
    tokens = [value for answer in answers for value in answer.token_scores]
    assert seen[0].loss == pytest.approx(-sum(tokens) / len(tokens), abs=1e-5)
    assert kept.config["run"]["best_step"] == 20


def test_a_limit_of_time_stops(tmp_path: Path) -> None:
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(max_minutes=0.001, **OPEN_END))
    assert json.loads((tmp_path / "m/config.json").read_text())["run"]["finished"] == "0.001 minutes"


def test_overwrite_keeps_the_old_model_and_nothing_else_is_touched(tmp_path: Path) -> None:
    out = tmp_path / "m"
    dragoman.train(reversed_words(60), out=out, options=options(max_steps=2))
    first = load_file(out / "model.safetensors")
    with pytest.raises(StorageError, match="exists; choose another `out`, or give `overwrite`"):
        dragoman.train(reversed_words(60), out=out, options=options(max_steps=2))
    dragoman.train(reversed_words(60), out=out, options=options(max_steps=2, seed=2), overwrite=True)
    assert same(load_file(tmp_path / "m.old/model.safetensors"), first)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(StorageError, match=r"is no model .* so `overwrite` leaves it alone"):
        dragoman.train(reversed_words(60), out=tmp_path / "precious", options=options(max_steps=2), overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.old", "precious"]


def test_a_failure_before_training_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="`attention_heads` must divide"):
        dragoman.train(
            reversed_words(60), out=tmp_path / "m", options=options(attention="multihead", attention_heads=3)
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["group_by", "source", "target", "format", "pattern"])
def test_pairs_in_python_take_no_option_of_files(tmp_path: Path, name: str) -> None:
    values = {"group_by": 3, "source": 2, "target": 1, "format": "csv", "pattern": "(.*) (.*)"}
    with pytest.raises(OptionError, match=f"`{name}` tells how a file is read, but the pairs are given in Python"):
        dragoman.train(reversed_words(60), out=tmp_path / "m", options=options(**{name: values[name]}))
    assert list(tmp_path.iterdir()) == []


def test_pairs_in_python_may_have_their_dev_part_in_columns_of_a_file(tmp_path: Path) -> None:
    dev = tmp_path / "dev.tsv"
    dev.write_text("n\ta b c\tc b a\nn\tb c\tc b\n", encoding="utf-8")
    chosen = options(source=2, target=3, dev=dev, max_steps=1)
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=chosen)
    texts = json.loads((tmp_path / "m/training/data/texts.json").read_text(encoding="utf-8"))
    assert texts["dev"] == {"sources": ["a b c", "b c"], "references": [["c b a"], ["c b"]]}


def test_a_dev_file_has_the_columns_of_the_pairs_that_are_given_in_python(tmp_path: Path) -> None:
    """Its second column was read as more text of the first."""
    (tmp_path / "dev.tsv").write_text("walk\tV;PST\twalked\n", encoding="utf-8")
    run = options(max_steps=1, dev=str(tmp_path / "dev.tsv"), source=("1", "2"), target="3")
    with pytest.raises(
        DataError, match=r"sources of the dev pairs have 2 columns, but those of the train pairs have 1$"
    ):
        dragoman.train([(f"turn{i}", f"turned{i}") for i in range(30)], out=tmp_path / "m", options=run)


def test_in_memory_until_saved(tmp_path: Path) -> None:
    translator = dragoman.train(reversed_words(60), options=options(max_steps=3))
    before = translator.translate(["a b c", "h g"], num_hypotheses=2)
    translator.save_pretrained(tmp_path / "kept")
    assert not (tmp_path / "kept" / "training").exists()
    after = dragoman.load(tmp_path / "kept").translate(["a b c", "h g"], num_hypotheses=2)
    assert [[c.text for c in t.candidates] for t in before] == [[c.text for c in t.candidates] for t in after]


@pytest.mark.parametrize("kind", ["constant", "inverse_sqrt", "linear", "cosine", "plateau"])
def test_the_learning_rate_rises_to_its_peak_and_never_rises_again(kind: str) -> None:
    schedule = Schedule(kind, 0.5, warmup=10, total=100)
    rates = [schedule.rate(step) for step in range(1, 101)]
    assert rates[4] == pytest.approx(0.25)
    assert max(rates) == pytest.approx(0.5)
    assert rates[9] == max(rates)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    expected = {"inverse_sqrt": 0.5 * (10 / 100) ** 0.5, "linear": 0.005, "cosine": 0.005}
    assert rates[-1] == pytest.approx(expected.get(kind, 0.5))


@pytest.mark.parametrize("kind", ["linear", "cosine"])
@pytest.mark.parametrize("total", [60, 100, 400])
def test_a_last_step_that_moves_breaks_no_fall(kind: str, total: int) -> None:
    before = Schedule(kind, 0.5, warmup=10, total=100)
    moved = before.moved(40, total)
    again = moved.moved(50, total)
    rates = [before.rate(step) for step in range(10, 41)] + [moved.rate(step) for step in range(41, 51)]
    rates += [again.rate(step) for step in range(51, total + 1)]
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert rates[30] - rates[31] < 0.5 * 3 / min(60, total - 40)  # no jump
    assert rates[-1] == pytest.approx(0.005)
    if total == 100:
        assert rates == pytest.approx([before.rate(step) for step in range(10, 101)])


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_a_landing_falls_from_where_it_begins_to_nothing_and_never_beyond_the_last_step(kind: str) -> None:
    schedule = Schedule(kind, 0.5, warmup=10, total=100)
    assert schedule.landing_steps(50) == 10
    rates = [schedule.rate(step, landing=50) for step in range(40, 61)]
    assert rates[:11] == [schedule.rate(step) for step in range(40, 51)]
    assert all(a > b for a, b in itertools.pairwise(rates))
    assert rates[-1] == pytest.approx(0.01 * schedule.rate(50))
    assert schedule.landing_steps(99) == 1
    assert Schedule("inverse_sqrt", 0.5, warmup=10, total=100).landing_steps(50) == 0


def test_under_a_falling_rate_early_stopping_lands_first(tmp_path: Path) -> None:
    seen: list[Event] = []
    still = options(max_steps=1000, optimizer="sgd", learning_rate=1e-9, patience=3, schedule="linear")
    dragoman.train(reversed_words(60), out=tmp_path / "m", options=still, listener=seen.append)
    evaluations = [event for event in seen if isinstance(event, Evaluated)]
    assert [event.step for event in evaluations] == [5, 10, 15, 20, 24]  # 20 steps, and a fifth of them to land
    assert evaluations[-1].learning_rate == pytest.approx(0.01 * evaluations[-2].learning_rate)
    config = json.loads((tmp_path / "m/config.json").read_text())
    assert config["run"]["finished"] == "no better dev score in 3 evaluations"
    dragoman.resume(tmp_path / "m", options=TrainOptions(threads=1))  # nothing is left to do
    assert json.loads((tmp_path / "m/config.json").read_text())["run"]["steps"] == 24
    with pytest.raises(OptionError, match="no better dev score in 3 evaluations: to go on, raise `patience` too"):
        dragoman.resume(tmp_path / "m", options=TrainOptions(threads=1, max_steps=2000))
    dragoman.resume(tmp_path / "m", options=TrainOptions(threads=1, patience=6))
    assert json.loads((tmp_path / "m/config.json").read_text())["run"]["steps"] > 24


@pytest.mark.parametrize("kind", ["linear", "exponential", "sigmoid", "constant"])
def test_the_share_of_sampled_inputs_rises_to_its_ratio_and_counts_steps(kind: str) -> None:
    curve = SamplingCurve(kind, 0.4, 200)
    shares = [curve.share(step) for step in range(10_000)]
    assert all(0 <= a <= b <= 0.4 for a, b in itertools.pairwise(shares))
    assert shares[200] == pytest.approx(0.4, rel=0.02)
    assert shares[100] == pytest.approx({"linear": 0.2, "exponential": 0.36, "sigmoid": 0.2, "constant": 0.4}[kind])
    assert shares[0] == pytest.approx(0.4 if kind == "constant" else 0, abs=0.01)
    assert SamplingCurve(kind, 0.0, 200).share(500) == 0


def test_a_column_that_never_changes_is_warned_of_before_training(tmp_path: Path) -> None:
    """As when the column of the languages is taken for that of the texts."""
    told: list[Event] = []
    for side, pairs in (
        ("target", [(f"word {i}", "fra") for i in range(30)]),
        ("source", [("eng", f"word {i}") for i in range(30)]),
    ):
        del told[:]
        run = options(max_steps=1, dev=1)
        with contextlib.suppress(DataError):  # one source cannot be split
            dragoman.train(pairs, out=tmp_path / side, options=run, listener=told.append)
        texts = [note.text for note in told if isinstance(note, Note) and note.warning]
        assert texts == [f"every {side} is the same: is it the right column?"]


def test_sources_that_files_of_pairs_share_are_warned_of(tmp_path: Path) -> None:
    """Their scores flatter: law of every split. The weights are learned from train, and chosen by dev."""
    dev, test = tmp_path / "dev.tsv", tmp_path / "test.tsv"
    dev.write_text("word 3\tother\nunseen\tsomething\n", encoding="utf-8")
    test.write_text("Unseen\tx\nnew\tx\nunseen\ty\n", encoding="utf-8")
    told: list[Event] = []
    pairs = [(f"word {i}", f"mot {i}") for i in range(30)]
    run = options(max_steps=1, dev=str(dev), test=str(test))
    dragoman.train(pairs, out=tmp_path / "m", options=run, listener=told.append)
    shared = [
        note.text for note in told if isinstance(note, Note) and note.warning and "the source is also" in note.text
    ]
    assert shared == [
        "in 1 of 2 dev pairs the source is also in train",
        "in 2 of 3 test pairs the source is also in dev",
    ]


@pytest.mark.parametrize(
    ("held", "trouble"),
    [({"dev": "nowhere.tsv"}, "nowhere.tsv does not exist"), ({"test": "2.5"}, "`test` must be a number")],
)
def test_what_cannot_be_held_out_is_an_error_before_any_pair_is_read(
    held: dict[str, str], trouble: str, tmp_path: Path
) -> None:
    read: list[int] = []

    def pairs() -> Iterator[tuple[str, str]]:
        for number in range(30):
            read.append(number)
            yield f"word {number}", f"mot {number}"

    with pytest.raises(DragomanError, match=trouble):
        dragoman.train(pairs(), out=tmp_path / "m", options=options(max_steps=1, **held))
    assert read == []


@pytest.mark.parametrize(("dev", "pairs"), [("2", 4), ("dev.tsv", 5)])
def test_sources_that_groups_share_are_warned_of(dev: str, pairs: int, tmp_path: Path) -> None:
    """Other groups are other texts, but what is said in them may be the same."""
    rows = [f"talk {i}\tword {i}\tmot {i}\ntalk {i}\tYes\toui\n" for i in range(10)]
    (tmp_path / "talks.tsv").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "dev.tsv").write_text(
        "talk 1\tno\tnon\ntalk 1\tmaybe\tsi\ntalk 1\tnever\tsi\nb\t yes\tsi\nb\tword  3\tm\n", encoding="utf-8"
    )
    told: list[Event] = []
    held = str(tmp_path / dev) if dev == "dev.tsv" else dev
    run = options(max_steps=1, dev=held, group_by="1", source="2", target="3")
    dragoman.train(tmp_path / "talks.tsv", out=tmp_path / "m", options=run, listener=told.append)
    texts = [note.text for note in told if isinstance(note, Note) and note.warning]
    assert f"in 2 of {pairs} dev pairs the source is also in train" in texts
    card = (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    assert f"- dev: {pairs} pairs, 2 groups" in card  # "talk 1" and "b", or two of the talks


def test_a_column_of_ids_is_warned_of_before_training(tmp_path: Path) -> None:
    told: list[Event] = []
    pairs = [(f"{i}", f"word {i}") for i in range(30)]
    dragoman.train(pairs, out=tmp_path / "m", options=options(max_steps=1, dev=1), listener=told.append)
    texts = [note.text for note in told if isinstance(note, Note) and note.warning]
    assert texts[0] == "every source is a number, and they rise from row to row: is it the right column?"

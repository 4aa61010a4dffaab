"""Law 7: processes that share the batches take the step of one that has them all; and all of them stop together."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from test_objective import CPU, SHAPES, batch_of, build, distance, gradients, pairs

import dragoman
from dragoman import making, synthesis
from dragoman.cli.made_pairs import make_and_train
from dragoman.config import CompanionOptions, SearchOptions, TrainOptions
from dragoman.corpus.batching import Batch
from dragoman.errors import OptionError, ProcessError, TrainingError
from dragoman.training.events import ignore
from dragoman.training.objective import Objective, add_gradients
from dragoman.training.processes import Processes, joined
from dragoman.training.verifying import verify_resume

ROOT = Path(__file__).parent.parent
GROUPS = {
    "one batch": [range(12)],
    "fewer pairs than processes": [[5]],
    "several batches": [[0, 1, 2], [3], range(4, 12)],
}
OBJECTIVES = {"plain": Objective(label_smoothing=0.1), "truncated": Objective(bptt=3)}
CASES = [
    *((group, "attention", objective) for group in GROUPS for objective in OBJECTIVES),
    *(("several batches", shape, "plain") for shape in SHAPES),
]


def group_of(name: str) -> list[Batch]:
    data = pairs()
    return [batch_of(data, list(indices)) for indices in GROUPS[name]]


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What a launcher sets."""
    places = [str(ROOT), str(ROOT / "tests"), str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    own = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    own |= {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": 1}
    return os.environ | {name: str(value) for name, value in own.items()}


def side_by_side(words: list[str], *, world: int = 2) -> list[tuple[int, str]]:
    """Run a Python command line in several processes; each one's exit code and messages."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = [
        subprocess.Popen(
            [sys.executable, *words], env=environment(rank, world, port), stderr=subprocess.PIPE, text=True
        )
        for rank in range(world)
    ]
    messages = [process.communicate(timeout=300)[1] for process in running]
    return [(process.returncode, text) for process, text in zip(running, messages, strict=True)]


def write_gradients(folder: Path) -> None:
    """Run in each process: what it has as gradients after all have combined theirs."""
    with joined(CPU) as processes:
        for number, (group, shape, objective) in enumerate(CASES):
            batches, model = group_of(group), build(**SHAPES[shape]).train()
            tokens = sum(batch.target_tokens for batch in batches)
            loss = add_gradients(model, processes.share(batches), CPU, OBJECTIVES[objective], tokens=tokens)
            loss = processes.combine(list(model.parameters()), loss)
            found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
            found["loss"] = torch.tensor([loss.cross_entropy, loss.tokens], dtype=torch.float64)
            save_file(found, folder / f"{number}-{processes.rank}.safetensors")


@pytest.mark.parametrize("world", [2, 3])
def test_law_7_processes_give_the_gradients_of_one(tmp_path: Path, world: int) -> None:
    command = f"from pathlib import Path; import test_processes as t; t.write_gradients(Path({str(tmp_path)!r}))"
    assert side_by_side(["-c", command], world=world) == [(0, "")] * world
    for number, (group, shape, objective) in enumerate(CASES):
        found = [load_file(tmp_path / f"{number}-{rank}.safetensors") for rank in range(world)]
        for other in found[1:]:
            assert all(torch.equal(value, other[name]) for name, value in found[0].items())
        batches, model = group_of(group), build(**SHAPES[shape])
        alone = gradients(model, batches, OBJECTIVES[objective])
        loss = add_gradients(model, batches, CPU, OBJECTIVES[objective])
        sums = found[0].pop("loss")
        assert sums.tolist() == pytest.approx([loss.cross_entropy, loss.tokens])
        assert distance(found[0], alone) < 1e-12, (group, shape, objective)


def test_the_mean_of_the_processes_means_would_be_another_gradient() -> None:
    """What law 7 is about: lengths are unequal, so processes have unequal numbers of tokens."""
    [batch], model = group_of("one batch"), build()
    whole = gradients(model, [batch], Objective())
    parts = [gradients(model, [batch.slice(rank, 2)], Objective()) for rank in range(2)]
    assert distance({name: (value + parts[1][name]) / 2 for name, value in parts[0].items()}, whole) > 1e-3


PLAIN = "--embedding-size 8 --hidden-size 16 --layers 1 --dropout 0 --word-dropout 0 --batch-tokens 60 --eval-every 5"
PLAIN += " --clip-norm 0"  # which would hide gradients that are too large
FOREVER = "--patience 0 --epochs 100000 --schedule constant --optimizer sgd --learning-rate 0.01 --dev 4 --threads 1"
FOREVER += " --device cpu"
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ACCELERATE = "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no".split()
ACCELERATE += ["--dynamo_backend", "no"]


def start(launcher: list[str], arguments: list[str]) -> subprocess.Popen[str]:
    clean = {name: value for name, value in environment(0, 1, 0).items() if name not in ("RANK", "WORLD_SIZE")}
    words = [*launcher, "-m", "dragoman"] if launcher else ["dragoman"]
    command = [sys.executable, "-m", *words, "train", *arguments]
    return subprocess.Popen(command, env=clean, stderr=subprocess.PIPE, text=True)


def train(launcher: list[str], arguments: list[str]) -> str:
    """Run a training to its end; returns its messages."""
    process = start(launcher, arguments)
    messages = process.communicate(timeout=300)[1]
    assert process.returncode == 0, messages
    return messages


def checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    file = path / "training" / "last.safetensors"
    with safe_open(file, framework="pt") as opened:
        return load_file(file), json.loads(opened.metadata()["progress"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines = (f"{'source ' * (i % 7 + 1)}{i}\t{'cible ' * (i % 5 + 1)}{i}\n" for i in range(80))
    (tmp_path / "pairs.tsv").write_text("".join(lines))
    return tmp_path / "pairs.tsv"


def test_two_processes_train_what_one_does_and_resume_exactly(tmp_path: Path, data: Path) -> None:
    options = [*PLAIN.split(), *FOREVER.split()]
    process = start(TORCHRUN, [str(data), "--out", str(tmp_path / "broken"), *options])
    deadline = time.monotonic() + 300
    while not (tmp_path / "broken/model.safetensors").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    messages = process.communicate(timeout=300)[1]
    assert len(re.findall(r"dragoman: stopped at step [\d,]+; go on with: dragoman train --resume", messages)) == 1
    stopped = int(checkpoint(tmp_path / "broken")[1]["step"])  # type: ignore[call-overload]
    assert stopped >= 5

    end = ["--max-steps", str(stopped + 3)]
    train(TORCHRUN, ["--resume", str(tmp_path / "broken"), *end, "--threads", "1", "--device", "cpu"])
    messages = train(TORCHRUN, [str(data), "--out", str(tmp_path / "straight"), *options, *end])
    assert messages.count("step 5, ") == 1  # the main process speaks, the other does not
    train([], [str(data), "--out", str(tmp_path / "alone"), *options, *end])
    (broken, _), (straight, progress), (alone, _) = (
        checkpoint(tmp_path / name) for name in ("broken", "straight", "alone")
    )
    assert progress["step"] == stopped + 3
    assert all(torch.equal(value, broken[name]) for name, value in straight.items())
    assert max(float((value - alone[name]).abs().max()) for name, value in straight.items()) < 1e-4
    assert len(dragoman.load(tmp_path / "straight").translate(["source 3"])) == 1


def test_accelerate_launches_the_same_command(tmp_path: Path, data: Path) -> None:
    pytest.importorskip("accelerate")
    options = [*PLAIN.split(), *FOREVER.split(), "--max-steps", "6", "--accumulate", "2"]
    for name, launcher in (("one", TORCHRUN), ("other", ACCELERATE)):
        train(launcher, [str(data), "--out", str(tmp_path / name), *options])
    one, other = (checkpoint(tmp_path / name)[0] for name in ("one", "other"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_went_wrong_is_said_even_if_the_others_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM of a batch system ends those that wait at once, while the main process says a last word."""

    def gone(_: torch.Tensor) -> None:
        raise RuntimeError(
            "[/__w/pytorch/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1. This is typically caused by ..."
        )

    monkeypatch.setattr("torch.distributed.all_reduce", gone)
    processes = Processes(0, 2)
    with pytest.raises(KeyboardInterrupt), processes.leading():
        raise KeyboardInterrupt
    with pytest.raises(
        ProcessError, match=r"^one of the 2 processes is gone: Connection closed by peer \[127\.0\.0\.1\]:1$"
    ):
        processes.sum(1.0)


def test_the_others_hear_of_every_end_that_the_main_process_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one that is no error, such as Ctrl-C; else they would wait for a day."""
    sums: list[list[float]] = []
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: sums.append(tensor.tolist()))
    main = Processes(0, 2)
    with main.leading():
        assert sums == []
    for error in (OptionError("wrong"), KeyboardInterrupt(), SystemExit(1)):
        with pytest.raises(type(error)), main.leading():
            raise error
    assert sums == [[0.0], [1.0], [1.0], [1.0]]

    other = Processes(1, 2)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    other.follow()
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor.add_(1))
    with pytest.raises(TrainingError, match=r"^the main process stopped; see its message$"):
        other.follow()


def test_numbers_that_all_agree_on_lose_no_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps and seconds among them, which float32 would round from 16,777,216 on."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda _: None)
    assert Processes(1, 2).sum(2.0**24 + 1, 0.1) == [2.0**24 + 1, 0.1]


def test_processes_that_cannot_find_each_other_say_so_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(TrainingError, match=r"^process 1 of 2 cannot find the others: .*MASTER_ADDR.*$"), joined(CPU):
        pytest.fail("there are no others")

    def gone(_: torch.Tensor) -> None:
        raise RuntimeError

    monkeypatch.setattr("torch.distributed.all_reduce", gone)
    with pytest.raises(ProcessError, match=r"^one of the 2 processes is gone: RuntimeError$"):
        Processes(1, 2).sum(0.0)


def test_when_the_main_process_fails_the_others_leave_with_a_line(tmp_path: Path) -> None:
    words = ["-m", "dragoman", "train", str(tmp_path / "no.tsv"), "--out", str(tmp_path / "m"), "--device", "cpu"]
    (code, messages), (other_code, other_messages) = side_by_side(words)
    assert (code, other_code) == (2, 2)
    assert "no.tsv" in messages
    assert other_messages == "dragoman: error: process 1: the main process stopped; see its message\n"
    assert [path.name for path in tmp_path.iterdir()] == []


def test_beside_the_main_process_nobody_reads_the_graphs_that_it_is_about_to_write(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    save_file({name: value + 1 for name, value in weights.items()}, model / "model.safetensors")  # trained on
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    translator = making._finished(model, TrainOptions(threads=1, device="cpu"), ignore)
    assert translator.engine == "torch"
    assert not caplog.records  # which would say that graphs are of other weights, and to export again


def test_what_needs_one_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match="`out` is missing: several processes need a directory"):
        dragoman.train([("a", "b")])
    with pytest.raises(OptionError, match="`out` is missing: without it pairs are only made"):
        synthesis._pairs_file(None, "made.tsv", [], None, SearchOptions(), inputs=[], overwrite=False)
    with pytest.raises(OptionError, match="`verify_resume` runs in one process"):
        verify_resume([("a", "b")], TrainOptions(), listener=ignore)


@pytest.mark.parametrize("rank", [0, 1])
def test_where_a_students_model_is_says_the_main_process_alone(
    rank: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", str(rank))
    options = {"options": TrainOptions(), "search": SearchOptions(), "others": CompanionOptions()}
    make_and_train(lambda **_: None, out=Path("m"), write=None, overwrite=False, config=None, **options)  # type: ignore[arg-type]
    assert capfd.readouterr().err.count("the model is in m; try it") == 1 - rank

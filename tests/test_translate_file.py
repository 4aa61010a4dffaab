"""Translating whole files: in order, in bounded memory, the same as line by line, and never lost or twice, whatever stops it."""

from __future__ import annotations

import fcntl
import io
import itertools
import json
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console
from steppers import assert_alike

import dragoman
from dragoman.cli import main
from dragoman.cli import progress as progress_module
from dragoman.cli.inputs import InputFile
from dragoman.cli.progress import counting
from dragoman.config import SearchOptions
from dragoman.corpus.lines import survey
from dragoman.errors import DataError, StorageError, counted
from dragoman.training.events import Progress
from dragoman.translation import batches as batching
from dragoman.translation.batches import BATCH_TOKENS, SHORTEST, batches, windows
from dragoman.translation.outputs import Translation
from dragoman.translation.part import part_of
from dragoman.translation.pipeline import translate_windows
from dragoman.translation.texts import Encoded

QUICK = ("--beam-size", "2", "--max-length", "6")

_COMMAND = """
import os, pathlib, resource, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever starts the tests in the background has switched off
from dragoman.translation import batches, part
batches.WINDOW_LINES = 16
name, left = sys.argv.pop(1), int(sys.argv.pop(1))

def event():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), getattr(signal, name))

def around(function):
    def wrapped(*given, **named):
        event()
        result = function(*given, **named)
        event()
        return result
    return wrapped

os.fsync = around(os.fsync)
pathlib.Path.replace = around(pathlib.Path.replace)
pathlib.Path.unlink = around(pathlib.Path.unlink)
part.PartFile.write = around(part.PartFile.write)
from dragoman.cli import main
code = main(sys.argv[1:])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
"""The real command in windows of 16 lines; it sends itself a signal at a given moment of its dealings with the disk."""


def command(*words: object, signal: str = "SIGKILL", moment: int = 0, disk: int | None = None) -> Outcome:
    """Run the command in a process of its own; with `moment` 0 it is left alone. `disk`: the longest file in bytes."""

    def restrict() -> None:
        if disk is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))

    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, signal, str(moment), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=restrict,
    )
    return Outcome(done.returncode, done.stderr)


@dataclass(frozen=True)
class Outcome:
    """What a command gave."""

    code: int
    err: str

    @property
    def errors(self) -> list[str]:
        """Its error lines: one, if it failed as it should."""
        return [line for line in self.err.splitlines() if line.startswith("dragoman: error: ")]

    @property
    def peak(self) -> int:
        """The most memory that it held, in KiB."""
        return int(self.err.splitlines()[-1].removeprefix("peak "))


def sources(count: int, *, seed: int = 1) -> list[str]:
    """Lines of very different lengths; some cannot be used."""
    draw = random.Random(seed)
    words = ["source", "of", "many", *map(str, range(40))]
    lines = [" ".join(draw.choices(words, k=draw.choice([1, 2, 3, 5, 8, 30]))) for _ in range(count)]
    for place in range(5, count, 11):
        lines[place] = ""
    return lines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.txt"
    path.write_text("\n".join(sources(70)) + "\n", encoding="utf-8")
    return path


def translate(model: Path, file: Path, out: Path, *words: object, **how: object) -> Outcome:
    return command("translate", model, "--input", file, "--output", out, *QUICK, *words, **how)  # type: ignore[arg-type]


def parts(out: Path) -> list[str]:
    """What stands beside an output because of it, half-written files included."""
    return sorted(path.name for path in out.parent.iterdir() if path.name.lstrip(".").startswith(f"{out.name}."))


# What is computed together


def test_every_place_is_in_one_batch_and_batches_are_full_of_tokens_not_of_rows() -> None:
    draw = random.Random(1)
    lengths = {place: draw.randint(1, 400) for place in range(3_000)}
    for width in (1, 5):
        found = list(batches(lengths, width=width))
        assert sorted(place for batch in found for place in batch) == sorted(lengths)
        sizes = [max(max(lengths[i] for i in batch), SHORTEST) * len(batch) * width for batch in found]
        assert max(sizes) <= BATCH_TOKENS
        assert sum(sizes[:-1]) > 0.85 * BATCH_TOKENS * (len(sizes) - 1), "batches are half empty"
        assert max(map(len, found)) > 10 * min(map(len, found)), "short and long sources come in equal numbers"
        real = sum(max(length, SHORTEST) for length in lengths.values()) * width
        assert sum(sizes) < 1.1 * real, "more than a tenth is padding"


def test_of_nothing_there_is_no_window_and_no_batch() -> None:
    assert list(windows([], size=len)) == []
    assert list(batches({})) == []


def test_a_source_that_is_longer_than_a_batch_is_a_batch_alone() -> None:
    assert list(batches({0: BATCH_TOKENS, 1: BATCH_TOKENS + 1, 2: 3})) == [[1], [0], [2]]


def test_windows_are_bounded_by_lines_and_characters_and_begin_alike_wherever_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "WINDOW_LINES", 10)
    monkeypatch.setattr(batching, "WINDOW_CHARACTERS", 100)
    draw = random.Random(2)
    lines = ["x" * draw.choice([5, 10, 25, 250]) for _ in range(200)]
    found = list(windows(lines, size=len))
    assert [line for window in found for line in window] == lines
    assert all(len(window) <= 10 for window in found)
    assert all(sum(map(len, window)) <= 100 for window in found if len(window) > 1)
    for window, following in itertools.pairwise(found):  # it has no room for one more
        assert len(window) == 10 or sum(map(len, window)) + len(following[0]) > 100
    assert any(sum(map(len, window)) == 100 for window in found)
    for number in range(len(found)):
        rest = lines[sum(map(len, found[:number])) :]
        assert list(windows(rest, size=len)) == found[number:]


class SlowJob:
    """Gives every source back; a batch that holds a source in `gates` waits for its gate first."""

    width = BATCH_TOKENS // 100

    def __init__(self, gates: dict[str, threading.Event] | None = None, *, fails: str = "") -> None:
        self.gates, self.fails, self.ran = gates or {}, fails, 0

    def encode(self, sources: Sequence[str]) -> Encoded:
        usable = {place: [5] * len(source) for place, source in enumerate(sources) if source}
        return Encoded(usable, {place: "empty" for place, source in enumerate(sources) if not source})

    def run(self, sources: Sequence[str], source_ids: Sequence[list[int]]) -> list[Translation]:
        del source_ids
        for source in sources:
            if source in self.gates:
                assert self.gates[source].wait(20)
            if source == self.fails:
                raise RuntimeError("this batch fails")
        time.sleep(random.random() * 0.005)
        self.ran += 1
        return [Translation(source, ()) for source in sources]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("ahead", [True, False])
def test_order_is_kept_however_batches_overtake_each_other(workers: int, ahead: bool) -> None:
    lines = ["x" * random.Random(i).randint(0, 60) for i in range(300)]
    done: list[int] = []
    some = [lines[start : start + 40] for start in range(0, 300, 40)]
    found = translate_windows(SlowJob(), some, text=str, workers=workers, ahead=ahead, listener=done.append)  # type: ignore[arg-type]
    pairs = [(line, t.source) for window, given in found for line, t in zip(window, given, strict=True)]
    assert pairs == [(line, line) for line in lines]
    assert sum(done) == 300


def test_a_line_is_given_out_as_soon_as_it_and_all_before_it_are_ready() -> None:
    gate = threading.Event()
    job = SlowJob({"xx": gate})
    lines = ["x" * 90, "", "x" * 80, "xx", "x" * 70]
    found = translate_windows(job, [lines], text=str, workers=2)  # type: ignore[arg-type]
    _, given = next(found)
    assert [next(given).source for _ in range(3)] == lines[:3], "three lines wait for the fourth"
    gate.set()
    assert [t.source for t in given] == lines[3:]


@pytest.mark.parametrize(("ahead", "most"), [(True, 2), (False, 1)])
def test_one_window_is_read_ahead_and_no_more(ahead: bool, most: int) -> None:
    read = 0

    def reading() -> Iterator[list[str]]:
        nonlocal read
        for _ in range(20):
            read += 1
            yield ["x" * 9] * 5

    found = translate_windows(SlowJob(), reading(), text=str, workers=2, ahead=ahead)  # type: ignore[arg-type]
    for given_out, (_, translations) in enumerate(found):
        assert read == min(given_out + most, 20)
        assert len(list(translations)) == 5


def test_a_batch_that_fails_ends_all_and_no_more_are_computed() -> None:
    lines = ["x" * 90, *("y" * 80 for _ in range(500))]
    job = SlowJob(fails=lines[0])
    found = translate_windows(job, [lines], text=str, workers=2)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="this batch fails"):
        list(next(found)[1])
    found.close()
    assert job.ran < 400


# The results


def test_law_3_a_file_gives_what_its_lines_give_one_by_one(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WINDOW_LINES", 50)
    lines = sources(170, seed=3)
    search = SearchOptions(beam_size=3, num_hypotheses=2, max_length=9)
    translator = dragoman.load(trained, threads=2)
    found = list(translator.translate_many(iter(lines), options=search))
    assert [t.source for t in found] == lines
    for line, many in zip(lines, found, strict=True):
        alone = translator.translate(line, options=search)
        assert alone.warning == many.warning
        assert_alike(many.candidates, alone.candidates)


def test_sources_are_not_read_before_they_are_needed(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WINDOW_LINES", 10)
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"source {read % 40}"

    found = dragoman.load(trained, threads=1).translate_many(
        endless(), options=SearchOptions(beam_size=1, max_length=3)
    )
    assert next(found).source == "source 1"
    assert read < 40


def test_impossible_options_are_found_before_anything_is_read(trained: Path) -> None:
    def never() -> Iterator[str]:
        raise AssertionError("a source was read")
        yield ""

    with pytest.raises(dragoman.DragomanError, match="`reverse_weight` needs a `reverse` model"):
        dragoman.load(trained).translate_many(never(), options=SearchOptions(reverse_weight=0.5))


def test_every_line_has_its_output_in_its_place(trained: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    done = translate(trained, file, out, "--json")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["source"] for row in rows] == sources(70)
    assert [row["line"] for row in rows] == list(range(1, 71))
    empty = [row["line"] for row in rows if not row["candidates"]]
    assert empty == [place + 1 for place in range(5, 70, 11)]
    for line in empty:
        assert done.err.count(f"warning: line {line}: ") == 1
    assert parts(out) == []


def test_a_line_that_cannot_be_read_says_why_to_programs_too(trained: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "in.txt", tmp_path / "out.json"
    file.write_bytes(b"source 1 of many\n\xff\xfe\n")
    done = translate(trained, file, out, "--json")
    (told,) = [line for line in done.err.splitlines() if "warning: line 2: " in line]
    row = json.loads(out.read_text(encoding="utf-8").splitlines()[1])
    assert told.endswith(row["warning"])
    assert "bytes" in row["warning"]


def test_an_empty_file_gives_an_empty_file(trained: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "in.txt", tmp_path / "out.txt"
    file.touch()
    assert main(["translate", str(trained), "--input", str(file), "--output", str(out)]) == 0
    assert out.read_bytes() == b""
    assert parts(out) == []


def test_the_number_of_threads_changes_no_byte(trained: Path, file: Path, tmp_path: Path) -> None:
    for threads in (1, 2, 5):
        assert translate(trained, file, tmp_path / f"{threads}.json", "--json", "--threads", threads).code == 0
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "5.json").read_bytes()


def test_standard_input_gives_the_bytes_that_a_file_gives(trained: Path, file: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "dragoman", "translate", str(trained), *QUICK, "--output", str(tmp_path / "a.txt")]
    with file.open() as lines:
        subprocess.run(words, stdin=lines, check=True, capture_output=True)
    subprocess.run(
        ["bash", "-c", 'cat "$0" | "$@" >b.txt', str(file), *words[:-2]], check=True, cwd=tmp_path, capture_output=True
    )
    assert translate(trained, file, tmp_path / "c.txt").code == 0
    expected = (tmp_path / "c.txt").read_bytes()
    assert expected.count(b"\n") == 70
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes() == expected


def test_who_sends_a_line_gets_its_answer_before_the_next(trained: Path) -> None:
    words = [sys.executable, "-m", "dragoman", "translate", str(trained), *QUICK]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(f"source {number} of many\n".encode())
            process.stdin.flush()
            assert process.stdout.readline().endswith(b"\n")
        process.stdin.close()
        assert process.stdout.read() == b""


@pytest.mark.parametrize("gone", [False, True])
def test_what_ends_while_the_next_line_is_waited_for_ends_well(trained: Path, gone: bool) -> None:
    words = [sys.executable, "-m", "dragoman", "translate", str(trained), *QUICK]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    interruptible = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also if the tests run in the background
    with subprocess.Popen(words, **pipes, preexec_fn=interruptible) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"source 1 of many\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\n")
        if gone:  # as `| head -1`
            process.stdout.close()
            process.stdin.write(b"source 2 of many\n")
            process.stdin.flush()
        else:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == (141 if gone else 130)
        errors = [line for line in process.stderr.read().decode().splitlines() if "warning" not in line]
    assert errors == ([] if gone else ["dragoman: interrupted"])


def test_memory_does_not_grow_with_the_file(trained: Path, tmp_path: Path) -> None:
    peaks = []
    for count in (1_000, 4_000):
        file = tmp_path / f"{count}.txt"
        file.write_text("\n".join(sources(1_000) * (count // 1_000)) + "\n", encoding="utf-8")
        options = ("--num-hypotheses", "2", "--json", "--threads", "1")
        peaks.append(translate(trained, file, tmp_path / f"{count}.out", *options).peak)
    assert peaks[1] < peaks[0] + 4_000, f"{peaks} KiB for 1,000 and 4,000 lines"


# Interrupted and gone on with

FORMS = {"text": (), "rows": ("--num-hypotheses", "2"), "json": ("--json", "--num-hypotheses", "2")}


@pytest.mark.parametrize("form", FORMS)
def test_killed_at_any_moment_and_gone_on_with_it_is_the_same_file(
    trained: Path, file: Path, tmp_path: Path, form: str
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert translate(trained, file, whole, *FORMS[form]).code == 0
    draw = random.Random(form)
    # A window of 16 lines is about 40 moments; of each run at least one window is new.
    kills = 0
    for moment in (2, 9, *(draw.randint(50, 75) for _ in range(3))):
        done = translate(trained, file, out, *FORMS[form], moment=moment)
        assert done.code == -9, "it was not killed"
        assert not out.exists()
        kills += 1
    done = translate(trained, file, out, *FORMS[form])
    assert done.code == 0, done.err
    assert "lines already; going on after them" in done.err
    assert out.read_bytes() == whole.read_bytes()
    assert parts(out) == []
    assert kills == 5


def test_killed_while_the_part_gets_its_name(trained: Path, file: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert translate(trained, file, whole).code == 0
    ways = set()
    # What a run does before it ends is twice (70 writes, 6 records of 4 moments, the last words to the disk).
    for moment in range(2 * (70 + 6 * 4) + 1, 2 * (70 + 6 * 4) + 7):
        for path in (out, *(tmp_path / name for name in parts(out))):
            path.unlink(missing_ok=True)
        code = translate(trained, file, out, moment=moment).code
        ways.add((code, out.exists(), *parts(out)))
        assert translate(trained, file, out).code == 0
        assert out.read_bytes() == whole.read_bytes()
        assert parts(out) == []
    assert (-9, False, "out.part", "out.part.json") in ways
    assert (-9, True, "out.part.json") in ways


def test_killed_from_outside_with_several_threads(trained: Path, tmp_path: Path) -> None:
    file, whole, out = tmp_path / "in.txt", tmp_path / "whole", tmp_path / "out"
    file.write_text("\n".join(sources(600)) + "\n", encoding="utf-8")
    words = ("--json", "--threads", "2")
    assert translate(trained, file, whole, *words).code == 0
    arguments = ["translate", str(trained), "--input", str(file), "--output", str(out), *QUICK, *words]
    with subprocess.Popen(
        [sys.executable, "-c", _COMMAND, "SIGKILL", "0", *arguments], stderr=subprocess.DEVNULL
    ) as process:
        record = tmp_path / "out.part.json"
        while not (record.exists() and json.loads(record.read_text())["lines"] >= 48):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.001)
        process.kill()
    assert 48 <= json.loads(record.read_text())["lines"] < 600
    done = translate(trained, file, out, "--json", "--threads", "1")
    assert done.code == 0, done.err
    assert out.read_bytes() == whole.read_bytes()


def test_an_interrupt_says_how_to_go_on(trained: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = translate(trained, file, out, signal="SIGINT", moment=100)
    assert done.code == 130
    assert "dragoman: interrupted after 32 lines; the same command goes on after them" in done.err
    assert parts(out) == ["out.part", "out.part.json"]
    early = translate(trained, file, tmp_path / "early", signal="SIGINT", moment=9)
    assert early.code == 130
    assert parts(tmp_path / "early") == [], "a part without a line is worth nothing"


@pytest.fixture
def stopped(trained: Path, file: Path, tmp_path: Path) -> Path:
    """An output whose first 32 lines are done."""
    out = tmp_path / "out"
    assert translate(trained, file, out, moment=100).code == -9
    return out


def test_what_was_begun_otherwise_is_an_error_that_names_the_way_out(
    trained: Path, file: Path, stopped: Path, tmp_path: Path
) -> None:
    part = stopped.with_name("out.part")
    before = part.read_bytes()
    cases = [(("--beam-size", "3"), "another --beam-size"), (("--json",), "another --json")]
    for words, message in cases:
        given = [word for word in QUICK if word not in ("--beam-size", "2")] if "--beam-size" in words else QUICK
        done = command("translate", trained, "--input", file, "--output", stopped, *given, *words)
        assert (done.code, len(done.errors)) == (2, 1), done.err
        assert f"{part} was begun with {message}; give the same again" in done.errors[0]
        assert "or remove it to begin anew" in done.errors[0]
    table = tmp_path / "in.tsv"
    table.write_bytes(file.read_bytes())
    assert "was begun with another --format" in translate(trained, table, stopped).errors[0], "lines are now rows"
    file.write_text(file.read_text().replace("many", "few"))
    done = translate(trained, file, stopped)
    assert (done.code, len(done.errors)) == (2, 1)
    assert "was begun with another input" in done.errors[0]
    assert part.read_bytes() == before
    part.unlink()
    assert translate(trained, file, stopped).code == 0, "the way out is none"


def test_another_model_is_no_way_to_go_on(trained: Path, file: Path, stopped: Path, tmp_path: Path) -> None:
    import shutil

    other = Path(shutil.copytree(trained, tmp_path / "other"))
    assert main(["translate", str(other), "--input", str(file), "--output", str(stopped), *QUICK]) == 0, (
        "a copy is the same model"
    )
    stopped.unlink()
    assert translate(trained, file, stopped, moment=100).code == -9
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"calibration": {"a": 0.5, "b": 0.5, "c": 0.0}}))
    assert "another model" in translate(other, file, stopped).errors[0]


def test_a_model_that_decides_with_it_is_no_reverse_model(trained: Path) -> None:
    together, reverse = dragoman.load(trained, ensemble=[trained]), dragoman.load(trained, reverse=trained)
    assert together.fingerprint == dragoman.load(trained, ensemble=[trained]).fingerprint
    assert together.fingerprint != reverse.fingerprint, "a part that one began would be gone on with by the other"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _, record: record.unlink(), "does not say how much of it is certain; remove it"),
        (lambda _, record: record.write_text("{"), "does not say how much of it is certain; remove it"),
        (lambda part, _: part.write_bytes(part.read_bytes()[:9]), "is damaged: it has 9 bytes of"),
    ],
    ids=["no record", "half a record", "half a part"],
)
def test_a_part_that_cannot_be_trusted_is_left_alone(
    trained: Path, file: Path, stopped: Path, damage: object, message: str
) -> None:
    part, record = stopped.with_name("out.part"), stopped.with_name("out.part.json")
    damage(part, record)  # type: ignore[operator]
    before = part.read_bytes()
    done = translate(trained, file, stopped)
    assert (done.code, len(done.errors)) == (2, 1)
    assert message in done.errors[0]
    assert part.read_bytes() == before


def test_two_at_a_time_do_not_write_one_file(trained: Path, file: Path, stopped: Path) -> None:
    with stopped.with_name("out.part").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = translate(trained, file, stopped)
    assert (done.code, len(done.errors)) == (2, 1)
    assert "is being written by another process" in done.errors[0]
    assert translate(trained, file, stopped).code == 0


def test_a_full_disk_keeps_what_is_certain(trained: Path, file: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert translate(trained, file, whole, "--json").code == 0
    size = whole.stat().st_size
    done = translate(trained, file, out, "--json", disk=size * 2 // 3)
    assert (done.code, len(done.errors)) == (2, 1), done.err
    assert f"there is no space left on the disk for {out}.part" in done.errors[0]
    assert "give the same command again" in done.errors[0]
    assert "Traceback" not in done.err
    done = translate(trained, file, out, "--json")
    assert (done.code, "going on after them" in done.err) == (0, True)
    assert out.read_bytes() == whole.read_bytes()


def test_an_output_that_cannot_be_written_is_found_before_any_work(trained: Path, file: Path, tmp_path: Path) -> None:
    done = translate(trained, file, tmp_path / "nowhere" / "out")
    assert (done.code, len(done.errors)) == (2, 1)
    nowhere = tmp_path / "nowhere"
    assert f"{nowhere / 'out'} cannot be written: there is no directory {nowhere}" in done.errors[0]
    done = translate(trained, file, tmp_path)
    assert (done.code, done.errors) == (2, [f"dragoman: error: {tmp_path} is a directory; give a file"])


def test_a_finished_output_is_replaced_and_a_link_stays_one(trained: Path, file: Path, tmp_path: Path) -> None:
    target, out = tmp_path / "target.txt", tmp_path / "out"
    target.write_text("old")
    out.symlink_to(target)
    assert translate(trained, file, out).code == 0
    assert out.is_symlink()
    assert target.read_text(encoding="utf-8").count("\n") == 70


def test_a_file_can_be_translated_into_itself(trained: Path, file: Path, tmp_path: Path) -> None:
    assert translate(trained, file, tmp_path / "out").code == 0
    assert translate(trained, file, file).code == 0
    assert file.read_bytes() == (tmp_path / "out").read_bytes()


def test_an_input_that_changes_meanwhile_is_found_and_one_that_is_only_touched_is_not(file: Path) -> None:
    seen = InputFile(file)
    seen.check("")
    file.touch()
    seen.check("")
    with file.open("a") as more:
        more.write("one more\n")
    with pytest.raises(DataError, match=r"in\.txt changed while it was translated; begin anew"):
        seen.check("begin anew")


# The parts


def test_what_is_not_committed_is_written_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyError), part_of(out, {"a": 1}) as part:  # noqa: PT012
        part.write("one\ntwo\n")
        part.commit(2)
        part.write("thr")
        raise KeyError
    assert not out.exists()
    with part_of(out, {"a": 1}) as part:
        assert part.done == 2
        part.write("three\n")
        part.commit(1)
    assert out.read_text() == "one\ntwo\nthree\n"
    with pytest.raises(KeyError), part_of(out, {"a": 2}) as part:  # noqa: PT012
        assert part.done == 0
        raise KeyError
    assert out.read_text() == "one\ntwo\nthree\n", "a finished output was touched before there is a new one"
    assert parts(out) == []


@given(
    st.lists(st.tuples(st.lists(st.tuples(st.text(max_size=3), st.booleans()), max_size=4), st.booleans()), max_size=4)
)
@example([([("one", False)], True)])
@example([([("one", True), ("two", False)], True), ([("two", False)], False)])
@settings(max_examples=25, deadline=None)
def test_whatever_stops_a_part_no_line_is_lost_or_written_twice(
    rounds: list[tuple[list[tuple[str, bool]], bool]],
) -> None:
    """In each round some lines are written, of which some are committed; then it is stopped, or killed as it stands."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)  # the machine is not what stops
        out, certain, facts = Path(folder) / "out", list[str](), {"a": 0}
        for number, (lines, killed) in enumerate([*rounds, ([("the last", True)], False)]):
            if not certain:
                facts = {"a": number}  # nothing binds a part that nothing is certain of
            left: dict[Path, bytes] = {}
            with suppress(KeyError), part_of(out, facts) as part:
                assert part.done == len(certain)
                waiting: list[str] = []
                for text, commits in lines:
                    waiting.append(text.replace("\n", " ") + "\n")
                    part.write(waiting[-1])
                    if commits:
                        part.commit(len(waiting))
                        certain, waiting = certain + waiting, []
                if number == len(rounds):
                    continue
                left = {path: path.read_bytes() for path in Path(folder).iterdir()}
                raise KeyError
            if killed:
                for path, content in left.items():
                    path.write_bytes(content)
                (Path(folder) / ".out.part.json.1.tmp").write_text("half a record")
            assert not out.exists()
        assert out.read_bytes() == "".join(certain).encode("utf-8", "backslashreplace")
        assert list(Path(folder).iterdir()) == [out]


def test_other_facts_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError), part_of(tmp_path / "out", {"model": "x", "`seed`": 1}) as part:  # noqa: PT012
        part.write("one\n")
        part.commit(1)
        raise KeyError
    with pytest.raises(StorageError, match="was begun with another `seed`"), part_of(tmp_path / "out", {"model": "x"}):
        pass


def test_a_survey_counts_lines_and_sees_every_change(tmp_path: Path) -> None:
    import gzip

    plain, packed = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    plain.write_bytes(b"one\ntwo\nthree")
    packed.write_bytes(gzip.compress(b"one\ntwo\nthree"))
    assert survey(plain) == survey(packed)
    assert survey(plain)[1] == 3
    before = survey(plain)[0]
    plain.write_bytes(b"one\ntwo\nthrew")
    assert survey(plain)[0] != before
    plain.write_bytes(b"")
    assert survey(plain)[1] == 0


def test_progress_is_shown_after_two_seconds_with_speed_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now)
    with counting("translating", total=5_000, done=1_000, unit="line") as count:
        now += 1.5
        count(300)
        assert capsys.readouterr().err == ""
        now += 1.5
        count(300)
        expected = "translating: 1,600 of 5,000 lines, 200 lines/s, 17 s left\n"
        assert capsys.readouterr().err == expected
        now += 1
        count(300)
        assert capsys.readouterr().err == "", "a log gets a line now and then"
    with counting("translating", total=None) as count:
        now += 4
        count(10)
        assert capsys.readouterr().err == "translating: 10 sources, 2.5 sources/s\n"
    with counting("translating", total=1) as count:
        now += 4
        count(1)
        assert capsys.readouterr().err == "translating: 1 of 1 source, 0.2 sources/s\n", "nothing is left at the end"
    with counting("comparing", total=None, unit="") as count:
        now += 75
        count(0)
        assert capsys.readouterr().err == "comparing: 1 min 15 s\n", "how far it is cannot be told"
    with counting("translating", total=10, shown=False) as count:
        now += 9
        count(5)
        assert capsys.readouterr().err == ""


def test_a_log_of_training_shows_the_time_left_until_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_module, "_SECONDS_BETWEEN_LINES", 0.0)
    with progress_module.Lines() as lines:
        for share, left in ((0.1, None), (0.5, 7.0), (1.0, 0.0)):
            lines(Progress(20, 1.5, share, 3.25, 3331.0, 1e-3, seconds=9.0, seconds_left=left))
    shown = capsys.readouterr().err.splitlines()
    same = "step 20, epoch 1.5: loss 3.250, 3,331 tokens/s, 9 s"
    assert shown == [same, f"{same}, 7 s left", same]


@pytest.mark.parametrize(("number", "words"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs"), (1234, "1,234 pairs")])
def test_one_thing_is_singular(number: int, words: str) -> None:
    assert counted(number, "pair") == words
    assert counted(np.int64(number), "pair") == words  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [30, 40, 80])
def test_a_narrow_terminal_shows_how_long_training_still_takes(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width)
    monkeypatch.setattr(progress_module, "console", lambda: terminal)
    with progress_module.Bar() as bar:
        bar(Progress(1234, 12.3, 0.4, 3.211, 3331.0, 1e-3, seconds=121.0, seconds_left=315.0))
    assert isinstance(terminal.file, io.StringIO)
    shown = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", " ", terminal.file.getvalue()).split())
    assert "5 min 15 s left" in shown
    assert "training" in shown


@pytest.mark.parametrize(("term", "kind"), [("dumb", progress_module.Lines), ("xterm", progress_module.Bar)])
def test_a_terminal_that_cannot_redraw_gets_lines(term: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert isinstance(progress_module.watcher(), kind)

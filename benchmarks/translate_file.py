"""Lines a second through a file: batches as they come against the way of `dragoman translate`, and what each part is worth.

    python benchmarks/translate_file.py [--lines 2000] [--hidden-size 256] [--beam-size 5] [--threads 2] [--rounds 3]
    python benchmarks/translate_file.py --whole 100000 [--kills 5]      # the real command, killed with kill -9

The model has random weights (one step of training, so that its directory is a real one) and the text is made up: words of a
Zipf distribution, 1 to 60 in a sentence, 11 on average. Random outputs never end, so they are cut at 1.2 times the source.
All ways run in every round, one after another: what counts are ratios within one run. The CPU seconds are this process's alone.

`--whole` translates a quarter of so many lines and then all with the real command, and prints the memory that each took; then all
once more, killed with kill -9 again and again and gone on with, and compares the bytes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from multiprocessing.pool import Pool
from pathlib import Path

import dragoman
from dragoman import SearchOptions, TrainOptions
from dragoman.runtime.engine import OnnxStepper
from dragoman.translation.batches import batches, windows
from dragoman.translation.job import Job
from dragoman.translation.pipeline import translate_windows

LONGEST = 1.2
"""Longest output, as a multiple of the source."""


def made_up(lines: int, *, seed: int) -> Iterator[str]:
    """Sentences."""
    draw = random.Random(seed)
    syllables = [a + b for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "an", "er", "is")]
    lexicon = ["".join(random.Random(i).choices(syllables, k=1 + i % 4)) for i in range(20_000)]
    weights = [1 / (rank + 3) for rank in range(len(lexicon))]
    words: Iterator[str] = iter(())
    for _ in range(lines):
        length = min(60, max(1, round(draw.lognormvariate(2.2, 0.6))))
        some = list(islice(words, length))
        if len(some) < length:
            words = iter(draw.choices(lexicon, weights, k=100_000))
            some += islice(words, length - len(some))
        yield " ".join(some) + "."


def make_model(folder: Path, *, hidden_size: int, vocab_size: int) -> Path:
    """A model directory with random weights and ONNX graphs."""
    options = TrainOptions(
        max_steps=1,
        hidden_size=hidden_size,
        embedding_size=hidden_size,
        vocab_size=vocab_size,
        device="cpu",
        dev=("20",),
    )
    pairs = list(zip(made_up(8_000, seed=1), made_up(8_000, seed=2), strict=True))
    dragoman.train(pairs, out=folder / "model", options=options)
    return folder / "model"


class Ways:
    """A model, sources, and the ways to get the ones through the other."""

    def __init__(self, model: Path, sources: list[str], options: SearchOptions, threads: int) -> None:
        self.model, self.sources, self.options, self.threads = model, sources, options, threads
        self.translator = dragoman.load(model, engine="onnx", threads=threads)
        graphs = self.translator.directory.read_graphs()
        self.many, self.one = (OnnxStepper(*graphs, threads=number) for number in (threads, 1))

    def named(self, pool: Pool) -> dict[str, Callable[[], int]]:
        """Each way by what it is; the plain one first."""
        n = self.threads
        return {
            f"64 lines as they come, {n} threads in a batch": self.as_they_come,
            f"256 lines sorted, 64 in a batch, {n} threads in a batch": self.sorted_rows,
            f"windows, {n} threads in a batch": partial(self.windows, self.many, 1, ahead=False),
            "windows, 1 thread": partial(self.windows, self.one, 1, ahead=False),
            f"windows, {n} batches at once, none ahead": partial(self.windows, self.one, n, ahead=False),
            f"windows, {n} batches at once, next window ahead": partial(self.windows, self.one, n, ahead=True),
            f"windows, {n} processes": partial(self.processes, pool),
        }

    def job(self, stepper: OnnxStepper) -> Job:
        """The work, done by a stepper with so many threads."""
        model = self.translator
        attends = model.config["architecture"]["attention"] != "none"
        return Job(model.directory, stepper, model.texts, options=self.options, attends=attends)

    def as_they_come(self) -> int:
        """Batches of 64 lines, unsorted."""
        job, done = self.job(self.many), 0
        for start in range(0, len(self.sources), 64):
            some = self.sources[start : start + 64]
            done += len(job.run(some, list(job.encode(some).ids.values())))
        return done

    def sorted_rows(self) -> int:
        """What `dragoman translate` did at first."""
        job, done = self.job(self.many), 0
        for start in range(0, len(self.sources), 256):
            some = self.sources[start : start + 256]
            ids = job.encode(some).ids
            order = sorted(ids, key=lambda place: -len(ids[place]))
            for first in range(0, len(order), 64):
                places = order[first : first + 64]
                done += len(job.run([some[i] for i in places], [ids[i] for i in places]))
        return done

    def windows(self, stepper: OnnxStepper, workers: int, *, ahead: bool) -> int:
        """Sorted within windows, batches filled by tokens."""
        job = self.job(stepper)
        found = translate_windows(job, windows(self.sources, size=len), text=str, workers=workers, ahead=ahead)
        return sum(1 for _, translations in found for _ in translations)

    def processes(self, pool: Pool) -> int:
        """The same, every batch in a process with one thread."""
        job, done = self.job(self.one), 0
        for window in windows(self.sources, size=len):
            ids = job.encode(window).ids
            places = batches({place: len(row) for place, row in ids.items()}, width=job.width)
            work = [([window[i] for i in batch], [ids[i] for i in batch]) for batch in places]
            done += sum(len(texts) for texts in pool.imap(run_in_process, work))
        return done


_JOBS: list[Job] = []


def load_in_process(model: Path, options: SearchOptions) -> None:
    """Make the job that a worker process does."""
    _JOBS.append(dragoman.load(model, engine="onnx", threads=1).job(options))


def run_in_process(work: tuple[list[str], list[list[int]]]) -> list[str]:
    """Translate one batch."""
    return [translation.text for translation in _JOBS[0].run(*work)]


def compare(model: Path, arguments: argparse.Namespace) -> None:
    """Print the speed of every way."""
    sources = list(made_up(arguments.lines, seed=3))
    options = SearchOptions(beam_size=arguments.beam_size, max_length_ratio=LONGEST)
    ways = Ways(model, sources, options, arguments.threads)
    print(f"{arguments.lines:,} lines, hidden size {arguments.hidden_size}, beam {arguments.beam_size}")
    with multiprocessing.get_context("spawn").Pool(arguments.threads, load_in_process, (model, options)) as pool:
        named = ways.named(pool)
        seconds: dict[str, list[float]] = {name: [] for name in named}
        computing: dict[str, list[float]] = {name: [] for name in named}
        for _ in range(arguments.rounds):
            for name, way in named.items():
                began, began_computing = time.perf_counter(), time.process_time()
                assert way() == len(sources)
                seconds[name].append(time.perf_counter() - began)
                computing[name].append(time.process_time() - began_computing)
                print(f"{name}: {seconds[name][-1]:.2f} s", file=sys.stderr, flush=True)
    base = statistics.median(seconds[next(iter(named))])
    print(f"{'':<58} {'lines/s':>8} {'times':>6} {'best s':>7} {'CPU s':>7}")
    for name, times in seconds.items():
        middle, cpu = statistics.median(times), statistics.median(computing[name])
        print(f"{name:<58} {len(sources) / middle:>8.1f} {base / middle:>6.2f} {min(times):>7.2f} {cpu:>7.2f}")


def whole(model: Path, folder: Path, arguments: argparse.Namespace) -> None:
    """Translate a large file with the real command, in one go and in pieces."""
    small, large = folder / "small.txt", folder / "large.txt"
    with small.open("w", encoding="utf-8") as one, large.open("w", encoding="utf-8") as other:
        for number, line in enumerate(made_up(arguments.whole, seed=4)):
            other.write(line + "\n")
            if number < arguments.whole // 4:
                one.write(line + "\n")
    command = [sys.executable, "-m", "dragoman", "translate", str(model), "--max-length-ratio", str(LONGEST)]
    command += ["--beam-size", str(arguments.beam_size), "--threads", str(arguments.threads), "--json"]
    seconds = 0.0
    for file in (small, large):
        began = time.perf_counter()
        memory = run(command, file, folder / f"{file.stem}.json")
        seconds = time.perf_counter() - began
        lines = sum(1 for _ in file.open(encoding="utf-8"))
        print(f"{lines:>9,} lines: {seconds:.1f} s, {lines / seconds:,.0f} lines/s, at most {memory / 2**20:,.0f} MiB")
    draw, kills, pieces = random.Random(5), 0, folder / "pieces.json"
    while kills < arguments.kills:
        if run(command, large, pieces, kill_after=draw.uniform(0.3, 1.5) * seconds / arguments.kills):
            break
        kills += 1
    if not pieces.exists():
        run(command, large, pieces)
    same = pieces.read_bytes() == (folder / "large.json").read_bytes()
    print(f"killed {kills} times and gone on with: {'the same bytes' if same else 'OTHER BYTES'}")


def run(command: list[str], file: Path, out: Path, *, kill_after: float | None = None) -> int:
    """Run the command; returns the most memory that it held (its peak resident set, in bytes), or 0 if it was killed."""
    process = subprocess.Popen([*command, "--input", str(file), "--output", str(out)], stderr=subprocess.DEVNULL)
    began, memory = time.monotonic(), 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        memory = max([memory, *(1024 * int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmHWM:")])
        if kill_after is not None and time.monotonic() - began > kill_after:
            process.kill()
            process.wait()
            return 0
        time.sleep(0.05)
    if process.returncode:
        raise SystemExit(f"the command failed with exit code {process.returncode}")
    return memory


def main() -> None:
    """Make a model and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=2_000)
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--vocab-size", type=int, default=8_000)
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--threads", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", type=int, metavar="LINES")
    parser.add_argument("--kills", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder), hidden_size=arguments.hidden_size, vocab_size=arguments.vocab_size)
        if arguments.whole:
            whole(model, Path(folder), arguments)
        else:
            compare(model, arguments)


if __name__ == "__main__":
    main()

"""Whether the memory of training grows with the corpus, or from epoch to epoch.

    python benchmarks/corpus_memory.py --pairs 1000000 5000000 [--steps 300]
    python benchmarks/corpus_memory.py --pairs 20000 --epochs 8
    python benchmarks/corpus_memory.py FILE.tsv ...

Each file is trained on in a process of its own, with the default recipe of translations and one thread, but with the same
vocabulary and width for all files. `--pairs` makes such files as read_memory.py does. Twenty times a second the memory of the process is read, and
its peak in each stage is printed: the anonymous memory, which the process needs, and the resident pages of mapped files, which
the system may reclaim at any time. The last line compares the peaks of anonymous memory.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from read_memory import make


def train(file: Path, steps: int | None, epochs: int | None) -> None:
    """In a process of its own: train, and say on stdout which stage begins."""
    import dragoman
    from dragoman import TrainOptions
    from dragoman.training.events import Evaluated, Event, Note, Progress, Stage

    now = ""

    def listen(event: Event) -> None:
        nonlocal now
        stage = now
        match event:
            case Stage():
                stage = event.name
            case Note(text) if text.startswith("plan: "):
                print(text, file=sys.stderr)
                stage = "training, epoch 1"
            case Note(text) if text.startswith("scoring "):
                stage = "scoring"
            case Note(text) if text.startswith("took "):
                print(text, file=sys.stderr)
                stage = "export"
            case Progress() | Evaluated():
                stage = f"training, epoch {int(event.epoch) + 1}"
        if stage != now:
            now = stage
            print(now, flush=True)

    # A larger corpus would get a larger model, whose memory is not the question.
    sizes: dict[str, Any] = {"vocab_size": 8_000, "hidden_size": 256, "batch_tokens": 750}
    changes: Any = {"concatenate": 0.3, "source_noise": 0.3, "other_names": 0.3}  # as translations have
    options = TrainOptions(
        max_steps=steps, epochs=epochs, threads=1, device="cpu", seed=1, patience=0, **sizes, **changes
    )
    with tempfile.TemporaryDirectory() as folder:
        dragoman.train(file, out=Path(folder) / "model", options=options, listener=listen)


def watch(command: list[str]) -> dict[str, tuple[int, int]]:
    """The most anonymous and mapped memory of each stage, in bytes."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stage, most = "start", dict[str, tuple[int, int]]()

    def read() -> None:
        nonlocal stage
        assert process.stdout is not None
        for line in process.stdout:
            stage = line.strip()

    reader = threading.Thread(target=read)
    reader.start()
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        held = {
            name: int(value.split()[0]) << 10 for name, _, value in map(_parted, status.splitlines()) if "Rss" in name
        }
        if held:
            anonymous, mapped = most.get(stage, (0, 0))
            most[stage] = (max(anonymous, held["RssAnon"]), max(mapped, held["RssFile"] + held["RssShmem"]))
        time.sleep(0.05)
    reader.join()
    if process.returncode:
        raise SystemExit(f"training failed with exit code {process.returncode}")
    return most


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def main() -> None:
    """Train on every file and print what each stage held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="TSV files of pairs to train on")
    parser.add_argument(
        "--pairs", nargs="*", type=int, default=[], help="also make files of this many pairs, and train on each"
    )
    parser.add_argument("--steps", type=int, help="optimiser steps (300, unless epochs are given)")
    parser.add_argument("--epochs", type=int, help="passes over the data, in place of steps")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        train(options.files[0], options.steps, options.epochs)
        return
    if not (options.files or options.pairs):
        parser.error("there is nothing to train on: give FILEs, or --pairs")
    steps = options.steps or (None if options.epochs else 300)
    limits = [f"--{name}={value}" for name, value in (("steps", steps), ("epochs", options.epochs)) if value]
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for pairs in options.pairs:
            options.files.append(Path(folder) / f"{pairs}.tsv")
            make(options.files[-1], pairs)
        for file in options.files:
            most = watch([sys.executable, __file__, "--worker", str(file), *limits])
            print(f"\n{file.name:<30} {'needed':>9} {'mapped':>9}  (MB)")
            for stage, (anonymous, mapped) in most.items():
                print(f"{stage:<30} {anonymous / 1e6:>9,.0f} {mapped / 1e6:>9,.0f}")
            peaks[file.name] = max(anonymous for anonymous, _ in most.values())
    first = next(iter(peaks.values()))
    print("\npeaks: " + ", ".join(f"{name} {peak / 1e6:,.0f} MB ({peak / first:.1%})" for name, peak in peaks.items()))


if __name__ == "__main__":
    main()

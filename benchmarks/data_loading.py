"""Which share of the time of training goes into making batches: what is read, joined, changed, sorted and padded.

    python benchmarks/data_loading.py FILE [--steps 300] [--options "--other-names 0"]

FILE is trained on with one thread and everything else as it is chosen from the data, or as the options say. A line each shows the mean time of
a step, that of making its batch, and that of planning an epoch (which pairs are changed and how, and the batches by length), shared
among the batches of an epoch. The last line is the share of both in the whole.
"""

from __future__ import annotations

import argparse
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

from dragoman.cli.app import run
from dragoman.corpus.batching import Batch, BatchPlan
from dragoman.training.trainer import Trainer


def main() -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="FILE", help="pairs to train on")
    parser.add_argument("--steps", type=int, default=300, help="steps to measure (default: %(default)s)")
    parser.add_argument("--options", default="", help="further options of `dragoman train`, in one argument")
    arguments = parser.parse_args()
    made: list[float] = []
    steps: list[float] = []
    plans: list[BatchPlan] = []
    epoch, train_on = BatchPlan.epoch, Trainer._train_on

    def timed_epoch(self: BatchPlan, number: int, *, start: int = 0) -> Iterator[Batch]:
        plans.append(self)
        batches = epoch(self, number, start=start)
        while True:
            before = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            made.append(time.perf_counter() - before)
            yield batch

    def timed_step(self: Trainer, batches: list[Batch]) -> None:
        before = time.perf_counter()
        train_on(self, batches)
        steps.append(time.perf_counter() - before)

    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(BatchPlan, "epoch", timed_epoch),
        patch.object(Trainer, "_train_on", timed_step),
    ):
        limits = ["--max-steps", str(arguments.steps), "--threads", "1", "--out", f"{folder}/model"]
        code = run(["train", str(arguments.file), *limits, *shlex.split(arguments.options)])
        if code:
            raise SystemExit(code)
        before = time.perf_counter()
        planned = plans[0].plan(1_000_000)  # an epoch that was not asked for: nothing of it is kept
        planning = time.perf_counter() - before
    rows = {"a step": sum(steps) / len(steps), "its batch": sum(made) / len(made), "its plan": planning / len(planned)}
    print(f"{len(steps):,} steps; an epoch of {len(planned):,} batches is planned in {planning:.2f} s")
    for name, seconds in rows.items():
        print(f"{name:10} {1000 * seconds:8.2f} ms")
    print(f"making batches takes {1 - rows['a step'] / sum(rows.values()):.1%} of the time")


if __name__ == "__main__":
    main()

"""How much memory and time reading, checking and splitting a large TSV takes.

    python benchmarks/read_memory.py [--pairs 5000000]

It makes such a file in a temporary folder, with about 60 bytes a pair and one source in ten repeated. Then it runs each stage in
a process of its own, and prints its time and its peak resident memory. Memory-mapped pages of the store count in full, although
the system may drop them at any time.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("read", "store", "split", "batches", "check")


def make(path: Path, pairs: int) -> None:
    """Write a TSV of made-up sentences: 4 to 9 words a side from a vocabulary of 50,000."""
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefghiklmnoprstu", k=draw.randint(2, 8))) for _ in range(50_000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(pairs):
            source = "again and again" if number % 10 == 0 else " ".join(draw.choices(words, k=draw.randint(4, 9)))
            file.write(f"{source}\t{' '.join(draw.choices(words, k=draw.randint(4, 9)))}\n")


def run(stage: str, folder: Path) -> None:
    """One stage, in this process."""
    from dragoman.config import ReadOptions
    from dragoman.corpus.reading import read_pairs
    from dragoman.corpus.splitting import default_dev, split
    from dragoman.corpus.store import PairStore

    started = time.perf_counter()
    tsv, arrow = folder / "pairs.tsv", folder / "pairs.arrow"
    if stage == "read":
        done = sum(1 for _ in read_pairs([tsv], ReadOptions()))
    elif stage == "store":
        done = len(PairStore.write(arrow, read_pairs([tsv], ReadOptions())))
    elif stage == "split":
        keys = PairStore.open(arrow).keys()
        done = len(split(keys, seed=1, dev=default_dev(keys)).train)
    elif stage == "batches":
        done = sum(len(sources) for sources, _ in PairStore.open(arrow).select().iter_batches())
    else:
        from dragoman.corpus.checking import check_pairs

        done = check_pairs([tsv], ReadOptions()).pairs
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{stage:8} {done:>10,} pairs  {seconds:7.1f} s  {peak:7.0f} MB", flush=True)


def main() -> None:
    """Make the file and run every stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--pairs", type=int, default=5_000_000, help="pairs in the file that is made (default: %(default)s)"
    )
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run(options.stage, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder) / "pairs.tsv", options.pairs)
        print(f"pairs.tsv: {options.pairs:,} pairs, {(Path(folder) / 'pairs.tsv').stat().st_size / 1e6:,.0f} MB")
        for stage in STAGES:
            subprocess.run([sys.executable, __file__, "--stage", stage, "--folder", folder], check=True)


if __name__ == "__main__":
    main()

"""How much of the training batches is padding, on eng-fra with the default tokenisation.

    python benchmarks/padding.py --data DIR [--batch-tokens 4096] [--windows 50 200 1000]

DIR holds `translation/eng-fra.txt.gz`, English TAB French (manythings.org/anki, CC BY 2.0 FR). A table shows the share of padding
for each size of a batch and of the sorting window. The last line plans an epoch of five million pairs with the same lengths, and
shows the time and the peak memory of that.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from dragoman.config import TrainOptions
from dragoman.corpus.batching import BatchPlan
from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.tokenizer_choice import choose_tokenization
from dragoman.corpus.tokenizer_learning import learn_tokenizers


def encode(path: Path, folder: str) -> EncodedPairs:
    """The whole file as ids."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        cells = [line.rstrip("\n").split("\t") for line in lines]
    pairs = [(row[0], row[1]) for row in cells]
    choice = choose_tokenization(pairs[::10], pairs=len(pairs), options=TrainOptions())
    tokenizers = learn_tokenizers(pairs, choice)
    before = time.perf_counter()
    encoded = EncodedPairs.write(folder, "all", [([s for s, _ in pairs], [t for _, t in pairs])], *tokenizers)
    print(
        f"{len(encoded):,} pairs encoded in {time.perf_counter() - before:.1f} s, {tokenizers[0].vocab_size:,} tokens"
    )
    return encoded


def padding(pairs: EncodedPairs, plan: BatchPlan) -> tuple[int, float, float, float]:
    """Batches, and the shares of source, target and all positions that are padding."""
    sources, targets = pairs.source_lengths, pairs.target_lengths + 1
    padded = np.zeros(2)
    batches = plan.plan(0)
    for rows in batches:
        padded += len(rows) * sources[rows].max(), len(rows) * targets[rows].max()
    real = np.array([sources.sum(), targets.sum()])
    return len(batches), *(1 - real / padded), 1 - real.sum() / padded.sum()


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the public files")
    parser.add_argument(
        "--batch-tokens",
        type=int,
        nargs="+",
        default=[1024, 2048, 4096],
        help="sizes of a batch to measure, in tokens (default: %(default)s)",
    )
    parser.add_argument(
        "--windows",
        type=int,
        nargs="+",
        default=[20, 50, 100, 200, 1000],
        help="sizes of the sorting window to measure, in batches (default: %(default)s)",
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pairs = encode(arguments.data / "translation" / "eng-fra.txt.gz", folder)
        print("batch tokens  window  batches  source padding  target padding  both")
        for tokens in arguments.batch_tokens:
            for window in arguments.windows:
                plan = BatchPlan(pairs, batch_tokens=tokens, seed=1, window_batches=window)
                batches, source, target, both = padding(pairs, plan)
                print(f"{tokens:12,}{window:8}{batches:9,}{source:16.1%}{target:16.1%}{both:6.1%}")
        rows = np.random.default_rng(1).integers(0, len(pairs), 5_000_000)
        offsets = [
            np.append(0, np.cumsum(side[rows], dtype=np.int64)) for side in (pairs.source_lengths, pairs.target_lengths)
        ]
        many = EncodedPairs((rows[:0], rows[:0]), (offsets[0], offsets[1]))
        before = time.perf_counter()
        batches = BatchPlan(many, batch_tokens=4096, seed=1).batches_per_epoch
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"5,000,000 pairs: {batches:,} batches in {time.perf_counter() - before:.1f} s, peak memory {peak:,.0f} MB"
        )


if __name__ == "__main__":
    main()

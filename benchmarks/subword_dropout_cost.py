"""What BPE dropout costs: the time to split an epoch's texts anew, against training on them, and how much longer they get.

    python benchmarks/subword_dropout_cost.py [--share 0.1] [--batches 30]

It uses the bundled English-French pairs, a shared BPE vocabulary, and a model of the size that the default preset has for many
pairs. Times are processor time of one thread, so that other programs on the machine matter little; they are means over the
batches.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

import torch

from dragoman.config import ReadOptions
from dragoman.corpus.batching import BatchPlan
from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.reading import ReadReport, read_pairs
from dragoman.corpus.subword_dropout import SplitAnew
from dragoman.corpus.tokenization import Tokenizer
from dragoman.corpus.tokenizer_learning import learn
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.objective import Objective, add_gradients

SAMPLE = Path(__file__).resolve().parent.parent / "dragoman" / "samples" / "eng-fra.tsv.gz"


def main() -> None:
    """Print milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--share", type=float, default=0.1, help="share of the merges that is left out (default: %(default)s)"
    )
    parser.add_argument("--batches", type=int, default=30, help="batches to take the mean of (default: %(default)s)")
    parser.add_argument("--batch-tokens", type=int, default=750, help="tokens of a batch (default: %(default)s)")
    parser.add_argument("--vocab-size", type=int, default=4_000, help="tokens in the vocabulary (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = [(pair.source, pair.target) for pair in read_pairs([SAMPLE], ReadOptions(), report=ReadReport())]
    tokenizer = Tokenizer([learn([t for row in rows for t in row], method="bpe", vocab_size=arguments.vocab_size)])
    sides = [tokenizer.encode_batch([row[side] for row in rows]) for side in range(2)]
    pairs = EncodedPairs.of(zip(*sides, strict=True))
    model = Seq2Seq(
        source_vocab_size=tokenizer.vocab_size,
        target_vocab_size=tokenizer.vocab_size,
        embedding_size=256,
        hidden_size=384,
        encoder_layers=2,
        decoder_layers=2,
        bidirectional=True,
        attention="multihead",
        attention_heads=4,
        layer_norm=True,
        residual=True,
        tie_embeddings="all",
    )
    epochs, steps, batches, lengths = {}, {}, {}, {}
    for share in (0.0, arguments.share):
        split = SplitAnew(pairs, tokenizer, tokenizer, share=share, seed=1)
        plan = BatchPlan(split if share else pairs, batch_tokens=arguments.batch_tokens, seed=1)
        before = time.process_time()
        batches[share] = plan.batches_per_epoch
        epochs[share] = time.process_time() - before
        times: list[float] = []
        tokens = []
        for batch in itertools.islice(plan.epoch(0), arguments.batches + 3):
            before = time.process_time()
            model.zero_grad()
            add_gradients(model, [batch], torch.device("cpu"), Objective(label_smoothing=0.1))
            times.append(time.process_time() - before)
            tokens.append(batch.target_tokens)
        steps[share], lengths[share] = statistics.mean(times[3:]), statistics.mean(tokens)
    share = arguments.share
    extra, epoch = epochs[share] - epochs[0.0], batches[share] * steps[share]
    print(f"torch {torch.__version__}, 1 thread, {arguments.batch_tokens} tokens a batch, share {share}")
    print(f"splitting {len(pairs):,} pairs takes {extra:.1f} s, their epoch {epoch:.0f} s: {extra / epoch:.1%}")
    tokens_ratio = batches[share] * lengths[share] / (batches[0.0] * lengths[0.0])
    ratio = epoch / (batches[0.0] * steps[0.0])
    print(f"{tokens_ratio:.2f} times as many target tokens, an epoch of {ratio:.2f} times the time")


if __name__ == "__main__":
    main()

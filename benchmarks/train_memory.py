"""The memory and the time of a training step, without and with each option that saves memory.

    python benchmarks/train_memory.py [--target-length 100] [--batch-tokens 2000] [--repeats 5]

Memory is the most bytes that tensors made in a step hold at once, in the forward and the backward pass, gradients included.
Neither the weights nor the working memory of kernels are counted. Times are the shortest of all turns.
"""

from __future__ import annotations

import argparse
import time
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from dragoman.corpus.batching import Batch, make_batch
from dragoman.corpus.dataset import EncodedPairs
from dragoman.errors import counted
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.objective import Objective, add_gradients

CPU = torch.device("cpu")
VOCAB = 8_000


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of tensors that are made inside this context and not yet freed: `now`, and `most` so far."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count the storage of its results."""
        del types
        before = set[int]()
        tree_map_only(Tensor, lambda tensor: before.add(_place(tensor)), (args, kwargs or {}))
        results = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, lambda tensor: self._count(tensor, before), results)
        return results

    def _count(self, tensor: Tensor, before: set[int]) -> None:
        storage, place = tensor.untyped_storage(), _place(tensor)
        if place in before or place in self._known:
            return  # a view, or an operation in place
        self._known.add(place)
        self.now += storage.nbytes()
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._forget, place, storage.nbytes())

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def _place(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def batch_of(length: int, tokens: int) -> Batch:
    """Pairs of targets and sources of one length."""
    random = np.random.default_rng(1)
    rows = max(1, tokens // (length + 1))
    pairs = [
        (random.integers(4, VOCAB, length).tolist(), random.integers(4, VOCAB, length).tolist()) for _ in range(rows)
    ]
    return make_batch(EncodedPairs.of(pairs), np.arange(rows))


def step(model: Seq2Seq, batch: Batch, objective: Objective) -> None:
    """Forward and backward."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(1)
    add_gradients(model, [batch], CPU, objective)


def peak(model: Seq2Seq, batch: Batch, objective: Objective) -> int:
    """The most bytes of a step."""
    model.zero_grad(set_to_none=True)
    with LiveBytes() as live:
        step(model, batch, objective)
    return int(live.most)


def main() -> None:
    """Print a line per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--target-length", type=int, default=100, help="tokens of every source and target (default: %(default)s)"
    )
    parser.add_argument("--batch-tokens", type=int, default=2_000, help="tokens of a batch (default: %(default)s)")
    parser.add_argument("--hidden-size", type=int, default=384, help="width of the layers (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="turns of each step; the shortest counts (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    batch = batch_of(arguments.target_length, arguments.batch_tokens)
    models = {
        "default": {"attention": "multihead", "attention_heads": 4, "bidirectional": True, "residual": True},
        "input feeding": {"attention": "general", "input_feeding": True},
    }
    half, quarter = arguments.target_length // 2, arguments.target_length // 4
    ways = {
        "": Objective(),
        "--recompute": Objective(recompute=True),
        f"--bptt {half}": Objective(bptt=half),
        f"--bptt {quarter}": Objective(bptt=quarter),
        f"--bptt {quarter} --recompute": Objective(bptt=quarter, recompute=True),
        "--precision bfloat16": Objective(bfloat16=True),
        "--precision bfloat16 --recompute": Objective(bfloat16=True, recompute=True),
    }
    print(
        f"torch {torch.__version__}, {counted(arguments.threads, 'thread')}, {len(batch)} pairs of {batch.target_tokens} tokens"
    )
    for name, shape in models.items():
        model = Seq2Seq(
            source_vocab_size=VOCAB,
            target_vocab_size=VOCAB,
            embedding_size=256,
            hidden_size=arguments.hidden_size,
            encoder_layers=2,
            decoder_layers=2,
            dropout=0.2,
            layer_norm=True,
            tie_embeddings="all",
            **shape,  # type: ignore[arg-type]
        ).train()
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.repeats):
            for way, objective in ways.items():
                began = time.perf_counter()
                step(model, batch, objective)
                times[way].append(time.perf_counter() - began)
        weights = 4 * model.parameter_count / 2**20
        print(f"\n{name}, hidden {arguments.hidden_size}: the weights, and their gradients, have {weights:.0f} MiB")
        for way, objective in ways.items():
            bytes_held = peak(model, batch, objective)
            print(f"{way or 'plain':<34} {bytes_held / 2**20:>7.0f} MiB {min(times[way]) * 1e3:>8.0f} ms")


if __name__ == "__main__":
    main()

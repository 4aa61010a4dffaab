"""How much faster bfloat16 is than float32 on this processor, part by part and for whole training steps.

    python benchmarks/bf16.py [--threads 1] [--repeats 15]

Every part is timed forward and backward, in float32 and in bfloat16 by turns, so that other work on the machine slows both. A
time is the shortest of all turns, as other work can only lengthen it. `--precision bfloat16` uses bfloat16 in exactly these
parts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from train_speed import corpus, updater

from dragoman.corpus.batching import BatchPlan
from dragoman.errors import counted
from dragoman.model.loss import chunked_cross_entropy
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.machine import multiplies_bfloat16
from dragoman.training.objective import Objective, add_gradients

CPU = torch.device("cpu")
VOCAB, WIDTH, ROWS, LENGTH = 8_000, 256, 48, 16
Part = Callable[[bool], object]
"""Runs once, in bfloat16 or not."""


def layer(module: nn.Module, inputs: Tensor) -> Part:
    """Forward and backward of one module, its casts included."""

    def run(half: bool) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            outputs = module(inputs)
        outputs = outputs[0] if isinstance(outputs, tuple) else outputs
        outputs.backward(torch.ones_like(outputs))

    return run


def output_layer() -> Part:
    """Softmax, loss and all gradients of the output layer."""
    output = nn.Linear(WIDTH, VOCAB)
    features, labels = torch.randn(ROWS * LENGTH, WIDTH), torch.randint(VOCAB, (ROWS * LENGTH,))

    def run(half: bool) -> None:
        inputs = features.to(torch.bfloat16 if half else torch.float32).requires_grad_()
        loss = chunked_cross_entropy(inputs, output.weight, output.bias, labels, label_smoothing=0.1)
        loss.objective.backward()  # type: ignore[no-untyped-call]

    return run


def step(hidden_size: int, **more: object) -> Part:
    """One step of training on two batches, optimiser included."""
    shape = {"embedding_size": min(WIDTH, hidden_size), "hidden_size": hidden_size, **more}
    model = Seq2Seq(source_vocab_size=VOCAB, target_vocab_size=VOCAB, **shape)  # type: ignore[arg-type]
    plan = BatchPlan(corpus(VOCAB, 2_000), batch_tokens=750, seed=1)
    batches = [batch for batch, _ in zip(plan.epoch(0), range(2), strict=False)]
    update = updater(model.train())
    objective = Objective(label_smoothing=0.1)

    def run(half: bool) -> None:
        model.zero_grad(set_to_none=True)
        add_gradients(model, batches, CPU, replace(objective, bfloat16=half))
        update()

    return run


def parts() -> dict[str, Part]:
    """What is measured."""
    default = {
        "encoder_layers": 2,
        "decoder_layers": 2,
        "bidirectional": True,
        "attention": "multihead",
        "attention_heads": 4,
        "tie_embeddings": "all",
        "layer_norm": True,
        "residual": True,
        "dropout": 0.2,
    }
    feeding = {"encoder_layers": 2, "decoder_layers": 2, "attention": "general", "input_feeding": True}
    inputs = torch.randn(ROWS, LENGTH, WIDTH, requires_grad=True)
    wide = torch.randn(ROWS * LENGTH, 768, requires_grad=True)
    return {
        "LSTM, 256 to 384": layer(nn.LSTM(WIDTH, 384, batch_first=True), inputs),
        "GRU, 256 to 384": layer(nn.GRU(WIDTH, 384, batch_first=True), inputs),
        "Linear, 768 to 256": layer(nn.Linear(768, WIDTH), wide),
        "output layer, 8,000 x 256": output_layer(),
        **{f"step, default, hidden {size}": step(size, **default) for size in (128, 256, 384, 512)},
        "step, default with GRUs, hidden 384": step(384, **{**default, "cell": "gru"}),
        "step, input feeding, hidden 384": step(384, **feeding),
    }


def shortest(part: Part, repeats: int) -> tuple[float, float]:
    """Milliseconds in float32 and in bfloat16."""
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(repeats + 1):
        for half, found in times.items():
            began = time.perf_counter()
            part(half)
            found.append(time.perf_counter() - began)
    return min(times[False][1:]) * 1e3, min(times[True][1:]) * 1e3  # the first turn warms up


def main() -> None:
    """Print a line per part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=15, help="turns of each part; the shortest counts (default: %(default)s)"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    native = "native" if multiplies_bfloat16(CPU) else "not native"
    print(f"torch {torch.__version__}, {counted(arguments.threads, 'thread')}, bfloat16 is {native}")
    print(f"{'':<36} {'float32':>9} {'bfloat16':>9} {'gain':>6}")
    for name, part in parts().items():
        exact, half = shortest(part, arguments.repeats)
        print(f"{name:<36} {exact:>6.1f} ms {half:>6.1f} ms {exact / half:>5.2f}x")


if __name__ == "__main__":
    main()

"""How fast a training step is: ours, the same sizes stepped token by token, and the floor of bare matrix products.

    python benchmarks/train_speed.py [--threads 1] [--hidden-size 512] [--layers 1] [--repeats 7]
        [--device cuda] [--precision bfloat16]
        [--peer joeynmt=PYTHON] [--peer joeynmt-plain=PYTHON] [--peer opennmt=PYTHON] [--peer opennmt-plain=PYTHON]

All see the same padded batches, of sentences of 4 to 28 tokens that are sorted by length as ours are, and have the same sizes:
embeddings, a bidirectional LSTM encoder (two times half the width), an LSTM decoder, general attention, a tanh layer, the output.
With several `--layers` the upper ones of the decoder read what the attention of the first found, too.

- ours: the whole step of `dragoman train` (encoder, decoder, loss, gradients, clipping, AdamW)
- steps: an encoder in one call, and a decoder that runs nn.LSTM, attention, the output layer and cross-entropy on one
  token after the other, as tutorials do; the same clipping and AdamW
- floor: forward and backward of the bare nn.LSTM layers, and of the bare products of attention and output layer; no
  embeddings, no loss, no optimiser; in bfloat16 all its weights are in bfloat16, where ours are float32 and converted
- peak: as many multiplications as the floor has, as products of large square matrices: what the processor does at its best
- peers: the steps of other toolkits, each in a process of its own with the interpreter that has it (train_peer.py says how to
  install them)

All take turns, so that other work on the machine slows all of them. Figures are medians over the turns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dragoman.corpus.batching import Batch, BatchPlan
from dragoman.corpus.dataset import EncodedPairs
from dragoman.errors import OptionError, counted
from dragoman.model.loss import Loss
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.machine import choose_device
from dragoman.training.objective import Objective, Tensors, add_gradients

Step = Callable[[Batch], object]
Turn = Callable[[], float]
"""Goes through all batches and gives the seconds that it took."""


@dataclass(frozen=True)
class Setting:
    """What all have in common."""

    device: torch.device
    bfloat16: bool
    size: int
    """Width of the embeddings and of the decoder; each direction of the encoder has half."""
    layers: int
    """On each side."""
    vocab: int
    """Words on each side."""

    @property
    def objective(self) -> Objective:
        """Cross-entropy, as exact as asked for."""
        return Objective(bfloat16=self.bfloat16)

    @property
    def bare(self) -> dict[str, Any]:
        """How tensors are made that are all as exact as the products."""
        return {"device": self.device, "dtype": torch.bfloat16 if self.bfloat16 else torch.float32}

    def decoder_inputs(self) -> list[int]:
        """Width of what each layer of the decoder reads: the upper ones read what was attended to, too."""
        return [self.size] + [2 * self.size] * (self.layers - 1)


class Stepped(nn.Module):
    """LSTMs on each side and general attention; the decoder is a loop over tokens."""

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        vocab, size, layers = setting.vocab, setting.size, setting.layers
        self.source, self.target = nn.Embedding(vocab, size), nn.Embedding(vocab, size)
        self.encoder = nn.LSTM(size, size // 2, num_layers=layers, batch_first=True, bidirectional=True)
        self.decoder = nn.ModuleList(nn.LSTM(read, size, batch_first=True) for read in setting.decoder_inputs())
        self.key = nn.Linear(size, size, bias=False)
        self.readout, self.output = nn.Linear(2 * size, size), nn.Linear(size, vocab)

    def forward(self, batch: Tensors) -> Tensor:
        """The mean loss per token of a batch."""
        states, last = self.encoder(self.source(batch.source_ids))
        rows = len(states)
        # (layer and direction, row, half the size) -> (layer, row, size)
        finals = [part.view(-1, 2, rows, part.size(2)).transpose(1, 2).flatten(2) for part in last]
        state = [tuple(part[index : index + 1].contiguous() for part in finals) for index in range(len(self.decoder))]
        hidden = torch.arange(states.size(1), device=states.device) >= batch.source_lengths.unsqueeze(1)
        keys = self.key(states)
        loss = states.new_zeros(())
        for position in range(batch.target_input.size(1)):
            output = self.target(batch.target_input[:, position : position + 1])
            attended = None
            for index, layer in enumerate(self.decoder):
                read = output if attended is None else torch.cat([output, attended], dim=2)
                output, state[index] = layer(read, state[index])
                if attended is None:
                    scores = torch.bmm(output, keys.transpose(1, 2)).masked_fill(hidden.unsqueeze(1), -torch.inf)
                    attended = torch.bmm(torch.softmax(scores, dim=2), states)
            assert attended is not None
            features = torch.tanh(self.readout(torch.cat([output, attended], dim=2))).squeeze(1)
            loss = loss + nn.functional.cross_entropy(
                self.output(features), batch.target_output[:, position], ignore_index=0, reduction="sum"
            )
        mean: Tensor = loss / (batch.target_output != 0).sum()
        return mean


def corpus(vocab: int, pairs: int) -> EncodedPairs:
    """Random sentences; targets are about as long as their sources."""
    random = np.random.default_rng(1)
    rows = []
    for length in random.integers(4, 29, size=pairs):
        target = max(1, int(length + random.integers(-2, 3)))
        rows.append((random.integers(4, vocab, length).tolist(), random.integers(4, vocab, target).tolist()))
    return EncodedPairs.of(rows)


def ours(setting: Setting, *, copying: bool = False) -> Step:
    """A step of dragoman."""
    vocab, size, layers = setting.vocab, setting.size, setting.layers
    model = Seq2Seq(
        source_vocab_size=vocab,
        target_vocab_size=vocab,
        embedding_size=size,
        hidden_size=size,
        encoder_layers=layers,
        decoder_layers=layers,
        bidirectional=True,
        attention="general",
        copying=copying,
    )
    if copying:
        model.set_copy_ids([0, 0, 0, 0, *range(4, vocab)])
    update = updater(model.to(setting.device))
    losses: list[Loss] = []

    def step(batch: Batch) -> None:
        model.zero_grad(set_to_none=True)
        losses.append(add_gradients(model, [batch], setting.device, setting.objective))
        update()
        if len(losses) > 1:  # as training does: it looks at the loss of the step before
            assert losses.pop(0).cross_entropy > 0

    return step


def stepped(setting: Setting) -> Step:
    """A step of the loop over tokens."""
    model = Stepped(setting).to(setting.device)
    update = updater(model)

    def step(batch: Batch) -> None:
        model.zero_grad(set_to_none=True)
        with setting.objective.autocast(setting.device):
            loss = model(Tensors.of(batch, setting.device))
        loss.backward()
        update()

    return step


def updater(model: nn.Module) -> Callable[[], None]:
    """Clipping and AdamW."""
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return update


def floor(setting: Setting) -> Step:
    """Bare layers and products, forward and backward."""
    size, vocab, bare = setting.size, setting.vocab, setting.bare
    encoder = nn.LSTM(size, size // 2, num_layers=setting.layers, batch_first=True, bidirectional=True, **bare)
    decoder = [nn.LSTM(read, size, batch_first=True, **bare) for read in setting.decoder_inputs()]
    key, readout = nn.Linear(size, size, **bare), nn.Linear(2 * size, size, **bare)
    output = nn.Linear(size, vocab, **bare)

    def step(batch: Batch) -> None:
        rows, source, target = *batch.source_ids.shape, batch.target_input.shape[1]
        inputs, queries = (torch.randn(rows, length, size, requires_grad=True, **bare) for length in (source, target))
        states, _ = encoder(inputs)
        attended = None
        for layer in decoder:
            queries, _ = layer(queries if attended is None else torch.cat([queries, attended], dim=2))
            if attended is None:
                attended = torch.bmm(torch.bmm(queries, key(states).transpose(1, 2)), states)
        assert attended is not None
        real = torch.from_numpy(np.flatnonzero(batch.target_output)).to(setting.device)
        logits = output(readout(torch.cat([queries, attended], dim=2)).flatten(0, 1)[real])
        logits.backward(torch.ones_like(logits))

    return step


def peak(setting: Setting) -> Step:
    """Products of large matrices with as many multiplications as `floor` has."""
    size = setting.size
    side = 1024 if setting.device.type == "cpu" else 8192
    one, other, product = (torch.randn(side, side, **setting.bare) for _ in range(3))

    def step(batch: Batch) -> None:
        (rows, source), target, real = batch.source_ids.shape, batch.target_input.shape[1], batch.target_tokens
        encoder = setting.layers * rows * source * 2 * (size // 2) * 4 * (size + size // 2)
        decoder = rows * target * 4 * size * sum(read + size for read in setting.decoder_inputs())
        attention = rows * source * size * size + 2 * rows * target * source * size
        output = real * (2 * size * size + size * setting.vocab)
        forward = encoder + decoder + attention + output
        for _ in range(max(1, round(3 * forward / side**3))):  # backward: twice as many
            torch.mm(one, other, out=product)

    return step


def turn_of(step: Step, batches: list[Batch], device: torch.device) -> Turn:
    """A turn in this process."""

    def turn() -> float:
        began = time.perf_counter()
        for batch in batches:
            step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    return turn


class Peer:
    """Another toolkit, in a process that waits for its turns."""

    def __init__(self, name: str, python: str, batches: Path, *, size: int, vocab: int, threads: int) -> None:
        driver = Path(__file__).with_name("train_peer.py")
        command = [python, "-W", "ignore", str(driver), name, str(batches), str(size), str(vocab), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self) -> float:
        """A turn."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())

    def end(self) -> None:
        """Let it go."""
        self.process.communicate()


def _lengths(batch: Batch) -> tuple[Any, Any]:
    """Those of a batch's sources and of its targets with their `</s>`."""
    return batch.source_lengths, (batch.target_output != 0).sum(1)


def write_batches(path: Path, batches: list[Batch]) -> None:
    """The batches as train_peer.py reads them."""
    arrays = {}
    for number, batch in enumerate(batches):
        arrays[f"source{number}"], arrays[f"lengths{number}"] = batch.source_ids, batch.source_lengths
        arrays[f"target{number}"] = np.concatenate([batch.target_input[:, :1], batch.target_output], axis=1)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def measure(turns: dict[str, Turn], tokens: int, repeats: int) -> dict[str, list[float]]:
    """Target tokens per second of each, once per turn."""
    speeds: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(repeats + 1):
        for name, turn in turns.items():
            seconds = turn()
            if number:  # the first turn warms up
                speeds[name].append(tokens / seconds)
    return speeds


def main() -> None:
    """Print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument(
        "--hidden-size",
        type=int,
        default=512,
        help="width of the decoder; each direction of the encoder has half (default: %(default)s)",
    )
    parser.add_argument("--layers", type=int, default=1, help="layers on each side (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument(
        "--precision", default="float32", choices=["float32", "bfloat16"], help="of the products (default: %(default)s)"
    )
    parser.add_argument("--vocab-size", type=int, default=8_000, help="words on each side (default: %(default)s)")
    parser.add_argument("--batch-tokens", type=int, default=1_000, help="tokens of a batch (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=4, help="batches in a turn (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="turns to take the median of (default: %(default)s)")
    parser.add_argument("--copy", action="store_true", help="measure ours with --copy too")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help="also measure NAME (joeynmt, joeynmt-plain, opennmt, opennmt-plain) with the interpreter that has it; repeatable",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    size, vocab = arguments.hidden_size, arguments.vocab_size
    try:
        device = choose_device(arguments.device)
    except OptionError as error:
        parser.error(str(error).replace("`device`", "--device"))
    setting = Setting(device, arguments.precision == "bfloat16", size, arguments.layers, vocab)
    pairs = max(4_000, 2 * arguments.batches * arguments.batch_tokens // 4)
    plan = BatchPlan(corpus(vocab, pairs), batch_tokens=arguments.batch_tokens, seed=1)
    batches = [batch for batch, _ in zip(plan.epoch(0), range(arguments.batches), strict=False)]
    steps = {"ours": ours(setting), "steps": stepped(setting), "floor": floor(setting), "peak": peak(setting)}
    if arguments.copy:
        steps["copying"] = ours(setting, copying=True)
    turns = {name: turn_of(step, batches, device) for name, step in steps.items()}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ending:
        file = Path(folder) / "batches.npz"
        write_batches(file, batches)
        for name, python in (value.split("=", 1) for value in arguments.peer):
            turns[name] = peer = Peer(name, python, file, size=size, vocab=vocab, threads=arguments.threads)
            ending.callback(peer.end)
        speeds = measure(turns, sum(batch.target_tokens for batch in batches), arguments.repeats)
    where = counted(arguments.threads, "thread") if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(
        f"torch {torch.__version__}, {where}, {arguments.precision}, {counted(setting.layers, 'layer')} of {size} on each "
        f"side, vocabulary {vocab:,}, batches of {arguments.batch_tokens:,} tokens, medians of {arguments.repeats}"
    )
    sources, targets = (sum(int(part.sum()) for part in parts) for parts in zip(*map(_lengths, batches), strict=True))
    print(f"for each target token there are {1 + sources / targets:.2f} tokens of source and target")
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"{'':>14} {'tokens/s':>9} {'lowest':>9} {'highest':>9} {'ours is':>8}")
    for name, values in speeds.items():
        ratio = medians["ours"] / medians[name]
        print(f"{name:>14} {medians[name]:>9,.0f} {min(values):>9,.0f} {max(values):>9,.0f} {ratio:>7.2f}x")


if __name__ == "__main__":
    main()

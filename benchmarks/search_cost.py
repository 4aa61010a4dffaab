"""What each kind of search costs against greedy search, and how much of it is not spent in the model.

    python benchmarks/search_cost.py [--engine torch] [--threads 1] [--repeats 7] [--model DIR --input FILE]

The models have random weights: two LSTM layers of 256 or of 512, a vocabulary of 8,000 and multi-head attention. Outputs are
cut at 20 tokens, so that every search takes the same number of steps. "Own share" is the part of the time that is not spent
inside the model's three operations (start, step, select). `--engine float32` and `--engine int8` measure the same models as ONNX
graphs: the faster a step of the model, the larger the search's share.

`--model` measures a trained model on the lines of a file instead. They are sorted by length, as `translate` sorts them; 16 single
lines and two batches, spread evenly over the file, are measured. Outputs end where the model ends them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from dragoman.config import SearchOptions
from dragoman.errors import DragomanError, counted
from dragoman.generation.constraints import Constraints
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, PAD, Bools, Floats, Ints, State, Step, Stepper
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper
from dragoman.storage import ModelDirectory
from dragoman.translation.loading import load_model
from dragoman.translation.texts import Texts

VOCAB = 8000
LENGTH = 20
Sources = list[list[int]]


class Timed:
    """A Stepper that counts the seconds spent in it."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper, self.seconds = stepper, 0.0

    @property
    def vocab_size(self) -> int:
        """Size of the target vocabulary."""
        return self.stepper.vocab_size

    def start(self, source_ids: list[list[int]]) -> State:
        """Encode."""
        began = time.perf_counter()
        state = self.stepper.start(source_ids)
        self.seconds += time.perf_counter() - began
        return state

    def step(
        self,
        state: State,
        last_ids: Ints,
        *,
        top_k: int | None,
        allowed: Bools | None = None,
        bias: Floats | None = None,
    ) -> Step:
        """One step of the model."""
        began = time.perf_counter()
        step = self.stepper.step(state, last_ids, top_k=top_k, allowed=allowed, bias=bias)
        self.seconds += time.perf_counter() - began
        return step

    def select(self, state: State, rows: Ints) -> State:
        """Reorder rows."""
        began = time.perf_counter()
        state = self.stepper.select(state, rows)
        self.seconds += time.perf_counter() - began
        return state


def random_model(hidden_size: int) -> Seq2Seq:
    """The shape of the `default` preset with random weights; `<pad>` and `<s>` are improbable, as in a trained one."""
    torch.manual_seed(1)
    model = Seq2Seq(
        source_vocab_size=VOCAB,
        target_vocab_size=VOCAB,
        embedding_size=hidden_size,
        hidden_size=hidden_size,
        encoder_layers=2,
        decoder_layers=2,
        bidirectional=True,
        attention="multihead",
        attention_heads=4,
        tie_embeddings="target",
    )
    biases = [parameter for parameter in model.parameters() if parameter.shape == (VOCAB,)]
    with torch.no_grad():
        for bias in biases:
            bias[[PAD, BOS]] = -30.0
    return model


def open_stepper(engine: str, hidden_size: int, threads: int) -> Stepper:
    """The random model of that width, run by `engine`."""
    model = random_model(hidden_size)
    if engine == "torch":
        return TorchStepper(model)
    encoder, decoder = (make(model.eval(), precision=engine) for make in (encoder_graph, decoder_graph))
    return OnnxStepper(encoder, decoder, threads=threads)


def measure(
    stepper: Stepper, batches: list[Sources], options: SearchOptions, constraints: Constraints | None, repeats: int
) -> tuple[float, float]:
    """Milliseconds per source (best of `repeats`), and the search's own share of it."""
    best, share = float("inf"), 0.0
    for _ in range(repeats):
        timed = Timed(stepper)
        began = time.perf_counter()
        for sources in batches:
            search(timed, sources, options=options, constraints=constraints)
        seconds = time.perf_counter() - began
        if seconds < best:
            best, share = seconds, 1 - timed.seconds / seconds
    return 1000 * best / sum(map(len, batches)), share


def trained(model: str, file: Path, engine: str, threads: int) -> tuple[Stepper, Sources]:
    """A model, and the lines of a file from the shortest to the longest."""
    directory = ModelDirectory.open(model)
    texts = Texts(directory.config, directory.read_text)
    found = texts.encode_sources(file.read_text(encoding="utf-8").splitlines()).ids.values()
    if engine == "torch":
        return TorchStepper(load_model(directory, device="cpu", threads=threads)), sorted(found, key=len)
    return OnnxStepper.open(directory, precision=engine, threads=threads), sorted(found, key=len)


def spread(sources: Sources, batch: int) -> list[Sources]:
    """Batches of neighbours, from the shortest sources to the longest: 16 single ones, or two."""
    starts = np.linspace(0, len(sources) - batch, 18 if batch == 1 else 4).astype(int)[1:-1]
    return [sources[start : start + batch] for start in starts]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--engine",
        choices=("torch", "float32", "int8"),
        default="torch",
        help="what runs the model (default: %(default)s)",
    )
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument(
        "--repeats", type=int, default=7, help="turns of each search; the shortest counts (default: %(default)s)"
    )
    parser.add_argument("--model", metavar="DIR", help="measure this trained model instead; needs --input")
    parser.add_argument("--input", type=Path, metavar="FILE", help="text file with one source per line")
    arguments = parser.parse_args()
    if bool(arguments.model) != bool(arguments.input):
        parser.error("--model and --input need each other")
    torch.set_num_threads(arguments.threads)
    random = np.random.default_rng(1)
    print(
        f"{arguments.engine}, torch {torch.__version__}, numpy {np.__version__}, {counted(arguments.threads, 'thread')}, "
        f"best of {arguments.repeats}"
    )
    print(f"{'model':>6} {'batch':>5} {'search':>22} {'ms/source':>10} {'x greedy':>8} {'own share':>9}")
    for name in ("own",) if arguments.model else ("256", "512"):
        most = None if arguments.model else LENGTH
        if arguments.model:
            try:
                stepper, lines = trained(arguments.model, arguments.input, arguments.engine, arguments.threads)
            except (DragomanError, OSError) as error:
                parser.error(str(error))
        else:
            stepper = open_stepper(arguments.engine, int(name), arguments.threads)
        for batch in (1, 32):
            if arguments.model:
                batches = spread(lines, batch)
            else:
                batches = [[random.integers(4, VOCAB, size=random.integers(8, 16)).tolist() for _ in range(batch)]]
            greedy = 0.0
            for kind, (options, constraints) in searches(most).items():
                ms, share = measure(stepper, batches, options, constraints, arguments.repeats)
                greedy = greedy or ms
                print(f"{name:>6} {batch:>5} {kind:>22} {ms:>10.2f} {ms / greedy:>8.2f} {share:>9.1%}", flush=True)


def searches(max_length: int | None) -> dict[str, tuple[SearchOptions, Constraints | None]]:
    """What is measured, by name; greedy first."""
    greedy = SearchOptions(beam_size=1, max_length=max_length)
    beam = greedy.model_copy(update={"beam_size": 5})
    sample = greedy.model_copy(update={"method": "sample"})
    required = Constraints(require=((17, 18), (99,)))
    choices = tuple((a, b, *range(a, a + LENGTH - 3)) for a in range(10, 110) for b in range(10, 20))
    return {
        "greedy": (greedy, None),
        "beam 5": (beam, None),
        "beam 8, 4 groups": (beam.model_copy(update={"beam_size": 8, "beam_groups": 4}), None),
        "beam 5, no repeats": (beam.model_copy(update={"no_repeat_ngram": 3}), None),
        "beam 5, 2 required": (beam, required),
        "beam 5, 1000 choices": (beam, Constraints(choices=choices)),
        "sample": (sample, None),
        "sample, top_k 50": (sample.model_copy(update={"top_k": 50}), None),
        "sample, top_p 0.9": (sample.model_copy(update={"top_p": 0.9}), None),
        "stochastic beam 5": (beam.model_copy(update={"method": "stochastic_beam"}), None),
    }


if __name__ == "__main__":
    main()

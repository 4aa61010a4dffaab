"""What search costs beyond the model's own steps, and what a beam costs against greedy search.

    python benchmarks/search_cost.py [--engine torch] [--threads 1] [--repeats 7]

It measures models with random weights: two LSTM layers of 256 and of 512, a vocabulary of
8,000, multi-head attention; outputs are cut at 20 tokens, so that every search does the same number of steps. "Own share"
is the part of the time that is not spent inside the model's three operations (start, step, select). `--engine` float32 or int8
measures the same models as ONNX graphs: the faster the model's steps, the larger the search's share.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from dragoman.config import SearchOptions
from dragoman.generation.constraints import Constraints
from dragoman.generation.search import search
from dragoman.generation.stepper import BOS, PAD, Bools, Floats, Ints, State, Step, Stepper
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper

VOCAB = 8000
LENGTH = 20


class Timed:
    """A Stepper that counts the seconds spent in it."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper, self.seconds, self.steps, self.rows = stepper, 0.0, 0, 0

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
        self.steps += 1
        self.rows += len(last_ids)
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
    stepper: Stepper, sources: list[list[int]], options: SearchOptions, constraints: Constraints | None, repeats: int
) -> tuple[float, float]:
    """Milliseconds per source (best of `repeats`), and the search's own share of it."""
    best, share = float("inf"), 0.0
    for _ in range(repeats):
        timed = Timed(stepper)
        began = time.perf_counter()
        search(timed, sources, options=options, constraints=constraints)
        seconds = time.perf_counter() - began
        if seconds < best:
            best, share = seconds, 1 - timed.seconds / seconds
    return 1000 * best / len(sources), share


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("torch", "float32", "int8"), default="torch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    random = np.random.default_rng(1)
    print(
        f"{arguments.engine}, torch {torch.__version__}, numpy {np.__version__}, {arguments.threads} thread(s), "
        f"best of {arguments.repeats}"
    )
    print(f"{'model':>6} {'batch':>5} {'search':>22} {'ms/source':>10} {'x greedy':>8} {'own share':>9}")
    for hidden_size in (256, 512):
        stepper = open_stepper(arguments.engine, hidden_size, arguments.threads)
        for batch in (1, 32):
            sources = [random.integers(4, VOCAB, size=random.integers(8, 16)).tolist() for _ in range(batch)]
            greedy = 0.0
            for name, (options, constraints) in searches().items():
                ms, share = measure(stepper, sources, options, constraints, arguments.repeats)
                greedy = greedy or ms
                print(f"{hidden_size:>6} {batch:>5} {name:>22} {ms:>10.2f} {ms / greedy:>8.2f} {share:>9.1%}")


def searches() -> dict[str, tuple[SearchOptions, Constraints | None]]:
    """What is measured, by name; greedy first."""
    greedy = SearchOptions(beam_size=1, max_length=LENGTH)
    beam = SearchOptions(beam_size=5, max_length=LENGTH)
    required = Constraints(require=((17, 18), (99,)))
    choices = tuple((a, b, *range(a, a + LENGTH - 3)) for a in range(10, 110) for b in range(10, 20))
    return {
        "greedy": (greedy, None),
        "beam 5": (beam, None),
        "beam 8, 4 groups": (SearchOptions(beam_size=8, beam_groups=4, max_length=LENGTH), None),
        "beam 5, no repeats": (beam.model_copy(update={"no_repeat_ngram": 3}), None),
        "beam 5, 2 required": (beam, required),
        "beam 5, 1000 choices": (beam, Constraints(choices=choices)),
        "sample": (SearchOptions(method="sample", max_length=LENGTH), None),
        "sample, top_k 50": (SearchOptions(method="sample", top_k=50, max_length=LENGTH), None),
        "sample, top_p 0.9": (SearchOptions(method="sample", top_p=0.9, max_length=LENGTH), None),
        "stochastic beam 5": (SearchOptions(method="stochastic_beam", max_length=LENGTH), None),
    }


if __name__ == "__main__":
    main()

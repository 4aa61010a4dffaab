"""How much faster a lexical shortlist makes the int8 graphs: the same sources with and without it, by turns.

    python benchmarks/shortlist.py [--vocab 8000] [--rounds 7]
    python benchmarks/shortlist.py --model DIR --input FILE

Without --model it measures the model of translate_speed.py, with random weights. A source has 14 words, drawn log-uniformly by rank,
as Zipf's law has it, and each word has 50 candidates drawn the same way; outputs are forced to 14 words. --model measures a model
that has a shortlist, on the lines of a file, sorted by length as `translate` sorts them; its outputs end where the model ends them.
Times are CPU seconds of one thread, and medians over the rounds. `own` counts the candidates of a source, `union` those of a batch.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import translate_speed
from translate_speed import LENGTH, SETTINGS

from dragoman.config import SearchOptions
from dragoman.errors import DragomanError
from dragoman.generation.search import search
from dragoman.generation.shortlist import Shortlist
from dragoman.runtime.engine import OnnxStepper
from dragoman.storage import ModelDirectory
from dragoman.translation.texts import Texts

BEST, FREQUENT = 50, 100
Sources = list[list[int]]


def main() -> None:
    """Print a table of both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--vocab", type=int, default=8000, help="words in the vocabulary of the random model (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds to take the median of (default: %(default)s)")
    parser.add_argument(
        "--model", metavar="DIR", help="measure this trained model, which has a shortlist, instead; needs --input"
    )
    parser.add_argument("--input", type=Path, metavar="FILE", help="text file with one source per line")
    options = parser.parse_args()
    if bool(options.model) != bool(options.input):
        parser.error("--model and --input need each other")
    if options.model:
        try:
            whole, short, sources = trained(options.model, options.input)
        except (DragomanError, OSError) as error:
            parser.error(str(error))
    else:
        whole, short, sources = untrained(options.vocab)
    print("| batch x beam | whole vocabulary | shortlist | times as fast | own | union |\n|---|---|---|---|---|---|")
    for batch, beam in SETTINGS:
        times: dict[OnnxStepper, list[float]] = {whole: [], short: []}
        some = spread(sources, batch)
        most = None if options.model else LENGTH
        for _ in range(options.rounds):
            for stepper, found in times.items():
                began = time.process_time()
                for each in some:
                    search(stepper, each, options=SearchOptions(beam_size=beam, max_length=most))
                found.append((time.process_time() - began) / sum(map(len, some)))
        one, other = (statistics.median(found) * 1e3 for found in times.values())
        states = [short.start(each) for each in some]
        own = np.mean([(state.memory["own"] >= 0).sum(axis=1).mean() for state in states])
        union = np.mean([len(state.union) for state in states if state.union is not None])
        print(
            f"| {batch} x {beam} | {one:.2f} ms | {other:.2f} ms | {one / other:.2f} | {own:.0f} | {union:.0f} |",
            flush=True,
        )


def spread(sources: Sources, batch: int) -> list[Sources]:
    """Batches of neighbours, from the shortest sources to the longest: 16 single ones, or three."""
    starts = np.linspace(0, len(sources) - batch, 18 if batch == 1 else 5).astype(int)[1:-1]
    return [sources[start : start + batch] for start in starts]


def untrained(vocab: int) -> tuple[OnnxStepper, OnnxStepper, Sources]:
    """Random weights, and a shortlist that is as large as real ones."""
    from dragoman.runtime.decoder_graph import decoder_graph
    from dragoman.runtime.encoder_graph import encoder_graph

    translate_speed.VOCAB = vocab
    model = translate_speed.build_model()
    draw = np.random.default_rng(1)

    def words(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
        return 3 + ((vocab - 3) ** draw.random(shape)).astype(np.int64)

    ids = np.sort(words(vocab, BEST), axis=1).ravel()
    chosen = Shortlist(np.arange(vocab + 1) * BEST, ids, np.arange(4, 4 + FREQUENT), vocab)
    encoder = encoder_graph(model, precision="int8")
    whole = OnnxStepper(encoder, decoder_graph(model, precision="int8"), threads=1)
    restricted = decoder_graph(model, precision="int8", shortlist=True)
    return whole, OnnxStepper(encoder, restricted, threads=1, shortlist=chosen), words(400, LENGTH).tolist()


def trained(model: str, file: Path) -> tuple[OnnxStepper, OnnxStepper, Sources]:
    """A model with its shortlist, and the lines of a file."""
    directory = ModelDirectory.open(model)
    texts = Texts(directory.config, directory.read_text)
    found = texts.encode_sources(file.read_text(encoding="utf-8").splitlines()).ids.values()
    whole, short = (
        OnnxStepper.open(directory, precision="int8", threads=1, shortlist=restricted) for restricted in (False, True)
    )
    return whole, short, sorted(found, key=len)


if __name__ == "__main__":
    main()

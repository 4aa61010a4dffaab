"""What minimum risk training can learn from: outputs of beam search beside outputs drawn at random.

    python benchmarks/risk_candidates.py MODEL [--candidates 4] [--sources 150]

For sources that a trained model was trained on, every way finds so many different outputs. The table has, as means over the sources:

- effective: the number of outputs that count, 1 / sum of q^2, where q are their probabilities divided by their sum;
- spread: the standard deviation of their costs under q. The gradient of the risk is proportional to what the costs differ by, so
  where this is 0 there is nothing to learn;
- least: the cost of the best output.

A draw at a temperature below 1 leaves most of label smoothing's tail away.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dragoman.config import SearchOptions
from dragoman.corpus.tokenization import Tokenizer
from dragoman.generation.search import search
from dragoman.model.stepper import TorchStepper
from dragoman.storage import ModelDirectory
from dragoman.training.preparation import reopen
from dragoman.training.risk import COSTS, References
from dragoman.translation.loading import load_model

WAYS = {
    "drawn": {"method": "stochastic_beam"},
    "drawn at temperature 0.5": {"method": "stochastic_beam", "temperature": 0.5},
    "beam search": {"method": "beam"},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", type=Path, help="a model directory with its training folder")
    parser.add_argument("--candidates", type=int, default=4, help="outputs per source (default: 4)")
    parser.add_argument("--sources", type=int, default=150, help="training sources that are looked at (default: 150)")
    parser.add_argument("--metric", choices=sorted(COSTS), help="the cost (default: bleu for text, edit for symbols)")
    arguments = parser.parse_args()
    directory = ModelDirectory.open(arguments.model)
    metric = arguments.metric or directory.config["recipe"]["risk_metric"]
    pairs = reopen(directory.training / "data", *Tokenizer.of_model(directory.config, directory.read_text)).train
    cost, references = COSTS[metric], References(pairs)
    rows = np.random.default_rng(0).integers(0, len(pairs), arguments.sources).tolist()
    sources = [pairs.source(row).tolist() for row in rows]
    stepper, k = TorchStepper(load_model(directory, device="cpu", threads=1)), arguments.candidates
    print(f"{k} outputs of {len(sources)} training sources each, cost: {metric}")
    print(f"{'':>26} {'effective':>9} {'spread':>7} {'least':>6}")
    for name, way in WAYS.items():
        options = SearchOptions(beam_size=k, num_hypotheses=k, max_length=100, **way)  # type: ignore[arg-type]
        figures = []
        for row, found in zip(rows, search(stepper, sources, options=options), strict=True):
            right = references.of(row)
            costs = np.array([cost(each.ids[: len(each.ids) - each.finished], right) for each in found])
            scores = np.array([each.score for each in found])
            q = np.exp(scores - scores.max())
            q /= q.sum()
            figures.append((1 / (q**2).sum(), np.sqrt((q * (costs - (q * costs).sum()) ** 2).sum()), costs.min()))
        effective, spread, least = np.mean(figures, axis=0)
        print(f"{name:>26} {effective:>9.2f} {spread:>7.3f} {least:>6.3f}", flush=True)


if __name__ == "__main__":
    main()

"""How well a model translates several sentences at once: the sentences of its test part, joined.

    python benchmarks/several_sentences.py MODEL... [--sentences 1 2 3 5] [--between " "] [--between-targets " "]

Each source of the test part (`train --test`) is used once in each row, with one of its references, in a random order. Scores of a
row are comparable between models that held out the same part; between rows nearly so, as the texts are the same. `sentences`
counts the sentence ends of the outputs for each end in the references.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path

import dragoman
from dragoman.storage import ModelDirectory

_END = re.compile(r"[。！？]|[.!?…]+(?!\S)")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", type=Path, nargs="+", help="a model directory with a test part")
    parser.add_argument("--sentences", type=int, nargs="+", default=[1, 2, 3, 5], help="how many are joined (1 2 3 5)")
    parser.add_argument("--between", default=" ", help="what stands between two sources (default: a space)")
    parser.add_argument("--between-targets", default=" ", help="the same of targets")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")
    arguments = parser.parse_args()
    print(f"{'model':<24} {'joined':>6} {'sources':>8} {'BLEU':>6} {'chrF':>6} {'sentences':>9}")
    for path in arguments.models:
        pairs = list({source: (source, target) for source, target in ModelDirectory.open(path).read_test()}.values())
        if not pairs:
            parser.error(f"{path} has no test part; train with --test N")
        random.Random(1).shuffle(pairs)
        translator = dragoman.load(path, threads=arguments.threads)
        for count in arguments.sentences:
            groups = [pairs[i : i + count] for i in range(0, len(pairs) - count + 1, count)]
            between = (arguments.between, arguments.between_targets)
            sources, targets = (
                [between[side].join(pair[side] for pair in group) for group in groups] for side in (0, 1)
            )
            scores, outputs = translator.evaluate(sources, [[target] for target in targets])
            said = sum(len(_END.findall(output.text)) for output in outputs)
            meant = sum(len(_END.findall(target)) for target in targets)
            row = f"{count:>6} {len(sources):>8} {scores.bleu:>6.2f} {scores.chrf:>6.2f}"
            print(f"{path.name:<24} {row} {said / meant:>9.2f}", flush=True)


if __name__ == "__main__":
    main()

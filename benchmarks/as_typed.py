"""How well a model translates what people type: several sentences in a line, no capitals, no punctuation.

    python benchmarks/as_typed.py MODEL... [--sentences 2 3 5] [--between " "] [--between-targets " "]

The sources of the test part (`train --test`) are translated as they stand, joined with others in a random order, and changed. Each is used
once in each row, with one of its references, so that scores are comparable between models that held out the same part, and nearly so
between rows. *ends* counts the sentence ends of the outputs for each one in the references.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Callable
from pathlib import Path

import dragoman
from dragoman.corpus.augmentation import other_apostrophes, unpunctuated, without_end
from dragoman.storage import ModelDirectory

_END = re.compile(r"[。！？]|[.!?…]+(?!\S)")
CHANGES: dict[str, Callable[[str], str]] = {
    "no punctuation at the end": without_end,
    "lower case": str.lower,
    "lower case, none at the end": lambda text: without_end(text.lower()),
    "lower case, no punctuation": lambda text: unpunctuated(text.lower()),
    "the other apostrophes": other_apostrophes,
    "no apostrophes": lambda text: text.replace("'", ""),
    "capitals": str.upper,
}
"""The last two are never made in training."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", type=Path, nargs="+", help="a model directory with a test part")
    parser.add_argument("--sentences", type=int, nargs="+", default=[2, 3, 5], help="how many are joined (2 3 5)")
    parser.add_argument("--between", default=" ", help="what stands between two sources (default: a space)")
    parser.add_argument("--between-targets", default=" ", help="the same of targets")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")
    arguments = parser.parse_args()
    between = (arguments.between, arguments.between_targets)
    print(f"{'model':<20} {'sources':<28} {'BLEU':>6} {'chrF':>6} {'ends':>5}")
    for path in arguments.models:
        pairs = list({source: (source, target) for source, target in ModelDirectory.open(path).read_test()}.values())
        if not pairs:
            parser.error(f"{path} has no test part; train with --test N")
        random.Random(1).shuffle(pairs)
        rows = {"as they stand": pairs}
        for count in arguments.sentences:
            groups = [pairs[i : i + count] for i in range(0, len(pairs) - count + 1, count)]
            texts = [tuple(between[side].join(pair[side] for pair in group) for side in (0, 1)) for group in groups]
            rows[f"{count} in a line"] = [(source, target) for source, target in texts]
        for name, change in CHANGES.items():
            rows[name] = [(change(source), target) for source, target in pairs]
        translator = dragoman.load(path, threads=arguments.threads)
        for name, row in rows.items():
            scores, outputs = translator.evaluate([source for source, _ in row], [[target] for _, target in row])
            said = sum(len(_END.findall(output.text)) for output in outputs)
            meant = sum(len(_END.findall(target)) for _, target in row)
            print(
                f"{path.name:<20} {name:<28} {scores.bleu:>6.2f} {scores.chrf:>6.2f} {said / meant:>5.2f}", flush=True
            )


if __name__ == "__main__":
    main()

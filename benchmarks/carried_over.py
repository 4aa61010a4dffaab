"""How often a model carries names and numbers over that it never saw.

    python benchmarks/carried_over.py MODEL... [--times 3]

The pairs of the test part (`train --test`) whose sides share names or numbers get others: names from the list below, which has no name
of the Tatoeba files, and random numbers. *carried* is the share of the outputs that have all of them, *names* and *numbers* that of
the pairs with such only.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import dragoman
from dragoman.corpus.names import OtherNames, words_of
from dragoman.storage import ModelDirectory

NAMES = """Zoltan Fatima Xiulan Priya Kwame Ingrid Bogdan Yusuf Siobhan Nguyen Oluwaseun Guadalupe Thorsten Aoife Wojciech Esperanza Tariq
Svetlana Dmitri Chukwuemeka Takumi Aurelio Nkechi Anneliese Giuseppe Katarzyna Rajesh Leila Mehmet Astrid Bartholomew Ljubljana Reykjavik Ouagadougou
Kuala Antananarivo Wuhan Gdansk Szeged Tromso Zaragoza Bhopal Medellin Kisumu Plovdiv Uppsala Maribor Cusco Quetta Baku""".split()


class UnseenNames(OtherNames):
    """Names of the list, in place of made ones."""

    def _name(self, word: str, random: random.Random) -> str:
        return random.choice([name for name in NAMES if name != word])


def main() -> None:
    """Print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", metavar="MODEL", type=Path, nargs="+", help="a model directory with a test part")
    parser.add_argument("--times", type=int, default=3, help="how often each pair is changed (default: 3)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: 1)")
    arguments = parser.parse_args()
    print(f"{'model':<20} {'pairs':>6} {'carried':>8} {'names':>8} {'numbers':>8}")
    for path in arguments.models:
        pairs = list(dict(ModelDirectory.open(path).read_test()).items())
        if not pairs:
            parser.error(f"{path} has no test part; train with --test N")
        names = UnseenNames(text for pair in pairs for text in pair)
        sources, carried = [], []
        for number, (source, target) in enumerate(pairs * arguments.times):
            new, meant = names(source, target, random.Random(number))
            if new != source:
                sources.append(new)
                carried.append(names.shared(new, meant))
        outputs = [found.text for found in dragoman.load(path, threads=arguments.threads).translate_many(sources)]
        right = [set(words) <= set(words_of(output)) for words, output in zip(carried, outputs, strict=True)]
        kinds = [{word.isdecimal() for word in words} for words in carried]
        parts = [
            right,
            *(
                [all_there for all_there, found in zip(right, kinds, strict=True) if found == {kind}]
                for kind in (False, True)
            ),
        ]
        shares = [f"{sum(part) / len(part):.1%}" if part else "-" for part in parts]
        print(f"{path.name:<20} {len(sources):>6} {shares[0]:>8} {shares[1]:>8} {shares[2]:>8}")


if __name__ == "__main__":
    main()

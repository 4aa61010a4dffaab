"""Make pairs of a text and the same text edited, to test how such sides are best split: spaces, accents, signs, slips.

    python benchmarks/edited_text.py FOLDER --data DIR

DIR holds `translation/eng-fra.txt.gz` (manythings.org/anki, CC BY 2.0 FR), `chatbot/korean-chatbot.csv.gz` (MIT, songys) and
`chatbot/sgd-dev.tsv.gz` (CC BY-SA 4.0, Google). The files `NAME.tsv` are the same in every run. The results are in
benchmarks/recipes/no-options.md.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import string
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

Edit = Callable[[str], str]
SLIPS = 0.03
"""Share of the characters of each kind of slip: left out, doubled by another, replaced."""


def unspaced(text: str) -> str:
    """Without spaces."""
    return text.replace(" ", "")


def unaccented(text: str) -> str:
    """Without combining marks."""
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def unsigned(text: str) -> str:
    """In lower case, without punctuation."""
    return " ".join("".join(c if c.isalnum() or c in " '" else " " for c in text.lower()).split())


def slipped(draw: random.Random) -> Edit:
    """With slips of the finger."""

    def edit(text: str) -> str:
        typed = []
        for character in text:
            chance = draw.random()
            if chance < SLIPS:
                continue
            if chance < 2 * SLIPS:
                typed.append(draw.choice(string.ascii_lowercase))
            typed.append(draw.choice(string.ascii_lowercase) if 2 * SLIPS < chance < 3 * SLIPS else character)
        return "".join(typed)

    return edit


def shuffled(texts: Iterable[str], draw: random.Random) -> list[str]:
    """Each text once, in an order of no meaning."""
    found = sorted(set(texts))
    draw.shuffle(found)
    return found


def write(path: Path, texts: Iterable[str], edit: Edit) -> None:
    """One pair a line: the edited text, TAB, the text."""
    path.write_text("".join(f"{edit(text)}\t{text}\n" for text in texts), encoding="utf-8")


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write to, made if it does not exist")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the public data")
    arguments = parser.parse_args()
    folder, data = arguments.folder, arguments.data
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(data / "translation/eng-fra.txt.gz", "rt", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split("\t") for line in lines]
    translations = [row[1].replace("\u202f", " ").replace("\xa0", " ") for row in rows]
    draw = random.Random(5)
    english, french = shuffled((row[0] for row in rows), draw)[:30_000], shuffled(translations, draw)[:30_000]
    plain = [unsigned(text) for text in english]
    write(folder / "spaces.tsv", plain, unspaced)
    write(folder / "accents.tsv", french, unaccented)
    write(folder / "signs.tsv", english, unsigned)
    write(folder / "slips.tsv", english, slipped(draw))
    with gzip.open(data / "chatbot/korean-chatbot.csv.gz", "rt", encoding="utf-8-sig", newline="") as lines:
        chat = [row[side].strip() for row in csv.DictReader(lines) for side in ("Q", "A")]
    write(folder / "korean-spaces.tsv", shuffled(chat, random.Random(6)), unspaced)
    draw = random.Random(7)
    write(folder / "french-spaces.tsv", shuffled((" ".join(t.split()) for t in translations), draw)[:30_000], unspaced)
    with gzip.open(data / "chatbot/sgd-dev.tsv.gz", "rt", encoding="utf-8") as lines:
        turns = [
            " ".join(turn.split()) for line in lines for turn in line.rstrip("\n").split("\t")[1:3] if turn.strip()
        ]
    write(folder / "dialogue-spaces.tsv", shuffled(turns, draw)[:20_000], unspaced)


if __name__ == "__main__":
    main()

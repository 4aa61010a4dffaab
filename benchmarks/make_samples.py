"""Make the bundled samples (dragoman/samples/*.gz) from the public files; the same input gives the same bytes.

    python benchmarks/make_samples.py --data DIR

DIR holds `translation/eng-fra.txt.gz` and `translation/eng-kor.txt.gz` (the bilingual files of manythings.org/anki, gzipped) and
`chatbot/korean-chatbot.csv.gz` (ChatbotData.csv of github.com/songys/Chatbot_data, gzipped).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from dragoman.corpus.cleaning import clean, fold

SAMPLES = Path(__file__).resolve().parent.parent / "dragoman" / "samples"

FRAME = re.compile(r"(I|You|He|She|It|We|They|Tom|This|That|Am|Are|Is)\b")
LONGEST = 7
"""Most words and punctuation marks in an English sentence of the English-French slice."""
COMMON = 20
"""How many sentences of the slice must hold a word for it to stay."""


def words(text: str) -> list[str]:
    """Words and punctuation marks, in lower case."""
    return re.findall(r"[\w']+|[^\w\s]", text.lower())


def common_sentences(rows: Iterable[Sequence[str]]) -> list[Sequence[str]]:
    """Short sentences that begin with a pronoun, or with Tom, and hold only words that are common among them."""
    kept = [row for row in rows if FRAME.match(row[0]) and len(words(row[0])) <= LONGEST]
    while True:
        counts = Counter(word for sentence in {row[0] for row in kept} for word in set(words(sentence)))
        fewer = [row for row in kept if all(counts[word] >= COMMON for word in words(row[0]))]
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def is_held_out(source: str, *, of_a_thousand: int) -> bool:
    """Whether a source is test data: decided by its own hash, so all its translations go the same way."""
    digest = hashlib.blake2b(fold(source).encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 1000 < of_a_thousand


def write(name: str, lines: Iterable[str]) -> None:
    """Write gzipped lines without a time stamp, and say how many."""
    lines = list(lines)
    data = gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
    (SAMPLES / name).write_bytes(data)
    print(f"{name}: {len(lines):,} lines, {len(data):,} bytes")


def write_split(name: str, rows: Iterable[Sequence[str]], *, of_a_thousand: int) -> None:
    """Write `name.tsv.gz` and `name-test.tsv.gz`, which share no source; pairs that differ in blanks alone stand there once."""
    parts: tuple[list[str], list[str]] = ([], [])
    unlike = {(clean(row[0]), clean(row[1])): row for row in reversed(list(rows))}
    for row in reversed(unlike.values()):
        parts[is_held_out(row[0], of_a_thousand=of_a_thousand)].append("\t".join(row))
    write(f"{name}.tsv.gz", parts[0])
    write(f"{name}-test.tsv.gz", parts[1])


def read(path: Path) -> list[list[str]]:
    """The rows of a gzipped TSV file."""
    return [line.split("\t") for line in gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()]


def main() -> None:
    """Make all samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of the public files")
    data: Path = parser.parse_args().data
    SAMPLES.mkdir(exist_ok=True)
    write_split("eng-fra", common_sentences(read(data / "translation/eng-fra.txt.gz")), of_a_thousand=40)
    short = [row for row in read(data / "translation/eng-kor.txt.gz") if len(row[0]) <= 120]
    write_split("eng-kor", short, of_a_thousand=70)
    text = gzip.decompress((data / "chatbot/korean-chatbot.csv.gz").read_bytes()).decode("utf-8")
    pairs = [(row["Q"].strip(), row["A"].strip()) for row in csv.DictReader(io.StringIO(text, newline=""))]
    write_split("korean-chatbot", pairs, of_a_thousand=25)


if __name__ == "__main__":
    main()

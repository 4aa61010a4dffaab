"""Make pairs in eight small formal languages, to test the settings for SCAN's length split on other tasks.

    python benchmarks/formal_languages.py FOLDER

For each language it writes 10,000 training pairs (`NAME.train.tsv`), 1,000 test pairs of the same lengths (`NAME.test.tsv`) and
1,000 longer ones (`NAME.long.tsv`). No source occurs twice, and the files are the same in every run. The results are in
benchmarks/recipes/symbols.md.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

Pair = tuple[list[str], list[str]]
TRAIN, OTHERS = 10_000, 1_000
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split()
LARGE = {10**9: "billion", 10**6: "million", 1000: "thousand"}
NAMES = "alpha beta gamma delta epsilon zeta eta theta".split()
ITEMS = [f"w{letter}{digit}" for letter in "abcdef" for digit in "1234"]
EDITS: dict[str, Callable[[list[str]], list[str]]] = {
    "reverse": lambda items: items[::-1],
    "swap": lambda items: items[-1:] + items[1:-1] + items[:1] if len(items) > 1 else items,
    "copyfirst": lambda items: items[:1] + items,
    "repeat": lambda items: items + items if len(items) <= 8 else items,
    "dropfirst": lambda items: items[1:] if len(items) > 1 else items,
    "shift": lambda items: items[1:] + items[:1],
}
WAYS = {"north": "NN", "east": "EE", "south": "SS", "west": "WW"}
GROWTHS: dict[str, Callable[[list[str]], list[str]]] = {
    "mirror": lambda items: items + items[::-1],
    "double": lambda items: [item for item in items for _ in range(2)],
    "again": lambda items: items + items,
    "surround": lambda items: items[-1:] + items + items[:1],
}
ACTIONS = {
    "forward": "GO", "back": "COME", "left": "TL", "right": "TR", "up": "RISE", "down": "FALL", "ring": "BELL", "wait": "REST",
}  # fmt: skip
TIMES = {"two": 2, "three": 3, "four": 4}
LENGTHS = {word: length for length, word in enumerate(SMALL[1:9], start=1)}


def spelled(number: int) -> list[str]:
    """A number in words, without its last zeros."""
    words: list[str] = []
    for size, name in LARGE.items():
        if number >= size:
            words += [*spelled(number // size), name]
            number %= size
    if number >= 100:
        words += [SMALL[number // 100], "hundred"]
        number %= 100
    if number >= 20:
        words.append(TENS[number // 10])
        number %= 10
    return [*words, SMALL[number]] if number else words


def number(draw: random.Random, *, longer: bool) -> Pair:
    """Words to digits: below a million, of any size alike; longer: millions."""
    value = draw.randrange(10**6, 10**9) if longer else draw.randrange(1, 10**6)
    if not longer:  # in place of the first draw, which stays as the files that were measured have it
        value = draw.randrange(1, 10 ** draw.randint(1, 6))
    return spelled(value), [f"digit{digit}" for digit in str(value)]


def infix(draw: random.Random, *, longer: bool) -> Pair:
    """Infix to postfix: at most 12 signs; longer: 13 to 24."""
    while True:
        source, target = expression(draw, 5 if longer else 3)
        if 12 < len(target) <= 24 if longer else len(target) <= 12:
            return source, target


def expression(draw: random.Random, depth: int) -> Pair:
    """An expression of at most that depth, in both orders."""
    if depth == 0 or draw.random() < 0.15:
        name = draw.choice(NAMES)
        return [name], [name]
    if draw.random() < 0.2:
        source, target = expression(draw, depth - 1)
        return ["not", "open", *source, "close"], [*target, "not"]
    operator = draw.choice(["and", "or", "xor"])
    (left, first), (right, second) = expression(draw, depth - 1), expression(draw, depth - 1)
    return ["open", *left, operator, *right, "close"], [*first, *second, operator]


def edit(draw: random.Random, *, longer: bool) -> Pair:
    """One to three edits of a list, the last one first: at most 6 items; longer: 7 to 10."""
    items = [draw.choice(ITEMS) for _ in range(draw.randint(7, 10) if longer else draw.randint(1, 6))]
    names, target = [], list(items)
    for _ in range(draw.randint(1, 3)):
        names.append(draw.choice(list(EDITS)))
        target = EDITS[names[-1]](target)
    return [*names[::-1], "of", *items], target


def logo(draw: random.Random, *, longer: bool) -> Pair:
    """Commands that repeat, reverse and swap groups: at most 12 actions; longer: 13 to 24."""
    while True:
        source, target = command(draw, draw.randint(1, 4))
        if (12 < len(target) <= 24 if longer else len(target) <= 12) and len(source) <= 24:
            return source, target


def command(draw: random.Random, depth: int) -> Pair:
    """A command of at most that depth, and its actions."""
    kind = draw.random()
    if depth == 0 or kind < 0.3:
        name = draw.choice(list(ACTIONS))
        return [name], [ACTIONS[name]]
    if kind < 0.55:
        times = draw.choice(list(TIMES))
        source, target = command(draw, depth - 1)
        return ["repeat", times, "begin", *source, "end"], target * TIMES[times]
    source, target = command(draw, depth - 1)
    if kind >= 0.87:
        return ["undo", "begin", *source, "end"], target[::-1]
    other, after = command(draw, depth - 1)
    if kind < 0.75:
        return [*source, "then", *other], target + after
    return ["first", "begin", *source, "end", "before", "that", "begin", *other, "end"], after + target


def runs(draw: random.Random, *, longer: bool) -> Pair:
    """Run lengths written out, `three alpha two beta`: at most 12 names; longer: 13 to 24."""
    while True:
        parts = [(draw.choice(list(LENGTHS)), draw.choice(NAMES)) for _ in range(draw.randint(1, 5))]
        source, target = (
            [word for part in parts for word in part],
            [name for length, name in parts for _ in range(LENGTHS[length])],
        )
        if 12 < len(target) <= 24 if longer else len(target) <= 12:
            return source, target


def growth(draw: random.Random, *, longer: bool) -> Pair:
    """One or two ways to make a list longer, the last one first: at most 12 items; longer: 13 to 24."""
    while True:
        names, target = [], [draw.choice(ITEMS) for _ in range(draw.randint(1, 6))]
        items = list(target)
        for _ in range(draw.randint(1, 2)):
            names.append(draw.choice(list(GROWTHS)))
            target = GROWTHS[names[-1]](target)
        if 12 < len(target) <= 24 if longer else len(target) <= 12:
            return [*names[::-1], "of", *items], target


def route(draw: random.Random, *, longer: bool) -> Pair:
    """Legs of a way, `north three then east slowly`, which waits after every step: at most 12 steps; longer: 13 to 24."""
    while True:
        source, target = [], []
        for leg in range(draw.randint(1, 5)):
            length, slowly = draw.choice(list(LENGTHS)), draw.random() < 0.3
            way = draw.choice(list(WAYS))
            source += ["then"] * (leg > 0) + [way] + [length] * (length != "one") + ["slowly"] * slowly
            target += [WAYS[way], *(["WAIT"] if slowly else [])] * LENGTHS[length]
        if 12 < len(target) <= 24 if longer else len(target) <= 12:
            return source, target


def spelling(draw: random.Random, *, longer: bool) -> Pair:
    """Digits to words: below a million, of any size alike; longer: millions."""
    value = draw.randrange(10**6, 10**9) if longer else draw.randrange(1, 10 ** draw.randint(1, 6))
    return [f"digit{digit}" for digit in str(value)], spelled(value)


def write(folder: Path, language: Callable[..., Pair], draw: random.Random, *, longer_first: bool = False) -> None:
    """The three files of a language."""
    seen: set[str] = set()

    def rows(count: int, *, longer: bool) -> list[str]:
        found: list[str] = []
        while len(found) < count:
            source, target = (" ".join(side) for side in language(draw, longer=longer))
            if source not in seen:
                seen.add(source)
                found.append(f"{source}\t{target}\n")
        return found

    long = rows(OTHERS, longer=True) if longer_first else []
    short = rows(TRAIN + OTHERS, longer=False)
    parts = {"train": short[OTHERS:], "test": short[:OTHERS], "long": long or rows(OTHERS, longer=True)}
    for part, lines in parts.items():
        (folder / f"{language.__name__}.{part}.tsv").write_text("".join(lines), encoding="utf-8")


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder to write to; it is made if it does not exist"
    )
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(7)
    for language in (number, infix, edit):
        write(folder, language, draw)
    write(folder, logo, random.Random(11), longer_first=True)
    for language in (runs, spelling, growth, route):
        write(folder, language, random.Random(13))


if __name__ == "__main__":
    main()

"""Which sources are computed together; knows their lengths and nothing else.

Sources are taken in *windows*, so that memory stays bounded. Those of a window are sorted by length and cut into batches
that hold about equally many tokens, so that little is padded and short sources come in large batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

WINDOW_LINES = 2_048
"""Most sources that are sorted together: more is less padding, fewer is less to wait for and to do again."""
WINDOW_CHARACTERS = 1 << 18
"""Most characters of a window, unless its first source has more: what bounds memory where lines are long."""
BATCH_TOKENS = 4_000
"""Most tokens of a batch, padding and all the outputs under way (a beam's width) counted."""
SHORTEST = 8
"""A source counts as so many tokens at least: what a step costs is rows times vocabulary, however short they are."""

Item = TypeVar("Item")


def windows(sources: Iterable[Item], *, size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Sources by the window; `size` is how many characters one has. The first window depends on its own sources only."""
    window: list[Item] = []
    characters = 0
    for source in sources:
        more = size(source)
        if window and (len(window) == WINDOW_LINES or characters + more > WINDOW_CHARACTERS):
            yield window
            window, characters = [], 0
        window.append(source)
        characters += more
    if window:
        yield window


def batches(lengths: Mapping[int, int], *, width: int = 1) -> Iterator[list[int]]:
    """Places in batches of like lengths, the longest first; `lengths` is place to length, `width` rows per place."""
    batch: list[int] = []
    for place in sorted(lengths, key=lambda place: -lengths[place]):
        if batch and max(lengths[batch[0]], SHORTEST) * (len(batch) + 1) * width > BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch

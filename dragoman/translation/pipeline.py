"""Any number of sources through a model, in their order and in bounded memory; knows no files.

Every batch is computed by one thread, whatever their number: what is in a batch, and so every digit of what comes out,
depends on the sources alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from dragoman.translation.batches import batches
from dragoman.translation.job import Job
from dragoman.translation.outputs import Translation

Item = TypeVar("Item")
Counter = Callable[[int], None]
"""Is told how many more are done."""
Given = Callable[[], list[Translation]]
"""Waits for the translations of a batch, or makes them."""


def uncounted(more: int) -> None:
    """A listener for those who do not count."""
    del more


def translate_windows(
    job: Job,
    windows: Iterable[Sequence[Item]],
    *,
    text: Callable[[Item], str],
    workers: int,
    ahead: bool = True,
    listener: Counter = uncounted,
) -> Generator[tuple[Sequence[Item], Iterator[Translation]], None, None]:
    """Every window with its translations, which come in order, each as soon as it and all before it are there.

    `text` is the source of an item. With several `workers` so many threads compute batches. With `ahead` the next window is
    read and begun before this one is done: not for who sends a line and waits for its answer. `listener` is told
    how many more sources are done, in whatever order.
    """
    with _threads(workers) as submit:
        under_way: deque[tuple[Sequence[Item], Iterator[Translation]]] = deque()
        for window in windows:
            begun = _begin(job, [text(item) for item in window], submit)
            under_way.append((window, _in_order(begun, listener)))
            if len(under_way) > ahead:
                yield under_way.popleft()
        yield from under_way


@dataclass(frozen=True)
class _Begun:
    """A window whose batches are computed or wait to be."""

    done: dict[int, Translation]
    """What is known without the model: sources that cannot be used, by their place."""
    batches: list[tuple[list[int], Given]]
    """The places of each batch, and where its translations come from."""


def _begin(job: Job, sources: list[str], submit: Callable[[Given], Given]) -> _Begun:
    encoded = job.encode(sources)
    faults = {place: Translation(sources[place], (), fault) for place, fault in encoded.faults.items()}
    lengths = {place: len(ids) for place, ids in encoded.ids.items()}
    return _Begun(
        faults,
        [
            (batch, submit(partial(job.run, [sources[i] for i in batch], [encoded.ids[i] for i in batch])))
            for batch in batches(lengths, width=job.width)
        ],
    )


def _in_order(begun: _Begun, listener: Counter) -> Iterator[Translation]:
    ready = dict(begun.done)
    if ready:
        listener(len(ready))
    place = 0
    for batch, given in begun.batches:
        ready.update(zip(batch, given(), strict=True))
        listener(len(batch))
        while place in ready:
            yield ready.pop(place)
            place += 1
    while place in ready:
        yield ready.pop(place)
        place += 1


@contextmanager
def _threads(workers: int) -> Iterator[Callable[[Given], Given]]:
    """How batches are handed out: to threads, or, for a single worker, back to whoever waits for them."""
    if workers == 1:
        yield lambda batch: batch
        return
    pool = ThreadPoolExecutor(workers, thread_name_prefix="dragoman")
    try:
        yield lambda batch: pool.submit(batch).result
    finally:
        pool.shutdown(cancel_futures=True)

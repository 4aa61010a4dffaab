"""Long work as people watch it, on stderr: a bar on a terminal, plain lines elsewhere.

Training is shown with its loss, speed and time left; what is worked through otherwise as a count.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING

from dragoman.cli.output import console, notice, warn, warning
from dragoman.errors import counted, duration

if TYPE_CHECKING:
    from dragoman.training.events import Evaluated, Event, Listener, Note, Progress, Stage

_SECONDS_BETWEEN_LINES = 20.0
_WORTH_A_WORD = 2.0
"""Seconds after which going through a file is work that somebody waits for."""


def watcher() -> AbstractContextManager[Listener]:
    """A bar if stderr is a terminal, otherwise lines; silence in all processes but the main one."""
    from dragoman.training.events import ignore
    from dragoman.training.launch import launched

    if not launched().main:
        return nullcontext(ignore)
    return Bar() if _redraws() else Lines()


def _redraws() -> bool:
    """Whether stderr is a terminal that can draw a line anew, as that of an editor (TERM=dumb) cannot."""
    return sys.stderr.isatty() and not console().is_dumb_terminal


def _progress_line(event: Progress) -> str:
    running = event.seconds_left is not None and event.share < 1
    left = f", {duration(event.seconds_left or 0)} left" if running else ""
    return (
        f"step {event.step:,}, epoch {event.epoch:.1f}: loss {event.loss:.3f}, "
        f"{event.tokens_per_second:,.0f} tokens/s, {duration(event.seconds)}{left}"
    )


def _evaluated_line(event: Evaluated) -> str:
    score = "" if event.metric == "loss" else f", {event.metric} {event.score:.1f}"
    best = " (kept)" if event.best else ""
    risk = "" if event.risk is None else f", risk {event.risk:.3f}"
    return (
        f"step {event.step:,}, epoch {event.epoch:.1f}: train loss {event.train_loss:.3f}{risk}, "
        f"dev loss {event.dev_loss:.3f}{score}{best}"
    )


def _stage_line(event: Stage) -> str:
    of = f" of {event.total:,}" if event.total is not None else ""
    return f"{event.name}: {event.done:,}{of} {event.unit}s"


class Lines:
    """One line at a time, for logs: every note and evaluation, progress now and then."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def __enter__(self) -> Lines:
        """Nothing to set up."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to take down."""

    def __call__(self, event: Event) -> None:
        """Print what is worth a line."""
        from dragoman.training import events

        if isinstance(event, events.Note):
            _show(event)
        elif isinstance(event, events.Evaluated):
            notice(_evaluated_line(event))
        elif time.monotonic() - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            notice(_progress_line(event) if isinstance(event, events.Progress) else _stage_line(event))


def _show(note: Note) -> None:
    (warn if note.warning else notice)(note.text)


class Bar:
    """A live bar under the notes and evaluations."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        terminal = console()
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=min(24, terminal.width // 8)),
            TextColumn("{task.fields[text]}", table_column=Column()),  # wraps: the time left stands at its end
            console=terminal,
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task("", total=None, text="", visible=False)

    def __enter__(self) -> Bar:
        """Start drawing."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        from dragoman.training import events

        if isinstance(event, events.Note):
            self._bar.console.print(warning(event.text) if event.warning else event.text, markup=False)
        elif isinstance(event, events.Evaluated):
            self._bar.console.print(_evaluated_line(event), markup=False)
        elif isinstance(event, events.Stage):
            finished = event.total is not None and event.done >= event.total
            self._draw(event.name, event.done, event.total, counted(event.done, event.unit), visible=not finished)
        else:
            self._draw("training", round(1000 * event.share), 1000, _progress_line(event))

    def _draw(self, name: str, done: int, total: int | None, text: str, *, visible: bool = True) -> None:
        self._bar.update(self._task, description=name, completed=done, total=total, text=text, visible=visible)


@contextlib.contextmanager
def counting(
    name: str, *, total: int | None, done: int = 0, unit: str = "source", shown: bool = True
) -> Iterator[Callable[[int], None]]:
    """What is done, how much a second and time left, if it takes longer than two seconds; call what you get with how many more are done.

    `total` is how many there are, if that is known, `done` how many were done before this run. Without a `unit` only the time is shown.
    """
    count = _Count(name, total, done, unit)
    if not shown:
        yield count.add
    elif not _redraws():
        yield count.say
    else:
        with count.bar():
            yield count.add


class _Count:
    """What is done of one kind of work."""

    def __init__(self, name: str, total: int | None, done: int, unit: str) -> None:
        self._name, self._total, self._before, self._unit = name, total, done, unit
        self._more = 0
        self._began = time.monotonic()
        self._next = self._began + _WORTH_A_WORD

    def add(self, more: int) -> None:
        """So many more are done."""
        self._more += more

    def say(self, more: int) -> None:
        """So many more are done; print a line now and then."""
        self.add(more)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS_BETWEEN_LINES
            notice(self.line())

    def bar(self) -> contextlib.AbstractContextManager[object]:
        """The line as it is at any moment, under whatever else is printed."""
        from rich.progress import Progress as RichProgress
        from rich.progress import ProgressColumn
        from rich.progress import Task as RichTask
        from rich.text import Text

        line = self.line

        class Line(ProgressColumn):
            def render(self, task: RichTask) -> Text:
                return Text(line() if task.elapsed is not None and task.elapsed > _WORTH_A_WORD else "")

        progress = RichProgress(Line(), console=console(), transient=True, refresh_per_second=4)
        progress.add_task(self._name)
        return progress

    def line(self) -> str:
        """`translating: 1,200 of 5,000 lines, 300 lines/s, 13 s left`."""
        seconds = time.monotonic() - self._began
        if not self._unit:
            return f"{self._name}: {duration(seconds)}"
        done = self._before + self._more
        rate = self._more / max(seconds, 1e-9)
        of, left = counted(done, self._unit), ""
        if self._total is not None:
            of = f"{done:,} of {counted(self._total, self._unit)}"
            left = f", {duration((self._total - done) / rate)} left" if rate and done < self._total else ""
        return f"{self._name}: {of}, {rate:,.{0 if rate >= 10 else 1}f} {self._unit}s/s{left}"

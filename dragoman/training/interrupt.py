"""Ctrl-C: in training the first one asks for a clean stop, and the second stops at once; elsewhere the first one does.

SIGTERM, and SIGHUP of a terminal that is closed, do what Ctrl-C does; under `nohup` SIGHUP stays ignored.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

_ENDING: Final = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]  # not on Windows


class StopRequest:
    """Set by the first signal."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        """Whether somebody asked to stop."""
        return self.asked


@contextmanager
def stop_on_interrupt() -> Iterator[StopRequest]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into a request; a second one acts as it would outside this block.

    Signals are only seen in the main thread; elsewhere the request is never made. A handler that is not Python's, of a program that
    Python runs in, stays: it could not be put back.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def ask(number: int, frame: FrameType | None) -> None:
        del number, frame
        request.asked = True
        restore()

    for number in (signal.SIGINT, *_ENDING):
        handler = signal.getsignal(number)
        if handler is not None and (number == signal.SIGINT or handler is not signal.SIG_IGN):
            previous[number] = signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `KeyboardInterrupt`, as Ctrl-C does, so that what is half made is put away and a last word is said."""
    main = threading.current_thread() is threading.main_thread()
    numbers = [number for number in _ENDING if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

"""The command line: parse, call the facade, print. It knows no model, no file format and no tensor.

Start-up stays light: this file imports nothing, `app` imports cyclopts, and a verb's module is imported when its verb
is run (or its help is asked for).
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `dragoman` command (default: that of the process) and return the exit code."""
    # Or pydantic looks through all that is installed for plugins, at the price of half an import of NumPy.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from dragoman.cli.app import run

        return run(arguments)
    except KeyboardInterrupt:  # while the first modules are being imported
        return 130
    finally:
        atexit.register(_end_at_once)  # last, and so called first


def _end_at_once() -> None:
    """From here on Ctrl-C ends the process without a traceback: all is said, and only libraries tidy up."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

"""The command line: parse, call the facade, print. It knows no model, no file format and no tensor.

Start-up stays light: this file imports nothing, `app` imports cyclopts, and a verb's module is imported when its verb
is run (or its help is asked for).
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `dragoman` command (default: that of the process) and return the exit code."""
    try:
        from dragoman.cli.app import run

        return run(arguments)
    except KeyboardInterrupt:  # while the first modules are being imported
        return 130

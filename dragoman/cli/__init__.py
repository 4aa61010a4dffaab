"""The command line: parse, call the facade, print. It knows no model, no file format and no tensor.

Start-up stays light: this file imports nothing, `app` imports cyclopts, and a verb's module is imported when its verb
is run (or its help is asked for).
"""

from __future__ import annotations

import os
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

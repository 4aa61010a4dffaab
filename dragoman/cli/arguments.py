"""Arguments that several commands share, each with its help, once; and the words of the command as it was typed."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated

from cyclopts import Parameter

ModelPath = Annotated[
    str,
    Parameter(help="Model directory that `dragoman train` wrote, or a Hugging Face Hub name such as someone/model."),
]
AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.", negative=())]

WORDS: ContextVar[tuple[str, ...]] = ContextVar("words", default=())
"""What stands after `dragoman` in the command that runs."""

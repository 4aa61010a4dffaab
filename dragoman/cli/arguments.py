"""Arguments that several commands share, each with its help, once; how options and commands are typed. Knows no option model."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

ModelPath = Annotated[
    str,
    Parameter(
        help="Model directory, or a Hugging Face Hub name such as someone/model. To translate and score also a file of `dragoman export --bundle`."
    ),
]
AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.", negative=())]
TruePairs = Annotated[
    str, Parameter(help="A file of pairs, or two aligned text files, as for `dragoman train`; - is standard input.")
]
TrainingFile = Annotated[Path | None, Parameter(help="TOML file of training options; flags override it.")]
MadeModel = Annotated[
    Path | None,
    Parameter(
        name="--out",
        help="Directory for the model; must not exist, or see --overwrite. Without it the pairs are only made, not trained on.",
    ),
]
WritePairs = Annotated[
    Path | None, Parameter(name="--write", help="TSV file for the made pairs. Default: OUT.synthetic.tsv.")
]
OverwriteMade = Annotated[
    bool,
    Parameter(
        name="--overwrite",
        help="Replace the model at --out, which is kept as OUT.old, and the file of made pairs.",
        negative=(),
    ),
]

WORDS: ContextVar[tuple[str, ...]] = ContextVar("words", default=())
"""What stands after `dragoman` in the command that runs."""
FLAGS: ContextVar[Collection[str]] = ContextVar("flags", default=())
"""Every flag of the command that runs."""

_RENAMED = {"from_model": "--from", "copying": "--copy"}
"""`from` is a word of Python's own, and `copy` a method of every option model."""


def flag(name: str) -> str:
    """`beam_size` as people type it: `--beam-size`."""
    return _RENAMED.get(name) or "--" + name.replace("_", "-")


def as_flags(message: str) -> str:
    """Show the names in back-quotes that are flags of this command as flags: `` `beam_size` `` becomes `--beam-size`."""
    known = FLAGS.get()
    return re.sub(
        r"`([a-z][a-z0-9_]*)`", lambda found: flag(found[1]) if flag(found[1]) in known else found[0], message
    )


def as_typed() -> str:
    """The command as it was typed, for the model card."""
    return shlex.join(["dragoman", *WORDS.get()])

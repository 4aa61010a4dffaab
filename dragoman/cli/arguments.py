"""Arguments that several commands share, each with its help, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

ModelPath = Annotated[str, Parameter(help="Model directory that `dragoman train` wrote.", show_default=False)]
AsJson = Annotated[bool, Parameter(help="Print JSON instead of text.", negative=(), show_default=False)]
Overwrite = Annotated[
    bool,
    Parameter(
        help="Replace what is at --out; the model that was there is kept as OUT.old.", negative=(), show_default=False
    ),
]
OptionalPath = Path | None

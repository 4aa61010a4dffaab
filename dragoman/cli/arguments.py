"""Arguments that several commands share, each with its help, once."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

ModelPath = Annotated[
    str,
    Parameter(help="Model directory that `dragoman train` wrote, or a Hugging Face Hub name such as someone/model."),
]
AsJson = Annotated[bool, Parameter(name="--json", help="Print JSON instead of text.", negative=())]

"""`dragoman train`: a file of pairs in, a model directory out."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson
from dragoman.cli.flags import flags_of_models, with_file
from dragoman.cli.output import show_messages
from dragoman.cli.progress import watcher
from dragoman.config import TrainOptions
from dragoman.errors import OptionError


@flags_of_models
def train(
    *pairs: Annotated[
        str,
        Parameter(help="A file of pairs, or two aligned text files; - is standard input. Any of them may be gzipped."),
    ],
    out: Annotated[
        Path | None, Parameter(help="Directory for the model. It must not exist, or see --overwrite.")
    ] = None,
    overwrite: Annotated[
        bool, Parameter(help="Replace what is at --out; the model that was there is kept as OUT.old.", negative=())
    ] = False,
    resume: Annotated[
        Path | None, Parameter(help="Go on with an interrupted training in this directory, exactly where it stopped.")
    ] = None,
    config: Annotated[Path | None, Parameter(help="TOML file of options; flags override it.")] = None,
    as_json: Annotated[AsJson, Parameter(name="--json")] = False,
    options: TrainOptions,
) -> None:
    """Train a model from a file of pairs.

    Only PAIRS and --out are needed: what is not given is chosen from the preset and the data, and printed. Flags override
    the file given by --config, which overrides the preset.
    """
    options = with_file(options, config)
    if resume is None:
        if not pairs:
            raise OptionError("PAIRS are missing; for example: dragoman train pairs.tsv --out model")
        if out is None:
            raise OptionError("`out` is missing; for example: dragoman train pairs.tsv --out model")
    elif pairs or out is not None or overwrite:
        raise OptionError("`resume` takes the pairs and the directory of the interrupted training; give no others")
    show_messages()
    from dragoman import train as train_model

    with watcher() as listener:
        translator = train_model(pairs, out=out, options=options, overwrite=overwrite, resume=resume, listener=listener)
    place = str(resume or out)
    if as_json:
        print(json.dumps(translator.info(), ensure_ascii=False))
        return
    print(f"The model is in {place}. Try it:", file=sys.stderr)
    print(f"  dragoman translate {shlex.quote(place)} {shlex.quote(translator.example)}", file=sys.stderr)

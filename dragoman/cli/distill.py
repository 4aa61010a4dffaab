"""`dragoman distill`: train a student on what a teacher makes of the sources."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import MadeModel, ModelPath, OverwriteMade, WritePairs, as_typed
from dragoman.cli.flags import flags_of_models, with_file
from dragoman.cli.output import show_messages, try_it
from dragoman.cli.progress import watcher
from dragoman.config import CompanionOptions, SearchOptions, TrainOptions
from dragoman.errors import OptionError


@flags_of_models
def distill(
    teacher: ModelPath,
    /,
    *pairs: Annotated[
        str, Parameter(help="A file of pairs, or two aligned text files, as for `dragoman train`; - is standard input.")
    ],
    out: MadeModel = None,
    write: WritePairs = None,
    overwrite: OverwriteMade = False,
    config: Annotated[Path | None, Parameter(help="TOML file of training options; flags override it.")] = None,
    options: TrainOptions,
    search: SearchOptions,
    others: CompanionOptions,
) -> None:
    """Train a student on what a teacher makes of the sources.

    TEACHER translates every source of the training part, and a model of any shape is trained on its outputs, which are easier
    to learn than what people wrote (sequence-level knowledge distillation, Kim and Rush 2016). Dev and test are the true
    pairs, split as in the teacher's training. With --num-hypotheses every output is a pair. What was stopped goes on with the
    same command.
    """
    if not pairs:
        raise OptionError("PAIRS is missing; for example: dragoman distill teacher pairs.tsv --out student")
    show_messages()
    import dragoman

    options = with_file(options, config)
    with watcher() as listener:
        dragoman.distill(
            teacher,
            list(pairs),
            out=out,
            write=write,
            options=options,
            search=search.model_copy(update={"seed": options.seed}),
            ensemble=others.ensemble,
            reverse=others.reverse,
            overwrite=overwrite,
            listener=listener,
            command=as_typed(),
        )
    if out is not None:
        try_it(out)

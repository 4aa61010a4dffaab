"""`dragoman backtranslate`: train on true pairs, and on ones whose sources a reverse model makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import MadeModel, OverwriteMade, WritePairs, as_typed
from dragoman.cli.flags import flags_of_models, with_file
from dragoman.cli.output import show_messages, try_it
from dragoman.cli.progress import watcher
from dragoman.config import CompanionOptions, SearchOptions, TrainOptions
from dragoman.errors import OptionError


@flags_of_models
def backtranslate(
    reverse_model: Annotated[str, Parameter(help="A model from target to source: directory or Hugging Face Hub name.")],
    texts: Annotated[str, Parameter(help="A file of lines in the target language, also gzipped.")],
    /,
    *pairs: Annotated[
        str, Parameter(help="A file of pairs, or two aligned text files, as for `dragoman train`; - is standard input.")
    ],
    out: MadeModel = None,
    write: WritePairs = None,
    repeat: Annotated[int, Parameter(help="How often each true pair counts beside the made ones. Default: 1.")] = 1,
    overwrite: OverwriteMade = False,
    config: Annotated[Path | None, Parameter(help="TOML file of training options; flags override it.")] = None,
    options: TrainOptions,
    search: SearchOptions,
    others: CompanionOptions,
) -> None:
    """Train on true pairs, and on ones whose sources a reverse model makes.

    REVERSE_MODEL translates every line of TEXTS, which are in the target language, back to a source (Sennrich et al. 2016). Dev
    and test are true pairs, split off before; lines that are targets of theirs are left out. With --num-hypotheses every
    output is a pair. What was stopped goes on with the same command.
    """
    if not pairs:
        raise OptionError(
            "PAIRS is missing; for example: dragoman backtranslate reverse texts.txt pairs.tsv --out model"
        )
    show_messages()
    import dragoman

    options = with_file(options, config)
    with watcher() as listener:
        dragoman.backtranslate(
            reverse_model,
            texts,
            list(pairs),
            out=out,
            write=write,
            repeat=repeat,
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

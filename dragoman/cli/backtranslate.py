"""`dragoman backtranslate`: train on true pairs, and on ones whose sources a reverse model makes."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import MadeModel, OverwriteMade, TrainingFile, TruePairs, WritePairs
from dragoman.cli.flags import flags_of_models
from dragoman.cli.made_pairs import make_and_train
from dragoman.cli.output import show_messages
from dragoman.config import CompanionOptions, SearchOptions, TrainOptions
from dragoman.errors import OptionError


@flags_of_models
def backtranslate(
    reverse_model: Annotated[str, Parameter(help="A model from target to source: directory or Hugging Face Hub name.")],
    texts: Annotated[str, Parameter(help="A file of lines in the target language, also gzipped.")],
    /,
    *pairs: TruePairs,
    out: MadeModel = None,
    write: WritePairs = None,
    repeat: Annotated[int, Parameter(help="How often each true pair counts beside the made ones. Default: 1.")] = 1,
    overwrite: OverwriteMade = False,
    config: TrainingFile = None,
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

    make_and_train(
        partial(dragoman.backtranslate, reverse_model, texts, list(pairs), repeat=repeat),
        out=out,
        write=write,
        overwrite=overwrite,
        config=config,
        options=options,
        search=search,
        others=others,
    )

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
    texts: Annotated[str, Parameter(help="Text file in the target language, one text per line; may be gzipped.")],
    /,
    *pairs: TruePairs,
    out: MadeModel = None,
    write: WritePairs = None,
    repeat: Annotated[
        int, Parameter(help="How often each true pair is repeated beside the made ones. Default: 1.")
    ] = 1,
    overwrite: OverwriteMade = False,
    config: TrainingFile = None,
    options: TrainOptions,
    search: SearchOptions,
    others: CompanionOptions,
) -> None:
    """Train on your pairs and on target text that a reverse model translates back.

    REVERSE_MODEL translates every line of TEXTS, which are in the target language, into a source (Sennrich et al. 2016). Dev
    and test are split off PAIRS first; lines of TEXTS that are targets in them are left out. With --num-hypotheses N every
    line gives up to N pairs. If the command is interrupted, give it again to continue.
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

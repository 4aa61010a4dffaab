"""`dragoman distill`: train a student on what a teacher makes of the sources."""

from __future__ import annotations

from functools import partial

from dragoman.cli.arguments import MadeModel, ModelPath, OverwriteMade, TrainingFile, TruePairs, WritePairs
from dragoman.cli.flags import flags_of_models
from dragoman.cli.made_pairs import make_and_train
from dragoman.cli.output import show_messages
from dragoman.config import CompanionOptions, SearchOptions, TrainOptions
from dragoman.errors import OptionError


@flags_of_models
def distill(
    teacher: ModelPath,
    /,
    *pairs: TruePairs,
    out: MadeModel = None,
    write: WritePairs = None,
    overwrite: OverwriteMade = False,
    config: TrainingFile = None,
    options: TrainOptions,
    search: SearchOptions,
    others: CompanionOptions,
) -> None:
    """Train a student model on the outputs of a teacher model.

    TEACHER translates every source of the training part. A model of any shape is then trained on these outputs, which are
    easier to learn than what people wrote (sequence-level knowledge distillation, Kim and Rush 2016). Dev and test remain
    true pairs, split as in the teacher's training. With --num-hypotheses N every source gives up to N pairs. If the command is
    interrupted, give it again to continue.
    """
    if not pairs:
        raise OptionError("PAIRS is missing; for example: dragoman distill teacher pairs.tsv --out student")
    show_messages()
    import dragoman

    make_and_train(
        partial(dragoman.distill, teacher, list(pairs)),
        out=out,
        write=write,
        overwrite=overwrite,
        config=config,
        options=options,
        search=search,
        others=others,
    )

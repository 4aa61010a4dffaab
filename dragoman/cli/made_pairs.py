"""Training on pairs that a model makes, as `distill` and `backtranslate` share it; does not know how pairs are made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dragoman.cli.arguments import as_typed
from dragoman.cli.flags import with_file
from dragoman.cli.output import try_it
from dragoman.cli.progress import watcher
from dragoman.config import CompanionOptions, SearchOptions, TrainOptions
from dragoman.training.launch import launched


def make_and_train(
    make: Callable[..., Any],
    *,
    out: Path | None,
    write: Path | None,
    overwrite: bool,
    config: Path | None,
    options: TrainOptions,
    search: SearchOptions,
    others: CompanionOptions,
) -> None:
    """Call `make`, a function of `dragoman.synthesis` that knows its model and its pairs already, with the rest of a command."""
    options = with_file(options, config)
    with watcher() as listener:
        make(
            out=out,
            write=write,
            options=options,
            search=search.model_copy(update={"seed": options.seed}) if search.draws else search,
            ensemble=others.ensemble,
            reverse=others.reverse,
            overwrite=overwrite,
            listener=listener,
            command=as_typed(),
        )
    if out is not None and launched().main:
        try_it(out)

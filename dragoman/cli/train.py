"""`dragoman train`: a file of pairs in, a model directory out; or go on with a training that was stopped."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, as_typed
from dragoman.cli.flags import flags_of_models, with_file
from dragoman.cli.output import show_messages, try_it
from dragoman.cli.progress import watcher
from dragoman.config import TrainOptions
from dragoman.errors import OptionError
from dragoman.training.launch import launched


@flags_of_models
def train(
    *pairs: Annotated[
        str,
        Parameter(help="A file of pairs, or two aligned text files, each also gzipped; - is standard input."),
    ],
    out: Annotated[Path | None, Parameter(help="Directory for the model; must not exist, or see --overwrite.")] = None,
    overwrite: Annotated[
        bool, Parameter(help="Replace the model at --out; it is kept as OUT.old.", negative=())
    ] = False,
    resume: Annotated[
        Path | None, Parameter(help="Continue the training in this model directory exactly where it stopped.")
    ] = None,
    verify_resume: Annotated[
        bool,
        Parameter(
            help="Only test that this training resumes exactly: train 20 steps twice, once with a stop in between, and "
            "compare all weights bit for bit.",
            negative=(),
        ),
    ] = False,
    config: Annotated[Path | None, Parameter(help="TOML file of options; flags override it.")] = None,
    as_json: AsJson = False,
    options: TrainOptions,
) -> None:
    """Train a model from a file of pairs.

    Only PAIRS and --out are needed. Everything else is chosen from the preset and the data, and printed with its reason.
    Flags override the file given by --config, which overrides the preset.
    """
    options = with_file(options, config)
    if verify_resume:
        _verify(pairs, out, resume, options, overwrite=overwrite, as_json=as_json)
        return
    _check(pairs, out, resume, overwrite=overwrite)
    show_messages()
    import dragoman

    with watcher() as listener:
        if resume is not None:
            translator = dragoman.resume(resume, options=options, listener=listener)
        else:
            translator = dragoman.train(
                list(pairs), out=out, options=options, overwrite=overwrite, listener=listener, command=as_typed()
            )
    if not launched().main:
        return
    if as_json:
        print(json.dumps(translator.config, ensure_ascii=False))
    try_it(translator.directory.path)


def _check(pairs: tuple[str, ...], out: Path | None, resume: Path | None, *, overwrite: bool) -> None:
    """Find what does not go together."""
    if resume is not None:
        if pairs or out is not None or overwrite:
            raise OptionError(
                "`resume` uses the pairs and the directory of the stopped training: leave PAIRS, `out` and `overwrite` out"
            )
    elif not pairs:
        raise OptionError("PAIRS is missing; for example: dragoman train pairs.tsv --out model")
    elif out is None:
        raise OptionError("`out` is missing; for example: dragoman train pairs.tsv --out model")


def _verify(
    pairs: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    options: TrainOptions,
    *,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Prove that resuming is exact, or fail."""
    given = [name for name, value in (("out", out), ("resume", resume), ("overwrite", overwrite)) if value]
    if given:
        raise OptionError(f"`verify_resume` trains in temporary folders: leave `{given[0]}` out")
    if not pairs:
        raise OptionError("PAIRS is missing; for example: dragoman train pairs.tsv --verify-resume")
    if "-" in pairs:
        raise OptionError("`verify_resume` reads the pairs twice: give a file")
    show_messages()
    from dragoman.training.verifying import verify_resume

    with watcher() as listener:
        proof = verify_resume(list(pairs), options, listener=listener)
    if as_json:
        print(json.dumps(asdict(proof)))
        return
    print(
        f"resuming is exact: {proof.steps} steps, and {proof.stopped_at} + {proof.steps - proof.stopped_at} with a stop in "
        f"between, gave the same {proof.values:,} numbers in {proof.tensors} tensors, bit for bit"
    )

"""`dragoman inspect`: what happens inside a model on the way from one sentence to its output."""

from __future__ import annotations

import json
import sys
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import show_messages, warn
from dragoman.cli.pictures import SvgPath, check_picture, write_picture
from dragoman.cli.progress import counting
from dragoman.config import MachineOptions
from dragoman.corpus.cleaning import clean, fault_in
from dragoman.errors import OptionError, counted

_NARROWEST, _UNLIMITED = 80, 10_000
"""Columns that tables take at least, and where nothing bounds them."""


@flags_of_models
def inspect(
    model: ModelPath,
    sentence: Annotated[str, Parameter(help="What the encoder reads.")],
    reference: Annotated[
        str | None, Parameter(help="The right output: shows teacher forcing and the gradients through time too.")
    ] = None,
    /,
    *,
    candidates: Annotated[int, Parameter(help="Next words shown at each step. Default: 5.")] = 5,
    svg: SvgPath = None,
    as_json: AsJson = False,
    machine: MachineOptions,
) -> None:
    """Look inside a model while it translates one sentence.

    Shows the context vector and, for each step of the decoder, its input, the best next words with their softmax
    probabilities, and the attention. With REFERENCE it also compares teacher forcing with free running, and shows the gradient
    norm of each step's loss at every earlier state of encoder and decoder.
    """
    show_messages()
    check_picture(svg)
    if reference is not None:
        if fault := fault_in(reference):
            raise OptionError(f"REFERENCE cannot be read: {fault}")
        if not clean(reference):
            raise OptionError("REFERENCE is empty; give the right output, or leave it out")
    from dragoman import load
    from dragoman.evaluation.inspection import inspect as look_inside

    translator = load(model, device=machine.device, threads=machine.threads)
    encoded = translator.texts.encode_sources([sentence])
    if encoded.faults:
        raise OptionError(f"SENTENCE cannot be read: {encoded.faults[0]}")
    inspection = look_inside(
        translator.model,
        encoded.ids[0],
        source_names=translator.source_tokenizer.tokens,
        target_names=translator.target_tokenizer.tokens,
        reference_ids=None if reference is None else translator.texts.encode_targets([reference])[0],
        candidates=candidates,
    )
    if not inspection.finished:
        warn(f"the output is cut after {counted(len(inspection.steps), 'step')}: the model did not end it with </s>")
    if svg is not None:
        from dragoman.evaluation.plots import inspection_svg

        with counting("drawing", total=None, unit=""):
            picture = inspection_svg(inspection)
        write_picture(svg, picture)
    if as_json:
        print(json.dumps(inspection.as_dict(), ensure_ascii=False))
        return
    from rich.console import Console

    from dragoman.evaluation.tables import inspection_tables

    # What is no terminal has room for whole rows, and on a very narrow one it is better that lines break than numbers.
    width = max(Console().width, _NARROWEST) if sys.stdout.isatty() else _UNLIMITED
    console = Console(highlight=False, width=width)
    for table in inspection_tables(inspection):
        console.print(table)

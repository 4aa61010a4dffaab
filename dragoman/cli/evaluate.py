"""`dragoman evaluate`: how well a model does on a file of pairs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import notice, show_messages, table, warn
from dragoman.config import MachineOptions, ReadOptions, SearchOptions
from dragoman.errors import OptionError

if TYPE_CHECKING:
    from dragoman.translator import Translator


@flags_of_models
def evaluate(
    model: ModelPath,
    /,
    *pairs: Annotated[
        str,
        Parameter(
            help="A file of pairs, or two aligned text files; - is standard input. Default: the test part that the "
            "model's training held out."
        ),
    ],
    as_json: AsJson = False,
    reading: ReadOptions,
    search: SearchOptions,
    machine: MachineOptions,
) -> None:
    """Score a model on a file of pairs.

    A source that stands in several rows has several right answers, and all of them count. The file is read as the
    training data was, unless an option says otherwise.
    """
    show_messages()
    from dragoman import load
    from dragoman.corpus.reading import ReadReport, read_pairs, require_usable
    from dragoman.evaluation.references import group_references
    from dragoman.storage import TEST

    report = ReadReport()
    translator = load(model, device=machine.device, threads=machine.threads)
    held_out = translator.directory.path / TEST
    if not pairs and not held_out.exists():
        raise OptionError(f"PAIRS is missing, and {model} has no test part; give a file, or train with --test 2000")
    options = as_trained(translator, reading) if pairs else ReadOptions()
    sources, references = group_references(read_pairs(pairs or [held_out], options, report=report))
    require_usable(report)
    (warn if report.unusable else notice)(report.summary())
    scores, _ = translator.evaluate(sources, references, options=search)
    facts = {"model": model, "search": search.model_dump(), **scores.as_dict()}
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
        return
    print(f"{scores.items:,} sources, {scores.references:,} references, {_search_in_words(search)}")
    print(table(scores.rows(), header=("metric", "score", "signature"), right=(1,)))


def as_trained(translator: Translator, reading: ReadOptions) -> ReadOptions:
    """How the training data was read, with what is given now in its place.

    The format belongs to a file and not to a task, so it is taken from the file's name again.
    """
    stored: dict[str, Any] = {
        name: value
        for name, value in translator.config["options"].items()
        if name in ReadOptions.model_fields and name not in ("format", "strict", "group_by")
    }
    return ReadOptions(**(stored | reading.model_dump(exclude_unset=True)))


def _search_in_words(search: SearchOptions) -> str:
    return "greedy search" if search.beam_size == 1 else f"beam {search.beam_size}"

"""`dragoman gap`: what a model loses by reading its own words instead of the right ones."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Annotated

import cyclopts

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import show_messages, table
from dragoman.cli.pairs import TestPairs, read_items
from dragoman.cli.pictures import SvgPath, check_picture, write_picture
from dragoman.cli.progress import counting
from dragoman.config import MachineOptions, ReadOptions
from dragoman.errors import OptionError, counted

if TYPE_CHECKING:
    from dragoman.evaluation.exposure import Gap

_POSITIONS = 15


@flags_of_models
def gap(
    model: ModelPath,
    /,
    *pairs: TestPairs,
    horizon: Annotated[
        int, cyclopts.Parameter(help="How many words to follow after the first error. Default: 10.")
    ] = 10,
    svg: SvgPath = None,
    as_json: AsJson = False,
    reading: ReadOptions,
    machine: MachineOptions,
) -> None:
    """Measure the teacher-forcing gap: what a model loses by reading its own outputs.

    Shows the accuracy by position when the model is fed the reference (as in training) and when it is fed its own words (as
    in use, with greedy search). Also shows what follows the first error, and how often and how fast the output returns to the
    reference.
    """
    show_messages()
    check_picture(svg)
    if horizon < 1:
        raise OptionError(f"`horizon` must be at least 1, but is {horizon}")
    from dragoman import load

    translator = load(model, device=machine.device, threads=machine.threads)
    sources, references = read_items(translator, pairs, reading)
    _ = translator.model  # loaded before anything is counted
    with counting("translating", total=len(sources)) as count:
        found = translator.gap(sources, references, horizon=horizon, listener=count)
    if svg is not None:
        from dragoman.evaluation.plots import gap_svg

        write_picture(svg, gap_svg(found))
    print(json.dumps({"model": model, **found.as_dict()}) if as_json else _in_words(found))


def _in_words(found: Gap) -> str:
    """The whole report."""
    recovered = "no output had an error with enough words after it to come back to"
    if found.recovered is not None:
        recovered = (
            f"{found.recovered:.1%} of {found.recoverable:,} come back to the right answer after their first error"
        )
        if found.median_delay is not None:
            recovered += f", half of them within {found.median_delay:g} token{'' if found.median_delay == 1 else 's'}"
    lines = [
        f"{counted(found.sentences, 'source')}: {found.forced_total:.1%} of the tokens right when fed the right answer, "
        f"{found.free_total:.1%} when fed its own words: a gap of {100 * found.gap:.1f} points",
        f"{found.flawless:.1%} of the outputs have no error; {recovered}",
    ]
    shown = min(_POSITIONS, len(found.counts))
    rows = [
        (str(i + 1), f"{found.counts[i]:,}", _percent(found.forced_accuracy[i]), _percent(found.free_accuracy[i]), _percent(found.first_error[i]))
        for i in range(shown)
    ]  # fmt: skip
    header = ("position", "tokens", "fed the reference", "fed its own words", "first error here")
    after = [
        (f"+{i + 1}", f"{count:,}", _percent(found.forced_after_error[i]), _percent(found.free_after_error[i]))
        for i, count in enumerate(found.after_error_counts)
        if count
    ]
    tables = [table(rows, header=header, right=range(5))]
    if len(found.counts) > shown:
        tables[0] += f"\n(the first {shown} of {len(found.counts)} positions; --json and --svg have all)"
    if after:
        tables.append(
            table(
                after,
                header=("after the first error", "tokens", "fed the reference", "fed its own words"),
                right=range(4),
            )
        )
    return "\n\n".join(["\n".join(lines), *tables])


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{share:.1%}"  # a share of nothing

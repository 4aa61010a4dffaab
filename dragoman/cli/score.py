"""`dragoman score`: how probable a model finds given pairs, token by token."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.opening import open_model
from dragoman.cli.output import notice, show_messages, warn
from dragoman.cli.pairs import as_trained
from dragoman.cli.progress import counting
from dragoman.config import CompanionOptions, EngineOptions, EnsembleOptions, ReadOptions

if TYPE_CHECKING:
    from dragoman.corpus.reading import Pair
    from dragoman.translator import ScoredPair, Translator

_AT_ONCE = 512


@flags_of_models
def score(
    model: ModelPath,
    /,
    *pairs: Annotated[
        str, Parameter(help="A file of pairs, or two aligned text files. Default: standard input, with TAB between.")
    ],
    as_json: AsJson = False,
    reading: ReadOptions,
    others: EnsembleOptions,
    machine: EngineOptions,
) -> None:
    """Compute how probable a model finds given pairs.

    Prints one line per pair, with columns separated by TAB: line number, log-probability of the whole target, its mean per
    token, and every token with its own. The perplexity of all pairs together comes last: on stderr, or with --json on a line
    of its own.
    """
    show_messages()
    from dragoman.corpus.reading import ReadReport, read_pairs, require_usable
    from dragoman.translation.scoring import perplexity_of

    report = ReadReport()
    translator = open_model(model, machine, CompanionOptions(ensemble=others.ensemble))
    translator.score([], [])  # what cannot be scored is an error before anything is read
    paths = pairs or ("-",)
    rows = read_pairs(paths, as_trained(translator, reading, paths), report=report)
    out = sys.stdout
    with counting("scoring", total=None, unit="pair", shown=not out.isatty()) as count:
        found = perplexity_of(_printed(translator, rows, out, as_json=as_json, listener=count))
    require_usable(report)
    (warn if report.unusable else notice)(report.summary())
    if found is None:
        return
    if as_json:
        print(json.dumps({"summary": found.as_dict()}))
    else:
        notice(
            f"perplexity {found.per_token:.4g} per token, {found.per_character:.4g} per character "
            f"({found.bits_per_character:.4g} bits per character)"
        )


def _printed(
    translator: Translator, rows: Iterator[Pair], out: TextIO, *, as_json: bool, listener: Callable[[int], None]
) -> Iterator[ScoredPair]:
    """Every pair with its scores, once its line is printed to `out`: under a bar `sys.stdout` is the terminal."""
    from dragoman.translation.batches import windows

    parts = iter(lambda: list(islice(rows, _AT_ONCE)), [])
    # Of long texts fewer: the attention of each is as large as the product of its lengths.
    for some in chain.from_iterable(windows(part, size=lambda pair: len(pair.source + pair.target)) for part in parts):
        found = translator.score([pair.source for pair in some], [pair.target for pair in some])
        for pair, scored in zip(some, found, strict=True):
            if scored.warning:
                warn(f"line {pair.line}: {scored.warning}")
            print(_line(pair.line, scored, as_json=as_json), file=out)
            yield scored
        listener(len(some))


def _line(number: int, scored: ScoredPair, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"line": number, **scored.as_dict()}, ensure_ascii=False)
    if not scored.token_scores:
        return f"{number}\t\t\t"
    names = (*scored.tokens, "</s>")
    tokens = " ".join(f"{name} {value:.3f}" for name, value in zip(names, scored.token_scores, strict=True))
    return f"{number}\t{scored.score:.4f}\t{scored.normalized_score:.4f}\t{tokens}"

"""`dragoman shortlist`: which target words each source word may become, kept with the model."""

from __future__ import annotations

import json
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import show_messages
from dragoman.cli.progress import watcher
from dragoman.config import ReadOptions
from dragoman.errors import counted


@flags_of_models
def shortlist(
    model: ModelPath,
    /,
    *pairs: Annotated[
        str,
        Parameter(
            help="A file of pairs, or two aligned text files; - is standard input. Default: the pairs that the model was trained on."
        ),
    ],
    best: Annotated[
        int, Parameter(help="Likeliest translations kept as candidates for each source token. Default: 50.")
    ] = 50,
    frequent: Annotated[
        int, Parameter(help="Most frequent target tokens, which are always candidates. Default: 100.")
    ] = 100,
    as_json: AsJson = False,
    reading: ReadOptions,
) -> None:
    """Make a lexical shortlist, with which a large vocabulary is searched faster.

    Word translation probabilities are learned from pairs (IBM Model 1), and kept in the model directory. Then
    `dragoman translate MODEL --shortlist` considers only the target words that are likely for a source. This is faster where
    the vocabulary and the beam are large. Run `dragoman evaluate MODEL` with and without --shortlist to see what it costs in
    quality.
    """
    show_messages()
    from dragoman.cli.pairs import as_read, check_no_file
    from dragoman.places import locate
    from dragoman.storage import SHORTLIST, ModelDirectory
    from dragoman.translation.shortlisting import make_shortlist

    if not pairs:
        check_no_file(reading, "the pairs that the model was trained on are taken")
    directory = ModelDirectory.open(locate(model))
    options = as_read(directory.config, reading, pairs or ("-",), nameless="tsv")
    with watcher() as listener:
        made = make_shortlist(directory.path, pairs, best=best, frequent=frequent, options=options, listener=listener)
    if as_json:
        print(json.dumps({"model": model, **made.as_dict()}))
        return
    print(
        f"{directory.path / SHORTLIST}: {counted(made.source_words, 'source token')} from {counted(made.pairs, 'pair')}; a source has "
        f"{made.mean_candidates:,.0f} candidates of {made.vocabulary:,} on average; {made.size / 1e6:.1f} MB"
    )

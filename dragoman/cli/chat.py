"""`dragoman chat`: say something, get the model's answer, again and again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from itertools import chain

from dragoman.cli.arguments import ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.inputs import check_lines
from dragoman.cli.opening import open_model
from dragoman.cli.output import UnknownInSources, as_line, notice, show_messages, warn
from dragoman.config import CompanionOptions, EngineOptions, SearchOptions


@flags_of_models
def chat(model: ModelPath, /, *, search: SearchOptions, others: CompanionOptions, machine: EngineOptions) -> None:
    """Chat with a model, line by line.

    On a terminal there is a prompt, and Ctrl-D ends the chat. Otherwise there is one line of output for every line of
    standard input; with --num-hypotheses every output has a line of its own.
    """
    from dragoman.translation.pipeline import translate_windows

    show_messages()
    check_lines(None, search)
    translator = open_model(model, machine, others)
    job = translator.job(search, many=False)  # what it cannot do is an error before anybody has said anything
    found = translate_windows(job, ([line] for line in _lines()), text=str, workers=1, ahead=False)
    unknown = UnknownInSources("line")
    for translation in chain.from_iterable(translations for _, translations in found):
        if translation.warning:
            warn(translation.warning)
        unknown.add(translation.unknown)
        unknown.tell()
        for candidate in translation.candidates:
            print(as_line(candidate.text), flush=True)
        if not translation.candidates and not sys.stdin.isatty():
            print(flush=True)


def _lines() -> Iterator[str]:
    """What is said, line by line."""
    if not sys.stdin.isatty():
        for number, line in enumerate(sys.stdin):
            yield (line if number else line.removeprefix("\ufeff")).rstrip("\r\n")
        return
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (history and editing at the prompt)
    notice("Say something; Ctrl-D ends.")
    prompting = sys.stdout if sys.stdout.isatty() else sys.stderr  # answers that go into a file are all that does
    while True:
        try:
            with contextlib.redirect_stdout(prompting):
                line = input("> ")
        except EOFError:
            print(file=prompting)
            return
        if line.strip():
            yield line

"""`dragoman translate`: sentences from the arguments, a file or standard input; translations to stdout or a file."""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import counting, show_messages, warn, written
from dragoman.config import CompanionOptions, EngineOptions, InputOptions, ReadOptions, SearchOptions
from dragoman.errors import OptionError

if TYPE_CHECKING:
    from dragoman.corpus.reading import SourceLine
    from dragoman.translator import Translation, Translator

_LINES_AT_ONCE = 256
_WITH_COLUMNS = (".tsv", ".csv", ".jsonl", ".ndjson", ".json", ".parquet", ".pq")


@flags_of_models
def translate(
    model: ModelPath,
    /,
    *sentences: Annotated[str, Parameter(help="What to translate; after -- even what looks like an option.")],
    input: Annotated[Path | None, Parameter(help="Text file to translate line by line; - is standard input.")] = None,
    output: Annotated[Path | None, Parameter(help="Where to write. Default: standard output.")] = None,
    as_json: AsJson = False,
    reading: InputOptions,
    search: SearchOptions,
    others: CompanionOptions,
    machine: EngineOptions,
) -> None:
    """Translate sentences, a file or standard input.

    Without SENTENCES and --input, standard input is read. There is one line of output for every line of input, in the
    same order; a line that cannot be used gives an empty line and a warning. With --num-hypotheses every output stands on a
    line of its own: line number, score and text, separated by TAB.
    """
    if sentences and input is not None:
        raise OptionError("give sentences or `input`, not both")
    show_messages()
    from dragoman import load
    from dragoman.corpus.reading import SourceLine, read_sources

    translator = load(
        model,
        device=machine.device,
        threads=machine.threads,
        ensemble=others.ensemble,
        reverse=others.reverse,
        engine=machine.engine,
        precision=machine.precision,
    )
    lines: Iterable[SourceLine]
    if sentences:
        lines = [SourceLine(sentence, number) for number, sentence in enumerate(sentences, start=1)]
    else:
        options = _as_trained(translator, input, reading)
        lines = read_sources(input or "-", options, columns=translator.source_columns)
    as_rows = "num_hypotheses" in search.model_fields_set
    most = 1 if input is None and sys.stdin.isatty() else _LINES_AT_ONCE
    busy = output is not None or not sys.stdout.isatty()
    with written(output, whole=False) as stream, counting("translating", shown=busy and not sentences) as count:
        for some in _as_ready(lines, most):
            found = translator.translate([line.text or "" for line in some], options=search)
            for line, translation in zip(some, found, strict=True):
                if translation.warning:
                    warn(f"line {line.line}: {line.reason or translation.warning}")
                _write(stream, line.line, translation, as_json=as_json, as_rows=as_rows)
            stream.flush()
            count(len(some))


def _as_trained(translator: Translator, input: Path | None, reading: InputOptions) -> ReadOptions:
    """In a file with columns, the source's are those of the training data, unless an option says otherwise."""
    given = reading.model_dump(exclude_unset=True)
    stored = translator.config["options"]
    if input is not None and input.name.removesuffix(".gz").endswith(_WITH_COLUMNS) and "source" not in given:
        given |= {name: stored[name] for name in ("source", "header") if name in stored}
    return ReadOptions(**given)


def _as_ready(lines: Iterable[SourceLine], most: int) -> Iterator[list[SourceLine]]:
    """Up to `most` lines at once, and never waiting for more: who sends one line gets its answer, many go fast."""
    waiting: queue.Queue[SourceLine | BaseException | None] = queue.Queue(maxsize=4 * most)

    def read() -> None:
        try:
            for line in lines:
                waiting.put(line)
            waiting.put(None)
        except BaseException as error:  # raised again where the lines are used
            waiting.put(error)

    threading.Thread(target=read, daemon=True).start()
    ended: BaseException | None = None
    going = True
    while going:
        some: list[SourceLine] = []
        with contextlib.suppress(queue.Empty):
            while going and len(some) < most:
                item = waiting.get(block=not some)
                if item is None or isinstance(item, BaseException):
                    ended, going = item, False
                else:
                    some.append(item)
        if some:
            yield some
    if ended is not None:
        raise ended


def _write(stream: TextIO, number: int, translation: Translation, *, as_json: bool, as_rows: bool) -> None:
    """Write what one line of input gives."""
    if as_json:
        stream.write(json.dumps({"line": number, **translation.as_dict()}, ensure_ascii=False) + "\n")
    elif not as_rows:
        stream.write(translation.text + "\n")
    elif not translation.candidates:
        stream.write(f"{number}\t\t\n")
    else:
        for candidate in translation.candidates:
            stream.write(f"{number}\t{candidate.rank:.4f}\t{candidate.text}\n")

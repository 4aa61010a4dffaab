"""`dragoman translate`: sentences from the arguments, a file or standard input; translations to stdout or a file."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson, ModelPath
from dragoman.cli.flags import flags_of_models
from dragoman.cli.inputs import InputFile, as_ready, check_lines, check_output, files_of, is_plain_file
from dragoman.cli.opening import open_model
from dragoman.cli.output import UnknownInSources, as_line, notice, show_messages, warn, written
from dragoman.cli.pairs import as_read, check_columns, check_no_file
from dragoman.cli.progress import counting
from dragoman.cli.sinks import Sink, open_sink
from dragoman.config import CompanionOptions, EngineOptions, InputOptions, ReadOptions, SearchOptions
from dragoman.errors import Interrupted, OptionError, counted
from dragoman.files import check_place

if TYPE_CHECKING:
    from dragoman.corpus.reading import SourceLine
    from dragoman.translation.job import Job
    from dragoman.translator import Translation, Translator


@flags_of_models
def translate(
    model: ModelPath,
    /,
    *sentences: Annotated[str, Parameter(help="Sentences to translate. Put -- before one that looks like an option.")],
    input: Annotated[Path | None, Parameter(help="Text file to translate line by line; - is standard input.")] = None,
    output: Annotated[Path | None, Parameter(help="File to write to. Default: standard output.")] = None,
    as_json: AsJson = False,
    growing: Annotated[
        bool,
        Parameter(
            name="--stream",
            help="Show each word as soon as it is certain; one source at a time.",
            negative=(),
        ),
    ] = False,
    trace: Annotated[
        Path | None,
        Parameter(
            help="Write every step of beam search to this file, as JSON: candidates, scores, what was pruned and why. Needs SENTENCES."
        ),
    ] = None,
    reading: InputOptions,
    search: SearchOptions,
    others: CompanionOptions,
    machine: EngineOptions,
) -> None:
    """Translate sentences, a file or standard input.

    Without SENTENCES and --input, standard input is read. There is one line of output for every line of input, in the
    same order; a line that cannot be used gives an empty line and a warning. With --num-hypotheses every output has a line of
    its own: line number, score and text, separated by TAB.

    With --input and --output the output grows as OUTPUT.part until it is complete. If the command is interrupted, give it
    again to continue.
    """
    _check(sentences, input, reading, search, growing=growing, trace=trace, output=output, as_json=as_json)
    if growing or trace is not None:
        _check_watching(search, others, growing=growing)
    show_messages()
    for sentence in filter(os.path.isfile, sentences):
        warn(f"{sentence} is translated as a sentence, but is also a file: `input` translates its lines")
    # A file may take its own place, as its output grows beside it.
    lines = [None] if not sentences and str(input or "-") == "-" else []
    check_output(output, [*lines, *files_of(search).values()])
    translator = open_model(model, machine, others)
    typed = not sentences and input is None and sys.stdin.isatty()
    job = translator.job(search, many=len(sentences) != 1 and not typed and not growing)
    if growing:
        translator.stream("", options=search)  # what it cannot do is an error before anything is read
    given = _given(translator, sentences, input, reading, typed=typed)
    if growing:
        _show_growing(translator, given.lines, search)
        return
    if trace is not None:
        _write_trace(translator, sentences, search, trace)
    form = _Form(as_json, "num_hypotheses" in search.model_fields_set)
    file = None if output is None else given.file
    facts = None if file is None else _facts(translator, file, given.options, search, machine, form)
    shown = not sentences and (output is not None or not sys.stdout.isatty())
    sink = None
    try:
        with (
            open_sink(output, facts) as sink,
            counting("translating", total=given.total, done=sink.done, unit="line", shown=shown) as count,
        ):
            _translate_rest(job, given, sink, form, workers=translator.workers, output=output, listener=count)
    except KeyboardInterrupt:
        if sink is None or not sink.done:
            raise
        raise Interrupted(
            f"interrupted after {counted(sink.done, 'line')}; the same command goes on after them"
        ) from None


def _check(
    sentences: Sequence[str],
    input: Path | None,
    reading: InputOptions,
    search: SearchOptions,
    *,
    growing: bool,
    trace: Path | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Find what does not go together."""
    if sentences and input is not None:
        raise OptionError("give sentences or `input`, not both")
    if sentences:
        check_no_file(reading, "sentences are given")
    else:
        check_lines(input, search)
    if trace is not None and not sentences:
        raise OptionError("`trace` needs sentences in the command, not a file: it keeps every step of the search")
    if trace is not None and output is not None and trace.resolve() == output.resolve():
        raise OptionError(f"`trace` and `output` must be different files, but both are {trace}")
    if trace is not None:
        check_place(trace)
    if growing and (as_json or output is not None or trace or "num_hypotheses" in search.model_fields_set):
        raise OptionError(
            "`stream` shows the text of one output: leave `json`, `output`, `trace` and `num_hypotheses` out"
        )


def _check_watching(search: SearchOptions, others: CompanionOptions, *, growing: bool) -> None:
    """Find what cannot be watched as it grows, or traced."""
    from dragoman.translation.watching import check_stream, check_trace

    if others.reverse is not None:
        name = "stream" if growing else "trace"
        raise OptionError(f"`reverse` must not be given with `{name}`: it chooses among whole outputs")
    (check_stream if growing else check_trace)(search)


@dataclass(frozen=True)
class _Given:
    """What is to be translated."""

    lines: Iterator[SourceLine]
    """The sources, from the first on."""
    options: ReadOptions
    """How they are read from a file."""
    typed: bool = False
    """Whether somebody types them, and waits for the answer to each."""
    steady: bool = True
    """Whether they are all there already, so that reading never waits."""
    file: InputFile | None = None
    """Where they are from, if that is a file whose translation can be gone on with."""

    @property
    def total(self) -> int | None:
        """How many lines there are, if that is known."""
        return None if self.file is None else self.file.lines

    def windows(self, *, after: int) -> Iterator[list[SourceLine]]:
        """What is translated at once, without the first so many lines."""
        rest = itertools.islice(self.lines, after, None)
        return _windows(rest) if self.steady else _as_sent(rest, one_by_one=self.typed)


def _given(
    translator: Translator, sentences: Sequence[str], input: Path | None, reading: InputOptions, *, typed: bool
) -> _Given:
    """Sentences of the command, a file, or standard input."""
    from dragoman.corpus.reading import SourceLine, format_of, read_sources

    if sentences:
        return _Given(
            (SourceLine(text, number) for number, text in enumerate(sentences, start=1)), ReadOptions.of(None)
        )
    options = as_read(translator.config, reading, [input or "-"], nameless="text")
    check_columns(translator, len(options.source) or translator.source_columns)
    lines = read_sources(input or "-", options, columns=translator.source_columns)
    steady = is_plain_file(input)
    file = None
    if input is not None and str(input) != "-" and steady:
        file = InputFile(input)
        # Under a name that tells another format the same content is read otherwise.
        options = options.model_copy(update={"format": options.format or format_of([input])})
    return _Given(lines, options, typed, steady, file)


def _translate_rest(
    job: Job,
    given: _Given,
    sink: Sink,
    form: _Form,
    *,
    workers: int,
    output: Path | None,
    listener: Callable[[int], None],
) -> None:
    """Translate what the sink does not have yet; a file that was gone on with must be the same at the end."""
    from dragoman.translation.pipeline import translate_windows

    begun = sink.done
    if begun:
        notice(f"{output}.part has the output of {counted(begun, 'line')} already; going on after them")
    windows = given.windows(after=begun)
    found = translate_windows(job, windows, text=_text, workers=workers, ahead=given.steady, listener=listener)
    with contextlib.closing(found):
        _write(found, sink, form, typed=given.typed)
    if given.file is not None and sink.done:
        given.file.check(f"remove {output}.part to begin anew")


@dataclass(frozen=True)
class _Form:
    """How outputs are written."""

    as_json: bool
    """As JSON, a line for every source."""
    as_rows: bool
    """A line for every output, with the source's number and the score."""

    def text(self, number: int, translation: Translation) -> str:
        """What line `number` of the input gives."""
        if self.as_json:
            return json.dumps({"line": number, **translation.as_dict()}, ensure_ascii=False) + "\n"
        if not self.as_rows:
            return as_line(translation.text) + "\n"
        if not translation.candidates:
            return f"{number}\t\t\n"
        return "".join(f"{number}\t{each.rank:.4f}\t{as_line(each.text)}\n" for each in translation.candidates)


def _text(line: SourceLine) -> str:
    return line.text or ""


def _windows(lines: Iterable[SourceLine]) -> Iterator[list[SourceLine]]:
    from dragoman.translation.batches import windows

    return windows(lines, size=lambda line: len(line.text or ""))


def _as_sent(lines: Iterable[SourceLine], *, one_by_one: bool) -> Iterator[list[SourceLine]]:
    """Windows of what is there already: who sends a line gets its answer."""
    from dragoman.translation.batches import WINDOW_LINES

    return itertools.chain.from_iterable(map(_windows, as_ready(lines, 1 if one_by_one else WINDOW_LINES)))


def _write(
    found: Iterable[tuple[Sequence[SourceLine], Iterator[Translation]]], sink: Sink, form: _Form, *, typed: bool
) -> None:
    """Write windows of translations, and warn of those that are doubtful."""
    unknown = UnknownInSources("line")
    for window, translations in found:
        for line, translation in zip(window, translations, strict=True):
            if line.reason:  # which the text alone, an empty one, does not tell
                translation = dataclasses.replace(translation, warning=line.reason)
            if translation.warning:
                warn(f"line {line.line}: {translation.warning}")
            unknown.add(translation.unknown)
            sink.write(form.text(line.line, translation))
        sink.commit(len(window))
        if typed:
            unknown.tell()
    unknown.tell()


def _facts(
    translator: Translator,
    file: InputFile,
    reading: ReadOptions,
    search: SearchOptions,
    machine: EngineOptions,
    form: _Form,
) -> dict[str, Any]:
    """Everything that decides what is written, by its name in messages."""
    import dragoman
    from dragoman.files import checksum

    options = {**reading.model_dump(mode="json"), **search.model_dump(mode="json")}
    options |= {
        "engine": translator.engine,
        "precision": translator.precision,
        "device": machine.device,
        "json": form.as_json,
    }
    if not form.as_rows:
        options["num_hypotheses"] = None
    for name, path in files_of(search).items():
        if path == "-":
            raise OptionError(
                f"`{name}` must be a file if there is an `output`: to go on with it, the same is read again"
            )
        options[name] = checksum(Path(path))
    if translator.engine == "torch":  # its threads share a batch, which may change the last digits
        options["threads"] = machine.threads
    named = {f"`{name}`": value for name, value in options.items()}
    return {
        "input": file.checksum,
        "model": translator.fingerprint,
        "version of dragoman": dragoman.__version__,
        **named,
    }


def _show_growing(translator: Translator, lines: Iterable[SourceLine], search: SearchOptions) -> None:
    """Write every output as it grows, a line each."""
    unknown = UnknownInSources("line")
    for line in lines:
        for piece in translator.stream(line.text or "", options=search):
            print(as_line(piece.text), end="", flush=True)
            if piece.translation is not None:
                print(flush=True)
                if piece.translation.warning:
                    warn(f"line {line.line}: {line.reason or piece.translation.warning}")
                unknown.add(piece.translation.unknown)
    unknown.tell()


def _write_trace(translator: Translator, sentences: Iterable[str], search: SearchOptions, path: Path) -> None:
    """Write how the outputs of some sentences were found."""
    found = [translator.trace(sentence, options=search).as_dict() for sentence in sentences]
    with written(path) as file:
        json.dump({"search": search.model_dump(mode="json"), "sources": found}, file, ensure_ascii=False)
        file.write("\n")

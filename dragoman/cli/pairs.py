"""What the commands that measure share: reading pairs as the model's training data was read. Does not know any command."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from dragoman.cli.output import UnknownInSources, notice, warn
from dragoman.config import InputOptions, ReadOptions
from dragoman.errors import DataError, OptionError, counted
from dragoman.files import parse_json

if TYPE_CHECKING:
    from dragoman.corpus.reading import Pair
    from dragoman.translator import Translation, Translator

TestPairs = Annotated[
    str,
    Parameter(
        help="A file of pairs, or two aligned text files; - is standard input. Default: the test part that the "
        "model's training held out."
    ),
]


def as_trained(translator: Translator, reading: ReadOptions, paths: Sequence[str]) -> ReadOptions:
    """How the training data was read, as far as that fits the files given now, with what is asked for now in its place."""
    options = as_read(translator.config, reading, paths, nameless="tsv")
    check_columns(translator, len(options.source) or 1)
    return options


def check_columns(translator: Translator, columns: int) -> None:
    """Raise `OptionError` unless the model was trained on so many source columns."""
    if columns != translator.source_columns:
        wanted = counted(translator.source_columns, "column")
        raise OptionError(f"`source` must name {wanted} as in training, but names {columns}")


def check_no_file(reading: InputOptions, instead: str) -> None:
    """Raise `OptionError` for options of a file where none is read; `instead` says what is taken."""
    if reading.model_fields_set:
        name = min(reading.model_fields_set)
        raise OptionError(f"`{name}` tells how a file is read, but {instead}: leave it out")


def as_read(
    config: dict[str, Any], reading: InputOptions, paths: Sequence[str | Path], *, nameless: Literal["tsv", "text"]
) -> ReadOptions:
    """The same, from a model's configuration; `nameless` is the format of a file whose name tells none.

    Columns are those of the training data, but separator, header and pattern belong to a format. Plain text that is to be
    translated takes over its normalisation only.
    """
    from dragoman.corpus.reading import format_before, format_of

    if "group_by" in reading.model_fields_set:
        raise OptionError("`group_by` is for training, which holds out whole groups: leave it out")
    options, before = config["options"], format_before(config)
    now = reading.format or format_of(paths) or nameless
    taken = ["normalization"]
    if now != "text" or len(paths) == 2:
        taken.append("encoding")
    if now != "text" or (len(paths) == 2 and before == "text"):
        taken += ["source", "target"]
    if now == before:
        taken += ["separator", "header", "pattern"]
    known = {*type(reading).model_fields, "normalization"}
    stored = {name: options[name] for name in taken if name in options and name in known}
    return ReadOptions(**(stored | reading.model_dump(exclude_unset=True)))


def read_items(
    translator: Translator, pairs: Sequence[str], reading: ReadOptions, *, name: str = "the model"
) -> tuple[list[str], list[list[str]]]:
    """Sources and all their right answers, from files or from the model's own test part; says what was read."""
    return read_rows(translator, pairs, reading, name=name)[:2]


def read_rows(
    translator: Translator, pairs: Sequence[str], reading: ReadOptions, *, name: str = "the model"
) -> tuple[list[str], list[list[str]], list[list[int]]]:
    """The same, and in how many rows each right answer stands; all in the Unicode form that the model reads and writes."""
    from dragoman.corpus.reading import ReadReport, pairs_from_rows, read_pairs, require_usable
    from dragoman.evaluation.references import group_rows
    from dragoman.storage import TEST

    report = ReadReport()
    if pairs:
        rows = read_pairs(pairs, as_trained(translator, reading, pairs), report=report)
    else:
        check_no_file(reading, "the test part that the model's training held out is taken")
        directory = translator.directory
        held_out = directory.read_test()
        if not held_out:
            raise OptionError(
                f"PAIRS is missing, and {directory.path} has no test part; give a file, or train with --test 2000"
            )
        clean = ReadOptions(normalization="none")
        rows = pairs_from_rows(held_out, clean, report=report, name=str(directory.path / TEST))
    texts = translator.texts
    found = group_rows(
        replace(row, source=texts.clean_source(row.source), target=texts.clean_target(row.target)) for row in rows
    )
    require_usable(report)
    (warn if report.unusable else notice)(report.summary())
    if pairs:
        warn_of_seen(translator, found[0], name=name)
    for other in translator.companions:
        warn_of_seen(other, found[0], name=str(other.directory.path))
    return found


def warn_of_seen(translator: Translator, sources: list[str], *, name: str) -> None:
    """Say how many sources a model was trained on, as long as its directory tells."""
    from dragoman.training.seen import seen_in_training

    seen = seen_in_training(translator.directory, translator.source_tokenizer.encode_batch(sources)) or []
    if any(seen):
        warn(f"{name} was trained on {sum(seen):,} of the {counted(len(seen), 'source')}: scores on them are too high")


def read_outputs(translator: Translator, path: str, sources: Sequence[str]) -> list[str]:
    """The outputs that a file of sources and outputs has for `sources`; "" where it has none, the first where it has several.

    They are normalised as the model's right answers are.
    """
    from dragoman.corpus.reading import pairs_from_rows, read_pairs
    from dragoman.evaluation.references import item_key, source_key

    own = _is_of_evaluate(path)
    options = ReadOptions(normalization=translator.config["normalization"], format="jsonl" if own else None)
    rows: Iterable[Pair] = read_pairs([path], options)
    key_of: Callable[[str], object] = source_key
    columns = translator.source_columns
    if own and columns > 1 and (parts := _in_columns(path, columns)):
        rows, key_of = pairs_from_rows(parts, options, name=path), item_key
    found: dict[object, str] = {}
    more = 0
    for pair in rows:
        more += found.setdefault(key_of(pair.source), pair.target) != pair.target
    if more:
        warn(f"{path} has other outputs for the same source in {counted(more, 'row')}: the first of each source counts")
    outputs = [found.get(key_of(source)) for source in sources]
    lacking = outputs.count(None)
    if lacking == len(sources):
        raise DataError(f"{path} has no output for any of the sources: it must hold sources and outputs")
    if lacking:
        warn(f"{path} has no output for {lacking:,} of the {counted(len(sources), 'source')}: they count as empty")
    return [output or "" for output in outputs]


def _is_of_evaluate(path: str) -> bool:
    """Whether a file is what `dragoman evaluate --output` writes, whatever it is called."""
    from dragoman.corpus.lines import open_bytes

    start = b'{"source": '
    with open_bytes(path) as stream:
        return stream.peek(len(start)).startswith(start)


def _in_columns(path: str, columns: int) -> list[tuple[str, str]]:
    """What `dragoman evaluate --output` wrote of several source columns, TAB still between them; nothing if a line is no such row."""
    from dragoman.corpus.lines import damage_is_an_error, open_bytes

    try:
        with open_bytes(path) as stream, damage_is_an_error(path):
            rows = [(row["source"], row["target"]) for row in map(parse_json, stream)]
        return rows if all(source.count("\t") == columns - 1 for source, _ in rows) else []
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


def warn_of_sources(translations: Sequence[Translation]) -> None:
    """Say how many sources have no output, which is measured as an empty one, and of how many the model does not know a part."""
    missing = [each for each in translations if not each.candidates]
    if missing:
        warn(
            f"{len(missing):,} of {counted(len(translations), 'source')} {'has' if len(missing) == 1 else 'have'} no output, which counts as an empty one: "
            f"{missing[0].warning}"
        )
    unknown = UnknownInSources("source")
    for each in translations:
        unknown.add(each.unknown)
    unknown.tell()

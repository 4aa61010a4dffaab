"""How files are read: options of every command that takes a file."""

from __future__ import annotations

from typing import Annotated, Literal

from dragoman.config.base import Options, option


class InputOptions(Options):
    """How a file of inputs is read."""

    format: Annotated[
        Literal["tsv", "csv", "jsonl", "parquet", "text"] | None,
        option(
            "Data",
            description="File format. By default it follows from the file's name; if that tells none, pairs are tsv, and texts to translate are plain text.",
        ),
    ] = None
    source: Annotated[
        tuple[str, ...],
        option(
            "Data",
            description="Source column, by name or by number from 1; repeat it to join several columns. Default: 1.",
        ),
    ] = ()
    separator: Annotated[
        str | None,
        option(
            "Data",
            description="Column separator, such as ';', '||' or '\\t'. Default: TAB for tsv, comma for csv.",
            min_length=1,
        ),
    ] = None
    header: Annotated[
        bool | None,
        option(
            "Data",
            description="Whether the first row holds column names. Default: yes for csv, if a column is given by name, or if the row names source and target.",
        ),
    ] = None
    encoding: Annotated[str, option("Data", description="Text encoding of the files.")] = "utf-8"


class ReadOptions(InputOptions):
    """How files are read into pairs."""

    target: Annotated[
        str | None, option("Data", description="Target column, by name or by number from 1. Default: 2.", min_length=1)
    ] = None
    pattern: Annotated[
        str | None,
        option(
            "Data",
            description="Regular expression with two groups, source and target, for lines without columns; it must match the whole line.",
        ),
    ] = None
    group_by: Annotated[
        str | None,
        option(
            "Data",
            description="Column with a group, such as a dialogue or a document; rows of one group stay together when the data is split.",
        ),
    ] = None
    normalization: Annotated[
        Literal["nfc", "nfkc", "none"],
        option(
            "Data",
            description="Unicode normalisation of both sides; nfkc also unifies ligatures and full-width letters.",
        ),
    ] = "nfc"
    strict: Annotated[
        bool, option("Data", description="Stop at the first unusable row, instead of skipping and counting it.")
    ] = False

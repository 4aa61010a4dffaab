"""How files are read: options of every command that takes a file."""

from __future__ import annotations

from typing import Annotated, Literal

from dragoman.config.base import Options, option


class InputOptions(Options):
    """How a file of inputs is read."""

    format: Annotated[
        Literal["tsv", "csv", "jsonl", "parquet", "text"] | None,
        option(
            "Data", description="Format of the files. By default taken from the file's name; standard input is tsv."
        ),
    ] = None
    source: Annotated[
        tuple[str, ...],
        option("Data", description="Source column, by name or number from 1; give it again to join several columns."),
    ] = ()
    separator: Annotated[
        str | None,
        option(
            "Data",
            description=r"Column separator, such as ';', '||' or '\t'. Default: TAB for tsv, comma for csv.",
            min_length=1,
        ),
    ] = None
    header: Annotated[
        bool | None,
        option(
            "Data",
            description="Whether the first row holds column names. By default it does when a column is given by name, when it names source and target, and in csv.",
        ),
    ] = None
    encoding: Annotated[str, option("Data", description="Text encoding of the files.")] = "utf-8"


class ReadOptions(InputOptions):
    """How files are read into pairs."""

    target: Annotated[
        str | None, option("Data", description="Target column, by name or number from 1. Default: 2.", min_length=1)
    ] = None
    pattern: Annotated[
        str | None,
        option(
            "Data", description="Regular expression with two groups, source and target, for lines that are not columns."
        ),
    ] = None
    group_by: Annotated[
        str | None,
        option(
            "Data",
            description="Column whose value keeps rows together when the data is split (a dialogue, a document).",
        ),
    ] = None
    normalization: Annotated[
        Literal["nfc", "nfkc", "none"], option("Data", description="Unicode normalisation of both sides.")
    ] = "nfc"
    strict: Annotated[bool, option("Data", description="Stop at the first unusable row instead of counting it.")] = (
        False
    )

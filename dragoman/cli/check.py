"""`dragoman check`: what a file of pairs holds and what looks wrong with it, before anybody trains on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from dragoman.cli.arguments import AsJson
from dragoman.cli.flags import flags_of_models
from dragoman.cli.output import show_messages, table
from dragoman.cli.progress import counting
from dragoman.config import ReadOptions
from dragoman.errors import DataError, OptionError, counted

if TYPE_CHECKING:
    from dragoman.corpus.checking import CheckReport, Spread
    from dragoman.corpus.findings import Finding


@flags_of_models
def check(
    *pairs: Annotated[str, Parameter(help="A file of pairs, or two aligned text files; - is standard input.")],
    against: Annotated[
        list[str] | None,
        Parameter(help="A file that should share no source with PAIRS, such as the test data.", negative=()),
    ] = None,
    write: Annotated[
        Path | None, Parameter(help="Write a clean copy to this TSV file, without the rows marked *.")
    ] = None,
    overwrite: Annotated[bool, Parameter(help="Replace the file given by --write.", negative=())] = False,
    as_json: AsJson = False,
    reading: ReadOptions,
) -> None:
    """Check a file of pairs for faults that spoil training.

    Reports counts, lengths, duplicates, conflicting targets, untranslated copies, odd length ratios, mixed scripts, shifted
    lines, and sources shared with another file. Most findings are for you to judge. Only rows marked * are surely useless, and
    --write leaves them out.
    """
    if not pairs:
        raise OptionError("PAIRS is missing; for example: dragoman check pairs.tsv")
    show_messages()
    from dragoman.corpus.checking import check_pairs

    with counting("checking", total=None, unit="pair") as count:
        report = check_pairs(pairs, reading, against=against or (), write=write, overwrite=overwrite, listener=count)
    print(json.dumps(report.as_dict(), ensure_ascii=False) if as_json else _in_words(report, write))
    if report.warning:
        raise DataError(report.warning)


def _in_words(report: CheckReport, write: Path | None) -> str:
    """The report as tables."""
    from dragoman.corpus.report import columns_read

    parts = [
        f"{report.name}: {counted(report.pairs, 'pair')} in {counted(report.rows, 'row')}{columns_read(report.columns, report.width)}",
        table(
            [
                (side, f"{of.different:,}", of.script, *_lengths(of.words), *_lengths(of.characters))
                for side, of in (("source", report.source), ("target", report.target))
            ],
            header=("", "different", "script", "words: 50 %", "99 %", "most", "characters: 50 %", "99 %", "most"),
            right=(1, 3, 4, 5, 6, 7, 8),
        ),
        table([_row(finding) for finding in report.findings], right=(1,)) or "Nothing looks wrong.",
    ]
    if report.written is not None:
        parts.append(f"{write}: {counted(report.written, 'pair')} written, without the rows marked *")
    return "\n\n".join(parts)


def _lengths(spread: Spread) -> tuple[str, str, str]:
    """Median, 99th percentile and maximum."""
    return f"{spread.median:,}", f"{spread.p99:,}", f"{spread.most:,}"


def _row(finding: Finding) -> tuple[str, str, str, str]:
    """One finding: its name, how many rows, the first lines, what it means."""
    more = ", ..." if finding.count > len(finding.lines) else ""
    lines = (
        f"lines {', '.join(map(str, finding.lines))}{more}" if len(finding.lines) > 1 else f"line {finding.lines[0]}"
    )
    return f"{'*' if finding.definite else ' '} {finding.name}", f"{finding.count:,}", lines, finding.note

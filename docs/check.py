"""The documentation checks of `make check`; reads no network address.

    python docs/check.py            is everything as it should be?
    python docs/check.py --write    write docs/commands.md anew

Links lead to files and headings that exist; every `dragoman` command shown in a Markdown file or an example has a command and flags that exist;
docs/commands.md is what --help says.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import dragoman as installed
from dragoman.cli import main as dragoman
from dragoman.cli.app import COMMANDS, command
from dragoman.cli.flags import flags_of

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "commands.md"
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHOWN = re.compile(r"^(?:\$ )?(dragoman .*)$|`(dragoman [a-z][^`]*)`")


def pages() -> list[Path]:
    """Every Markdown file of the project, and the examples."""
    folders = [ROOT / name for name in ("docs", "dragoman", "examples", "benchmarks")]
    found = [page for folder in folders for pattern in ("*.md", "*.sh") for page in folder.rglob(pattern)]
    return [*sorted(ROOT.glob("*.md")), *sorted(found)]


def whole_lines(text: str) -> list[str]:
    """Lines; one that goes on after a backslash has all of its parts, and leaves empty lines in their places."""
    parts = re.compile(r"(\\\n.*?)+$", re.MULTILINE)
    return parts.sub(lambda found: found[0].replace("\\\n", " ") + "\n" * found[0].count("\n"), text).splitlines()


def broken_links(line: str, page: Path) -> Iterator[str]:
    """The links of one line that lead nowhere."""
    for link in LINK.findall(line):
        path, _, anchor = link.partition("#")
        place = page.parent / path if path else page
        if "://" not in path and not (place.exists() and (not anchor or anchor in anchors(place))):
            yield f"the link leads nowhere: {link}"


@functools.cache
def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub spells them in links: `## Byte fallback` is #byte-fallback."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def wrong_commands(line: str) -> Iterator[str]:
    """What is wrong with the dragoman commands shown in one line."""
    for found in SHOWN.finditer(line.strip()):
        shown = found[1] or found[2]
        with contextlib.suppress(ValueError):  # a lone apostrophe: prose, not a command
            words = shlex.split(re.split(r" [|<>#] ?", shown)[0], comments=True)
            yield from _wrong_words(words[1:], shown)


def _wrong_words(words: list[str], shown: str) -> Iterator[str]:
    name = words[0] if words else "--help"
    if name.isupper() or name in ("--help", "--version"):
        return
    if name not in COMMANDS:
        yield f"there is no command {name}: {shown}"
        return
    known = flags_of(command(name))
    for word in words[1 : words.index("--") if "--" in words else None]:
        if re.match(r"--[a-z]", word) and word.partition("=")[0] not in known:
            yield f"there is no option {word}: {shown}"


def reference() -> str:
    """The command reference: what --help says, command by command."""
    os.environ |= {"COLUMNS": "100", "TTY_COMPATIBLE": "0"}  # as into a file, even if FORCE_COLOR is set
    parts = ["# Commands", "Written by `python docs/check.py --write` from what `--help` says."]
    for name in [None, *COMMANDS]:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            dragoman([*([name] if name else []), "--help"])
        text = "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())
        parts.append(f"## dragoman {name or ''}".rstrip() + f"\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


def faults() -> Iterator[str]:
    """One line for everything that is wrong."""
    if Path(installed.__file__).resolve().parent.parent != ROOT:
        yield f"dragoman comes from {installed.__file__}, not from this folder; set PYTHONPATH={ROOT}"
    for page in pages():
        for number, line in enumerate(whole_lines(page.read_text(encoding="utf-8")), start=1):
            for fault in [*broken_links(line, page), *wrong_commands(line)]:
                yield f"{page.relative_to(ROOT)}:{number}: {fault}"
    if not REFERENCE.exists() or REFERENCE.read_text(encoding="utf-8") != reference():
        yield "docs/commands.md is not what --help says; write it anew with: python docs/check.py --write"


def main() -> int:
    """Print every fault; the exit code says whether there was one."""
    if "--write" in sys.argv:
        REFERENCE.write_text(reference(), encoding="utf-8")
    found = list(faults())
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

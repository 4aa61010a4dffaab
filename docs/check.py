"""The documentation checks of `make check`: links in Markdown files lead somewhere. Reads no network address."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """Every Markdown file of the project, the installed ones left out."""
    return [
        *sorted(ROOT.glob("*.md")),
        *sorted(p for d in ("docs", "dragoman", "examples", "benchmarks") for p in (ROOT / d).rglob("*.md")),
    ]


def broken_links(page: Path) -> Iterator[str]:
    """One line for every relative link of `page` that leads nowhere."""
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        for link in LINK.findall(line):
            path = link.partition("#")[0]
            if path and "://" not in path and not (page.parent / path).exists():
                yield f"{page.relative_to(ROOT)}:{number}: the link leads nowhere: {link}"


def main() -> int:
    """Print every fault; the exit code says whether there was one."""
    faults = [fault for page in pages() for fault in broken_links(page)]
    print(*faults, sep="\n", end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())

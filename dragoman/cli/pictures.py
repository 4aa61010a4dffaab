"""The pictures that `--svg` asks for: their names are checked before the work, they are written after it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from dragoman.cli.output import is_stdout, notice, written
from dragoman.errors import OptionError
from dragoman.files import check_place

SvgPath = Annotated[Path | None, Parameter(help="Write the picture to this file.")]


def check_picture(svg: Path | None) -> None:
    """Raise `OptionError` or `StorageError` if a picture should not have this name, or cannot be written under it."""
    if svg is None or is_stdout(svg):
        return
    if svg.suffix.lower() in {".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf", ".ps", ".eps"}:
        raise OptionError(f"`svg` writes SVG, and {svg} is named otherwise; give {svg.with_suffix('.svg')}")
    check_place(svg)


def write_picture(svg: Path, picture: str) -> None:
    """Write it, and say so."""
    with written(svg) as stream:
        stream.write(picture)
    notice(f"the picture is in {svg}")

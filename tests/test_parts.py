"""docs/parts.md: a loop and a model of one's own, with the other parts as they are."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_examples_of_the_page_give_what_stands_there() -> None:
    page = Path(__file__).resolve().parent.parent / "docs" / "parts.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8", verbose=False)
    assert tried > 25
    assert failed == 0

"""What several tests share: a tiny model, trained once through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import PAIRS, TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny model; copy it before you change it."""
    from dragoman.cli import main

    folder = tmp_path_factory.mktemp("trained")
    (folder / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    assert main(["train", str(folder / "pairs.tsv"), "--out", str(folder / "model"), *TINY]) == 0
    return folder / "model"

"""What several tests share: tiny models, each trained once through the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import INFLECTING, LEMMAS, PAIRS, TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny model; copy it before you change it."""
    from dragoman.cli import main

    folder = tmp_path_factory.mktemp("trained")
    (folder / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    assert main(["train", str(folder / "pairs.tsv"), "--out", str(folder / "model"), *TINY]) == 0
    return folder / "model"


@pytest.fixture(scope="session")
def inflecting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a tiny model with two source columns and a test part of six; copy it before you change it."""
    from dragoman.cli import main

    folder = tmp_path_factory.mktemp("inflecting")
    (folder / "lemmas.tsv").write_text(LEMMAS, encoding="utf-8")
    assert main(["train", str(folder / "lemmas.tsv"), "--out", str(folder / "model"), *INFLECTING]) == 0
    return folder / "model"

"""The bundled samples: small, credited, and held out by source."""

from __future__ import annotations

from pathlib import Path

import pytest

from dragoman.cli.demo import DEMOS
from dragoman.config import ReadOptions
from dragoman.corpus.checking import check_pairs
from dragoman.corpus.cleaning import fold
from dragoman.corpus.reading import read_pairs

SAMPLES = Path(__file__).resolve().parent.parent / "dragoman" / "samples"
NAMES = sorted(path.name.removesuffix(".tsv.gz") for path in SAMPLES.glob("*.tsv.gz") if "-test" not in path.name)


def sources(name: str) -> set[str]:
    return {fold(pair.source) for pair in read_pairs([SAMPLES / f"{name}.tsv.gz"], ReadOptions())}


def test_all_samples_together_stay_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 2_000_000


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_credited(name: str) -> None:
    assert f"`{name}`" in (SAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_no_held_out_source_is_in_train_and_no_row_is_useless(name: str) -> None:
    report = check_pairs([SAMPLES / f"{name}.tsv.gz"], against=[SAMPLES / f"{name}-test.tsv.gz"])
    assert not [finding.name for finding in report.findings if finding.definite]


@pytest.mark.parametrize("name", DEMOS)
def test_a_demo_translates_what_it_never_saw(name: str) -> None:
    demo = DEMOS[name]
    seen = sources(demo.sample) | sources(f"{demo.sample}-test")
    assert demo.sample in NAMES
    assert not {fold(sentence) for sentence in demo.sentences} & seen

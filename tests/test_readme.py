"""What the README shows works: its dragoman commands and its Python, with a tiny model in place of a trained one; and the examples."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from dragoman.cli import main
from dragoman.config import TrainOptions

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = [line.removeprefix("$ dragoman ") for line in README.splitlines() if line.startswith("$ dragoman ")]
COMMANDS = [shlex.split(line, comments=True) for line in SHOWN]
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
TINY = {"max_steps": 2, "embedding_size": 8, "hidden_size": 8, "dev": ("4",), "threads": 1, "device": "cpu"}
FLAGS = [
    f"--{name.replace('_', '-')}={value[0] if isinstance(value, tuple) else value}" for name, value in TINY.items()
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README speaks of."""
    rows = [f"source {i} of many\tcible {i} de tant\n" for i in range(40)]
    (tmp_path / "pairs.tsv").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "test.tsv").write_text("".join(rows[:5]), encoding="utf-8")
    lemmas = [f"word{i}\tV;PST\tword{i}ed\n" for i in range(40)]
    (tmp_path / "lemmas.tsv").write_text("".join(lemmas), encoding="utf-8")
    (tmp_path / "in.txt").write_text("source 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_of_the_readme_works(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [words for words in COMMANDS if words[0] == "train" and "--resume" not in words]
    assert made
    for words in made:
        assert main([*words, *FLAGS]) == 0, capsys.readouterr().err
    (folder / "demo-translator").symlink_to(folder / "model")
    with (folder / "in.txt").open(encoding="utf-8") as stream:
        monkeypatch.setattr("sys.stdin", stream)
        for words in COMMANDS:
            if words not in made:
                assert main(words) == 0, f"{words}: {capsys.readouterr().err}"
    assert (folder / "out.txt").read_text(encoding="utf-8").count("\n") == 1


def test_the_python_of_the_readme_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainOptions, "of", lambda _: TrainOptions(**TINY))
    assert PYTHON
    for code in PYTHON:
        exec(code, {})  # what stands there is ours
    assert (folder / "model" / "model.safetensors").exists()


def test_the_readme_shows_the_result_before_the_theory() -> None:
    shown, commands, fit = (
        README.index(text) for text in ("dragoman translate", "## The two commands", "## How the pieces fit")
    )
    assert shown < commands < fit < README.index("## Read on")


@pytest.mark.parametrize("name", ["inflect", "pronounce-wiktionary"])
def test_an_example_reads_the_same_files_whatever_language_a_desktop_speaks(name: str, tmp_path: Path) -> None:
    (tmp_path / "dragoman").write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    (tmp_path / "dragoman").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    shown = [
        subprocess.check_output(
            ["bash", str(ROOT / "examples" / f"{name}.sh"), "--data", "DIR"], env={"PATH": path, **spoken}
        )
        for spoken in ({}, {"LANGUAGE": "en_US:en"})
    ]
    assert shown[0] == shown[1] != b""

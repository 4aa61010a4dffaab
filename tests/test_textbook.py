"""docs/textbook.md: every command on the page runs, and what it prints has the shape of the output that stands there."""

from __future__ import annotations

import gzip
import re
import shlex
from pathlib import Path

import pytest

from dragoman.cli import main

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "textbook.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"<!-- output: (dragoman .*?) -->\n```\n(.*?)```", PAGE, flags=re.DOTALL)
TRAINED = re.findall(r"^(dragoman train .*)$", PAGE, flags=re.MULTILINE)
TINY = ["--max-steps", "2", "--embedding-size", "8", "--hidden-size", "8", "--vocab-size", "300", "--threads", "1"]
TINY += ["--metric", "bleu"]  # as the whole sample has it; its first rows are too short


def words_of(command: str, folder: Path) -> list[str]:
    """The arguments of a command of the page, its samples and models looked for in `folder`."""
    return [word.replace("dragoman/samples/", f"{folder}/") for word in shlex.split(command)[1:]]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the head of the samples and the page's models, which have learned nothing."""
    folder = tmp_path_factory.mktemp("textbook")
    for name, rows in (("eng-fra.tsv.gz", 300), ("eng-fra-test.tsv.gz", 5)):
        with gzip.open(ROOT / "dragoman" / "samples" / name, "rt", encoding="utf-8") as sample:
            head = [line for line, _ in zip(sample, range(rows), strict=False)]
        (folder / name).write_bytes(gzip.compress("".join(head).encode()))
    assert TRAINED
    for command in TRAINED:
        words = words_of(command, folder)
        words[words.index("--out") + 1] = str(folder / words[words.index("--out") + 1])
        assert main([*words, *TINY]) == 0
    return folder


@pytest.mark.parametrize(("command", "block"), SHOWN, ids=[f"{i} {command}" for i, (command, _) in enumerate(SHOWN)])
def test_every_output_on_the_page_is_the_commands(
    command: str, block: str, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("COLUMNS", "100")
    assert main(words_of(command, workplace)) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = [line for line in block.splitlines() if line.strip()]
    assert lines, "the page shows no output for this command"
    if "translate" in command:
        assert len(printed) == len(lines)
        assert [line.count("\t") for line in printed] == [line.count("\t") for line in lines]
    elif "evaluate" in command:
        assert [line.split()[0] for line in printed[1:]] == [line.split()[0] for line in lines[1:]]
    else:  # a table: its title and the names of its columns
        assert lines[0].rstrip() in [line.rstrip() for line in printed]
        wanted = set(lines[1].split())
        assert any(wanted <= set(line.split()) | {"source:"} | tokens_of(lines[1]) for line in printed)


def tokens_of(header: str) -> set[str]:
    """Parts of a column's name that are words of the sentence: `source: ▁you`."""
    return set(re.findall(r"source: (\S+)", header))

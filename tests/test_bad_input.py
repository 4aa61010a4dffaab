"""Bad input through the real command line: exit code 2, one clear line on stderr, nothing lost."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import PAIRS, TINY

from dragoman.cli import main

LITTLE_DISK = 4_000


@dataclass(frozen=True)
class Outcome:
    """What a command gave."""

    code: int
    out: str
    err: str

    def error(self) -> str:
        """The one line on stderr of a command that failed as it should."""
        assert self.code == 2, self.err
        assert self.err.startswith("dragoman: error: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert self.err.endswith("\n")
        assert not self.out
        return self.err.removeprefix("dragoman: error: ").rstrip("\n")


Run = Callable[..., Outcome]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def inside(*words: object) -> Outcome:
        capfd.readouterr()
        code = main([str(word) for word in words])
        shown = capfd.readouterr()
        return Outcome(code, shown.out, shown.err)

    return inside


def outside(*words: object, limit: int | None = None, stdout: str | None = None, text: str = "") -> Outcome:
    """Run in a process of its own: for signals, limits and devices."""

    def restrict() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    with open(stdout or os.devnull, "w") as device:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "dragoman", *map(str, words)],
            input=text,
            stdout=device if stdout else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=restrict,
            timeout=120,
            check=False,
        )
    return Outcome(done.returncode, done.stdout or "", done.stderr)


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text(PAIRS, encoding="utf-8")
    return path


def train(run: Run, *words: object) -> Outcome:
    return run("train", *words, *TINY)


def nothing_is_left(out: Path) -> None:
    assert not out.exists()
    assert not [path.name for path in out.parent.iterdir() if out.name in path.name], (
        "a half-made model was left behind"
    )


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("a\tb\n" * 9, ["--target", "3"], "3"),
        ("en\tfr\n" + "a\tb\n" * 9, ["--source", "en", "--target", "de"], "de"),
        ("only one column\n" * 20, [], "separator"),
        ("", [], "is empty"),
        ("café\tcoffee\n" * 20, ["--encoding", "utf-9"], "encoding"),
        ("a\tb\n" * 20, ["--pattern", "(unclosed"], "--pattern"),
        ("x" * 1_000_000 + "\ty\n", [], "line 1"),
    ],
    ids=[
        "number of a missing column",
        "missing column",
        "one column",
        "empty",
        "encoding",
        "pattern",
        "a line of 1 MB",
    ],
)
def test_an_unusable_file(tmp_path: Path, run: Run, content: str, words: Sequence[str], message: str) -> None:
    file, out = tmp_path / "bad.tsv", tmp_path / "model"
    file.write_text(content, encoding="utf-8")
    assert message in train(run, file, "--out", out, *words).error()
    assert file.read_text(encoding="utf-8") == content
    nothing_is_left(out)


def test_latin_1_is_recognised(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "latin.tsv"
    file.write_bytes("".join(f"été {i}\tsummer {i}\n" for i in range(20)).encode("latin-1"))
    error = train(run, file, "--out", tmp_path / "model").error()
    assert "--encoding latin-1" in error
    nothing_is_left(tmp_path / "model")
    done = train(run, file, "--out", tmp_path / "model", "--encoding", "latin-1")
    assert done.code == 0, done.err
    assert "é" in (tmp_path / "model" / "tokenizer.source.json").read_text(encoding="utf-8")


def test_a_line_of_1_mb_among_good_ones_is_counted_and_left_out(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "long.tsv"
    file.write_text(PAIRS + "x" * 1_000_000 + "\ty\n", encoding="utf-8")
    done = train(run, file, "--out", tmp_path / "model")
    assert done.code == 0
    assert "line 41" in done.err


def test_a_directory_is_no_file_of_pairs(tmp_path: Path, run: Run) -> None:
    (tmp_path / "folder").mkdir()
    assert "is a directory" in train(run, tmp_path / "folder", "--out", tmp_path / "model").error()


def test_a_file_that_does_not_exist_gets_the_nearest_name(tmp_path: Path, pairs: Path, run: Run) -> None:
    error = train(run, tmp_path / "pair.tsv", "--out", tmp_path / "model").error()
    assert f"did you mean {pairs}?" in error


def test_an_existing_out_is_kept(tmp_path: Path, pairs: Path, run: Run) -> None:
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("five years of work")
    assert train(run, pairs, "--out", out).error().endswith("precious exists; choose another --out")
    assert "is no model" in train(run, pairs, "--out", out, "--overwrite").error()
    assert (out / "thesis.txt").read_text() == "five years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pairs.tsv", "precious"]


def test_overwrite_keeps_the_old_model(tmp_path: Path, pairs: Path, trained: Path, run: Run) -> None:
    out = tmp_path / "model"
    shutil.copytree(trained, out)
    before = (out / "model.safetensors").read_bytes()
    assert train(run, pairs, "--out", out, "--overwrite", "--seed", "9").code == 0
    assert (tmp_path / "model.old" / "model.safetensors").read_bytes() == before
    assert (out / "model.safetensors").read_bytes() != before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "empty"])
def test_a_truncated_model_directory(tmp_path: Path, trained: Path, run: Run, name: str, damage: str) -> None:
    model = tmp_path / "model"
    shutil.copytree(trained, model)
    file = model / name
    if not file.exists():
        file = next(model.glob("tokenizer*.json"))
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage == "cut" else b"")
    if damage == "gone":
        file.unlink()
    assert str(model) in run("translate", model, "source 3").error()


def test_tokenizers_of_another_model_are_a_named_error(
    tmp_path: Path, trained: Path, inflecting: Path, run: Run
) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    file = model / "tokenizer.target.json"
    whole, config = file.read_text(), json.loads((model / "config.json").read_text())
    file.write_text(whole.replace("\n", "\r\n"))
    assert run("translate", model, "source 3").code == 0, "lines may end otherwise, as in a copy from another system"
    for other in (whole.replace("cible", "cilbe"), (inflecting / file.name).read_text()):
        assert other != whole
        file.write_text(other)
        assert "tokenizer.target.json is not what the model was trained with" in run("translate", model, "x").error()
    del config["tokenizer"]["checksums"]  # as in a model of an older version
    (model / "config.json").write_text(json.dumps(config))
    for words in (["translate", model, "source 3"], ["train", "no.tsv", "--from", model, "--out", tmp_path / "new"]):
        assert "the target tokenizer has" in run(*words).error()


@pytest.mark.parametrize(
    "changes",
    [{"cell": "x"}, {"cell": None}, {"hidden_size": 0}, {"attention": "x"}, {"attention_heads": 3}, {"layers": 1}],
)
def test_an_architecture_that_is_none_is_a_named_error(
    tmp_path: Path, trained: Path, run: Run, changes: dict[str, object]
) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config["architecture"] |= changes
    (model / "config.json").write_text(json.dumps(config))
    message = "config.json describes no model of this version"
    assert message in run("translate", model, "source 3", "--engine", "torch").error()


def test_a_model_that_is_said_to_be_enormous_takes_no_memory(tmp_path: Path, trained: Path, run: Run) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config["architecture"]["hidden_size"] = 4 * 10**6
    (model / "config.json").write_text(json.dumps(config))
    message = "model.safetensors does not fit the configuration beside it"
    assert message in run("translate", model, "source 3", "--engine", "torch").error()


def test_no_model_at_all(tmp_path: Path, trained: Path, run: Run) -> None:
    assert f'did you mean "{trained.name}"?' in run("translate", trained.with_name("modell"), "x").error()
    (tmp_path / "file").write_text("x")
    assert "is a file" in run("info", tmp_path / "file").error()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "p.tsv", "--lyers", "2"], 'there is no option --lyers; did you mean "--layers"?'),
        (["check", "p.tsv", "--sep", ";"], 'there is no option --sep; did you mean "--separator"?'),
        (["translate", "m", "--beam", "3"], 'did you mean "--beam-size"?'),
        (["translate", "m", "--len", "3"], 'did you mean "--length-norm" or "--length-penalty"?'),
        (["train", "p.tsv", "--lr", "0.1"], 'there is no option --lr; did you mean "--learning-rate"?'),
        (["check", "p.tsv", "--rnn-type", "gru"], "there is no option --rnn-type; --help lists the options"),
        (["train", "p.tsv", "--out", "o", "--layers", "none"], '--layers must be a whole number, but is "none"'),
        (["train", "p.tsv", "--out", "o", "--cell", "lsmt"], 'did you mean "lstm"?'),
        (["train", "p.tsv", "--out", "o", "--layers"], "--layers needs a value"),
        (["train", "p.tsv", "--out", "o", "--layers", "1", "--layers", "2"], "--layers is given twice"),
        (["train", "p.tsv"], "--out is missing"),
        (["train", "--out", "o"], "PAIRS is missing"),
        (["check"], "PAIRS is missing; for example: dragoman check pairs.tsv"),
        (["train", "p.tsv", "--resume", "o"], "--resume uses the pairs"),
        (["translate", "m", "--beam-size", "0"], "--beam-size must be at least 1, but is 0"),
        (
            ["translate", "m", "x", "--num-hypotheses", "9"],
            "--num-hypotheses must be at most --beam-size (5), but is 9",
        ),
        (["translate", "m", "x", "--input", "f"], "give sentences or --input, not both"),
        (["translate", "m", "x", "--source", "2"], "--source tells how a file is read, but sentences are given"),
        (["shortlist", "m", "--format", "csv"], "--format tells how a file is read, but the pairs that the model"),
        (["translate"], "MODEL is missing"),
        (["trian", "p.tsv"], 'there is no command trian; did you mean "train"?'),
        (["--verison"], 'there is no option --verison; did you mean "--version"?'),
        (["info", "a", "b"], "no use for 'b'"),
        (["demo", "korea"], 'NAME must be one of translator, chatbot, korean, but is "korea"; did you mean "korean"?'),
        (["inspect", "m", "x", " "], "REFERENCE is empty; give the right output, or leave it out"),
        (["inspect", "m", "x", "\ufeff"], "REFERENCE is empty; give the right output, or leave it out"),
        (["inspect", "m", "x", "a\x01"], "REFERENCE cannot be read: control characters"),
        (["inspect", "m", "x", "--candidates", "many"], '--candidates must be a whole number, but is "many"'),
        (["compare", "m", "n", "p.tsv", "--resamples", "1.5"], '--resamples must be a whole number, but is "1.5"'),
        (["gap", "m", "p.tsv", "--horizon", "1.e999"], '--horizon must be a whole number, but is "1.e999"'),
        (["shortlist", "m", "--best", "0x10"], '--best must be a whole number, but is "0x10"'),
        (
            ["translate", "m", "--yes"],
            "there is no option --yes; --help lists the options (-- stands before sentences",
        ),
        (["train", "p.tsv", "--out", "o", "--config", "missing.toml"], "missing.toml: no such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments(run: Run, words: Sequence[str], message: str) -> None:
    assert message in run(*words).error()


def test_an_unknown_preset_gets_the_nearest_name(tmp_path: Path, pairs: Path, run: Run) -> None:
    error = train(run, pairs, "--out", tmp_path / "model", "--preset", "textbok").error()
    assert 'did you mean "textbook"?' in error
    nothing_is_left(tmp_path / "model")


def test_a_full_disk_while_printing(trained: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    assert "no space left" in outside("info", trained, stdout="/dev/full").error()
    done = outside("translate", trained, "source 3", "--output", "/dev/full")
    assert (done.code, done.err.splitlines()[-1]) == (2, "dragoman: error: there is no space left on the disk")


def test_a_full_disk_while_training(tmp_path: Path, pairs: Path) -> None:
    out = tmp_path / "model"
    done = outside("train", pairs, "--out", out, *TINY, limit=LITTLE_DISK)
    assert done.code == 2, done.err
    assert "no space left" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert pairs.read_text() == PAIRS


def test_a_reader_that_goes_away_is_no_error(trained: Path) -> None:
    command = f"yes 'source 3' | head -2000 | {sys.executable} -m dragoman translate {trained} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.count("\n") == 1
    assert "error" not in done.stderr.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "text", ["", "   ", "\t", "</s>", "\N{ZERO WIDTH SPACE}", "𝕬𝖇 ☃ שלום", "\ud800", "a\x00b", "x" * 20_000]
)
def test_odd_text_gives_a_line(trained: Path, run: Run, text: str) -> None:
    done = run("translate", trained, "source 3", text, "source 4", "--beam-size", "1", "--max-length", "5")
    assert done.code == 0
    assert done.out.count("\n") == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Je suis.\n\xe9t\xe9\n", ":2: bytes that the encoding does not have"),
        (b"a\x00b\n", ":1: control characters"),
        (b"", " holds no choices: every line is one, and all are empty"),
        (b"\n  \n", " holds no choices: every line is one, and all are empty"),
    ],
)
def test_choices_that_cannot_be_read(tmp_path: Path, trained: Path, run: Run, content: bytes, message: str) -> None:
    file = tmp_path / "choices.txt"
    file.write_bytes(content)
    assert run("translate", trained, "source 3", "--choices", file).error() == f"{file}{message}"


def test_a_chat_is_utf_8_whatever_python_was_told(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outside("translate", trained, "source é", "--max-length", "5", "--num-hypotheses", "1").out
    for told in ("latin-1", "utf-8:strict"):
        monkeypatch.setenv("PYTHONIOENCODING", told)
        words = [sys.executable, "-m", "dragoman", "chat", str(trained), "--max-length", "5"]
        given = b"\xef\xbb\xbfsource \xc3\xa9\n\xff\nsource \xc3\xa9\n"
        done = subprocess.run(words, input=given, capture_output=True, timeout=120, check=False)
        first, second, third = done.stdout.decode().splitlines()
        assert (done.returncode, second, first) == (0, "", third)
        assert f"1\t{first}" == "\t".join(expected.rstrip("\n").split("\t")[::2])
        assert b"warning: bytes that the encoding does not have" in done.stderr


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        (["info", "MODEL"], ">&-", 0),
        (["translate", "MODEL"], "<&-", 0),
        (["check", "-"], "<&-", 2),
        (["no"], "2>&-", 2),
    ],
)
def test_a_closed_stream_is_nothing(trained: Path, words: Sequence[str], closed: str, code: int) -> None:
    line = shlex.join(
        [sys.executable, "-m", "dragoman", *(str(trained) if word == "MODEL" else word for word in words)]
    )
    done = subprocess.run(["sh", "-c", f"{line} {closed}"], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_lines_stay_aligned(tmp_path: Path, trained: Path, run: Run) -> None:
    file, out = tmp_path / "in.txt", tmp_path / "out.txt"
    file.write_bytes(b"source 3\n\nsource \xff 4\nsource 5\n")
    done = run("translate", trained, "--input", file, "--output", out, "--beam-size", "1", "--max-length", "5")
    assert done.code == 0
    lines = out.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    assert [not line for line in lines] == [False, True, True, False]
    assert [line for line in done.err.splitlines() if "warning" in line and ("line 2" in line or "line 3" in line)]


@pytest.mark.parametrize("options", [[], ["--stream"], ["--num-hypotheses", "1"]])
def test_a_line_without_its_columns_spoils_no_other(
    tmp_path: Path, inflecting: Path, run: Run, options: Sequence[str]
) -> None:
    (tmp_path / "in.txt").write_text("word1\tV;PST\n\n\t\nword2\nword3\tV;PST\n", encoding="utf-8")
    result = run("translate", inflecting, "--input", tmp_path / "in.txt", "--max-length", "5", *options)
    assert (result.code, result.out.count("\n")) == (0, 5), result.err
    lines = [line for line in result.err.splitlines() if "warning: line" in line and "cut at" not in line]
    assert [line.rpartition(": ")[2] for line in lines] == ["empty line", "empty line", "too few columns"]


def test_a_sentence_without_its_columns_says_how_many_there_are(inflecting: Path, run: Run) -> None:
    result = run("translate", inflecting, "word1", "word1\tV;PST", "--max-length", "5")
    assert (result.code, result.out.count("\n")) == (0, 2)
    assert "warning: line 1: the line must have 2 columns joined by TAB, but has 1\n" in result.err
    spoken = outside("chat", inflecting, "--max-length", "5", text="word1\nword1\tV;PST\n")
    assert (spoken.code, spoken.out.count("\n")) == (0, 2), spoken.err
    assert "`source`" not in spoken.err
    error = run("evaluate", inflecting, inflecting.parent / "lemmas.tsv", "--source", "1", "--target", "3").error()
    assert error == "--source must name 2 columns as in training, but names 1"
    assert run("translate", inflecting, "--input", inflecting.parent / "lemmas.tsv", "--source", "1").error() == error


@pytest.mark.parametrize("library", ["torch", "pyarrow", "sacrebleu"])
def test_without_the_training_libraries_the_extra_is_named(
    tmp_path: Path, pairs: Path, trained: Path, library: str
) -> None:
    words = {
        "torch": ["translate", str(trained), "source 3", "--engine", "torch"],
        "pyarrow": ["train", str(pairs), "--out", str(tmp_path / "model")],
        "sacrebleu": ["evaluate", str(trained), str(pairs)],
    }[library]
    script = f"import sys; sys.modules[{library!r}] = None; from dragoman.cli import main; sys.exit(main({words!r}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stderr
    assert 'pip install "dragoman[train]"' in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("WORD{0}  W ER D {0}\n", "--separator '  '"),  # as in CMUdict
        ("{0};word {0}\n", "--separator ';'"),
        ("IN: jump {0} OUT: JUMP {0}\n", "--pattern 'IN: (.*) OUT: (.*)'"),  # as in SCAN
    ],
)
def test_an_advised_option_is_spelt_as_it_must_be_given(run: Run, tmp_path: Path, line: str, option: str) -> None:
    """Law: what an error says to try works as it stands."""
    path = tmp_path / "words.txt"
    path.write_text("".join(line.format(letter) for letter in "ABCDEFGH"), encoding="utf-8")
    advice = run("check", path).error().rpartition("try ")[2]
    assert advice == option
    assert run("check", path, *shlex.split(advice)).code == 0


def test_columns_that_are_left_are_said(run: Run, tmp_path: Path) -> None:
    """Law: what was chosen silently is shown: a file of three columns is not read as if it had two."""
    path = tmp_path / "forms.tsv"
    path.write_text("".join(f"go\tV;{number}\tgoes{number}\n" for number in range(9)), encoding="utf-8")
    assert ", columns 1, 2 of 3\n" in run("check", path).out
    assert (
        ", columns" not in run("check", path, "--source", "1", "--source", "2", "--target", "3").out.partition("\n")[0]
    )


@pytest.mark.parametrize("command", [["inspect", "x"], ["gap", "p.tsv"], ["calibrate", "p.tsv"]], ids=lambda c: c[0])
def test_a_picture_that_cannot_be_written_is_an_error_before_the_work(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    """Law: an output that cannot be written is said before the model, here none, is looked for."""
    name, *rest = command
    for path, message in (
        ("look.PNG", "--svg writes SVG, and look.PNG is named otherwise; give look.svg"),
        (tmp_path, f"{tmp_path} is a directory"),
        (tmp_path / "none" / "a.svg", f"there is no directory {tmp_path / 'none'}"),
    ):
        assert message in run(name, "nowhere", *rest, "--svg", path).error()
    assert "there is no model at nowhere" in run(name, "nowhere", *rest, "--svg", tmp_path / "a.svg").error()


@pytest.mark.parametrize(
    "words", ["train - --dev - --out model", "train - --test - --out model", "check - --against -"]
)
def test_standard_input_is_not_read_twice(
    words: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "can be read only once" in run(*words.split()).error()
    assert not list(tmp_path.iterdir())

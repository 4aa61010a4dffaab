"""What is odd about names, environments, terminals and arguments in Python: one clear line, never a traceback, nothing silent."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import torch
from tiny import PAIRS, TINY

import dragoman
from dragoman.cli import main
from dragoman.cli.arguments import FLAGS
from dragoman.cli.flags import with_file
from dragoman.cli.progress import Bar
from dragoman.config import ReadOptions, TrainOptions
from dragoman.corpus.reading import Pair, ReadReport, read_pairs
from dragoman.corpus.report import EMPTY_TARGET, NOT_TEXT
from dragoman.corpus.store import PairStore
from dragoman.errors import DataError, DragomanError, MissingExtraError, OptionError, StorageError
from dragoman.storage import ModelDirectory
from dragoman.training.events import Note
from dragoman.training.launch import launched
from dragoman.training.machine import computes_bfloat16

ROOT = Path(__file__).parent.parent
Run = Callable[..., tuple[int, str, str]]
STOPPED = {
    "shortlist": ("shortlist {} pairs.tsv", "interrupted"),
    "distill": (
        "distill {} pairs.tsv --write made.tsv --test 1",
        "stopped after 0 texts, which made.tsv.part keeps; the same command goes on from there",
    ),
}
"""Commands that have folders of their own for a time, and the last word of each."""


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    def words(*given: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main([str(word) for word in given])
        shown = capfd.readouterr()
        return code, shown.out, shown.err

    return words


def test_warnings_name_options_as_they_are_typed(trained: Path, run: Run) -> None:
    """Law: on the command line warnings speak of flags, as errors do; in Python both speak of arguments."""
    sources, limits = ("source 3", "source 3 " * 9), {"prefix": "cible " * 8, "max_length_ratio": 0.5}
    typed = ("--prefix", limits["prefix"], "--max-length-ratio", 0.5, "--threads", 1)
    code, _, told = run("translate", trained, *sources, *typed)
    assert code == 0
    assert "dragoman: warning: line 1: --prefix and --require must fit into --max-length" in told
    assert "`" not in told
    options = dragoman.SearchOptions(**limits)  # type: ignore[arg-type]
    warning = dragoman.load(trained, threads=1).translate(sources, options=options)[0].warning
    assert warning is not None
    assert "`max_length`" in warning


def test_warnings_beside_a_bar_name_options_too(capsys: pytest.CaptureFixture[str]) -> None:
    before = FLAGS.set(["--max-length"])
    try:
        Bar()(Note("`max_length` and `unknown` of :cat:/[b]", warning=True))
    finally:
        FLAGS.reset(before)
    assert capsys.readouterr().err == "dragoman: warning: --max-length and `unknown` of :cat:/[b]\n"


def test_a_process_of_a_number_that_no_launcher_gives_does_not_wait_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(OptionError, match=r"RANK must be below WORLD_SIZE \(2\), but is 2"):
        launched()


@pytest.mark.parametrize(("name", "text"), [("RANK", "worker-0"), ("WORLD_SIZE", "-1"), ("LOCAL_RANK", "1.0")])
def test_an_environment_that_no_launcher_makes_is_named(
    name: str, text: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, text)
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    code, _, told = run("train", tmp_path / "pairs.tsv", "--out", tmp_path / "model", *TINY)
    assert (code, told.count("\n")) == (2, 1)
    assert told.startswith(f"dragoman: error: the environment variable {name} must be a whole number")
    assert f'"{text}"' in told
    assert not (tmp_path / "model").exists()


def test_a_rank_without_others_is_the_only_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Law: a process that is alone does all the work, whatever number something else gave it."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched().main
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert not launched().main


def test_names_of_files_need_not_be_utf_8(tmp_path: Path, run: Run) -> None:
    """Law: a name that the system allows is escaped where text must be UTF-8; what cannot have it is said before the work."""
    pairs, model = tmp_path / os.fsdecode(b"caf\xe9.tsv"), tmp_path / "model"
    try:
        pairs.write_text(PAIRS, encoding="utf-8")
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    code, _, told = run("train", pairs, "--out", model, *TINY, "--test", 4)
    assert code == 0, told
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert config["data"]["read"]["name"] == pairs.name
    assert run("info", model)[0] == 0
    code, _, told = run("train", pairs, "--out", tmp_path / os.fsdecode(b"mod\xe8le"), *TINY)
    assert (code, told.count("\n")) == (2, 1)
    assert r"mod\xe8le is not UTF-8, which the name of a model must be; choose another --out" in told


@pytest.mark.parametrize("words", [["--json", "--output"], ["--trace"]], ids=lambda words: words[0])
def test_a_sentence_that_is_no_utf_8_is_written_escaped(
    words: list[str], trained: Path, tmp_path: Path, run: Run
) -> None:
    file = tmp_path / "out.json"
    code, _, told = run("translate", trained, "a\udcff", "--threads", 1, *words, file)
    assert code == 0, told
    assert r"\udcff" in file.read_text(encoding="utf-8")


def test_a_config_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text("layers = 1\n", encoding="utf-8-sig")
    assert with_file(TrainOptions(), file).layers == 1


@pytest.mark.parametrize(("suffix", "separator"), [("csv", ","), ("tsv", "\t")])
def test_of_two_columns_of_one_name_none_is_chosen(suffix: str, separator: str, tmp_path: Path) -> None:
    path = tmp_path / f"pairs.{suffix}"
    rows = [["en", "fr", "en"], ["a", "b", "c"], ["d", "e", "f"]]
    path.write_text("".join(separator.join(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match='has several columns named "en"; give each a name of its own, or give the col'):
        list(read_pairs([path], ReadOptions(source=("en",), target="fr")))
    found = list(read_pairs([path], ReadOptions(source=("3",), target="fr")))
    assert [(pair.source, pair.target) for pair in found] == [("c", "b"), ("f", "e")]


@pytest.mark.parametrize(
    "pairs",
    [None, 5, {"a": "b"}, b"a\tb", [("a", "b", "c")], (n for n in ["pairs.tsv"])],
    ids=["nothing", "a number", "a dict", "bytes", "three texts", "names of files"],
)
def test_what_cannot_be_pairs_is_a_named_error(pairs: Any, tmp_path: Path) -> None:
    with pytest.raises(DragomanError, match=r"source, target"):
        dragoman.train(pairs, out=tmp_path / "model", options=TrainOptions(max_steps=1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("device", [None, 0, ["cpu"]], ids=str)
def test_a_device_must_be_text(device: Any, trained: Path) -> None:
    with pytest.raises(OptionError, match="`device` must be text, but is "):
        dragoman.load(trained, device=device)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("stream", ["/dev/full", "a pipe that nobody reads"])
def test_an_error_that_cannot_be_said_still_has_its_code(stream: str, unbuffered: str) -> None:
    command = [sys.executable, "-m", "dragoman", "trian"]
    surroundings = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    if stream == "/dev/full":
        with Path(stream).open("w") as full:
            done = subprocess.run(command, env=surroundings, stderr=full, timeout=60, check=False)
    else:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(command, env=surroundings, stderr=writing, timeout=60, check=False)
        os.close(writing)
    assert done.returncode == 2


@pytest.mark.parametrize("words", ["--help", "--version", "train --help", "info"])
def test_a_reader_that_has_gone_away_is_not_worth_a_word(words: str, trained: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "dragoman", *words.split(), *([str(trained)] if words == "info" else [])]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_device_that_is_not_there_is_one_line_of_a_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train_speed.py", "--device", "cuda:99"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "benchmarks" / "train_speed.py"), run_name="__main__")
    assert end.value.code == 2
    assert 'error: --device "cuda:99" is not on this machine' in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.translate_many(5), "`sources` must be a list of texts, but is 5"),
        (lambda model: model.score(None, ["a"]), "must be lists of texts, but one is None"),
        (lambda model: model.score(["a"], (text for text in "a")), "must be lists of texts, but one is <generator"),
        (lambda model: model.evaluate(["a"], None), "`references` must be a list of texts for each source, but is None"),
        (lambda model: model.evaluate(iter("a"), [["a"]]), "`sources` must be a list of texts, but is <"),
        (lambda model: model.gap(["a"], [[float("nan")]]), "`references` must be texts, but in entry 1 one is nan"),
        (lambda _: dragoman.load(None), "a model's name must be text or a path, but is None"),
        (lambda model: dragoman.load(model.directory.path, ensemble=5), "`ensemble` must be a list of models, but is 5"),
        (lambda model: dragoman.load(model.directory.path, ensemble=Path("b")), "a list of models, but is Posix"),
    ],
    ids=range(9),
)  # fmt: skip
def test_arguments_of_a_wrong_kind_are_named(call: Callable[[Any], object], message: str, trained: Path) -> None:
    with pytest.raises(OptionError, match=message):
        call(dragoman.load(trained, threads=1))


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(gzip.compress(b"a\tb\n" * 9)), "compressed with gzip twice: unpack it"),
        (gzip.compress(b"PK\x03\x04" + b"a\tb\n" * 9), "a zip archive or a spreadsheet"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"a\tb\n" * 9, "a spreadsheet or document of an old Office: save it as CSV"),
        (b"7z\xbc\xaf\x27\x1c" + b"a\tb\n" * 9, "a 7z archive"),
        (b"a.tsv".ljust(257, b"\0") + b"ustar".ljust(255, b"\0") + b"a\tb\n" * 9, "a tar archive: unpack it"),
        (gzip.compress(b"a.tsv".ljust(257, b"\0") + b"ustar\t" + b"a\tb\n" * 9), "a tar archive: unpack it"),
        (b"%PDF-1.7\n" + b"a\tb\n" * 9, "a PDF document"),
        (b'<?xml version="1.0"?>\n<tmx version="1.4">\n' + b"a\tb\n" * 9, "XML, as TMX and XLIFF are: save its pairs as TSV"),
        ('<?xml version="1.0" encoding="UTF-16"?>\n<tmx>\n'.encode("utf-16"), "XML, as TMX and XLIFF are"),
        (b"\n\n<!DOCTYPE html>\n<html>\n" + b"a\tb\n" * 9, "a web page: download the file that it shows"),
    ],
    ids=["gzip in gzip", "zip in gzip", "old spreadsheet", "7z", "tar", "tar in gzip", "pdf", "xml", "utf-16 xml", "html"],
)  # fmt: skip
def test_what_is_no_file_of_rows_is_named(content: bytes, what: str, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    code, out, told = run("check", path)
    assert (code, out, told.count("\n")) == (2, "", 1)
    assert f"{path} is {what}" in told


def test_markup_in_a_row_is_text(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("<!doctype html>\t# A page\n" + "<b>a</b>\t**a**\n" * 9)
    code, out, _ = run("check", path)
    assert code == 0
    assert "10 pairs" in out


def test_dates_that_python_cannot_hold_are_no_text(tmp_path: Path) -> None:
    from pyarrow import parquet

    kinds = {
        "fine": pyarrow.timestamp("ns"),
        "far": pyarrow.timestamp("us"),
        "away": pyarrow.timestamp("us", tz="Mars/Base"),
    }
    columns = {name: pyarrow.array([2**62 + 1, None], kind) for name, kind in kinds.items()}
    parquet.write_table(pyarrow.table({"text": ["a", "b"], **columns}), tmp_path / "a.parquet")
    for name in kinds:
        report = ReadReport()
        assert not list(read_pairs([tmp_path / "a.parquet"], ReadOptions(source=("text",), target=name), report=report))
        assert {reason: found.lines for reason, found in report.reasons.items()} == {NOT_TEXT: (1,), EMPTY_TARGET: (2,)}


def test_no_separator_is_advised_to_who_gave_a_pattern(tmp_path: Path, run: Run) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    told = run("check", tmp_path / "pairs.tsv", "--pattern", "(x)(y)")[2]
    assert told.endswith("; the pattern must match the whole line\n")


@pytest.mark.parametrize("device", ["meta", "hpu"])
def test_a_device_without_numbers_or_without_its_module_is_none(device: str, trained: Path, run: Run) -> None:
    code, _, told = run("translate", trained, "source 3", "--device", device)
    assert (code, told.count("\n")) == (2, 1)
    assert f'--device "{device}" is not on this machine' in told


def test_damaged_training_data_is_not_called_unsafe(trained: Path, tmp_path: Path, run: Run) -> None:
    shutil.copytree(trained, tmp_path / "model")
    (tmp_path / "model" / "training" / "data" / "train.source.npy").write_bytes(b"damaged")
    code, _, told = run("train", "--resume", tmp_path / "model", "--max-steps", 9)
    assert code == 2
    assert "the encoded pairs train are missing or damaged: " in told
    assert "pickle" not in told


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("out", "out cannot be given in the file; give --out with the command"),
        ("max-steppes", 'there is no option max-steppes; did you mean "max_steps"?'),
        ("training", "there is no option training; --help lists the options"),
    ],
)
def test_a_key_of_a_config_file_that_is_no_training_option(key: str, message: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "options.toml").write_text(f'{key} = "x"\n', encoding="utf-8")
    code, _, told = run("train", "pairs.tsv", "--out", tmp_path / "model", "--config", tmp_path / "options.toml")
    assert (code, told) == (2, f"dragoman: error: {tmp_path / 'options.toml'}: {message}\n")


def test_pairs_in_python_have_as_many_source_columns_each(tmp_path: Path) -> None:
    rows = [("go\tV;PST", "went"), ("see", "saw")]
    with pytest.raises(DataError, match=r"pairs:2: TAB joins source columns, of which this pair has 1 and the first 2"):
        dragoman.train(rows, out=tmp_path / "model")


def test_a_bundle_takes_the_place_of_nothing_but_a_bundle(trained: Path, tmp_path: Path, run: Run) -> None:
    """Law: what would be lost is said before the work."""
    shutil.copytree(trained, tmp_path / "model")
    config, table = tmp_path / "model" / "config.json", tmp_path / "table.xlsx"
    with zipfile.ZipFile(table, "w") as archive:
        archive.writestr("sheet.xml", "<sheet/>")
    for file in (config, table):
        before = file.read_bytes()
        code, _, told = run("export", tmp_path / "model", "--bundle", file, "--threads", 1)
        assert (code, told.count("\n")) == (2, 1)
        assert f"{file} exists and is no bundle, so it is left alone; choose another --bundle" in told
        assert file.read_bytes() == before


def test_a_horizon_beyond_all_outputs_is_an_error_and_takes_no_memory(trained: Path) -> None:
    with pytest.raises(OptionError, match="`horizon` must be at most 10000, but is 1000000000"):
        dragoman.load(trained, threads=1).gap(["source 3"], [["cible 3"]], horizon=10**9)


def test_a_vocabulary_beyond_all_memory_is_an_error_and_no_abort(tmp_path: Path, run: Run) -> None:
    code, _, told = run("train", "pairs.tsv", "--out", tmp_path / "model", "--vocab-size", 9_999_999_999)
    assert (code, told) == (2, "dragoman: error: --vocab-size must be at most 10000000, but is 9999999999\n")


def test_a_model_cannot_be_within_a_file(tmp_path: Path, run: Run) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text(PAIRS, encoding="utf-8")
    code, _, told = run("train", file, "--out", file / "model", *TINY)
    assert (code, told) == (2, f"dragoman: error: {file / 'model'} cannot be made: {file} is a file, not a directory\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupt_while_graphs_are_made_says_how_to_go_on(
    number: signal.Signals, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: whenever a training is stopped, the last line says what is there and how it goes on, and that works."""
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    out = tmp_path / "model"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
    try:
        with monkeypatch.context() as patch:
            patch.setattr(ModelDirectory, "write_graphs", lambda *_, **__: os.kill(os.getpid(), number))
            code, _, told = run("train", tmp_path / "pairs.tsv", "--out", out, *TINY)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == 130
    assert told.endswith(f"has no ONNX graphs yet; make them with: dragoman train --resume {out}\n")
    assert not ModelDirectory.open(out).has_graphs
    assert run("train", "--resume", out)[0] == 0
    assert ModelDirectory.open(out).has_graphs


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows sends no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize(("words", "told"), STOPPED.values(), ids=STOPPED)
def test_a_command_that_is_terminated_leaves_no_folder_and_says_a_last_word(
    words: str, told: str, name: str, tmp_path: Path, run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: what was made for the time of the command goes, and what is kept is named, as after Ctrl-C."""
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for place in ("translation.shortlisting.align", "translator.Translator.translate"):
        monkeypatch.setattr(f"dragoman.{place}", lambda *_, **__: os.kill(os.getpid(), getattr(signal, name)))
    before = signal.signal(getattr(signal, name), signal.SIG_DFL)  # which `nohup` ignores
    try:
        code, _, said = run(*words.format(trained).split())
    finally:
        signal.signal(getattr(signal, name), before)
    assert (code, said.splitlines()[-1]) == (130, f"dragoman: {told}")
    assert list((tmp_path / "temporary").glob("dragoman-*")) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals")
def test_an_interrupt_after_the_last_word_ends_the_process_without_a_traceback() -> None:
    """Libraries take a while to tidy up: Ctrl-C meanwhile is no fault."""
    program = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background ignores it
atexit.register(os.kill, os.getpid(), signal.SIGINT)  # as if it were pressed while a library tidies up
from dragoman.cli import main
sys.exit(main(["--version"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert done.stdout == f"dragoman {dragoman.__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_of_pairs_is_said_in_our_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pyarrow.OSFile
    monkeypatch.setattr(pyarrow, "OSFile", lambda _, mode: opened("/dev/full", mode))
    with pytest.raises(StorageError, match=r"a\.arrow cannot be written: there is no space left on the disk$"):
        PairStore.write(tmp_path / "a.arrow", [Pair("a", "b", None, 1)])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_is_full_names_the_model_and_no_hidden_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = pyarrow.OSFile
    monkeypatch.setattr(pyarrow, "OSFile", lambda _, mode: opened("/dev/full", mode))
    with pytest.raises(StorageError, match=r"m/training/data/pairs\.arrow cannot be written") as caught:
        dragoman.train(PAIRS, out=tmp_path / "m", options=TrainOptions(max_steps=1))
    assert str(caught.value).startswith(str(tmp_path / "m"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_parquet_that_cannot_be_copied_is_not_called_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Law: a message names the disk that is full, not the file that was read."""
    pyarrow.parquet.write_table(pyarrow.table({"a": ["x"], "b": ["y"]}), tmp_path / "rows.parquet")
    packed = tmp_path / "rows.parquet.gz"
    packed.write_bytes(gzip.compress((tmp_path / "rows.parquet").read_bytes()))
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)
        with pytest.raises(StorageError, match=r"no space left for a copy of .*rows\.parquet\.gz; set TMPDIR"):
            list(read_pairs([packed]))


@pytest.mark.parametrize("precision", ["float32", *(["bfloat16"] if computes_bfloat16(torch.device("cpu")) else [])])
def test_what_a_program_has_set_in_torch_changes_no_training_and_stays(precision: str, tmp_path: Path) -> None:
    shape = {"max_steps": 2, "embedding_size": 8, "hidden_size": 8, "layers": 1, "dev": "4", "threads": 1}
    options = TrainOptions(**shape, precision=precision)  # type: ignore[arg-type]
    pairs = [tuple(line.split("\t")) for line in PAIRS.splitlines()]
    dragoman.train(pairs, out=tmp_path / "plain", options=options)  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    torch.set_default_dtype(torch.bfloat16)
    before = torch.get_rng_state()
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            dragoman.train(pairs, out=tmp_path / "within", options=options)  # type: ignore[arg-type]
            assert torch.get_num_threads() == 3
            dragoman.load(tmp_path / "within", engine="torch", threads=1)
        assert torch.get_default_dtype() == torch.bfloat16
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
    assert torch.equal(before, torch.get_rng_state())
    plain, within = (ModelDirectory.open(tmp_path / name).weights_sum for name in ("plain", "within"))
    assert plain == within


def test_errors_come_whole_from_another_process() -> None:
    error = MissingExtraError("training")
    assert (
        str(pickle.loads(pickle.dumps(error)))
        == str(error)
        == 'training needs the train extra: pip install "dragoman[train]"'
    )


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_an_old_python_is_refused_before_it_leaves_an_environment(tmp_path: Path) -> None:
    """In what it left, a newer Python would put its pip beside the old python."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "old"
    pretends = "import sys; sys.version_info = (3, 10, 13); exec(sys.argv[2])"
    old.write_text(f"#!/bin/sh\nexec '{sys.executable}' -c '{pretends}' \"$@\"\n", encoding="utf-8")
    old.chmod(0o755)
    command = ["make", "-C", str(tmp_path), "demo", f"PYTHON={old}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"dragoman needs Python 3.11 or later, but {old} is 3.10: make PYTHON=python3.12\n" in done.stderr
    assert not (tmp_path / ".venv").exists()

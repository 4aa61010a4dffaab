"""The commands on a tiny model: what goes to stdout, in which form, and that it is the same by every way in."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny import PAIRS, TINY

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions
from dragoman.errors import OptionError, StorageError
from dragoman.places import check_claim
from dragoman.storage import ModelDirectory
from dragoman.translation.texts import Texts

SHORT = ["--max-length", "6"]


@pytest.fixture
def out(capfd: pytest.CaptureFixture[str]) -> Any:
    def run(*words: object) -> str:
        capfd.readouterr()
        code = main([str(word) for word in words])
        shown = capfd.readouterr()
        assert code == 0, shown.err
        return shown.out

    return run


def feed(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text), encoding="utf-8"))


def test_an_output_that_its_constraints_cut_does_not_blame_the_maximum_length(trained: Path) -> None:
    options = SearchOptions(match="3 3 3 3 3 3", no_repeat_ngram=1)
    found = dragoman.load(trained, threads=1).translate("source 3", options=options)
    assert not found.candidates[0].finished
    assert found.warning == "the output was cut where the search could not go on"


def test_a_source_whose_length_the_options_do_not_allow_gives_a_warning_and_not_the_end_of_all(trained: Path) -> None:
    translator, sources = dragoman.load(trained, threads=1), ["source 3", "source 3 " * 9, "source 4"]
    for options in ({"min_length_ratio": 1.0, "max_length": 9}, {"prefix": "cible " * 8, "max_length_ratio": 0.5}):
        search = SearchOptions(**options)  # type: ignore[arg-type]
        found = translator.translate(sources, options=search)
        unlike = found[1] if "max_length" in options else found[0]
        assert unlike.candidates == ()
        assert unlike.warning is not None
        assert "token" in unlike.warning
        assert [each.text for each in found] == [translator.translate(one, options=search).text for one in sources]
        assert any(each.text for each in found)
    with pytest.raises(OptionError, match="must fit into `max_length`"):
        translator.translate(sources, options=SearchOptions(prefix="cible", max_length=1))


def test_sentences_a_file_and_standard_input_give_the_same(
    trained: Path, tmp_path: Path, out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentences = ["source 3", "- yes", "source 5 of many"]
    text = "".join(f"{sentence}\n" for sentence in sentences).encode()
    (tmp_path / "in.txt").write_bytes(text)
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress(text))
    expected = out("translate", trained, *sentences, *SHORT)
    assert expected.count("\n") == 3
    assert out("translate", trained, "--input", tmp_path / "in.txt", *SHORT) == expected
    assert out("translate", trained, "--input", tmp_path / "in.txt.gz", *SHORT) == expected
    feed(monkeypatch, text)
    assert out("translate", trained, *SHORT) == expected
    assert out("translate", trained, *sentences, "--output", tmp_path / "out.txt", *SHORT) == ""
    assert (tmp_path / "out.txt").read_text(encoding="utf-8") == expected


def test_n_best_is_line_number_score_and_text_by_tab(trained: Path, out: Any) -> None:
    rows = [
        line.split("\t") for line in out("translate", trained, "source 3", "", "x", "--num-hypotheses", 2).splitlines()
    ]
    assert [row[0] for row in rows] == ["1", "1", "2", "3", "3"]
    assert rows[2] == ["2", "", ""]
    assert all(len(row) == 3 for row in rows)
    assert float(rows[0][1]) >= float(rows[1][1])


def test_json_tells_everything(trained: Path, out: Any) -> None:
    shown = [json.loads(line) for line in out("translate", trained, "source 3", "", "--json", *SHORT).splitlines()]
    assert [item["line"] for item in shown] == [1, 2]
    best = shown[0]["candidates"][0]
    assert best["score"] == pytest.approx(sum(best["token_scores"]))
    assert best["text"] == out("translate", trained, "source 3", *SHORT).rstrip("\n")
    assert shown[1]["candidates"] == []
    assert shown[1]["warning"]


def test_evaluate_counts_sources_and_references_and_signs(trained: Path, tmp_path: Path, out: Any) -> None:
    (tmp_path / "test.tsv").write_text("a\tb\na\tc\nd\te\n", encoding="utf-8")
    shown = out("evaluate", trained, tmp_path / "test.tsv", "--beam-size", 1, *SHORT)
    assert shown.startswith("2 sources, 3 references, greedy search")
    assert "nrefs:" in shown
    facts = json.loads(out("evaluate", trained, tmp_path / "test.tsv", "--json", *SHORT))
    assert (facts["items"], facts["references"], facts["search"]["beam_size"]) == (2, 3, 5)
    assert "rows" not in shown


def test_rows_that_repeat_are_also_counted_one_by_one(trained: Path, tmp_path: Path, out: Any) -> None:
    said = out("translate", trained, "source 3", *SHORT).rstrip("\n")
    (tmp_path / "test.tsv").write_text(f"source 3\t{said or '-'}\n" * 3 + "source 3\tother\nd\te\n", encoding="utf-8")
    assert "5 rows, each against its own target" in out("evaluate", trained, tmp_path / "test.tsv", *SHORT)
    facts = json.loads(out("evaluate", trained, tmp_path / "test.tsv", "--json", *SHORT))
    assert facts["rows"] == 5
    assert facts["exact_match_of_rows"] == (60 if said else 0)
    assert facts["exact_match"] == (50 if said else 0)


def test_a_right_answer_among_the_best_few_is_counted(trained: Path, tmp_path: Path, out: Any) -> None:
    lines = out("translate", trained, "source 3", "--num-hypotheses", 3, *SHORT).splitlines()
    outputs = [line.split("\t")[2] for line in lines]
    third = outputs[2]
    assert third not in outputs[:2]
    (tmp_path / "test.tsv").write_text(f"source 3\t{third}\nd\tnothing like it\n", encoding="utf-8")
    shown = out("evaluate", trained, tmp_path / "test.tsv", "--num-hypotheses", 3, *SHORT)
    assert re.search(r"^exact match in 3 +50.00  ", shown, re.MULTILINE)
    assert re.search(r"^exact match +0.00$", shown, re.MULTILINE)
    facts = json.loads(out("evaluate", trained, tmp_path / "test.tsv", "--num-hypotheses", 2, "--json", *SHORT))
    assert facts["exact_match_of_several"] == 0
    assert "exact match in" not in out("evaluate", trained, tmp_path / "test.tsv", *SHORT)


def test_a_test_file_is_read_as_the_training_data_was(tmp_path: Path, out: Any) -> None:
    rows = "".join(f"{i};source {i};cible {i}\n" for i in range(40))
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).write_text("number;from;to\n" + rows, encoding="utf-8")
    columns = ["--separator", ";", "--source", "from", "--target", "to"]
    out("train", tmp_path / "train.txt", *columns, "--out", tmp_path / "model", *TINY)
    assert out("evaluate", tmp_path / "model", tmp_path / "test.txt", *SHORT).startswith("40 sources")


def test_a_carriage_return_alone_ends_no_line_of_a_chat(
    trained: Path, out: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(monkeypatch, b"source\r3\nsource 3\r\nsource 3")
    answers = out("chat", trained, *SHORT).split("\n")
    assert (len(answers), answers[0]) == (4, "")
    assert answers[1] == answers[2] != ""


def test_a_sentence_that_names_a_file_is_doubted(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("source 3\n", encoding="utf-8")
    assert main(["translate", str(trained), "in.txt", "source 3", "x" * 999, *SHORT]) == 0
    told = "dragoman: warning: in.txt is translated as a sentence, but is also a file: --input translates its lines"
    assert [line for line in capfd.readouterr().err.splitlines() if "file" in line] == [told]


def test_a_name_with_and_in_it_is_one_file(tmp_path: Path, out: Any) -> None:
    folder = tmp_path / "salt and pepper"
    folder.mkdir()
    for name in ("here and there.csv", "test.csv"):
        (folder / name).write_text("".join(f"source {i};cible {i}\n" for i in range(40)), encoding="utf-8")
    how = ["--separator", ";", "--no-header"]
    out("train", folder / "here and there.csv", *how, "--out", tmp_path / "model", *TINY)
    read = ModelDirectory.open(tmp_path / "model").config["data"]["read"]
    assert (read["name"], read["files"]) == ("here and there.csv", ["here and there.csv"])
    assert out("evaluate", tmp_path / "model", folder / "test.csv", *SHORT).startswith("40 sources")


def test_of_the_training_datas_reading_only_what_fits_a_file_is_taken_over(tmp_path: Path, out: Any) -> None:
    rows = [(f"été {i}", f"cible {i}") for i in range(40)]
    text = "".join(f"{i};{source};{target}\n" for i, (source, target) in enumerate(rows))
    for name in ("pairs.csv", "MORE.CSV"):
        (tmp_path / name).write_text(text, encoding="latin-1")
    lines = "".join(f'{{"id": {i}, "s": "{source}", "t": "{target}"}}\n' for i, (source, target) in enumerate(rows))
    (tmp_path / "pairs.jsonl").write_text(lines, encoding="latin-1")
    for side, name in enumerate(("a.src", "a.tgt")):
        (tmp_path / name).write_text("".join(f"{row[side]}\n" for row in rows), encoding="latin-1")
    (tmp_path / "in.txt").write_text("été 1;été 2\n", encoding="utf-8")
    how = ["--separator", ";", "--no-header", "--encoding", "latin-1", "--source", "2", "--target", "3"]
    model = tmp_path / "model"
    out("train", tmp_path / "pairs.csv", *how, "--out", model, *TINY)

    def sources(name: str) -> list[str]:
        shown = out("translate", model, "--input", tmp_path / name, "--json", *SHORT)
        return [json.loads(line)["source"] for line in shown.splitlines()]

    for name in ("pairs.csv", "MORE.CSV", "pairs.jsonl"):
        assert sources(name) == [source for source, _ in rows]
    assert sources("in.txt") == ["été 1;été 2"]
    for files in (["MORE.CSV"], ["pairs.jsonl"], ["a.src", "a.tgt"]):
        outputs = tmp_path / "outputs.jsonl"
        out("evaluate", model, *(tmp_path / name for name in files), "--output", outputs, *SHORT)
        assert json.loads(outputs.read_text(encoding="utf-8").splitlines()[3])["source"] == "été 3"


def test_an_output_goes_where_a_link_or_a_device_leads(trained: Path, tmp_path: Path, out: Any) -> None:
    pairs = trained.parent / "pairs.tsv"
    for name in ("evaluated", "checked", "picture"):
        (tmp_path / name).write_text("old", encoding="utf-8")
        (tmp_path / f"{name}.link").symlink_to(tmp_path / name)
    out("evaluate", trained, pairs, *SHORT, "--output", tmp_path / "evaluated.link")
    out("check", pairs, "--write", tmp_path / "checked.link", "--overwrite")
    out("inspect", trained, "source 3", "--svg", tmp_path / "picture.link")
    for name in ("evaluated", "checked", "picture"):
        assert (tmp_path / f"{name}.link").is_symlink()
        assert (tmp_path / name).read_text(encoding="utf-8") != "old"
    stdout = tmp_path / "stdout"
    stdout.symlink_to("/proc/self/fd/1")  # as /dev/stdout is
    shown = out("evaluate", trained, pairs, *SHORT, "--output", stdout)
    assert shown.startswith((tmp_path / "evaluated").read_text(encoding="utf-8"))
    assert stdout.is_symlink()


def test_a_file_that_is_read_is_not_written_over(trained: Path, tmp_path: Path) -> None:
    file = tmp_path / "in.tsv"
    file.write_text("source 3\tcible 3\n", encoding="utf-8")
    for words in (["evaluate", trained, file, "--output", file], ["translate", trained, "--output", file]):
        with file.open() as stream:
            done = subprocess.run(
                [sys.executable, "-m", "dragoman", *map(str, words)], stdin=stream, capture_output=True, text=True
            )
        said = f"dragoman: error: {file} is the file that is read; give another --output\n"
        assert (done.returncode, done.stderr) == (2, said)
        assert file.read_text(encoding="utf-8") == "source 3\tcible 3\n"


@pytest.mark.parametrize("option", ["--choices", "--phrase-table"])
@pytest.mark.parametrize(
    "command", [["evaluate", "PAIRS"], ["translate", "--input", "PAIRS"], ["translate", "source 3"]]
)
def test_a_file_that_the_search_reads_is_not_written_over(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: list[str], option: str
) -> None:
    for name in ("pairs.tsv", "read.tsv"):
        (tmp_path / name).write_text("source 3\tcible 3\n", encoding="utf-8")
    words = [tmp_path / "pairs.tsv" if word == "PAIRS" else word for word in command[1:]]
    file = tmp_path / "read.tsv"
    assert main([command[0], *map(str, [trained, *words, option, file, "--output", file])]) == 2
    assert f"{file} is the file that is read; give another --output" in capfd.readouterr().err
    assert file.read_text(encoding="utf-8") == "source 3\tcible 3\n"


def test_info_tells_sizes_options_data_and_scores(trained: Path, inflecting: Path, out: Any) -> None:
    assert re.search(
        r"\nsource +char in lower case \+ features in upper case\ntarget +char\nnorm", out("info", inflecting)
    )
    shown = out("info", trained)
    for text in ("parameters", "hidden_size=8", "fingerprint", "36 pairs", "bleu", "dragoman train"):
        assert text in shown
    assert re.search(r"training +2 steps, .* epochs, \d+ s; ended by: 2 steps; weights of step 2\n", shown)
    assert json.loads(out("info", trained, "--json"))["parameters"] == ModelDirectory.open(trained).config["parameters"]


def test_the_scores_that_a_model_keeps_are_what_evaluate_gives_with_the_engine_they_name(
    tmp_path: Path, out: Any
) -> None:
    phones = "".join(f"w{i:02}x\t{' '.join(f'w {i:02} x')}\n" for i in range(40))
    (tmp_path / "pairs.tsv").write_text(phones, encoding="utf-8")
    out("train", tmp_path / "pairs.tsv", "--out", tmp_path / "m", *TINY, "--test", "6", "--target-tokenizer", "symbols")
    kept = ModelDirectory.open(tmp_path / "m").config["scores"]["test"]
    scores = json.loads(out("evaluate", tmp_path / "m", "--engine", "torch", "--json"))
    assert kept["search"] == f"beam {scores['search']['beam_size']}, {scores['engine']} {scores['precision']}"
    assert kept["search"] in (tmp_path / "m" / "README.md").read_text(encoding="utf-8")
    names = {"bleu", "chrf", "exact_match", "cer", "wer"}
    assert {name: kept[name] for name in names & kept.keys()} == {name: scores[name] for name in names & scores.keys()}


def test_chat_answers_line_by_line(trained: Path, out: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"source 3\n\nsource 4\n")
    answers = out("chat", trained, *SHORT).splitlines()
    assert len(answers) == 3
    assert answers[1] == ""
    assert answers[0] == out("translate", trained, "source 3", *SHORT).rstrip("\n")


def test_a_chat_reads_its_choices_once(
    trained: Path, out: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "choices.txt").write_text("cible 3 de tant\n", encoding="utf-8")
    read: list[str] = []
    monkeypatch.setattr(Texts, "_choices", lambda _, path: read.append(path) or ["cible 3 de tant"])
    feed(monkeypatch, b"source 3\nsource 4\n")
    assert out("chat", trained, "--choices", tmp_path / "choices.txt") == "cible 3 de tant\n" * 2
    assert len(read) == 1


@pytest.mark.parametrize("command", ["translate", "chat"])
@pytest.mark.parametrize("option", ["--choices", "--phrase-table"])
def test_standard_input_is_not_read_twice(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    feed(monkeypatch, b"source 3\n")
    assert main([command, str(trained), option, "-"]) == 2
    assert "standard input (-) can be read only once" in capfd.readouterr().err


def test_choices_may_come_from_standard_input(
    trained: Path, tmp_path: Path, out: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "in.txt"
    file.write_text("source 3\n", encoding="utf-8")
    words = ["translate", trained, "--input", file, "--choices", "-"]
    feed(monkeypatch, b"3 3\n")
    assert out(*words) == "3 3\n"
    feed(monkeypatch, b"3 3\n")
    assert main([*map(str, words), "--output", str(tmp_path / "out.txt")]) == 2
    assert "--choices must be a file if there is an --output" in capfd.readouterr().err
    for watched in (["--stream"], ["--trace", str(tmp_path / "trace.json")]):
        feed(monkeypatch, b"3 3\n")
        assert main(["translate", str(trained), "source 3", "--choices", "-", *watched]) == 2
        expected = "standard input holds no choices: every line is one, and all are empty, or were read already"
        assert f"{expected} (--stream, --trace and several models need a file)" in capfd.readouterr().err


@pytest.mark.parametrize("command", [["translate"], ["translate", "--stream"], ["chat"]])
def test_an_output_is_one_line_whatever_a_model_says(
    trained: Path, out: Any, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    """One whose tokens are bytes may say line breaks, and TAB."""
    monkeypatch.setattr("dragoman.corpus.tokenization.Tokenizer.decode", lambda *_, **__: "two\r\n\tlines")
    feed(monkeypatch, b"source 3\nsource 4\n")
    assert out(command[0], trained, *command[1:], *SHORT) == "two lines\ntwo lines\n"


def test_the_prompt_of_a_chat_is_no_answer(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("source 3\n"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert main(["chat", str(trained), *SHORT]) == 0
    shown = capfd.readouterr()
    assert main(["translate", str(trained), "source 3", *SHORT]) == 0
    assert shown.out == capfd.readouterr().out
    assert shown.err.startswith("Say something; Ctrl-D ends.\n> ")
    assert shown.err.endswith("> \n")


def test_inspect_shows_tables_json_and_a_picture(trained: Path, tmp_path: Path, out: Any) -> None:
    assert "Encoder" in out("inspect", trained, "source 3")
    long = out("inspect", trained, "source 3 " + 30 * "w", "cible 3 " + 30 * "m", "--candidates", 12)
    rows = [line for line in long.splitlines() if " 0." in line]
    assert all(re.match(r" +\d+ ", line) for line in rows)  # in a file no row is broken, whatever its length
    assert max(map(len, rows)) > 100
    shown = json.loads(
        out("inspect", trained, "source 3", "cible 3", "--json", "--candidates", 2, "--svg", tmp_path / "a.svg")
    )
    assert len(shown["steps"][0]["candidates"]) == 2
    assert shown["encoder_gradients"]
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


def test_inspect_says_that_an_output_is_cut(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(trained), "source 3", "--json"]) == 0
    shown = capfd.readouterr()
    seen = json.loads(shown.out)
    assert (f"cut after {len(seen['steps'])} steps" in shown.err) == (not seen["finished"])


def test_inspect_reads_what_translate_reads(trained: Path, out: Any) -> None:
    looked = [
        json.loads(out("inspect", trained, source, reference, "--json"))
        for source, reference in (("source \u00e9", "cible \u00e9"), (" source\u00a0e\u0301 ", "cible \t e\u0301\n"))
    ]
    assert looked[0] == looked[1]
    assert main(["inspect", str(trained), "a\x00b"]) == 2
    assert main(["inspect", str(trained), " "]) == 2


def test_check_finds_and_writes_a_clean_copy(tmp_path: Path, out: Any) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS + "source 1 of many\tcible 1 de tant\n", encoding="utf-8")
    (tmp_path / "test.tsv").write_text("source 7 of many\tcible 7\n", encoding="utf-8")
    shown = out("check", tmp_path / "pairs.tsv", "--against", tmp_path / "test.tsv", "--write", tmp_path / "clean.tsv")
    assert "* duplicates" in shown
    assert "* leakage" in shown
    assert (tmp_path / "clean.tsv").read_text(encoding="utf-8").count("\n") == 39
    report = json.loads(out("check", tmp_path / "pairs.tsv", "--json"))
    assert report["pairs"] == 41


def test_line_numbers_have_no_commas_but_those_between_them(tmp_path: Path, out: Any) -> None:
    rows = "".join(f"source {i}\ttarget {i}\n" for i in range(1_200))
    (tmp_path / "pairs.tsv").write_text(rows + "\tno source\n\tnone here\n", encoding="utf-8")
    assert re.search(r"empty source +2 +lines 1201, 1202 ", out("check", tmp_path / "pairs.tsv"))


def test_the_quick_demo_leaves_nothing_behind(tmp_path: Path, out: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = out("demo", "korean", "--quick", "--threads", 1)
    assert "nrefs:" in shown
    assert not list(tmp_path.iterdir())


def test_a_model_that_has_no_test_scores_is_no_finished_demo(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "demo-korean")
    directory = ModelDirectory.open("demo-korean")
    directory.config["scores"].pop("test", None)
    directory.config["data"]["read"]["name"] = "eng-kor.tsv.gz"
    directory.write_config()
    assert main(["demo", "korean"]) == 2
    assert "demo-korean is no finished demo; give --overwrite" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["--max-steps", "4"], []])
def test_resume_goes_on_in_place(tmp_path: Path, out: Any, words: Sequence[str]) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    out("train", tmp_path / "pairs.tsv", "--out", tmp_path / "model", *TINY)
    out("train", "--resume", tmp_path / "model", *words)
    assert ModelDirectory.open(tmp_path / "model").config["run"]["steps"] == (4 if words else 2)


def test_interrupting_saves_and_says_how_to_go_on(tmp_path: Path, out: Any) -> None:
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    model = tmp_path / "model"
    endless = [*TINY, "--max-steps=1000000", "--epochs=1000000", "--eval-every=1000000"][2:]
    words = [sys.executable, "-m", "dragoman", "train", str(tmp_path / "pairs.tsv"), "--out", str(model), *endless]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as training:
        wait_for(lambda: (model / "training").exists())
        time.sleep(0.5)
        training.send_signal(signal.SIGINT)
        _, said = training.communicate(timeout=60)
    assert training.returncode == 130
    assert re.fullmatch(
        rf"dragoman: stopped at step \d+; go on with: dragoman train --resume {model}", said.splitlines()[-1]
    )
    assert "Traceback" not in said
    with pytest.raises(
        StorageError, match=r"exists; go on with it \(dragoman train --resume .*\), choose another `out`"
    ):
        check_claim(model, overwrite=False)


def wait_for(happens: Callable[[], bool]) -> None:
    """Wait until something happens, at most a minute."""
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_every_row_of_the_model_card_has_the_cells_of_its_table(trained: Path) -> None:
    rows = re.findall(r"^\|.*$", (trained / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert any("nrefs:" in row for row in rows)
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_the_model_card_holds_the_command(trained: Path) -> None:
    assert "- command: `dragoman train " in (trained / "README.md").read_text(encoding="utf-8")


def test_the_model_card_holds_every_value_of_the_run(trained: Path) -> None:
    """Two cards tell what differs between two runs, chosen values too; what is off has no parts."""
    card, config = (trained / "README.md").read_text(encoding="utf-8"), ModelDirectory.open(trained).config
    architecture = config["architecture"]
    for name, value in config["recipe"].items():
        shown = f"- {name}: {value}\n" if name in architecture else f"{name}={value}"
        idle = value is None or name.startswith(("risk_", "sampling_"))
        assert (shown in card) is not idle, name


def test_a_partner_that_sends_one_line_at_a_time_gets_each_answer(trained: Path) -> None:
    command = [sys.executable, "-m", "dragoman", "translate", str(trained), *SHORT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        for sentence in ("source 3", "source 5 of many", "many"):
            process.stdin.write(f"{sentence}\n")
            process.stdin.flush()
            answers.append(process.stdout.readline())  # would wait for ever if lines were gathered first
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert all(answer.endswith("\n") for answer in answers)

"""Distillation and back-translation: whose pairs they are, what they never tell, and that a stopped work goes on."""

from __future__ import annotations

import gzip
import json
import re
import resource
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dragoman
from dragoman.cli import main
from dragoman.config import ReadOptions, SearchOptions
from dragoman.corpus.reading import pairs_from_rows
from dragoman.corpus.store import PairStore
from dragoman.errors import DataError, Interrupted, OptionError, StorageError
from dragoman.files import lock
from dragoman.training.events import Event, Note, Stage
from dragoman.translation import synthetic
from dragoman.translation.outputs import Candidate, Translation
from dragoman.translation.synthetic import BackTranslation, PairsFile

WORDS = ("red", "green", "blue", "black")
OTHER = {"red": "rouge", "green": "vert", "blue": "bleu", "black": "noir"}
SHORT = [
    "--layers",
    "1",
    "--hidden-size",
    "32",
    "--embedding-size",
    "16",
    "--batch-tokens",
    "100",
    "--learning-rate",
    "0.02",
    "--patience",
    "0",
]
MACHINE = ["--threads", "1", "--device", "cpu"]


def colours() -> list[tuple[str, str]]:
    pairs = [(f"{a} {b} {c}", f"{OTHER[a]} {OTHER[b]} {OTHER[c]}") for a in WORDS for b in WORDS for c in WORDS]
    return [*pairs, (pairs[5][0], "quoi")]  # one source with two targets


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs, a teacher, and a reverse model that are no longer quite ignorant."""
    place = tmp_path_factory.mktemp("synthetic")
    for name, pairs in (("pairs", colours()), ("swapped", [(t, s) for s, t in colours()])):
        (place / f"{name}.tsv").write_text("".join(f"{s}\t{t}\n" for s, t in pairs), encoding="utf-8")
    steps = ["--max-steps", 60, "--eval-every", 60]
    for name, pairs, more in (("teacher", "pairs", ["--test", 6, "--seed", 3]), ("reverse", "swapped", [])):
        assert run("train", place / f"{pairs}.tsv", "--out", place / name, *SHORT, *MACHINE, *steps, *more) == 0
    return place


def rows(path: Path) -> list[tuple[str, str]]:
    return [(s, t) for s, t in (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())]


def config_of(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return found


def held_out(model: Path) -> set[str]:
    texts = json.loads((model / "training/data/texts.json").read_text(encoding="utf-8"))
    return {source for part in ("dev", "test") for source in (texts[part] or {"sources": []})["sources"]}


def test_a_student_of_another_seed_holds_out_what_the_teacher_held_out(place: Path, tmp_path: Path) -> None:
    few, one, other = [*SHORT, "--max-steps", 1, "--eval-every", 1], tmp_path / "one", tmp_path / "other"
    for out, more in ((one, []), (other, ["--split-seed", 4])):
        words = ["distill", place / "teacher", place / "pairs.tsv", *MACHINE, *few, "--seed", 9, *more]
        assert run(*words, "--out", out) == 0
    assert held_out(one) == held_out(place / "teacher")
    assert held_out(other) != held_out(place / "teacher")


def test_a_student_learns_the_teachers_outputs_for_the_training_part_and_is_judged_on_true_pairs(
    place: Path, tmp_path: Path
) -> None:
    student = tmp_path / "student"
    few = ["--max-steps", 2, "--hidden-size", 8, "--layers", 1]
    assert (
        run("distill", place / "teacher", place / "pairs.tsv", "--out", student, *MACHINE, *few, "--beam-size", 3) == 0
    )
    made = rows(tmp_path / "student.synthetic.tsv")
    teacher = dragoman.load(place / "teacher")
    outputs = teacher.translate([source for source, _ in made], options=SearchOptions(beam_size=3))
    assert [target for _, target in made] == [output.text for output in outputs]
    every = {source for source, _ in colours()}
    assert {source for source, _ in made} == every - held_out(place / "teacher")  # the split is the teacher's
    once = dict.fromkeys(source for source, _ in colours())  # a source with two targets, and all in their order
    assert [source for source, _ in made] == [source for source in once if source in dict(made)]
    assert (student / "test.jsonl").read_text() == (place / "teacher/test.jsonl").read_text()
    assert held_out(student) == held_out(place / "teacher")
    config = config_of(student)
    assert config["recipe"]["hidden_size"] == 8
    assert config["data"]["train"]["pairs"] == len(made)
    assert config["data"]["remade"]["without_output"] == config["data"]["remade"]["texts"] - len(made)
    assert f"trained on {len(made)} pairs that a teacher made" in (student / "README.md").read_text(encoding="utf-8")
    assert "dragoman distill" in config["command"]


def test_pairs_in_python_are_no_columns_of_the_teachers_file(place: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    shutil.copytree(place / "teacher", teacher)
    config = config_of(teacher)

    def distilled_as_if_trained_with(**columns: object) -> None:
        options = {**config["options"], **columns}
        (teacher / "config.json").write_text(json.dumps({**config, "options": options}), encoding="utf-8")
        dragoman.distill(teacher, colours(), write=tmp_path / "made.tsv")

    with pytest.raises(OptionError, match="`group_by` tells how a file is read"):  # the split would be another
        distilled_as_if_trained_with(group_by="1")
    distilled_as_if_trained_with(source=["3"], target="2")
    assert {source for source, _ in rows(tmp_path / "made.tsv")} <= {source for source, _ in colours()}


def test_a_separator_of_the_teachers_file_is_none_of_another_format(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody could unset it: the option that would is itself an error there."""
    teacher = tmp_path / "teacher"
    shutil.copytree(place / "teacher", teacher)
    config = config_of(teacher)
    config["options"] |= {"separator": ";", "header": True}
    config["data"]["read"] |= {"name": "pairs.csv", "files": ["pairs.csv"]}
    (teacher / "config.json").write_text(json.dumps(config), encoding="utf-8")
    texts = {
        "pairs.jsonl": "".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in colours()),
        "pairs.csv": "source;target\n" + "".join(f"{s};{t}\n" for s, t in colours()),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        code = run("distill", teacher, tmp_path / name, "--write", tmp_path / f"{name}.made.tsv", *MACHINE)
        assert code == 0, capfd.readouterr().err


def test_a_bundle_is_a_teacher_like_the_model_that_it_was_made_of(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dragoman.export(place / "teacher", bundle=tmp_path / "t.dragoman", threads=1)
    for teacher in (tmp_path / "t.dragoman", place / "teacher"):
        assert run("distill", teacher, place / "pairs.tsv", *MACHINE, "--write", tmp_path / "made.tsv") == 0
    assert f"using the pairs that {tmp_path / 'made.tsv'} holds already" in capfd.readouterr().err


def test_without_out_only_the_pairs_are_made_and_they_are_used_again(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    several = ["--num-hypotheses", 2]
    words = ["distill", place / "teacher", place / "pairs.tsv", *MACHINE, *several, "--write", tmp_path / "made.tsv"]
    assert run(*words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.tsv", "made.tsv.json"]
    made = rows(tmp_path / "made.tsv")
    sources = [source for source, _ in made]
    assert len(set(sources)) < len(sources) == len(set(made))  # two outputs of a source are two pairs
    monkeypatch.setattr(dragoman.Translator, "translate", None)
    for out, more in (("student", []), ("other", ["--seed", 9])):  # no draw of a beam hangs on the seed
        capfd.readouterr()
        assert run(*words, "--out", tmp_path / out, *SHORT, "--max-steps", 1, *more) == 0
        assert f"using the pairs that {tmp_path / 'made.tsv'} holds already" in capfd.readouterr().err
        assert config_of(tmp_path / out)["data"]["train"]["pairs"] == len(made)


def test_what_a_model_chose_from_is_not_what_it_translated(place: Path, tmp_path: Path) -> None:
    teacher, pairs, made = place / "teacher", place / "pairs.tsv", tmp_path / "made.tsv"
    dragoman.distill(teacher, pairs, write=made, ensemble=iter([teacher]))
    assert len(json.loads(made.with_name("made.tsv.json").read_text(encoding="utf-8"))["maker"]["models"]) == 2
    with pytest.raises(StorageError, match="is not what these models and this search make"):
        dragoman.distill(teacher, pairs, write=made, reverse=teacher)


def test_a_stopped_work_goes_on_and_ends_with_the_same_file(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["distill", place / "teacher", place / "pairs.tsv", *MACHINE, "--write"]
    assert run(*words, tmp_path / "straight.tsv") == 0
    monkeypatch.setattr(synthetic, "CHUNK", 8)
    original, asked = dragoman.Translator.translate, []

    def translate(self: Any, sources: list[str], **options: Any) -> Any:
        if len(asked) == 24:
            raise KeyboardInterrupt
        asked.extend(sources)
        return original(self, sources, **options)

    monkeypatch.setattr(dragoman.Translator, "translate", translate)
    assert run(*words, tmp_path / "broken.tsv") == 130
    assert "stopped after 24 texts" in capfd.readouterr().err
    assert not (tmp_path / "broken.tsv").exists()
    with (tmp_path / "broken.tsv.part").open("a", encoding="utf-8") as file:
        file.write("half a li")  # what a power cut may leave
    asked.append("the interrupt is over")
    assert run(*words, tmp_path / "broken.tsv") == 0
    asked.remove("the interrupt is over")
    assert "going on after 24 texts translated already" in capfd.readouterr().err
    assert len(asked) == len(set(asked)) == json.loads((tmp_path / "broken.tsv.json").read_text())["texts"]
    assert (tmp_path / "broken.tsv").read_bytes() == (tmp_path / "straight.tsv").read_bytes()
    assert not (tmp_path / "broken.tsv.part").exists()


def test_back_translations_join_the_true_pairs_and_tell_nothing_of_dev_and_test(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = [target.upper() if i % 2 else target for i, (_, target) in enumerate(colours()[:-1])]
    lines += ["vert vert vert noir", "", "rouge noir"]
    with gzip.open(tmp_path / "texts.txt.gz", "wt", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))
    words = ["backtranslate", place / "reverse", tmp_path / "texts.txt.gz", place / "pairs.tsv", *MACHINE]
    assert run(*words, "--out", tmp_path / "m", *SHORT, "--repeat", 3, "--test", 8, "--max-steps", 1) == 0
    made = rows(tmp_path / "m.synthetic.tsv")
    texts = json.loads((tmp_path / "m/training/data/texts.json").read_text(encoding="utf-8"))
    secret = {r.casefold() for part in ("dev", "test") for group in texts[part]["references"] for r in group}
    assert secret
    assert not secret & {target.casefold() for _, target in made}
    remade, train = (config_of(tmp_path / "m")["data"][name] for name in ("remade", "train"))
    assert (remade["leaked"], remade["unusable"]) == (len(secret - {"quoi"}), 1)
    assert remade["texts"] == len(lines) - 1 - remade["leaked"] == len(made) + remade["without_output"]
    assert train["pairs"] == 3 * remade["true_pairs"] + len(made) - remade["shared"]
    reverse = dragoman.load(place / "reverse")
    assert [source for source, _ in made] == [out.text for out in reverse.translate([target for _, target in made])]
    err = " ".join(capfd.readouterr().err.split())
    known = len(made) - remade["shared"]
    share = known / train["pairs"]
    assert f"training on {remade['true_pairs']} true pairs, 3 times, and {known} made ones ({share:.0%})" in err
    assert f"left out {remade['leaked']} lines of {tmp_path / 'texts.txt.gz'}: targets of dev or test" in err


def test_no_source_of_dev_or_test_is_learned_from_because_a_model_made_it(tmp_path: Path) -> None:
    """Of a text that is no target of theirs: the parts differ in their sources, whoever wrote them."""
    (tmp_path / "texts").write_text("un\ndeux\ntrois\nthé vert\n", encoding="utf-8")
    true = [("red", "rouge"), ("Green  tea", "Thé vert"), ("blue", "bleu")]
    store = PairStore.write(tmp_path / "pairs.arrow", pairs_from_rows(true))
    made = {"un": "Blue", "deux": "green tea", "trois": "red"}

    def translate(texts: list[str]) -> list[Translation]:
        return [Translation(text, (Candidate(made[text], -1.0, -1.0, (), (), None, True),)) for text in texts]

    notes: list[str] = []
    remake = BackTranslation(
        translate, PairsFile(tmp_path / "made.tsv", {}), tmp_path / "texts", ReadOptions(), repeat=2
    )
    held_out = [store.select([1]), store.select([2])]
    rows = list(remake(store.select([0]), held_out, lambda event: notes.append(getattr(event, "text", ""))))
    assert rows == [("red", "rouge")] * 2 + [("red", "trois")]
    assert notes[-2:] == [
        "left out 2 made pairs whose source is in dev or test",
        "training on 1 true pair, 2 times, and 1 made ones (33%)",
    ]
    assert (remake.facts()["shared"], remake.facts()["leaked"], remake.facts()["pairs"]) == (2, 1, 3)


def test_what_is_read_is_not_replaced_by_what_is_made_of_it(place: Path, tmp_path: Path) -> None:
    pairs, texts = tmp_path / "pairs.tsv", tmp_path / "texts.txt"
    pairs.write_bytes((place / "pairs.tsv").read_bytes())
    texts.write_text("blau\n", encoding="utf-8")
    before = pairs.read_bytes()
    with pytest.raises(StorageError, match="is one of the files that are read"):
        dragoman.distill(place / "teacher", pairs, write=pairs, overwrite=True)
    for written in (pairs, texts):
        with pytest.raises(StorageError, match="is one of the files that are read"):
            dragoman.backtranslate(place / "reverse", texts, pairs, write=written, overwrite=True)
    assert (pairs.read_bytes(), texts.read_text(encoding="utf-8")) == (before, "blau\n")


def test_sampled_back_translations_follow_the_seed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("".join(f"{target}\n" for _, target in colours()), encoding="utf-8")
    words = ["backtranslate", place / "reverse", tmp_path / "texts.txt", place / "pairs.tsv", *MACHINE]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run(*words, "--method", "sample", "--seed", seed, "--write", tmp_path / name) == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert dict(map(reversed, rows(tmp_path / "a"))) != dict(map(reversed, rows(tmp_path / "c")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["distill", "{}/teacher", "{}/pairs.tsv"], "--out is missing, or --write to make pairs and train nothing"),
        (["distill", "{}/teacher", "--out", "{}/m"], "PAIRS is missing; for example: dragoman distill"),
        (["distill", "{}/techer", "{}/pairs.tsv", "--out", "{}/m"], 'there is no model at .*did you mean "teacher"'),
        (
            ["backtranslate", "{}/reverse", "{}/empty.txt", "{}/pairs.tsv", "--out", "{}/m"],
            "has no line to translate back",
        ),
        (["backtranslate", "{}/reverse", "-", "{}/pairs.tsv", "--out", "{}/m"], "TEXTS must be a file"),
        (
            ["backtranslate", "{}/reverse", "{}/none.txt", "{}/pairs.tsv", "--out", "{}/m"],
            "none.txt",
        ),
        (
            ["distill", "{}/teacher", "{}/pairs.tsv", "--write", "{}/pairs.tsv"],
            "pairs.tsv is one of the files that are read",
        ),
        *(
            (["distill", "{}/teacher", "{}/pairs.tsv", "--out", "{}/m", *words], message)
            for words, message in (
                (["--jamo"], "--jamo needs Hangul"),
                (["--tokenizer", "char", "--subword-dropout", "0.1"], "--subword-dropout needs the tokenizer bpe"),
                (["--shared-vocabulary", "--target-tokenizer", "features"], "--shared-vocabulary needs one source"),
                (["--no-shared-vocabulary", "--tie-embeddings", "all"], "--tie-embeddings all needs one vocabulary"),
            )
        ),
        (
            ["distill", "{}/teacher", "{}/pairs.tsv", "--out", "{}/m", "--write", "{}/m"],
            "--write and --out must be different, but both are .*m",
        ),
        (
            ["distill", "{}/teacher", "{}/pairs.tsv", "--write", "{}/made.csv"],
            "--write writes TSV, but .* is csv by its name",
        ),
        (["distill", "{}/teacher", "{}/pairs.tsv", "--write", "{}/no/made.tsv"], "there is no directory .*no"),
        (["distill", "{}/teacher", "{}/pairs.tsv", "--out", "{}/reverse"], "reverse exists; choose another --out"),
        (
            ["backtranslate", "{}/reverse", "{}/pairs.tsv", "{}/pairs.tsv", "--out", "{}/m", "--repeat", "0"],
            "--repeat must be",
        ),
        (
            ["distill", "{}/teacher", "{}/pairs.tsv", "--write", "{}/made.tsv", "--layers", "1"],
            "--layers is for training, but without --out nothing is trained: leave it out, or give --out",
        ),
        (
            ["backtranslate", "{}/reverse", "{}/pairs.tsv", "{}/pairs.tsv", "--write", "{}/made.tsv", "--repeat", "2"],
            "--repeat is for training, but without --out nothing is trained",
        ),
    ],
)
def test_errors_are_one_line_and_leave_nothing(
    place: Path, capfd: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    (place / "empty.txt").write_text("\n\n")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    capfd.readouterr()
    assert run(*(word.format(place) for word in words), *MACHINE) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("dragoman: error: ")
    assert re.search(message, last), last
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_a_reverse_model_reads_one_column(
    inflecting: Path, place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["backtranslate", inflecting, place / "pairs.tsv", place / "pairs.tsv", "--write", tmp_path / "made.tsv"]
    assert run(*words, *MACHINE) == 2
    assert f"{inflecting} must have one source column, which reads TEXTS, but has 2" in capfd.readouterr().err


def fake(texts: list[str]) -> list[Translation]:
    """Says every text backwards, twice as samples may; nothing for x, only cut outputs for y."""
    found = []
    for text in texts:
        finished, said = text != "y", "" if text == "x" else text[::-1]
        found.append(Translation(text, (Candidate(said, -1.0, -1.0, (), (), None, finished),) * 2))
    return found


def fill(path: Path, texts: list[str], *, overwrite: bool = False, **maker: Any) -> tuple[PairsFile, list[Event]]:
    seen: list[Event] = []
    file = PairsFile(path, maker, overwrite=overwrite)
    given: Iterator[str] = iter(())

    def each() -> Iterator[str]:
        nonlocal given
        given = iter(texts)
        return given

    file.fill(each, fake, swapped=False, total=None, listener=seen.append)
    return file, seen


def test_texts_without_an_output_are_counted_and_columns_stay_together(tmp_path: Path) -> None:
    file, seen = fill(tmp_path / "made.tsv", ["ab\tcd", "x", "y", "ef"])
    assert (file.made.texts, file.made.pairs, file.made.without_output) == (4, 2, 2)
    assert seen[-1] == Stage("translating", 4, 4, "text"), "pairs are what came of them"
    assert list(file.pairs()) == [("ab\tcd", "dc ba"), ("ef", "fe")]


def test_a_file_of_other_texts_or_models_is_left_alone_unless_it_may_go(tmp_path: Path) -> None:
    path = tmp_path / "made.tsv"
    fill(path, ["ab", "cd"], search=1)
    for texts, maker in ((["ab"], 1), (["ab", "cd", "ef"], 1), (["ab", "ce"], 1), (["ab", "cd"], 2)):
        before = path.read_bytes()
        with pytest.raises(
            StorageError, match="exists, and is not what these models and this search make of these texts"
        ):
            fill(path, texts, search=maker)
        assert path.read_bytes() == before
        file, _ = fill(path, texts, search=maker, overwrite=True)
        assert [source for source, _ in file.pairs()] == texts
        fill(path, ["ab", "cd"], search=1, overwrite=True)
    _, seen = fill(path, ["ab", "cd"], search=1)
    assert [event.text for event in seen if isinstance(event, Note)] == [f"using the pairs that {path} holds already"]


def test_a_work_that_was_begun_is_left_alone_by_other_texts_or_models_unless_it_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, texts, said = tmp_path / "made.tsv", ["ab", "cd", "ef"], fake
    monkeypatch.setattr(synthetic, "CHUNK", 2)

    def interrupted(texts: list[str]) -> list[Translation]:
        if "ef" in texts:
            raise KeyboardInterrupt
        return said(texts)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "fake", interrupted)
        with pytest.raises(Interrupted):
            fill(path, texts, search=1)
    kept = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for others, maker in ((texts, 2), (["ab", "ce", "ef"], 1), (["ab"], 1)):
        with pytest.raises(StorageError, match=r"made\.tsv\.part has 2 texts of other models, another search or other"):
            fill(path, others, search=maker)
        assert {file: file.read_bytes() for file in tmp_path.iterdir()} == kept
        file, _ = fill(path, others, search=maker, overwrite=True)
        assert [source for source, _ in file.pairs()] == others
        path.unlink()
        for name, content in kept.items():
            name.write_bytes(content)
    _, seen = fill(path, texts, search=1)
    assert next(event.text for event in seen if isinstance(event, Note)).startswith(
        "going on after 2 texts translated already"
    )
    path.unlink()
    for name, content in kept.items():
        name.write_bytes(content)
    (tmp_path / "made.tsv.part").unlink()  # the way out
    file, _ = fill(path, texts, search=2)
    assert file.made.complete


def test_a_work_that_was_killed_when_its_file_had_just_got_its_name_is_not_done_again(tmp_path: Path) -> None:
    path, notes = tmp_path / "made.tsv", tmp_path / "made.tsv.json"
    fill(path, ["ab", "cd"])
    complete = json.loads(notes.read_text())
    notes.write_text(json.dumps({**complete, "complete": False}))  # of before the name
    _, seen = fill(path, ["ab", "cd"])
    assert [event.text for event in seen if isinstance(event, Note)] == [f"using the pairs that {path} holds already"]
    with pytest.raises(StorageError, match="exists, and is not what these models"):  # of texts that were never there
        fill(path, ["ab", "cd", "ef"])


def test_two_processes_never_make_the_same_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meddling(texts: list[str]) -> list[Translation]:
        with monkeypatch.context() as patch:
            patch.setattr(sys.modules[__name__], "fake", said)
            with pytest.raises(StorageError, match=r"made\.tsv\.part is being written by another process"):
                fill(tmp_path / "made.tsv", ["ab", "cd", "ef"])
        return said(texts)

    said = fake
    monkeypatch.setattr(synthetic, "CHUNK", 2)
    monkeypatch.setattr(sys.modules[__name__], "fake", meddling)
    file, _ = fill(tmp_path / "made.tsv", ["ab", "cd", "ef"])
    assert list(file.pairs()) == [("ab", "ba"), ("cd", "dc"), ("ef", "fe")]


def test_pairs_are_kept_from_other_processes_until_they_have_their_name(tmp_path: Path) -> None:
    path, part = tmp_path / "made.tsv", tmp_path / "made.tsv.part"

    def watching(event: Event) -> None:
        if event == Stage("translating", 2, 2, "text"):  # all is there, under the name of a part still
            with part.open("rb") as other:
                assert lock(other) is False, "another process could cut it off"

    file = PairsFile(path, {})
    file.fill(lambda: iter(["ab", "cd"]), fake, swapped=False, total=None, listener=watching)
    assert list(file.pairs()) == [("ab", "ba"), ("cd", "dc")]


def test_pairs_that_find_the_disk_full_go_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "CHUNK", 100)
    path, texts = tmp_path / "made.tsv", [f"text {i}" for i in range(400)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, before[1]))
        with pytest.raises(
            StorageError, match=r"no space left on the disk for .*made\.tsv\.part; what is certain is kept"
        ):
            fill(path, texts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file, seen = fill(path, texts)
    assert any("going on after 200 texts" in event.text for event in seen if isinstance(event, Note))
    assert list(file.pairs()) == [(text, text[::-1]) for text in texts]


def test_when_every_output_is_empty_that_is_the_error(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dragoman.Translator, "translate", lambda _, texts, **__: fake(["x"] * len(texts)))
    with pytest.raises(DataError, match=r"none of \d+ texts gave an output that can be trained on"):
        dragoman.distill(place / "teacher", place / "pairs.tsv", write=tmp_path / "made.tsv")

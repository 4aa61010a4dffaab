"""Scoring given pairs, evaluating in detail: what the commands that measure show is what the model says."""

from __future__ import annotations

import gc
import json
import math
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tiny import PAIRS, TINY

import dragoman
from dragoman.cli import main, progress
from dragoman.cli import score as command
from dragoman.cli.pairs import read_items
from dragoman.config import ReadOptions, TrainOptions
from dragoman.corpus.tokenization import UNK
from dragoman.errors import OptionError
from dragoman.evaluation import metrics
from dragoman.evaluation.forcing import force
from dragoman.training.seen import seen_in_training, words_in_training
from dragoman.translation.scoring import perplexity_of
from dragoman.translator import Candidate, ScoredPair, Translation, Translator

SHORT = ["--max-length", "6", "--beam-size", "2"]


@pytest.fixture(scope="module")
def translator(trained: Path) -> Translator:
    return dragoman.load(trained, device="cpu", threads=1)


@pytest.fixture(scope="module")
def other(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another tiny model, of another seed and the same vocabulary, chosen by exact match as models of words are."""
    path = tmp_path_factory.mktemp("other") / "model"
    given = ["--seed", "2", "--split-seed", "1", "--metric", "exact_match"]
    assert main(["train", str(trained.parent / "pairs.tsv"), "--out", str(path), *TINY, *given]) == 0
    return path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    def words(*given: object, code: int = 0) -> tuple[str, str]:
        capfd.readouterr()
        found = main([str(word) for word in given])
        shown = capfd.readouterr()
        assert found == code, shown.err
        return shown.out, shown.err

    return words


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text(
        "source 3 of many\tcible 3 de tant\nsource 3 of many\tautre\n\tx\nsource 4\tcible\n", encoding="utf-8"
    )
    return path


def test_options_of_a_file_that_would_change_nothing_are_refused(trained: Path, pairs: Path, run: Any) -> None:
    told = run("evaluate", trained, "--source", 2, code=2)[1]
    assert "--source tells how a file is read, but the test part that the model's training held out is taken" in told
    assert "--group-by is for training" in run("score", trained, pairs, "--group-by", 1, code=2)[1]


def test_of_long_pairs_few_are_scored_at_once(
    trained: Path, pairs: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (("score", trained, pairs), ("evaluate", trained, pairs, "--details", *SHORT))
    expected = [run(*words)[0] for words in commands]
    most: list[int] = []
    plain = Translator.score

    def score(translator: Translator, sources: Any, targets: Any) -> Any:
        most.append(len(sources))
        return plain(translator, sources, targets)

    monkeypatch.setattr(Translator, "score", score)
    monkeypatch.setattr("dragoman.translation.batches.WINDOW_CHARACTERS", 20)
    assert [run(*words)[0] for words in commands] == expected
    assert max(most) == 1


def test_sources_without_an_output_are_not_counted_as_wrong_in_silence(trained: Path, pairs: Path, run: Any) -> None:
    limits = ("--min-length-ratio", 1, "--max-length", 3)  # "source 3 of many" has more tokens than that
    warning = "1 of 2 sources has no output, which counts as an empty one: the shortest output allowed"
    assert warning in run("evaluate", trained, pairs, *limits)[1]
    assert run("compare", trained, trained, pairs, *limits, "--resamples", 9)[1].count(warning) == 2
    assert "no output" not in run("evaluate", trained, pairs, *SHORT)[1]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["evaluate", "MODEL", "PAIRS", *SHORT], ["translating: 2 of 2 sources"]),
        (
            ["evaluate", "MODEL", "PAIRS", *SHORT, "--details"],
            [
                "translating: 2 of 2 sources",
                "scoring the references: 3 of 3 references",
                "counting the words of training: 1 target",
            ],
        ),
        (["compare", "MODEL", "MODEL", "PAIRS", *SHORT, "--resamples", 9], ["translating: 2 of 2 sources"] * 2),
        (["calibrate", "MODEL", "HALF_RIGHT", "--choices", "ANSWER"], ["translating: 40 of 40 sources"]),
        (["gap", "MODEL", "PAIRS"], ["translating: 2 of 2 sources"]),
        (["score", "MODEL", "PAIRS"], ["scoring: 3 pairs"]),
        (["check", "PAIRS"], ["checking: 3 pairs"]),
    ],
    ids=lambda value: " ".join(map(str, value[:1])) if isinstance(value, list) else "",
)
def test_what_takes_long_shows_how_far_it_is(
    words: list[object],
    shown: list[str],
    trained: Path,
    pairs: Path,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    answer, half_right = tmp_path / "answer.txt", tmp_path / "half_right.tsv"
    answer.write_text("cible 1\n", encoding="utf-8")
    half_right.write_text("".join(f"source {i}\tcible {1 + i % 2}\n" for i in range(40)), encoding="utf-8")
    meant = {"MODEL": model, "PAIRS": pairs, "HALF_RIGHT": half_right, "ANSWER": answer}
    given = [meant.get(str(word), word) for word in words]
    assert "/s" not in run(*given)[1], "what is done at once is not worth a line"
    monkeypatch.setattr(progress, "_WORTH_A_WORD", 0.0)
    told = [line.split(", ")[0] for line in run(*given)[1].splitlines() if "/s" in line]
    assert told == shown


def test_scores_go_to_a_file_while_the_terminal_shows_how_far_it_is(
    trained: Path, pairs: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("score", trained, pairs)[0]
    monkeypatch.setattr(progress, "_redraws", lambda: True)
    monkeypatch.setattr(progress, "console", lambda: Console(stderr=True, force_terminal=True))
    assert run("score", trained, pairs)[0] == expected


def test_one_long_text_does_not_make_the_table_of_the_worst_wide(trained: Path, run: Any, tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text(f"source 3\tautre\nsource {'3 ' * 300}\t{'autre ' * 300}\n", encoding="utf-8")
    worst = run("evaluate", trained, path, *SHORT, "--details")[0].partition("worst by")[2].splitlines()
    assert max(map(len, worst)) < 700
    assert any("…" in line for line in worst)
    facts = json.loads(run("evaluate", trained, path, *SHORT, "--details", "--json")[0])
    assert {len(each["source"]) for each in facts["details"]["worst"]} == {8, 606}


# Scoring


def test_law_4_what_translate_finds_has_the_score_that_score_gives(trained: Path, translator: Translator) -> None:
    found = translator.translate("source 3 of many", max_length=8, num_hypotheses=5)
    finished = [c for c in found.candidates if c.finished and translator.target_tokenizer.encode(c.text)]
    for candidate in finished:
        scored = translator.score("source 3 of many", candidate.text)
        if scored.tokens == candidate.tokens:
            assert scored.token_scores == pytest.approx(candidate.token_scores, abs=1e-4)
    ids = [
        translator.source_tokenizer.encode("source 3 of many"),
        translator.target_tokenizer.encode("cible 9 de tant"),
    ]
    forced = force(translator.model, ids[:1], ids[1:])[0]
    exact = dragoman.load(trained, device="cpu", threads=1, precision="float32")
    assert exact.score("source 3 of many", "cible 9 de tant").token_scores == pytest.approx(
        forced.log_probs.tolist(), abs=1e-4
    )


def test_scores_do_not_depend_on_what_else_is_scored(translator: Translator) -> None:
    sources = [f"source {i} of many" for i in range(9)]
    targets = [" ".join(["cible"] * (i % 4)) + f" {i}" for i in range(9)]
    together = translator.score(sources, targets)
    for pair, source, target in zip(together, sources, targets, strict=True):
        alone = translator.score(source, target)
        assert pair.token_scores == pytest.approx(alone.token_scores, abs=1e-4)
        assert (pair.source, pair.target) == (source, target)
        assert pair.attention is not None
        assert pair.attention.shape == (len(pair.tokens), len(translator.source_tokenizer.encode(source)))


def test_pairs_without_a_score_say_why(translator: Translator) -> None:
    empty, control, unknown = translator.score(["", "a", "a"], ["b", "b\x00", "日本"])
    assert (empty.token_scores, empty.warning) == ((), "source: the line is empty")
    assert control.warning == "target: control characters"
    assert math.isnan(control.score)
    assert unknown.token_scores
    count = translator.target_tokenizer.encode("日本").count(UNK)
    assert unknown.warning == f"the target has unknown tokens ({count}): the score is that of <unk>"
    assert translator.score("source 3 of many", "cible 3 de tant").warning is None
    with pytest.raises(OptionError, match="`targets` must have one entry per source, but 1 stand against 2"):
        translator.score(["a", "b"], ["c"])
    with pytest.raises(OptionError, match="must be lists of texts"):
        translator.score(["a"], "c")  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="must be lists of texts"):
        translator.score("a", ["c"])  # type: ignore[call-overload]


def test_a_pile_of_marks_is_not_normalised(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would take half a minute for the longest line."""
    targets = ["cible 3 de tant", "a" + "\u0301\u0327" * 1000]
    monkeypatch.setattr(translator.texts, "encode_targets", lambda sound: [[4]] if sound == targets[:1] else None)
    (_, pair) = translator.score(["source 3 of many"] * 2, targets)
    assert pair.warning == "target: a pile of combining marks"


def test_score_shows_each_token_and_the_perplexity_of_all(trained: Path, pairs: Path, run: Any) -> None:
    out, err = run("score", trained, pairs)
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["1", "2", "4"]
    for row in rows:
        words = row[3].split(" ")
        assert words[-2] == "</s>"
        assert sum(map(float, words[1::2])) == pytest.approx(float(row[1]), abs=0.01)
    assert "perplexity" in err
    *lines, summary = [json.loads(line) for line in run("score", trained, pairs, "--json")[0].splitlines()]
    total = sum(sum(line["token_scores"]) for line in lines)
    count = sum(len(line["token_scores"]) for line in lines)
    assert summary["summary"]["pairs"] == 3
    assert summary["summary"]["per_token"] == pytest.approx(math.exp(-total / count))
    assert [line["line"] for line in lines] == [1, 2, 4]


def test_score_of_an_ensemble_is_the_mean_of_the_probabilities(
    trained: Path, other: Path, pairs: Path, run: Any
) -> None:
    def tokens(*words: object) -> list[float]:
        lines = map(json.loads, run("score", *words, pairs, "--json")[0].splitlines())
        return [math.exp(value) for line in lines for value in line.get("token_scores", ())]

    one, two = tokens(trained), tokens(other)
    both = tokens(trained, "--ensemble", other)
    assert one != pytest.approx(two, rel=1e-3)
    assert both == pytest.approx([(a + b) / 2 for a, b in zip(one, two, strict=True)], rel=1e-4)


def test_models_of_different_vocabularies_score_no_pair_and_none_is_read(
    trained: Path, pairs: Path, tmp_path: Path, run: Any
) -> None:
    back = tmp_path / "back"
    run("train", trained.parent / "pairs.tsv", "--source", "2", "--target", "1", "--out", back, *TINY)
    err = run("score", trained, tmp_path / "missing.tsv", "--ensemble", back, code=2)[1]
    assert "has no score for a pair: ask each of its models" in err
    out, err = run("evaluate", trained, pairs, "--details", "--ensemble", back, *SHORT)
    assert "there is no perplexity" in err
    assert "by length" in out
    assert "perplexity" not in out


def test_a_pair_without_a_score_is_in_no_perplexity() -> None:
    pairs = [ScoredPair("s", text, sum(each), (), each) for text, each in (("ab", (-1.0, -2.0)), ("c", (-0.5,)))]
    without = ScoredPair("", "a very long target", math.nan, (), (), warning="source: the line is empty")
    found = perplexity_of([without, pairs[0], without, pairs[1], without])
    assert found == perplexity_of(pairs)
    assert found is not None
    assert (found.pairs, found.per_token) == (2, pytest.approx(math.exp(3.5 / 3)))
    assert found.per_character == pytest.approx(math.exp(3.5 / (3 + 2)))
    assert perplexity_of([without]) is None


def test_score_holds_no_more_pairs_than_it_scores_at_once(
    trained: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, held = command._line, []

    def watched(number: int, scored: ScoredPair, *, as_json: bool) -> str:
        held.append(sum(type(each) is ScoredPair for each in gc.get_objects()))
        return original(number, scored, as_json=as_json)

    monkeypatch.setattr(command, "_AT_ONCE", 3)
    monkeypatch.setattr(command, "_line", watched)
    path = tmp_path / "many.tsv"
    path.write_text("".join(f"source {i} of many\tcible {i} de tant\n" for i in range(24)))
    summary = json.loads(run("score", trained, path, "--json")[0].splitlines()[-1])["summary"]
    assert summary["pairs"] == len(held) == 24
    assert max(held) <= 2 * 3


# Evaluating


def test_evaluate_gives_the_perplexity_of_all_right_answers(trained: Path, pairs: Path, run: Any) -> None:
    summary = json.loads(run("score", trained, pairs, "--json")[0].splitlines()[-1])["summary"]
    facts = json.loads(run("evaluate", trained, pairs, "--details", "--json", *SHORT)[0])
    assert facts["perplexity"]["per_token"] == pytest.approx(summary["per_token"])
    assert "perplexity per character" in run("evaluate", trained, pairs, "--details", *SHORT)[0]
    assert "perplexity" not in run("evaluate", trained, pairs, *SHORT)[0]


def test_a_perplexity_of_unknown_words_comes_with_a_warning(trained: Path, tmp_path: Path, run: Any) -> None:
    path = tmp_path / "test.tsv"
    path.write_text("source 1\t\u6f22\u5b57\nsource 2\tcible\n", encoding="utf-8")
    assert "1 reference of 2 cannot be spelled" in run("evaluate", trained, path, "--details", *SHORT)[1]
    path.write_text("source 2\tcible\n", encoding="utf-8")
    assert "cannot be spelled" not in run("evaluate", trained, path, "--details", *SHORT)[1]


def test_details_are_parts_of_the_whole(trained: Path, tmp_path: Path, run: Any) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(PAIRS + "many many many many of many of many\tcible\n", encoding="utf-8")
    details = json.loads(run("evaluate", trained, path, "--json", "--details", *SHORT)[0])["details"]
    assert sum(part["items"] for part in details["by_length"]) == 41
    assert {part["label"]: part["items"] for part in details["by_source"]} == {"unseen": 5, "seen in training": 36}
    assert len(details["worst"]) == 10
    targets = [row.split("\t")[1] for row in path.read_text(encoding="utf-8").splitlines()]
    words = {part["label"]: part["words"] for part in details["by_word"]}
    assert sum(words.values()) == sum(len(text.split()) for text in targets)
    assert words["11-100 times in training"] >= len(targets)  # one word that is in all
    shown = run("evaluate", trained, path, "--details", *SHORT)[0]
    for text in ("by length", "by source", "unseen", "by word", "worst by chrF"):
        assert text in shown


def test_details_have_the_metrics_of_the_whole(
    trained: Path, tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TER takes too long for all sources here, but not for the few that are unseen."""
    monkeypatch.setattr(metrics, "_ter_minutes", lambda hypotheses, *_: len(hypotheses))
    (tmp_path / "test.tsv").write_text(PAIRS, encoding="utf-8")
    shown, said = run("evaluate", trained, tmp_path / "test.tsv", "--details", *SHORT)
    assert "TER" not in shown
    assert said.count("TER is left out") == 1
    assert "by source" in shown


def test_without_training_data_nobody_says_what_was_seen(translator: Translator, tmp_path: Path, run: Any) -> None:
    copy = translator.save_pretrained(tmp_path / "copy")
    ids = [translator.source_tokenizer.encode(text) for text in ("source 3 of many", "of of")]
    assert seen_in_training(dragoman.load(copy).directory, ids) is None
    assert words_in_training(dragoman.load(copy).directory, translator.target_tokenizer, writing="spaced") is None
    found = seen_in_training(translator.directory, ids)
    assert found is not None
    assert not found[1]
    assert np.any(
        [
            seen_in_training(translator.directory, [translator.source_tokenizer.encode(f"source {i} of many")])
            for i in range(4)
        ]
    )


def test_words_in_training_are_those_of_its_targets(tmp_path: Path) -> None:
    rows = [(f"source {i}", f"cible {i % 3}") for i in range(30)]
    options = TrainOptions(max_steps=1, hidden_size=8, embedding_size=8, dev=("6",), device="cpu", threads=1)  # type: ignore[arg-type]
    model = dragoman.train(rows, out=tmp_path / "model", options=options)
    found = words_in_training(model.directory, model.target_tokenizer, writing="spaced")
    assert found is not None
    assert found["cible"] == 24 == sum(found[str(i)] for i in range(3))
    assert len(found) == 4


def test_who_scores_what_was_trained_on_is_told(trained: Path, tmp_path: Path, run: Any) -> None:
    model, (path, strange) = shutil.copytree(trained, tmp_path / "model"), (tmp_path / "all.tsv", tmp_path / "new.tsv")
    path.write_text(PAIRS, encoding="utf-8")
    strange.write_text("something else\tautre\n", encoding="utf-8")
    warning = "warning: the model was trained on 36 of the 40 sources: scores on them are too high"
    assert warning in run("evaluate", model, path, *SHORT)[1]
    assert warning in run("gap", model, path)[1]
    assert "trained on" not in run("evaluate", model, strange, *SHORT)[1]
    shutil.rmtree(model / "training")
    assert "trained on" not in run("evaluate", model, path, *SHORT)[1]


def test_the_second_model_is_not_measured_unseen_on_what_it_was_trained_on(
    trained: Path, tmp_path: Path, run: Any
) -> None:
    """It would look better than one that was not, and nobody would know why."""
    model, path = shutil.copytree(trained, tmp_path / "model"), tmp_path / "all.tsv"
    path.write_text(PAIRS, encoding="utf-8")
    shutil.rmtree(model / "training")
    warning = f"warning: {trained} was trained on 36 of the 40 sources: scores on them are too high"
    few = [*SHORT, "--resamples", "2"]
    assert run("compare", model, trained, path, *few)[1].count("trained on") == 1
    assert warning in run("compare", model, trained, path, *few)[1]
    assert warning in run("compare", trained, model, path, *few)[1]
    assert warning in run("evaluate", model, path, "--ensemble", trained, *SHORT)[1]
    (model / "test.jsonl").write_text(
        json.dumps({"source": "source 3 of many", "target": "a"}) + "\n", encoding="utf-8"
    )
    seen = f"{trained} was trained on 1 of the 1 source"
    assert seen in run("compare", model, trained, *few)[1]
    assert seen in run("evaluate", model, "--ensemble", trained, *SHORT)[1]


# Comparing


def test_a_model_is_no_better_than_itself(trained: Path, pairs: Path, run: Any) -> None:
    facts = json.loads(run("compare", trained, trained, pairs, "--json", "--resamples", 50, *SHORT)[0])
    assert facts["items"] == 2
    assert [each["metric"] for each in facts["comparisons"]] == ["bleu", "chrf"]
    assert not any(each["significant"] or each["difference"] for each in facts["comparisons"])
    assert {each["p_value"] for each in facts["comparisons"]} == {1.0}
    assert "no significant difference" in run("compare", trained, trained, pairs, "--resamples", 50, *SHORT)[0]


def test_a_comparison_sees_which_model_is_better(trained: Path, other: Path, tmp_path: Path, run: Any) -> None:
    sources = [f"source {i} of many" for i in range(40)]
    right = dragoman.load(trained, device="cpu", threads=1).translate(sources, max_length=6, beam_size=2)
    path = tmp_path / "test.tsv"
    path.write_text("".join(f"{each.source}\t{each.text}\n" for each in right if each.text), encoding="utf-8")
    words = (path, "--resamples", 100, *SHORT)
    assert "A is better" in run("compare", trained, other, *words)[0]
    assert "B is better" in run("compare", other, trained, *words)[0]


def test_the_metric_that_leads_in_training_leads_wherever_a_model_is_measured(
    trained: Path, other: Path, pairs: Path, run: Any
) -> None:
    for model, leading in ((trained, "bleu"), (other, "exact_match")):
        facts = json.loads(run("evaluate", model, pairs, "--json", "--details", *SHORT)[0])
        assert facts["primary"] == leading
        assert {part["primary"] for parts in ("by_length", "by_source") for part in facts["details"][parts]} == {
            leading
        }
        found = json.loads(run("compare", model, trained, pairs, "--json", "--resamples", 20, *SHORT)[0])
        assert [each["metric"] for each in found["comparisons"]] == [leading, "chrf"]


def test_a_model_is_compared_with_the_outputs_of_a_file(trained: Path, pairs: Path, tmp_path: Path, run: Any) -> None:
    own, theirs, strange = (tmp_path / name for name in ("own.jsonl", "theirs.tsv", "strange.tsv"))
    run("evaluate", trained, pairs, "--output", own, *SHORT)
    rows = [json.loads(line) for line in own.read_text(encoding="utf-8").splitlines()]
    lines = pairs.read_text(encoding="utf-8").splitlines()
    sources = [source for source in dict.fromkeys(line.split("\t")[0] for line in lines) if source]
    assert [row["source"] for row in rows] == sources
    given = dragoman.load(trained, device="cpu", threads=1).translate(sources, max_length=6, beam_size=2)
    assert [row["target"] for row in rows] == [each.text for each in given]
    out, err = run("compare", trained, own, pairs, "--json", "--resamples", 50, *SHORT)
    assert all(each["difference"] == 0 for each in json.loads(out)["comparisons"])
    for name in ("own.txt", "own.tsv", "own.csv"):  # it is what it is, whatever it is called
        own = own.rename(tmp_path / name)
        again, _ = run("compare", trained, own, pairs, "--json", "--resamples", 50, *SHORT)
        assert json.loads(again)["comparisons"] == json.loads(out)["comparisons"]
    empty = sum(not row["target"] for row in rows)
    assert ("they count as empty" in err) == (empty > 0)
    theirs.write_text(f"{sources[0]}\tsomething else\n", encoding="utf-8")  # of another system, in part
    out, err = run("compare", trained, theirs, pairs, "--resamples", 50, *SHORT)
    assert f"{theirs} has no output for {len(sources) - 1} of the {len(sources)} sources: they count as empty" in err
    several = f"{sources[0]}\tsomething else\n{sources[0]}\tcible\n{sources[0]}\tcible\n"
    theirs.write_text(several, encoding="utf-8")
    again, err = run("compare", trained, theirs, pairs, "--resamples", 50, *SHORT)
    assert again == out, "the first of several counts"
    assert f"{theirs} has other outputs for the same source in 2 rows: the first of each source counts" in err
    strange.write_text("what is\tthis\n", encoding="utf-8")
    before = list(tmp_path.iterdir())
    nowhere = tmp_path / "nowhere" / "own.jsonl"
    troubles = {
        nowhere: f"cannot be written: there is no directory {nowhere.parent}",
        tmp_path: "is a directory; give a file",
    }
    for place, trouble in troubles.items():
        assert f"{place} {trouble}" in run("evaluate", trained, pairs, "--output", place, *SHORT, code=2)[1]
    assert "no output can be named -" in run("evaluate", trained, pairs, "--output", "-", *SHORT, code=2)[1]
    assert list(tmp_path.iterdir()) == before
    assert (
        f"{strange} has no output for any of the sources" in run("compare", trained, strange, pairs, *SHORT, code=2)[1]
    )


def test_comparing_needs_at_least_one_resample(trained: Path, pairs: Path, run: Any) -> None:
    assert (
        "--resamples must be at least 1, but is 0"
        in run("compare", trained, trained, pairs, "--resamples", 0, code=2)[1]
    )


# The teacher-forcing gap


def test_the_gap_is_shown_drawn_and_told_to_programs(trained: Path, tmp_path: Path, run: Any) -> None:
    path = tmp_path / "test.tsv"
    path.write_text(PAIRS, encoding="utf-8")
    shown = run("gap", trained, path, "--svg", tmp_path / "gap.svg")[0]
    assert shown.startswith("40 sources: ")
    assert "tokens  fed the reference  fed its own words" in shown
    assert "nan" not in shown  # after everyone's first error no more of those can come
    assert (tmp_path / "gap.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")
    facts = json.loads(run("gap", trained, path, "--json", "--horizon", 3)[0])
    assert facts["sentences"] == 40
    assert len(facts["free_after_error"]) == 3
    assert facts["forced_accuracy"][0] == facts["free_accuracy"][0]  # before the first word there is nothing to be fed
    assert facts["gap"] == pytest.approx(facts["forced_total"] - facts["free_total"])
    assert "--horizon must be at least 1, but is 0" in run("gap", trained, path, "--horizon", 0, code=2)[1]


def test_right_answers_are_right_in_any_unicode_form(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `score` and `gap` read them: no output has the letters and accents apart that a file, or a Mac, may have."""
    model = dragoman.load(shutil.copytree(trained, tmp_path / "model"), device="cpu", threads=1)
    sources = [f"source {i}" for i in range(40)]
    found = [Candidate("été là", -0.1 - i / 9, -0.1, (), (-0.1,), None, True) for i in range(40)]
    said = [Translation(source, (each,)) for source, each in zip(sources, found, strict=True)]
    monkeypatch.setattr(Translator, "translate_many", lambda *_, **__: iter(said))
    answers = [[unicodedata.normalize("NFD", "\ufeffété  là" if i % 2 else "hiver")] for i in range(40)]
    assert model.evaluate(sources, answers)[0].exact_match == 50
    assert model.calibrate(sources, answers).right == 20


def test_a_file_is_measured_in_the_form_of_the_model_however_it_is_read(translator: Translator, tmp_path: Path) -> None:
    """Or some numbers of a report are of other texts than others, and what was trained on is not known again."""
    apart = unicodedata.normalize("NFD", "où est l'été\tla clé\noù est l'été\tla cl\u00e9\n")
    (tmp_path / "apart.tsv").write_text(apart, encoding="utf-8")
    found = read_items(translator, [str(tmp_path / "apart.tsv")], ReadOptions(normalization="none"))
    assert found == (["où est l'été"], [["la clé"]])


def test_of_several_right_answers_the_closest_counts(translator: Translator) -> None:
    sources = [f"source {i} of many" for i in range(5)]
    outputs = [found.text for found in translator.translate(sources, beam_size=1)]
    alone = translator.gap(sources, [[output] for output in outputs])
    among = translator.gap([*sources, ""], [*(["autre", output] for output in outputs), ["autre"]])
    assert among.as_dict() == alone.as_dict()


def test_outputs_of_several_source_columns_are_told_apart_as_they_were_written(
    inflecting: Path, tmp_path: Path, run: Any
) -> None:
    pairs, own = tmp_path / "pairs.tsv", tmp_path / "own.jsonl"
    pairs.write_text("hi\t\tone\n\thi\ttwo\na b\tc\tthree\na\tb c\tfour\n", encoding="utf-8")
    rows = [("hi\t", "one"), ("\thi", "two"), ("a b\tc", "three"), ("a\tb c", "four")]
    own.write_text("".join(f"{json.dumps({'source': a, 'target': b})}\n" for a, b in rows), encoding="utf-8")
    out, err = run("compare", inflecting, own, pairs, "--json", "--resamples", 9, *SHORT)
    assert {each["system"] for each in json.loads(out)["comparisons"]} == {100}
    assert "the first of each source counts" not in err
    own.write_text('{"source": ' + 5_000 * "[" + "\n", encoding="utf-8")
    assert f"{own} has no output for any" in run("compare", inflecting, own, pairs, *SHORT, code=2)[1]


# The model's own test part


def test_the_test_part_is_measured_with_several_source_columns(inflecting: Path, tmp_path: Path, run: Any) -> None:
    outputs = tmp_path / "outputs.jsonl"
    shown, _ = run("evaluate", inflecting, *SHORT, "--json", "--details", "--output", outputs)
    assert json.loads(shown)["items"] == 6
    assert all("\t" in json.loads(line)["source"] for line in outputs.read_text(encoding="utf-8").splitlines())
    assert "\t" not in run("evaluate", inflecting, *SHORT, "--details")[0]  # it would shift the columns of the table
    shown, _ = run("compare", inflecting, outputs, *SHORT, "--json")
    assert {each["difference"] for each in json.loads(shown)["comparisons"]} == {0}
    assert run("gap", inflecting)[0].startswith("6 sources")


def test_the_test_part_keeps_the_form_that_training_left_it_in(trained: Path, tmp_path: Path, run: Any) -> None:
    decomposed = "e\u0301"
    pairs = "".join(f"source {i}\t{decomposed} {i}\n" for i in range(40))
    (tmp_path / "pairs.tsv").write_text(pairs, encoding="utf-8")
    run("train", tmp_path / "pairs.tsv", "--out", tmp_path / "model", *TINY, "--test", 4, "--normalization", "none")
    translator = dragoman.load(tmp_path / "model")
    _, references = read_items(translator, [], ReadOptions())
    assert all(text.startswith(decomposed) for texts in references for text in texts)


def test_training_and_evaluate_give_a_test_part_with_repeated_rows_the_same_scores(tmp_path: Path, run: Any) -> None:
    """The card, the configuration and the signature say how many references there are: a repeated target is one."""
    held_out = tmp_path / "test.tsv"
    held_out.write_text(
        "source 1 and\tcible 1\nsource 1 and\tcible 1\nand 2\tcible 2\nand 2\tcible 2\n", encoding="utf-8"
    )
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    run("train", tmp_path / "pairs.tsv", "--out", tmp_path / "model", *TINY, "--test", held_out)
    given = dragoman.load(tmp_path / "model").config["scores"]["test"]
    found = json.loads(run("evaluate", tmp_path / "model", "--engine", "torch", "--json")[0])
    assert (given["items"], given["references"]) == (found["items"], found["references"]) == (2, 2)
    assert given["signatures"]["bleu"] == found["signatures"]["bleu"]
    assert found["rows"] == 4


def test_a_damaged_test_part_is_an_error(inflecting: Path, tmp_path: Path, run: Any) -> None:
    shutil.copytree(inflecting, tmp_path / "model")
    (tmp_path / "model" / "test.jsonl").write_text('{"source": "a\\tb"}\n', encoding="utf-8")
    _, shown = run("evaluate", tmp_path / "model", code=2)
    assert f"{tmp_path / 'model' / 'test.jsonl'} is damaged: KeyError" in shown


@pytest.mark.parametrize(
    ("part", "wrong"),
    [("data", {"read": {"name": "a"}}), ("command", 7), ("scores", {"dev": None}), ("run", {"steps": 1})],
)
def test_what_info_cannot_show_is_an_error_of_one_line(
    inflecting: Path, tmp_path: Path, run: Any, part: str, wrong: object
) -> None:
    shutil.copytree(inflecting, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text(encoding="utf-8")) | {part: wrong}), encoding="utf-8")
    _, shown = run("info", tmp_path / "model", code=2)
    assert f"{tmp_path / 'model'}: config.json is damaged: " in shown
    assert shown.count("\n") == 1

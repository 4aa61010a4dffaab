"""Choosing among what a search found: likeness, a reverse model, ensembles, confidence; each shows its effect on a tiny model."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import sacrebleu
from tiny import PAIRS, TINY

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions
from dragoman.errors import DataError, OptionError, StorageError
from dragoman.evaluation.calibration import Calibrator, fit_calibrator, reliability
from dragoman.translation.calibrating import calibrate
from dragoman.translation.choosing import (
    UNREADABLE,
    by_all_models,
    by_likeness,
    by_reverse_model,
    each_text_once,
    utility,
    with_confidence,
)
from dragoman.translation.job import Job
from dragoman.translation.outputs import Candidate, Translation
from dragoman.translator import Translator

SOURCES = [f"source {i} of many" for i in range(12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models with the same vocabularies and different seeds, and one in the other direction."""
    folder = tmp_path_factory.mktemp("choosing")
    (folder / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    (folder / "back.tsv").write_text(
        "".join("\t".join(r.split("\t")[::-1]) + "\n" for r in PAIRS.splitlines()), encoding="utf-8"
    )
    size = [*TINY[: TINY.index("--dev")], "--dev", str(folder / "pairs.tsv"), *TINY[TINY.index("--dev") + 2 :]]
    for name, file, seed in (("one", "pairs", "1"), ("two", "pairs", "2"), ("back", "back", "1")):
        words = [str(folder / f"{file}.tsv"), "--out", str(folder / name), *size, "--seed", seed]
        if name == "back":
            words[words.index("--dev") + 1] = str(folder / "back.tsv")
        assert main(["train", *words]) == 0
    return folder


@pytest.fixture(scope="module")
def translator(folder: Path) -> Translator:
    return dragoman.load(folder / "one", device="cpu", threads=1)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Any:
    def words(*given: object, code: int = 0) -> tuple[str, str]:
        capfd.readouterr()
        found = main([str(word) for word in given])
        shown = capfd.readouterr()
        assert found == code, shown.err
        return shown.out, shown.err

    return words


def sure(model: Path, copy: Path) -> Path:
    """A copy of a model with a calibration that changes nothing."""
    shutil.copytree(model, copy)
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    stored = {"calibration": {"a": 1.0, "b": 1.0, "c": 0.0}}
    (copy / "config.json").write_text(json.dumps(config | stored), encoding="utf-8")
    return copy


def candidate(text: str, score: float, *, finished: bool = True) -> Candidate:
    return Candidate(text, score, score, (), (), None, finished)


def test_likeness_prefers_the_common_ground_and_cut_outputs_come_last() -> None:
    found = [
        candidate("xyz", -0.1),
        candidate("abc d", -2.0),
        candidate("abc e", -2.1),
        candidate("abc d e", -1.9, finished=False),
    ]
    options = SearchOptions(method="sample", rerank="mbr", num_hypotheses=4)
    texts = [each.text for each in by_likeness(found, options, writing="spaced")]
    assert texts[-1] == "abc d e"
    assert texts[-2] == "xyz"
    assert by_likeness([], SearchOptions(rerank="mbr"), writing="spaced") == []  # a source that cannot be used
    # An n-best list is weighted by its probabilities: here the first has nearly all.
    sure = [candidate("xyz", -0.1), candidate("abc", -20.0), candidate("abd", -20.0)]
    assert by_likeness(sure, SearchOptions(rerank="mbr"), writing="spaced")[0].text == "xyz"


def test_a_text_that_was_cut_and_found_whole_is_a_whole_one() -> None:
    """Other tokens may spell the same text, so that one has room for its end and the other has not."""
    cut, whole, other = candidate("abc", -1.0, finished=False), candidate("abc", -2.0), candidate("xyz", -3.0)
    options = SearchOptions(method="sample", rerank="mbr", num_hypotheses=3)
    chosen = by_likeness([cut, whole, other, whole], options, writing="spaced")
    assert [(each.text, each.score, each.finished) for each in chosen] == [("abc", -2.0, True), ("xyz", -3.0, True)]
    scores = [{"abc": -0.5, "xyz": -1.0}] * 2
    assert [each.score for each in by_all_models([[cut, other], [whole]], scores)] == [-2.0, -3.0]


@pytest.mark.parametrize("name", ["chrf", "bleu", "edit"])
def test_every_utility_likes_a_text_best_itself(name: str) -> None:
    like = utility(name, "spaced")
    assert like("il est là", "il est là") > like("il est", "il est là") > like("tu", "il est là")


def test_utilities_are_the_metrics_that_they_are_called_after() -> None:
    text, right = "il est la maintenant", "il est là"
    assert utility("chrf", "spaced")(text, right) == sacrebleu.sentence_chrf(text, [right]).score
    assert utility("bleu", "spaced")(text, right) == sacrebleu.sentence_bleu(text, [right]).score
    assert utility("bleu", "unspaced")(text, right) == sacrebleu.sentence_bleu(text, [right], tokenize="char").score
    assert utility("edit", "spaced")(text, right) == -2
    assert utility("edit", "unspaced")(text, right) == -11


def test_the_reverse_model_takes_the_advantage_from_what_fits_everything() -> None:
    found = [
        candidate("I do not know.", -0.5),
        candidate("It is in Paris.", -0.9),
        candidate("cut", 0.0, finished=False),
    ]
    reverse = [-6.0, -1.0, 0.0]
    texts = [each.text for each in by_reverse_model(found, reverse, SearchOptions(reverse_weight=0.1))]
    assert texts == ["It is in Paris.", "I do not know.", "cut"]
    assert by_reverse_model(found, reverse, SearchOptions()) == by_reverse_model(
        found, reverse, SearchOptions(reverse_weight=0.5)
    )
    again = [*found, candidate("It is in Paris.", -0.8), candidate("cut", -9.0)]  # as samples are, and other spellings
    once = by_reverse_model(again, [*reverse, -1.0, 0.0], SearchOptions(reverse_weight=0.1))
    assert [(each.text, each.normalized_score) for each in once] == [
        ("It is in Paris.", -0.8),
        ("I do not know.", -0.5),
        ("cut", -9.0),
    ]
    same = by_reverse_model(found, reverse, SearchOptions(reverse_weight=0.0))
    assert [each.text for each in same] == [each.text for each in found]


def test_a_text_that_a_beam_spelled_in_two_ways_is_one_candidate(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def candidate(text: str, score: float, *tokens: str) -> Candidate:
        return Candidate(text, score, score, tokens, (score,), None, finished=True)

    found = (candidate("ab", -1.0, "ab"), candidate("ac", -2.0, "ac"), candidate("ab", -3.0, "a", "b"))
    once = each_text_once(Translation("s", found), SearchOptions())
    assert once.candidates == found[:2]
    samples = each_text_once(Translation("s", found), SearchOptions(method="sample"))
    assert samples.candidates == found

    monkeypatch.setattr(translator.target_tokenizer, "decode", lambda _: "the same")
    options = SearchOptions(num_hypotheses=5, max_length=4)
    listed, traced = translator.translate(SOURCES[0], options=options), translator.trace(SOURCES[0], options=options)
    assert [len(each.candidates) for each in (listed, traced.translation)] == [1, 1]


def test_reranking_chooses_among_what_the_search_found(translator: Translator) -> None:
    options = SearchOptions(beam_size=6, num_hypotheses=6, max_length=6)
    every = translator.translate(SOURCES, options=options)
    chosen = translator.translate(SOURCES, options=options.model_copy(update={"rerank": "mbr", "num_hypotheses": 1}))
    for all_of_it, best in zip(every, chosen, strict=True):
        assert len(best.candidates) == 1
        assert best.text in [each.text for each in all_of_it.candidates]
        assert best.candidates[0].choice_score is not None
        assert best.candidates[0].as_dict()["choice_score"] == best.candidates[0].rank


def test_a_reverse_model_scores_every_output(folder: Path, run: Any) -> None:
    words = [*SOURCES[:3], "--max-length", 6, "--json", "--num-hypotheses", 5]
    backwards = dragoman.load(folder / "back", device="cpu", threads=1)
    forward = dragoman.load(folder / "one", device="cpu", threads=1)
    for line in run("translate", folder / "one", "--reverse", folder / "back", "--reverse-weight", 2, *words)[
        0
    ].splitlines():
        found = json.loads(line)
        for each in found["candidates"]:
            scored = backwards.score(each["text"], found["source"])
            expected = scored.normalized_score if scored.token_scores else UNREADABLE
            assert each["choice_score"] == pytest.approx(each["normalized_score"] + 2 * expected, abs=1e-3)
        finished = [each["choice_score"] for each in found["candidates"] if each["finished"]]
        assert finished == sorted(finished, reverse=True)
    assert forward.translate(SOURCES[0]).candidates[0].choice_score is None


def test_an_output_that_the_reverse_model_cannot_read_is_no_reason_to_choose_it(folder: Path) -> None:
    both = dragoman.load(folder / "one", device="cpu", threads=1, reverse=folder / "back")
    options = SearchOptions(beam_size=100, num_hypotheses=100, max_length=1, reverse_weight=2.0)
    found = both.translate(SOURCES[0], options=options).candidates
    empty = next(each for each in found if each.finished)
    assert empty.text == ""
    assert empty.choice_score == empty.normalized_score + 2 * UNREADABLE


@pytest.mark.parametrize("options", [{"rerank": "mbr"}, {}])
def test_that_an_output_was_cut_is_said_of_the_one_that_was_chosen(folder: Path, options: dict[str, Any]) -> None:
    """Among samples the first may be cut, and is never the best if another ended by itself."""
    more = {} if options else {"reverse": folder / "back"}
    model = dragoman.load(folder / "one", device="cpu", threads=1, **more)
    drawn = SearchOptions(method="sample", num_candidates=8, max_length=8, **options)
    found = model.translate(SOURCES, options=drawn)
    ended = [each.candidates[0].finished for each in found]
    assert [each.warning for each in found] == [
        None if whole else "the output was cut at the maximum length" for whole in ended
    ]
    model.reverse = None
    first = model.translate(SOURCES, options=SearchOptions(method="sample", max_length=8))
    assert any(whole and each.warning for whole, each in zip(ended, first, strict=True))


def test_a_reverse_model_that_reads_several_columns_is_refused(folder: Path, inflecting: Path, run: Any) -> None:
    """It could read no output, and so would change nothing."""
    words = ["translate", folder / "one", SOURCES[0], "--reverse", inflecting, "--device", "cpu", "--threads", 1]
    told = run(*words, code=2)[1]
    assert f"a --reverse model must have one source column, which reads the outputs, but {inflecting} has 2\n" in told


def test_an_ensemble_averages_and_of_one_model_twice_changes_nothing(folder: Path, translator: Translator) -> None:
    alone = translator.score(SOURCES, SOURCES)
    other = dragoman.load(folder / "two", device="cpu", threads=1).score(SOURCES, SOURCES)
    twice = dragoman.load(folder / "one", device="cpu", threads=1, ensemble=[folder / "one"]).score(SOURCES, SOURCES)
    both = dragoman.load(folder / "one", device="cpu", threads=1, ensemble=[folder / "two"]).score(SOURCES, SOURCES)
    for one, two, same, mixed in zip(alone, other, twice, both, strict=True):
        assert same.token_scores == pytest.approx(one.token_scores, abs=1e-4)
        expected = np.log((np.exp(one.token_scores) + np.exp(two.token_scores)) / 2)
        assert mixed.token_scores == pytest.approx(expected.tolist(), abs=1e-3)


def test_models_that_join_one_after_another_count_as_much_as_those_that_join_at_once(folder: Path) -> None:
    one, two = folder / "one", folder / "two"
    joined, loaded = dragoman.load(one, threads=1, ensemble=[two]), dragoman.load(one, threads=1, ensemble=[two, two])
    before = joined.translate(SOURCES)
    joined.join([dragoman.load(two, threads=1)])
    after = [each.score for each in joined.translate(SOURCES)]
    assert after == pytest.approx([each.score for each in loaded.translate(SOURCES)], abs=1e-6)
    assert after != pytest.approx([each.score for each in before], abs=1e-6)
    for mine, theirs in zip(joined.score(SOURCES, SOURCES), loaded.score(SOURCES, SOURCES), strict=True):
        assert mine.token_scores == pytest.approx(theirs.token_scores, abs=1e-6)


def test_with_the_same_split_seed_models_of_other_seeds_go_together(folder: Path, tmp_path: Path, run: Any) -> None:
    size = [*TINY[: TINY.index("--dev")], "--dev", "4", *TINY[TINY.index("--dev") + 2 :]]
    for name, seeds in {"one": ["--seed", 1], "two": ["--seed", 2, "--split-seed", 1], "other": ["--seed", 2]}.items():
        run("train", folder / "pairs.tsv", "--out", tmp_path / name, *size, *seeds)
    parts = {name: (tmp_path / name / "training/data/texts.json").read_text() for name in ("one", "two", "other")}
    assert parts["one"] == parts["two"] != parts["other"]
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in parts}
    assert weights["one"] != weights["two"]
    config = json.loads((tmp_path / "two/config.json").read_text())
    assert config["data"]["split"].endswith("seed 1")
    run("translate", tmp_path / "one", "--ensemble", tmp_path / "two", "source 3 of many")


def test_models_of_different_vocabularies_choose_among_the_outputs_of_all(folder: Path, run: Any) -> None:
    """Law: outputs are those that some model finds alone, in the order of the mean of what each model thinks of each."""
    options = SearchOptions(num_hypotheses=3, max_length=5)
    alone = [dragoman.load(folder / name, threads=1) for name in ("one", "back", "two")]
    pool = options.model_copy(update={"num_hypotheses": 5})
    listed = [each.translate(SOURCES, options=pool) for each in alone]
    words = ("translate", folder / "one", *SOURCES, "--ensemble", folder / "back", "--max-length", 5, "--json")
    out, said = run(*words, "--num-hypotheses", 3)
    assert "has another vocabulary than that of" in said
    assert "with the same --split-seed" in said
    for place, line in enumerate(out.splitlines()):
        found = json.loads(line)["candidates"]
        union = {each.text: each for lists in listed[1::-1] for each in reversed(lists[place].candidates)}
        scores = {text: np.mean([_thinks(each, SOURCES[place], text) for each in alone[:2]]) for text in union}
        for each in found:
            assert each["choice_score"] == pytest.approx(scores[each["text"]], abs=1e-3)
            assert each["tokens"] == list(union[each["text"]].tokens)
        order = sorted(scores, key=lambda text: (not union[text].finished, -scores[text]))
        assert [each["text"] for each in found] == order[:3]
    # with a third, which decides at every token with the first
    together = dragoman.load(folder / "one", threads=1, ensemble=[folder / "back", folder / "two"])
    pair = dragoman.load(folder / "one", threads=1, ensemble=[folder / "two"])
    texts = {each.text for lists in (pair.translate(SOURCES, options=pool), listed[1]) for each in lists[0].candidates}
    assert {each.text for each in together.translate(SOURCES, options=options)[0].candidates} <= texts


def test_with_best_first_models_of_different_vocabularies_find_as_many_outputs_as_the_beam_size_says(
    folder: Path,
) -> None:
    options = SearchOptions(method="best_first", max_length=2, length_penalty=0)
    one, back = (dragoman.load(folder / name, device="cpu", threads=1) for name in ("one", "back"))
    pool = options.model_copy(update={"num_hypotheses": 3})
    union = [each for model in (one, back) for each in model.translate(SOURCES[0], options=pool).candidates]
    whole = {each.text for each in union if each.finished}
    thought = {text: np.mean([_thinks(model, SOURCES[0], text) for model in (one, back)]) for text in whole}
    one.join([back])
    [best] = one.translate(SOURCES[0], options=options.model_copy(update={"beam_size": 3})).candidates
    assert best.text == max(thought, key=lambda text: thought[text])
    assert best.choice_score == pytest.approx(thought[best.text], abs=1e-3)


def test_a_source_that_one_of_several_models_cannot_read_is_left_to_the_others(
    folder: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pieces of its words are so many to a model of the other language, and none may take a neighbour's place."""
    sources = [SOURCES[0], "source of many " * 501, SOURCES[1]]
    options, pool, asked = SearchOptions(max_length=3), SearchOptions(max_length=3, num_hypotheses=5), []
    run = Job.run
    monkeypatch.setattr(Job, "run", lambda job, mine, ids: asked.append(list(mine)) or run(job, mine, ids))
    job = dragoman.load(folder / "one", device="cpu", threads=1, ensemble=[folder / "back"]).job(options)
    found = job.run(sources, list(job.encode(sources).ids.values()))
    assert asked == [sources, SOURCES[:2]]
    [best] = found[1].candidates
    assert best.text in [each.text for each in translator.translate(sources[1], options=pool).candidates]
    assert best.choice_score == pytest.approx((_thinks(translator, sources[1], best.text) + UNREADABLE) / 2)
    for place in (0, 2):
        [kept] = job.run(sources[place : place + 1], [job.encode(sources).ids[place]])
        assert [each.text for each in kept.candidates] == [each.text for each in found[place].candidates]


def _thinks(translator: Translator, source: str, text: str) -> float:
    scored = translator.score(source, text)
    return scored.normalized_score if scored.token_scores else UNREADABLE


def test_a_model_beside_itself_changes_nothing(
    folder: Path, translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = dragoman.load(folder / "one", device="cpu", threads=1)
    monkeypatch.setattr(Translator, "_reading", lambda self, side: ([side, id(self)], []))
    beside.join([dragoman.load(folder / "one", device="cpu", threads=1)])
    sources, options, some = [*SOURCES, "", "x" * 2000], SearchOptions(num_hypotheses=5, max_length=3), 0
    alone, both = (each.translate(sources, options=options) for each in (translator, beside))
    for mine, theirs in zip(alone, both, strict=True):
        assert theirs.warning == mine.warning
        assert {each.text for each in theirs.candidates} == {each.text for each in mine.candidates}
        finished, same = ([each.text for each in found.candidates if each.finished] for found in (mine, theirs))
        assert finished == same
        some += len(finished)
    assert some > 5


def test_what_models_of_different_vocabularies_cannot_do_together(folder: Path) -> None:
    together = dragoman.load(folder / "one", ensemble=[folder / "back"])
    for options, message in (
        (SearchOptions(rerank="mbr"), "`rerank` must not be given with an `ensemble` of different vocabularies"),
        (SearchOptions(method="sample"), "`method` must be beam or best_first, but is sample"),
        (SearchOptions(shortlist=True), "`shortlist` must not be given with an `ensemble`"),
        (SearchOptions(min_confidence=0.5), "`min_confidence` must not be given with an `ensemble`"),
    ):
        with pytest.raises(OptionError, match=message):
            together.translate("a", options=options)
    for call in (together.stream, together.trace):
        with pytest.raises(OptionError, match="of different vocabularies chooses among whole outputs"):
            call("a")
    with pytest.raises(OptionError, match="has no score for a pair"):
        together.score("a", "a")
    with pytest.raises(OptionError, match="an ensemble cannot be calibrated"):
        together.calibrate(SOURCES, [["a"]] * len(SOURCES))
    with pytest.raises(OptionError, match="an ensemble has no gap of its own: ask each of its models"):
        together.gap(SOURCES, [["a"]] * len(SOURCES))
    assert together.fingerprint != dragoman.load(folder / "one").fingerprint
    other = dragoman.load(folder / "back")
    other.config["writing"] = "symbols"
    with pytest.raises(
        OptionError, match=r"must have the same kind of target, but .*back has symbols, and .*one spaced"
    ):
        together.join([dragoman.load(folder / "back"), other])
    assert len(together.companions) == 1, "none joins if one cannot"
    (companion,) = together.companions
    for model, joining in ((together, together), (companion, together)):
        with pytest.raises(OptionError, match="must not hold the model itself, nor an ensemble that it is in"):
            model.join([joining])
    alone = dragoman.load(folder / "two")
    with pytest.raises(OptionError, match=r"`others` must be single models, but .*one is an ensemble"):
        alone.join([other, together])
    assert not alone.companions, "none joins if one cannot"
    together.reverse = other
    with pytest.raises(OptionError, match="`reverse` must not be given with an `ensemble` of different vocabularies"):
        together.translate("a")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"utility": "bleu"}, "`utility` needs `rerank` mbr"),
        ({"rerank": "mbr", "reverse_weight": 1.0}, "must not be given with `reverse_weight`"),
        ({"num_candidates": 6}, r"`num_candidates` must be at most `beam_size` \(5\), but is 6"),
        ({"num_candidates": 2, "num_hypotheses": 3}, r"at most `num_candidates` \(2\), but is 3"),
        ({"num_candidates": 2}, "`num_candidates` needs `rerank` or a `reverse` model"),
        ({"method": "best_first", "beam_size": 2}, "`beam_size` with `method` best_first needs `rerank` or a `rev"),
        ({"reverse_weight": 1.0}, "`reverse_weight` needs a `reverse` model"),
        ({"rerank": "mbr", "beam_size": 1}, "`rerank` chooses among several outputs: `beam_size` must be at least 2"),
        ({"rerank": "mbr", "num_candidates": 1}, "several outputs: `num_candidates` must be at least 2, but is 1"),
        ({"min_confidence": 0.5}, "`min_confidence` needs a calibrated model; run: dragoman calibrate"),
    ],
)
def test_contradictions_are_found_before_any_work(
    translator: Translator, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        translator.translate("a", options=SearchOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefix": "1 2", "forbid": ("2",)}, "`prefix` must not hold a phrase of `forbid`, but '1 2' holds '2'"),
        ({"require": ("1 2",), "forbid": ("2",)}, "`require` must not hold a phrase of `forbid`, but '1 2' holds '2'"),
        ({"prefix": "1 2", "max_length": 1}, "must fit into `max_length`"),
        ({"match": "1", "require": ("2",)}, "`match` must allow .* with all of `require`"),
        ({"match": "1", "min_length": 90}, "`match` must allow an output of at least `min_length`"),
        ({"require": ("1",), "method": "sample"}, "`require` needs `method` beam or best_first"),
        ({"require": ("1 1",), "no_repeat_ngram": 1}, "`require` must not repeat"),
        ({"match": "\u0436"}, "the vocabulary cannot spell any"),
        ({"forbid": ("\u0436",)}, "`forbid` must be spelled with the model's vocabulary"),
        ({"coverage_penalty": 0.2}, "`coverage_penalty` needs a model with attention, but this model has none"),
        (
            {"min_length_ratio": 2.0, "max_length_ratio": 1.5},
            r"`min_length_ratio` must be at most .* \(1.5\), but is 2",
        ),
    ],
)
def test_what_no_output_can_meet_is_found_before_there_is_a_source(
    translator: Translator, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "coverage_penalty" in options:
        monkeypatch.setitem(translator.config["architecture"], "attention", "none")
    with pytest.raises(OptionError, match=message):
        list(translator.translate_many([], options=SearchOptions(**options)))


def test_options_that_only_some_lengths_leave_room_for_are_no_error_before(translator: Translator) -> None:
    (length,) = {len(ids) for ids in translator.texts.encode_sources(SOURCES[:1]).ids.values()}
    fits = SearchOptions(match="1{3}", min_length_ratio=4 / length, max_length_ratio=4 / length)
    none, some = translator.translate(["source", SOURCES[0]], options=fits)
    assert (none.candidates, some.text) == ((), "111")
    assert "`match` must allow an output" in (none.warning or "")


def test_comparing_finds_what_the_second_model_cannot_do_before_the_first_has_begun(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sure(folder / "one", folder / "sure")
    monkeypatch.setattr(Translator, "translate", lambda *_, **__: pytest.fail("the first model has begun"))
    words = ["compare", folder / "sure", folder / "one", folder / "pairs.tsv", "--min-confidence", 0.5]
    assert "--min-confidence needs a calibrated model" in run(*words, code=2)[1]


def test_a_chat_takes_companions_and_finds_contradictions_before_anybody_speaks(
    folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*words: object, text: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        return run("chat", folder / "one", *words, code=code)

    assert "`" not in said("--min-confidence", 0.5, text="", code=2)[1]
    words = ["--reverse", folder / "back", "--reverse-weight", 9, "--ensemble", folder / "two", "--max-length", 6]
    together = dragoman.load(folder / "one", ensemble=[folder / "two"], reverse=folder / "back")
    expected = together.translate(SOURCES[3], options=SearchOptions(reverse_weight=9.0, max_length=6))
    assert said(*words, text=f"{SOURCES[3]}\n")[0] == f"{expected.text}\n"


def test_an_output_that_was_cut_has_no_confidence() -> None:
    whole, cut = candidate("a", -0.5), candidate("b", -0.1, finished=False)
    found = with_confidence(Translation("", (whole, cut)), calibrator=Calibrator(), least=0.6)
    assert [each.confidence for each in found.candidates] == [pytest.approx(np.exp(-0.5)), None]
    assert with_confidence(Translation("", (cut, whole)), calibrator=Calibrator(), least=0.1).candidates == ()


def test_calibrating_keeps_a_calibrator_and_makes_confidences(folder: Path, tmp_path: Path, run: Any) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "one", model)
    (tmp_path / "answers.txt").write_text("".join(f"cible {i} de tant\n" for i in range(4)), encoding="utf-8")
    short = ("--choices", tmp_path / "answers.txt")
    assert "confidence" not in json.loads(run("translate", model, "source 1", "--json", *short)[0])["candidates"][0]
    tests = [f"source {i} of many" for i in range(40)]
    options = SearchOptions(choices=str(tmp_path / "answers.txt"))
    usable = dragoman.load(model, device="cpu", threads=1).translate(tests, options=options)
    rows = "".join(f"{each.source}\t{each.text if i % 2 else 'wrong'}\n" for i, each in enumerate(usable))
    (tmp_path / "dev.tsv").write_text(rows, encoding="utf-8")
    shown, told = run("calibrate", model, tmp_path / "dev.tsv", "--svg", tmp_path / "c.svg", *short)
    assert "expected calibration error" in shown
    assert "fitted on half of 40 outputs, of which 20 are right" in shown
    assert "dragoman: warning: a calibration on 40 outputs is a rough guess" in told
    assert (tmp_path / "c.svg").exists()
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    kept = Calibrator(*(config["calibration"][name] for name in ("a", "b", "c")))
    best = json.loads(run("translate", model, usable[0].source, "--json", *short)[0])["candidates"][0]
    assert best["confidence"] == pytest.approx(kept.confidence(best["score"]), rel=1e-4)
    sure = best["confidence"]
    assert run("translate", model, usable[0].source, "--min-confidence", 0.99 * sure, *short)[0] != "\n"
    assert run("translate", model, usable[0].source, "--min-confidence", 1.01 * sure, *short)[0] == "\n"
    out, err = run("translate", model, usable[0].source, "--min-confidence", 1, *short)
    assert out == "\n"
    assert "not sure enough: the confidence is" in err
    assert run("translate", model, usable[0].source, "--min-confidence", 0, *short)[0] == f"{usable[0].text}\n"


def test_a_temperature_of_an_older_version_is_no_calibration_until_it_is_made_anew(
    folder: Path, tmp_path: Path, run: Any
) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder / "one", model)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"calibration": {"temperature": 2.0}}), encoding="utf-8")
    error = run("translate", model, "source 1", "--min-confidence", 0.5, code=2)[1]
    assert "--min-confidence needs a model calibrated anew" in error
    assert f"run: dragoman calibrate {model} DEV.tsv" in error
    assert "confidence" not in json.loads(run("translate", model, "source 1", "--json")[0])["candidates"][0]


def calibrated(translator: dragoman.Translator, folder: Path) -> SearchOptions:
    """Calibrate a model, and return the search that it is calibrated for."""
    (folder / "answers.txt").write_text("cible 1 de tant\ncible 2 de tant\n", encoding="utf-8")
    options = SearchOptions(choices=str(folder / "answers.txt"))
    outputs = translator.translate(SOURCES * 2, options=options)
    answers = [["wrong" if i % 3 else each.text] for i, each in enumerate(outputs)]
    translator.calibrate(SOURCES * 2, answers, options=options, seed=cast(Any, np.int64(1)))
    return options


def test_a_calibration_is_never_kept_with_other_weights(folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folder / "one", tmp_path / "model"))
    translator = dragoman.load(model, threads=1)
    before = (model / "config.json").read_text(encoding="utf-8")
    with (model / "model.safetensors").open("r+b") as file:  # as a training that goes on replaces them
        file.seek(-1, 2)
        file.write(b"\x01")
    with pytest.raises(StorageError, match="model was replaced, moved or removed after it was loaded; load it again"):
        calibrated(translator, tmp_path)
    assert (model / "config.json").read_text(encoding="utf-8") == before


def test_a_calibration_leaves_what_was_written_of_the_model_meanwhile(folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folder / "one", tmp_path / "model"))
    translator = dragoman.load(model, threads=1)
    written = json.loads((model / "config.json").read_text(encoding="utf-8")) | {"run": {"finished": "since"}}
    (model / "config.json").write_text(json.dumps(written), encoding="utf-8")
    calibrated(translator, tmp_path)
    after = json.loads((model / "config.json").read_text(encoding="utf-8"))
    assert after.pop("calibration")["items"] == 2 * len(SOURCES)
    assert after == written


def test_a_calibration_of_other_weights_gives_no_confidence(folder: Path, tmp_path: Path) -> None:
    model = shutil.copytree(folder / "one", tmp_path / "model")
    translator = dragoman.load(model, threads=1, engine="torch")
    options = calibrated(translator, tmp_path)
    assert translator.translate(SOURCES[0], options=options).candidates[0].confidence is not None
    shutil.copyfile(folder / "two/model.safetensors", model / "model.safetensors")
    other = dragoman.load(model, threads=1, engine="torch")
    assert other.translate(SOURCES[0], options=options).candidates[0].confidence is None
    with pytest.raises(OptionError, match=r"calibrated anew \(it was trained on since\); run: dragoman calibrate"):
        other.translate(SOURCES[0], options=SearchOptions(min_confidence=0.0))


def three_answers(folder: Path) -> str:
    """A file of the outputs to choose from, each of which ends."""
    (folder / "answers.txt").write_text("".join(f"cible {i} de tant\n" for i in range(3)), encoding="utf-8")
    return str(folder / "answers.txt")


def test_a_calibration_gives_confidence_to_what_is_chosen_and_chooses_nothing(
    folder: Path, translator: Translator, tmp_path: Path
) -> None:
    model = dragoman.load(sure(folder / "one", tmp_path / "model"), device="cpu", threads=1)
    options = SearchOptions(choices=three_answers(tmp_path), rerank="mbr", num_hypotheses=2)
    for plain, found in zip(*(each.translate(SOURCES, options=options) for each in (translator, model)), strict=True):
        shown = [(each.text, each.choice_score) for each in found.candidates]
        assert shown == [(each.text, each.choice_score) for each in plain.candidates]
        assert [each.confidence for each in found.candidates] == pytest.approx(
            np.exp([c.score for c in found.candidates])
        )
        assert {each.confidence for each in plain.candidates} == {None}


def test_an_ensemble_of_calibrated_models_has_no_confidence(folder: Path, tmp_path: Path) -> None:
    together = dragoman.load(sure(folder / "one", tmp_path / "model"), threads=1, ensemble=[folder / "two"])
    options = SearchOptions(choices=three_answers(tmp_path))
    assert {each.candidates[0].confidence for each in together.translate(SOURCES, options=options)} == {None}
    with pytest.raises(OptionError, match="`min_confidence` must not be given with an `ensemble`"):
        together.translate(SOURCES, options=SearchOptions(min_confidence=0.0))


def outputs(scores: np.ndarray) -> list[Translation]:
    return [Translation("", (candidate("a", float(score)),)) for score in scores]


def test_a_calibration_is_judged_on_outputs_that_it_was_not_fitted_on() -> None:
    scores = -np.random.default_rng(1).exponential(2.0, size=400)
    right = np.random.default_rng(2).random(400) < np.exp(scores / 3)
    order = np.random.default_rng(7).permutation(400)
    fit, judge = order[::2], order[1::2]
    found = calibrate(outputs(scores), right.tolist(), seed=7)
    assert (found.items, found.right) == (400, right.sum())
    assert found.calibrator == fit_calibrator(scores[fit], right[fit])
    assert found.error_before == reliability(np.exp(scores[judge]), right[judge]).error
    assert found.error_after == reliability(found.calibrator.confidence(scores[judge]), right[judge]).error
    assert found.error_after < found.error_before
    assert sum(part.count for part in found.reliability.bins) == 200
    cut = [Translation("", (candidate("a", -0.1, finished=False),)), Translation("", ())]
    assert calibrate(outputs(scores) + cut, [*right.tolist(), False, False], seed=7).facts() == found.facts()


@pytest.mark.parametrize(("number", "told"), [(10, True), (399, True), (400, False)])
def test_a_calibration_on_few_outputs_is_said_to_be_a_guess(
    number: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    calibrate(outputs(np.linspace(-3, -0.1, number)), [i % 3 > 0 for i in range(number)])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == told
    assert all(f"on {number} outputs is a rough guess" in text and "at least 400" in text for text in warnings)


def test_a_calibration_needs_right_and_wrong_outputs(translator: Translator) -> None:
    with pytest.raises(DataError, match="at least 10 finished outputs, but there are 9"):
        calibrate(outputs(np.full(9, -1.0)), [True] * 9)
    for right in (True, False):
        kind = "right" if right else "wrong"
        with pytest.raises(DataError, match=f"in both halves, but all 5 finished outputs of one are {kind}"):
            calibrate(outputs(np.full(10, -1.0)), [right] * 10)
    with pytest.raises(DataError, match="a calibration needs"):
        translator.calibrate(SOURCES, [["nothing like it"]] * len(SOURCES))
    with pytest.raises(OptionError, match="`min_confidence` must not be given to a calibration"):
        translator.calibrate(SOURCES, [["a"]] * len(SOURCES), options=SearchOptions(min_confidence=0.1))


def test_what_cannot_keep_a_calibration_is_refused_before_any_work(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dragoman.export(folder / "two", precision="float32", bundle=tmp_path / "two.dragoman")
    before = (folder / "one/config.json").read_bytes()
    together = dragoman.load(folder / "one", ensemble=[folder / "two"])
    monkeypatch.setattr(Translator, "translate_many", None)
    with pytest.raises(OptionError, match="an ensemble cannot be calibrated"):
        together.calibrate(SOURCES, [["a"]] * len(SOURCES))
    with pytest.raises(StorageError, match="is a bundle, which only translates: calibrating needs the model directory"):
        dragoman.load(tmp_path / "two.dragoman").calibrate(SOURCES, [["a"]] * len(SOURCES))
    with pytest.raises(OptionError, match="`seed` must be at least 0, but is -1"):
        dragoman.load(folder / "one").calibrate(SOURCES, [["a"]] * len(SOURCES), seed=-1)
    assert (folder / "one/config.json").read_bytes() == before

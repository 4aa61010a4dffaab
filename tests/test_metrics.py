"""Corpus metrics, significance and breakdowns: equal to sacreBLEU's command, to brute force, and to counts done by hand."""

from __future__ import annotations

import doctest
import itertools
import json
import logging
import math
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from dragoman.errors import OptionError
from dragoman.evaluation import breakdown, metrics, significance
from dragoman.evaluation.exposure import measure_gap
from dragoman.evaluation.metrics import (
    MetricName,
    Scores,
    Writing,
    exact_match,
    exact_match_of_rows,
    exact_match_of_several,
    score,
)
from dragoman.evaluation.perplexity import perplexity
from dragoman.evaluation.references import group_references, group_rows, reference_streams

FRENCH = ["Ça va bien.", "Il n'est pas là.", "Va-t'en !", "Je suis fatigué et j'ai faim ."]
FRENCH_REFERENCES = [
    ["Tout va bien.", "Ça va bien !"],
    ["Il n'est pas là.", "Il n'est pas ici."],
    ["Allez-vous-en !", "Partez !"],
    ["J'ai faim et je suis fatigué.", "Je suis fatigué et affamé."],
]
JAPANESE = ["彼は学生です。", "雨が降っている。"]
JAPANESE_REFERENCES = [["彼は先生です。"], ["雨が降っています。"]]


def sacrebleu_command(folder: Path, hypotheses: list[str], references: list[list[str]], *flags: str) -> dict[str, dict]:
    """What `sacrebleu` prints for the same texts in files, with every digit."""
    (folder / "output.txt").write_text("".join(f"{text}\n" for text in hypotheses), encoding="utf-8")
    names = [f"reference{k}.txt" for k in range(len(references[0]))]
    for name, stream in zip(names, zip(*references, strict=True), strict=True):
        (folder / name).write_text("".join(f"{text}\n" for text in stream), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", *names, "-i", "output.txt", "-m", "bleu", "chrf", "ter", "-w", "12"]
    done = subprocess.run([*command, *flags], cwd=folder, capture_output=True, text=True, check=True)
    return {result["name"]: result for result in json.loads(done.stdout)}


@pytest.mark.parametrize(
    ("hypotheses", "references", "writing", "flags"),
    [
        (FRENCH, FRENCH_REFERENCES, "spaced", []),
        (JAPANESE, JAPANESE_REFERENCES, "unspaced", ["--tokenize", "char", "--ter-normalized", "--ter-asian-support"]),
    ],
)
def test_equals_the_sacrebleu_command_to_the_last_digit(
    tmp_path: Path, hypotheses: list[str], references: list[list[str]], writing: Writing, flags: list[str]
) -> None:
    expected = sacrebleu_command(tmp_path, hypotheses, references, *flags)
    ours = score(hypotheses, references, writing=writing)
    for name, theirs in (("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")):
        assert round(ours.value(name), 12) == expected[theirs]["score"]
        assert ours.signature(name) == expected[theirs]["signature"]
    assert 0 < ours.value("bleu") < 100


def test_fewer_references_are_padded_with_none_and_not_with_empty_texts() -> None:
    references = [["a b c d e f"], ["g h i j k", "g h i j k l"]]
    assert reference_streams(references) == [["a b c d e f", "g h i j k"], [None, "g h i j k l"]]
    # As right answers, empty texts would shorten the reference length and so lift the brevity penalty.
    scores = score(["a b c d", "g h i j k"], references)
    assert scores.bleu == pytest.approx(100 * math.exp(1 - 11 / 9))
    assert "nrefs:var" in (scores.bleu_signature or "")


def test_sacrebleu_gets_few_outputs_at_once_and_says_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sacrebleu_command(tmp_path, FRENCH, FRENCH_REFERENCES)
    monkeypatch.setattr(metrics, "_SCORED_AT_ONCE", 3)
    given, streams = [], reference_streams
    monkeypatch.setattr(metrics, "reference_streams", lambda some: given.append(len(some)) or streams(some))
    ours = score(FRENCH, FRENCH_REFERENCES, metrics=["bleu", "chrf", "ter"])
    for name, theirs in (("bleu", "BLEU"), ("chrf", "chrF2"), ("ter", "TER")):
        assert round(ours.value(name), 12) == expected[theirs]["score"]
        assert ours.signature(name) == expected[theirs]["signature"]
    assert given == [3, 1] * 3
    several = score(FRENCH, [["one"], *FRENCH_REFERENCES[1:]], metrics=["bleu"])
    assert "nrefs:var" in (several.bleu_signature or "")


def test_any_of_several_references_is_right() -> None:
    scores = score(["T AH", "M EY", "X"], [["T OW", "T AH"], ["M EY"], ["Y Z", "Y"]], writing="symbols")
    assert scores.exact_match == pytest.approx(200 / 3)
    assert scores.wer == pytest.approx(100 * 1 / 5)  # the closest: T AH (0 of 2), M EY (0 of 2), Y (1 of 1)
    assert scores.label("wer") == "symbol error rate"
    assert scores.primary == "exact_match"
    assert scores.cer is None


def test_of_equally_close_references_the_longest_counts() -> None:
    assert metrics.closest(["a"], [["a", "b"], [], ["a", "b"]]) == (1, 2, 0)


def brute_force_distance(left: str, right: str) -> int:
    if not left or not right:
        return len(left) + len(right)
    return min(
        brute_force_distance(left[1:], right) + 1,
        brute_force_distance(left, right[1:]) + 1,
        brute_force_distance(left[1:], right[1:]) + (left[0] != right[0]),
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text("ab ", max_size=5), st.lists(st.text("ab ", max_size=5), min_size=1)), min_size=1))
def test_error_rates_equal_brute_force(items: list[tuple[str, list[str]]]) -> None:
    edits = length = 0
    for hypothesis, alternatives in items:
        normal = [" ".join(text.split()) for text in alternatives]
        distances = [brute_force_distance(" ".join(hypothesis.split()), text) for text in normal]
        edits += min(distances)
        length += max(len(text) for text, d in zip(normal, distances, strict=True) if d == min(distances))
    expected = 100 * edits / length if length else (100.0 if edits else 0.0)
    rate = metrics.character_error_rate([hypothesis for hypothesis, _ in items], [texts for _, texts in items])
    assert rate == pytest.approx(expected)


def test_error_rates_by_hand() -> None:
    assert metrics.word_error_rate(["the cat sat"], [["the black cat sat"]]) == 25.0
    assert metrics.word_error_rate(["猫が"], [["猫は"]], writing="unspaced") == 50.0
    assert metrics.character_error_rate([" abc  d"], [["abd d"]]) == 20.0
    assert metrics.character_error_rate(["a"], [[""]]) == 100.0
    assert metrics.character_error_rate([""], [[""]]) == 0.0


def test_ter_divides_by_a_mean_length_below_one() -> None:
    hypotheses, references = [". . ."], [["a", ""]]
    whole = metrics.score(hypotheses, references, metrics=["ter"]).value("ter")
    assert whole == sacrebleu.corpus_ter(hypotheses, [["a"], [""]]).score == 600.0
    rows = significance.sentence_statistics("ter", hypotheses, references)
    assert significance.corpus_score("ter", rows.sum(axis=0)) == whole


def test_distinct_and_repeated_by_hand() -> None:
    replies = ["네 좋아요", "네 좋아요", "네 네 좋아요"]
    assert metrics.distinct_n(replies, 1) == pytest.approx(100 * 2 / 7)
    assert metrics.distinct_n(replies, 2) == pytest.approx(100 * 2 / 4)
    assert metrics.distinct_n(["一"], 2) == 0.0
    assert metrics.distinct_n(["猫猫"], 1, writing="unspaced") == 50.0
    assert metrics.repeated_outputs(replies) == pytest.approx(100 / 3)
    scores = score(replies, [["네"]] * 3)
    assert (scores.distinct_1, scores.distinct_2) == (metrics.distinct_n(replies, 1), metrics.distinct_n(replies, 2))
    scores = score(["猫猫"], [["猫"]], writing="unspaced")
    assert (scores.distinct_1, scores.distinct_2) == (50.0, 100.0)


def test_perplexity_by_hand() -> None:
    result = perplexity([([math.log(0.5), math.log(0.25)], "ab"), ([math.log(0.125)], "")])
    assert result.pairs == 2
    assert result.per_token == pytest.approx(2**2)
    assert result.bits_per_character == pytest.approx(6 / 4)  # a, b and two ends of text
    assert result.per_character == pytest.approx(2**1.5)


def test_a_perplexity_beyond_all_numbers_is_null() -> None:
    """JSON has no word for it that all programs read."""
    found = json.loads(json.dumps(perplexity([([-5000.0], "")]).as_dict(), allow_nan=False))
    assert (found["per_token"], found["per_character"]) == (None, None)
    assert found["bits_per_character"] == pytest.approx(5000 / math.log(2))


@dataclass(frozen=True)
class Row:
    source: str
    target: str


def test_rows_with_one_source_become_one_item() -> None:
    rows = [Row("go", "va"), Row("stop", "arrête"), Row("go ", "vas-y"), Row("go", "va"), Row("Go", "Va")]
    assert group_references(rows) == (["go", "stop", "Go"], [["va", "vas-y"], ["arrête"], ["Va"]])
    assert group_references([Row("cafe\u0301", "1"), Row("café", "2")])[1] == [["1", "2"]]
    columns = [Row("sich freuen\tV", "1"), Row("sich\tfreuen V", "2"), Row("oui\t", "3"), Row("\toui", "4")]
    assert group_references(columns) == ([row.source for row in columns], [["1"], ["2"], ["3"], ["4"]])
    assert group_references([Row("sich  freuen\tV ", "1"), columns[0]])[0] == ["sich  freuen\tV "]


def test_only_what_is_asked_for_is_computed_and_the_first_leads() -> None:
    scores = score(FRENCH, FRENCH_REFERENCES, metrics=["exact_match", "chrf"])
    assert scores.names() == ["chrf", "exact_match"]
    assert scores.primary_value == scores.chrf
    with pytest.raises(OptionError, match="`bleu` was not computed"):
        scores.value("bleu")
    scores = score(FRENCH, FRENCH_REFERENCES, metrics=["chrf"], primary="exact_match")
    assert scores.rows()[0] == ("exact match", "25.00", "")


def test_ter_is_left_out_where_it_would_hang_and_the_user_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dragoman"), "propagate", True)  # a command may have turned it off
    text = "a b " * 1500
    scores = score([text] * 20, [[text]] * 20)
    assert scores.ter is None
    assert scores.bleu == pytest.approx(100.0)
    assert "TER is left out: it could take more than 10 minutes for texts this long" in caplog.text


def test_what_was_asked_for_is_computed_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_LONGEST_TER", 0)
    for asked in (["ter"], ["bleu"]):
        assert score(FRENCH, FRENCH_REFERENCES, metrics=asked).names() == asked
    assert score(FRENCH, FRENCH_REFERENCES, primary="ter").ter is not None


def test_scores_as_dict_is_json_and_complete() -> None:
    scores = score(FRENCH, FRENCH_REFERENCES)
    again = json.loads(json.dumps(scores.as_dict()))
    assert again == scores.as_dict()
    assert set(metrics.METRICS) <= again.keys()
    assert set(again["signatures"]) == {"bleu", "chrf", "ter"}
    assert scores.rows()[0][0] == "BLEU"


def test_every_metric_of_a_perfect_output_is_perfect() -> None:
    texts = ["one two three four five", "six seven eight nine"]
    for writing, lower in itertools.product(("spaced", "unspaced", "symbols"), (True, False)):
        scores = score(texts, [[text] for text in texts], writing=writing)
        names = [n for n in scores.names() if n not in ("distinct_1", "distinct_2")]
        for name in (n for n in names if (n in metrics.LOWER_IS_BETTER) == lower):
            assert scores.value(name) == pytest.approx(0.0 if lower else 100.0), name


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([], []), {}, "`hypotheses` must not be empty: there is nothing to score"),
        ((["a"], []), {}, "`references` must have one entry per hypothesis, but 0 stand against 1"),
        ((["a", "b"], [["a"], []]), {}, "`references` must not be empty for any hypothesis, but entry 2 is"),
        ((["a"], ["a"]), {}, "`references` must be a list of texts for each hypothesis, but entry 1 is one text"),
        ((["a"], [map(str, "a")]), {}, "`references` must be a list of texts for each hypothesis, but entry 1 is <map"),
        (("a", [["a"]]), {}, "`hypotheses` must be a list of texts"),
        ((["a"], [["a"]]), {"metrics": ["blue"]}, "unknown value 'blue'; did you mean \"bleu\"?"),
        ((["a"], [["a"]]), {"primary": "blue"}, "`primary` has the unknown value 'blue'; did you mean \"bleu\"?"),
        ((["a"], [["a"]]), {"metrics": []}, "`metrics` must name at least one metric"),
        ((["a"], [["a"]]), {"writing": "space"}, "`writing` has the unknown value 'space'; did you mean \"spaced\"?"),
    ],
)
def test_mistakes_are_one_clear_line(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(OptionError) as error:
        score(*arguments, **options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_own_metrics_refuse_empty_sets_too() -> None:
    for function in (metrics.exact_match, metrics.character_error_rate, metrics.word_error_rate):
        with pytest.raises(OptionError, match="nothing to score"):
            function([], [])
    with pytest.raises(OptionError, match="nothing to score"):
        metrics.repeated_outputs([])
    with pytest.raises(OptionError, match="nothing to score"):
        metrics.distinct_n([], 1)
    with pytest.raises(OptionError, match="nothing to score"):
        perplexity([])
    with pytest.raises(OptionError, match="at least 1"):
        metrics.distinct_n(["a"], 0)


def test_what_is_no_list_of_texts_is_never_measured() -> None:
    """A text is a sequence of texts to Python: its letters would be counted as outputs."""
    right: Any = [["a b"], ["c"]]
    own = (metrics.exact_match, metrics.character_error_rate, metrics.word_error_rate, score)
    for measure in (
        *(lambda texts, f=function: f(texts, right) for function in own),
        lambda texts: metrics.distinct_n(texts, 1),
        metrics.repeated_outputs,
        lambda texts: significance.compare(texts, ["a b", "c"], right),
        lambda texts: significance.compare(["a b", "c"], texts, right),
    ):
        wrong: Any
        for wrong, trouble in (("ab", "a list of texts, but is 'ab'"), (["a b", None], "texts, but number 2 is None")):
            with pytest.raises(OptionError, match=f"`hypotheses` must be {trouble}"):
                measure(wrong)
    assert score(np.array(["a b", "d"]), right).exact_match == 50.0  # type: ignore[arg-type]


def test_metrics_are_named_in_a_list() -> None:
    wrong: Any
    for wrong, trouble in (("bleu", "a list of names, but is 'bleu'"), ([], "name at least one metric")):
        for measure in (lambda names: score(["a"], [["a"]], metrics=names), lambda names: compared(metrics=names)):
            with pytest.raises(OptionError, match=f"`metrics` must (be )?{trouble}"):
                measure(wrong)
    for options, trouble in (
        ({"seed": -1}, "`seed` must be at least 0, but is -1"),
        ({"resamples": 2.5}, "`resamples` must be a whole number, but is 2.5"),
    ):
        with pytest.raises(OptionError, match=trouble):
            compared(**options)


def compared(**options: Any) -> Any:
    return significance.compare(["a"], ["a"], [["a"]], **options)


def test_no_two_metrics_have_one_name() -> None:
    for writing in metrics.PRIMARY:
        scores = Scores(items=1, references=1, writing=writing, primary="bleu")
        assert len({scores.label(name) for name in metrics.METRICS}) == len(metrics.METRICS)
        assert scores.label("wer") == ("symbol error rate" if writing == "symbols" else "word error rate")


def test_what_counts_nothing_of_its_own_is_shown_only_if_asked_for() -> None:
    """A phone such as AH is one unit, and word errors of Japanese would be character errors under another name."""
    shown = {writing: set(score(["a b"], [["a c"]], writing=writing).names()) for writing in metrics.PRIMARY}
    assert {writing: set(metrics.METRICS) - names for writing, names in shown.items()} == {
        "spaced": set(),
        "unspaced": {"wer"},
        "symbols": {"cer"},
    }
    assert score(["猫が"], [["猫は"]], writing="unspaced", metrics=["wer"]).wer == 50.0


def test_scores_are_frozen() -> None:
    scores = Scores(items=1, references=1, writing="spaced", primary="bleu", bleu=1.0)
    with pytest.raises(AttributeError):
        scores.bleu = 2.0  # type: ignore[misc]


def made_up_systems(items: int = 120) -> tuple[list[str], list[str], list[list[str]]]:
    """Two noisy copies of references, the second less noisy."""
    random = Random(5)
    words = ["a", "b", "c", "d", "e,", "f.", "gg", "hh"]
    references = [[" ".join(random.choices(words, k=random.randint(1, 9))) for _ in range(2)] for _ in range(items)]

    def noisy(share: float) -> list[str]:
        return [
            " ".join(w if random.random() > share else random.choice(words) for w in r[0].split()) for r in references
        ]

    return noisy(0.3), noisy(0.25), references


def test_the_vectorised_scores_are_the_public_ones() -> None:
    baseline, system, references = made_up_systems()
    hypotheses = [*baseline, *system, "a b c d", "", "z", "a b c"]
    references = [*references, *references, ["a b c e f"], ["a"], ["b c"], ["a b c d e f g h"]]
    for name in significance.ADDITIVE:
        rows = significance.sentence_statistics(name, hypotheses, references)
        for part in (slice(None), slice(3), slice(-3, None), slice(-2, -1), slice(-3, -2), slice(-4, -3)):
            expected = score(hypotheses[part], references[part], metrics=[name]).value(name)
            assert significance.corpus_score(name, rows[part].sum(axis=0)) == pytest.approx(expected, abs=1e-9), name


def test_the_paired_bootstrap_is_sacrebleus() -> None:
    baseline, system, references = made_up_systems()
    ours = {
        c.metric: c for c in significance.compare(baseline, system, references, metrics=["bleu", "chrf"], resamples=300)
    }
    measures = {name.upper(): m for name, m in metrics.sacrebleu_metrics("spaced").items() if name in ours}
    streams = [list(stream) for stream in zip(*references, strict=True)]
    _, theirs = PairedTest([("a", baseline), ("b", system)], measures, streams, "bs", n_samples=300)()
    for name, key in (("bleu", "BLEU"), ("chrf", "chrF2")):
        assert ours[name].p_value == pytest.approx(theirs[key][1].p_value)
        assert ours[name].baseline == pytest.approx(theirs[key][0].score)
        assert ours[name].system == pytest.approx(theirs[key][1].score)
    assert 0.001 < ours["bleu"].p_value < 0.999


def test_resampling_in_chunks_draws_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.arange(14.0).reshape(7, 2)
    whole = significance.resampled_sums(rows, resamples=10, seed=3)
    drawn = np.random.default_rng(3).choice(7, size=(10, 7))
    assert np.allclose(whole, rows[drawn].sum(axis=1))
    monkeypatch.setattr(significance, "_CHUNK", 21)
    assert np.allclose(significance.resampled_sums(rows, resamples=10, seed=3), whole)


def test_the_interval_leaves_out_a_fortieth_on_either_side() -> None:
    baseline, system, references = made_up_systems()
    found = significance.compare(baseline, system, references, metrics=["wer"], resamples=200, seed=3)[0]
    draws = np.random.default_rng(3).choice(len(references), size=(200, len(references)))
    differences = [
        metrics.word_error_rate([system[i] for i in drawn], [references[i] for i in drawn])
        - metrics.word_error_rate([baseline[i] for i in drawn], [references[i] for i in drawn])
        for drawn in draws
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(differences, (2.5, 97.5))))
    assert found.wins == np.mean([(d < 0) + (d == 0) / 2 for d in differences])


def test_a_better_system_wins_and_the_same_system_does_not() -> None:
    _, system, references = made_up_systems()
    bad = ["z"] * len(system)
    for comparison in significance.compare(bad, system, references, metrics=significance.ADDITIVE, resamples=200):
        assert comparison.better
        assert comparison.significant
        assert comparison.wins == 1.0
        assert comparison.low <= comparison.difference <= comparison.high
    for comparison in significance.compare(system, system, references, metrics=significance.ADDITIVE, resamples=50):
        assert (comparison.difference, comparison.wins) == (0.0, 0.5)
        assert not comparison.significant
        assert not comparison.better
        assert json.loads(json.dumps(comparison.as_dict()))["significant"] is False


def test_a_difference_is_significant_only_if_both_tests_say_so() -> None:
    _, system, references = made_up_systems()
    clear = significance.compare(["z"] * len(system), system, references, metrics=["bleu"], resamples=200)[0]
    assert clear.significant
    assert not replace(clear, p_value=0.05).significant
    assert not replace(clear, low=-0.1).significant
    assert not replace(clear, low=0.0).significant
    assert replace(clear, low=0.1, high=2.0).significant
    assert replace(clear, low=-2.0, high=-0.1).significant


@pytest.mark.parametrize("metric", significance.ADDITIVE)
def test_what_chance_may_do_to_a_few_items_is_not_significant(metric: MetricName) -> None:
    """Of items that are all alike every resample has the same score, and five may be on one side by chance."""
    for better, alike in ((1, 0), (3, 0), (5, 0), (5, 100), (6, 0), (6, 100)):
        baseline, system = ["a b c d e"] * (better + alike), ["a b c d f"] * better + ["a b c d e"] * alike
        references = [["a b c d f"]] * better + [["a b c d e"]] * alike
        found = significance.compare(baseline, system, references, metrics=[metric], resamples=200)[0]
        assert (found.better, found.differing) == (True, better)
        assert found.significant == (better >= 6), (metric, better, alike)


def test_rows_count_as_often_as_they_stand_and_only_for_their_own_target() -> None:
    pairs = [Row("to", "to"), Row("to", "to"), Row("to", "tu"), Row("je", "je"), Row("ni", "ni")]
    sources, references, rows = group_rows(pairs)
    assert (sources, references) == group_references(pairs)
    assert rows == [[2, 1], [1], [1]]
    assert exact_match(["tu", "je", "na"], references) == pytest.approx(200 / 3)
    assert exact_match_of_rows(["tu", "je", "na"], references, rows) == 40.0  # "tu" once, "je" once, of five
    assert exact_match_of_rows(["to", "je", "na"], references, rows) == 60.0


def test_of_several_outputs_one_that_is_right_suffices() -> None:
    references = [["to", "tu"], ["je"], ["ni"]]
    assert exact_match_of_several([["ta", "tu "], ["ja", "ju"], []], references) == pytest.approx(100 / 3)
    first = [["ta"], ["je"], ["ni"]]
    assert exact_match_of_several(first, references) == exact_match([text for (text,) in first], references)


def test_parts_are_scored_by_themselves() -> None:
    hypotheses, references = ["a", "b b b", "x", "y y y"], [["a"], ["b b b"], ["a"], ["b b b"]]
    parts = breakdown.by_seen([True, True, False, False], hypotheses, references, metrics=["exact_match"])
    assert [(p.label, p.scores.exact_match) for p in parts] == [("unseen", 0.0), ("seen in training", 100.0)]
    parts = breakdown.by_length([9, 2, 1, 3], hypotheses, references, edges=[1, 3], metrics=["exact_match"])
    assert [(p.label, p.scores.items) for p in parts] == [
        ("up to 1 tokens", 1),
        ("2-3 tokens", 2),
        ("over 3 tokens", 1),
    ]
    assert json.loads(json.dumps(parts[1].as_dict()))["exact_match"] == 50.0
    for split, labels in (
        (breakdown.by_label, "abab"),
        (breakdown.by_length, [1, 2, 1, 2]),
        (breakdown.by_seen, [0, 1] * 2),
    ):
        asked = split(labels, ["猫が"] * 4, [["猫は"]] * 4, writing="unspaced", metrics=["wer", "cer"], primary="cer")
        for part in asked:
            assert (part.scores.primary, part.scores.wer, part.scores.exact_match) == ("cer", 50.0, None)
    part = breakdown.by_label(["x"], ["猫が"], [["猫は"]], writing="unspaced", metrics=["wer"])[0]
    assert (part.label, part.scores.wer) == ("x", 50.0)


def test_bucket_edges_belong_to_the_bucket_they_end() -> None:
    labels = breakdown.bucket_labels([0, 1, 2, 3, 5, 6], [1, 2, 5], unit="words")
    assert labels == ["up to 1 words", "up to 1 words", "2 words", "3-5 words", "3-5 words", "over 5 words"]
    with pytest.raises(OptionError, match="`edges` must be different and rising, but is"):
        breakdown.bucket_labels([1], [2, 2], unit="words")
    with pytest.raises(OptionError, match=r"`edges` must be at least 1, but is \[0, 3\]"):
        breakdown.by_word_frequency({}, ["a"], [["a"]], edges=(0, 3))


def test_words_by_frequency_by_hand() -> None:
    parts = breakdown.by_word_frequency(
        {"the": 900, "cat": 2}, ["the the cat", "the dog"], [["nothing", "the cat sat"], ["the cow"]], edges=(1, 5)
    )
    found = {part.label: part for part in parts}
    assert list(found) == ["never in training", "2-5 times in training", "over 5 times in training"]
    common = found["over 5 times in training"]
    assert (common.words, common.recall) == (2, 100.0)
    assert common.precision == pytest.approx(200 / 3)
    assert common.f1 == pytest.approx(80.0)
    assert found["never in training"].recall == 0.0
    assert found["2-5 times in training"].f1 == 100.0
    only_said, only_wanted = breakdown.by_word_frequency({"the": 900, "cat": 2}, ["cat"], [["the"]], edges=(1, 5))
    for part in (only_said, only_wanted):
        assert part.f1 == 0.0
    assert (only_said.words, only_said.recall, only_said.precision) == (0, None, 0.0)  # a share of nothing is none
    assert (only_wanted.words, only_wanted.recall, only_wanted.precision) == (1, 0.0, None)
    assert [part.label for part in breakdown.by_word_frequency({"a": 1}, ["a"], [["a"]])] == ["once in training"]


def test_the_worst_sentences_come_first_and_perfect_ones_not_at_all() -> None:
    hypotheses, references = ["abcdef", "abcdxx", "qqq", "zzz"], [["abcdef"], ["abcdef"], ["abc"], ["abc"]]
    worst = breakdown.worst_sentences("stuv", hypotheses, references)
    assert [item.index for item in worst] == [2, 3, 1]
    assert worst[0].score == 0.0
    assert worst[2].score == pytest.approx(CHRF().sentence_score("abcdxx", ["abcdef"]).score)
    assert [i.index for i in breakdown.worst_sentences("stuv", hypotheses, references, count=1)] == [2]
    symbols = breakdown.worst_sentences(["s"], ["A B"], [["A C", "X Y"]], writing="symbols")[0]
    assert (symbols.metric, symbols.score) == ("wer", 50.0)


class Column(list[Any]):
    """As that of a table whose rows were shuffled: in order if gone through, but each place has a name of its own."""

    def __getitem__(self, name: Any) -> Any:
        return list.__getitem__(self, name if isinstance(name, slice) else -1 - name)


@pytest.mark.parametrize("given", [Column, lambda rows: dict(enumerate(rows)).values()])
def test_columns_of_a_table_and_views_of_dictionaries_are_taken_in_their_order(given: Any) -> None:
    """Law: what is measured is what is given row by row, however its rows are named."""
    sources, outputs = ["a", "b", "c", "d"], ["x y z", "x q z", "k l m", "k l"]
    answers = [[output.upper(), *more] for output, more in zip(outputs, (["x y z"], ["x y z"], [], []), strict=True)]
    rows: list[Any] = [[4, 5, 6, 7, 3], [4, 5, 3], [6, 3], [5, 6, 7, 3]]
    free: list[Any] = [[9, 5, 6, 7, 3], [4, 5, 3], [6, 3], [5, 6, 7, 3]]

    def measured(like: Any) -> list[Any]:
        texts, right = like(outputs), like([like(alternatives) for alternatives in answers])
        return [
            score(texts, right),
            significance.compare(texts, like(outputs[::-1]), right, resamples=9),
            breakdown.by_label("stst", texts, right),
            breakdown.by_length(like([7, 1, 2, 8]), texts, right),
            breakdown.by_seen(like([True, False, False, True]), texts, right),
            breakdown.by_word_frequency({"x": 3}, texts, right),
            breakdown.worst_sentences(like(sources), texts, right),
            measure_gap(like(rows), like(free), like(free)).as_dict(),
        ]

    for expected, found in zip(measured(list), measured(given), strict=True):
        assert found == expected


def test_comparisons_and_breakdowns_name_mistakes() -> None:
    with pytest.raises(OptionError, match="`resamples` must be at least 1, but is 0"):
        significance.compare(["a"], ["a"], [["a"]], resamples=0)
    with pytest.raises(OptionError, match="`metrics` has the unknown value 'distinct_1'"):
        significance.compare(["a"], ["a"], [["a"]], metrics=["distinct_1"])
    with pytest.raises(OptionError, match="`references` must have one entry per hypothesis"):
        significance.compare(["a"], ["a", "b"], [["a"]])
    with pytest.raises(OptionError, match="`references` must have one entry per hypothesis, but 1 stand against 2"):
        significance.compare(["a", "b"], ["a"], [["a"]])
    with pytest.raises(OptionError, match="`labels` must have one entry per hypothesis"):
        breakdown.by_label([], ["a"], [["a"]])
    with pytest.raises(OptionError, match="`references` must have one entry per hypothesis"):
        breakdown.by_label(["x"], ["a"], [["a"], ["b"]])
    for name, part in (("lengths", breakdown.by_length), ("seen", breakdown.by_seen)):
        with pytest.raises(OptionError, match=f"`{name}` must have one entry per hypothesis, but 1 stand for 2"):
            part([True], ["a", "b"], [["a"], ["b"]])
        with pytest.raises(OptionError, match="`hypotheses` must be a list of texts, but is 'ab'"):
            part([True, False], "ab", [["a"], ["b"]])
    with pytest.raises(OptionError, match="`sources` must have one entry per hypothesis, but 2 stand for 1"):
        breakdown.worst_sentences(["s", "t"], ["a"], [["a"]])
    with pytest.raises(OptionError, match="`references` must have one entry per hypothesis"):
        breakdown.worst_sentences(["s"], ["a"], [["a"], ["b"]])
    with pytest.raises(OptionError, match="`count` must be at least 1, but is 0"):
        breakdown.worst_sentences(["s"], ["a"], [["a"]], count=0)


def test_the_documentation_is_true() -> None:
    """Every Python example of docs/evaluation.md gives the output that stands there."""
    page = (Path(__file__).parent.parent / "docs" / "evaluation.md").read_text(encoding="utf-8")
    page = page.replace("version:2.6.0", f"version:{sacrebleu.__version__}")
    examples = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, "docs/evaluation.md", None, 0)
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test, out=report.append)
    assert results.attempted > 20
    assert results.failed == 0, "".join(report)

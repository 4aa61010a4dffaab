"""Sources are read in the case that the training data is written in: what is typed otherwise means the same."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import TINY

import dragoman
from dragoman.cli import main
from dragoman.config import Case, TrainOptions
from dragoman.corpus.casing import in_case, usual_case
from dragoman.corpus.tokenization import UNK, Tokenizer
from dragoman.corpus.tokenizer_choice import choose_tokenization
from dragoman.corpus.tokenizer_learning import learn_tokenizers
from dragoman.errors import StorageError

CASES: tuple[Case, ...] = get_args(Case)
MIXED = [(f"The {n} dogs of Ann saw me.", f"Les {n} chiens d'Anne m'ont vu.") for n in range(100)]
SMALL = [(source.lower(), target) for source, target in MIXED]
CAPITALS = [(source.upper(), target) for source, target in MIXED]


def cases(pairs: list[tuple[str, str]], **options: object) -> tuple[Case, ...]:
    """The cases that are chosen for the sources of some pairs."""
    return choose_tokenization(pairs, pairs=len(pairs), options=TrainOptions(**options)).source_case  # type: ignore[arg-type]


@given(st.text(), st.sampled_from(CASES))
def test_a_case_changes_letters_and_nothing_else(text: str, case: Case) -> None:
    read = in_case(text, case)
    assert len(read) == len(text)
    assert read.casefold() == text.casefold() or any(len(c.lower()) > 1 or len(c.upper()) > 1 for c in text)
    assert in_case(read, case) == read or case != "sentence"
    if case == "keep" or (case == "sentence" and sum(map(str.isupper, text)) < 4):
        assert read == text


@pytest.mark.parametrize(
    ("case", "typed", "read"),
    [
        ("lower", "Hello IRMA", "hello irma"),
        ("lower", "İZMİR", "izmir"),  # not i and a dot, which are two characters
        ("sentence", "İYİ GÜNLER", "İyi günler"),
        ("upper", "Straße 5", "STRAßE 5"),
        ("sentence", "¡I AM HERE, ANN!", "¡I am here, ann!"),
        ("sentence", "STOP", "Stop"),
        ("sentence", "USA!", "USA!"),
        ("sentence", "ABX-9931-KL", "ABX-9931-KL"),
        ("sentence", "SHOW ME ABX-9931-KL", "Show me abx-9931-kl"),
        ("sentence", "I am HERE.", "I am HERE."),
        ("sentence", "I AM HERE. ARE YOU?", "I am here. Are you?"),
        ("sentence", "ԵՍ ԱՅՍՏԵՂ ԵՄ։ ԴՈՒ ՈՐՏԵՂ ԵՍ։", "Ես այստեղ եմ։ Դու որտեղ ես։"),
        (
            "sentence",
            'Hi. WHERE IS "TOM"?! Buy it NOW - 5% OFF TODAY, or I GO.',
            'Hi. Where is "tom"?! Buy it now - 5% off today, or I GO.',
        ),
        ("sentence", "I LOVE the USA, vitamin A B C and BBC NEWS", "I LOVE the USA, vitamin A B C and BBC NEWS"),
        ("sentence", "IBM, NASA, ESA and BMW of FIFA에 AB1 CD2 EF3", "IBM, NASA, ESA and BMW of FIFA에 AB1 CD2 EF3"),
        ("sentence", "Ich HABE", "Ich HABE"),
        ("sentence", "서울 3", "서울 3"),
        ("sentence", "FIFA에 의해", "FIFA에 의해"),
        ("sentence", "CALLE MAYOR, 3º", "Calle mayor, 3º"),
    ],
)
def test_texts_in_a_case(case: Case, typed: str, read: str) -> None:
    assert in_case(typed, case) == read


def test_a_line_of_signs_takes_no_time() -> None:
    line = "STOP IT NOW " + ". " * 100_000 + "GO"
    assert in_case(line, "sentence") == "Stop it now " + ". " * 100_000 + "Go"


def test_the_case_is_that_of_the_data() -> None:
    assert cases(MIXED) == ("sentence",)
    assert cases(SMALL) == ("lower",)
    assert cases(CAPITALS) == ("upper",)
    assert cases([*MIXED, *CAPITALS[:10]]) == ("keep",)
    assert cases([(f"가나 {n}다.", target) for n, (_, target) in enumerate(MIXED)]) == ("keep",)
    assert cases(MIXED, source_case="lower") == ("lower",)
    assert cases([(source.replace(" ", ""), source) for source, _ in MIXED]) == ("keep",)
    assert cases([(source.rstrip("."), source) for source, _ in MIXED]) == ("keep",)  # full stops put back
    # One slip in a thousand sentences is none; one in a thousand symbols may be a symbol of its own.
    slip = usual_case(["I am here."] + ["i am here."] * 1000, sentences=True)
    assert slip == ("lower", "hardly a source has capitals")
    assert usual_case(["t S"] + ["t s"] * 1000, sentences=False)[0] == "keep"
    assert usual_case(["CALLE MAYOR, 3º"] * 9, sentences=True)[0] == "upper"
    assert usual_case(["\u01c5ep", "\u01c6ep"], sentences=False)[0] == "keep"
    reason = "some sources are in capitals, whole or in part"  # and not all of them
    assert usual_case(["walk V PRS SG"], sentences=True) == ("keep", reason)


def test_few_letters_with_capitals_among_others_keep_theirs() -> None:
    plain = [f"저는 {n}번 학생입니다." for n in range(5000)]
    named = ["Firefox를 써요.", "YouTube에서 봤어요.", "TV를 봐요.", "CD를 샀어요."]
    assert in_case(named[0], usual_case([*plain, *named], sentences=True)[0]) == named[0]
    assert usual_case([*plain, *named[2:]], sentences=True)[0] == "upper"


def test_each_column_has_its_own() -> None:
    rows = [
        (f"{verb}\tV;{tense}", f"{verb}ed") for verb in ("walk", "jump", "bark", "talk") for tense in ("PST", "PRS")
    ]
    rows *= 20
    assert cases(rows) == ("lower", "upper")
    source, _ = learn_tokenizers(rows, choose_tokenization(rows, pairs=len(rows), options=TrainOptions()))
    assert source.encode("Walk\tv;pst") == source.encode("walk\tV;PST")
    assert UNK not in source.encode("Walk\tv;pst")


@pytest.mark.parametrize("tag_first", [True, False])
def test_a_column_that_is_the_same_text_as_the_target_keeps_its_capitals(tag_first: bool) -> None:
    texts = [(source, source.replace("saw", "has seen")) for source, _ in MIXED]
    rows = [(f"polite\t{text}" if tag_first else f"{text}\tpolite", target) for text, target in texts]
    assert cases(rows) == (("lower", "keep") if tag_first else ("keep", "lower"))
    choice = choose_tokenization(rows, pairs=len(rows), options=TrainOptions())
    source, _ = learn_tokenizers(rows, choice)
    assert UNK not in source.encode(rows[0][0])


@pytest.mark.parametrize("pairs", [MIXED, SMALL, CAPITALS])
@pytest.mark.parametrize("shared", [True, False])
def test_a_source_in_another_case_has_the_same_tokens(pairs: list[tuple[str, str]], shared: bool) -> None:
    options = TrainOptions(shared_vocabulary=shared, vocab_size=120)
    choice = choose_tokenization(pairs, pairs=len(pairs), options=options)
    source, target = learn_tokenizers(pairs, choice)
    assert source.shares_vocabulary(target) == shared
    for text, right in pairs[:5]:
        if choice.source_case != ("sentence",):
            assert source.encode(text.swapcase()) == source.encode(text)
        assert source.encode(text.upper()) == source.encode(in_case(text.upper(), choice.source_case[0]))
        # What is learned to be said is not touched.
        for said in (right, right.upper()):
            assert UNK in target.encode(said) or target.decode(target.encode(said)) == said
        assert [begin for begin, _ in source.spans(text.upper())] == sorted(b for b, _ in source.spans(text.upper()))
        assert source.spans(text.upper())[-1][1] == len(text)


def test_capitals_and_small_letters_are_learned_as_one() -> None:
    source, target = learn_tokenizers(
        MIXED, choose_tokenization(MIXED, pairs=100, options=TrainOptions(source_case="lower", shared_vocabulary=False))
    )
    assert not any(re.search("[A-Z]", token) for token in source.tokens(range(4, source.vocab_size)))
    assert any(re.search("[A-Z]", token) for token in target.tokens(range(4, target.vocab_size)))


@pytest.mark.parametrize("pairs", [SMALL, CAPITALS, MIXED])
def test_words_of_vectors_are_read_as_sources_are(pairs: list[tuple[str, str]]) -> None:
    choice = choose_tokenization(pairs, pairs=100, options=TrainOptions(tokenizer="word", shared_vocabulary=False))
    source, _ = learn_tokenizers(pairs, choice, source_words=["London", "london", "UNESCO", "unesco"])
    assert UNK not in source.encode("London") + source.encode("unesco")
    if choice.source_case != ("sentence",):
        said = in_case("london", choice.source_case[0])
        assert [each for each in source.surfaces() if each.lower() == "london"] == [said]


def test_files_keep_the_case() -> None:
    source, target = learn_tokenizers(SMALL, choose_tokenization(SMALL, pairs=100, options=TrainOptions()))
    files = source.files() | target.files()
    again = Tokenizer.from_files(source.config(), files.__getitem__)
    assert again.encode("The DOGS") == source.encode("the dogs")
    with pytest.raises(StorageError, match="the tokenizer's case 'loud' is not known to this version"):
        Tokenizer.from_files(source.config() | {"case": ["loud"]}, files.__getitem__)


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model whose sources are in capitals, as the words of CMUdict are."""
    folder = tmp_path_factory.mktemp("spelled")
    words = [(f"{a}{b}{c}", f"{a} {b} {c}") for a in "KLMN" for b in "AEIO" for c in "RST"]
    (folder / "words.tsv").write_text("".join(f"{word}\t{sounds}\n" for word, sounds in words), encoding="utf-8")
    assert main(["train", str(folder / "words.tsv"), "--out", str(folder / "model"), *TINY]) == 0
    return folder / "model"


def test_words_are_pronounced_in_any_case(spelled: Path) -> None:
    translator = dragoman.load(spelled)
    loud, small = translator.translate(["KAR", "kar"])
    assert small.source_tokens == loud.source_tokens == ("K", "A", "R")
    assert [c.ids for c in small.candidates] == [c.ids for c in loud.candidates]
    assert small.source == "kar"


def test_a_model_that_goes_on_keeps_the_case(spelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "pairs.tsv").write_text("".join(f"k{a}r\tK {a} R\n" for a in "aeio" * 5), encoding="utf-8")
    asked = ["train", str(tmp_path / "pairs.tsv"), "--out", str(tmp_path / "model"), "--from", str(spelled)]
    asked += ["--max-steps", "1", "--dev", "1"]
    assert main([*asked, "--source-case", "keep"]) == 2
    assert "--source-case was given, but a model that goes on" in capsys.readouterr().err
    assert main(asked) == 0
    assert dragoman.load(tmp_path / "model").source_tokenizer.encode("kar") == dragoman.load(
        spelled
    ).source_tokenizer.encode("KAR")


def test_models_of_before_read_what_is_typed(trained: Path, tmp_path: Path) -> None:
    model = shutil.copytree(trained, tmp_path / "model")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    for side in ("source", "target"):
        del config["tokenizer"][side]["case"]
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    translator = dragoman.load(model)
    assert translator.source_tokenizer.config()["case"] == ["keep"]


def test_each_model_of_an_ensemble_reads_in_its_own_case(
    spelled: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = shutil.copytree(spelled, tmp_path / "model")
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    config["tokenizer"]["source"]["case"] = ["keep"]
    (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with caplog.at_level("INFO", "dragoman"):
        pairs = [dragoman.load(one, ensemble=[two]) for one, two in ((spelled, other), (other, spelled))]
    assert f"the source side of {other} has another case than that of {spelled}" in caplog.text
    outputs = [{each.text for each in pair.translate("kar", num_hypotheses=5).candidates} for pair in pairs]
    assert outputs[0] == outputs[1]


def test_the_case_suits_real_data() -> None:
    samples = Path(dragoman.__file__).parent / "samples"
    for file in ("eng-fra.tsv.gz", "eng-kor.tsv.gz"):
        with gzip.open(samples / file, "rt", encoding="utf-8") as lines:
            rows = [line.rstrip("\n").split("\t")[:2] for line in lines]
        assert cases([(source, target) for source, target in rows]) == ("sentence",), file

"""Unknown words: what stands behind each token of a source, and what takes the place of `<unk>`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dragoman
from dragoman.cli import main
from dragoman.config import SearchOptions, TrainOptions
from dragoman.corpus.tokenization import Tokenizer
from dragoman.corpus.tokenizer_learning import learn
from dragoman.errors import DataError, OptionError
from dragoman.translation.outputs import Candidate, Translation
from dragoman.translation.unknown import UnknownWords

TEXT = "Tom lives in München (near 한국), doesn't he?"
METHODS: tuple[Any, ...] = ("word", "char", "bpe", "unigram", "symbols", "features")
UNK = 1


@pytest.mark.parametrize("jamo", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_every_token_has_its_span_and_together_they_are_the_text(method: Any, jamo: bool) -> None:
    tokenizer = Tokenizer([learn([TEXT.lower()] * 3, method=method, jamo=jamo)])
    ids, spans = tokenizer.encode(TEXT), tokenizer.spans(TEXT)
    assert len(spans) == len(ids)
    covered = {place for begin, end in spans for place in range(begin, end)}
    assert {place for place, character in enumerate(TEXT) if character != " "} <= covered
    for i, (begin, end) in zip(ids, spans, strict=True):
        if i != UNK and method == "word" and not jamo:
            assert TEXT[begin:end].strip() == tokenizer.surfaces()[i]


def test_spans_of_several_columns_count_over_the_whole_text() -> None:
    columns = [learn(["walk run"], method="char"), learn(["V;PST N;SG"], method="features")]
    tokenizer, text = Tokenizer(columns), "run\tV;PST"
    assert [text[b:e] for b, e in tokenizer.spans(text)] == ["r", "u", "n", "\t", "V", ";PST"]


class Texts:
    """Stands for both tokenisers of a model."""

    def __init__(self, source: Tokenizer, target: Tokenizer) -> None:
        self.source_tokenizer, self.target_tokenizer = source, target

    def clean_source(self, source: str) -> str:
        return source


def replaced(
    source: str,
    said: list[str | int],
    *,
    known: str,
    words: list[str],
    table: dict[str, str] | None = None,
    method: Any = "bpe",
) -> str:
    """The text when `said` has words, or for unknown ones the place in `source` that the model looks at."""
    size = {"bpe": 60, "unigram": 40}.get(method)
    reader = Tokenizer([learn([known], method=method, vocab_size=size)])
    writer = Tokenizer([learn([" ".join(words)] * 2, method="word" if method != "char" else "char")])
    spans = reader.spans(source)
    ids, attention = [], np.zeros((len(said), len(spans)))
    for row, each in enumerate(said):
        ids.append(UNK if isinstance(each, int) else writer.encode(each)[0])
        here = each if isinstance(each, int) else 0
        attention[row, next(place for place, (begin, end) in enumerate(spans) if begin <= here < end)] = 1
    candidate = Candidate(
        writer.decode(ids), -1.0, -1.0, tuple(writer.tokens(ids)), (), attention, True, ids=tuple(ids)
    )
    plain = Translation(source, (candidate,))
    found = UnknownWords(Texts(reader, writer), table or {}).replace(plain)  # type: ignore[arg-type]
    assert found.candidates[0].tokens == candidate.tokens  # scores stay beside what they are of
    return found.text


def test_a_whole_word_is_copied_even_if_the_source_has_it_in_pieces_and_the_target_says_unk_twice() -> None:
    source = "I saw Jean-Luc in Zanzibar yesterday."
    words = ["J'", "ai", "vu", "à", "hier", "."]
    known = "I saw in yesterday."
    place = source.index
    assert replaced(source, ["vu", place("Luc"), "à", place("zibar"), "."], known=known, words=words) == (
        "vu Jean-Luc à Zanzibar ."
    )
    twice = [place("Z"), place("zibar"), "hier"]
    assert replaced(source, twice, known=known, words=words) == "Zanzibar hier"
    apart: list[str | int] = [place("Z"), "hier", place("zibar")]
    assert replaced(source, apart, known=known, words=words) == "Zanzibar hier Zanzibar"
    assert replaced(source, ["hier", place(".")], known=known, words=words) == "hier ."


@pytest.mark.parametrize("method", ["bpe", "unigram", "word"])
def test_whichever_piece_of_a_word_is_looked_at_the_word_is_copied(method: Any) -> None:
    source, known = "he saw zanzibar in 1984, I guess", "he saw zanz in zanz 19 I gue zanz " * 5
    for word in ("he", "saw", "zanzibar", "in", "1984", "I", "guess"):
        for place in range(
            source.index(word), source.index(word) + len(word)
        ):  # the first piece has the space before it
            found = replaced(source, ["hier", place], known=known, words=["hier"], method=method)
            assert found.removesuffix(",") == f"hier {word}"


def test_the_phrase_table_says_what_a_word_becomes_and_small_letters_will_do() -> None:
    source, words = "Munich is in Bavaria", ["est", "en"]
    said: list[str | int] = [0, "est", "en", source.index("Bavaria")]
    table = {"munich": "Munich la belle", "Bavaria": "Bavière"}
    assert replaced(source, said, known="is in", words=words, table=table) == "Munich la belle est en Bavière"


def test_a_model_of_characters_copies_characters() -> None:
    assert replaced("a€b€", ["a", 1, "b", 3, 3], known="ab", words=["a", "b"], method="char") == "a€b€€"


@pytest.fixture(scope="module")
def copier(tmp_path_factory: pytest.TempPathFactory) -> dragoman.Translator:
    """A small word model whose vocabulary lacks most names."""
    out = tmp_path_factory.mktemp("copier") / "model"
    pairs = [(f"call {name}{i} now", f"appelle {name}{i} vite") for i in range(40) for name in ("Ana", "Bo")]
    run: Any = {"tokenizer": "word", "vocab_size": 10, "hidden_size": 16, "embedding_size": 16, "layers": 1}
    machine: Any = {"device": "cpu", "threads": 1, "max_steps": 60, "eval_every": 60, "learning_rate": 0.02}
    run |= {"average_decay": 0.0, "batch_tokens": 100}
    return dragoman.train(pairs, out=out, options=TrainOptions(**run, **machine))


def test_no_output_holds_unk_and_scores_stay(copier: dragoman.Translator, tmp_path: Path) -> None:
    sources = ["call Zoe77 now", "call Bo3 now", "now Xi call"]
    plain = copier.translate(sources)
    assert any("<unk>" in each.text for each in plain)  # else this says nothing
    found = copier.translate(sources, options=SearchOptions(replace_unknown=True))
    for before, after in zip(plain, found, strict=True):
        assert "<unk>" not in after.text
        assert (after.score, after.candidates[0].ids) == (before.score, before.candidates[0].ids)
        words = set(before.source.split())
        assert set(after.text.split()) - set(before.text.split()) <= words
    (tmp_path / "table.tsv").write_text(
        "".join(f"{word}\tMOT\n" for word in "call Zoe77 now".split()), encoding="utf-8"
    )
    by_table = copier.translate(sources[0], options=SearchOptions(phrase_table=str(tmp_path / "table.tsv")))
    assert by_table.text == plain[0].text.replace("<unk>", "MOT")


def test_what_of_a_source_is_unknown_is_told(
    copier: dragoman.Translator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert copier.translate("call Zoe77 now, Zoe77 and Xi").unknown == ("Zoe77", ",", "and", "Xi")
    assert copier.translate("call now").unknown == ()
    model = str(copier.directory.path)
    known, told = "call now", "that the model does not know, and reads as <unk>"
    text = tmp_path / "in.txt"
    text.write_text(f"{known}\ncall Zoe77 now\n{known}\nXi call\n", encoding="utf-8")
    assert main(["translate", model, "--input", str(text)]) == 0
    assert capfd.readouterr().err == f"dragoman: warning: 2 of 4 lines have something {told}: 'Zoe77', 'Xi'\n"
    for way in ([], ["--stream"], ["--json"]):
        assert main(["translate", model, "Xi call", *way]) == 0
        assert capfd.readouterr().err == f"dragoman: warning: the line has something {told}: 'Xi'\n"
        assert main(["translate", model, known, *way]) == 0
        assert capfd.readouterr().err == ""
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text(f"Xi call\tappelle Xi\n{known}\tappelle vite\n", encoding="utf-8")
    assert main(["evaluate", model, str(pairs)]) == 0
    assert f"1 of 2 sources has something {told}: 'Xi'\n" in capfd.readouterr().err


def test_a_phrase_table_is_cleaned_as_sources_are_and_a_line_that_is_no_entry_is_an_error(
    copier: dragoman.Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.tsv"
    options = SearchOptions(phrase_table=str(table))
    monkeypatch.setitem(copier.config, "normalization", "nfkc")
    table.write_text("Ｚｏｅ\tMOT\n\n", encoding="utf-8")
    unknown = UnknownWords.of(copier.texts, options, attends=True)
    assert unknown is not None
    assert unknown.table == {copier.texts.clean_source("Ｚｏｅ"): "MOT"}
    table.write_text("call\tMOT\nXi Ksi\nnow\tMOT\n", encoding="utf-8")
    expected = (
        r"table\.tsv:2: too few columns; a phrase table has two columns, a source word and what it becomes, with TAB"
    )
    with pytest.raises(DataError, match=expected):
        copier.translate("call Xi now", options=options)


def test_the_command_line_has_it_and_says_what_it_needs(
    copier: dragoman.Translator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = str(copier.directory.path)
    expected = copier.translate("call Zoe77 now", options=SearchOptions(replace_unknown=True)).text
    assert main(["translate", model, "call Zoe77 now", "--replace-unknown"]) == 0
    assert capfd.readouterr().out == f"{expected}\n"
    assert main(["translate", model, "call Zoe77 now", "--replace-unknown", "--json"]) == 0
    candidate = json.loads(capfd.readouterr().out)["candidates"][0]
    assert "<unk>" in candidate["tokens"]
    assert candidate["text"] == expected
    assert main(["translate", model, "x", "--phrase-table", str(tmp_path / "none.tsv")]) == 2
    assert "none.tsv" in capfd.readouterr().err
    (tmp_path / "bad.tsv").write_text("no second column\n", encoding="utf-8")
    assert main(["translate", model, "x", "--phrase-table", str(tmp_path / "bad.tsv")]) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith(
        f"dragoman: error: {tmp_path / 'bad.tsv'}:1: too few columns; a phrase table has two columns"
    )


def test_a_model_without_attention_looks_at_nothing(tmp_path: Path) -> None:
    options = TrainOptions(
        preset="textbook", layers=1, hidden_size=8, embedding_size=8, max_steps=1, device="cpu", threads=1
    )
    model = dragoman.train([(f"a{i}", f"b{i}") for i in range(20)], out=tmp_path / "m", options=options)
    together = dragoman.load(tmp_path / "m", threads=1, ensemble=[tmp_path / "m"])
    for each in (model, together):
        with pytest.raises(
            OptionError, match="`replace_unknown` follows the model's attention, but this model has none"
        ):
            each.translate("a1", options=SearchOptions(replace_unknown=True))

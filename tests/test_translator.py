"""The facade keeps its promises: order, alignment, independence of the batch, scores that are true, any text survives."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from steppers import assert_alike

import dragoman
from dragoman.config import SearchOptions, TrainOptions
from dragoman.errors import DataError, OptionError, StorageError
from dragoman.runtime.parity import compare
from dragoman.training.checkpoint import load_tensors, save_tensors
from dragoman.training.events import Note
from dragoman.translation import texts as texts_room
from dragoman.translation.texts import LONGEST_SOURCE
from dragoman.translator import Translator

WORDS = "the a cat dog bird sees hears loves big small red it they we you and never".split()


def sentences(count: int, *, seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 9))) + draw.choice(".?!") for _ in range(count)]


@pytest.fixture(scope="module")
def translator() -> Translator:
    pairs = [(s, s.upper().replace("THE ", "LE ")) for s in sentences(300, seed=1)]
    options = TrainOptions(
        max_steps=250, hidden_size=32, embedding_size=16, batch_tokens=200, threads=1, vocab_size=200, device="cpu"
    )
    return dragoman.train(pairs, options=options)


def test_law_3_a_sentence_translates_the_same_alone_in_any_batch_and_in_any_order(translator: Translator) -> None:
    sources = sentences(40, seed=2)
    search = SearchOptions(beam_size=4, num_hypotheses=4)
    together = translator.translate(sources, options=search)
    order = list(range(len(sources)))
    random.Random(3).shuffle(order)
    shuffled = translator.translate([sources[i] for i in order], options=search)
    for place, index in enumerate(order):
        alone = translator.translate(sources[index], options=search)
        for other in (shuffled[place], alone):
            assert_alike(other.candidates, together[index].candidates)


def test_options_and_other_arguments_are_not_given_both(translator: Translator) -> None:
    options = SearchOptions(num_hypotheses=2)
    assert len(translator.translate("the dog", options=options).candidates) == 2
    for more in ({"beam_size": 3}, {"num_hypotheses": 2}, {"length_penalty": 0.5}, {"max_length": 9}):
        with pytest.raises(OptionError, match="`options` takes the place of the other arguments"):
            translator.translate("the dog", options=options, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("others", [["model"], "model", [None], None, 5])
def test_only_models_join_an_ensemble(translator: Translator, others: Any) -> None:
    before = translator.companions
    with pytest.raises(OptionError, match=r"`others` must be .*models that `load` gave, but"):
        translator.join(others)
    assert translator.companions == before


def test_law_4_the_score_is_what_scoring_the_ids_gives(translator: Translator) -> None:
    import torch

    from dragoman.generation.search import search

    ids = [translator.source_tokenizer.encode(source) for source in sentences(10, seed=4)]
    stepper = dragoman.load(translator.directory.path, precision="float32").stepper
    for source, hypotheses in zip(ids, search(stepper, ids, options=SearchOptions()), strict=True):
        best = hypotheses[0]
        target = torch.tensor([[2, *best.ids[:-1]]])
        with torch.inference_mode():
            output = translator.model(torch.tensor([source]), torch.tensor([len(source)]), target)
            log_probs = torch.log_softmax(translator.model.decoder.output(output.features)[0], dim=1).numpy()
        forced = log_probs[np.arange(len(best.ids)), best.ids]
        assert best.score == pytest.approx(forced.sum(), abs=1e-4)
        np.testing.assert_allclose(best.token_scores, forced, atol=1e-4)


ODD = [
    "",
    "   ",
    "\u200b",
    "￿",
    "🦜🦜",
    "שלום",
    "ไทย",
    "a\u0301" * 50,
    "</s>",
    "<pad> <s>",
    "\ud800",
    "\x00",
    "日本" * 40,
    "-x",
]


def test_law_11_odd_text_gives_a_result_or_a_reason_and_lines_stay_aligned(translator: Translator) -> None:
    results = translator.translate(ODD)
    assert [result.source for result in results] == ODD
    for result in results:
        assert result.candidates or result.warning
    assert results[0].warning == "the line is empty"
    assert results[0].text == ""


def test_law_11_a_huge_line_is_refused_at_once(translator: Translator) -> None:
    result = translator.translate("cat " * (LONGEST_SOURCE + 1))
    assert result.text == ""
    assert result.warning is not None
    assert "more than the 5,000 that are translated" in result.warning


def test_a_users_end_token_is_text(translator: Translator) -> None:
    ids = translator.source_tokenizer.encode("the cat </s> sees")
    assert 3 not in ids
    assert len(ids) > 4


def test_candidates_are_ranked_and_their_parts_agree(translator: Translator) -> None:
    found = translator.translate("the big cat sees it.", num_hypotheses=5)
    assert len(found.candidates) == 5
    ranks = [candidate.normalized_score for candidate in found.candidates]
    assert ranks == sorted(ranks, reverse=True)
    assert len({candidate.tokens for candidate in found.candidates}) == 5
    for candidate in found.candidates:
        assert sum(candidate.token_scores) == pytest.approx(candidate.score, abs=1e-4)
        assert len(candidate.token_scores) == len(candidate.tokens) + candidate.finished
        assert candidate.attention is not None
        assert candidate.attention.shape[0] == len(candidate.tokens)
        np.testing.assert_allclose(candidate.attention.sum(axis=1), 1, atol=1e-5)


def test_results_can_be_compared_and_shown_without_their_attention(translator: Translator) -> None:
    first, second = (translator.translate("Go home.") for _ in range(2))
    assert first == second != translator.translate("We won.")
    assert first.candidates[0].attention is not None
    assert "array" not in repr(first) + repr(translator.score(["Go home."], ["Va !"])[0])


def test_an_output_that_never_ends_is_cut_and_says_so(translator: Translator) -> None:
    found = translator.translate("the cat sees the dog and the bird.", max_length=2)
    assert len(found.candidates[0].tokens) == 2
    assert found.warning == "the output was cut at the maximum length"


def test_constraints_given_as_text_hold_for_every_candidate(translator: Translator, tmp_path: Path) -> None:
    sources = ["the cat sees.", "we love you and the dog!"]
    allowed = tmp_path / "allowed.txt"
    allowed.write_text("LE CAT.\nWE AND YOU!\nNEVER.\n", encoding="utf-8")
    cases: list[tuple[dict[str, object], Callable[[str], bool]]] = [
        ({"prefix": "WE"}, lambda text: text.startswith("WE")),
        ({"require": ("BIRD",)}, lambda text: "BIRD" in text),
        ({"forbid": ("THE", "CAT")}, lambda text: "THE" not in text.split() and "CAT" not in text.split()),
        ({"choices": str(allowed)}, lambda text: text in allowed.read_text().splitlines()),
        ({"match": "(WE|YOU)( DOG)+[.!]"}, lambda text: re.fullmatch("(WE|YOU)( DOG)+[.!]", text) is not None),
        ({"min_length": 6, "max_length": 12}, lambda text: len(translator.target_tokenizer.encode(text)) <= 11),
    ]
    for values, holds in cases:
        options = SearchOptions(num_hypotheses=2, **values)  # type: ignore[arg-type]
        for found in translator.translate(sources, options=options):
            finished = [candidate for candidate in found.candidates if candidate.finished]
            assert finished, values
            assert all(holds(candidate.text) for candidate in finished), (values, found.text)


def test_a_program_may_ask_for_any_number_of_patterns(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts_room, "_KEPT", 3)
    for number in range(8):
        options = SearchOptions(match=f"[A-Z .?!]{{1,{number + 2}}}", max_length=20)
        assert translator.translate("the cat sees a dog.", options=options) == translator.translate(
            "the cat sees a dog.", options=options
        )
        assert len(translator.texts._automata) <= 3


def test_a_word_that_cannot_be_spelled_is_an_error_before_any_work(translator: Translator) -> None:
    with pytest.raises(OptionError, match="`require` must be spelled with the model's vocabulary"):
        translator.translate("the cat.", options=SearchOptions(require=("\u4e00",)))


class Column:
    """As that of a table whose rows were shuffled: in order if gone through, but each place has a name of its own."""

    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: int) -> Any:
        return self.rows[-1 - name]


def test_columns_of_a_table_and_views_of_dictionaries_are_taken_in_their_order(translator: Translator) -> None:
    sources = sentences(5, seed=3)
    pairs = dict(zip(sources, reversed(sources), strict=True))
    expected = translator.score(sources, list(pairs.values()))
    assert translator.score(cast(Any, Column(sources)), cast(Any, Column(list(pairs.values())))) == expected
    assert translator.score(cast(Any, pairs.keys()), cast(Any, pairs.values())) == expected
    answers = [[target] for target in pairs.values()]
    gap = translator.gap(sources, answers).as_dict()
    assert translator.gap(cast(Any, Column(sources)), cast(Any, Column(answers))).as_dict() == gap
    assert translator.gap(cast(Any, pairs.keys()), answers).as_dict() == gap


def test_evaluation_counts_every_right_answer(translator: Translator) -> None:
    sources = sentences(5, seed=6)
    outputs = [translation.text for translation in translator.translate(sources)]
    scores, _ = translator.evaluate(sources, [["nothing like it", output] for output in outputs])
    assert scores.exact_match == 100
    assert scores.references == 10


@pytest.mark.parametrize(("name", "values"), [("beam_size", 0), ("num_hypotheses", 0), ("max_length", 0)])
def test_impossible_arguments_are_one_line(translator: Translator, name: str, values: int) -> None:
    with pytest.raises(OptionError, match=f"`{name}` must be at least 1, but is 0"):
        translator.translate("the cat.", **{name: values})  # type: ignore[call-overload]


@pytest.mark.parametrize("measure", ["evaluate", "gap", "calibrate"])
@pytest.mark.parametrize(
    ("sources", "references", "message"),
    [
        (["the cat."], ["LE CAT."], "a list of texts for each source, but entry 1 is one text"),
        (["the cat.", "the dog."], [["LE CAT."]], "one entry per source, but 1 stand against 2"),
        (["the cat."], [[]], "not be empty for any source, but entry 1 is"),
        ("the", [["LE"]] * 3, "`sources` must be a list of texts, but is 'the'"),
        ([], [], "`sources` must not be empty"),
    ],
)
def test_right_answers_that_do_not_fit_are_an_error_before_any_work(
    translator: Translator, measure: str, sources: Any, references: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translator, "translate_many", None)
    with pytest.raises(OptionError, match=message):
        getattr(translator, measure)(sources, references)


def test_what_is_no_text_is_one_line(translator: Translator) -> None:
    many: Any = translator.translate_many
    with pytest.raises(OptionError, match="`sources` must be a list of texts, but is "):
        many("the cat.")
    with pytest.raises(OptionError, match="`sources` must be texts, but one is nan"):
        list(many(["the cat.", float("nan")]))


def test_what_a_model_is_opened_with(translator: Translator) -> None:
    path = translator.directory.path
    with pytest.raises(OptionError, match="`threads` must be at least 1, but is -1"):
        dragoman.load(path, threads=-1)
    with pytest.raises(OptionError, match="`threads` must be at least 1, but is 0"):
        dragoman.export(path, threads=0)
    with pytest.raises(OptionError, match="`ensemble` must be a list of models, but is "):
        dragoman.load(path, ensemble=str(path))


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(StorageError, match="there is no model at"):
        dragoman.load("no-such-model")


def test_a_training_that_fails_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(DataError, match="none of 2 rows is usable"):
        dragoman.train([("a", ""), ("b", "")], options=TrainOptions(max_steps=1, threads=1))
    with pytest.raises(StorageError, match="there is no model at"):
        dragoman.train([("a", "b")], options=TrainOptions(from_model="no-such-model", threads=1))
    assert not list(tmp_path.iterdir())


def test_several_source_columns_are_split_each_in_its_own_way(tmp_path: Path) -> None:
    file = tmp_path / "inflection.tsv"
    rows = [
        (f"{lemma}{v}", f"V;{tense}", f"{lemma}{v}{end}")
        for lemma in "walk talk jump look cook".split()
        for v in "abcdefgh"
        for tense, end in (("PST", "ed"), ("PRS", "s"), ("IND;FUT(2)", "will"))
    ]
    file.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")
    options = TrainOptions(source=("1", "2"), target="3", max_steps=3, hidden_size=8, embedding_size=8, threads=1)
    model = dragoman.train(file, options=options)
    assert model.source_columns == 2
    tokens = model.source_tokenizer.tokens(model.source_tokenizer.encode("walka\tV;PST"))
    assert tokens[:5] == list("walka") or tokens[:5] == ["▁w", *"alka"]
    assert any("PST" in token for token in tokens)
    alone = model.translate("walka\tV;PST")
    assert alone.candidates
    few, empty, many, beside = model.translate(["walka", "\t", "walka\tV\tPST", "walka\tV;PST"])
    assert beside.text == alone.text
    assert [each.candidates for each in (few, empty, many)] == [()] * 3
    assert few.warning == "the line must have 2 columns joined by TAB, but has 1"
    assert empty.warning == "the line is empty"
    assert many.warning == "the line must have 2 columns joined by TAB, but has 3"


def vectors_file(path: Path, width: int = 6) -> Path:
    draw = np.random.default_rng(0)
    lines = [f"{word} {' '.join(f'{value:.4f}' for value in draw.normal(size=width))}" for word in WORDS]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("frozen", ["source", "target"])
def test_embeddings_of_either_side_start_from_a_file_and_stay_if_frozen_resumed_or_not(
    tmp_path: Path, frozen: str
) -> None:
    path, notes = vectors_file(tmp_path / "glove.txt"), []
    run = {"source_vectors": str(path), "target_vectors": str(path), f"freeze_{frozen}_vectors": True}
    dragoman.train(
        [(s, s.upper()) for s in sentences(120, seed=8)],
        out=tmp_path / "model",
        options=TrainOptions(**run, max_steps=2, hidden_size=8, threads=1, schedule="constant", average_decay=0),  # type: ignore[arg-type]
        listener=lambda event: notes.append(event.text) if isinstance(event, Note) else None,
    )
    model = dragoman.resume(tmp_path / "model", options=TrainOptions(max_steps=5, threads=1))
    given = {word: np.array(rest, np.float32) for word, *rest in map(str.split, path.read_text().splitlines())}
    sides = {
        "source": (model.source_tokenizer, model.model.encoder.embedding),
        "target": (model.target_tokenizer, model.model.decoder.embedding),
    }
    for side, (tokenizer, embedding) in sides.items():
        weight = embedding.weight.detach().numpy()
        rows = {row: given[word.lower()] for row, word in enumerate(tokenizer.surfaces()) if word.lower() in given}
        assert len(rows) > 5
        moved = np.abs(weight[list(rows)] - np.stack(list(rows.values()))).max()
        assert moved == 0 if side == frozen else 0 < moved < 0.1
        assert any(f"{side} vectors:" in note and "glove.txt" in note for note in notes)


def test_vectors_of_other_words_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "greek.txt"
    path.write_text("άλφα 0.1 0.2\n</s> 0.3 0.4\n", encoding="utf-8")  # what ends every output is no word
    with pytest.raises(
        OptionError, match=r"^`target_vectors`: .*greek\.txt has none of the \d+ tokens of the target side$"
    ):
        dragoman.train(
            [(s, s) for s in sentences(50, seed=9)],
            options=TrainOptions(target_vectors=str(path), tokenizer="char", max_steps=1, hidden_size=8, threads=1),
        )


def test_a_batch_has_room_for_the_outputs_that_are_under_way(trained: Path) -> None:
    translator = dragoman.load(trained, threads=1)
    for given, width in (
        ({"beam_size": 7, "num_hypotheses": 2}, 7),
        ({"method": "sample", "num_hypotheses": 6}, 6),
        ({"method": "sample", "num_hypotheses": 2, "rerank": "mbr", "num_candidates": 9}, 9),
        ({"method": "best_first"}, 1),
    ):
        assert translator.job(SearchOptions(**given)).width == width, given


def test_damaged_vectors_are_named_with_their_line(tmp_path: Path) -> None:
    path = vectors_file(tmp_path / "glove.txt")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[4].rsplit(" ", 1)[0], *lines[5:]]) + "\n")
    with pytest.raises(DataError, match=r"glove\.txt:5"):
        dragoman.train(
            [(s, s) for s in sentences(50, seed=9)], options=TrainOptions(source_vectors=str(path), max_steps=1)
        )


@pytest.mark.parametrize("name", ["pipe", "-"])
def test_vectors_from_a_pipe_are_refused_before_the_data_is_read(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = name if name == "-" else str(tmp_path / name)
    with pytest.raises(
        OptionError, match=r"(standard input|pipe): vectors are read several times, which no pipe allows"
    ):
        dragoman.train([("a", "b")], options=TrainOptions(source_vectors=path, max_steps=1))


def test_options_are_no_dictionary_and_a_source_is_a_text(trained: Path, tmp_path: Path) -> None:
    translator, wrong = dragoman.load(trained), cast("Any", {"beam_size": 2})
    calls: list[Callable[[], object]] = [
        lambda: translator.translate("ab", options=wrong),
        lambda: list(translator.translate_many(["ab"], options=cast("Any", {}))),
        lambda: list(translator.stream("ab", options=wrong)),
        lambda: translator.trace("ab", options=wrong),
        lambda: dragoman.train([("a", "b")], out=tmp_path / "m", options=wrong),
        lambda: dragoman.resume(trained, options=wrong),
        lambda: dragoman.distill(trained, [("a", "b")], out=tmp_path / "m", options=wrong),
        lambda: dragoman.distill(trained, [("a", "b")], out=tmp_path / "m", search=wrong),
    ]
    for call in calls:
        with pytest.raises(OptionError, match=r"`(options|search)` must be (Search|Train)Options\(...\), but is \{"):
            call()
    for text in (None, ["ab"]):
        with pytest.raises(OptionError, match="`source` must be one text, but is"):
            list(translator.stream(cast("Any", text)))
        with pytest.raises(OptionError, match="`source` must be one text, but is"):
            translator.trace(cast("Any", text))
    with pytest.raises(OptionError, match="`sources` and `targets` must be texts, but one is None"):
        translator.score(["ab"], cast("Any", [None]))


def test_a_translator_says_what_it_is_and_what_it_cannot_translate(translator: Translator) -> None:
    assert repr(translator) == f"<Translator {translator.directory.path}: {translator.engine}, {translator.precision}>"
    for nothing in (None, 3):
        with pytest.raises(OptionError, match=f"`sources` must be a text or a list of texts, but is {nothing}"):
            translator.translate(nothing)  # type: ignore[call-overload]


def test_weights_and_scores_that_are_not_numbers_are_named(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "onnx")
    translator = dragoman.load(tmp_path / "model", threads=1)
    translator.model.decoder.output.bias.data[5] = float("nan")
    scored = translator.score("source 3", "cible 3 de tant")
    assert (scored.as_dict()["score"], scored.token_scores) == (None, ())
    assert scored.warning is not None
    assert "the model's scores are not numbers" in scored.warning
    with pytest.raises(StorageError, match="the model's scores are not numbers"):
        compare(translator.stepper, translator.stepper, [[5, 6]])
    weights = tmp_path / "model" / "model.safetensors"
    save_tensors(weights, {**load_tensors(weights)[0], "decoder.output.bias": translator.model.decoder.output.bias}, {})
    with pytest.raises(
        StorageError, match=r"model\.safetensors is damaged: not all of decoder\.output\.bias are finite"
    ):
        _ = dragoman.load(tmp_path / "model", threads=1).model


def test_a_relative_path_that_no_longer_leads_to_the_model_is_said_to_be_one(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.parent)
    loaded = dragoman.load(trained.name, engine="onnx", threads=2)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match="or the current directory is another now: give its absolute path; load it"):
        loaded.translate("source 3 of many")  # which opens the graphs once more


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_loaded_model_never_mixes_with_what_takes_its_place(
    engine: str, threads: int, trained: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    expected = dragoman.load(model, engine=engine, threads=1).translate("source 3 of many").text
    loaded, saved = (dragoman.load(model, engine=engine, threads=threads) for _ in range(2))
    shutil.rmtree(model)
    dragoman.train([(f"{n} b", f"d {n}") for n in range(99)], out=model, options=TrainOptions(max_steps=1, threads=1))
    if threads == 1 or engine == "torch":
        assert loaded.translate("source 3 of many").text == expected
    else:  # which opens the graphs once more
        with pytest.raises(StorageError, match=r"model was replaced, moved or removed after it was loaded; load it"):
            loaded.translate("source 3 of many")
    with pytest.raises(StorageError, match="after it was loaded"):
        saved.save_pretrained(tmp_path / "copy")
    shutil.rmtree(model)
    with pytest.raises(StorageError, match="after it was loaded"):
        saved.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()

"""A shortlist: words are aligned as IBM Model 1 says, and a source's outputs are made of its own candidates, whatever its neighbours."""

from __future__ import annotations

import itertools
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_model import COPY_IDS, SHAPES, build
from test_runtime import BATCHES, ROUNDING, engine_of, flip_a_bit, run_without_extra
from tiny import PAIRS

import dragoman
from dragoman.cli import main
from dragoman.config import ReadOptions, SearchOptions
from dragoman.corpus import alignment
from dragoman.corpus.alignment import NOTHING, Translations, align, best_targets
from dragoman.corpus.dataset import EncodedPairs
from dragoman.errors import DataError, DragomanError, OptionError, StorageError
from dragoman.files import checksum
from dragoman.generation.constraints import Constraints
from dragoman.generation.search import search
from dragoman.generation.shortlist import SPECIAL, Shortlist, needed
from dragoman.generation.stepper import BOS, EOS
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.runtime.decoder_graph import decoder_graph
from dragoman.runtime.encoder_graph import encoder_graph
from dragoman.runtime.engine import OnnxStepper
from dragoman.storage import SHORTLIST_VERSION, ModelDirectory
from dragoman.training.events import Event, Note

# ---------------------------------------------------------------------------------------------------------------------
# Alignment


def language(pairs: int, *, words: int = 20) -> EncodedPairs:
    """Sources of 3 to 6 of the ids from 4 on, and targets with the id 10 higher for each, in another order; now and then one more."""
    draw = np.random.default_rng(1)
    rows = []
    for _ in range(pairs):
        source = draw.integers(4, 4 + words, size=draw.integers(3, 7))
        target = [*(source[draw.permutation(len(source))] + 10).tolist(), *([40] if draw.random() < 0.2 else [])]
        rows.append((source.tolist(), target))
    return EncodedPairs.of(rows)


def model_1(pairs: EncodedPairs, rounds: int) -> dict[tuple[int, int], float]:
    """IBM Model 1 as Brown et al. (1993) write it down, one link after another."""
    rows = [([NOTHING, *pairs.source(i).tolist()], pairs.target(i).tolist()) for i in range(len(pairs))]
    table: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(rounds):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        for source, target in rows:
            for t in target:
                total = sum(table[s, t] for s in source)
                for s in source:
                    counts[s, t] += table[s, t] / total
        sums: dict[int, float] = defaultdict(float)
        for (s, _), count in counts.items():
            sums[s] += count
        table = defaultdict(float, {(s, t): count / sums[s] for (s, t), count in counts.items()})
    return table


def as_dict(table: Translations) -> dict[tuple[int, int], float]:
    rows = zip(table.sources.tolist(), table.targets.tolist(), table.probabilities.tolist(), strict=True)
    return {(s, t): p for s, t, p in rows}


@pytest.mark.parametrize("links", [7, 1_000_000])
def test_probabilities_are_those_of_ibm_model_1(links: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alignment, "_CHUNK_LINKS", links)  # pairs by the chunk, or all at once
    pairs = language(30)
    found, expected = as_dict(align(pairs, target_vocab_size=50)), model_1(pairs, alignment.ROUNDS)
    assert found.keys() == expected.keys()
    assert [found[key] for key in expected] == pytest.approx(list(expected.values()))


def test_the_translation_of_every_word_comes_first() -> None:
    pairs = language(400)
    table = align(pairs, target_vocab_size=50)
    offsets, ids = best_targets(table, source_vocab_size=24, most=3)
    assert [ids[offsets[word]] for word in range(4, 24)] == list(range(14, 34))
    assert ids[offsets[NOTHING]] == 40  # what translates nothing is a translation of nothing
    assert np.diff(offsets).max() == 3
    assert np.diff(offsets)[1:4].max() == 0
    np.testing.assert_array_equal(
        table.target_counts, np.bincount(np.concatenate([pairs.target(i) for i in range(400)]), minlength=50)
    )


def test_of_a_large_corpus_pairs_from_everywhere_are_aligned(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = language(400)
    monkeypatch.setattr(alignment, "MOST_LINKS", 2_500)  # of about 11,000
    table = align(pairs, target_vocab_size=50)
    assert 60 < table.pairs < 100
    monkeypatch.setattr(alignment, "_CHUNK_LINKS", 700)
    news: list[tuple[str, int, int]] = []
    align(pairs, target_vocab_size=50, watch=lambda *said: news.append(said))
    assert news[-1] == ("aligning", table.pairs, table.pairs)
    for what in (
        "counting words",
        *(f"aligning, round {turn} of {alignment.ROUNDS}" for turn in (1, alignment.ROUNDS)),
    ):
        steps = [(done, total) for said, done, total in news if said == what]
        assert len(steps) > 2
        assert steps[0] == (0, table.pairs)
        assert all(before[0] < after[0] < table.pairs for before, after in itertools.pairwise(steps))


# ---------------------------------------------------------------------------------------------------------------------
# Candidates

VOCAB = 11
OF_EACH = {4: [5, 6], 5: [4], 6: [10], 7: [7], 8: [], 9: [8, 9], 10: [6]}
"""Target ids that each source id of `test_model`'s vocabularies may become."""


def shortlist(of_each: dict[int, list[int]] = OF_EACH, frequent: Iterable[int] = ()) -> Shortlist:
    rows = [of_each.get(token, []) for token in range(VOCAB)]
    offsets = np.cumsum([0, *map(len, rows)])
    return Shortlist(
        offsets, np.array([i for row in rows for i in row], np.uint16), np.array(list(frequent), int), VOCAB
    )


def own_of(ids: list[int], *, copying: bool = False, always: Iterable[int] = (7,)) -> list[int]:
    """What the candidates of a source are by definition."""
    copied = {COPY_IDS[token] for token in ids} - {0} if copying else set()
    return sorted({*SPECIAL, *always, *copied, *(i for token in ids for i in OF_EACH[token])})


def test_candidates_are_translations_frequent_and_special_ids_and_what_is_asked_for() -> None:
    sources = [[4, 9], [8], [4, 4, 6]]
    found = shortlist(frequent=[7]).candidates(sources, also=[np.array(ids, int) for ids in ([], [10], [10, 4])])
    own = [found.union[row[row >= 0]].tolist() for row in found.places]
    assert own == [[0, 1, 2, 3, 5, 6, 7, 8, 9], [0, 1, 2, 3, 7, 10], [0, 1, 2, 3, 4, 5, 6, 7, 10]]
    assert found.union.tolist() == sorted({i for row in own for i in row})
    for row in range(3):  # and what stands beside it changes nothing
        alone = shortlist(frequent=[7]).candidates([sources[row]], also=[np.array([[], [10], [10, 4]][row], int)])
        assert alone.union[alone.places[0]].tolist() == own[row]
    assert found.place_of(np.array([[5, 8], [7, 10], [4, 0]])).tolist() == [[4, 7], [4, 5], [4, 0]]


def test_constraints_need_their_words() -> None:
    assert needed(None).tolist() == []
    found = needed(Constraints(prefix=(9, 4), require=((5,), (4, 6)), forbid=((8,),), choices=((10, 9),)))
    assert found.tolist() == [4, 5, 6, 9, 10]


# ---------------------------------------------------------------------------------------------------------------------
# The engine


def engine(model: Seq2Seq, *, precision: str = "float32", chosen: Shortlist | None = None) -> OnnxStepper:
    graphs = encoder_graph(model, precision=precision), decoder_graph(model, precision=precision, shortlist=True)
    return OnnxStepper(*graphs, threads=1, shortlist=chosen or shortlist(frequent=[7]))


def without_others(model: Seq2Seq, own: list[int]) -> TorchStepper:
    """The model with nothing but candidates to say, by its output layer's bias."""
    with torch.no_grad():
        others = sorted(set(range(VOCAB)) - set(own))
        model.decoder.output.bias[others] = -1e9
    return TorchStepper(model)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(("shape", "cell"), list(itertools.product(SHAPES, ["lstm", "gru"])))
def test_log_probabilities_are_those_of_a_model_that_has_no_other_words(shape: str, cell: str, precision: str) -> None:
    sizes: dict[str, Any] = {} if precision == "float32" else {"hidden_size": 64, "embedding_size": 64}
    short = engine(build(shape, cell, **sizes).float().eval(), precision=precision)
    batch = [[4, 5, 6], [9, 10, 4, 9], [8]]
    for row, ids in enumerate(batch):
        own = own_of(ids, copying="copying" in shape)
        reference = without_others(build(shape, cell, **sizes).float().eval(), own)
        one, other = reference.start([ids]), short.start(batch)
        for last in (BOS, 4, 7):
            expected = reference.step(one, np.array([last]), top_k=None)
            given = short.step(other, np.full(3, last), top_k=None)
            tolerance = 1e-5 if precision == "float32" else ROUNDING["int8"]
            np.testing.assert_allclose(given.log_probs[row, own], expected.log_probs[0, own], atol=tolerance)
            np.testing.assert_array_equal(np.flatnonzero(given.log_probs[row] > -np.inf), own)
            assert np.exp(given.log_probs[row]).sum() == pytest.approx(1, abs=1e-5)
            ranked = short.step(other, np.full(3, last), top_k=4)
            np.testing.assert_array_equal(ranked.log_probs[row], -np.sort(-given.log_probs[row])[:4])
            np.testing.assert_array_equal(ranked.log_probs[row], given.log_probs[row, ranked.ids[row]])
            one, other = expected.state, given.state


@pytest.mark.parametrize("precision", ["float32", "int8", "float16"])
def test_with_all_words_it_is_the_engine_without_a_shortlist(precision: str) -> None:
    model = build("multihead", "lstm", hidden_size=64, embedding_size=64).float().eval()
    short = engine(model, precision=precision, chosen=shortlist(frequent=range(VOCAB)))
    options = SearchOptions(beam_size=4, num_hypotheses=4, max_length=12)
    sources = [ids for batch in BATCHES for ids in batch]
    for one, other in zip(
        search(engine_of(model, precision), sources, options=options),
        search(short, sources, options=options),
        strict=True,
    ):
        assert [found.ids for found in one] == [found.ids for found in other]
        assert [found.score for found in one] == pytest.approx([found.score for found in other], abs=1e-5)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("beam_size", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_law_3_a_source_gets_the_same_outputs_of_its_own_candidates_in_any_company(
    shape: str, beam_size: int, precision: str
) -> None:
    short = engine(build(shape, "lstm", hidden_size=64, embedding_size=64).float().eval(), precision=precision)
    options = SearchOptions(beam_size=beam_size, num_hypotheses=beam_size, max_length=12)
    sources = [[4, 5, 6, 7, 8], [9, 10, 4], [5], [8], [4 + place % 3 for place in range(40)]]
    together = search(short, sources, options=options)
    turned = search(short, sources[::-1], options=options)[::-1]
    for ids, *found in zip(sources, together, turned, strict=True):
        alone = search(short, [ids], options=options)[0]
        own = set(own_of(ids, copying="copying" in shape))
        for given in found:
            assert [hypothesis.ids for hypothesis in given] == [hypothesis.ids for hypothesis in alone]
            assert [hypothesis.score for hypothesis in given] == pytest.approx(
                [hypothesis.score for hypothesis in alone], abs=1e-5
            )
            assert {token for hypothesis in given for token in hypothesis.ids} <= own


def test_samples_are_drawn_from_candidates() -> None:
    short = engine(build("general", "lstm").float().eval())
    options = SearchOptions(method="sample", num_hypotheses=50, max_length=9)
    for ids, found in zip([[4, 6], [8]], search(short, [[4, 6], [8]], options=options), strict=True):
        drawn = {token for hypothesis in found for token in hypothesis.ids}
        assert drawn == set(own_of(ids)) - {0, BOS}


def test_a_beam_wider_than_the_candidates_holds_nothing_else() -> None:
    short = engine(build("dot", "gru").float().eval(), chosen=shortlist())
    found = search(short, [[8], [4, 9]], options=SearchOptions(beam_size=9, num_hypotheses=9, max_length=2))
    assert {token for each in found[0] for token in each.ids} <= {1, EOS}
    assert {token for each in found[1] for token in each.ids} <= {1, EOS, 5, 6, 8, 9}


def test_the_best_outputs_that_can_be_made_of_candidates_are_found() -> None:
    """Best-first search, which reads whole distributions, agrees with brute force over the candidates."""
    model = build("general", "lstm").float().eval()
    ids = [4, 6]
    options = SearchOptions(method="best_first", num_hypotheses=3, length_penalty=0.0, max_length=3)
    found = search(engine(model), [ids], options=options)[0]
    reference = without_others(build("general", "lstm").float().eval(), own_of(ids))
    expected = search(reference, [ids], options=options)[0]
    assert [each.ids for each in found] == [each.ids for each in expected]


@pytest.mark.parametrize(
    ("constraints", "holds"),
    [
        (Constraints(prefix=(10, 9)), lambda ids: ids[:2] == (10, 9)),
        (Constraints(require=((10, 8), (4,))), lambda ids: (10, 8) in itertools.pairwise(ids) and 4 in ids),
        (Constraints(choices=((10, 10), (9,))), lambda ids: ids in ((10, 10, EOS), (9, EOS))),
    ],
    ids=["prefix", "require", "choices"],
)
def test_what_constraints_need_can_be_said(constraints: Constraints, holds: Callable[[tuple[int, ...]], bool]) -> None:
    short = engine(build("dot", "gru").float().eval(), chosen=shortlist())
    wider = short.with_candidates(needed(constraints))
    for found in search(wider, [[8], [7]], options=SearchOptions(max_length=9), constraints=constraints):
        assert found[0].finished
        assert holds(found[0].ids)
    unhelped = search(short, [[8]], options=SearchOptions(max_length=9), constraints=constraints)[0]
    assert not any(each.finished for each in unhelped)  # or nothing had to be added


# ---------------------------------------------------------------------------------------------------------------------
# The model directory


@pytest.fixture(scope="session")
def listed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with a shortlist, made by the command; copy it before you change it."""
    model = Path(shutil.copytree(trained, tmp_path_factory.mktemp("listed") / "model"))
    assert main(["shortlist", str(model), "--best", "3", "--frequent", "5"]) == 0
    return model


@pytest.fixture
def model(listed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(listed, tmp_path / "model"))


SOURCES = ["source 3 of many", "source 17 of many", "many"]


def candidates_of(model: Path, source: str) -> set[int]:
    texts = dragoman.load(model).texts
    chosen = Shortlist(**ModelDirectory.open(model).read_shortlist())
    return set(chosen.candidates([texts.encode_sources([source]).ids[0]]).union.tolist())


def test_outputs_are_made_of_candidates_and_the_command_says_so_too(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    translator = dragoman.load(listed, threads=1)
    found = translator.translate(SOURCES, shortlist=True, num_hypotheses=5, max_length=20)
    plain = translator.translate(SOURCES, num_hypotheses=5, max_length=20)
    for translation, other in zip(found, plain, strict=True):
        own = candidates_of(listed, translation.source)
        assert len(own) < translator.target_tokenizer.vocab_size
        assert {token for candidate in translation.candidates for token in candidate.ids} <= own
        assert not {token for candidate in other.candidates for token in candidate.ids} <= own  # or it shows nothing
    capsys.readouterr()
    assert main(["translate", str(listed), *SOURCES, "--shortlist", "--max-length", "20"]) == 0
    shown = capsys.readouterr().out.splitlines()
    expected = translator.translate(SOURCES, shortlist=True, max_length=20)
    assert shown == [translation.text for translation in expected]
    (tmp_path / "in.txt").write_text("\n".join(SOURCES) + "\n", encoding="utf-8")
    assert (
        main(["translate", str(listed), "--input", str(tmp_path / "in.txt"), "--shortlist", "--max-length", "20"]) == 0
    )
    assert capsys.readouterr().out.splitlines() == shown
    assert translator.translate(SOURCES[0], shortlist=True, max_length=20).text == shown[0]
    pieces = list(translator.stream(SOURCES[0], options=SearchOptions(shortlist=True, max_length=20)))
    assert "".join(piece.text for piece in pieces) == shown[0]
    traced = translator.trace(SOURCES[0], options=SearchOptions(shortlist=True, max_length=20))
    assert traced.translation.text == shown[0]


def test_the_same_pairs_give_the_same_bytes_from_a_file_too(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (model / "shortlist.npz").read_bytes()
    assert main(["shortlist", str(model), "--best", "3", "--frequent", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 36  # the training part's, of 40
    assert (model / "shortlist.npz").read_bytes() == before
    (tmp_path / "pairs.tsv").write_text(PAIRS, encoding="utf-8")
    shutil.rmtree(model / "training")
    (model / "shortlist.npz").unlink()
    assert main(["shortlist", str(model)]) == 2
    assert "PAIRS is missing, and" in capsys.readouterr().err
    for replaced in (False, True):
        assert main(["shortlist", str(model), str(tmp_path / "pairs.tsv"), "--json"]) == 0
        shown = capsys.readouterr()
        assert (f"the shortlist that {model} had is replaced\n" in shown.err) == replaced
    made = json.loads(shown.out)
    assert made["pairs"] == 40
    assert 4 < made["mean_candidates"] <= made["vocabulary"]
    numbers: Any = {"best": np.int64(3), "frequent": np.int32(5)}
    assert dragoman.make_shortlist(model, tmp_path / "pairs.tsv", **numbers).pairs == 40


def test_a_file_is_read_as_its_options_say_and_what_is_left_out_is_told(model: Path, tmp_path: Path) -> None:
    straight, swapped, bad = (tmp_path / name for name in ("straight.tsv", "swapped.txt", "bad.tsv"))
    straight.write_text(PAIRS, encoding="utf-8")
    rows = [line.split("\t") for line in PAIRS.splitlines()]
    swapped.write_text("".join(f"{target};{source}\n" for source, target in rows) + "one column\n", encoding="utf-8")
    bad.write_text("one column\n" * 9 + "source\tcible\n", encoding="utf-8")
    expected = dragoman.make_shortlist(model, straight)
    texts, arrays = dragoman.load(model).texts, ModelDirectory.open(model).read_shortlist()
    encoded = texts.encode_sources([source for source, _ in rows]).ids.values()
    assert expected.source_words == len({token for ids in encoded for token in ids})
    seen: list[Event] = []
    options = ReadOptions(source=("2",), target="1", separator=";")
    assert dragoman.make_shortlist(model, swapped, options=options, listener=seen.append) == expected
    again = ModelDirectory.open(model).read_shortlist()
    assert all(np.array_equal(value, again[name]) for name, value in arrays.items())
    (warning,) = [event.text for event in seen if isinstance(event, Note) and event.warning]
    assert "1 unusable row" in warning
    before = (model / "shortlist.npz").read_bytes()
    with pytest.raises(DataError, match="too few columns"):
        dragoman.make_shortlist(model, bad)
    assert (model / "shortlist.npz").read_bytes() == before


def test_sources_have_as_many_columns_as_in_training(model: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("go\tPL\tva\nrun\tPL\tcours\n", encoding="utf-8")
    before = (model / "shortlist.npz").read_bytes()
    with pytest.raises(OptionError, match="`source` must name 1 column as in training, but names 2"):
        dragoman.make_shortlist(model, tmp_path / "pairs.tsv", options=ReadOptions(source=("1", "2"), target="3"))
    assert (model / "shortlist.npz").read_bytes() == before


def test_a_word_that_no_pair_has_may_stay_as_it_is(model: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.tsv").write_text("source\tcible\n", encoding="utf-8")
    dragoman.make_shortlist(model, [tmp_path / "pairs.tsv"], best=1, frequent=1)
    texts = dragoman.load(model).texts
    same = {texts.source_tokenizer.ids_in(texts.target_tokenizer)[i] for i in texts.encode_sources(["7"]).ids[0]} - {0}
    assert same
    assert same <= candidates_of(model, "7")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda p: p.unlink(), "has no shortlist; make it with"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:-9]), "is damaged"),
    "empty": (lambda p: p.write_bytes(b""), "is damaged"),
    "one bit": (flip_a_bit, "is damaged"),
    "no archive": (lambda p: p.write_bytes(b"something else"), "is damaged"),
    "lacking": (lambda p: np.savez(p, facts=np.array('{"format_version": 1, "vocabularies": ""}')), "is damaged"),
    "compressed": (lambda p: np.savez_compressed(p, **np.load(p)), "is damaged: it is compressed"),
    "newer": (lambda p: rewrite(p, format_version=SHORTLIST_VERSION + 1), "was written by a newer dragoman"),
    "other words": (lambda p: rewrite(p, vocabularies="1-0"), "is for other vocabularies"),
}


def rewrite(path: Path, **facts: object) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    known = json.loads(str(arrays.pop("facts"))) | facts
    np.savez(path, facts=np.array(json.dumps(known)), **arrays)


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_named_with_the_command_that_mends_it(
    model: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = DAMAGES[kind]
    damage(model / "shortlist.npz")
    translator = dragoman.load(model)
    with pytest.raises(StorageError, match=message) as caught:
        translator.translate("source 3", shortlist=True)
    assert "\n" not in str(caught.value)
    assert f"dragoman shortlist {model}" in str(caught.value)
    assert translator.translate("source 3").candidates  # nobody else is troubled
    assert main(["shortlist", str(model)]) == 0
    assert dragoman.load(model).translate("source 3", shortlist=True).candidates


def test_a_vocabulary_is_the_same_whatever_its_lines_end_in(model: Path) -> None:
    """As after a version control that writes text as the system does, whose models open."""
    directory = ModelDirectory.open(model)
    expected = directory.read_shortlist()
    for name in directory.config["tokenizer"]["files"]:
        content = (model / name).read_bytes()
        assert b"\n" in content
        (model / name).write_bytes(content.replace(b"\n", b"\r\n"))
    found = ModelDirectory.open(model).read_shortlist()
    np.testing.assert_array_equal(found["ids"], expected["ids"])


def test_any_byte_changed_is_refused_or_changes_nothing(model: Path) -> None:
    file, directory = model / "shortlist.npz", ModelDirectory.open(model)
    whole, expected, refused = file.read_bytes(), directory.read_shortlist(), 0
    for place in [*range(0, len(whole), 41), *range(len(whole) - 100, len(whole))]:
        for bit in (1, 128):
            content = bytearray(whole)
            content[place] ^= bit
            file.write_bytes(content)
            try:
                found = directory.read_shortlist()
            except StorageError:
                refused += 1
                continue
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value)
    assert refused > 50


def test_its_graphs_are_of_these_weights_and_exporting_renews_them(model: Path) -> None:
    flip_a_bit(model / "model.safetensors")
    with pytest.raises(StorageError, match="are of other weights"):
        dragoman.load(model, engine="onnx")
    with pytest.raises(StorageError, match="are of other weights"):
        dragoman.make_shortlist(model)
    dragoman.export(model, threads=1)
    for precision in ("float32", "int8"):
        assert dragoman.load(model, precision=precision).translate("source 3", shortlist=True).candidates
    flip_a_bit(model / "onnx" / "decoder.int8.shortlist.onnx")
    with pytest.raises(StorageError, match=r"decoder\.int8\.shortlist\.onnx is damaged; .* dragoman export"):
        dragoman.load(model, precision="int8").translate("source 3", shortlist=True)


def test_it_is_never_given_to_another_model_that_takes_the_place(trained: Path, tmp_path: Path) -> None:
    model, other = (Path(shutil.copytree(trained, tmp_path / name)) for name in ("model", "other"))
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    for name in config["tokenizer"]["files"]:  # as many words, but others
        text = (other / name).read_text(encoding="utf-8").replace("source", "sourcf").replace("cible", "ciblf")
        (other / name).write_text(text, encoding="utf-8")
    del config["tokenizer"]["checksums"]
    (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = other / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-4] + bytes([content[-4] ^ 1]) + content[-3:])
    listed = json.loads((other / "onnx" / "graphs.json").read_text(encoding="utf-8"))
    (other / "onnx" / "graphs.json").write_text(json.dumps({**listed, "weights": checksum(weights)}), encoding="utf-8")

    def replacing(event: Event) -> None:
        if other.exists():  # while the pairs are aligned
            shutil.rmtree(model)
            other.rename(model)

    with pytest.raises(StorageError, match="model was replaced, moved or removed after it was loaded"):
        dragoman.make_shortlist(model, listener=replacing)
    assert not ModelDirectory.open(model).has_shortlist


def test_a_bundle_and_a_copy_have_it(listed: Path, trained: Path, tmp_path: Path) -> None:
    expected = dragoman.load(listed, precision="int8").translate(SOURCES, shortlist=True)
    ModelDirectory.open(listed).write_bundle(tmp_path / "a.dragoman", precision="int8")
    dragoman.load(listed).save_pretrained(tmp_path / "copy")
    for other in (tmp_path / "a.dragoman", tmp_path / "copy"):
        found = dragoman.load(other, precision="int8").translate(SOURCES, shortlist=True)
        assert [translation.text for translation in found] == [translation.text for translation in expected]
    ModelDirectory.open(trained).write_bundle(tmp_path / "b.dragoman", precision="int8")
    with pytest.raises(StorageError, match=r"b\.dragoman has no shortlist; make it with: dragoman shortlist, for the"):
        dragoman.load(tmp_path / "b.dragoman").translate("a", shortlist=True)


def test_it_needs_no_torch(listed: Path) -> None:
    expected = dragoman.load(listed).translate("source 3 of many", shortlist=True, max_length=9).text
    done = run_without_extra("translate", str(listed), "source 3 of many", "--shortlist", "--max-length", "9")
    assert (done.returncode, done.stdout.strip()) == (0, expected), done.stderr


def test_what_makes_no_sense_with_it_is_said_in_one_line(listed: Path) -> None:
    def refused(call: Callable[[], object], message: str) -> None:
        with pytest.raises(OptionError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)

    torch_model, together = dragoman.load(listed, engine="torch"), dragoman.load(listed, ensemble=[listed])
    refused(lambda: torch_model.translate("a", shortlist=True), "`shortlist` needs `engine` onnx, but torch runs")
    refused(lambda: together.translate("a", shortlist=True), "`shortlist` must not be given with an `ensemble`")
    refused(lambda: SearchOptions(shortlist=True, match="a+"), "`match` must not be given with `shortlist`")
    refused(lambda: SearchOptions(shortlist=True, min_confidence=0.5), "`min_confidence` must not be given with")
    refused(
        lambda: dragoman.load(listed).calibrate(["a"], [["b"]], options=SearchOptions(shortlist=True)),
        "`shortlist` must not be given to a calibration",
    )
    refused(lambda: search(torch_model.stepper, [[4]], options=SearchOptions(shortlist=True)), "is for `translate`")
    for name in ("best", "frequent"):
        refused(
            lambda name=name: dragoman.make_shortlist(listed, **{name: 0}), f"`{name}` must be at least 1, but is 0"
        )
        refused(lambda name=name: dragoman.make_shortlist(listed, **{name: 5.5}), f"`{name}` must be a whole number")


def test_a_calibration_of_the_whole_vocabulary_gives_no_confidence_with_it(model: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.txt").write_text("cible 3 de tant\n", encoding="utf-8")
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    stored = {"calibration": {"a": 1.0, "b": 1.0, "c": 0.0}}
    (model / "config.json").write_text(json.dumps(config | stored), encoding="utf-8")
    translator = dragoman.load(model, threads=1)
    for shortlist in (False, True):
        options = SearchOptions(shortlist=shortlist, choices=str(tmp_path / "answers.txt"))
        [found] = translator.translate(SOURCES[0], options=options).candidates
        assert (found.text, found.confidence is None) == ("cible 3 de tant", shortlist)


def test_constraints_in_text_hold_with_it(listed: Path) -> None:
    translator = dragoman.load(listed)
    for values in ({"prefix": "cible 2"}, {"require": ("39",)}):
        options = SearchOptions(shortlist=True, max_length=12, **values)  # type: ignore[arg-type]
        for found in translator.translate(SOURCES, options=options):
            text = found.candidates[0].text
            assert text.startswith("cible 2") if "prefix" in values else "39" in text


def test_an_output_is_gone_on_with_only_under_the_same_shortlist(model: Path) -> None:
    before = dragoman.load(model).fingerprint
    dragoman.make_shortlist(model, best=1)
    assert dragoman.load(model).fingerprint != before


def test_a_graph_that_is_not_the_models_is_not_kept(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dragoman.runtime.export as exporting

    def shifted(other: Seq2Seq, **how: Any) -> bytes:
        with torch.no_grad():
            other.decoder.output.bias[5] += 0.01
        return decoder_graph(other, **how)

    before = (model / "shortlist.npz").read_bytes()
    monkeypatch.setattr(exporting, "decoder_graph", shifted)
    with pytest.raises(StorageError, match=r"for a shortlist is not what the one without computes.*dragoman export"):
        dragoman.make_shortlist(model, best=1)
    assert (model / "shortlist.npz").read_bytes() == before


def test_a_model_without_graphs_has_none(model: Path) -> None:
    shutil.rmtree(model / "onnx")
    with pytest.raises(DragomanError, match=r"has no ONNX graphs; make them with: dragoman export"):
        dragoman.make_shortlist(model)

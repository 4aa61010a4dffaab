"""Laws of BPE dropout: the paper's distribution, the same text, and the same batches whenever and wherever they are made."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_batching import same
from test_tokenization import FALLBACK, PLAIN, TEXTS

import dragoman
from dragoman.config import TrainOptions
from dragoman.corpus import subword_dropout
from dragoman.corpus.batching import BatchPlan
from dragoman.corpus.dataset import EncodedPairs
from dragoman.corpus.subword_dropout import SplitAnew, SubwordDropout, check_subword_dropout
from dragoman.corpus.tokenization import SEPARATOR, Tokenizer, library_json
from dragoman.corpus.tokenizer_learning import learn
from dragoman.errors import Interrupted, OptionError
from dragoman.training import session
from dragoman.training.events import ignore
from dragoman.training.verifying import verify_resume

JAMO = Tokenizer([learn(TEXTS, method="bpe", jamo=True)])
WORDS = Tokenizer([learn(["low lower lowest newer newest wide wider widest"] * 3, method="bpe", vocab_size=40)])
COLUMNS = Tokenizer(
    [learn(["V;PST;NOM(3,PL)"], method="features"), learn(TEXTS, method="bpe", vocab_size=300)], name="tokenizer.source"
)
TOKENIZERS = {"plain": PLAIN["bpe"], "bytes": FALLBACK["bpe"], "jamo": JAMO}


def again(tokenizer: Tokenizer, rows: list[list[int]], share: float, *, seed: int = 1) -> list[list[int]]:
    """`rows` of ids, split anew."""
    flat, lengths = np.array([i for row in rows for i in row], np.int32), np.array([len(row) for row in rows])
    ids, counts = SubwordDropout(tokenizer, share)(flat, lengths, np.random.default_rng(seed))
    assert ids.dtype == flat.dtype
    return [part.tolist() for part in np.split(ids, np.cumsum(counts)[:-1])]


anything = st.text(max_size=60) | st.text(st.sampled_from("aL'? !\u00a0é-.(3,P)\ufffd\n집xeau"), max_size=60)


@pytest.mark.parametrize("kind", TOKENIZERS)
@given(texts=st.lists(anything, min_size=1, max_size=5), share=st.sampled_from([0.0, 0.1, 0.7]))
@example(texts=["don\u0436't"], share=0.0)  # one word, of which the unknown character makes three
@settings(max_examples=60, deadline=None)
def test_nothing_left_out_is_the_librarys_segmentation_and_the_text_is_the_same_at_any_share(
    kind: str, texts: list[str], share: float
) -> None:
    tokenizer = TOKENIZERS[kind]
    rows = tokenizer.encode_batch(texts)
    found = again(tokenizer, rows, share)
    assert [tokenizer.decode(row) for row in found] == [tokenizer.decode(row) for row in rows]
    if not share:
        assert found == rows


def exactly(tokenizer: Tokenizer, symbols: tuple[str, ...], share: float) -> dict[tuple[str, ...], float]:
    """The paper's algorithm 1, every outcome with its probability, written from the list of merges."""
    merges = [tuple(pair) for pair in library_json(tokenizer.columns()[0][0].library)["model"]["merges"]]
    possible = sorted(
        (merges.index(pair), place) for place, pair in enumerate(itertools.pairwise(symbols)) if pair in merges
    )
    found = Counter({symbols: share ** len(possible)})  # all are left out
    for better, (_, place) in enumerate(possible):
        merged = (*symbols[:place], symbols[place] + symbols[place + 1], *symbols[place + 2 :])
        for tokens, probability in exactly(tokenizer, merged, share).items():
            found[tokens] += share**better * (1 - share) * probability
    return found


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("word", ["lowest", "wider", "newest"])
def test_segmentations_have_the_papers_distribution(word: str, share: float) -> None:
    count = 6_000
    expected = exactly(WORDS, tuple(f"▁{word}"), share)
    assert sum(expected.values()) == pytest.approx(1)
    drawn = Counter(tuple(WORDS.tokens(row)) for row in again(WORDS, [WORDS.encode(word)] * count, share))
    assert set(drawn) <= set(expected)
    assert len(drawn) > 5
    for tokens, probability in expected.items():
        deviation = math.sqrt(probability * (1 - probability) / count)
        assert abs(drawn[tokens] / count - probability) <= 4.5 * deviation + 1e-12, tokens


def test_how_many_words_are_merged_side_by_side_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = PLAIN["bpe"].encode_batch([*TEXTS, "a-" * 8 + "a" * 60, *TEXTS])
    expected = again(PLAIN["bpe"], rows, 0.3)
    for words in (1, 7):
        monkeypatch.setattr(subword_dropout, "_BLOCK", words)
        assert again(PLAIN["bpe"], rows, 0.3) == expected


def test_the_more_is_left_out_the_more_tokens_there_are_up_to_characters() -> None:
    rows = FALLBACK["bpe"].encode_batch(TEXTS)
    lengths = [sum(map(len, again(FALLBACK["bpe"], rows, share))) for share in (0.0, 0.1, 0.5, 0.9999)]
    assert lengths == sorted(set(lengths))
    characters = sum(len(text.strip()) + 1 for text in TEXTS)  # and the mark before the first word
    assert lengths[-1] == pytest.approx(characters, rel=0.01)


def pairs() -> EncodedPairs:
    rows = PLAIN["bpe"].encode_batch([*TEXTS, *reversed(TEXTS)] * 8)
    return EncodedPairs.of(zip(rows, reversed(rows), strict=True))


def plan(data: EncodedPairs, *, seed: int = 1, share: float = 0.3) -> BatchPlan:
    split = SplitAnew(data, PLAIN["bpe"], PLAIN["bpe"], share=share, seed=seed)
    return BatchPlan(split, batch_tokens=200, seed=seed)


def test_a_batch_is_a_function_of_seed_epoch_and_position_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subword_dropout, "_CHUNK", 50)  # several chunks, the last one not full
    data = pairs()
    batches = list(plan(data).epoch(3))
    assert all(max(batch.source_ids.size, batch.target_output.size) <= 200 for batch in batches)
    for start in (0, 5, len(batches) - 1):  # as a resumed run would
        for one, other in zip(plan(data).epoch(3, start=start), batches[start:], strict=True):
            assert same(one, other)
    monkeypatch.setattr(subword_dropout, "_MOST_WORDS", 2)  # nothing hangs on what is remembered of words
    assert all(same(one, other) for one, other in zip(plan(data).epoch(3), batches, strict=True))


def test_every_epoch_splits_every_pair_anew_and_seeds_differ() -> None:
    data = pairs()

    def targets(epoch: int, **options: float) -> list[list[int]]:
        found = {}
        for batch in plan(data, **options).epoch(epoch):  # type: ignore[arg-type]
            for i, ids, length in zip(batch.indices, batch.target_output, batch.target_lengths, strict=True):
                found[int(i)] = ids[: length - 1].tolist()
        return [found[i] for i in range(len(data))]

    stored = [data.target(i).tolist() for i in range(len(data))]
    first, second, other = targets(0), targets(1), targets(0, seed=2)
    for one, two in itertools.combinations((stored, first, second, other), 2):
        assert sum(a != b for a, b in zip(one, two, strict=True)) > 0.7 * len(data)
    assert targets(0, share=0.0) == stored
    decode = PLAIN["bpe"].decode
    assert [decode(ids) for ids in second] == [decode(ids) for ids in stored]


def test_each_side_is_split_by_its_own_merges_and_equal_rows_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subword_dropout, "_CHUNK", 30)
    texts = ["the lowest and the newest"] * 90
    sides = PLAIN["bpe"], WORDS
    stored = EncodedPairs.of(zip(*(side.encode_batch(texts) for side in sides), strict=True))
    anew = SplitAnew(stored, *sides, share=0.5, seed=1)(0)
    for tokenizer, new, old in zip(sides, (anew.source, anew.target), (stored.source, stored.target), strict=True):
        rows = [new(i).tolist() for i in range(90)]
        assert {tokenizer.decode(row) for row in rows} == {tokenizer.decode(old(0).tolist())}
        assert rows[:30] != rows[30:60] != rows[60:]
        assert len(set(map(tuple, rows))) > 10


def test_only_columns_of_bpe_are_split_anew() -> None:
    texts = [f"V;PST;NOM(3,PL)\t{text}" for text in TEXTS]
    rows = COLUMNS.encode_batch(texts)
    assert again(COLUMNS, rows, 0.0) == rows
    found = again(COLUMNS, rows, 0.5)
    assert [COLUMNS.decode(row) for row in found] == [COLUMNS.decode(row) for row in rows]
    for row, before in zip(found, rows, strict=True):
        assert row != before
        assert row[: row.index(SEPARATOR) + 1] == before[: before.index(SEPARATOR) + 1]


def test_it_needs_bpe() -> None:
    check_subword_dropout(["char", "char"], 0.0)
    check_subword_dropout(["char", "bpe"], 0.1)
    with pytest.raises(OptionError, match=r"`subword_dropout` needs the tokenizer bpe on a side at least, .* unigram"):
        check_subword_dropout(["unigram", "unigram"], 0.1)
    with pytest.raises(OptionError, match="`subword_dropout` must be less than 1, but is 1"):
        TrainOptions(subword_dropout=1.0)


ROWS = [(f"turn {i} left, then right", f"tourne {i} fois à droite") for i in range(40)]


def options(**more: object) -> TrainOptions:
    small = {"hidden_size": 8, "embedding_size": 8, "layers": 1, "batch_tokens": 100, "threads": 1, "device": "cpu"}
    return TrainOptions(**{**small, "tokenizer": "bpe", **more})  # type: ignore[arg-type]


def test_law_6_a_run_with_it_resumes_exactly() -> None:
    proof = verify_resume(ROWS, options(subword_dropout=0.3), listener=lambda _: None, steps=6)
    assert (proof.steps, proof.stopped_at) == (6, 3)


def test_training_sees_it_and_nothing_else_does(tmp_path: Path) -> None:
    for name, share in (("with", 0.3), ("without", 0.0)):
        dragoman.train(ROWS, out=tmp_path / name, options=options(subword_dropout=share, max_steps=3))
    one, other = (load_file(tmp_path / name / "training/last.safetensors") for name in ("with", "without"))
    assert any(not torch.equal(value, other[name]) for name, value in one.items())
    for name in ("train.source.npy", "train.target.npy", "dev.source.npy", "dev.target.npy"):
        left, right = (tmp_path / run / "training" / "data" / name for run in ("with", "without"))
        assert left.read_bytes() == right.read_bytes()
    translator = dragoman.load(tmp_path / "with", engine="torch")
    assert len({translator.translate("turn 3 left").score for _ in range(3)}) == 1


def test_an_epoch_is_split_once_however_often_it_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split, epochs = SplitAnew.__call__, []

    def counted(self: SplitAnew, epoch: int) -> EncodedPairs:
        epochs.append(epoch)
        return split(self, epoch)

    monkeypatch.setattr(SplitAnew, "__call__", counted)
    with pytest.raises(Interrupted):
        session.start(
            ROWS,
            tmp_path / "m",
            options(subword_dropout=0.3, epochs=5),
            overwrite=False,
            listener=ignore,
            command=None,
            stop_at=2,
        )
    assert epochs == [0]
    with pytest.raises(Interrupted):
        session.go_on(tmp_path / "m", TrainOptions(epochs=6, device="cpu"), listener=ignore, stop_at=3)
    assert epochs == [0, 0]


def test_a_tokenizer_without_bpe_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="`subword_dropout` needs the tokenizer bpe"):
        dragoman.train(ROWS, out=tmp_path / "m", options=options(tokenizer="char", subword_dropout=0.1))
    assert list(tmp_path.iterdir()) == []

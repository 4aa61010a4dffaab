"""Laws of changed training pairs: every pair once, texts that read as one or as typed, the same rows whenever they are made."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_batching import ROWS, many, same
from test_tokenization import METHODS, PLAIN, TEXTS

import dragoman
from dragoman.config import TokenizerMethod, TrainOptions
from dragoman.corpus import augmentation
from dragoman.corpus.augmentation import (
    AUGMENTATIONS,
    HASTY,
    Augmented,
    AugmentedPairs,
    RandomOrder,
    check_augmentation,
)
from dragoman.corpus.batching import BatchPlan
from dragoman.corpus.dataset import LONGEST, EncodedPairs
from dragoman.corpus.subword_dropout import SplitAnew
from dragoman.corpus.tokenization import UNK, Tokenizer
from dragoman.corpus.tokenizer_learning import learn
from dragoman.errors import OptionError
from dragoman.training.summarizing import _lengths_agree
from dragoman.training.verifying import verify_resume

SPACED = [text for text in TEXTS if " " in text and text.isascii()]
UNSPACED = ["目をつぶって。", "ほら。", "私は行く。", "彼は来た。"]
JAPANESE = {method: Tokenizer([learn(UNSPACED, method=method)]) for method in ("char", "bpe", "unigram", "word")}


def numbers() -> Tokenizer:
    """A tokenizer of which pairs that are made of numbers need no more than its size."""
    return Tokenizer([learn([" ".join(map(str, range(100)))], method="symbols")])


def encoded(texts: list[str], tokenizer: Tokenizer) -> EncodedPairs:
    """Pairs whose target is their source."""
    return EncodedPairs.of((ids, ids) for ids in tokenizer.encode_batch(texts))


def augmented(
    pairs: EncodedPairs,
    source: Tokenizer,
    target: Tokenizer,
    *,
    concatenate: float = 0.0,
    source_noise: float = 0.0,
    other_names: float = 0.0,
    recombine: float = 0.0,
    seed: int = 1,
    split: SplitAnew | None = None,
) -> Augmented:
    """Pairs that are only joined, only typed in haste, or only have other names or parts."""
    shares = dict(zip(AUGMENTATIONS, (concatenate, source_noise, other_names, recombine), strict=True))
    return Augmented(pairs, source, target, **shares, seed=seed, split=split)


def rows(joined: AugmentedPairs) -> list[tuple[list[int], list[int]]]:
    """The ids of every row; its lengths are those that `lengths` tells."""
    every = joined.indices()
    sides = []
    for (flat, lengths), told in zip(
        (joined.sources(every), joined.targets(every)), joined.lengths(every), strict=True
    ):
        assert lengths.tolist() == told.tolist()
        assert len(flat) == lengths.sum()
        sides.append([part.tolist() for part in np.split(flat, np.cumsum(lengths)[:-1])])
    return list(zip(*sides, strict=True))


@given(data=ROWS, share=st.sampled_from([0.0, 0.3, 0.9]), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_every_pair_is_there_once_whole_and_with_its_own_target(
    data: list[tuple[list[int], list[int]]], share: float, seed: int, epoch: int
) -> None:
    marked = [([4 + i, *source[:3]], [4 + i, *target]) for i, (source, target) in enumerate(data)]
    joined = augmented(EncodedPairs.of(marked), numbers(), numbers(), concatenate=share, seed=seed)(epoch)
    left = list(marked)
    for source, target in rows(joined):
        while source:  # cut one pair after the other off the row
            pair = next(
                pair for pair in left if source[: len(pair[0])] == pair[0] and target[: len(pair[1])] == pair[1]
            )
            left.remove(pair)
            source, target = source[len(pair[0]) :], target[len(pair[1]) :]
        assert target == []
    assert left == []
    assert share or len(joined.indices()) == len(data)


@pytest.mark.parametrize("method", METHODS)
def test_spaced_texts_are_joined_by_a_space(method: TokenizerMethod) -> None:
    tokenizer = PLAIN[method]
    texts = ["Go home. I don't know!", "Who's there (3,PL)?"] * 20
    joined = rows(augmented(encoded(texts, tokenizer), tokenizer, tokenizer, concatenate=0.5, seed=1)(0))
    assert len(joined) < len(texts)
    said = [tokenizer.decode(source) for source, _ in joined]
    alone = {tokenizer.decode(tokenizer.encode(text)) for text in texts}
    assert " ".join(sorted(said)).count("home") == 20
    for text in said:
        assert any(text.startswith(one) for one in alone)
        for one in alone:
            text = text.replace(one, "|")
        assert set(text.split(" ")) == {"|"}
    if method != "features":  # it has no way to write a space between features
        assert all(source == tokenizer.encode(text) for (source, _), text in zip(joined, said, strict=True))


@pytest.mark.parametrize("method", JAPANESE)
def test_texts_without_spaces_are_joined_without_one(method: str) -> None:
    tokenizer = JAPANESE[method]
    joined = rows(augmented(encoded(UNSPACED * 10, tokenizer), tokenizer, tokenizer, concatenate=0.5, seed=1)(0))
    assert len(joined) < 40
    whole = "".join(tokenizer.decode(source) for source, _ in joined)
    if method == "word":  # a whole text is one word, which is not known without its space
        whole = whole.replace(" ", "")
    assert " " not in whole
    assert sorted(whole) == sorted("".join(UNSPACED * 10))


@pytest.mark.parametrize("method", ["word", "char", "bpe", "unigram"])
def test_phrases_of_one_word_are_joined_by_a_space_all_the_same(method: TokenizerMethod) -> None:
    tokenizer = Tokenizer([learn(["Hello.", "Thanks!", "Stop!", "Go home."] * 10, method=method)])
    joined = rows(
        augmented(
            encoded(["Hello.", "Thanks!", "Stop!", "Go home."] * 10, tokenizer), tokenizer, tokenizer, concatenate=0.5
        )(0)
    )
    said = " ".join(tokenizer.decode(source) for source, _ in joined)
    assert sorted(said.split()) == sorted(["Hello.", "Thanks!", "Stop!", "Go", "home."] * 10)
    mixed = [*UNSPACED, "iPhone が ほしい。"]  # some spaces in a script that has none between words
    tokenizer = Tokenizer([learn(mixed, method=method)])
    found = rows(augmented(encoded(mixed * 10, tokenizer), tokenizer, tokenizer, concatenate=0.5)(0))
    if method != "word":
        assert sum(tokenizer.decode(source).count(" ") for source, _ in found) == 20


def test_the_mark_of_a_space_is_none_among_single_characters() -> None:
    texts = ["new▁york", "los▁angeles", "rome"] * 10
    tokenizer = Tokenizer([learn(texts, method="char")])
    found = rows(augmented(encoded(texts, tokenizer), tokenizer, tokenizer, concatenate=0.5)(0))
    assert sorted("".join(tokenizer.decode(source) for source, _ in found)) == sorted("".join(texts))


def test_each_side_is_joined_in_its_own_way() -> None:
    english, japanese = PLAIN["bpe"], JAPANESE["bpe"]
    texts = [SPACED[i % len(SPACED)] for i in range(len(UNSPACED))]
    pairs = EncodedPairs.of(zip(english.encode_batch(texts * 5), japanese.encode_batch(UNSPACED * 5), strict=True))
    for source, target in rows(augmented(pairs, english, japanese, concatenate=0.6, seed=1)(0)):
        said, meant = english.decode(source), japanese.decode(target)
        while meant:
            one, other = next(
                (s, t) for s, t in zip(texts, UNSPACED, strict=True) if meant.startswith(t) and said.startswith(s)
            )
            said, meant = said.removeprefix(one).removeprefix(" "), meant.removeprefix(other)
        assert said == ""


def test_rows_are_a_function_of_seed_and_epoch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "_CHUNK", 700)  # several chunks, the last one not full
    pairs = many()

    def plan(seed: int = 1) -> BatchPlan:
        return BatchPlan(
            augmented(pairs, numbers(), numbers(), concatenate=0.3, seed=seed), batch_tokens=300, seed=seed
        )

    batches = list(plan().epoch(3))
    assert all(len(batch) == 1 or max(batch.source_ids.size, batch.target_output.size) <= 300 for batch in batches)
    for start in (0, 5, len(batches) - 1):  # as a resumed run would
        for one, other in zip(plan().epoch(3, start=start), batches[start:], strict=True):
            assert same(one, other)
    longest = [
        max(batch.target_lengths.max() for batch in plan(seed).epoch(epoch)) for seed, epoch in ((1, 3), (1, 4), (2, 3))
    ]
    assert min(longest) > 1.5 * pairs.target_lengths.max()
    orders = [
        rows(augmented(pairs, numbers(), numbers(), concatenate=0.3, seed=seed)(epoch))
        for seed, epoch in ((1, 3), (1, 4), (2, 3))
    ]
    assert all(one != other for one, other in pairwise([*orders, orders[0]]))


def test_a_pair_follows_another_one_with_the_probability_asked_for() -> None:
    pairs = EncodedPairs.of([([5], [6])] * 20_000)
    joined = augmented(pairs, numbers(), numbers(), concatenate=0.2, seed=1)(0)
    sizes = joined.lengths(joined.indices())[0]
    assert abs(sizes.mean() - 1 / 0.8) < 0.02
    # Most texts are of one sentence or two, and some are long: with one probability for all, not one in 10,000 rows would be.
    shares = [sizes[sizes >= least].sum() / sizes.sum() for least in (2, 8)]
    assert 0.25 < shares[0] < 0.35
    assert 0.05 < shares[1] < 0.1


def test_a_row_gets_no_longer_than_what_is_learned_from() -> None:
    long, short = ([4] * 700, [5] * 10), ([6] * 10, [7] * 10)
    joined = augmented(EncodedPairs.of([long, short] * 50), numbers(), numbers(), concatenate=0.5, seed=1)(0)
    found = rows(joined)
    assert max(len(source) for source, _ in found) <= LONGEST
    assert any(len(source) > 700 for source, _ in found)
    assert sum(len(source) for source, _ in found) == 50 * 710


def test_a_row_has_at_most_so_many_pairs() -> None:
    joined = augmented(EncodedPairs.of([([5], [6])] * 2_000), numbers(), numbers(), concatenate=0.9, seed=1)(0)
    sizes = joined.lengths(joined.indices())[0]
    assert (sizes.max(), sizes.sum()) == (augmentation._MOST, 2_000)


@given(count=st.integers(0, 3_000), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=60, deadline=None)
def test_a_random_order_has_every_number_once_and_any_part_of_it_is_the_same(count: int, seed: int) -> None:
    order = RandomOrder(count, np.random.default_rng(seed))
    every = order(np.arange(count))
    assert sorted(every.tolist()) == list(range(count))
    some = np.random.default_rng(seed).integers(0, max(count, 1), min(count, 9))
    assert order(some).tolist() == every[some].tolist()


def test_neighbours_in_a_random_order_are_far_apart_and_others_every_time() -> None:
    orders = [RandomOrder(10_000, np.random.default_rng(seed))(np.arange(10_000)) for seed in range(20)]
    steps = np.abs(np.diff(np.array(orders), axis=1))
    assert abs(steps.mean() / 10_000 - 1 / 3) < 0.01  # two random numbers' mean distance
    assert (steps < 100).mean() < 0.03
    together = [set(zip(order[:-1].tolist(), order[1:].tolist(), strict=True)) for order in orders]
    assert all(len(one & other) < 20 for one, other in pairwise(together))


def test_texts_that_are_split_anew_are_joined_as_they_then_are() -> None:
    tokenizer = PLAIN["bpe"]
    pairs = encoded(SPACED * 10, tokenizer)
    split = SplitAnew(pairs, tokenizer, tokenizer, share=0.5, seed=1)
    joined = augmented(pairs, tokenizer, tokenizer, concatenate=0.3, seed=1, split=split)
    ids = [source for source, _ in rows(joined(0))]
    assert sum(map(len, ids)) > pairs.source_lengths.sum()
    assert len(" ".join(tokenizer.decode(row) for row in ids)) == len(" ".join(SPACED * 10))


def test_what_haste_does_not_change_stays_split_anew() -> None:
    tokenizer = PLAIN["bpe"]
    pairs = encoded(["go home"] * 200, tokenizer)
    split = SplitAnew(pairs, tokenizer, tokenizer, share=0.5, seed=1)
    plain, hasty = (
        rows(augmented(pairs, tokenizer, tokenizer, source_noise=noise, split=split)(0)) for noise in (0.0, 1.0)
    )
    assert sorted(plain) == sorted(hasty)


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (
            "Go home. I don't know!",
            {
                "Go home. I don't know",
                "go home. i don't know!",
                "go home. i don't know",
                "go home i dont know",
                "Go home. I don\u2019t know!",
            },
        ),
        (
            "He said, \u201cYes.\u201d",
            {
                "He said, \u201cYes",
                "he said, \u201cyes.\u201d",
                "he said, \u201cyes",
                "he said yes",
                "He said, \u201cYes.\u201d",
            },
        ),
        ("目をつぶって。ほら。", {"目をつぶって。ほら", "目をつぶって。ほら。", "目をつぶってほら"}),
        ("...", {"", "..."}),
        ("价格是3.5元。", {"价格是3.5元", "价格是3.5元。"}),
        ("རྡེ་ལེགས།", {"རྡེ་ལེགས", "རྡེ་ལེགས།"}),
        ("İyi misin?", {"İyi misin", "iyi misin?", "iyi misin", "İyi misin?"}),
        ("at 9:30, -5 to 1,000.5 %", {"at 9:30, -5 to 1,000.5 %", "at 9:30 -5 to 1,000.5 %"}),
        (
            "Ինչպե՞ս ես, Անի:",  # the sign of a question stands within the word
            {"Ինչպե՞ս ես, Անի", "ինչպե՞ս ես, անի:", "ինչպե՞ս ես, անի", "ինչպես ես անի", "Ինչպե՞ս ես, Անի:"},
        ),
        ("צה״ל כאן.", {"צה״ל כאן", "צה״ל כאן.", "צהל כאן"}),
    ],
)
def test_what_haste_does_to_a_text(text: str, typed: set[str]) -> None:
    assert {hasty(text) for hasty in HASTY} == typed


@pytest.mark.parametrize("method", ["word", "char", "bpe", "unigram"])
def test_sources_are_typed_in_haste_and_targets_stay(method: TokenizerMethod) -> None:
    typed = [hasty(text) for text in SPACED for hasty in HASTY]
    tokenizer = Tokenizer([learn(SPACED + typed, method=method)])
    pairs = encoded(SPACED * 30, tokenizer)
    found = rows(augmented(pairs, tokenizer, tokenizer, source_noise=1.0)(0))
    assert sorted(target for _, target in found) == sorted(pairs.target(i).tolist() for i in range(len(pairs)))
    for source, target in found:
        text = tokenizer.decode(target)
        assert source in [tokenizer.encode(hasty(text)) or target for hasty in HASTY]
    for text in SPACED:  # in every way
        ways = {tokenizer.decode(source) for source, target in found if tokenizer.decode(target) == text}
        assert ways == {tokenizer.decode(tokenizer.encode(hasty(text))) for hasty in HASTY}


def test_a_source_is_changed_with_the_probability_asked_for() -> None:
    text = "Go home. I don't know!"
    tokenizer = Tokenizer([learn([text, *(hasty(text) for hasty in HASTY)], method="bpe")])
    pairs = encoded([text] * 20_000, tokenizer)
    found = rows(augmented(pairs, tokenizer, tokenizer, source_noise=0.2)(0))
    assert abs(sum(source != target for source, target in found) / len(found) - 0.2) < 0.01


def test_what_cannot_be_typed_otherwise_stays() -> None:
    tokenizer = PLAIN["bpe"]
    pairs = EncodedPairs.of([(tokenizer.encode("?!"), [9]), ([*tokenizer.encode("Go home"), UNK], [10])] * 30)
    found = rows(augmented(pairs, tokenizer, tokenizer, source_noise=1.0)(0))
    assert {tuple(source) for source, _ in found} == {tuple(pairs.source(0).tolist()), tuple(pairs.source(1).tolist())}
    capitals = Tokenizer([learn(["GO HOME!"], method="char")])  # no lower case is known
    pairs = encoded(["GO HOME!"] * 30, capitals)
    found = rows(augmented(pairs, capitals, capitals, source_noise=1.0)(0))
    assert {capitals.decode(source) for source, _ in found} == {"GO HOME!", "GO HOME"}


def test_sources_typed_in_haste_are_joined_as_others_are() -> None:
    tokenizer = Tokenizer([learn(["Go home!", "go home"], method="char")])
    pairs = encoded(["Go home!"] * 2_000, tokenizer)
    found = rows(augmented(pairs, tokenizer, tokenizer, concatenate=0.5, source_noise=0.5)(0))
    said = {tokenizer.decode(source) for source, _ in found}
    assert {"go home Go home!", "Go home go home!"} <= said
    assert all(text.lower().replace("go home", "").strip(" !") == "" for text in said)
    assert sum(len(target) for _, target in found) == 2_000 * 8 + (2_000 - len(found))  # a space between two


NAMED = [
    ("I saw Tom in Boston, and he saw 25 men.", "J'ai vu Tom à Boston, et il a vu 25 hommes."),
    ("Is Alice home?", "Est-ce qu'Alice est là ?"),
    ("Who is it?", "Qui est-ce ?"),
    ("these small houses often bring someone luck.", "ces petites maisons portent souvent chance."),
]


LETTERS = Tokenizer(
    [learn(["0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", *(text for pair in NAMED for text in pair)], method="char")]
)


def named(times: int, target: Tokenizer = LETTERS) -> EncodedPairs:
    sides = zip(*(NAMED * times), strict=True)
    ids = (tokenizer.encode_batch(texts) for tokenizer, texts in zip((LETTERS, target), sides, strict=True))
    return EncodedPairs.of(zip(*ids, strict=True))


def test_both_sides_get_the_same_other_names() -> None:
    found = rows(augmented(named(200), LETTERS, LETTERS, other_names=0.5)(0))
    texts = [(LETTERS.decode(source), LETTERS.decode(target)) for source, target in found]
    assert all(sum(pair == plain for pair in texts) == 200 for plain in NAMED[2:])
    changed = 0
    for source, target in texts:
        names = re.findall(r"(?:I saw|Is) (\w+)", source)
        assert all(name in target for name in names)
        changed += not {"Tom", "Alice"}.issuperset(names)
        assert any(re.sub(r"[A-Z]\w+|\d+", "_", source) == re.sub(r"[A-Z]\w+|\d+", "_", plain) for plain, _ in NAMED)
    assert 0.4 < changed / 400 < 0.6


def test_names_are_other_ones_in_every_epoch_and_the_same_however_rows_are_asked_for() -> None:
    def epoch(number: int) -> AugmentedPairs:
        rates = {"concatenate": 0.3, "source_noise": 0.3, "other_names": 0.9}
        return augmented(named(50), LETTERS, LETTERS, **rates)(number)

    whole = rows(epoch(0))
    assert whole == rows(epoch(0))
    names = [
        {name for source, _ in rows(epoch(i)) for name in re.findall(r"I saw (\w+)", LETTERS.decode(source))}
        for i in (0, 1)
    ]
    assert len(names[0] - names[1]) > 5
    single = epoch(0)
    for place, index in reversed([*enumerate(single.indices())]):  # the last first, and the target before the source
        target, source = (side(np.array([index]))[0].tolist() for side in (single.targets, single.sources))
        assert (source, target) == whole[place]


def test_a_pair_whose_other_name_one_side_cannot_spell_stays() -> None:
    words = Tokenizer([learn([text for _, text in NAMED], method="word")])
    pairs = named(50, words)
    unknown = EncodedPairs.of([([*LETTERS.encode("Is Tom home"), UNK], LETTERS.encode("Tom ?"))] * 30)
    for some, target in ((pairs, words), (unknown, LETTERS)):
        found = rows(augmented(some, LETTERS, target, other_names=1.0)(0))
        assert sorted(found) == sorted((some.source(i).tolist(), some.target(i).tolist()) for i in range(len(some)))


PAIRS = [(f"turn {i} left, then right", f"tourne {i} fois à droite") for i in range(40)]


def options(**more: object) -> TrainOptions:
    small = {"hidden_size": 8, "embedding_size": 8, "layers": 1, "batch_tokens": 100, "threads": 1, "device": "cpu"}
    return TrainOptions(**{**small, "tokenizer": "bpe", **more})  # type: ignore[arg-type]


def test_law_6_a_run_with_it_resumes_exactly() -> None:
    proof = verify_resume(
        PAIRS,
        options(concatenate=0.3, source_noise=0.3, other_names=0.5, subword_dropout=0.1),
        listener=lambda _: None,
        steps=6,
    )
    assert (proof.steps, proof.stopped_at) == (6, 3)


ACTIONS = ["walk", "run", "look", "jump", "look twice", "run twice"]
COMMANDS = [
    (f"{one}{joint}{other}".strip(), f"{one.upper()} {other.upper()}".strip())
    for joint, others in (("", [""]), (" and ", ACTIONS[:3]))
    for one in ACTIONS
    for other in others
]


def commanded(times: int) -> tuple[EncodedPairs, Tokenizer, Tokenizer]:
    sides = list(zip(*COMMANDS * times, strict=True))
    read, said = (Tokenizer([learn(texts, method="symbols")]) for texts in sides)
    return EncodedPairs.of(zip(read.encode_batch(sides[0]), said.encode_batch(sides[1]), strict=True)), read, said


def test_new_commands_are_made_of_the_parts_of_others() -> None:
    found = rows(augmented(*commanded(100), recombine=0.5)(0))
    sides = commanded(1)[1:]
    texts = [tuple(side.decode(part) for side, part in zip(sides, pair, strict=True)) for pair in found]
    new = [pair for pair in texts if pair not in COMMANDS]
    assert len(texts) == 100 * len(COMMANDS)
    assert 0.05 < len(new) / len(texts) < 0.5
    assert all(target == source.replace(" and", "").upper() for source, target in new)
    assert {source.count("and") for source, _ in new} == {1}


def test_parts_are_other_ones_in_every_epoch_and_the_same_however_rows_are_asked_for() -> None:
    def epoch(number: int) -> AugmentedPairs:
        return augmented(*commanded(10), recombine=0.9, concatenate=0.3)(number)

    whole = rows(epoch(0))
    assert whole == rows(epoch(0))
    assert whole != rows(epoch(1))
    single = epoch(0)
    for place, index in reversed([*enumerate(single.indices())]):
        target, source = (side(np.array([index]))[0].tolist() for side in (single.targets, single.sources))
        assert (source, target) == whole[place]


def test_law_6_a_run_with_other_parts_resumes_exactly() -> None:
    proof = verify_resume(COMMANDS * 3, options(tokenizer=None, recombine=0.9), listener=lambda _: None, steps=6)
    assert (proof.steps, proof.stopped_at) == (6, 3)


@pytest.mark.parametrize("option", AUGMENTATIONS)
def test_training_sees_it_and_nothing_else_does(option: str, tmp_path: Path) -> None:
    off: dict[str, object] = dict.fromkeys(AUGMENTATIONS, 0.0)
    pairs = PAIRS
    if option == "recombine":
        pairs, off["tokenizer"] = COMMANDS, "symbols"
    for name, share in (("with", 0.5), ("without", 0.0)):
        dragoman.train(pairs, out=tmp_path / name, options=options(**{**off, option: share, "max_steps": 3}))
    one, other = (load_file(tmp_path / name / "training/last.safetensors") for name in ("with", "without"))
    assert any(not torch.equal(value, other[name]) for name, value in one.items())
    for name in ("train.source.npy", "train.target.npy", "dev.source.npy", "dev.target.npy"):
        left, right = (tmp_path / run / "training" / "data" / name for run in ("with", "without"))
        assert left.read_bytes() == right.read_bytes()


def test_sources_of_several_columns_are_an_error_before_anything_is_written(tmp_path: Path) -> None:
    check_augmentation(1, dict.fromkeys(AUGMENTATIONS, 0.2))
    rows = [(f"walk\tV;{i}", f"walked {i}") for i in range(40)]
    for name in AUGMENTATIONS:
        with pytest.raises(OptionError, match=f"`{name}` needs sources of one column, but they have 2"):
            dragoman.train(rows, out=tmp_path / "m", options=options(tokenizer=None, **{name: 0.1}))
    assert list(tmp_path.iterdir()) == []


def test_lengths_that_are_all_equal_do_not_agree() -> None:
    for source, target in ((7, 8), (8, 9), (11, 12)):
        pairs = EncodedPairs.of([([4] * source, [4] * target)] * 10)
        prepared = SimpleNamespace(source_tokenizer=numbers(), train=pairs)
        assert _lengths_agree(prepared) == 0  # type: ignore[arg-type]


def test_the_pairs_decide_what_is_changed(tmp_path: Path) -> None:
    words = "red green blue white black round square small large".split()
    backwards = [
        (" ".join(words[: 2 + i % 7]) + f" {i}.", " ".join(words[: 2 + i % 7][::-1]) + f" {i}!") for i in range(60)
    ]
    data = {
        "translation": [
            (source, target.upper().translate(str.maketrans("AEIOU", "12345"))) for source, target in backwards
        ],
        "answers": [
            (source, f"{words[-i * 7 % 9].upper()} is what I said.") for i, (source, _) in enumerate(backwards)
        ],
        "lower": [
            (source[:-1], target.upper().translate(str.maketrans("AEIOU", "12345"))) for source, target in backwards
        ],
        "edited": [(source, source.replace("e", "")) for source, _ in backwards],
        "units": [
            (
                " ".join(words[: i % 7]) + f" {i + 2} miles, {i * 11 % 60 + 2} yards",
                " ".join(words[: i % 7]).upper().translate(str.maketrans("AEIOU", "?!#&%"))
                + f" {(i + 2) * 8 // 5} km {(i * 11 % 60 + 2) * 3} ft",
            )
            for i in range(60)
        ],
        "capitals": [
            (source[:-1].upper(), f"{words[-i * 7 % 9]} is what I said.") for i, (source, _) in enumerate(backwards)
        ],
        "json": [
            (f'{{"Say": ["{source}"]}}', f"{words[-i * 7 % 9]} is it.") for i, (source, _) in enumerate(backwards)
        ],
    }
    found = {}
    for name, pairs in data.items():
        recipe = dragoman.train(pairs, out=tmp_path / name, options=options(max_steps=2)).config["recipe"]
        found[name] = recipe["concatenate"], recipe["source_noise"], recipe["other_names"]
    assert found == {
        "translation": (0.3, 0.15, 0.3),  # its numbers stand on both sides
        "answers": (0.0, 0.15, 0.0),
        "lower": (0.3, 0.0, 0.3),
        "edited": (0.0, 0.0, 0.0),
        "units": (0.3, 0.0, 0.0),  # some numbers are the same by chance
        "capitals": (0.0, 0.0, 0.0),  # small letters are read as capitals
        "json": (0.0, 0.0, 0.0),  # whose signs nobody leaves out
    }

"""What is set wins over the preset, the preset over the data; contradictions are found before any work."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

import dragoman
from dragoman.cli.flags import shown
from dragoman.config import TrainOptions
from dragoman.errors import OptionError
from dragoman.evaluation.metrics import score
from dragoman.presets import PRESETS
from dragoman.training.recipe import (
    HURRIED,
    HURRIED_DICTIONARY,
    HURRIED_TRANSLATOR,
    DataSummary,
    Kind,
    Recipe,
    check_before_data,
    choose,
)


def data(**more: object) -> DataSummary:
    base = {"pairs": 10_000, "kind": "text", "unspaced": False, "shared_vocabulary": True, "target_tokens": 9.0}
    return DataSummary(**{**base, **more})  # type: ignore[arg-type]


def recipe(summary: DataSummary | None = None, **options: object) -> Recipe:
    return choose(TrainOptions(**options), summary or data())[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    (
        "cell bidirectional attention attention_heads layer_norm residual optimizer learning_rate schedule warmup_steps "
        "weight_decay clip_norm label_smoothing average_decay average_checkpoints patience accumulate bptt r_drop "
        "minimum_risk risk_metric risk_candidates risk_sharpness scheduled_sampling sampling_curve sampling_steps "
        "embedding_size subword_dropout"
    ).split(),
)
def test_help_states_the_default_that_a_recipe_takes(name: str) -> None:
    help_text = TrainOptions.model_fields[name].description or ""
    assert f"Default: {shown(getattr(recipe(), name))}" in help_text


def test_a_flag_wins_over_the_preset_and_the_preset_over_the_data() -> None:
    assert recipe().cell == "lstm"
    assert recipe(preset="cho2014").cell == "gru"
    assert recipe(preset="cho2014", cell="rnn_tanh").cell == "rnn_tanh"
    assert recipe(preset="sutskever2014").encoder_layers == 4
    assert recipe(preset="sutskever2014", layers=3).decoder_layers == 3
    assert recipe(preset="sutskever2014", layers=3, encoder_layers=2).encoder_layers == 2


@pytest.mark.parametrize(
    ("kind", "pairs", "width", "enough"),
    [
        ("text", 150_000, 384, HURRIED),
        ("symbols", 150_000, 384, HURRIED_DICTIONARY),
        ("symbols", 500_000, 512, HURRIED_DICTIONARY),
    ],
)
def test_in_a_hurry_the_model_is_narrow_and_says_why(kind: str, pairs: int, width: int, enough: float) -> None:
    summary = data(kind=kind, pairs=pairs, native_bfloat16=True)
    assert recipe(summary).hidden_size == width
    assert recipe(replace(summary, processor_minutes=enough)).hidden_size == width
    chosen, reasons = choose(TrainOptions(), replace(summary, processor_minutes=enough - 1))
    assert (chosen.hidden_size, chosen.learning_rate) == (256, 2e-3)
    assert "time is short" in next(reason.why for reason in reasons if reason.name == "hidden_size")
    slower = replace(summary, native_bfloat16=False)  # makes as many steps in more minutes
    assert recipe(replace(slower, processor_minutes=enough)).hidden_size == 256
    assert recipe(replace(slower, processor_minutes=2 * enough)).hidden_size == width
    assert recipe(replace(summary, processor_minutes=1), hidden_size=320).hidden_size == 320
    assert recipe(data(pairs=100, processor_minutes=1)).hidden_size == recipe(data(pairs=100)).hidden_size


def test_a_translator_needs_less_time_to_be_wide() -> None:
    for pairs, width, hurried in ((150_000, 384, 384), (500_000, 512, 384)):
        summary = data(pairs=pairs, lengths_agree=0.8, native_bfloat16=True)
        for minutes, expected in ((HURRIED_TRANSLATOR - 1, 256), (HURRIED_TRANSLATOR, hurried), (HURRIED, width)):
            chosen, reasons = choose(TrainOptions(), replace(summary, processor_minutes=minutes))
            assert (chosen.hidden_size, chosen.encoder_layers) == (expected, 1 + (expected > 384))
            why = next(reason.why for reason in reasons if reason.name == "hidden_size")
            assert ("time is short" in why) == (expected < width)


@pytest.mark.parametrize(
    ("options", "width"),
    [
        ({"layers": 2}, 256),
        ({"decoder_layers": 2}, 256),
        ({"preset": "luong2015"}, 256),
        ({"preset": "luong2015", "layers": 1}, 384),
        ({"layers": 2, "encoder_layers": 1, "decoder_layers": 1}, 384),
    ],
)
def test_a_translator_of_several_layers_needs_as_much_time_as_others(options: dict[str, object], width: int) -> None:
    summary = data(pairs=150_000, lengths_agree=0.8, native_bfloat16=True)
    assert recipe(replace(summary, processor_minutes=HURRIED_TRANSLATOR), **options).hidden_size == width
    assert recipe(replace(summary, processor_minutes=HURRIED), **options).hidden_size == 384


@pytest.mark.parametrize("kind", ["text", "symbols"])
def test_more_data_wants_less_dropout(kind: str) -> None:
    shares = [recipe(data(kind=kind, pairs=pairs)).dropout for pairs in (1_000, 10_000, 100_000, 1_000_000)]
    assert all(more <= less for less, more in itertools.pairwise(shares))
    assert shares[0] > shares[1] > shares[2]


@pytest.mark.parametrize("kind", ["text", "symbols"])
def test_few_passes_want_no_dropout(kind: str) -> None:
    """Ten tokens in each of 90,000 pairs: a pass is six minutes of a thread for 256 units, and 1,200 batches of 750."""
    summary = data(kind=kind, pairs=90_000, target_tokens=10.0)
    usual = recipe(summary).dropout
    assert usual > 0
    for brief, long in (({"max_steps": 4_000}, {"max_steps": 20_000}), ({"epochs": 3}, {"epochs": 10})):
        assert (recipe(summary, **brief).dropout, recipe(summary, **long).dropout) == (0, usual)
        assert recipe(summary, **brief, dropout=0.4).dropout == 0.4
        assert recipe(summary, **brief, r_drop=1).dropout == usual  # two passes without dropout would be the same
    assert recipe(replace(summary, processor_minutes=10)).dropout == 0
    some = replace(summary, processor_minutes=10, pairs=12_000)
    assert recipe(some).dropout > 0
    assert recipe(replace(some, longer_tokens=25.0)).dropout == 0  # long sources take their time, too
    assert recipe(replace(some, longer_tokens=25.0, native_bfloat16=True)).dropout > 0
    _, reasons = choose(TrainOptions(epochs=3), summary)
    assert "few passes" in next(reason.why for reason in reasons if reason.name == "dropout")


def test_a_dictionary_is_learned_by_heart() -> None:
    dictionary = data(kind="symbols", pairs=110_000, target_tokens=7.0)
    chosen, reasons = choose(TrainOptions(), dictionary)
    assert (chosen.hidden_size, chosen.dropout, chosen.learning_rate) == (384, 0.0, 1e-3)
    assert "learned by heart" in next(reason.why for reason in reasons if reason.name == "dropout")
    assert recipe(dictionary, r_drop=1).dropout > 0
    assert recipe(data(kind="symbols", pairs=60_000, target_tokens=7.0)).dropout > 0


def test_commands_get_one_layer_much_dropout_and_no_label_smoothing() -> None:
    for pairs in (1_000, 10_000, 200_000):
        commands = data(kind="symbols", pairs=pairs, commands=True)
        chosen, reasons = choose(TrainOptions(), commands)
        assert (chosen.encoder_layers, chosen.decoder_layers, chosen.dropout, chosen.label_smoothing) == (1, 1, 0.5, 0)
        assert sum("command" in reason.why for reason in reasons) == 4
        assert chosen.hidden_size == 256
    assert recipe(commands, layers=2, label_smoothing=0.1, dropout=0.2).decoder_layers == 2
    assert recipe(commands, epochs=3).dropout == 0  # as ever with few passes


def test_commands_that_are_made_of_others_are_given_in_a_row() -> None:
    commands = data(kind="symbols", commands=True, built_up=0.6)
    assert recipe(commands).concatenate == 0.3
    assert recipe(commands, concatenate=0.1).concatenate == 0.1
    assert recipe(commands, minimum_risk=0.5).concatenate == 0
    assert recipe(data(kind="symbols", commands=True, built_up=0.4)).concatenate == 0


def test_commands_are_made_of_the_parts_of_others_where_that_is_seen_to_be_right() -> None:
    commands = data(kind="symbols", commands=True, recombined=0.99)
    chosen, reasons = choose(TrainOptions(), commands)
    assert (chosen.recombine, chosen.concatenate) == (0.5, 0)
    assert any("99% have the right output" in reason.why for reason in reasons)
    assert recipe(commands, recombine=0.1).recombine == 0.1
    assert recipe(commands, minimum_risk=0.5).recombine == recipe(commands, subword_dropout=0.1).recombine == 0
    assert recipe(data(kind="symbols", commands=True, recombined=0.9)).recombine == 0


WORDS = "walk run jump look left right twice thrice".split()


@pytest.mark.parametrize(
    ("spelled", "commands"),
    [
        (lambda row: (" ".join(row), " ".join(word.upper() for word in row[::-1])), True),
        (lambda row: (" ".join("".join(row)), " ".join(word.upper() for word in row)), False),  # letters
        (lambda row: (" ".join(word[:2].upper() for word in row), " ".join(word[0] for word in row)), False),  # phones
        (lambda row: ("".join(row), " ".join(row)), False),  # single words
        (lambda row: (" ".join(row), "".join(row)), False),
        (lambda row: (" ".join(row[:2]), row[2].upper()), False),  # several targets for each source
    ],
)
def test_commands_are_told_from_letters_and_phones(
    spelled: Callable[[tuple[str, ...]], tuple[str, str]], commands: bool, tmp_path: Path
) -> None:
    pairs = [spelled(row) for row in itertools.product(WORDS, repeat=3)]
    options = TrainOptions(max_steps=1, dev="10", hidden_size=16, embedding_size=8, threads=1, device="cpu")
    notes: list[str] = []
    dragoman.train(pairs, out=tmp_path / "m", options=options, listener=lambda event: notes.append(str(event)))
    assert any("few different words, as in commands" in note for note in notes) == commands


@pytest.mark.parametrize(
    ("target", "joined"),
    [
        (lambda row: row, True),  # that of `walk left twice` begins as that of `walk left`
        (lambda row: (*row[1:], row[0], row[0]), False),  # what is said first is done last, and twice
        (lambda row: row[::-1], False),  # two in a row are not done in that order
        (
            lambda row: [
                word for last, word in zip(("", *row), row, strict=False) for _ in range(1 + (last == "left"))
            ],
            False,
        ),  # or do not mean the same
        (lambda row: ("move",) if row[0] in WORDS[:4] else ("turn",), False),  # what kind of command it is
    ],
)
def test_what_commands_are_made_of_decides_whether_they_are_joined(
    target: Callable[[tuple[str, ...]], Iterable[str]], joined: bool, tmp_path: Path
) -> None:
    rows = [row for length in (1, 2, 3) for row in itertools.product(WORDS, repeat=length)]
    pairs = [(" ".join(row), " ".join(target(row)).upper()) for row in rows]
    options = TrainOptions(max_steps=1, dev="10", hidden_size=16, embedding_size=8, threads=1, device="cpu")
    recipe = dragoman.train(pairs, out=tmp_path / "m", options=options).config["recipe"]
    assert (recipe["encoder_layers"], recipe["concatenate"]) == (1, 0.3 * joined)
    assert recipe["recombine"] == 0.5 or not joined


def test_a_translator_has_one_layer_on_a_processor() -> None:
    translations = data(lengths_agree=0.8)
    for summary, options, width in (
        (translations, {}, 256),
        (replace(translations, pairs=100_000, processor_minutes=10.0), {}, 256),
        (replace(translations, pairs=100_000), {}, 384),
        (translations, {"input_feeding": True}, 256),
        (replace(translations, unspaced=True), {}, 256),
    ):
        chosen = recipe(summary, **options)
        assert (chosen.hidden_size, chosen.encoder_layers, chosen.decoder_layers) == (width, 1, 1)
    for summary, options in (
        (data(), {}),  # questions and answers
        (replace(translations, pairs=400_000), {}),
        (replace(translations, on_gpu=True), {}),
        (replace(translations, edited=True), {}),
        (replace(translations, kind="symbols"), {}),
        (translations, {"hidden_size": 512}),
        (translations, {"layers": 2}),
    ):
        assert recipe(summary, **options).encoder_layers == 2


@pytest.mark.parametrize(("kind", "most"), [("symbols", 256), ("text", 384)])
def test_wide_layers_learn_slowly_where_batches_are_small(kind: Kind, most: int) -> None:
    summary = data(kind=kind, pairs=50_000)
    assert recipe(summary, hidden_size=most).learning_rate == 2e-3
    wide = recipe(summary, hidden_size=most + 2)
    assert (wide.learning_rate, wide.embedding_rate) == (1e-3, 8)
    assert recipe(replace(summary, on_gpu=True), hidden_size=most + 2).learning_rate == 2e-3
    assert recipe(replace(summary, pairs=10_000), hidden_size=most + 2).learning_rate == 2e-3
    assert recipe(summary, hidden_size=most + 2, learning_rate=0.003).learning_rate == 0.003


def test_a_gpu_soon_learns_a_dictionary() -> None:
    summary = data(pairs=100_000, kind="symbols")
    chosen, narrower = recipe(replace(summary, on_gpu=True)), recipe(summary)
    assert (chosen.hidden_size, chosen.learning_rate, chosen.dropout) == (512, 2e-3, 0.0)
    assert chosen.batch_tokens > narrower.batch_tokens
    assert chosen.epochs > narrower.epochs


@pytest.mark.parametrize("kind", ["symbols", "text"])
def test_a_gpu_gets_wide_models_and_large_batches(kind: Kind) -> None:
    for pairs in (40_000, 100_000, 1_000_000):
        summary = data(pairs=pairs, kind=kind)
        chosen, usual = recipe(replace(summary, on_gpu=True)), recipe(summary)
        assert (chosen.hidden_size, chosen.learning_rate, chosen.dropout) == (512, 2e-3, usual.dropout)
        assert chosen.batch_tokens > usual.batch_tokens
        assert chosen.epochs >= usual.epochs
    few = data(pairs=39_999, kind=kind)
    assert recipe(replace(few, on_gpu=True)) == recipe(few)


def test_passes_count_every_batch_of_a_step_and_a_wider_model_makes_fewer() -> None:
    summary = data(kind="text", pairs=20_000, target_tokens=10.0)
    steps = {"max_steps": 300, "batch_tokens": 2_000}  # three passes
    assert recipe(summary, **steps).dropout == 0 < recipe(summary, **steps, accumulate=4).dropout
    long = replace(summary, longer_tokens=40.0)  # long sources fill the batches of short targets
    assert (
        recipe(long, **{**steps, "max_steps": 900}).dropout
        == 0
        < recipe(summary, **{**steps, "max_steps": 900}).dropout
    )
    hurried = replace(summary, processor_minutes=10)
    assert recipe(hurried, hidden_size=512).dropout == 0 < recipe(hurried, hidden_size=256).dropout


def test_embeddings_learn_fast_unless_they_have_learned_or_the_preset_is_a_papers() -> None:
    for summary in (data(), data(pairs=500_000), data(kind="symbols", pairs=3_000)):
        chosen = recipe(summary)
        assert chosen.learning_rate * chosen.embedding_rate == pytest.approx(8e-3)
    assert recipe(embedding_rate=2).embedding_rate == 2
    with pytest.raises(OptionError, match=r"`embedding_rate` must be at least 0\.05, but is 0\.002"):
        recipe(embedding_rate=0.002)
    assert recipe(from_model="earlier").embedding_rate == 1
    reasons = choose(TrainOptions(from_model="earlier", preset="textbook"), data())[1]
    assert [reason.why for reason in reasons if reason.name == "embedding_rate"] == ["preset textbook"]
    assert recipe(from_model="earlier", embedding_rate=2).embedding_rate == 2
    assert recipe(data(source_vector_size=300)).embedding_rate == 1
    assert recipe(data(target_vector_size=300)).embedding_rate == 1
    assert {recipe(preset=name).embedding_rate for name in PRESETS if name != "default"} == {1}
    old = recipe().as_dict()
    del old["embedding_rate"]  # stored before there was one
    assert Recipe.of(old).embedding_rate == 1


def test_every_reason_is_for_a_value_that_nobody_set() -> None:
    _, reasons = choose(TrainOptions(preset="cho2014", hidden_size=64), data())
    names = {reason.name: reason for reason in reasons}
    assert "hidden_size" not in names
    assert names["peek"].why == "preset cho2014"
    assert names["epochs"].why == "at most; 10,000 pairs"
    assert all(reason.why for reason in reasons)


@pytest.mark.parametrize(
    ("summary", "options", "name", "why"),
    [
        ({}, {"attention": "none"}, "decoder_layers", "two layers; the second reads the outputs of the first"),
        ({}, {"input_feeding": True}, "decoder_layers", "two layers; the second reads the outputs of the first"),
        ({}, {"attention_inside": True}, "decoder_layers", "two layers; the second reads the outputs of the first"),
        ({}, {"attention": "dot"}, "decoder_layers", "the first layer's states are the queries of attention"),
        ({"kind": "symbols"}, {}, "word_dropout", "targets are symbols"),
        ({"unspaced": True}, {}, "metric", "targets are text without spaces"),
        ({"on_gpu": True, "pairs": 50_000}, {}, "batch_tokens", "50,000 pairs, and a GPU"),
        ({"pairs": 500_000, "processor_minutes": 30.0}, {}, "batch_tokens", "time is short"),
        ({"polished": 0.9}, {}, "source_noise", "sources have capitals or full stops"),
        ({"named": 0.05, "lengths_agree": 0.8}, {}, "other_names", "names and numbers stand on both sides"),
        ({"lengths_agree": 0.8, "polished": 0.9}, {"source_noise": 0.0}, "concatenate", "without noise"),
    ],
)
def test_reasons_are_those_that_decided(
    summary: dict[str, object], options: dict[str, object], name: str, why: str
) -> None:
    _, reasons = choose(TrainOptions(**options), data(**summary))  # type: ignore[arg-type]
    assert next(reason.why for reason in reasons if reason.name == name).startswith(why)


def test_pairs_are_joined_and_sources_typed_in_haste_where_that_is_what_users_give() -> None:
    def shares(options: dict[str, object] | None = None, **more: object) -> tuple[float, float]:
        chosen = recipe(data(**{"lengths_agree": 0.8, "polished": 0.9, **more}), **(options or {}))
        return chosen.concatenate, chosen.source_noise

    assert shares() == (0.3, 0.3)
    assert shares(pairs=5_000) == (0.3, 0.15)
    assert shares({"concatenate": 0.0}) == (0.0, 0.3)
    assert shares({"source_noise": 0.0}) == (0.0, 0.0)  # joined pairs alone would be worse without full stops
    assert shares(lengths_agree=0.3) == (0.0, 0.3)  # questions and answers
    assert shares(polished=0.1) == (0.3, 0.0)
    assert shares(edited=True) == (0.0, 0.0)  # a text, edited
    assert shares(kind="symbols") == (0.0, 0.0)
    assert shares({"preset": "textbook"}) == (0.0, 0.0)
    assert shares({"minimum_risk": 0.5}) == (0.0, 0.0)


def test_names_are_others_in_translations_whose_sides_share_some() -> None:
    def share(options: dict[str, object] | None = None, **more: object) -> float:
        return recipe(data(**{"named": 0.05, "lengths_agree": 0.8, **more}), **(options or {})).other_names

    assert share() == share(polished=0.9) == 0.3
    assert share(lengths_agree=0.3) == 0  # an answer may be true of one name only
    assert share(named=0.001) == share(edited=True) == share(kind="symbols") == 0
    assert share({"preset": "textbook"}) == share({"minimum_risk": 0.5}) == share({"other_names": 0.0}) == 0


def test_the_textbook_model_is_the_textbooks() -> None:
    chosen = recipe(preset="textbook")
    assert (chosen.cell, chosen.encoder_layers, chosen.decoder_layers) == ("lstm", 1, 1)
    assert (chosen.attention, chosen.bidirectional, chosen.peek, chosen.tie_embeddings) == (
        "none",
        False,
        False,
        "none",
    )
    assert (chosen.label_smoothing, chosen.dropout, chosen.average_decay) == (0, 0, 0)


@pytest.mark.parametrize(
    ("preset", "kind", "pairs"), list(itertools.product(PRESETS, ["text", "symbols"], [300, 10**6]))
)
def test_every_preset_gives_a_whole_recipe_for_any_data(preset: str, kind: str, pairs: int) -> None:
    chosen = recipe(data(kind=kind, pairs=pairs, shared_vocabulary=kind == "text"), preset=preset)
    optional = {"max_steps", "max_minutes", "planned_steps", "eval_every"}
    assert all(value is not None for name, value in chosen.as_dict().items() if name not in optional)


CONTRADICTIONS: list[tuple[dict[str, object], str]] = [
    ({"input_feeding": True, "attention": "none"}, "`input_feeding` needs attention"),
    ({"attention_inside": True, "input_feeding": True}, "exclude each other"),
    ({"r_drop": 1.0, "scheduled_sampling": 0.5}, "`r_drop` and `scheduled_sampling` exclude each other"),
    ({"concatenate": 0.2, "minimum_risk": 0.5}, "`concatenate` and `minimum_risk` exclude each other"),
    ({"source_noise": 0.2, "minimum_risk": 0.5}, "`source_noise` and `minimum_risk` exclude each other"),
    ({"other_names": 0.2, "minimum_risk": 0.5}, "`other_names` and `minimum_risk` exclude each other"),
    ({"recombine": 0.2, "subword_dropout": 0.1}, "`recombine` and `subword_dropout` exclude each other"),
    ({"hidden_size": 33, "bidirectional": True}, "`hidden_size` must be even"),
    ({"attention": "multihead", "attention_heads": 5, "hidden_size": 64}, "`attention_heads` must divide"),
    ({"preset": "defautl"}, 'there is no preset "defautl"; did you mean "default"'),
]
WITHOUT_EFFECT: list[tuple[dict[str, object], str]] = [
    ({"attention_heads": 2, "attention": "dot"}, "`attention_heads` needs `attention` multihead, but it is dot"),
    ({"attention_heads": 2, "preset": "textbook"}, "`attention_heads` needs `attention` multihead, but it is none"),
    ({"weight_decay": 0.1, "optimizer": "sgd"}, "`weight_decay` needs `optimizer` adamw, but it is sgd"),
    ({"sampling_steps": 9}, "`sampling_steps` needs `scheduled_sampling`, but it is 0"),
    ({"sampling_curve": "linear"}, "`sampling_curve` needs `scheduled_sampling`, but it is 0"),
    ({"risk_candidates": 4}, "`risk_candidates` needs `minimum_risk`, but it is 0"),
    ({"minimum_risk": 1.0, "label_smoothing": 0.2}, "`label_smoothing` is part of the cross-entropy"),
    ({"minimum_risk": 1.0, "scheduled_sampling": 0.2}, "`scheduled_sampling` is part of the cross-entropy"),
]


@pytest.mark.parametrize(("options", "message"), CONTRADICTIONS)
def test_contradictions_are_one_line(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message) as caught:
        recipe(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("options", "message"), WITHOUT_EFFECT)
def test_an_option_that_would_change_nothing_is_an_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        recipe(**options)


@pytest.mark.parametrize(
    ("options", "message"), [each for each in CONTRADICTIONS + WITHOUT_EFFECT if "minimum_risk" not in each[0]]
)
def test_they_are_found_before_any_data_is_read(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        dragoman.train(tmp_path / "missing.tsv", options=TrainOptions(**options))  # type: ignore[arg-type]


def test_one_table_for_two_vocabularies_is_refused_before_any_data_are_read() -> None:
    with pytest.raises(OptionError, match="`tie_embeddings` all needs one vocabulary for both sides"):
        check_before_data(TrainOptions(tie_embeddings="all", shared_vocabulary=False))


@pytest.mark.parametrize("options", [{"attention_heads": 3}, {"r_drop": 1.0}, {"tie_embeddings": "all"}])
def test_what_some_data_allow_is_not_refused_before_they_are_read(options: dict[str, object]) -> None:
    check_before_data(TrainOptions(**options))  # type: ignore[arg-type]


def test_what_changes_nothing_only_because_it_is_off_may_be_given() -> None:
    assert recipe(weight_decay=0.0, optimizer="sgd").optimizer == "sgd"
    assert recipe(minimum_risk=1.0, label_smoothing=0.0).label_smoothing == 0
    assert recipe(minimum_risk=0.9, r_drop=1.0).r_drop == 1


def test_what_has_no_effect_is_off_in_the_recipe_too() -> None:
    """Or the model card would tell of heads and of a decay that were not there."""
    assert (recipe().attention_heads, recipe().weight_decay) == (4, 0.01)
    assert recipe(attention="general").attention_heads == 1
    assert {recipe(optimizer=name).weight_decay for name in ("adam", "sgd")} == {0.0}


def test_sgd_has_a_rate_of_its_own() -> None:
    chosen, reasons = choose(TrainOptions(optimizer="sgd"), data())
    assert (chosen.learning_rate, chosen.embedding_rate) == (1.0, 1.0)
    assert "sgd" in next(reason.why for reason in reasons if reason.name == "learning_rate")
    assert recipe(optimizer="sgd", learning_rate=0.3).learning_rate == 0.3
    assert recipe(optimizer="sgd", preset="sutskever2014").learning_rate == 1.0


def test_tying_everything_needs_one_vocabulary() -> None:
    with pytest.raises(OptionError, match="needs one vocabulary"):
        recipe(data(shared_vocabulary=False), tie_embeddings="all")
    assert recipe(data(shared_vocabulary=False)).tie_embeddings == "target"


def test_without_attention_the_output_has_a_table_of_its_own() -> None:
    chosen, reasons = choose(TrainOptions(attention="none"), data())
    assert chosen.tie_embeddings == "none"
    whys = [reason.why for reason in reasons if reason.name == "tie_embeddings"]
    assert whys == ["without attention it learns sooner"]
    assert recipe(attention="none", tie_embeddings="target").tie_embeddings == "target"
    assert recipe().tie_embeddings == "all"


def test_vectors_from_a_file_set_the_width_and_stay_apart() -> None:
    chosen = recipe(data(source_vector_size=50, target_vector_size=70, shared_vocabulary=False))
    assert chosen.embedding_size == 70
    assert chosen.tie_embeddings == "none"
    assert recipe(data(source_vector_size=50)).tie_embeddings == "target"
    with pytest.raises(OptionError, match="one side has vectors from a file"):
        recipe(data(source_vector_size=50), tie_embeddings="all")
    with pytest.raises(OptionError, match="of another width"):
        recipe(data(source_vector_size=50, target_vector_size=70), tie_embeddings="all")
    with pytest.raises(OptionError, match=r"`embedding_size` must be that of `target_vectors` \(70\), but is 64"):
        recipe(data(target_vector_size=70), embedding_size=64)
    assert recipe(data(source_vector_size=50), embedding_size=64).embedding_size == 64
    as_without = data(target_vector_size=recipe().embedding_size)
    _, reasons = choose(TrainOptions(), as_without)
    assert "vectors" in next(reason.why for reason in reasons if reason.name == "embedding_size")


def test_every_preset_has_values_of_options_and_is_named_by_the_help_and_the_page_on_models() -> None:
    told = TrainOptions.model_fields["preset"].description or ""
    page = (Path(__file__).parent.parent / "docs" / "models.md").read_text(encoding="utf-8")
    for name, values in PRESETS.items():
        TrainOptions(**values)
        assert re.search(rf"\b{name}\b", told)
        assert f"\n### {name}\n" in page


def test_targets_too_short_for_four_words_in_a_row_are_not_scored_by_bleu() -> None:
    """BLEU of "Yes." and "No." is 0 however good a model is: the first of all evaluations would be kept."""
    assert score(["Yes.", "No."] * 9, [["Yes."], ["No."]] * 9).bleu == 0
    assert recipe(data(target_tokens=2.0)).metric == "chrf"
    assert recipe(data(target_tokens=4.0)).metric == "bleu"
    assert recipe(data(target_tokens=9.0, target_words=2.9)).metric == "chrf"  # words of several subwords each
    assert recipe(data(target_tokens=9.0, target_words=3.0)).metric == "bleu"
    assert recipe(data(target_tokens=2.0, kind="symbols")).metric == "exact_match"
    assert recipe(data(target_tokens=2.0), metric="bleu").metric == "bleu"


@pytest.mark.parametrize(
    ("options", "minutes", "dropout"),
    [
        ({}, 30, 0.0),
        ({}, 60, 0.1),
        ({"max_steps": 19_234}, None, 0.0),
        ({"max_steps": 29_701}, None, 0.1),
        ({"epochs": 11}, None, 0.0),
        ({"epochs": 11, "layers": 2}, None, 0.1),
        ({"layers": 2}, 60, 0.0),
    ],
)
def test_a_translator_of_one_layer_has_dropout_from_twelve_passes_on(
    options: dict[str, object], minutes: float | None, dropout: float
) -> None:
    summary = data(pairs=137_028, lengths_agree=0.8, native_bfloat16=True)
    summary = replace(summary, target_tokens=10.9, longer_tokens=10.9, processor_minutes=minutes)
    assert recipe(summary, **options).dropout == dropout

"""Every value of a run, chosen: the flags, then the preset, then the data, each with its reason; knows no torch."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from dragoman.config import TrainOptions
from dragoman.corpus.augmentation import AUGMENTATIONS
from dragoman.errors import OptionError, counted
from dragoman.presets import find_preset

Kind = Literal["symbols", "text"]
"""What outputs are: strings of symbols that are right or wrong as a whole, or sentences."""


EMBEDDINGS_LEARN = 8e-3
"""The embeddings' learning rate at its peak, whichever default that of the layers has (benchmarks/recipes: eng-fra.md, symbols.md)."""

COPYING_PAYS = 20_000
"""Inflected forms below which a model should be able to copy,"""
MUCH_COPIED = 0.6
"""where so much of them stands in their lemmas (benchmarks/recipes: symbols.md)."""

HURRIED = 45
"""Minutes of one thread with products in bfloat16 below which a narrow model gets further (benchmarks/recipes: eng-fra.md, symbols.md)."""

HURRIED_TRANSLATOR = 20
"""Such minutes below which a translator of one layer gets further with 256 units than with 384 (eng-fra.md)."""

HURRIED_DICTIONARY = 90
"""Such minutes that 384 units need for twenty passes over a dictionary; with less, narrow models were the better ones (symbols.md)."""

FILLS_GPU = 40_000
"""Pairs from which a GPU trains a wide model with large batches, which take as long there as small ones; with fewer pairs small
batches do not take long either, and teach more in as many passes (benchmarks/recipes: symbols.md, eng-fra.md, no-options.md)."""

FOLLOWS = 0.5
"""From here on lengths agree (translations have 0.76 to 0.93, questions and answers -0.02 to 0.26)."""

NAMED = 0.002
"""Share of the pairs from which on it teaches something that names and numbers are others in every epoch."""

BUILT_UP = 0.5
"""Share of the commands from which on they are made of other commands (benchmarks/recipes: symbols.md)."""

RECOMBINED = 0.95
"""Share of right commands among new ones from which on these are trained on (benchmarks/recipes: symbols.md)."""

FEW = 8
"""Passes over the data in which nothing can be learned by heart that should not (benchmarks/recipes: eng-fra.md, symbols.md)."""

FEW_OF_TRANSLATOR = 12
"""The same for a translator of one layer, which has less room for what it repeats (eng-fra.md)."""

TOKENS_A_MINUTE = {True: 260_000, False: 160_000}
"""Tokens of the longer side, about, that one processor thread trains two layers of 256 units on in a minute, with and without products
in bfloat16; wider ones are slower."""

ONE_LAYER = 2
"""How many times as many a translator of one layer is trained on in a minute, about (eng-fra.md)."""


@dataclass(frozen=True)
class DataSummary:
    """What the choice of a recipe looks at."""

    pairs: int
    """Training pairs."""
    kind: Kind
    """Whether outputs are symbols or text."""
    unspaced: bool
    """Whether targets are written without spaces between words."""
    shared_vocabulary: bool
    """Whether both sides have one vocabulary."""
    target_tokens: float
    """Mean tokens in a target."""
    target_words: float | None = None
    """Mean words in a target; None if that is not known."""
    longer_tokens: float | None = None
    """Mean tokens of the longer side of a pair, the target with its `</s>`: what fills a batch; None: those of the target."""
    lengths_agree: float = 0.0
    """Correlation of the logarithms of the sources' and the targets' lengths: near 1 where a target says what its source says."""
    edited: bool = False
    """Whether both sides are one text, edited, where characters count."""
    polished: float = 0.0
    """Share of the sources that have punctuation at their end, or a capital letter; 0 for several columns, and for code."""
    named: float = 0.0
    """Share of the pairs whose sides share names or numbers; 0 for several columns."""
    copied_share: float = 0.0
    """Share of the target tokens that stand in their source too."""
    commands: bool = False
    """Whether both sides are rows of few different words or symbols, as commands and the actions that each of them means."""
    built_up: float = 0.0
    """Share of such commands that begin with another one whose output is the beginning or the end of theirs."""
    recombined: float = 0.0
    """Share of right ones among new commands that are made of parts of such commands; 0 where too few can be judged."""
    with_features: bool = False
    """Whether a column of the sources holds features, as `V;PST` beside a lemma."""
    native_bfloat16: bool = False
    """Whether the processor multiplies in bfloat16: not of the data, but what fits the data must be computed somewhere."""
    processor_minutes: float | None = None
    """What a limit in minutes comes to in minutes of one processor thread; None without a limit, or on a GPU."""
    on_gpu: bool = False
    """Whether a GPU trains the model."""
    source_vector_size: int | None = None
    """Width of the source embeddings' file, if one is given."""
    target_vector_size: int | None = None
    """Width of the target embeddings' file, if one is given."""


@dataclass(frozen=True)
class Recipe:
    """Every value that decides the weights, apart from the data; the names are those of `TrainOptions`."""

    cell: str
    encoder_layers: int
    decoder_layers: int
    embedding_size: int
    hidden_size: int
    bidirectional: bool
    attention: str
    attention_heads: int
    attention_inside: bool
    input_feeding: bool
    peek: bool
    reverse_source: bool
    tie_embeddings: str
    layer_norm: bool
    residual: bool
    dropout: float
    word_dropout: float
    epochs: int
    batch_tokens: int
    optimizer: str
    learning_rate: float
    schedule: str
    warmup_steps: int
    weight_decay: float
    clip_norm: float
    label_smoothing: float
    average_decay: float
    metric: str
    patience: int
    seed: int
    max_steps: int | None = None
    max_minutes: float | None = None
    planned_steps: int | None = None
    """What a limit in minutes comes to in steps, for schedules that must know the last one (`planning`)."""
    eval_every: int | None = None
    accumulate: int = 1
    scheduled_sampling: float = 0.0
    sampling_curve: str = "linear"
    sampling_steps: int = 4_000
    bptt: int = 0
    r_drop: float = 0.0
    precision: str = "float32"
    recompute: bool = False
    average_checkpoints: int = 0
    copying: bool = False
    minimum_risk: float = 0.0
    risk_metric: str = "bleu"
    risk_candidates: int = 8
    risk_sharpness: float = 1.0
    subword_dropout: float = 0.0
    embedding_rate: float = 1.0
    concatenate: float = 0.0
    source_noise: float = 0.0
    recurrent_dropout: float = 0.0
    other_names: float = 0.0
    recombine: float = 0.0

    def model_arguments(self) -> dict[str, Any]:
        """Keyword arguments of `Seq2Seq`, vocabularies apart."""
        return {field: getattr(self, field) for field in MODEL_FIELDS}

    def as_dict(self) -> dict[str, Any]:
        """For config.json."""
        return asdict(self)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Recipe:
        """What `as_dict` gave, by this version or another one."""
        names = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in names})


MODEL_FIELDS = (*(field.name for field in fields(Recipe)[:17]), "copying", "recurrent_dropout")
"""The part of a recipe that makes the model."""


@dataclass(frozen=True)
class Reason:
    """One chosen value and why."""

    name: str
    """The option."""
    value: Any
    """What it was set to."""
    why: str
    """One short phrase: the preset's name, or what in the data decided."""


def choose(options: TrainOptions, data: DataSummary) -> tuple[Recipe, list[Reason]]:
    """The recipe of a run: what is set in `options`, then the preset, then what fits the data.

    Contradictions between the values are `OptionError`s. The reasons leave out what the user set.
    """
    preset = find_preset(options.preset)
    fitted = fit_to_data(data, options)
    values: dict[str, Any] = {}
    reasons: list[Reason] = []
    for field in fields(Recipe):
        name = field.name
        # `layers` stands for both sides, in the flags and in a preset alike, unless a side is named.
        for place in (options.model_dump(exclude_none=True), preset):
            general = place.get("layers") if name.endswith("_layers") else None
            chosen = place.get(name, general)
            if chosen is not None:
                values[name] = chosen
                if place is preset:
                    reasons.append(Reason(name, chosen, f"preset {options.preset}"))
                break
        else:
            value, why = fitted.get(name, (None, ""))
            values[name] = value
            if why:
                reasons.append(Reason(name, value, why))
    if options.attention_heads is None:  # as many of four as divide the width that was asked for
        most = 4 if values["attention"] == "multihead" else 1
        values["attention_heads"] = next(heads for heads in range(most, 0, -1) if values["hidden_size"] % heads == 0)
    if options.weight_decay is None and values["optimizer"] != "adamw":
        values["weight_decay"] = 0.0
    if options.copying is None and values["attention"] == "none":
        values["copying"] = False
    _settle_ties(options, data, values, reasons)
    if values["average_checkpoints"] and options.average_decay is None:
        values["average_decay"] = 0.0
    if options.from_model is not None and options.embedding_rate is None and values["embedding_rate"] != 1:
        values["embedding_rate"] = 1.0
        reasons.append(Reason("embedding_rate", 1.0, "embeddings of a trained model need small changes only"))
    _settle_risk(options, values, reasons)
    _check(values, data)
    _check_effects(options, values, data)
    return Recipe(**values), [reason for reason in reasons if values[reason.name] == reason.value]


def check_before_data(options: TrainOptions) -> None:
    """Raise `OptionError` for options that contradict each other whatever the data are: before hours of reading, not after."""
    kinds: tuple[Kind, ...] = ("text", "symbols")
    shared = options.shared_vocabulary is not False
    error = None
    for kind, pairs in itertools.product(kinds, (1_000, 10_000, 50_000, 1_000_000)):
        try:
            choose(options, DataSummary(pairs, kind, unspaced=False, shared_vocabulary=shared, target_tokens=10))
        except OptionError as found:
            error = error or found
        else:
            return
    if error is not None:
        raise error


def _settle_ties(options: TrainOptions, data: DataSummary, values: dict[str, Any], reasons: list[Reason]) -> None:
    """Embeddings that start from a file, and those of a model without attention, stay apart from the others, unless asked."""
    if options.tie_embeddings is not None:
        return
    if data.source_vector_size or data.target_vector_size:
        values["tie_embeddings"] = (
            "none" if data.target_vector_size else values["tie_embeddings"].replace("all", "target")
        )
    elif values["attention"] == "none" and values["residual"] and values["tie_embeddings"] != "none":
        # What is fed is added to what comes out: with one table for both the model begins by saying its last word again.
        values["tie_embeddings"] = "none"
        reasons.append(Reason("tie_embeddings", "none", "without attention it learns sooner"))


def _settle_risk(options: TrainOptions, values: dict[str, Any], reasons: list[Reason]) -> None:
    """Minimum risk refines a trained model, so that steps are small."""
    if values["minimum_risk"] and options.learning_rate is None:
        values["learning_rate"] /= 10
        reasons.append(
            Reason("learning_rate", values["learning_rate"], "a tenth of the usual, because a trained model is refined")
        )


def fit_to_data(data: DataSummary, options: TrainOptions) -> dict[str, tuple[Any, str]]:
    """What the default preset chooses from the data, and from the limits in `options`: name -> (value, reason)."""
    pairs, symbols = data.pairs, data.kind == "symbols"
    size = counted(pairs, "pair")
    small, large, dictionary = pairs < 8_000, pairs >= 40_000, _is_dictionary(data)
    wide = data.on_gpu and pairs >= FILLS_GPU
    width, room = (512, f"{size}, and a GPU") if wide else _width_on_processor(data, options)
    epochs = max(10, min(200, round((40 if wide and dictionary else 20) * (100_000 / max(1, pairs)) ** 0.45)))
    # Small batches win when time is short: twice the steps for a tenth of the speed.
    batch = 1_500 if pairs >= 400_000 and width > 256 else 750 if pairs >= 8_000 else 500 if pairs >= 2_000 else 300
    batch = (6_000 if pairs >= 100_000 else 3_000) if wide else batch
    tie = "all" if data.shared_vocabulary and not symbols else "target"
    # Small batches are noisy, and a wide model learns little from them at a high rate.
    noisy = large and not wide and (options.hidden_size or width) > (256 if symbols else 384)
    rate, rated = (1e-3, "wide layers, and small batches") if noisy else (2e-3, size)
    embeddings, faster = EMBEDDINGS_LEARN / rate, "a row learns only when its token occurs, so it learns faster"
    if options.optimizer == "sgd":  # unlike Adam's, its steps are as small as the gradients are
        rate, rated = 1.0, "sgd needs a larger one than adam"
        embeddings, faster = 1.0, "sgd has one rate for all"
    fed = options.attention == "none" or options.input_feeding or options.attention_inside
    of_symbols, of_text = 0.5 if small else 0.1 if large else 0.3, 0.3 if small else 0.2 if pairs < 100_000 else 0.1
    dropout, words, masked = of_symbols if symbols else of_text, 0.1 if small and not symbols else 0.0, size
    smoothing, smoothed = 0.1, "keeps the model from becoming overconfident"
    layers, stacked = 2, "two layers; the second reads the outputs of the first"
    attending = "the first layer's states are the queries of attention; the second reads what it finds"
    if data.commands:  # benchmarks/recipes: symbols.md
        dropout, masked = 0.5, "few different words, as in commands: with less of it, longer outputs come out worse"
        smoothing, smoothed = 0.0, "nearly every source has one target only, as a command has"
        layers, stacked = 1, "few different words, as in commands: two layers come less far with longer outputs"
        attending = stacked
    few, pace = FEW, 1
    # No wider ones were measured (benchmarks/recipes: eng-fra.md, no-options.md).
    if _is_translation(data) and (options.hidden_size or width) <= 384 and not data.on_gpu:
        layers, stacked = 1, "translations: one layer makes more steps, and each teaches as much"
        attending = stacked
        if not _is_stacked(options):
            few, pace = FEW_OF_TRANSLATOR, ONE_LAYER
    if not options.r_drop:  # which compares two masks
        if _passes(data, options, width=width, batch_tokens=batch, pace=pace) < few:
            dropout, words, masked = 0.0, 0.0, "too few passes over the data to overfit"
        elif dictionary:
            dropout, masked = 0.0, f"{size}: new words are like known ones, which are to be learned by heart"
    return {
        "cell": ("lstm", "the strongest recurrent cell in the literature"),
        "encoder_layers": (layers, stacked),
        "decoder_layers": (layers, stacked if fed else attending),
        "embedding_size": (
            (data.target_vector_size, "the width of the target vectors")
            if data.target_vector_size
            else (256 if pairs >= 2_000 else 128, size)
        ),
        "hidden_size": (width, room),
        "bidirectional": (True, "the encoder sees the words before and after each word"),
        "attention": (
            "multihead",
            "lets the decoder look back at the source; its scaled scores learn from the first step on",
        ),
        "attention_inside": (False, ""),
        "input_feeding": (False, ""),
        "peek": (False, ""),
        "reverse_source": (False, ""),
        "tie_embeddings": (tie, "one vocabulary for both sides" if tie == "all" else "fewer parameters"),
        "layer_norm": (True, "steadier training"),
        "residual": (True, "steadier training"),
        "dropout": (dropout, masked),
        "recurrent_dropout": (0.0, ""),
        "word_dropout": (words, "targets are symbols" if symbols else masked),
        "epochs": (epochs, f"at most; {room if wide and dictionary else size}"),
        "batch_tokens": (batch, room if wide or pairs >= 400_000 else size),
        "optimizer": ("adamw", ""),
        "learning_rate": (rate, rated),
        "schedule": ("linear", "the rate falls to zero at the last step"),
        "warmup_steps": (800 if large else 400, ""),
        "weight_decay": (0.01, ""),
        "clip_norm": (1.0, ""),
        "label_smoothing": (smoothing, smoothed),
        "average_decay": (0.999 if pairs >= 2_000 else 0.99, "the kept model is a running average of the weights"),
        "metric": _metric(data),
        "patience": (10, "evaluations without a better score end the run"),
        "accumulate": (1, ""),
        "scheduled_sampling": (0.0, ""),
        "sampling_curve": ("linear", ""),
        "sampling_steps": (4_000, ""),
        "bptt": (0, ""),
        "r_drop": (0.0, ""),
        "precision": (
            ("bfloat16", "it is multiplied in bfloat16 here, which takes two thirds of the time or less")
            if data.native_bfloat16
            else ("float32", "")
        ),
        "recompute": (False, ""),
        "average_checkpoints": (0, ""),
        "copying": _copying(data),
        "minimum_risk": (0.0, ""),
        "risk_metric": ("edit" if symbols else "bleu", ""),
        "risk_candidates": (8, ""),
        "risk_sharpness": (1.0, ""),
        "subword_dropout": (0.0, ""),
        "embedding_rate": (
            (1.0, "vectors from a file need small changes only")
            if data.source_vector_size or data.target_vector_size
            else (embeddings, faster)
        ),
        **_changes(data, options),
    }


def _is_dictionary(data: DataSummary) -> bool:
    """Whether its pairs are to be learned by heart."""
    return data.kind == "symbols" and data.pairs >= 100_000 and not data.commands


def _is_translation(data: DataSummary) -> bool:
    """Whether targets say what their sources say, in other words."""
    return data.kind == "text" and data.lengths_agree >= FOLLOWS and not data.edited


def _is_stacked(options: TrainOptions) -> bool:
    """Whether a side is to have more than one layer, by the options or their preset."""
    general = options.layers or find_preset(options.preset).get("layers", 1)
    return max(options.encoder_layers or general, options.decoder_layers or general) > 1


def _width_on_processor(data: DataSummary, options: TrainOptions) -> tuple[int, str]:
    """Units of a layer where a narrower model takes half the time, and why."""
    pairs, dictionary = data.pairs, _is_dictionary(data)
    # Words and phones need less room than sentences, unless they are to be learned by heart.
    width = 512 if pairs >= 400_000 else 384 if dictionary or (pairs >= 40_000 and data.kind == "text") else 256
    minutes = _as_in_bfloat16(data)
    if minutes is not None and minutes < (HURRIED_DICTIONARY if dictionary else HURRIED):
        swift = _is_translation(data) and not _is_stacked(options)
        narrow = 384 if swift and minutes >= HURRIED_TRANSLATOR else 256
        if narrow < width:  # each step teaches it as much at first
            return narrow, "time is short, and a narrow model makes more steps"
    return width, counted(pairs, "pair")


def _metric(data: DataSummary) -> tuple[str, str]:
    """The score that chooses the weights to keep, and why."""
    short = data.target_tokens < 4 or (data.target_words is not None and data.target_words < 3)
    if data.kind == "text" and not data.unspaced and short:
        return "chrf", "targets are text, most of it too short for BLEU, which counts four words in a row"
    if data.kind == "text" and data.unspaced:
        return "chrf", "targets are text without spaces"
    return "exact_match" if data.kind == "symbols" else "bleu", f"targets are {data.kind}"


def _copying(data: DataSummary) -> tuple[bool, str]:
    """Whether the model may copy, and why."""
    inflection = data.kind == "symbols" and data.with_features
    if inflection and data.pairs < COPYING_PAYS and data.copied_share >= MUCH_COPIED:
        return True, f"inflected forms, and {data.copied_share:.0%} of their symbols stand in the source"
    return False, ""


def _changes(data: DataSummary, options: TrainOptions) -> dict[str, tuple[float, str]]:
    """How often pairs are joined, sources are written in haste, and names and parts are others, and why."""
    joined = noise = names = parts = 0.0, ""
    if data.built_up >= BUILT_UP and not options.minimum_risk:  # benchmarks/recipes: symbols.md
        joined = (
            0.3,
            "sources are made of other sources, as commands are: some stand in a row, for outputs longer than any that was seen",
        )
    if data.recombined >= RECOMBINED and not (options.minimum_risk or options.subword_dropout):
        right = f"of new commands that are made of parts of the others, {data.recombined:.0%} have the right output"
        parts = 0.5, f"{right}: words are learned in commands that were never seen"
    if data.kind == "text" and not data.edited and not options.minimum_risk:
        if data.polished >= 0.5:
            share = 0.15 if data.pairs < 8_000 else 0.3  # benchmarks/recipes: eng-fra.md
            noise = share, "sources have capitals or full stops, which are not always typed"
        if data.lengths_agree >= FOLLOWS:
            joined = 0.3, "a translation says all of its source: some pairs are joined, for texts of several sentences"
            if data.named >= NAMED:
                names = 0.3, "names and numbers stand on both sides: those never seen are to be carried over"
            if noise[0] and options.source_noise == 0:
                joined = 0.0, "without noise a model of joined pairs goes on until it reads a full stop"
    return {"concatenate": joined, "source_noise": noise, "other_names": names, "recombine": parts}


def _as_in_bfloat16(data: DataSummary) -> float | None:
    """The minutes that a limit comes to, less where the processor is slower: it is the number of steps that decides."""
    if data.processor_minutes is None:
        return None
    return data.processor_minutes * TOKENS_A_MINUTE[data.native_bfloat16] / TOKENS_A_MINUTE[True]


def _passes(data: DataSummary, options: TrainOptions, *, width: int, batch_tokens: int, pace: float) -> float:
    """About how often the limits of a run let every pair be seen; width and batches are the data's unless set.

    `pace` is how many times as fast as two layers the layers are.
    """
    passes, one = [options.epochs or math.inf], data.pairs * (data.longer_tokens or data.target_tokens)
    if data.processor_minutes:
        tokens = pace * TOKENS_A_MINUTE[data.native_bfloat16] * 256 / (options.hidden_size or width)
        passes.append(data.processor_minutes * tokens / one)
    if options.max_steps:
        passes.append(options.max_steps * (options.batch_tokens or batch_tokens) * (options.accumulate or 1) / one)
    return min(passes)


def _check(values: dict[str, Any], data: DataSummary) -> None:
    attends = values["attention"] != "none"
    for name in ("attention_inside", "input_feeding", "copying"):
        if values[name] and not attends:
            raise OptionError(
                f"`{name}` needs attention, but `attention` is none; choose additive, dot, general or multihead"
            )
    if values["attention_inside"] and values["input_feeding"]:
        raise OptionError("`attention_inside` and `input_feeding` exclude each other; choose one")
    if values["r_drop"] and not (values["dropout"] or values["word_dropout"]):
        raise OptionError("`r_drop` compares two passes with dropout, but `dropout` and `word_dropout` are 0")
    if values["r_drop"] and values["scheduled_sampling"]:  # it would compare what is said after different words
        raise OptionError("`r_drop` and `scheduled_sampling` exclude each other; choose one")
    for name in AUGMENTATIONS:
        if values[name] and values["minimum_risk"]:
            raise OptionError(
                f"`{name}` and `minimum_risk` exclude each other: references are those of unchanged pairs"
            )
    if values["recombine"] and values["subword_dropout"]:
        raise OptionError(
            "`recombine` and `subword_dropout` exclude each other: parts are found by their tokens; choose one"
        )
    for name in ("scheduled_sampling", "minimum_risk"):
        if values["bptt"] and values[name]:
            raise OptionError(f"`bptt` and `{name}` exclude each other; choose one")
    if values["average_checkpoints"] and values["average_decay"]:
        raise OptionError(
            f"`average_checkpoints` and `average_decay` exclude each other, but are {values['average_checkpoints']} and "
            f"{values['average_decay']:g}; choose one"
        )
    if values["bidirectional"] and values["hidden_size"] % 2:
        raise OptionError(f"`hidden_size` must be even with a bidirectional encoder, but is {values['hidden_size']}")
    if values["attention"] == "multihead" and values["hidden_size"] % values["attention_heads"]:
        raise OptionError(
            f"`attention_heads` must divide `hidden_size` ({values['hidden_size']}), but is {values['attention_heads']}"
        )
    if values["tie_embeddings"] == "all" and not data.shared_vocabulary:
        raise OptionError(
            "`tie_embeddings` all needs one vocabulary for both sides; set `shared_vocabulary`, or choose target"
        )
    if values["tie_embeddings"] == "all" and data.source_vector_size != data.target_vector_size:
        raise OptionError(
            "`tie_embeddings` all has one table for both sides, but one side has vectors from a file, which the other has not or of another "
            "width; choose target or none"
        )


PARTS_OF = {
    "minimum_risk": ("risk_metric", "risk_candidates", "risk_sharpness"),
    "scheduled_sampling": ("sampling_curve", "sampling_steps"),
}
"""Options that say how another one does what it does."""


def _check_effects(options: TrainOptions, values: dict[str, Any], data: DataSummary) -> None:
    """Raise `OptionError` for an option that is given but would change nothing."""
    for whole, parts in PARTS_OF.items():
        for name in parts:
            if getattr(options, name) is not None and not values[whole]:
                raise OptionError(f"`{name}` needs `{whole}`, but it is 0")
    # A model that is gone on from brings its heads with it.
    if options.attention_heads is not None and options.from_model is None and values["attention"] != "multihead":
        raise OptionError(f"`attention_heads` needs `attention` multihead, but it is {values['attention']}")
    if options.weight_decay and values["optimizer"] != "adamw":
        raise OptionError(f"`weight_decay` needs `optimizer` adamw, but it is {values['optimizer']}")
    for name in ("label_smoothing", "r_drop", "scheduled_sampling"):
        if getattr(options, name) and values["minimum_risk"] == 1:
            raise OptionError(
                f"`{name}` is part of the cross-entropy, which has no weight with `minimum_risk` 1; choose one"
            )
    if data.target_vector_size and options.embedding_size not in (None, data.target_vector_size):
        raise OptionError(
            f"`embedding_size` must be that of `target_vectors` ({data.target_vector_size}), but is {options.embedding_size}"
        )

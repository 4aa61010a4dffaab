"""Every option once, as frozen pydantic models with limits and help texts; does not know how options are used.

`None` means "not set": a value then comes from the config file, the preset, or the data, in that order (see
`dragoman.training.recipe`). The command line and the Python functions take these same models, so a field added
here appears in both, under the same name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from dragoman.errors import OptionError, nearest

Cell = Literal["rnn_tanh", "rnn_relu", "gru", "lstm"]
AttentionKind = Literal["none", "additive", "dot", "general", "multihead"]
TokenizerMethod = Literal["word", "char", "bpe", "unigram", "symbols", "features"]


def _group(name: str, **limits: Any) -> Any:
    """A pydantic field that also says in which group of the help it stands."""
    return Field(json_schema_extra={"group": name}, **limits)


class Options(BaseModel):
    """Base of all option models: frozen; unknown names and impossible values raise a one-line `OptionError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=False)

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, handler: ModelWrapValidatorHandler[Options]) -> Options:
        """Turn pydantic's report, five lines with a link, into our one line."""
        try:
            return handler(values)
        except ValidationError as error:
            raise OptionError(_sentence(error.errors(include_url=False)[0], cls.model_fields)) from None

    @field_validator(
        "source", "source_tokenizer", "dev", "test", "require", "forbid", "ensemble", mode="before", check_fields=False
    )
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        """Let one value stand for a list of one, and a number for its text: `dev=2000`, `source=["lemma", 2]`."""
        values = value if isinstance(value, list | tuple) else (value,)
        return tuple(str(v) if isinstance(v, int | float) and not isinstance(v, bool) else v for v in values)


_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
}


def _sentence(error: ErrorDetails, names: Iterable[str]) -> str:
    """Say what is wrong with which value, then what would be right: "`beam_size` must be at least 1, but is 0"."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    name = f"`{error['loc'][0]}`" if error["loc"] else "the options"
    shown = f'"{value}"' if isinstance(value, str) else value
    if kind == "extra_forbidden":
        return f"there is no option {name}; {nearest(str(error['loc'][0]), names)}"
    if kind == "literal_error":
        choices = [choice.strip("' ") for choice in context["expected"].replace(" or ", ", ").split(", ")]
        hint = nearest(str(value), choices)
        return (
            f"{name} must be one of {', '.join(choices)}, but is {shown}{f'; {hint}' if 'did you mean' in hint else ''}"
        )
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        bound = context[key]
        return f"{name} must be {words} {f'{bound:g}' if isinstance(bound, float) else bound}, but is {value}"
    if kind == "string_too_short":
        return f"{name} must not be empty"
    if wanted := _KINDS.get(kind.split("_")[0]):
        return f"{name} must be {wanted}, but is {shown}"
    return f"{name}: {error['msg']}, but is {shown}"


class InputOptions(Options):
    """How a file of inputs is read."""

    format: Annotated[
        Literal["tsv", "csv", "jsonl", "parquet", "text"] | None,
        _group(
            "Data", description="Format of the files. By default taken from the file's name; standard input is tsv."
        ),
    ] = None
    source: Annotated[
        tuple[str, ...],
        _group("Data", description="Source column, by name or number from 1; give it again to join several columns."),
    ] = ()
    separator: Annotated[
        str | None,
        _group(
            "Data",
            description=r"Column separator, such as ';', '||' or '\t'. Default: TAB for tsv, comma for csv.",
            min_length=1,
        ),
    ] = None
    header: Annotated[
        bool | None,
        _group(
            "Data",
            description="Whether the first row holds column names. By default it does when a column is given by name.",
        ),
    ] = None
    encoding: Annotated[str, _group("Data", description="Text encoding of the files.")] = "utf-8"


class ReadOptions(InputOptions):
    """How files are read into pairs."""

    target: Annotated[
        str | None, _group("Data", description="Target column, by name or number from 1. Default: 2.", min_length=1)
    ] = None
    pattern: Annotated[
        str | None,
        _group(
            "Data", description="Regular expression with two groups, source and target, for lines that are not columns."
        ),
    ] = None
    group_by: Annotated[
        str | None,
        _group(
            "Data",
            description="Column whose value keeps rows together when the data is split (a dialogue, a document).",
        ),
    ] = None
    normalization: Annotated[
        Literal["nfc", "nfkc", "none"], _group("Data", description="Unicode normalisation of both sides.")
    ] = "nfc"
    strict: Annotated[bool, _group("Data", description="Stop at the first unusable row instead of counting it.")] = (
        False
    )


class ThreadOptions(Options):
    """How many processors are used."""

    threads: Annotated[int | None, _group("Machine", description="Processor threads. Default: all.", ge=1, le=1024)] = (
        None
    )


class MachineOptions(ThreadOptions):
    """Where the computing is done."""

    device: Annotated[
        str,
        _group("Machine", description="Where to compute: cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."),
    ] = "auto"


class EngineOptions(MachineOptions):
    """Where and by what a trained model is run."""

    device: Annotated[
        str,
        _group(
            "Machine",
            description="Where to compute: cpu, cuda, cuda:1, mps; auto is the CPU for onnx, and for torch a GPU if there is one.",
        ),
    ] = "auto"
    engine: Annotated[
        Literal["auto", "onnx", "torch"],
        _group(
            "Machine",
            description="What runs the model: onnx (ONNX Runtime, on the CPU, without PyTorch) or torch; auto takes onnx "
            "if the model has graphs for it.",
        ),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "int8", "float16"],
        _group(
            "Machine",
            description="Which of the model's graphs onnx runs; auto takes int8, which is several times as fast, where the "
            "export found that it loses little.",
        ),
    ] = "auto"


class TrainOptions(ReadOptions, MachineOptions):
    """Everything `train` can be told. What is left unset is chosen from the preset and the data, and printed."""

    # Data
    dev: Annotated[
        tuple[str, ...],
        _group(
            "Data",
            description="Development data: a file (two if aligned), or how much to hold out, as sources (2000) or a share (0.05).",
        ),
    ] = ()
    test: Annotated[
        tuple[str, ...],
        _group(
            "Data",
            description="Test data, scored once at the end: a file (two if aligned), or how much to hold out. Default: none.",
        ),
    ] = ()
    seed: Annotated[int, _group("Data", description="Seed of every random choice.", ge=0, lt=2**31)] = 1

    # Tokenisation
    tokenizer: Annotated[
        TokenizerMethod | None, _group("Tokenisation", description="How both sides are split into tokens.")
    ] = None
    source_tokenizer: Annotated[
        tuple[TokenizerMethod, ...],
        _group("Tokenisation", description="How the source is split; give it again for each source column."),
    ] = ()
    target_tokenizer: Annotated[
        TokenizerMethod | None, _group("Tokenisation", description="How the target is split.")
    ] = None
    vocab_size: Annotated[
        int | None, _group("Tokenisation", description="Largest vocabulary, special tokens included.", ge=8)
    ] = None
    shared_vocabulary: Annotated[bool | None, _group("Tokenisation", description="One vocabulary for both sides.")] = (
        None
    )
    byte_fallback: Annotated[
        bool | None,
        _group("Tokenisation", description="Spell unknown characters in bytes instead of <unk> (bpe and unigram)."),
    ] = None
    jamo: Annotated[
        bool | None,
        _group(
            "Tokenisation", description="Decompose Hangul syllables into jamo, and compose them back in the output."
        ),
    ] = None
    subword_dropout: Annotated[
        float | None,
        _group(
            "Tokenisation",
            description="Share of merges left out when training texts are split, anew in every epoch (bpe; Provilkov et al. "
            "2020); 0 always splits alike.",
            ge=0,
            lt=1,
        ),
    ] = None

    # Embeddings
    source_vectors: Annotated[
        str | None,
        _group("Embeddings", description="word2vec, GloVe or fastText file to start the source embeddings from."),
    ] = None
    target_vectors: Annotated[
        str | None,
        _group("Embeddings", description="word2vec, GloVe or fastText file to start the target embeddings from."),
    ] = None
    freeze_source_vectors: Annotated[
        bool, _group("Embeddings", description="Keep the source embeddings as the file has them.")
    ] = False
    freeze_target_vectors: Annotated[
        bool, _group("Embeddings", description="Keep the target embeddings as the file has them.")
    ] = False

    # Model
    preset: Annotated[
        str,
        _group(
            "Model", description="Named model: default, textbook, sutskever2014, cho2014, bahdanau2015 or luong2015."
        ),
    ] = "default"
    cell: Annotated[Cell | None, _group("Model", description="Recurrent cell of encoder and decoder.")] = None
    layers: Annotated[
        int | None, _group("Model", description="Recurrent layers of the encoder and of the decoder.", ge=1, le=16)
    ] = None
    encoder_layers: Annotated[
        int | None,
        _group("Model", description="Recurrent layers of the encoder, if unlike the decoder's.", ge=1, le=16),
    ] = None
    decoder_layers: Annotated[
        int | None,
        _group("Model", description="Recurrent layers of the decoder, if unlike the encoder's.", ge=1, le=16),
    ] = None
    embedding_size: Annotated[int | None, _group("Model", description="Width of the embeddings.", ge=1, le=16384)] = (
        None
    )
    hidden_size: Annotated[
        int | None,
        _group(
            "Model",
            description="Width of the recurrent layers (a bidirectional layer halves it per direction).",
            ge=1,
            le=16384,
        ),
    ] = None
    bidirectional: Annotated[bool | None, _group("Model", description="Read the source in both directions.")] = None
    attention: Annotated[
        AttentionKind | None, _group("Model", description="How the decoder looks back at the source.")
    ] = None
    attention_heads: Annotated[
        int | None, _group("Model", description="Heads of multi-head attention.", ge=1, le=64)
    ] = None
    attention_inside: Annotated[
        bool | None,
        _group(
            "Model",
            description="Attend inside the recurrence: the previous state asks, and the answer feeds the cell (Bahdanau et al. 2015).",
        ),
    ] = None
    input_feeding: Annotated[
        bool | None,
        _group("Model", description="Feed the attentional output to the next step's input (Luong et al. 2015)."),
    ] = None
    peek: Annotated[
        bool | None, _group("Model", description="Show the context vector to the decoder at every step.")
    ] = None
    copying: Annotated[
        bool | None,
        _group(
            "Model",
            description="Let words be copied from where attention points, of tokens that both sides share (See et al. 2017).",
        ),
    ] = None
    reverse_source: Annotated[
        bool | None, _group("Model", description="Read the source backwards (Sutskever et al. 2014).")
    ] = None
    tie_embeddings: Annotated[
        Literal["none", "target", "all"] | None,
        _group(
            "Model",
            description="Share the target embeddings with the output layer (target), and with the source too (all).",
        ),
    ] = None
    layer_norm: Annotated[
        bool | None, _group("Model", description="Normalise the output of every recurrent layer.")
    ] = None
    residual: Annotated[
        bool | None, _group("Model", description="Add a recurrent layer's input to its output where sizes agree.")
    ] = None
    dropout: Annotated[
        float | None, _group("Model", description="Share of values dropped between layers in training.", ge=0, lt=1)
    ] = None
    word_dropout: Annotated[
        float | None, _group("Model", description="Share of whole input words dropped in training.", ge=0, lt=1)
    ] = None

    # Training
    from_model: Annotated[
        str | None,
        _group(
            "Training",
            description="Start from the weights and tokenisers of this model (a directory, or a name on the hub).",
            min_length=1,
        ),
    ] = None
    epochs: Annotated[int | None, _group("Training", description="Most passes over the training data.", ge=1)] = None
    max_steps: Annotated[int | None, _group("Training", description="Most optimiser steps.", ge=1)] = None
    max_minutes: Annotated[float | None, _group("Training", description="Most minutes of training.", gt=0)] = None
    batch_tokens: Annotated[
        int | None, _group("Training", description="Target tokens per batch, padding included.", ge=1)
    ] = None
    accumulate: Annotated[
        int | None,
        _group("Training", description="Batches whose gradients are summed for one optimiser step.", ge=1, le=10_000),
    ] = None
    optimizer: Annotated[Literal["adamw", "adam", "sgd"] | None, _group("Training", description="Optimiser.")] = None
    learning_rate: Annotated[float | None, _group("Training", description="Highest learning rate.", gt=0)] = None
    schedule: Annotated[
        Literal["constant", "inverse_sqrt", "linear", "cosine", "plateau"] | None,
        _group(
            "Training",
            description="How the learning rate falls after the warm-up (plateau: halved when the dev loss stops falling).",
        ),
    ] = None
    warmup_steps: Annotated[
        int | None, _group("Training", description="Steps over which the learning rate rises.", ge=0)
    ] = None
    weight_decay: Annotated[float | None, _group("Training", description="Weight decay (adamw).", ge=0)] = None
    clip_norm: Annotated[
        float | None, _group("Training", description="Largest gradient norm; 0 clips nothing.", ge=0)
    ] = None
    label_smoothing: Annotated[
        float | None, _group("Training", description="Probability mass spread over the whole vocabulary.", ge=0, lt=1)
    ] = None
    average_decay: Annotated[
        float | None,
        _group(
            "Training",
            description="Decay per step of the running average of weights that is kept as the model; 0 averages nothing.",
            ge=0,
            lt=1,
        ),
    ] = None
    average_checkpoints: Annotated[
        int | None,
        _group(
            "Training",
            description="Keep as the model the mean of the weights at so many last evaluations, instead of a running average; "
            "0 averages nothing.",
            ge=0,
            le=100,
        ),
    ] = None
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        _group(
            "Training",
            description="What matrix products are computed in; weights, optimiser and sums stay in float32.",
        ),
    ] = None
    r_drop: Annotated[
        float | None,
        _group(
            "Training",
            description="Weight of the divergence between two passes with different dropout (R-Drop, Liang et al. 2021); "
            "0 makes one pass.",
            ge=0,
            le=100,
        ),
    ] = None
    minimum_risk: Annotated[
        float | None,
        _group(
            "Training",
            description="Share of the loss that is the expected cost of outputs that the model draws itself (minimum risk, "
            "Shen et al. 2016), the rest being cross-entropy; needs a trained model to start from.",
            ge=0,
            le=1,
        ),
    ] = None
    risk_metric: Annotated[
        Literal["bleu", "edit", "exact_match"] | None,
        _group(
            "Training",
            description="What an output costs: 1 - sentence BLEU, the share of tokens to edit, or 1 unless it is right; all in "
            "tokens. Default: bleu for text, edit for symbols.",
        ),
    ] = None
    risk_candidates: Annotated[
        int | None,
        _group("Training", description="Different outputs that are drawn for every pair. Default: 8.", ge=2, le=1000),
    ] = None
    risk_sharpness: Annotated[
        float | None,
        _group(
            "Training",
            description="Exponent of the outputs' probabilities in the expected cost; below 1 improbable ones count more. "
            "Default: 1.",
            gt=0,
            le=100,
        ),
    ] = None
    bptt: Annotated[
        int | None,
        _group(
            "Training",
            description="Steps of the decoder that a gradient flows back through at most: its activations are held for so "
            "many at a time; 0 sets no limit.",
            ge=0,
        ),
    ] = None
    recompute: Annotated[
        bool | None,
        _group(
            "Training",
            description="Compute the activations within layers again in the backward pass instead of holding them: less "
            "memory, more time.",
        ),
    ] = None
    scheduled_sampling: Annotated[
        float | None,
        _group(
            "Training",
            description="Share of the decoder's inputs that the model draws itself in training, once the curve is up "
            "(Bengio et al. 2015); 0 is teacher forcing.",
            ge=0,
            le=1,
        ),
    ] = None
    sampling_curve: Annotated[
        Literal["linear", "exponential", "sigmoid", "constant"] | None,
        _group("Training", description="How scheduled sampling rises from 0 to its share."),
    ] = None
    sampling_steps: Annotated[
        int | None, _group("Training", description="Steps until scheduled sampling has its whole share.", ge=1)
    ] = None
    metric: Annotated[
        Literal["bleu", "chrf", "exact_match", "loss"] | None,
        _group("Training", description="What decides on the best checkpoint and on early stopping."),
    ] = None
    eval_every: Annotated[int | None, _group("Training", description="Steps between evaluations on dev.", ge=1)] = None
    patience: Annotated[
        int | None,
        _group(
            "Training", description="Evaluations without a better dev score before stopping; 0 never stops early.", ge=0
        ),
    ] = None


_METHODS_OF = {
    "temperature": ("sample", "stochastic_beam"),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "min_p": ("sample",),
    "beam_groups": ("beam",),
    "stopping": ("beam",),
    "max_expansions": ("best_first",),
}
"""Options of search that only some methods have a use for."""
_SAMPLES = 32
"""Samples that are drawn when something chooses among them."""


class CompanionOptions(Options):
    """Other models that help a model to choose."""

    ensemble: Annotated[
        tuple[str, ...],
        _group(
            "Choosing",
            description="Another model with the same vocabularies, whose probabilities are averaged in; give it again for"
            " several.",
        ),
    ] = ()
    reverse: Annotated[
        str | None,
        _group(
            "Choosing",
            description="A model from target to source: outputs from which it finds the source again rank higher.",
            min_length=1,
        ),
    ] = None


class SearchOptions(Options):
    """How an output is chosen."""

    method: Annotated[
        Literal["beam", "sample", "stochastic_beam", "best_first"],
        _group(
            "Search",
            description="How outputs are found: the most probable ones (beam), drawn at random (sample), drawn without"
            " replacement (stochastic_beam), or the proven best (best_first; slow).",
        ),
    ] = "beam"
    beam_size: Annotated[
        int, _group("Search", description="Candidates kept at every step; 1 is greedy search.", ge=1, le=1000)
    ] = 5
    num_hypotheses: Annotated[int, _group("Search", description="Outputs per input, best first.", ge=1, le=1000)] = 1
    max_length: Annotated[
        int | None,
        _group(
            "Search",
            description="Most tokens in an output, its end (</s>) included. Default: 3 x source + 50.",
            ge=1,
            le=100_000,
        ),
    ] = None
    max_length_ratio: Annotated[
        float | None,
        _group("Search", description="Most tokens in an output, as a multiple of the source's.", gt=0, le=1000),
    ] = None
    min_length: Annotated[
        int, _group("Search", description="Fewest tokens in an output, its end (</s>) included.", ge=0, le=100_000)
    ] = 0
    min_length_ratio: Annotated[
        float, _group("Search", description="Fewest tokens in an output, as a multiple of the source's.", ge=0, le=1000)
    ] = 0.0
    length_penalty: Annotated[
        float,
        _group(
            "Search",
            description="Exponent a of the length normalisation: score / length^a. 0 ranks by the bare score, 1 by the mean.",
            ge=0,
            le=10,
        ),
    ] = 1.0
    length_norm: Annotated[
        Literal["power", "gnmt"],
        _group("Search", description="What scores are divided by: length^a (power) or ((5 + length) / 6)^a (gnmt)."),
    ] = "power"
    coverage_penalty: Annotated[
        float,
        _group(
            "Search",
            description="Weight of GNMT's coverage term: outputs that left source tokens without attention rank lower.",
            ge=0,
            le=100,
        ),
    ] = 0.0
    stopping: Annotated[
        Literal["full", "first", "exact"],
        _group(
            "Search",
            description="When beam search ends: every place of the beam has finished (full), num_hypotheses have (first),"
            " or no unfinished output can win any more (exact; slow).",
        ),
    ] = "full"
    max_expansions: Annotated[
        int, _group("Search", description="Steps of the model per source after which best_first gives up.", ge=1)
    ] = 2000
    temperature: Annotated[
        float,
        _group(
            "Sampling", description="Below 1 sampling prefers probable tokens, above 1 it evens them out.", gt=0, le=100
        ),
    ] = 1.0
    top_k: Annotated[
        int | None, _group("Sampling", description="Sample from so many most probable tokens only.", ge=1)
    ] = None
    top_p: Annotated[
        float | None,
        _group(
            "Sampling", description="Sample from the fewest tokens that have so much probability together.", gt=0, le=1
        ),
    ] = None
    min_p: Annotated[
        float | None,
        _group(
            "Sampling",
            description="Sample from tokens with at least so much of the best one's probability.",
            ge=0,
            le=1,
        ),
    ] = None
    seed: Annotated[int, _group("Sampling", description="Seed of the draws.", ge=0, lt=2**31)] = 1
    shortlist: Annotated[
        bool,
        _group(
            "Search",
            description="Make outputs of the words only that usually translate the source's, which is faster; needs"
            " `dragoman shortlist` first, and engine onnx.",
        ),
    ] = False
    beam_groups: Annotated[
        int,
        _group(
            "Search", description="Groups that the beam is split into; each shuns what those before it chose.", ge=1
        ),
    ] = 1
    diversity_penalty: Annotated[
        float | None,
        _group(
            "Search",
            description="What a token loses each time an earlier group chose it at the same step. Default: 0.5.",
            gt=0,
            le=100,
        ),
    ] = None

    allow_unknown: Annotated[bool, _group("Constraints", description="Whether <unk> may be chosen.")] = True
    prefix: Annotated[str | None, _group("Constraints", description="Text that every output begins with.")] = None
    require: Annotated[
        tuple[str, ...],
        _group("Constraints", description="Word or phrase that every output must hold; give it again for several."),
    ] = ()
    forbid: Annotated[
        tuple[str, ...],
        _group("Constraints", description="Word or phrase that no output may hold; give it again for several."),
    ] = ()
    choices: Annotated[
        str | None, _group("Constraints", description="File of the outputs that are allowed, one a line.", min_length=1)
    ] = None
    match: Annotated[
        str | None,
        _group("Constraints", description="Regular expression that every whole output matches.", min_length=1),
    ] = None
    no_repeat_ngram: Annotated[
        int,
        _group(
            "Constraints",
            description="No run of so many tokens comes twice in an output; 0 sets no limit.",
            ge=0,
            le=100,
        ),
    ] = 0
    repetition_penalty: Annotated[
        float,
        _group(
            "Constraints",
            description="What a token that the output holds already loses in log-probability.",
            ge=0,
            le=100,
        ),
    ] = 0.0

    rerank: Annotated[
        Literal["mbr"] | None,
        _group(
            "Choosing",
            description="Put the outputs that were found in another order: the one most like all the others first"
            " (mbr, minimum Bayes risk).",
        ),
    ] = None
    utility: Annotated[
        Literal["chrf", "bleu", "edit"] | None,
        _group("Choosing", description="What `rerank` mbr measures likeness by. Default: chrf."),
    ] = None
    num_candidates: Annotated[
        int | None,
        _group(
            "Choosing",
            description="Outputs that are found for `rerank` or a reverse model to choose from."
            " Default: the beam size, or 32 samples.",
            ge=1,
            le=1000,
        ),
    ] = None
    reverse_weight: Annotated[
        float | None,
        _group(
            "Choosing",
            description="What the reverse model's opinion counts against the model's own. Default with a reverse model: 0.5.",
            ge=0,
            le=100,
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        _group(
            "Choosing",
            description="Rather give nothing than an output of less confidence; needs `dragoman calibrate` first.",
            ge=0,
            le=1,
        ),
    ] = None

    replace_unknown: Annotated[
        bool,
        _group(
            "Choosing",
            description="Put the source word that the model looked at most in the place of <unk>; needs attention.",
        ),
    ] = False
    phrase_table: Annotated[
        str | None,
        _group(
            "Choosing",
            description="File of source words and what to put in the place of <unk> for each; others are copied. Implies"
            " `replace_unknown`.",
            min_length=1,
        ),
    ] = None

    def pool(self) -> int:
        """How many outputs are found when `rerank` or a reverse model chooses among them."""
        if self.num_candidates is not None:
            return self.num_candidates
        return max(self.num_hypotheses, _SAMPLES if self.method == "sample" else self.beam_size)

    @model_validator(mode="after")
    def _agree(self) -> SearchOptions:
        """Find options that contradict each other."""
        for name, methods in _METHODS_OF.items():
            if self.method not in methods and getattr(self, name) != SearchOptions.model_fields[name].default:
                raise OptionError(f"`{name}` needs `method` {' or '.join(methods)}, but it is {self.method}")
        if self.require and self.method not in ("beam", "best_first"):
            raise OptionError(f"`require` needs `method` beam or best_first, but it is {self.method}")
        if self.num_hypotheses > self.beam_size and self.method in ("beam", "stochastic_beam"):
            raise OptionError(
                f"`num_hypotheses` must be at most `beam_size` ({self.beam_size}), but is {self.num_hypotheses}"
            )
        if self.beam_size % self.beam_groups:
            raise OptionError(
                f"`beam_groups` must divide `beam_size` ({self.beam_size}) evenly, but is {self.beam_groups}"
            )
        if self.diversity_penalty is not None and self.beam_groups == 1:
            raise OptionError("`diversity_penalty` needs `beam_groups` of at least 2, but there is one group")
        if self.beam_groups > 1 and self.require:
            raise OptionError("`require` must not be given with several `beam_groups`")
        if self.utility and self.rerank != "mbr":
            raise OptionError("`utility` needs `rerank` mbr, but it is not given")
        if self.rerank and self.reverse_weight is not None:
            raise OptionError("`rerank` must not be given with `reverse_weight`: both put the outputs in order")
        if self.num_candidates is not None and self.num_hypotheses > self.num_candidates:
            raise OptionError(
                f"`num_hypotheses` must be at most `num_candidates` ({self.num_candidates}), but is {self.num_hypotheses}"
            )
        if (self.num_candidates or 0) > self.beam_size and self.method in ("beam", "stochastic_beam"):
            raise OptionError(
                f"`num_candidates` must be at most `beam_size` ({self.beam_size}), but is {self.num_candidates}"
            )
        if self.shortlist and self.match:
            raise OptionError(
                "`match` must not be given with `shortlist`: a pattern may need any word of the vocabulary"
            )
        if self.shortlist and self.min_confidence is not None:
            raise OptionError(
                "`min_confidence` must not be given with `shortlist`: it was fitted to the whole vocabulary"
            )
        if self.choices and self.match:
            raise OptionError("`choices` must not be given with `match`: both say what whole outputs may be")
        if self.max_length is not None and self.min_length > self.max_length:
            raise OptionError(
                f"`min_length` must be at most `max_length` ({self.max_length}), but is {self.min_length}"
            )
        return self

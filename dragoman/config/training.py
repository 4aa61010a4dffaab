"""Everything `train` can be told; `dragoman.training.recipe` settles what is left unset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from dragoman.config.base import option
from dragoman.config.machine import MachineOptions
from dragoman.config.reading import ReadOptions

Cell = Literal["rnn_tanh", "rnn_relu", "gru", "lstm"]
AttentionKind = Literal["none", "additive", "dot", "general", "multihead"]
TokenizerMethod = Literal["word", "char", "bpe", "unigram", "symbols", "features"]


class TrainOptions(ReadOptions, MachineOptions):
    """Everything `train` can be told. What is left unset is chosen from the preset and the data, and printed."""

    # Data
    dev: Annotated[
        tuple[str, ...],
        option(
            "Data",
            description="Development data: a file (two if aligned), or how much to hold out, as sources (2000) or a share (0.05).",
        ),
    ] = ()
    test: Annotated[
        tuple[str, ...],
        option(
            "Data",
            description="Test data, scored once at the end: a file (two if aligned), or how much to hold out. Default: none.",
        ),
    ] = ()
    seed: Annotated[int, option("Data", description="Seed of every random choice.", ge=0, lt=2**31)] = 1
    split_seed: Annotated[
        int | None,
        option(
            "Data",
            description="Seed of what is held out and what tokenisers learn from: models of one ensemble share it. Default: the seed.",
            ge=0,
            lt=2**31,
        ),
    ] = None

    # Tokenisation
    tokenizer: Annotated[
        TokenizerMethod | None, option("Tokenisation", description="How both sides are split into tokens.")
    ] = None
    source_tokenizer: Annotated[
        tuple[TokenizerMethod, ...],
        option("Tokenisation", description="How the source is split; give it again for each source column."),
    ] = ()
    target_tokenizer: Annotated[
        TokenizerMethod | None, option("Tokenisation", description="How the target is split.")
    ] = None
    vocab_size: Annotated[
        int | None, option("Tokenisation", description="Largest vocabulary, special tokens included.", ge=8)
    ] = None
    shared_vocabulary: Annotated[bool | None, option("Tokenisation", description="One vocabulary for both sides.")] = (
        None
    )
    byte_fallback: Annotated[
        bool | None,
        option("Tokenisation", description="Spell unknown characters in bytes instead of <unk> (bpe and unigram)."),
    ] = None
    jamo: Annotated[
        bool | None,
        option(
            "Tokenisation", description="Decompose Hangul syllables into jamo, and compose them back in the output."
        ),
    ] = None
    subword_dropout: Annotated[
        float | None,
        option(
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
        option("Embeddings", description="word2vec, GloVe or fastText file to start the source embeddings from."),
    ] = None
    target_vectors: Annotated[
        str | None,
        option("Embeddings", description="word2vec, GloVe or fastText file to start the target embeddings from."),
    ] = None
    freeze_source_vectors: Annotated[
        bool, option("Embeddings", description="Keep the source embeddings as the file has them.")
    ] = False
    freeze_target_vectors: Annotated[
        bool, option("Embeddings", description="Keep the target embeddings as the file has them.")
    ] = False

    # Model
    preset: Annotated[
        str,
        option(
            "Model", description="Named model: default, textbook, sutskever2014, cho2014, bahdanau2015 or luong2015."
        ),
    ] = "default"
    cell: Annotated[Cell | None, option("Model", description="Recurrent cell of encoder and decoder.")] = None
    layers: Annotated[
        int | None, option("Model", description="Recurrent layers of the encoder and of the decoder.", ge=1, le=16)
    ] = None
    encoder_layers: Annotated[
        int | None,
        option("Model", description="Recurrent layers of the encoder, if unlike the decoder's.", ge=1, le=16),
    ] = None
    decoder_layers: Annotated[
        int | None,
        option("Model", description="Recurrent layers of the decoder, if unlike the encoder's.", ge=1, le=16),
    ] = None
    embedding_size: Annotated[int | None, option("Model", description="Width of the embeddings.", ge=1, le=16384)] = (
        None
    )
    hidden_size: Annotated[
        int | None,
        option(
            "Model",
            description="Width of the recurrent layers (a bidirectional layer halves it per direction).",
            ge=1,
            le=16384,
        ),
    ] = None
    bidirectional: Annotated[bool | None, option("Model", description="Read the source in both directions.")] = None
    attention: Annotated[
        AttentionKind | None, option("Model", description="How the decoder looks back at the source.")
    ] = None
    attention_heads: Annotated[
        int | None, option("Model", description="Heads of multi-head attention.", ge=1, le=64)
    ] = None
    attention_inside: Annotated[
        bool | None,
        option(
            "Model",
            description="Attend inside the recurrence: the previous state asks, and the answer feeds the cell (Bahdanau et al. 2015).",
        ),
    ] = None
    input_feeding: Annotated[
        bool | None,
        option("Model", description="Feed the attentional output to the next step's input (Luong et al. 2015)."),
    ] = None
    peek: Annotated[
        bool | None, option("Model", description="Show the context vector to the decoder at every step.")
    ] = None
    copying: Annotated[
        bool | None,
        option(
            "Model",
            description="Let words be copied from where attention points, of tokens that both sides share (See et al. 2017).",
        ),
    ] = None
    reverse_source: Annotated[
        bool | None, option("Model", description="Read the source backwards (Sutskever et al. 2014).")
    ] = None
    tie_embeddings: Annotated[
        Literal["none", "target", "all"] | None,
        option(
            "Model",
            description="Share the target embeddings with the output layer (target), and with the source too (all).",
        ),
    ] = None
    layer_norm: Annotated[
        bool | None, option("Model", description="Normalise the output of every recurrent layer.")
    ] = None
    residual: Annotated[
        bool | None, option("Model", description="Add a recurrent layer's input to its output where sizes agree.")
    ] = None
    dropout: Annotated[
        float | None, option("Model", description="Share of values dropped between layers in training.", ge=0, lt=1)
    ] = None
    word_dropout: Annotated[
        float | None, option("Model", description="Share of whole input words dropped in training.", ge=0, lt=1)
    ] = None

    # Training
    from_model: Annotated[
        str | None,
        option(
            "Training",
            description="Start from the weights and tokenisers of this model (a directory, or a name on the hub).",
            min_length=1,
        ),
    ] = None
    epochs: Annotated[int | None, option("Training", description="Most passes over the training data.", ge=1)] = None
    max_steps: Annotated[int | None, option("Training", description="Most optimiser steps.", ge=1)] = None
    max_minutes: Annotated[float | None, option("Training", description="Most minutes of training.", gt=0)] = None
    batch_tokens: Annotated[
        int | None, option("Training", description="Most tokens of a batch on either side, padding included.", ge=1)
    ] = None
    accumulate: Annotated[
        int | None,
        option("Training", description="Batches whose gradients are summed for one optimiser step.", ge=1, le=10_000),
    ] = None
    optimizer: Annotated[Literal["adamw", "adam", "sgd"] | None, option("Training", description="Optimiser.")] = None
    learning_rate: Annotated[float | None, option("Training", description="Highest learning rate.", gt=0)] = None
    embedding_rate: Annotated[
        float | None,
        # Less is a rate of its own, given by mistake.
        option(
            "Training",
            description="The learning rate of the embeddings, as a multiple of that of the rest.",
            ge=0.05,
            le=1000,
        ),
    ] = None
    schedule: Annotated[
        Literal["constant", "inverse_sqrt", "linear", "cosine", "plateau"] | None,
        option(
            "Training",
            description="How the learning rate falls after the warm-up (plateau: halved when the dev loss stops falling).",
        ),
    ] = None
    warmup_steps: Annotated[
        int | None, option("Training", description="Steps over which the learning rate rises.", ge=0)
    ] = None
    weight_decay: Annotated[float | None, option("Training", description="Weight decay (adamw).", ge=0)] = None
    clip_norm: Annotated[
        float | None, option("Training", description="Largest gradient norm; 0 clips nothing.", ge=0)
    ] = None
    label_smoothing: Annotated[
        float | None, option("Training", description="Probability mass spread over the whole vocabulary.", ge=0, lt=1)
    ] = None
    average_decay: Annotated[
        float | None,
        option(
            "Training",
            description="Decay per step of the running average of weights that is kept as the model; 0 averages nothing.",
            ge=0,
            lt=1,
        ),
    ] = None
    average_checkpoints: Annotated[
        int | None,
        option(
            "Training",
            description="Keep as the model the mean of the weights at so many last evaluations, instead of a running average; "
            "0 averages nothing.",
            ge=0,
            le=100,
        ),
    ] = None
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        option(
            "Training",
            description="What matrix products are computed in; weights, optimiser and sums stay in float32.",
        ),
    ] = None
    r_drop: Annotated[
        float | None,
        option(
            "Training",
            description="Weight of the divergence between two passes with different dropout (R-Drop, Liang et al. 2021); "
            "0 makes one pass.",
            ge=0,
            le=100,
        ),
    ] = None
    minimum_risk: Annotated[
        float | None,
        option(
            "Training",
            description="Share of the loss that is the expected cost of outputs that the model draws itself (minimum risk, "
            "Shen et al. 2016), the rest being cross-entropy; needs a trained model to start from.",
            ge=0,
            le=1,
        ),
    ] = None
    risk_metric: Annotated[
        Literal["bleu", "edit", "exact_match"] | None,
        option(
            "Training",
            description="What an output costs: 1 - sentence BLEU, the share of tokens to edit, or 1 unless it is right; all in "
            "tokens. Default: bleu for text, edit for symbols.",
        ),
    ] = None
    risk_candidates: Annotated[
        int | None,
        option("Training", description="Different outputs that are drawn for every pair. Default: 8.", ge=2, le=1000),
    ] = None
    risk_sharpness: Annotated[
        float | None,
        option(
            "Training",
            description="Exponent of the outputs' probabilities in the expected cost; below 1 improbable ones count more. "
            "Default: 1.",
            gt=0,
            le=100,
        ),
    ] = None
    bptt: Annotated[
        int | None,
        option(
            "Training",
            description="Steps of the decoder that a gradient flows back through at most: its activations are held for so "
            "many at a time; 0 sets no limit.",
            ge=0,
        ),
    ] = None
    recompute: Annotated[
        bool | None,
        option(
            "Training",
            description="Compute the activations within layers again in the backward pass instead of holding them: less "
            "memory, more time.",
        ),
    ] = None
    scheduled_sampling: Annotated[
        float | None,
        option(
            "Training",
            description="Share of the decoder's inputs that the model draws itself in training, once the curve is up "
            "(Bengio et al. 2015); 0 is teacher forcing.",
            ge=0,
            le=1,
        ),
    ] = None
    sampling_curve: Annotated[
        Literal["linear", "exponential", "sigmoid", "constant"] | None,
        option("Training", description="How scheduled sampling rises from 0 to its share."),
    ] = None
    sampling_steps: Annotated[
        int | None, option("Training", description="Steps until scheduled sampling has its whole share.", ge=1)
    ] = None
    metric: Annotated[
        Literal["bleu", "chrf", "exact_match", "loss"] | None,
        option("Training", description="What decides on the best checkpoint and on early stopping."),
    ] = None
    eval_every: Annotated[int | None, option("Training", description="Steps between evaluations on dev.", ge=1)] = None
    patience: Annotated[
        int | None,
        option(
            "Training", description="Evaluations without a better dev score before stopping; 0 never stops early.", ge=0
        ),
    ] = None

    @property
    def splitting(self) -> int:
        """The seed of what is held out and what tokenisers learn from."""
        return self.seed if self.split_seed is None else self.split_seed


def splitting_of(stored: Mapping[str, Any]) -> int:
    """`splitting` of a model, by the options that are stored with it."""
    return TrainOptions(**{name: stored[name] for name in ("seed", "split_seed") if name in stored}).splitting

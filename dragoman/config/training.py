"""Everything `train` can be told; `dragoman.training.recipe` settles what is left unset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from dragoman.config.base import Case, TokenizerMethod, option
from dragoman.config.machine import MachineOptions
from dragoman.config.reading import ReadOptions

Cell = Literal["rnn_tanh", "rnn_relu", "gru", "lstm"]
AttentionKind = Literal["none", "additive", "dot", "general", "multihead"]


class TrainOptions(ReadOptions, MachineOptions):
    """Everything `train` can be told. What is left unset is chosen from the preset and the data, and printed."""

    # Data
    dev: Annotated[
        tuple[str, ...],
        option(
            "Data",
            description="Development data: a file (two if aligned), a number of sources to hold out (2000) or a share (0.05). Default: 5 %, at most 2000.",
        ),
    ] = ()
    test: Annotated[
        tuple[str, ...],
        option(
            "Data",
            description="Test data, scored once at the end: a file (two if aligned), or how much to hold out, as for `dev`. Default: none.",
        ),
    ] = ()
    seed: Annotated[int, option("Data", description="Seed of all random choices.", ge=0, lt=2**31)] = 1
    split_seed: Annotated[
        int | None,
        option(
            "Data",
            description="Seed of the split and of the tokenisers; models of one ensemble must share it. Default: the value of `seed`.",
            ge=0,
            lt=2**31,
        ),
    ] = None

    # Tokenisation
    tokenizer: Annotated[
        TokenizerMethod | None,
        option("Tokenisation", description="How both sides are split into tokens. Default: chosen from the data."),
    ] = None
    source_tokenizer: Annotated[
        tuple[TokenizerMethod, ...],
        option(
            "Tokenisation",
            description="How the source is split, if not as `tokenizer` says; repeat it for each source column.",
        ),
    ] = ()
    target_tokenizer: Annotated[
        TokenizerMethod | None,
        option("Tokenisation", description="How the target is split, if not as `tokenizer` says."),
    ] = None
    vocab_size: Annotated[
        int | None,
        option(
            "Tokenisation",
            description="Maximum size of a vocabulary, special tokens included. Default for subwords: 1000 to 32000, by the number of pairs.",
            ge=8,
            le=10_000_000,  # room for which is taken at once
        ),
    ] = None
    shared_vocabulary: Annotated[
        bool | None,
        option(
            "Tokenisation",
            description="Use one vocabulary for both sides. Default: if both are split alike and share most of their letters.",
        ),
    ] = None
    byte_fallback: Annotated[
        bool | None,
        option(
            "Tokenisation",
            description="Spell unknown characters as bytes instead of <unk> (bpe and unigram). Default: for text of over 1000 different characters.",
        ),
    ] = None
    jamo: Annotated[
        bool | None,
        option(
            "Tokenisation",
            description="Decompose Hangul syllables into letters (jamo), and compose them again in the output. Default: for most Korean text.",
        ),
    ] = None
    source_case: Annotated[
        Case | None,
        option(
            "Tokenisation",
            description="How sources are read, in training and ever after: as they are (keep), in small letters, in capitals, or small where they are shouted (sentence). Default: as the data is written.",
        ),
    ] = None
    subword_dropout: Annotated[
        float | None,
        option(
            "Tokenisation",
            description="Share of BPE merges to leave out at random in training; regularises small data (Provilkov et al. 2020). Default: 0.",
            ge=0,
            lt=1,
        ),
    ] = None

    # Embeddings
    source_vectors: Annotated[
        str | None,
        option(
            "Embeddings",
            description="File of word vectors (word2vec, GloVe or fastText) to initialise the source embeddings with.",
            min_length=1,
        ),
    ] = None
    target_vectors: Annotated[
        str | None,
        option(
            "Embeddings",
            description="File of word vectors (word2vec, GloVe or fastText) to initialise the target embeddings with.",
            min_length=1,
        ),
    ] = None
    freeze_source_vectors: Annotated[
        bool, option("Embeddings", description="Do not train the source embeddings: keep the vectors of the file.")
    ] = False
    freeze_target_vectors: Annotated[
        bool, option("Embeddings", description="Do not train the target embeddings: keep the vectors of the file.")
    ] = False

    # Model
    preset: Annotated[
        str,
        option(
            "Model",
            description="Architecture: default, textbook, sutskever2014, cho2014, bahdanau2015 or luong2015. The defaults shown below are those of default.",
        ),
    ] = "default"
    cell: Annotated[
        Cell | None, option("Model", description="Recurrent cell of encoder and decoder. Default: lstm.")
    ] = None
    layers: Annotated[
        int | None,
        option(
            "Model",
            description="Recurrent layers on each side. Default: 2 (1 where both sides are rows of few words, as commands, and for translations with layers of up to 256 on a processor).",
            ge=1,
            le=16,
        ),
    ] = None
    encoder_layers: Annotated[
        int | None,
        option("Model", description="Recurrent layers of the encoder, if they differ from `layers`.", ge=1, le=16),
    ] = None
    decoder_layers: Annotated[
        int | None,
        option("Model", description="Recurrent layers of the decoder, if they differ from `layers`.", ge=1, le=16),
    ] = None
    embedding_size: Annotated[
        int | None,
        option(
            "Model",
            description="Width of the embeddings. Default: 256 (128 below 2000 pairs). A file of target vectors sets it; one of source vectors sets that of the source.",
            ge=1,
            le=16384,
        ),
    ] = None
    hidden_size: Annotated[
        int | None,
        option(
            "Model",
            description="Width of a recurrent layer; each direction of a bidirectional one has half. Default: 256 to 512, by data, time limit and device.",
            ge=1,
            le=16384,
        ),
    ] = None
    bidirectional: Annotated[
        bool | None, option("Model", description="Read the source in both directions. Default: yes.")
    ] = None
    attention: Annotated[
        AttentionKind | None, option("Model", description="How the decoder attends to the source. Default: multihead.")
    ] = None
    attention_heads: Annotated[
        int | None,
        option(
            "Model", description="Heads of multi-head attention. Default: 4, if that divides the width.", ge=1, le=64
        ),
    ] = None
    attention_inside: Annotated[
        bool | None,
        option(
            "Model",
            description="Attend inside the recurrence: the previous state is the query, the result enters the cell (Bahdanau et al. 2015). Slower.",
        ),
    ] = None
    input_feeding: Annotated[
        bool | None,
        option(
            "Model", description="Feed the attentional vector into the next step's input (Luong et al. 2015). Slower."
        ),
    ] = None
    peek: Annotated[
        bool | None,
        option("Model", description="Give the context vector to the decoder at every step (Cho et al. 2014)."),
    ] = None
    copying: Annotated[
        bool | None,
        option(
            "Model",
            description="Let the model copy source tokens that the target vocabulary also has (pointer-generator; See et al. 2017). "
            "Default: only for fewer than 20,000 inflected forms.",
        ),
    ] = None
    reverse_source: Annotated[
        bool | None, option("Model", description="Read the source backwards (Sutskever et al. 2014).")
    ] = None
    tie_embeddings: Annotated[
        Literal["none", "target", "all"] | None,
        option(
            "Model",
            description="Share the target embeddings with the output layer (target), or with the source as well (all). Default: all with one vocabulary of text, else target.",
        ),
    ] = None
    layer_norm: Annotated[
        bool | None, option("Model", description="Normalise the output of every recurrent layer. Default: yes.")
    ] = None
    residual: Annotated[
        bool | None,
        option("Model", description="Add a recurrent layer's input to its output where the sizes agree. Default: yes."),
    ] = None
    dropout: Annotated[
        float | None,
        option(
            "Model",
            description="Share of activations dropped between layers in training. Default: 0 to 0.5, by data; 0 in runs of few epochs.",
            ge=0,
            lt=1,
        ),
    ] = None
    recurrent_dropout: Annotated[
        float | None,
        option(
            "Model",
            description="Share of the weights from a layer's last state dropped in training, others in every batch. Default: 0.",
            ge=0,
            lt=1,
        ),
    ] = None
    word_dropout: Annotated[
        float | None,
        option(
            "Model",
            description="Share of whole input tokens dropped in training. Default: 0.1 below 8000 pairs of text (0 in runs of few epochs), else 0.",
            ge=0,
            lt=1,
        ),
    ] = None

    # Training
    from_model: Annotated[
        str | None,
        option(
            "Training",
            description="Start from the weights and tokenisers of this model, to fine-tune it: a directory, or a name on the Hugging Face Hub.",
            min_length=1,
        ),
    ] = None
    epochs: Annotated[
        int | None,
        option(
            "Training",
            description="Maximum number of passes over the training data. Default: 10 to 200, more for less data.",
            ge=1,
        ),
    ] = None
    max_steps: Annotated[
        int | None, option("Training", description="Maximum number of optimiser steps. Default: no limit.", ge=1)
    ] = None
    max_minutes: Annotated[
        float | None, option("Training", description="Time limit of training, in minutes. Default: no limit.", gt=0)
    ] = None
    batch_tokens: Annotated[
        int | None,
        option(
            "Training",
            description="Maximum tokens of a batch on either side, padding included; lower it to save memory. Default: 300 to 1500, by the number of pairs; more on a GPU.",
            ge=1,
        ),
    ] = None
    accumulate: Annotated[
        int | None,
        option(
            "Training",
            description="Batches whose gradients are summed for one optimiser step; gives large batches in little memory. Default: 1.",
            ge=1,
            le=10_000,
        ),
    ] = None
    optimizer: Annotated[
        Literal["adamw", "adam", "sgd"] | None, option("Training", description="Optimiser. Default: adamw.")
    ] = None
    learning_rate: Annotated[
        float | None,
        option(
            "Training",
            description="Highest learning rate, reached at the end of the warm-up. Default: 0.002 (1 for sgd; 0.001 for wide layers on a processor, from 40,000 pairs on).",
            gt=0,
        ),
    ] = None
    embedding_rate: Annotated[
        float | None,
        # Less is a rate of its own, given by mistake.
        option(
            "Training",
            description="Learning rate of the embeddings, as a multiple of `learning_rate`. Default: 4 or 8, which makes 0.008 of the default rate (1 for sgd, for vectors from a file, and with `from_model`).",
            ge=0.05,
            le=1000,
        ),
    ] = None
    schedule: Annotated[
        Literal["constant", "inverse_sqrt", "linear", "cosine", "plateau"] | None,
        option(
            "Training",
            description="How the learning rate falls after the warm-up; plateau halves it when the dev loss stops falling. Default: linear.",
        ),
    ] = None
    warmup_steps: Annotated[
        int | None,
        option(
            "Training",
            description="Steps over which the learning rate rises from 0; under linear and cosine at most a fifth of the run. Default: 400 or 800, by data.",
            ge=0,
        ),
    ] = None
    weight_decay: Annotated[
        float | None, option("Training", description="Weight decay, for adamw. Default: 0.01.", ge=0)
    ] = None
    clip_norm: Annotated[
        float | None,
        option(
            "Training",
            description="Gradients with a larger norm are scaled down to it; 0 turns this off. Default: 1.",
            ge=0,
        ),
    ] = None
    label_smoothing: Annotated[
        float | None,
        option(
            "Training",
            description="Share of the target probability that is spread over the whole vocabulary. Default: 0.1 (0 where both sides are rows of few words).",
            ge=0,
            lt=1,
        ),
    ] = None
    average_decay: Annotated[
        float | None,
        option(
            "Training",
            description="Keep a running average of the weights as the model, with this decay per step; 0 turns it off. Default: 0.999 (0.99 below 2000 pairs).",
            ge=0,
            lt=1,
        ),
    ] = None
    average_checkpoints: Annotated[
        int | None,
        option(
            "Training",
            description="Keep the mean of the weights at this many latest evaluations as the model, instead of the running average. Default: 0 (off).",
            ge=0,
            le=100,
        ),
    ] = None
    precision: Annotated[
        Literal["float32", "bfloat16"] | None,
        option(
            "Training",
            description="Number format of matrix products; all else stays in float32. Default: bfloat16 where the processor has instructions for it.",
        ),
    ] = None
    concatenate: Annotated[
        float | None,
        option(
            "Training",
            description="Probability that a training pair is joined to the one before it, anew in every epoch, so that texts of several sentences are learned (Kondo et al. 2021). Default: 0.3 for translations, and for commands that are made of other commands; otherwise 0.",
            ge=0,
            le=0.9,
        ),
    ] = None
    source_noise: Annotated[
        float | None,
        option(
            "Training",
            description="Probability that a training source is written as people type, anew in every epoch: in lower case, without its last punctuation or any (Belinkov and Bisk 2018). Default: 0.3 for text with capitals or full stops (0.15 below 8,000 pairs), otherwise 0.",
            ge=0,
            le=1,
        ),
    ] = None
    other_names: Annotated[
        float | None,
        option(
            "Training",
            description="Probability that names and numbers which both sides of a training pair have are replaced by others, anew in every epoch, so that those never seen are carried over. Default: 0.3 for translations whose sides share some, otherwise 0.",
            ge=0,
            le=1,
        ),
    ] = None
    recombine: Annotated[
        float | None,
        option(
            "Training",
            description="Probability that parts of a training pair become other ones that were seen in the same surroundings, anew in every epoch, so that the words of commands are understood in commands never seen (Andreas 2020). Default: 0.5 for commands whose parts mean the same wherever they stand, otherwise 0.",
            ge=0,
            le=1,
        ),
    ] = None
    r_drop: Annotated[
        float | None,
        option(
            "Training",
            description="Weight of R-Drop, the divergence between two passes with different dropout (Liang et al. 2021). Default: 0 (off).",
            ge=0,
            le=100,
        ),
    ] = None
    minimum_risk: Annotated[
        float | None,
        option(
            "Training",
            description="Share of the loss that is the expected cost of the model's own outputs (Shen et al. 2016); needs `from_model`. Default: 0 (off).",
            ge=0,
            le=1,
        ),
    ] = None
    risk_metric: Annotated[
        Literal["bleu", "edit", "exact_match"] | None,
        option(
            "Training",
            description="Cost of an output: 1 - sentence BLEU, the share of tokens to edit, or 0 if right and 1 if not. Default: bleu for text, edit for symbols.",
        ),
    ] = None
    risk_candidates: Annotated[
        int | None,
        option(
            "Training",
            description="Outputs that beam search finds for every pair, for `minimum_risk`. Default: 8.",
            ge=2,
            le=1000,
        ),
    ] = None
    risk_sharpness: Annotated[
        float | None,
        option(
            "Training",
            description="Exponent on the probabilities of these outputs; below 1 the improbable ones count more. Default: 1.",
            gt=0,
            le=100,
        ),
    ] = None
    bptt: Annotated[
        int | None,
        option(
            "Training",
            description="Truncate back-propagation through time to this many decoder steps, to save memory on long targets. Default: 0 (off).",
            ge=0,
        ),
    ] = None
    recompute: Annotated[
        bool | None,
        option(
            "Training",
            description="Recompute activations in the backward pass instead of storing them: much less memory, about a third more time.",
        ),
    ] = None
    scheduled_sampling: Annotated[
        float | None,
        option(
            "Training",
            description="Final share of decoder inputs that the model draws itself instead of the reference (Bengio et al. 2015). Default: 0 (teacher forcing).",
            ge=0,
            le=1,
        ),
    ] = None
    sampling_curve: Annotated[
        Literal["linear", "exponential", "sigmoid", "constant"] | None,
        option("Training", description="How scheduled sampling rises to its final share. Default: linear."),
    ] = None
    sampling_steps: Annotated[
        int | None,
        option("Training", description="Steps until scheduled sampling reaches its final share. Default: 4000.", ge=1),
    ] = None
    metric: Annotated[
        Literal["bleu", "chrf", "exact_match", "loss"] | None,
        option(
            "Training",
            description="Score on dev that chooses the best checkpoint and stops early. Default: bleu or chrf for text, exact_match for symbols.",
        ),
    ] = None
    eval_every: Annotated[
        int | None,
        option(
            "Training",
            description="Steps between evaluations on dev. Default: a 25th of the run, but 50 to 1000.",
            ge=1,
        ),
    ] = None
    patience: Annotated[
        int | None,
        option(
            "Training",
            description="Evaluations without a better dev score after which training stops; 0 never stops early. Default: 10.",
            ge=0,
        ),
    ] = None

    @property
    def splitting(self) -> int:
        """The seed of what is held out and what tokenisers learn from."""
        return self.seed if self.split_seed is None else self.split_seed


def splitting_of(stored: Mapping[str, Any]) -> int:
    """`splitting` of a model, by the options that are stored with it."""
    return TrainOptions(**{name: stored[name] for name in ("seed", "split_seed") if name in stored}).splitting

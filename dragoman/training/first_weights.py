"""A model before its first step: with new weights, those of an earlier model, or vectors from files; knows no steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from dragoman.config import TrainOptions
from dragoman.corpus.tokenization import Tokenizer
from dragoman.corpus.vectors import Vectors, load_vectors
from dragoman.errors import OptionError
from dragoman.model.seq2seq import Seq2Seq
from dragoman.storage import CONFIG, ModelDirectory
from dragoman.training.checkpoint import described
from dragoman.training.continuing import Earlier, unknown_share
from dragoman.training.events import Listener, Note, Stage
from dragoman.training.preparation import Prepared
from dragoman.training.seen import seen_in_training

_MANY_UNKNOWN = 0.05
"""Share of unknown tokens in new data that an earlier model's user should hear of as a warning."""


def new_model(
    architecture: dict[str, Any],
    options: TrainOptions,
    prepared: Prepared,
    listener: Listener,
    *,
    seed: int,
    earlier: Earlier | None,
) -> Seq2Seq:
    """The model that a run begins with; its random weights are a function of the seed."""
    torch.manual_seed(seed)
    model = Seq2Seq(**architecture)
    if architecture.get("copying"):
        _say_what_is_copied(model, prepared, listener)
    if earlier:
        _start_from_earlier(model, earlier, prepared, listener)
    _start_from_vectors(model, options, prepared, listener)
    return model


def stored_model(directory: ModelDirectory, *, numbers: bool = True) -> Seq2Seq:
    """The model of a stored run, frozen where the run froze it; the checkpoint has its weights.

    Without `numbers` it is an outline, which a configuration that cannot be used makes fail with a `StorageError`.
    """
    architecture = directory.config["architecture"]
    model = Seq2Seq(**architecture) if numbers else described(architecture, directory.path / CONFIG)
    _freeze(model, directory.config["options"])
    return model


def check_frozen(options: TrainOptions) -> None:
    """Raise `OptionError` where nothing is given that could be worth keeping as it is."""
    for side in ("source", "target"):
        freeze, vectors = f"freeze_{side}_vectors", f"{side}_vectors"
        if getattr(options, freeze) and getattr(options, vectors) is None and options.from_model is None:
            raise OptionError(f"`{freeze}` needs `{vectors}`: embeddings that begin at random must be learned")


def _freeze(model: Seq2Seq, options: dict[str, Any]) -> None:
    model.encoder.embedding.weight.requires_grad_(not options.get("freeze_source_vectors", False))
    model.decoder.embedding.weight.requires_grad_(not options.get("freeze_target_vectors", False))


def _say_what_is_copied(model: Seq2Seq, prepared: Prepared, listener: Listener) -> None:
    """Tell a copying model which source tokens are tokens of the target side too."""
    target_ids = prepared.source_tokenizer.ids_in(prepared.target_tokenizer)
    model.set_copy_ids(target_ids)
    shared = np.count_nonzero(target_ids)
    if not shared:
        raise OptionError("`copying` needs tokens that both sides share, but the vocabularies have none in common")
    listener(Note(f"copying: {shared:,} of the source's {len(target_ids):,} tokens are tokens of the target too"))


def _start_from_earlier(model: Seq2Seq, earlier: Earlier, prepared: Prepared, listener: Listener) -> None:
    """Copy an earlier model's weights, and report what its vocabularies lack of the new data, and what it knows of it."""
    earlier.load_into(model)
    unknown = unknown_share(prepared.train)
    text = f"starting from {earlier.directory.path}: {unknown:.1%} of the new data's tokens are unknown to it"
    listener(Note(text, warning=unknown > _MANY_UNKNOWN))
    for name, part in (("dev", prepared.dev_part), ("test", prepared.test_part)):
        ids = prepared.source_tokenizer.encode_batch(part.sources) if part else []
        count = sum(seen_in_training(earlier.directory, ids) or [])
        if count:
            text = f"{count:,} of {len(ids):,} {name} sources are ones that {earlier.directory.path} was trained on"
            listener(Note(f"{text}: scores on them are too high", warning=True))


def _start_from_vectors(model: Seq2Seq, options: TrainOptions, prepared: Prepared, listener: Listener) -> None:
    """Copy vectors from files into the embeddings, and report how much of the vocabulary they cover."""
    sides = (
        ("source", options.source_vectors, model.encoder.embedding, prepared.source_tokenizer),
        ("target", options.target_vectors, model.decoder.embedding, prepared.target_tokenizer),
    )
    for side, path, embedding, tokenizer in sides:
        if path is None:
            continue
        vectors = _vectors(path, tokenizer, f"reading the {side} vectors", listener)
        found = torch.from_numpy(np.flatnonzero(vectors.found))
        with torch.no_grad():
            embedding.weight[found] = torch.from_numpy(vectors.matrix)[found]
        share = f"{vectors.covered:,} of {vectors.wanted:,} tokens ({vectors.coverage:.0%})"
        listener(Note(f"{side} vectors: {share} are in {Path(path).name}"))
        if not vectors.covered:
            raise OptionError(f"`{side}_vectors`: {path} has none of the {vectors.wanted:,} tokens of the {side} side")
    _freeze(model, options.model_dump())


def _vectors(path: str, tokenizer: Tokenizer, stage: str, listener: Listener) -> Vectors:
    """The vectors of the tokens in a file, which may take minutes to read."""
    (column, _), *_ = tokenizer.columns()
    wanted = ((word, i) for i, word in enumerate(tokenizer.surfaces()) if i > 3)
    vectors = load_vectors(
        path, wanted, case=column.case, watch=lambda read: listener(Stage(stage, read, None, "word"))
    )
    listener(Stage(stage, vectors.wanted, vectors.wanted, "word"))
    return vectors

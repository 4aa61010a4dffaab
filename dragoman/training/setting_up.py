"""Everything before the first step of a new run: data, tokenisers, recipe, model and what its directory says of them.

Knows the folder that it is given, and neither what stood there before nor how training goes on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

import dragoman
from dragoman.config import TrainOptions
from dragoman.corpus.augmentation import check_augmentation
from dragoman.corpus.lines import STANDARD_INPUT, label
from dragoman.corpus.subword_dropout import check_subword_dropout
from dragoman.corpus.vectors import read_vector_words
from dragoman.errors import OptionError
from dragoman.files import write_text
from dragoman.model.seq2seq import Seq2Seq, outline
from dragoman.storage import CARD, FORMAT_VERSION, TEST, TRAINING, ModelDirectory, text_sum
from dragoman.training.card import model_card
from dragoman.training.continuing import Earlier
from dragoman.training.events import Listener, Note
from dragoman.training.first_weights import new_model
from dragoman.training.planning import check_weights_fit
from dragoman.training.preparation import Pairs, Prepared, Remaker, prepare
from dragoman.training.recipe import Recipe, choose
from dragoman.training.summarizing import summarized


def set_up(
    pairs: Pairs,
    path: Path,
    options: TrainOptions,
    listener: Listener,
    *,
    earlier: Earlier | None,
    name: str,
    command: str | None,
    device: torch.device,
    remake: Remaker | None,
) -> tuple[ModelDirectory, Prepared, Seq2Seq, Recipe]:
    """Everything before the first step: data, tokenisers, recipe, configuration and a model with its first weights."""
    source_width, target_width = _width(options.source_vectors), _width(options.target_vectors)
    options = earlier.agreed(options) if earlier else options
    data = path / TRAINING / "data"
    prepared = prepare(
        pairs, options, data, listener, tokenizers=earlier.tokenizers if earlier else None, remake=remake
    )
    summary = summarized(prepared, device, options.max_minutes, source_width, target_width)
    recipe, reasons = choose(earlier.shaped(options) if earlier else options, summary)
    if recipe.tie_embeddings == "all" and options.freeze_source_vectors != options.freeze_target_vectors:
        raise OptionError(
            "`freeze_source_vectors` and `freeze_target_vectors` must be the same while `tie_embeddings` is all: both sides "
            "are one table"
        )
    sides = prepared.source_tokenizer.methods, prepared.target_tokenizer.methods
    check_subword_dropout((*sides[0], *sides[1]), recipe.subword_dropout)
    check_augmentation(len(sides[0]), recipe.as_dict())
    for reason in reasons:
        listener(Note(f"{reason.name} = {reason.value}: {reason.why}"))
    architecture = recipe.model_arguments() | {
        "source_vocab_size": prepared.source_tokenizer.vocab_size,
        "target_vocab_size": prepared.target_tokenizer.vocab_size,
        "source_embedding_size": source_width,
    }
    architecture = earlier.architecture(architecture) if earlier else architecture
    check_weights_fit(recipe, outline(architecture).parameter_count, device)  # counted before it is made
    model = new_model(architecture, options, prepared, listener, seed=recipe.seed, earlier=earlier)
    files = prepared.source_tokenizer.files() | prepared.target_tokenizer.files()
    for file, text in files.items():
        write_text(path / file, text)
    config = _configuration(name, architecture, options, recipe, prepared, command)
    config |= {"parameters": model.parameter_count}
    directory = ModelDirectory(path, config)
    directory.write_config()
    write_text(path / CARD, model_card(config))
    if prepared.test_part is not None:
        lines = (json.dumps({"source": s, "target": t}, ensure_ascii=False) for s, t in prepared.test_part.pairs())
        write_text(path / TEST, "".join(f"{line}\n" for line in lines))
    return directory, prepared, model, recipe


def _configuration(
    name: str,
    architecture: dict[str, Any],
    options: TrainOptions,
    recipe: Recipe,
    prepared: Prepared,
    command: str | None,
) -> dict[str, Any]:
    """What config.json says from the beginning."""
    files = prepared.source_tokenizer.files() | prepared.target_tokenizer.files()
    return {
        "format_version": FORMAT_VERSION,
        "dragoman_version": dragoman.__version__,
        "name": name,
        "architecture": architecture,
        "tokenizer": {
            "files": sorted(files),
            "checksums": {name: text_sum(files[name]) for name in sorted(files)},
            "source": prepared.source_tokenizer.config(),
            "target": prepared.target_tokenizer.config(),
        },
        "writing": prepared.writing,
        "normalization": options.normalization,
        "options": options.model_dump(mode="json", exclude_unset=True),
        "recipe": recipe.as_dict(),
        "data": prepared.facts,
        "command": command,
        "scores": {},
        "run": {},
    }


def _width(path: str | None) -> int | None:
    """Numbers in a vector of a file, if there is one."""
    if not path:
        return None
    if path == STANDARD_INPUT or (Path(path).exists() and not Path(path).is_file() and not Path(path).is_dir()):
        raise OptionError(f"{label(path)}: vectors are read several times, which no pipe allows; give a file")
    return read_vector_words(path, limit=0).width

"""One training run, from pairs to a finished model directory, and its resumption; knows nothing of terminals."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dragoman
from dragoman.config import MachineOptions, SearchOptions, TrainOptions
from dragoman.corpus.batching import Batch, BatchPlan
from dragoman.corpus.vectors import load_vectors, read_vector_words
from dragoman.errors import Interrupted, OptionError, StorageError, TrainingError
from dragoman.evaluation.plots import training_svg
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.presets import find_preset
from dragoman.storage import CARD, CURVES, FORMAT_VERSION, TEST, ModelDirectory, check_claim, claim, write_text
from dragoman.training.card import model_card
from dragoman.training.checkpoint import load_tensors, load_weights
from dragoman.training.continuing import Earlier, tokenizers_of, unknown_share
from dragoman.training.events import Evaluated, Event, Listener, Note
from dragoman.training.interrupt import stop_on_interrupt
from dragoman.training.machine import choose_device, use_threads
from dragoman.training.preparation import Pairs, Prepared, prepare, reopen
from dragoman.training.recipe import DataSummary, Recipe, choose
from dragoman.training.scoring import Evaluator, decode
from dragoman.training.trainer import Run, Trainer

LIMITS = frozenset({"epochs", "max_steps", "max_minutes", "patience"})
"""Options that only say when to stop, so that a resumed run may be given others."""
DRAW_SECONDS = 30.0
_MANY_UNKNOWN = 0.05
BEAM = SearchOptions()


def start(
    pairs: Pairs,
    out: Path,
    options: TrainOptions,
    *,
    overwrite: bool,
    listener: Listener,
    command: str | None,
    stop_at: int | None = None,
) -> None:
    """Train a new model into `out`. What can be found wrong is found before `out` is touched.

    `stop_at` is a step after which the run stops as if it were interrupted.
    """
    find_preset(options.preset)
    earlier = Earlier.of(options)
    device = choose_device(options.device)
    use_threads(options.threads)
    check_claim(out, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise StorageError(f"{out} cannot be made: {error.strerror}") from None
    try:
        directory, prepared, model, recipe = _set_up(
            pairs, workplace, options, listener, earlier=earlier, name=out.name, command=command
        )
        workplace.chmod(0o755)
        claim(out, overwrite=overwrite)
        out.rmdir()
        workplace.rename(out)
    except BaseException:
        shutil.rmtree(workplace, ignore_errors=True)
        raise
    prepared = reopen(out / "training" / "data", prepared.source_tokenizer, prepared.target_tokenizer)
    directory = ModelDirectory(out, directory.config)
    _train(directory, prepared, model.to(device), recipe, listener, stop_at=stop_at)


def go_on(path: Path, options: TrainOptions, *, listener: Listener, stop_at: int | None = None) -> None:
    """Resume the run in `path` with its stored options; `stop_at` as for `start`."""
    directory = ModelDirectory.open(path, weights=False)
    directory.require_folder("resuming")
    if not (directory.training / "data").is_dir():
        raise StorageError(f"{path} cannot be resumed: it has no {directory.training.name}/data")
    recipe = _stored_recipe(directory, options)
    use_threads(options.threads)
    prepared = reopen(directory.training / "data", *tokenizers_of(directory))
    torch.manual_seed(recipe.seed)
    model = _build(directory.config["architecture"], directory).to(choose_device(options.device))
    _train(directory, prepared, model, recipe, listener, stop_at=stop_at)


def _stored_recipe(directory: ModelDirectory, options: TrainOptions) -> Recipe:
    """The stored recipe, with raised limits; a conflicting option is an error."""
    stored = directory.config["recipe"]
    given = directory.config["options"]
    changes: dict[str, Any] = {}
    for name in sorted(options.model_fields_set - set(MachineOptions.model_fields)):
        value = getattr(options, name)
        known = stored[name] if name in stored else given.get(name, TrainOptions.model_fields[name].default)
        known = tuple(known) if isinstance(known, list) else known
        if name in LIMITS and not (name in {"epochs", "max_steps"} and stored["schedule"] in {"linear", "cosine"}):
            changes[name] = value
        elif known != value:
            raise OptionError(
                f"`{name}` is {known} in the run at {directory.path}, but {value} was given: leave it out"
            )
    names = {field.name for field in fields(Recipe)}
    return Recipe(**{name: value for name, value in (stored | changes).items() if name in names})


def _set_up(
    pairs: Pairs,
    path: Path,
    options: TrainOptions,
    listener: Listener,
    *,
    earlier: Earlier | None,
    name: str,
    command: str | None,
) -> tuple[ModelDirectory, Prepared, Seq2Seq, Recipe]:
    """Everything before the first step: data, tokenisers, recipe, configuration and a model with its first weights."""
    source_width = _width(options.source_vectors)
    target_width = _width(options.target_vectors)
    options = earlier.agreed(options) if earlier else options
    data = path / "training" / "data"
    prepared = prepare(pairs, options, data, listener, tokenizers=earlier.tokenizers if earlier else None)
    shared = prepared.source_tokenizer is prepared.target_tokenizer
    summary = DataSummary(
        pairs=len(prepared.train),
        kind="symbols" if prepared.kind == "symbols" else "text",
        unspaced=prepared.writing == "unspaced",
        shared_vocabulary=shared,
        target_tokens=float(np.mean(prepared.train.target_lengths)),
        source_vector_size=source_width,
        target_vector_size=target_width,
    )
    recipe, reasons = choose(earlier.shaped(options) if earlier else options, summary)
    for reason in reasons:
        listener(Note(f"{reason.name} = {reason.value}: {reason.why}"))
    architecture = recipe.model_arguments() | {
        "source_vocab_size": prepared.source_tokenizer.vocab_size,
        "target_vocab_size": prepared.target_tokenizer.vocab_size,
        "source_embedding_size": source_width,
    }
    architecture = earlier.architecture(architecture) if earlier else architecture
    torch.manual_seed(recipe.seed)
    model = Seq2Seq(**architecture)
    if earlier:
        _start_from_earlier(model, earlier, prepared, listener)
    _start_from_vectors(model, options, prepared, listener)
    files = prepared.source_tokenizer.files() | prepared.target_tokenizer.files()
    for file, text in files.items():
        write_text(path / file, text)
    config = {
        "format_version": FORMAT_VERSION,
        "dragoman_version": dragoman.__version__,
        "name": name,
        "architecture": architecture,
        "parameters": model.parameter_count,
        "tokenizer": {
            "files": sorted(files),
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
    directory = ModelDirectory(path, config)
    directory.write_config()
    write_text(path / CARD, model_card(config))
    if prepared.test_part is not None:
        lines = (json.dumps({"source": s, "target": t}, ensure_ascii=False) for s, t in prepared.test_part.pairs())
        write_text(path / TEST, "".join(f"{line}\n" for line in lines))
    return directory, prepared, model, recipe


def _build(architecture: dict[str, Any], directory: ModelDirectory) -> Seq2Seq:
    """The model of a stored run, frozen where the run froze it; the checkpoint has its weights."""
    try:
        model = Seq2Seq(**architecture)
    except TypeError as error:
        raise StorageError(f"{directory.path / 'config.json'} describes no model of this version: {error}") from None
    _freeze(model, directory.config["options"])
    return model


def _width(path: str | None) -> int | None:
    """Numbers in a vector of a file, if there is one."""
    return read_vector_words(path, limit=0).width if path else None


def _freeze(model: Seq2Seq, options: dict[str, Any]) -> None:
    model.encoder.embedding.weight.requires_grad_(not options.get("freeze_source_vectors", False))
    model.decoder.embedding.weight.requires_grad_(not options.get("freeze_target_vectors", False))


def _start_from_earlier(model: Seq2Seq, earlier: Earlier, prepared: Prepared, listener: Listener) -> None:
    """Copy an earlier model's weights, and report how much of the new data its vocabularies lack."""
    earlier.load_into(model)
    unknown = unknown_share(prepared.train)
    text = f"starting from {earlier.directory.path}: {unknown:.1%} of the new data's tokens are unknown to it"
    listener(Note(text, warning=unknown > _MANY_UNKNOWN))


def _start_from_vectors(model: Seq2Seq, options: TrainOptions, prepared: Prepared, listener: Listener) -> None:
    """Copy vectors from files into the embeddings, and report how much of the vocabulary they cover."""
    sides = (
        ("source", options.source_vectors, model.encoder.embedding, prepared.source_tokenizer),
        ("target", options.target_vectors, model.decoder.embedding, prepared.target_tokenizer),
    )
    for side, path, embedding, tokenizer in sides:
        if path is None:
            continue
        vectors = load_vectors(path, ((word, i) for i, word in enumerate(tokenizer.surfaces()) if i > 3))
        found = torch.from_numpy(np.flatnonzero(vectors.found))
        with torch.no_grad():
            embedding.weight[found] = torch.from_numpy(vectors.matrix)[found]
        share = f"{vectors.covered:,} of {vectors.wanted:,} tokens ({vectors.coverage:.0%})"
        listener(Note(f"{side} vectors: {share} are in {Path(path).name}"))
        if not vectors.covered:
            raise OptionError(f"`{side}_vectors`: {path} has none of the {vectors.wanted:,} tokens of the {side} side")
    _freeze(model, options.model_dump())


def _train(
    directory: ModelDirectory,
    prepared: Prepared,
    model: Seq2Seq,
    recipe: Recipe,
    listener: Listener,
    *,
    stop_at: int | None,
) -> None:
    training = directory.training
    log = _Log(directory, listener)

    def batches(epoch: int, position: int) -> Iterator[Batch]:
        yield from plan.epoch(epoch, start=position)

    plan = BatchPlan(prepared.train, batch_tokens=recipe.batch_tokens, seed=recipe.seed)
    evaluator = Evaluator(prepared, recipe)
    with stop_on_interrupt() as stop:
        trainer = Trainer(
            model,
            recipe,
            batches=batches,
            batches_per_epoch=plan.batches_per_epoch,
            evaluate=evaluator,
            folder=training,
            keep=directory.weights,
            listener=log,
            interrupted=lambda: stop() or trainer.run.step == stop_at,
        )
        trainer.resume()
        log.history = trainer.run.history
        run = trainer.fit()
        log.draw(run.history)
        if not run.finished:
            raise Interrupted(f"stopped at step {run.step:,}; go on with: dragoman train --resume {directory.path}")
        if run.best is None:
            raise TrainingError("nothing was trained: the limits end the run before its first step")
        load_weights(model, load_tensors(directory.weights)[0], directory.weights)
        _finish(directory, prepared, model, run, trainer.epochs_done, listener)


def _finish(
    directory: ModelDirectory, prepared: Prepared, model: Seq2Seq, run: Run, epochs: float, listener: Listener
) -> None:
    """Score the kept weights and complete the directory."""
    stepper = TorchStepper(model.eval())
    config = directory.config
    for name, part in (("dev", prepared.dev_part.first(2_000)), ("test", prepared.test_part)):
        if part is not None:
            listener(Note(f"scoring {name}: {len(part.sources):,} sources, beam {BEAM.beam_size}"))
            scores, _ = decode(stepper, prepared, part, BEAM, config["recipe"]["metric"])
            config["scores"][name] = scores.as_dict() | {"search": f"beam {BEAM.beam_size}"}
            shown = ", ".join(f"{label} {value}" for label, value, _ in scores.rows()[:3])
            listener(Note(f"{name}: {shown}"))
    config["run"] = {
        "steps": run.step,
        "epochs": epochs,
        "seconds": run.seconds,
        "finished": run.finished,
        "best_step": run.best_step,
    }
    directory.write_config()
    write_text(directory.path / CARD, model_card(config))


class _Log:
    """Passes events on, and keeps the log file and the curves up to date."""

    def __init__(self, directory: ModelDirectory, listener: Listener) -> None:
        self.directory, self.listener = directory, listener
        self.history: list[dict[str, Any]] = []
        self.drawn = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Evaluated):
            rows = (
                self.history if self.history and self.history[-1] == asdict(event) else [*self.history, asdict(event)]
            )
            lines = "".join(json.dumps(row) + "\n" for row in rows)
            write_text(self.directory.training / "log.jsonl", lines)
            self._draw(rows)
        self.listener(event)

    def _draw(self, rows: list[dict[str, Any]]) -> None:
        """Drawing takes longer than a small model's steps, so it is done now and then, and at the end."""
        if time.monotonic() - self.drawn > DRAW_SECONDS:
            self.draw(rows)

    def draw(self, rows: list[dict[str, Any]]) -> None:
        """Write the curves."""
        write_text(self.directory.path / CURVES, training_svg(rows))
        self.drawn = time.monotonic()


__all__ = ["go_on", "start"]

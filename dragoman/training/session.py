"""One training run, from pairs to a finished model directory, and its resumption; knows nothing of terminals."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import torch

from dragoman.config import MachineOptions, SearchOptions, TrainOptions
from dragoman.corpus.augmentation import AUGMENTATIONS, Augmented
from dragoman.corpus.batching import BatchPlan, Rows
from dragoman.corpus.subword_dropout import SplitAnew
from dragoman.corpus.tokenization import Tokenizer
from dragoman.errors import Interrupted, OptionError, ProcessError, StorageError, counted
from dragoman.evaluation.metrics import MetricName, Scores
from dragoman.evaluation.plots import training_svg
from dragoman.files import as_word, clear_leftovers, write_text
from dragoman.model.seq2seq import Seq2Seq
from dragoman.model.stepper import TorchStepper
from dragoman.places import placed, sole_trainer
from dragoman.storage import CARD, CONFIG, CURVES, GRAPHS, TRAINING, ModelDirectory
from dragoman.training.card import beside_plan, model_card
from dragoman.training.checkpoint import load_tensors, load_weights, read_progress, save_checkpoint
from dragoman.training.continuing import Earlier
from dragoman.training.events import Evaluated, Event, Listener, Note, ignore
from dragoman.training.first_weights import check_frozen, stored_model
from dragoman.training.interrupt import stop_on_interrupt, terminated_as_interrupted
from dragoman.training.launch import launched
from dragoman.training.limits import LIMITS, check_new_limits
from dragoman.training.machine import (
    apart,
    bound_caches,
    choose_device,
    computes_bfloat16,
    multiplies_bfloat16,
    peak_memory,
    use_threads,
)
from dragoman.training.planning import forecast
from dragoman.training.preparation import Pairs, Prepared, Remaker, are_files, reopen
from dragoman.training.processes import Processes, joined
from dragoman.training.recipe import Recipe, check_before_data
from dragoman.training.risk import MinimumRisk
from dragoman.training.schedule import FALLING
from dragoman.training.scoring import Evaluator, decode
from dragoman.training.setting_up import set_up
from dragoman.training.trainer import LAST, Run, Trainer, check_checkpoint, first_checkpoint, limit_in_steps

DRAW_SECONDS = 30.0
BEAM = SearchOptions()
Opened = tuple[ModelDirectory, Prepared, BatchPlan, Seq2Seq, Recipe]
"""A run that may begin or go on, with its batches."""


@apart()
def start(
    pairs: Pairs,
    out: Path,
    options: TrainOptions,
    *,
    overwrite: bool,
    listener: Listener,
    command: str | None,
    stop_at: int | None = None,
    remake: Remaker | None = None,
) -> None:
    """Train a new model into `out`. What can be found wrong is found before `out` is touched.

    `stop_at` is a step after which the run stops as if it were interrupted. `remake` makes the pairs that are trained on.
    Of several processes the main one prepares everything in `out`, and the others go on from what it wrote there.
    """
    run: Opened | None
    with joined(choose_device(options.device)) as processes, ExitStack() as held:
        if processes.main:
            with processes.leading(), terminated_as_interrupted():
                run = _begin(
                    pairs,
                    out,
                    options,
                    overwrite=overwrite,
                    listener=listener,
                    command=command,
                    remake=remake,
                    held=held,
                )
        else:
            run = _followed(out, options, processes)
        if run is not None:
            _train(*run, listener, processes, stop_at=stop_at)


def _begin(
    pairs: Pairs,
    out: Path,
    options: TrainOptions,
    *,
    overwrite: bool,
    listener: Listener,
    command: str | None,
    remake: Remaker | None,
    held: ExitStack,
) -> Opened:
    """Make the model directory of a new run, which is kept from other processes until `held` is closed."""
    earlier = Earlier.of(options, files=are_files(pairs))
    check_before_data(earlier.shaped(earlier.agreed(options)) if earlier else options)
    check_frozen(options)
    device = choose_device(options.device)
    if options.precision == "bfloat16" and not computes_bfloat16(device):
        raise OptionError(f"`precision` bfloat16 is not possible on this {device}: leave it out")
    use_threads(options.threads)
    bound_caches()
    with placed(out, overwrite=overwrite) as workplace:
        directory, prepared, model, recipe = set_up(
            pairs,
            workplace,
            options,
            listener,
            earlier=earlier,
            name=out.resolve().name,
            command=command,
            device=device,
            remake=remake,
        )
        plan = _batch_plan(prepared, recipe)
        recipe = _plan(directory, prepared, plan, model.to(device), recipe, listener)
        save_checkpoint(directory.training / LAST, first_checkpoint(model, recipe))
        held.enter_context(sole_trainer(workplace))
    return ModelDirectory(out, directory.config), prepared, plan, model, recipe


@apart()
def go_on(path: Path, options: TrainOptions, *, listener: Listener, stop_at: int | None = None) -> None:
    """Resume the run in `path` with its stored options, on the device that it began on if one was named; `stop_at` as for `start`."""
    run: Opened | None
    began_on = ModelDirectory.open(path, weights=False).config["options"].get("device")
    if began_on and "device" not in options.model_fields_set:
        options = options.model_copy(update={"device": began_on})
    with joined(choose_device(options.device)) as processes, ExitStack() as held:
        if processes.main:
            with processes.leading():
                held.enter_context(sole_trainer(path))
                run = _reopened(path, options, listener)
                for folder in (path, path / TRAINING, path / GRAPHS):
                    clear_leftovers(folder)
        else:
            run = _followed(path, options, processes)
        if run is not None:
            _train(*run, listener, processes, stop_at=stop_at)


def _followed(path: Path, options: TrainOptions, processes: Processes) -> Opened | None:
    """A run as the main process left it in its directory."""
    processes.follow()
    return _reopened(path, TrainOptions(device=options.device, threads=options.threads), ignore)


def _reopened(path: Path, options: TrainOptions, listener: Listener) -> Opened | None:
    """A run as its directory has it, planned anew if it is given other limits; the checkpoint has the weights.

    None if it is finished, and the limits are what they were: then nothing is touched.
    """
    directory = ModelDirectory.open(path, weights=False)
    directory.require_folder("resuming")
    for part in ("data", LAST):
        if not (directory.training / part).exists():
            raise StorageError(f"{path} cannot be resumed: it has no {directory.training.name}/{part}")
    stored = _stored_recipe(directory)
    recipe, device = _with_limits(stored, directory, options), choose_device(options.device)
    prepared = reopen(directory.training / "data", *Tokenizer.of_model(directory.config, directory.read_text))
    plan = _batch_plan(prepared, recipe)
    run = Run.of(read_progress(directory.training / LAST))
    if recipe != stored:
        check_new_limits(path, stored, recipe, run, batches_per_epoch=plan.batches_per_epoch)
    elif run.finished and directory.config["run"].get("steps") == run.step:
        listener(Note(f"the training at {path} is finished ({run.finished}): it goes on only with a higher limit"))
        return None
    replanned = recipe != stored
    if recipe.precision == "bfloat16" and not computes_bfloat16(device):
        replanned = replanned or not run.finished
        recipe = replace(recipe, precision="float32")
        text = f"this {device} cannot compute in bfloat16, in which the run began: it goes on in float32"
        listener(Note(text, warning=True))
    use_threads(options.threads)
    bound_caches()
    check_checkpoint(directory.training / LAST, stored_model(directory, numbers=False), recipe)
    torch.manual_seed(recipe.seed)
    model = stored_model(directory).to(device)
    if replanned:
        _say_resumed(directory, stored, recipe, run)
        recipe = _plan(directory, prepared, plan, model, replace(recipe, planned_steps=None), listener, run=run)
        before = run.last_step or _last_step(plan, stored)  # where the pace of the machine had moved it
        if recipe.schedule in FALLING and _last_step(plan, recipe) > before:
            text = "the last step is later now, so the learning rate falls more slowly: it is higher now than before"
            listener(Note(text, warning=True))
    return directory, prepared, plan, model, recipe


def _say_resumed(directory: ModelDirectory, stored: Recipe, recipe: Recipe, run: Run) -> None:
    """Add to the configuration which limits a run has from here on, if they are others."""
    new = {name: getattr(recipe, name) for name in sorted(LIMITS) if getattr(recipe, name) != getattr(stored, name)}
    if new:
        directory.config["resumed"] = [*directory.config.get("resumed", []), {"step": run.step, "options": new}]


def _last_step(plan: BatchPlan, recipe: Recipe) -> int:
    """The step that a recipe's limits end the run at."""
    steps = limit_in_steps(recipe, math.ceil(plan.batches_per_epoch / recipe.accumulate))
    return min(steps, recipe.planned_steps or steps)


def _stored_recipe(directory: ModelDirectory) -> Recipe:
    """The recipe that a model directory names; a `StorageError` says which value is missing or cannot be."""
    stored, known = directory.config["recipe"], TrainOptions.model_fields
    needed = [field.name for field in fields(Recipe) if field.default is MISSING and stored.get(field.name) is None]
    try:
        TrainOptions(**{name: value for name, value in stored.items() if name in known and value is not None})
        if needed:
            raise OptionError(f"`{needed[0]}` is missing")
    except OptionError as error:
        raise StorageError(f"{directory.path / CONFIG} is damaged: in recipe, {error}") from None
    return Recipe.of(stored)


def _with_limits(recipe: Recipe, directory: ModelDirectory, options: TrainOptions) -> Recipe:
    """The stored recipe, with other limits if they are given; a conflicting option is an error."""
    stored, given = recipe.as_dict(), directory.config["options"]
    changes: dict[str, Any] = {}
    for name in sorted(options.model_fields_set - set(MachineOptions.model_fields)):
        value = getattr(options, name)
        if value is None:
            continue
        known = stored[name] if name in stored else given.get(name, TrainOptions.model_fields[name].default)
        known = tuple(known) if isinstance(known, list) else known
        if name in LIMITS:
            changes[name] = value
        elif known != value:
            was = "was not given to" if known in (None, ()) else f"is {_plain(known)} in"
            raise OptionError(
                f"`{name}` {was} the run at {directory.path}, but {_plain(value)} was given: leave it out"
            )
    return replace(recipe, **changes)


def _plain(value: Any) -> str:
    """An option's value as its user wrote it."""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _plan(
    directory: ModelDirectory,
    prepared: Prepared,
    plan: BatchPlan,
    model: Seq2Seq,
    recipe: Recipe,
    listener: Listener,
    *,
    run: Run | None = None,
) -> Recipe:
    """Say what the run will cost; a limit in minutes becomes one in steps, where the schedule must know it.

    What is said of an earlier end, if it has come to one, goes: from here on it is a run that is not finished.
    """
    run = run or Run()
    expected = forecast(
        model,
        recipe,
        plan,
        next(model.parameters()).device,
        evaluation_seconds=Evaluator(prepared, recipe).expected_seconds(model),
        risk=_risk(prepared, recipe),
        processes=launched().world,
        steps_done=run.step,
        seconds_done=run.seconds,
    )
    listener(Note(f"plan: {expected}"))
    if recipe.max_minutes and recipe.schedule in FALLING:
        recipe = replace(recipe, planned_steps=expected.steps)
    directory.config |= {"recipe": recipe.as_dict(), "forecast": expected.as_dict(), "scores": {}, "run": {}}
    directory.write_config()
    write_text(directory.path / CARD, model_card(directory.config))
    return recipe


def _batch_plan(prepared: Prepared, recipe: Recipe) -> BatchPlan:
    """Which pairs are trained on together, in every epoch."""
    pairs, sides, seed = prepared.train, (prepared.source_tokenizer, prepared.target_tokenizer), recipe.seed
    split = SplitAnew(pairs, *sides, share=recipe.subword_dropout, seed=seed) if recipe.subword_dropout else None
    rows: Rows | Callable[[int], Rows] = split or pairs
    changes = {name: getattr(recipe, name) for name in AUGMENTATIONS}
    if any(changes.values()):
        rows = Augmented(pairs, *sides, **changes, seed=seed, split=split)
    return BatchPlan(rows, batch_tokens=recipe.batch_tokens, seed=seed)


def _train(
    directory: ModelDirectory,
    prepared: Prepared,
    plan: BatchPlan,
    model: Seq2Seq,
    recipe: Recipe,
    listener: Listener,
    processes: Processes,
    *,
    stop_at: int | None,
) -> None:
    training = directory.training
    listener = listener if processes.main else ignore
    log = _Log(directory, listener)
    device = model.decoder.embedding.weight.device
    if recipe.precision == "bfloat16" and not multiplies_bfloat16(device):
        text = f"the {device} is not known to multiply in bfloat16: it may take longer than float32"
        listener(Note(text, warning=True))

    evaluator = Evaluator(prepared, recipe)
    with stop_on_interrupt() as stop:
        trainer = Trainer(
            model,
            recipe,
            batches=lambda epoch, position: plan.epoch(epoch, start=position),
            batches_per_epoch=plan.batches_per_epoch,
            evaluate=evaluator,
            folder=training,
            keep=directory.weights,
            listener=log,
            interrupted=lambda: stop() or trainer.run.step == stop_at,
            risk=_risk(prepared, recipe),
            processes=processes,
        )
        trainer.resume()
        log.history = trainer.run.history
        try:
            with _resumable(directory):
                run = trainer.fit()
                if processes.main:
                    log.draw()
        except KeyboardInterrupt:  # the second, which waits for nothing
            if stop_at is not None:
                raise
            raise Interrupted(
                "stopped at once, without the steps since the last checkpoint; go on with: "
                f"dragoman train --resume {as_word(directory.path)}"
            ) from None
        if not run.finished:
            if stop_at is not None and stop():
                raise KeyboardInterrupt  # which is not the stop that was asked for
            raise Interrupted(
                f"stopped at step {run.step:,}; go on with: dragoman train --resume {as_word(directory.path)}"
            )
    if not processes.main:
        processes.follow()
        return
    with processes.leading(), terminated_as_interrupted():
        load_weights(model, load_tensors(directory.weights)[0], directory.weights)
        try:
            if stop():  # asked for during the last evaluation
                raise KeyboardInterrupt
            with _resumable(directory):
                _finish(directory, prepared, model, run, trainer.epochs_done, listener)
        except KeyboardInterrupt:
            if stop_at is not None:
                raise
            text = (
                f"stopped before everything was scored; go on with: dragoman train --resume {as_word(directory.path)}"
            )
            raise Interrupted(text) from None


@contextmanager
def _resumable(directory: ModelDirectory) -> Iterator[None]:
    """Say of a directory that cannot be written, and of a process that is gone, how the training goes on."""
    try:
        yield
    except ConnectionError:  # of who listens
        raise
    except ProcessError as error:
        raise ProcessError(
            f"{error}; what was saved is kept: go on with: dragoman train --resume {as_word(directory.path)}"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(
            f"{directory.path} cannot be written: {reason}; what was saved is kept: see to it, and go on with: "
            f"dragoman train --resume {as_word(directory.path)}"
        ) from None


def _risk(prepared: Prepared, recipe: Recipe) -> MinimumRisk | None:
    """The expected cost that the recipe has in the loss, if it has any."""
    if not recipe.minimum_risk:
        return None
    return MinimumRisk(
        prepared.train,
        weight=recipe.minimum_risk,
        metric=recipe.risk_metric,
        candidates=recipe.risk_candidates,
        sharpness=recipe.risk_sharpness,
        bfloat16=recipe.precision == "bfloat16",
        recompute=recipe.recompute,
    )


def _finish(
    directory: ModelDirectory, prepared: Prepared, model: Seq2Seq, run: Run, epochs: float, listener: Listener
) -> None:
    """Score the kept weights and complete the directory."""
    stepper = TorchStepper(model.eval())
    config = directory.config
    for name, part in (("dev", prepared.dev_part.first(2_000)), ("test", prepared.test_part)):
        if part is not None:
            listener(Note(f"scoring {name}: {counted(len(part.sources), 'source')}, beam {BEAM.beam_size}"))
            scores = decode(stepper, prepared, part, BEAM, config["recipe"]["metric"])
            config["scores"][name] = scores.as_dict() | {"search": f"beam {BEAM.beam_size}, torch float32"}
            listener(Note(f"{name}: {_shown(scores)}"))
    config["run"] = {
        "steps": run.step,
        "epochs": epochs,
        "seconds": run.seconds,
        "memory": peak_memory(next(model.parameters()).device),
        "finished": run.finished,
        "best_step": run.best_step,
    }
    if "forecast" in config:
        listener(Note(beside_plan(config["forecast"], config["run"])))
    directory.write_config()
    write_text(directory.path / CARD, model_card(config))


def _shown(scores: Scores) -> str:
    """The three scores that say most: of answers that are right or wrong as a whole, by how much they are wrong."""
    whole: list[MetricName] = ["exact_match", "cer", "wer"]
    names = (
        [name for name in whole if name in scores.names()] if scores.primary == "exact_match" else scores.names()[:3]
    )
    return ", ".join(f"{scores.label(name)} {scores.value(name):.2f}" for name in names)


class _Log:
    """Passes events on, and keeps the log file and the curves up to date."""

    def __init__(self, directory: ModelDirectory, listener: Listener) -> None:
        self.directory, self.listener = directory, listener
        self.history: list[dict[str, Any]] = []
        self.drawn = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Evaluated):
            lines = "".join(json.dumps(row) + "\n" for row in self.history)
            write_text(self.directory.training / "log.jsonl", lines)
            self._draw()
        self.listener(event)

    def _draw(self) -> None:
        """Drawing takes longer than a small model's steps, so it is done now and then, and at the end."""
        if time.monotonic() - self.drawn > DRAW_SECONDS:
            self.draw()

    def draw(self) -> None:
        """Write the curves."""
        write_text(self.directory.path / CURVES, training_svg(self.history))
        self.drawn = time.monotonic()

"""The training loop: batches to weights, with evaluation, checkpoints and exact resume; knows no text and no terminal.

Whatever decides the weights is a function of the seed and of counted steps. Random streams are seeded anew from (seed,
step), so a run that was stopped and resumed has the weights, bit for bit, of one that never stopped. Time only stops.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dragoman.corpus.batching import Batch
from dragoman.errors import TrainingError, counted
from dragoman.model.loss import Loss
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.averaging import RecentWeights
from dragoman.training.checkpoint import (
    Checkpoint,
    check_state,
    check_weights,
    load_checkpoint,
    load_weights,
    model_weights,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    save_tensors,
)
from dragoman.training.clock import Clock
from dragoman.training.events import Evaluated, Listener
from dragoman.training.machine import give_back_memory
from dragoman.training.objective import Objective, add_gradients
from dragoman.training.optimizer import STATES, build_optimizer, trained_parameters
from dragoman.training.processes import ALONE, Processes
from dragoman.training.recipe import Recipe
from dragoman.training.risk import MinimumRisk
from dragoman.training.schedule import FALLING, SamplingCurve, Schedule

LAST = "last.safetensors"
"""Name of the last checkpoint in the training folder."""
TIDY_EVERY = 100
"""Steps after which freed memory is given back: some hundredths of a second each time."""
DRIFT = 0.02
"""Share of the steps to come by which a limit in minutes may be missed before the last step is planned anew."""
NO_BETTER = "no better dev score"
"""How the reason begins that ends a run for want of progress."""
FEW_SOURCES = 100
"""Dev sources below which a score says less about two models of one run than which of them is the later one (benchmarks/recipes:
symbols.md)."""
DIVERGED = 3.0
"""Times the loss of knowing nothing, ln(vocabulary), at which a run has diverged."""


@dataclass
class Run:
    """Where a run stands: every value that decides what comes next, and what it has cost."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    best: float | None = None
    best_step: int = 0
    since_best: int = 0
    rate_scale: float = 1.0
    landing: int = 0
    landing_patience: int = 0
    planned_steps: int | None = None
    planned_minutes: float | None = None
    last_step: int = 0
    anchor: int = 0
    fallen: float = 0.0
    dev_loss: float | None = None
    since_dev_loss: int = 0
    loss_sum: float = 0.0
    loss_tokens: int = 0
    risk_sum: float = 0.0
    risk_steps: int = 0
    paced_step: int = 0
    paced_seconds: float = 0.0
    seconds: float = 0.0
    finished: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, progress: dict[str, Any]) -> Run:
        """What a checkpoint of this version or another one says."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in progress.items() if name in known})

    def lands_with(self, patience: int) -> bool:
        """Whether a landing that has begun is one with this patience too; that of 0 never runs out."""
        return 0 < patience <= self.landing_patience


@dataclass(frozen=True)
class DevScore:
    """What evaluating on the development part gives."""

    loss: float
    """Mean cross-entropy per token, teacher-forced."""
    score: float
    """The metric by real decoding, higher is better."""
    seconds: float
    """How long decoding took."""
    sources: int
    """How many sources were decoded."""


Batches = Callable[[int, int], Iterator[Batch]]
"""(epoch, position) -> that epoch's batches from that position on."""


def first_checkpoint(model: Seq2Seq, recipe: Recipe) -> Checkpoint:
    """What a run begins from: a model's first weights, and nothing done yet."""
    return Checkpoint(model_weights(model), {}, {}, asdict(Run(**_plan_of(recipe))))


def check_checkpoint(path: Path, model: Seq2Seq, recipe: Recipe) -> None:
    """Raise a `StorageError` unless a file is a whole checkpoint of such a model, which may be an outline, trained so."""
    checkpoint, parameters = load_checkpoint(path), trained_parameters(model)
    run, averages = Run.of(checkpoint.progress), list(parameters)
    if recipe.average_checkpoints:
        copies = min(recipe.average_checkpoints, len(run.history))
        averages = [f"{n}/{name}" for n in range(copies) for name in parameters]
    elif not (run.step and recipe.average_decay):
        averages = []
    check_weights(model, checkpoint.weights, path)
    check_state(
        checkpoint, parameters, path, optimized=run.step > 0 and STATES[recipe.optimizer] > 0, averages=averages
    )


class Trainer:
    """Trains one model; `fit` runs until a limit, an early stop or an interrupt, and can go on from any checkpoint.

    `batches(epoch, position)` gives an epoch's batches; `evaluate()` scores the model as it is given. `folder` gets the
    last checkpoint (`last.safetensors`), `keep` the weights of the best evaluation. `risk` adds the expected cost of the
    model's own outputs to the loss. Of several `processes` only the main one evaluates and writes.
    """

    def __init__(
        self,
        model: Seq2Seq,
        recipe: Recipe,
        *,
        batches: Batches,
        batches_per_epoch: int,
        evaluate: Callable[[Seq2Seq], DevScore],
        folder: Path,
        keep: Path,
        listener: Listener,
        interrupted: Callable[[], bool] = lambda: False,
        risk: MinimumRisk | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.model = model
        self.recipe = recipe
        self.batches = batches
        self.batches_per_epoch = batches_per_epoch
        self.evaluate = evaluate
        self.checkpoint_path = folder / LAST
        self.keep = keep
        self.listener = listener
        self.interrupted = interrupted
        self.risk = risk
        self.processes = processes
        self.run = Run(**_plan_of(recipe))
        self.device = model.decoder.embedding.weight.device
        named = trained_parameters(model)
        self.names = list(named)
        self.parameters: list[Tensor] = list(named.values())
        self.optimizer = build_optimizer(recipe, named)
        self.average = [value.detach().clone() for value in self.parameters] if self._averages else []
        self.recent = RecentWeights(recipe.average_checkpoints)
        self.most_steps = limit_in_steps(recipe, math.ceil(batches_per_epoch / recipe.accumulate))
        self.total_steps = min(self.most_steps, recipe.planned_steps or self.most_steps)
        self.eval_every = evaluation_interval(recipe, self.total_steps)
        self.objective = objective_of(recipe)
        # To read the loss of a step on a GPU is to wait for the step: there it is read once the next step is on its way.
        self.reads_late = self.device.type == "cuda"
        self._unread: tuple[int, Loss, Tensor] | None = None
        self.sampling = SamplingCurve(recipe.sampling_curve, recipe.scheduled_sampling, recipe.sampling_steps)

    def resume(self) -> None:
        """Go on from the last checkpoint; the first one, `first_checkpoint`, has weights only."""
        checkpoint = load_checkpoint(self.checkpoint_path)
        load_weights(self.model, checkpoint.weights, self.checkpoint_path)
        restore_optimizer(self.optimizer, self.names, checkpoint.optimizer)
        if self.recent.size:
            self.recent.restore(self.names, checkpoint.average, self.parameters)
        else:
            for name, parameter, average in zip(self.names, self.parameters, self.average, strict=False):
                average.copy_(checkpoint.average.get(name, parameter.detach()))
        self.run = Run.of(checkpoint.progress)
        plan = _plan_of(self.recipe)
        if not self.run.finished:  # what an older version did not write was no other than now
            self.run = Run.of(plan | checkpoint.progress)
        if plan != {name: getattr(self.run, name) for name in plan}:  # other limits were given: the last step is theirs
            self.run = replace(self.run, **plan, last_step=0, anchor=0, fallen=0.0)
        if not self.run.lands_with(self.recipe.patience):  # more was given, which has not run out
            self.run.landing = 0

    def save(self) -> None:
        """Write the last checkpoint."""
        if not self.processes.main:
            return
        self._settle()
        average = self.recent.tensors(self.names) or dict(zip(self.names, self.average, strict=False))
        optimizer = optimizer_tensors(self.optimizer, self.names)
        save_checkpoint(
            self.checkpoint_path, Checkpoint(model_weights(self.model), optimizer, average, asdict(self.run))
        )

    def fit(self) -> Run:
        """Train until a limit; the reason is in the returned run's `finished`, empty after an interrupt."""
        over = self._over()  # all are there: from here on time counts
        clock = Clock(self.run)
        while not over:
            for group in _groups(self.batches(self.run.epoch, self.run.position), self.recipe.accumulate):
                self._train_on(group)
                self.run.position += len(group)
                if self.run.step % TIDY_EVERY == 0:
                    give_back_memory()
                if self.processes.main:
                    if self.run.step % self.eval_every == 0:
                        self._assess(clock)
                    clock.report(self)  # may save, so it comes after all that this step decides
                over = self._over()
                if over:
                    return self._end(clock)
            self.run.epoch, self.run.position = self.run.epoch + 1, 0
            over = self._over()
        return self._end(clock)

    def _over(self) -> bool:
        """Whether to stop, the same in every process: the main one knows the limits, any may be interrupted."""
        run, main = self.run, self.processes.main
        run.finished = self._limit() if main else ""
        known = (run.rate_scale, run.landing, run.last_step, run.anchor, run.fallen)
        at_limit, interrupts, rate_scale, landing, last_step, anchor, fallen = self.processes.sum(
            bool(run.finished), self.interrupted(), *(known if main else (0,) * len(known))
        )
        run.rate_scale, run.landing = rate_scale, int(landing)
        run.last_step, run.anchor, run.fallen = int(last_step), int(anchor), fallen
        if at_limit and not main:
            run.finished = "when the main process did"
        return bool(at_limit or interrupts)

    def _train_on(self, batches: list[Batch]) -> None:
        run, recipe = self.run, self.recipe
        seed = int(np.random.SeedSequence((recipe.seed, run.step, self.processes.rank)).generate_state(1)[0])
        own = self.processes.share(batches)
        pools = [self.risk.find(self.model, batch) for batch in own] if self.risk else []
        torch.manual_seed(seed)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        objective = replace(self.objective, own_share=self.sampling.share(run.step))
        tokens = sum(batch.target_tokens for batch in batches)
        loss = add_gradients(self.model, own, self.device, objective, tokens=tokens)
        if self.risk:
            risk = self.risk.add_gradients(self.model, pools, sources=sum(map(len, batches)))
            run.risk_sum, run.risk_steps = run.risk_sum + self.processes.sum(risk)[0], run.risk_steps + 1
        loss = self.processes.combine(self.parameters, loss)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, recipe.clip_norm or math.inf)
        run.step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group["share"]
        self.optimizer.step()
        if self._averages:
            # The warm-up of the decay lets the average forget the random start (as in TensorFlow's moving average).
            decay = min(recipe.average_decay, (1 + run.step) / (10 + run.step))
            with torch.no_grad():  # or the average would hold on to a graph of all steps there were
                torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
        self._settle()
        self._unread = (run.step, loss, norm)
        if not self.reads_late:
            self._settle()

    @property
    def schedule(self) -> Schedule:
        """The learning rate by step; its last step is the recipe's until a limit in minutes has moved it."""
        recipe, run = self.recipe, self.run
        total = run.last_step or self.total_steps
        # An end that moves leaves the warm-up as it was, or the rate would jump.
        warmup = min(recipe.warmup_steps, self.total_steps // 5) if recipe.schedule in FALLING else recipe.warmup_steps
        return Schedule(recipe.schedule, recipe.learning_rate, warmup, total, anchor=run.anchor, fallen=run.fallen)

    @property
    def rate(self) -> float:
        """The current step's learning rate."""
        return self.schedule.rate(self.run.step, landing=self.run.landing) * self.run.rate_scale

    @property
    def last_step(self) -> int:
        """The step that ends the run, if no other limit does: the schedule's, or the one where a landing has landed."""
        landing = self.run.landing
        return landing + self.schedule.landing_steps(landing) if landing else self.schedule.total

    def _settle(self) -> None:
        """Count the loss of the last step, if that was not done yet; a `TrainingError` if it, or its gradient, says that the run has diverged."""
        if self._unread is None:
            return
        (step, loss, norm), self._unread = self._unread, None
        cross_entropy = loss.cross_entropy
        self.run.loss_sum += cross_entropy
        self.run.loss_tokens += loss.tokens
        mean = cross_entropy / loss.tokens
        # A loss may begin high; only after the warm-up does a high one say that it has risen.
        risen = mean > DIVERGED * math.log(self.model.decoder.output.out_features) + 1
        if not math.isfinite(mean) or (risen and step > self.recipe.warmup_steps):
            raise self._diverged("is not a number" if not math.isfinite(mean) else f"rose to {mean:.1f}", step)
        if not math.isfinite(norm):
            raise self._diverged("has a gradient that is not a number", step)

    def _diverged(self, what: str, step: int) -> TrainingError:
        clip = self.recipe.clip_norm
        other = f"`clip_norm` (now {clip:g})" if clip else "give `clip_norm` 1 (now it is off)"
        return TrainingError(
            f"the loss {what} at step {step:,}: lower `learning_rate` (now {self.recipe.learning_rate:g}) or {other}; "
            "the checkpoints before it are kept"
        )

    def _limit(self) -> str:
        recipe, run = self.recipe, self.run
        if recipe.max_steps and run.step >= recipe.max_steps:
            return counted(recipe.max_steps, "step")
        if recipe.max_minutes:
            minutes = f"{recipe.max_minutes:g} minute{'' if recipe.max_minutes == 1 else 's'}"
            if recipe.planned_steps and self.schedule.falls and self.schedule.total <= run.step < self.most_steps:
                return f"{counted(run.step, 'step')}, by the limit of {minutes}"
            if run.seconds >= recipe.max_minutes * 60:
                return minutes
        if run.landing and run.step >= self.last_step:
            return f"{NO_BETTER} in {counted(recipe.patience, 'evaluation')}"
        if run.epoch >= recipe.epochs:
            return counted(recipe.epochs, "epoch")
        return ""

    def _end(self, clock: Clock) -> Run:
        if (
            self.processes.main
            and self.run.finished
            and (not self.run.history or self.run.history[-1]["step"] != self.run.step)
        ):
            self._assess(clock)
        clock.pause()
        self.save()
        return self.run

    def _assess(self, clock: Clock) -> None:
        """Evaluate the model to be kept: the average, or the weights themselves."""
        run = self.run
        self._settle()
        give_back_memory()  # or decoding would need its own beside what training freed in pieces
        train_loss = run.loss_sum / max(1, run.loss_tokens)
        speed = clock.speed_since_assessment()
        if self.recent.size:
            self.average = self.recent.add(self.parameters)
        with self.averaged():
            self.model.eval()
            dev = self.evaluate(self.model)
            if not math.isfinite(dev.loss):
                raise self._diverged("is not a number", run.step)
            score = -dev.loss if self.recipe.metric == "loss" else dev.score
            better = run.best is None or score > run.best
            run.since_best = 0 if better else run.since_best + 1
            # Of equals the later one has learned more, and its rate has fallen further.
            kept = better or score == run.best or self._too_few(dev)
            if better:
                run.best = score
            if kept:
                run.best_step = run.step
                save_tensors(self.keep, model_weights(self.model))
            if self.recipe.patience and run.since_best >= self.recipe.patience and not run.landing:
                run.landing, run.landing_patience = run.step, self.recipe.patience
        event = Evaluated(
            step=run.step,
            epoch=round(self.epochs_done, 3),
            train_loss=train_loss,
            risk=run.risk_sum / run.risk_steps if run.risk_steps else None,
            dev_loss=dev.loss,
            metric=self.recipe.metric,
            score=dev.loss if self.recipe.metric == "loss" else dev.score,
            best=kept,
            learning_rate=self.rate,
            tokens_per_second=speed,
            seconds=run.seconds,
            decoding_seconds=dev.seconds,
        )
        self._watch_plateau(dev.loss)
        run.history.append(asdict(event))
        run.loss_sum, run.loss_tokens = 0.0, 0
        run.risk_sum, run.risk_steps = 0.0, 0
        self.listener(event)
        clock.pause()
        self._plan_anew()
        clock.saved(self)

    def _too_few(self, dev: DevScore) -> bool:
        """Whether a score is of so few outputs that the later model is the better guess, its rate having fallen further."""
        return self.schedule.falls and self.recipe.metric != "loss" and dev.sources < FEW_SOURCES

    def _plan_anew(self) -> None:
        """Move the last step to where a limit in minutes will end the run at the pace since the last evaluation.

        A rate that is to be next to nothing at the last step must know it, and what was timed before the first one is
        a guess: other work comes and goes. The plan is part of the run, so that a resumed one goes on under it.
        """
        run, recipe = self.run, self.recipe
        steps, seconds = run.step - run.paced_step, run.seconds - run.paced_seconds
        run.paced_step, run.paced_seconds = run.step, run.seconds
        if (
            not (recipe.planned_steps and recipe.max_minutes and steps)
            or run.landing
            or run.step >= self.schedule.total
        ):
            return
        left = recipe.max_minutes * 60 - run.seconds
        total = min(self.most_steps, run.step + max(1, int(left * steps / max(seconds, 1e-9))))
        if abs(total - self.schedule.total) > DRIFT * (self.schedule.total - run.step):
            run.fallen = self.schedule.moved(run.step, total).fallen
            run.last_step, run.anchor = total, run.step

    def _watch_plateau(self, dev_loss: float) -> None:
        run = self.run
        if run.dev_loss is None or dev_loss < run.dev_loss:
            run.dev_loss, run.since_dev_loss = dev_loss, 0
            return
        run.since_dev_loss += 1
        if self.recipe.schedule == "plateau" and run.since_dev_loss >= 2:
            run.rate_scale, run.since_dev_loss = run.rate_scale / 2, 0

    @property
    def epochs_done(self) -> float:
        """Passes over the data so far."""
        return self.run.epoch + min(1.0, self.run.position / self.batches_per_epoch)

    @property
    def _averages(self) -> bool:
        """Whether a running average is kept: only the main process has a use for it."""
        return self.recipe.average_decay > 0 and self.processes.main

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """A context in which the model's weights are the average, if there is one."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        """Put the average in the place of the weights, or back, without losing a bit of either."""
        for parameter, average in zip(self.parameters, self.average, strict=False):
            parameter.data, average.data = average.data, parameter.data


def _plan_of(recipe: Recipe) -> dict[str, Any]:
    """What says how far a run has to go: more minutes may come to the same steps, where the epochs end them."""
    return {"planned_steps": recipe.planned_steps, "planned_minutes": recipe.max_minutes}


def objective_of(recipe: Recipe) -> Objective:
    """What a recipe minimises."""
    return Objective(
        recipe.label_smoothing,
        bptt=recipe.bptt,
        r_drop=recipe.r_drop,
        bfloat16=recipe.precision == "bfloat16",
        recompute=recipe.recompute,
        share=1 - recipe.minimum_risk,
    )


def limit_in_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    """Steps until the limits that are counted, epochs and steps, end a run."""
    total = recipe.epochs * steps_per_epoch
    return min(total, recipe.max_steps) if recipe.max_steps else total


def evaluation_interval(recipe: Recipe, steps: int) -> int:
    """Steps between two evaluations of a run of so many steps: about 25 in all, so that they take little of its time."""
    return recipe.eval_every or max(50, min(1000, math.ceil(steps / 25)))


def _groups(batches: Iterator[Batch], size: int) -> Iterator[list[Batch]]:
    """So many batches at a time; the epoch's last group may have fewer."""
    while group := list(itertools.islice(batches, size)):
        yield group

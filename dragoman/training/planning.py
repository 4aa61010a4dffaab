"""What a run will cost, found before its first step from a few timed batches; changes no weight and knows no files.

Under a schedule that falls to nothing the last step must be known. A limit in minutes is therefore turned into steps
here, once, and stored: from then on steps alone decide the weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dragoman.corpus.batching import Batch, BatchPlan
from dragoman.errors import TrainingError, counted, duration
from dragoman.model.recurrent import RecurrentLayer
from dragoman.model.seq2seq import Seq2Seq
from dragoman.training.machine import computes_bfloat16, free_memory, peak_memory
from dragoman.training.objective import add_gradients
from dragoman.training.optimizer import STATES, build_optimizer
from dragoman.training.recipe import Recipe
from dragoman.training.risk import MinimumRisk
from dragoman.training.trainer import evaluation_interval, limit_in_steps, objective_of

TIMED = 8
"""Batches that are timed, spread over the first epoch."""
SPARE = 0.07
"""Share of a limit in minutes that is not planned for: checkpoints, curves, shapes never met before, a busier machine. Planned without
it, on a busy machine, three runs of seven had 6 to 14 % of their steps to go when their time was over."""


@dataclass(frozen=True)
class Forecast:
    """What training will take."""

    parameters: int
    """Numbers that are learned."""
    memory: int | None
    """Bytes at the peak, everything in the process counted; None where this cannot be known."""
    seconds_per_step: float
    """One optimiser step."""
    seconds_per_evaluation: float
    """The dev loss and the decoding of dev sources, once the model ends its outputs about where they should end."""
    steps_per_epoch: int
    """Optimiser steps in a pass over the data."""
    steps: int
    """Optimiser steps until the first limit."""
    seconds: float
    """Until then, evaluations included."""

    def __str__(self) -> str:
        """One line for people."""
        memory = "" if self.memory is None else f", {self.memory / 1e9:.1f} GB of memory"
        return (
            f"at most {counted(self.steps, 'step')} ({self.steps / self.steps_per_epoch:.1f} epochs) in about "
            f"{duration(self.seconds)}; {duration(self.steps_per_epoch * self.seconds_per_step)} an epoch; "
            f"{self.parameters:,} parameters{memory}"
        )

    def as_dict(self) -> dict[str, Any]:
        """For config.json."""
        return asdict(self)


def check_weights_fit(recipe: Recipe, parameters: int, device: torch.device) -> None:
    """Raise `TrainingError` if weights, gradients and optimiser alone are more than there is memory for.

    Found from the number of parameters, so that it is known before a model is made.
    """
    _refuse_if_too_large(_bytes_of_states(recipe, parameters), device, recipe)


def forecast(
    model: Seq2Seq,
    recipe: Recipe,
    plan: BatchPlan,
    device: torch.device,
    *,
    evaluation_seconds: float,
    risk: MinimumRisk | None = None,
    processes: int = 1,
    steps_done: int = 0,
    seconds_done: float = 0.0,
) -> Forecast:
    """Time a few batches of `plan` with a model that is on `device`, and say what the run of `recipe` will take.

    `risk` is part of the steps, if the run has it. Of several `processes` this one's rows of each batch are timed;
    `steps_done` and `seconds_done` are behind a run that is resumed. Raises `TrainingError`, with advice, if it cannot fit
    into memory. Weights stay as they are; gradients are dropped.
    """
    batches = [batch.slice(0, processes) for batch in plan.sample(TIMED + 1)]
    states = _bytes_of_states(recipe, sum(value.numel() for value in model.parameters() if value.requires_grad))
    seconds, activations = [], 0
    for number, batch in enumerate(batches):
        if number == 1:  # the first one warms up, and says how much memory the largest will take
            activations = _bytes_of_activations(model, recipe, batches)
            _refuse_if_too_large(states + activations, device, recipe)
        # Other work can only lengthen a time; and a run planned too short ends before it has learned what it could, while
        # one planned too long only ends with a rate that is not quite nothing.
        seconds.append(min(_timed(model, recipe, batch, device, risk) for _ in range(2)))
    parameters = [value for value in model.parameters() if value.requires_grad]
    update = _timed_update(recipe, parameters)
    for parameter in parameters:
        parameter.grad = None
    per_epoch = math.ceil(plan.batches_per_epoch / recipe.accumulate)
    # The last step of an epoch, which may be its only one, has the batches that are left.
    per_step = plan.batches_per_epoch / per_epoch * float(np.mean(seconds[1:])) + update
    bare = limit_in_steps(recipe, per_epoch)
    steps = bare
    if recipe.max_minutes:
        left = (recipe.max_minutes * 60 - seconds_done) * (1 - SPARE)
        every = evaluation_interval(recipe, min(bare, steps_done + int(left / per_step)))
        within = (left - evaluation_seconds) / (per_step + evaluation_seconds / every)
        steps = min(bare, steps_done + max(1, int(within)))
    to_come = max(0, steps - steps_done)
    evaluations = to_come / evaluation_interval(recipe, steps) + 1
    peak = peak_memory(device)
    if peak is not None:
        # Weights and gradients are in the peak already. On a CPU what was freed lies in pieces, which batches of other shapes
        # do not quite fill: within some hundred steps that comes to about twice what the largest batch keeps.
        peak += states - 2 * 4 * model.parameter_count + _bytes_of_prepared_products(model, recipe, device, steps=steps)
        if device.type == "cpu":
            # While a checkpoint is saved, it stands there three times, but no batch does.
            peak += max(2 * activations, 2 * (states - 4 * model.parameter_count))
    return Forecast(
        parameters=model.parameter_count,
        memory=peak,
        seconds_per_step=per_step,
        seconds_per_evaluation=evaluation_seconds,
        steps_per_epoch=per_epoch,
        steps=steps,
        seconds=seconds_done + to_come * per_step + evaluations * evaluation_seconds,
    )


def _timed(model: Seq2Seq, recipe: Recipe, batch: Batch, device: torch.device, risk: MinimumRisk | None) -> float:
    """Seconds for the gradients of a batch, once scheduled sampling has its whole share."""
    begun = time.monotonic()
    pools = [risk.find(model, batch)] if risk else []
    model.train()  # drawing is done without dropout
    add_gradients(model, [batch], device, replace(objective_of(recipe), own_share=recipe.scheduled_sampling))
    if risk:
        risk.add_gradients(model, pools)
    _finish(device)
    return time.monotonic() - begun


def _timed_update(recipe: Recipe, parameters: Sequence[Tensor]) -> float:
    """Seconds that an optimiser takes for one parameter's share of the step, extrapolated to all of them.

    A copy of the largest parameter is enough: an optimiser's time is that of reading and writing numbers.
    """
    largest = max(parameters, key=Tensor.numel)
    copy = largest.detach().clone().requires_grad_()
    copy.grad = torch.ones_like(copy)
    optimizer = build_optimizer(recipe, {"": copy})
    optimizer.step()
    _finish(copy.device)
    begun = time.monotonic()
    optimizer.step()
    _finish(copy.device)
    return (time.monotonic() - begun) * sum(value.numel() for value in parameters) / copy.numel()


def _bytes_of_states(recipe: Recipe, parameters: int) -> int:
    """Weights, gradients, the optimiser's numbers, and the average or the copies that it is made of."""
    copies = 2 + STATES[recipe.optimizer] + bool(recipe.average_decay) + recipe.average_checkpoints
    return 4 * copies * parameters


def _bytes_of_activations(model: Seq2Seq, recipe: Recipe, batches: Sequence[Batch]) -> int:
    """What the largest batch keeps for its backward pass.

    What a batch of middling size keeps for its backward pass is counted, tensor by tensor, and scaled by its positions. (What a
    very small one keeps does not depend on its size.)
    """
    kept: dict[int, int] = {}
    own = {value.data_ptr() for value in model.parameters()}

    def count(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    middling = sorted(batches, key=_positions)[len(batches) // 2]
    device = next(model.parameters()).device
    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        add_gradients(model, [middling], device, replace(objective_of(recipe), bptt=0))
    share = max(map(_positions, batches)) / max(1, _positions(middling))
    return int(sum(kept.values()) * share)


def _bytes_of_prepared_products(model: Seq2Seq, recipe: Recipe, device: torch.device, *, steps: int) -> int:
    """What oneDNN keeps of products for batches of other shapes (`machine.bound_caches`), with what lies between.

    The longer a run is, the more shapes it meets, and the more room they leave between them at the most. Fitted to 89 runs of 1,000 to
    22,000 steps in bfloat16, of models of 0.1 to 9 million parameters: 85 of them took within 15 % of what is said with it, the others
    up to 22 % more. In float32 nothing is to be added with AVX-512, and three quarters of it without: three runs of 1,000 to 3,200 steps
    took between 13 % less and 9 % more. In all of them the running average took some 20 KB more with every step, which it does no longer.
    """
    share = 1.0 if recipe.precision == "bfloat16" else 0.0 if computes_bfloat16(device) else 0.75
    if device.type != "cpu" or not share:
        return 0
    layers = (layer for layer in model.modules() if isinstance(layer, RecurrentLayer))
    weights = sum(weight.numel() for layer in layers for weight in layer.parameters())
    return round(share * (150e6 + 50 * weights + 0.0375 * min(steps, 8_000) * min(weights, 2_000_000)))


def _positions(batch: Batch) -> int:
    return batch.source_ids.size + batch.target_input.size


def _refuse_if_too_large(needed: int, device: torch.device, recipe: Recipe) -> None:
    free = free_memory(device)
    if free is not None and needed > free:
        raise TrainingError(
            f"training needs about {needed / 1e9:.1f} GB of memory, but {free / 1e9:.1f} GB are free: lower "
            f"`batch_tokens` (now {recipe.batch_tokens:,}), `hidden_size` (now {recipe.hidden_size:,}) or `vocab_size`"
        )


def _finish(device: torch.device) -> None:
    """Wait for what a device was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

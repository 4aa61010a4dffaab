"""Proof that a run of the user's own configuration can be stopped and resumed exactly; knows no terminal."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dragoman.config import TrainOptions
from dragoman.errors import Interrupted, OptionError, TrainingError, counted
from dragoman.storage import TRAINING
from dragoman.training import session
from dragoman.training.checkpoint import load_checkpoint
from dragoman.training.events import Listener, Note
from dragoman.training.launch import launched
from dragoman.training.preparation import Pairs
from dragoman.training.trainer import LAST

STEPS = 20
_TIMES = ("seconds", "history", "paced_seconds")
"""What a checkpoint says of time, which no two runs have in common."""


@dataclass(frozen=True)
class Proof:
    """What was compared, and found equal bit for bit."""

    steps: int
    """Optimiser steps of either run."""
    stopped_at: int
    """The step after which one of them was stopped and resumed."""
    tensors: int
    """Weights, tensors of the optimiser and averages."""
    values: int
    """Numbers in them."""


def verify_resume(pairs: Pairs, options: TrainOptions, *, listener: Listener, steps: int = STEPS) -> Proof:
    """Train `steps` steps twice in temporary folders, once with a stop in between, and compare the checkpoints.

    Raises `TrainingError` if a single bit differs.
    """
    if launched().world > 1:
        raise OptionError("`verify_resume` runs in one process: start it without torchrun or accelerate launch")
    if options.max_minutes is not None:
        raise OptionError("`verify_resume` compares what steps decide, but `max_minutes` goes by time: leave it out")
    pairs = pairs if isinstance(pairs, str | Path) else list[Any](pairs)
    steps = min(steps, options.max_steps or steps)
    stop = steps // 2
    if not stop:
        raise OptionError("`max_steps` must be at least 2 to stop in between, but is 1")
    changes: dict[str, Any] = {}
    if options.eval_every is None:  # evaluations, which averages and the best score hang on, are rarer than this
        changes = {"eval_every": max(1, stop - 1), "metric": options.metric or "loss"}
    options = options.model_copy(update=changes)
    with tempfile.TemporaryDirectory(prefix="dragoman-verify-") as folder:
        straight, broken = Path(folder) / "straight", Path(folder) / "broken"
        listener(Note(f"training {counted(steps, 'step')} without a stop"))
        _start(pairs, straight, options, listener, stop_at=steps)
        listener(Note(f"training {counted(stop, 'step')}, stopping, and resuming for {steps - stop} more"))
        if not _start(pairs, broken, options, _only_warnings(listener), stop_at=stop):
            raise TrainingError(f"the limits end the run before step {stop}: there is nothing to stop and resume")
        torch.seed()  # nothing may hang on the random stream of the stopped run
        with suppress(Interrupted):
            session.go_on(broken, _machine(options), listener=_only_warnings(listener), stop_at=steps)
        return _compare(straight, broken, stop)


def _machine(options: TrainOptions) -> TrainOptions:
    return TrainOptions(device=options.device, threads=options.threads)


def _start(pairs: Pairs, out: Path, options: TrainOptions, listener: Listener, *, stop_at: int) -> bool:
    """Train until `stop_at`; returns whether it got there."""
    try:
        session.start(pairs, out, options, overwrite=False, listener=listener, command=None, stop_at=stop_at)
    except Interrupted:
        return True
    return False


def _only_warnings(listener: Listener) -> Listener:
    def pass_on(event: Any) -> None:
        if isinstance(event, Note) and event.warning:
            listener(event)

    return pass_on


def _compare(straight: Path, broken: Path, stop: int) -> Proof:
    one, other = (load_checkpoint(path / TRAINING / LAST) for path in (straight, broken))
    tensors = dict(_tensors(one))
    others = dict(_tensors(other))
    unlike = [name for name in tensors if name not in others or not _same_bits(tensors[name], others[name])]
    unlike += [name for name in others if name not in tensors]
    places = {name: value for name, value in one.progress.items() if name not in _TIMES}
    unlike += [name for name, value in places.items() if other.progress.get(name) != value]
    steps = int(one.progress["step"])
    if unlike:
        raise TrainingError(
            f"resuming is not exact here: after {counted(steps, 'step')}, {len(unlike)} of {len(tensors) + len(places)} values "
            f"differ from a run that was stopped at step {stop} and resumed (first: {unlike[0]})"
        )
    return Proof(steps, stop, len(tensors), sum(tensor.numel() for tensor in tensors.values()))


def _tensors(checkpoint: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for part in ("weights", "optimizer", "average"):
        for name, tensor in getattr(checkpoint, part).items():
            yield f"{part}/{name}", tensor


def _same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equality of bytes: a NaN equals itself, and 0 is not -0."""
    same_kind = one.dtype == other.dtype and one.shape == other.shape
    return same_kind and torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))

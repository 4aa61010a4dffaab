"""Several processes that train one model together, on one machine or more; knows no steps and no files.

Every process forms the same global batch and takes its own rows of it. Each token's gradient is divided by the tokens of
the whole batch, so that the sum over processes is the gradient of one process that has the whole batch. All of them
then take the same step. What only one can know (the time, the dev score) the main process decides for all.

This is `torch.distributed` and nothing else: launchers (`torchrun`, `accelerate launch`) only start the processes and tell
them of each other. The model needs no wrapper of `accelerate`'s, whose loaders would deal out other rows than these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from dragoman.corpus.batching import Batch
from dragoman.errors import ProcessError, TrainingError
from dragoman.model.loss import Loss
from dragoman.training.launch import launched

_PATIENCE = timedelta(days=1)
"""How long others wait: while the main process reads, evaluates or writes nothing is heard of it."""


class Processes:
    """This process and those beside it; by default there are none."""

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        self.rank, self.world = rank, world

    @property
    def main(self) -> bool:
        """Whether this is the one that reads, evaluates, writes and prints."""
        return self.rank == 0

    def share(self, batches: Sequence[Batch]) -> list[Batch]:
        """This process's rows of each global batch; batches of which it gets none are left out."""
        own = [batch.slice(self.rank, self.world) for batch in batches]
        return [batch for batch in own if len(batch)]

    def sum(self, *values: float) -> list[float]:
        """The sum over all processes of each value, the same in all."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        self._sum(total)
        return [float(value) for value in total]

    def combine(self, parameters: Sequence[Tensor], loss: Loss) -> Loss:
        """Give every process the sum of all gradients; returns the sum of the losses."""
        if self.world == 1:
            return loss
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        self._sum(flat)
        start = 0
        for value in parameters:
            value.grad = flat[start : start + value.numel()].view_as(value)
            start += value.numel()
        nll = torch.tensor(self.sum(loss.cross_entropy), dtype=torch.float64)
        return Loss(loss.objective, nll, loss.tokens)

    @contextmanager
    def leading(self) -> Iterator[None]:
        """What the main process does while the others `follow`; they learn whether it went well."""
        try:
            yield
        except BaseException:
            with suppress(TrainingError):  # they may be gone too, which is not the reason
                self.sum(1.0)
            raise
        self.sum(0.0)

    def follow(self) -> None:
        """Wait until the main process is through with what it does alone; a `TrainingError` if that failed."""
        if self.sum(0.0)[0]:
            raise TrainingError("the main process stopped; see its message")

    def _sum(self, tensor: Tensor) -> None:
        try:
            dist.all_reduce(tensor)
        except RuntimeError as error:
            raise ProcessError(f"one of the {self.world} processes is gone: {_reason(error)}") from None


ALONE = Processes()
"""One process, which is the main one."""


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that were launched together, connected; `ALONE` without a launcher."""
    launch = launched()
    if launch.world == 1:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        text = f"process {launch.rank} of {launch.world} cannot find the others: {_reason(error)}"
        raise TrainingError(text) from None
    try:
        yield Processes(launch.rank, launch.world)
    finally:
        dist.destroy_process_group()


def _reason(error: Exception) -> str:
    """What a library says in its first sentence, without the place in its code."""
    line = next(iter(str(error).splitlines()), type(error).__name__)
    return re.sub(r"^\[\S+:\d+\] ", "", line).partition(". This is typically")[0]

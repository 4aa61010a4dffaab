"""Which process this is, of how many that a launcher started together; knows no torch.

`torchrun` and `accelerate launch` start the same command several times, on one machine or on several, and say in the
environment which is which.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from dragoman.errors import OptionError


@dataclass(frozen=True)
class Launch:
    """One process among those that train one model."""

    rank: int
    """Its number, from 0."""
    world: int
    """How many there are, on all machines."""
    local_rank: int
    """Its number among those on its machine: the number of its GPU."""

    @property
    def main(self) -> bool:
        """Whether this is the one that reads, evaluates, writes and prints."""
        return self.rank == 0


ALONE = Launch(rank=0, world=1, local_rank=0)
"""The only process."""


def launched() -> Launch:
    """What the launcher says of this process; the only one, if there was no launcher.

    An `OptionError` says if the environment holds what no launcher says.
    """
    rank, world, local_rank = (_number(name, at) for name, at in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    if world <= 1:
        return ALONE
    if rank >= world:
        raise OptionError(
            f"the environment variable RANK must be below WORLD_SIZE ({world}), but is {rank}: unset both"
        )
    return Launch(rank, world, local_rank)


def _number(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal():
        raise OptionError(
            f'the environment variable {name} must be a whole number, as a launcher sets it, but is "{text}": unset it'
        )
    return int(text)

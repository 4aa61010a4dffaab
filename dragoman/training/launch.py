"""Which process this is, of how many that a launcher started together; knows no torch.

`torchrun` and `accelerate launch` start the same command several times, on one machine or on several, and say in the
environment which is which.
"""

from __future__ import annotations

import os
from dataclasses import dataclass


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


def launched() -> Launch:
    """What the launcher says of this process; the only one, if there was no launcher."""
    names = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0}
    return Launch(*(int(os.environ.get(name) or default) for name, default in names.items()))

"""The weights at the last evaluations and their mean (Sennrich et al. 2016); knows no model and no files."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class RecentWeights:
    """Copies of the parameters at the last `size` evaluations, oldest first; none is kept with a size of 0."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.copies: list[list[Tensor]] = []

    def add(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Keep a copy of `parameters`; returns the mean of all copies, one tensor per parameter."""
        self.copies = [*self.copies, [value.detach().clone() for value in parameters]][-self.size :]
        return [torch.stack(values).mean(0) for values in zip(*self.copies, strict=True)]

    def tensors(self, names: Sequence[str]) -> dict[str, Tensor]:
        """All copies, named `NUMBER/PARAMETER`; `names` are those of the parameters."""
        return {f"{n}/{name}": one for n, copy in enumerate(self.copies) for name, one in zip(names, copy, strict=True)}

    def restore(self, names: Sequence[str], tensors: dict[str, Tensor], like: Sequence[Tensor]) -> None:
        """Put back what `tensors` gave, on the devices of the parameters `like`."""
        count = len(tensors) // max(1, len(names))
        self.copies = [
            [tensors[f"{n}/{name}"].to(value.device) for name, value in zip(names, like, strict=True)]
            for n in range(count)
        ]

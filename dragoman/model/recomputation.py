"""Activations that are computed once more in the backward pass instead of being held until then (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")


def run(function: Callable[..., Result], *arguments: object, recompute: bool) -> Result:
    """Call `function`; with `recompute` only its arguments and results are held for the backward pass.

    It must draw no random numbers, and give the same for the same arguments: dropout masks are drawn by the caller.
    """
    if not recompute:
        return function(*arguments)
    return cast(Result, checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False))

"""Limits that a run is given anew when it is resumed: whether it can end or go on under them; trains nothing."""

from __future__ import annotations

import math
from pathlib import Path

from dragoman.errors import OptionError, counted
from dragoman.training.recipe import Recipe
from dragoman.training.trainer import NO_BETTER, Run, limit_in_steps

LIMITS = frozenset({"epochs", "max_steps", "max_minutes", "patience"})
"""Options that only say when to stop, so that a resumed run may be given others."""


def check_new_limits(path: Path, stored: Recipe, given: Recipe, run: Run, *, batches_per_epoch: int) -> None:
    """Raise `OptionError` if `given` ends the run at `path` before where it stands, or if it is over and stays so.

    `stored` is the recipe that it had until now.
    """
    epochs = run.epoch + min(1.0, run.position / batches_per_epoch)
    spent = {
        "max_steps": (run.step, "steps"),
        "epochs": (epochs, "epochs"),
        "max_minutes": (run.seconds / 60, "minutes"),
    }
    for name, (done, unit) in spent.items():
        limit = getattr(given, name)
        if limit is not None and limit != getattr(stored, name) and limit < done:
            made = f"{done:,}" if isinstance(done, int) else f"{done:,.2f}"
            raise OptionError(
                f"`{name}` is {limit:,.10g}, but the run at {path} has had {made} {unit} already: give more"
            )
    per_epoch = math.ceil(batches_per_epoch / given.accumulate)
    if run.finished and (name := _ending(stored, given, run, per_epoch)):
        # Later epochs had more batches than the first one.
        if name == "epochs" and stored.epochs <= run.epoch < given.epochs:
            raise OptionError(
                f"`epochs` is {given.epochs}, which comes to about {counted(limit_in_steps(given, per_epoch), 'step')}, but the run "
                f"at {path} has had {run.step:,} already: give more"
            )
        raise OptionError(f"the run at {path} ended with {run.finished}: to go on, raise `{name}` too")


def _ending(stored: Recipe, given: Recipe, run: Run, steps_per_epoch: int) -> str:
    """The limit that has ended a run and still does; empty if there is none any more."""
    no_better = run.finished.startswith(NO_BETTER)
    if no_better and run.lands_with(given.patience):
        return "patience"
    if given.max_steps and run.step >= given.max_steps:
        return "max_steps"
    # Later epochs may have fewer batches than the first one, by which steps are reckoned.
    if run.epoch >= given.epochs or run.step >= limit_in_steps(given, steps_per_epoch):
        return "epochs"
    in_time = given.max_minutes is not None and given.max_minutes == stored.max_minutes
    by_time = not no_better and run.epoch < stored.epochs and run.step < limit_in_steps(stored, steps_per_epoch)
    return "max_minutes" if in_time and by_time else ""

"""Seconds, speeds, reports and timed saves of a run; decides nothing about weights."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dragoman.training.events import Progress

if TYPE_CHECKING:
    from dragoman.training.trainer import Run, Trainer

REPORT_SECONDS = 0.5
SAVE_SECONDS = 120.0


class Clock:
    """Times one session of a run; made when it begins."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.now = self.last_report = self.last_save = time.monotonic()
        self.last_assessment = self.now - (run.seconds - run.paced_seconds)  # maybe in an earlier session
        self.reported = (run.loss_sum, run.loss_tokens)

    def pause(self) -> None:
        """Count the time since the last look."""
        now = time.monotonic()
        self.run.seconds += now - self.now
        self.now = now

    def report(self, trainer: Trainer) -> None:
        """After a step: tell how it goes, and save, if it is time to."""
        self.pause()
        if self.now - self.last_save > SAVE_SECONDS:
            self.saved(trainer)
        elapsed = self.now - self.last_report
        if elapsed < REPORT_SECONDS:
            return
        loss_sum, tokens = self.reported
        gained = self.run.loss_tokens - tokens
        if gained > 0:
            share, left = self._share(trainer)
            loss = (self.run.loss_sum - loss_sum) / gained
            speed = gained / elapsed
            event = Progress(
                self.run.step, trainer.epochs_done, share, loss, speed, trainer.rate, self.run.seconds, left
            )
            trainer.listener(event)
        self.last_report, self.reported = self.now, (self.run.loss_sum, self.run.loss_tokens)

    def _share(self, trainer: Trainer) -> tuple[float, float | None]:
        run, recipe = self.run, trainer.recipe
        by_steps = run.step / trainer.last_step
        by_time = run.seconds / (recipe.max_minutes * 60) if recipe.max_minutes else 0.0
        share = min(1.0, max(by_steps, by_time))
        lefts = [run.seconds * (1 / by_steps - 1)] if run.step >= 20 else []
        if recipe.max_minutes:
            lefts.append(recipe.max_minutes * 60 - run.seconds)
        return share, max(0.0, min(lefts)) if lefts else None

    def speed_since_assessment(self) -> float:
        """Target tokens per second since the last evaluation."""
        self.pause()
        return self.run.loss_tokens / max(1e-9, self.now - self.last_assessment)

    def saved(self, trainer: Trainer) -> None:
        """Save, and leave the time that it and an evaluation took out of the speeds."""
        self.pause()
        trainer.save()
        self.last_save = self.last_report = time.monotonic()
        self.reported = (self.run.loss_sum, self.run.loss_tokens)
        if not self.run.loss_tokens:
            self.last_assessment = self.last_save

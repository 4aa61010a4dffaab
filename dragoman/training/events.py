"""What training tells whoever listens: frozen records; knows nothing of terminals or files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something to say once: a count, a choice and its reason, a warning."""

    text: str
    """One line."""
    warning: bool = False
    """Whether the user may have to act."""


@dataclass(frozen=True)
class Stage:
    """A step of preparation that takes a while: reading, learning the vocabulary, encoding."""

    name: str
    """What is being done, such as `reading`."""
    done: int
    """How much so far."""
    total: int | None
    """Of how much, if known; `done == total` ends the stage."""
    unit: str = "pair"
    """What is counted."""


@dataclass(frozen=True)
class Progress:
    """Training, a few times per second at most."""

    step: int
    """Optimiser steps so far."""
    epoch: float
    """Passes over the data so far."""
    share: float
    """How much of the run is done, 0 to 1, by whichever limit comes first."""
    loss: float
    """Mean cross-entropy per target token since the last report, in nats."""
    tokens_per_second: float
    """Target tokens per second since the last report."""
    learning_rate: float
    """Of the last step."""
    seconds: float
    """Seconds of training so far, earlier sessions counted in."""
    seconds_left: float | None
    """Until the first limit at this speed; None before it is known."""


@dataclass(frozen=True)
class Evaluated:
    """The model on the development part."""

    step: int
    """Optimiser steps so far."""
    epoch: float
    """Passes over the data so far."""
    train_loss: float
    """Mean cross-entropy per target token since the last evaluation, in nats."""
    dev_loss: float
    """Mean cross-entropy per target token of dev, teacher-forced, in nats."""
    metric: str
    """The score's name: bleu, chrf, exact_match or loss."""
    score: float
    """By real greedy decoding of at most 500 dev sources (0 to 100; the dev loss itself for `loss`)."""
    best: bool
    """Whether it was kept as the model: it is the best so far, or dev has too few sources to tell."""
    learning_rate: float
    """Of the last step."""
    tokens_per_second: float
    """Target tokens per second since the last evaluation."""
    seconds: float
    """Seconds of training so far."""
    decoding_seconds: float
    """How long decoding dev took."""
    risk: float | None = None
    """Mean expected cost of the outputs that the model drew since the last evaluation (minimum risk); None without it."""


Event = Note | Stage | Progress | Evaluated
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A listener for those who want silence."""
    del event

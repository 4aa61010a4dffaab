"""A trained model as the options of a command ask for it; knows no command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dragoman.config import CompanionOptions, EngineOptions

if TYPE_CHECKING:
    from dragoman.translator import Translator


def open_model(name: str, machine: EngineOptions, others: CompanionOptions) -> Translator:
    """What `load` gives for a model, and for those that help it to choose."""
    from dragoman import load

    return load(
        name,
        device=machine.device,
        threads=machine.threads,
        engine=machine.engine,
        precision=machine.precision,
        ensemble=others.ensemble,
        reverse=others.reverse,
    )

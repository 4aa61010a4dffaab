"""Every option once, as frozen pydantic models with limits and help texts; does not know how options are used.

`None` means "not set": a value then comes from the config file, the preset, or the data, in that order (see
`dragoman.training.recipe`). The command line and the Python functions take these same models, so a field added
here appears in both, under the same name.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dragoman.config.base import Case, Options, TokenizerMethod, whole
from dragoman.config.machine import EngineOptions, MachineOptions, ThreadOptions, on_processor, processors
from dragoman.config.reading import InputOptions, ReadOptions
from dragoman.config.searching import CompanionOptions, EnsembleOptions, SearchOptions

if TYPE_CHECKING:
    from dragoman.config.training import TrainOptions, splitting_of

__all__ = [
    "Case",
    "CompanionOptions",
    "EngineOptions",
    "EnsembleOptions",
    "InputOptions",
    "MachineOptions",
    "Options",
    "ReadOptions",
    "SearchOptions",
    "ThreadOptions",
    "TokenizerMethod",
    "TrainOptions",
    "on_processor",
    "processors",
    "splitting_of",
    "whole",
]


def __getattr__(name: str) -> Any:
    """Load the options of training on first use: translating does without them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("dragoman.config.training"), name)

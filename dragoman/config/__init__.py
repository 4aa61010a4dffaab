"""Every option once, as frozen pydantic models with limits and help texts; does not know how options are used.

`None` means "not set": a value then comes from the config file, the preset, or the data, in that order (see
`dragoman.training.recipe`). The command line and the Python functions take these same models, so a field added
here appears in both, under the same name.
"""

from dragoman.config.base import Options
from dragoman.config.machine import EngineOptions, MachineOptions, ThreadOptions, on_processor, processors
from dragoman.config.reading import InputOptions, ReadOptions
from dragoman.config.searching import CompanionOptions, EnsembleOptions, SearchOptions
from dragoman.config.training import TokenizerMethod, TrainOptions, splitting_of

__all__ = [
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
]

"""dragoman: recurrent sequence-to-sequence models, from a file of pairs to a trained and measured model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dragoman.config import ReadOptions, SearchOptions, TrainOptions
    from dragoman.errors import DragomanError
    from dragoman.making import export, resume, train
    from dragoman.synthesis import backtranslate, distill
    from dragoman.translation.shortlisting import make_shortlist
    from dragoman.translator import Translation, Translator, load

__version__ = "0.1.0"

__all__ = [
    "DragomanError",
    "ReadOptions",
    "SearchOptions",
    "TrainOptions",
    "Translation",
    "Translator",
    "backtranslate",
    "distill",
    "export",
    "load",
    "make_shortlist",
    "resume",
    "train",
]

_HOME = {
    "DragomanError": "dragoman.errors",
    "ReadOptions": "dragoman.config",
    "SearchOptions": "dragoman.config",
    "TrainOptions": "dragoman.config",
    "Translation": "dragoman.translator",
    "Translator": "dragoman.translator",
    "backtranslate": "dragoman.synthesis",
    "distill": "dragoman.synthesis",
    "export": "dragoman.making",
    "load": "dragoman.translator",
    "make_shortlist": "dragoman.translation.shortlisting",
    "resume": "dragoman.making",
    "train": "dragoman.making",
}


def __getattr__(name: str) -> Any:
    """Load the public names on first use, so that `import dragoman` stays fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'dragoman' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

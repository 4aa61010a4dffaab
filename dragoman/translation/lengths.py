"""For sources of which lengths the options leave any output at all; asks no model, and knows no text."""

from __future__ import annotations

from dragoman.config import SearchOptions
from dragoman.errors import OptionError
from dragoman.generation.constraints import Constraints
from dragoman.generation.plan import make_plan
from dragoman.generation.stepper import UNK
from dragoman.translation.texts import LONGEST_SOURCE

_LENGTHS = (1, 4, 16, 64, 256, 1024, 4096)
"""Tokens of the sources for which options are tried, to tell whether they can be met at all."""
_USUAL = 16
"""Tokens of the source that a message speaks of, where any would do."""


def check(options: SearchOptions, constraints: Constraints | None, *, vocab_size: int) -> None:
    """Raise `OptionError` if the options leave no output for any source."""
    # Limits rise with the source, so that the longest one leaves most, unless the least rises with it.
    if not options.min_length_ratio and _fault(LONGEST_SOURCE, options, constraints, vocab_size):
        fault_of(_USUAL, options, constraints, vocab_size=vocab_size)


def fault_of(length: int, options: SearchOptions, constraints: Constraints | None, *, vocab_size: int) -> str | None:
    """Why the options leave no output for a source of so many tokens; None if they leave one.

    Raises `OptionError` if that is so at every length.
    """
    found = _fault(length, options, constraints, vocab_size)
    if found is not None and all(_fault(other, options, constraints, vocab_size) for other in _LENGTHS):
        raise found
    return None if found is None else str(found)


def _fault(length: int, options: SearchOptions, constraints: Constraints | None, vocab_size: int) -> OptionError | None:
    try:
        make_plan([[UNK] * length], vocab_size, options=options, constraints=constraints)
    except OptionError as error:
        return error
    return None

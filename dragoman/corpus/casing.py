"""Small letters or capitals: how a column is written, and a text written so; knows no tokenizers and no files.

A model knows the letters that it saw. Where sources have small letters only, a capital is a letter it never saw, and a line
in capitals is one everywhere. So what is typed is brought into the form of the training data.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from dragoman.config import Case

_FEW = 0.001
"""Share of sentences with letters of either case that may be written otherwise where all are said to be written alike:
slips and acronyms."""
_SOME = 0.01
"""Share of sentences in capitals from which a model learns to read them."""
_SHOUTED = 4
"""Capitals of the shortest text that is taken for a shouted one: STOP, but not USA."""


def in_case(text: str, case: Case) -> str:
    """`text` with its letters in this case, character by character; what has no such form stays (`ß` in capitals).

    `sentence` changes only a text all in capitals, of four or more: `I AM HERE.` -> `I am here.`
    """
    match case:
        case "keep":
            return text
        case "lower":
            return _lower(text)
        case "upper":
            return _upper(text)
        case "sentence":
            if not is_shouted(text):
                return text
            small = _lower(text)
            first = next(place for place, character in enumerate(text) if character.isupper())
            return small[:first] + text[first] + small[first + 1 :]
        case _ as never:
            assert_never(never)


def is_shouted(text: str) -> bool:
    """Whether a text is all in capitals: no small letter, none of a script without (`FIFA에 의해`), and four capitals at least.

    Words with digits do not count: `ABX-9931-KL` is a code, and its capitals are not shouted.
    """
    if text != text.upper() or any(map(_is_of_neither, text)):
        return False
    words = (word for word in text.split() if not any(map(str.isdigit, word)))
    return sum(character.isupper() for word in words for character in word) >= _SHOUTED


def usual_case(texts: Sequence[str], *, sentences: bool) -> tuple[Case, str]:
    """The case in which a column like `texts` is to be read, and why."""
    small, capital, cased = (_count(texts, has) for has in (_is_small, _is_capital, _has_case))
    few = _FEW * cased if sentences else 0
    if not cased:
        return "keep", "no letters that have capitals"
    if capital <= few:
        return "lower", "hardly a source has capitals" if capital else "sources have small letters only"
    if small <= few:
        return "upper", "hardly a source has small letters" if small else "sources have capitals only"
    if not sentences:
        return "keep", "sources have small letters and capitals"
    if sum(map(is_shouted, texts)) > _SOME * len(texts):
        return "keep", "some sources are all in capitals"
    return "sentence", "hardly a source is all in capitals: one that is will be read in small letters"


def _is_small(character: str) -> bool:
    return character != character.upper()  # not the ordinal º, which has no capital


def _is_capital(character: str) -> bool:
    return character != character.lower()  # and U+01C5, a D with a small z


def _has_case(character: str) -> bool:
    return _is_small(character) or _is_capital(character)


def _is_of_neither(character: str) -> bool:
    """A letter that is neither small nor a capital, as those of Hangul, Han and Arabic."""
    return unicodedata.category(character) == "Lo" and not character.islower()


def _count(texts: Iterable[str], has: Callable[[str], bool]) -> int:
    return sum(any(map(has, text)) for text in texts)


def _lower(text: str) -> str:
    """`text` in small letters; `İ`, which alone would become two characters, is `i` as in Turkish."""
    return text.replace("İ", "i").lower()


def _upper(text: str) -> str:
    """`text` in capitals, changed as one, or character by character where that is longer."""
    changed = text.upper()
    if len(changed) == len(text):
        return changed
    return "".join(new if len(new := character.upper()) == 1 else character for character in text)

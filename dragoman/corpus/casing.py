"""Small letters or capitals: how a column is written, and a text written so; knows no tokenizers and no files.

A model knows the letters that it saw. Where sources have small letters only, a capital is a letter it never saw, and a line
in capitals is one everywhere. So what is typed is brought into the form of the training data.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import assert_never

from dragoman.config import Case

_FEW = 0.001
"""Share of sentences with letters of either case that may be written otherwise where all are said to be written alike:
slips and acronyms."""
_SOME = 0.01
"""Share of sentences in capitals from which a model learns to read them."""
_SHOUTED = 4
"""Capitals of the shortest text that is taken for a shouted one: STOP, but not USA."""
_RUN = 3
"""Words in capitals, one after the other, that are shouted in a text that is not: it may have a name of two."""
_ENDS = ".!?\u2026\u0589"
"""Signs at the end of a sentence; the last is Armenian."""


def in_case(text: str, case: Case) -> str:
    """`text` with its letters in this case, character by character; what has no such form stays (`ß` in capitals).

    `sentence` changes only what is shouted: `I AM HERE.` -> `I am here.`, `Go. WHERE IS ANN? Go.` -> `Go. Where is ann? Go.`
    """
    match case:
        case "keep":
            return text
        case "lower":
            return _lower(text)
        case "upper":
            return _upper(text)
        case "sentence":
            return _spoken(text)
        case _ as never:
            assert_never(never)


def _spoken(text: str) -> str:
    """`text` with what is shouted in small letters, after the first of a sentence."""
    if sum(map(str.isupper, text)) < _SHOUTED:
        return text
    characters, small = list(text), _lower(text)
    for begin, end in _shouted(text):
        characters[begin:end] = small[begin:end]
    for first in _beginnings(text):
        characters[first] = text[first]
    return "".join(characters)


def _beginnings(text: str) -> Iterator[int]:
    """Where each sentence has its first letter or digit."""
    begins, ended = True, False
    for place, character in enumerate(text):
        if character.isalnum():
            if begins:
                yield place
            begins = ended = False
        elif character in _ENDS:
            ended = True
        elif character.isspace() and ended:
            begins = True


def _shouted(text: str) -> Iterator[tuple[int, int]]:
    """Where a text is shouted: as a whole, or in `_RUN` words or more without a comma; four capitals at least.

    Words with digits do not count (`ABX-9931-KL` is a code), nor do those with letters of a script without capitals (`FIFA에`). Nor
    is a list of names in a text (`at IBM, NASA, ESA`) shouted.
    """
    if text == text.upper() and not any(map(_is_of_neither, text)):
        if _capitals(text.split()) >= _SHOUTED:
            yield 0, len(text)
        return
    run: list[re.Match[str]] = []
    for word in [*re.finditer(r"[^\s,]+|,", text), None]:
        if word and _is_loud(word[0]):
            run.append(word)
        elif word is None or word[0] == "," or any(_has_case(c) or _is_of_neither(c) for c in word[0]):
            if len(run) >= _RUN and _capitals(each[0] for each in run) >= _SHOUTED:
                yield run[0].start(), run[-1].end()
            run = []


def _capitals(words: Iterable[str]) -> int:
    return sum(c.isupper() for word in words if not any(map(str.isdigit, word)) for c in word)


def _is_loud(word: str) -> bool:
    return word.lower() != word == word.upper() and not any(c.isdigit() or _is_of_neither(c) for c in word)


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
    if sum(_spoken(text) != text for text in texts) > _SOME * len(texts):
        return "keep", "some sources are in capitals, whole or in part"
    return "sentence", "hardly a source is all in capitals: what is will be read in small letters"


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

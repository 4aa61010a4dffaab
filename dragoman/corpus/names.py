"""Names and numbers that stand on both sides of a pair, and others in their place; knows texts, and no ids.

A model that saw a few names only spells all others as words that it knows. What it must learn is not each name, but to carry it over
(compare Currey et al. 2017, who train on whole sentences that are copied).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from random import Random

_WORD = re.compile(r"(?<![\dA-Za-z])\d+(?![\dA-Za-z])|[^\W\d_]+")
"""A word, or a number that is no part of one, as the 3 of 3rd is."""
_HALVED = range(4, 13)
"""Letters of words whose halves make names."""
_LETTERS = range(3, 10)
"""Letters of a name of any letters."""
_VOWELS = frozenset("aeiouyh")


class OtherNames:
    """Puts other names and numbers into pairs of texts. A name is a capitalised word that is no word in small letters.

    Half of the new names are halves of words, put together; they are easy to pronounce, and begin with a vowel or not as the old ones did
    (de Tom, d'Alice). The others are any letters, as names come from languages with other words.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts` of both sides tell what the languages' words are."""
        words = {word for text in texts for word in words_of(text)}
        self._words = {word for word in words if word == word.lower()}
        self._heads: dict[tuple[str, bool], list[str]] = defaultdict(list)
        self._tails: dict[str, list[str]] = defaultdict(list)
        self._letters: dict[str, list[str]] = defaultdict(list)
        for word in sorted(self._words):
            if len(word) in _HALVED and word != word.upper():
                half = len(word) // 2
                self._heads[_script(word), _is_open(word)].append(word[:half])
                self._tails[_script(word)].append(word[half:])
        for letter in sorted({letter for word in self._words for letter in word if letter != letter.upper()}):
            self._letters[_script(letter)].append(letter)

    def __call__(self, source: str, target: str, random: Random) -> tuple[str, str]:
        """Both texts with other names and numbers; as they are where they share none."""
        shared = self.shared(source, target)
        if not shared:
            return source, target
        new = {word: self._number(word, random) if word.isdecimal() else self._name(word, random) for word in shared}

        def put(text: str) -> str:
            return _WORD.sub(lambda found: new.get(found[0], found[0]), text)

        return put(source), put(target)

    def shared(self, source: str, target: str) -> list[str]:
        """The names and numbers that stand in both texts."""
        said = set(words_of(target))
        return [word for word in dict.fromkeys(words_of(source)) if word in said and self._is_carried(word)]

    def _is_carried(self, word: str) -> bool:
        if word.isdecimal():
            return len(word) > 1 or int(word) > 1  # 0 and 1 decide whether a noun is plural
        return len(word) > 1 and word[0].isupper() and word.lower() not in self._words

    def _name(self, word: str, random: Random) -> str:
        script = _script(word)
        heads, tails = self._heads[script, _is_open(word)], self._tails[script]
        if not heads or not tails:
            return word
        if random.random() < 0.5:
            name = "".join(random.choices(self._letters[script], k=random.choice(_LETTERS)))
        else:
            name = random.choice(heads) + random.choice(tails)
        return name[: len(word)].upper() if word.isupper() else name.capitalize()

    @staticmethod
    def _number(word: str, random: Random) -> str:
        zero = ord(word[0]) - int(word[0])  # digits of the same script
        least = 2 if len(word) == 1 else 0 if word[0] == chr(zero) else 1
        digits = [random.randint(least, 9), *(random.randint(0, 9) for _ in word[1:])]
        return "".join(chr(zero + digit) for digit in digits)


def words_of(text: str) -> list[str]:
    """Words, without signs, and numbers."""
    found: list[str] = _WORD.findall(text)
    return found


def _script(word: str) -> str:
    """The first word of a letter's name in Unicode: LATIN, CYRILLIC."""
    return unicodedata.name(word[0], "").split(" ")[0]


def _is_open(word: str) -> bool:
    """Whether it begins with a vowel, or an h, before which some languages leave out another one."""
    return unicodedata.normalize("NFD", word[0].lower())[0] in _VOWELS

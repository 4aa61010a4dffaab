"""What one column of the data looks like, and the rules that name it: sentences, spellings, phones, features.

Knows a handful of counts, no options and no tokenizers; `tokenizer_choice` puts the columns together.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dragoman.config import TokenizerMethod

_SENTENCE_END = tuple(".!?。！？…؟۔।॥։።།။។,、，;:")
_FEATURE = re.compile(r"[;,|()\s]")
_UNSPACED = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u109f\u1780-\u17ff\U00020000-\U0002ffff]"
)
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")


@dataclass(frozen=True)
class ColumnProfile:
    """Counts over one column of the sample."""

    rows: int
    """Texts that are not empty."""
    words: int
    """Pieces between white space, repeated ones included."""
    distinct: int
    """Different pieces."""
    letters: Counter[str]
    """How often each letter occurs, in lower case."""
    long_words: int
    """Pieces of more than one letter or other visible base character."""
    ended_words: int
    """Pieces with sentence punctuation at their end, and a letter or digit: not `-.` of Morse code."""
    ended_rows: int
    """Texts with sentence punctuation at their end."""
    characters: int
    """Characters, white space excluded."""
    distinct_characters: int
    """Different ones."""
    marks: int
    """Combining marks among them, as the vowels above and below Thai letters."""
    unspaced: int
    """Characters of scripts without spaces between words (Han, kana, Thai, Lao, Tibetan, Burmese, Khmer)."""
    hangul: int
    """Hangul characters."""
    distinct_in_jamo: int
    """Different characters if Hangul is split into its letters."""
    feature_rows: int
    """Texts without white space that have a separator of features: `;`, `|`, `,` or a bracket."""
    features: int
    """Pieces between such separators, repeated ones included."""
    distinct_features: int
    """Different ones."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> ColumnProfile:
        """Count over `texts`."""
        words: Counter[str] = Counter()
        characters: Counter[str] = Counter()
        features: Counter[str] = Counter()
        rows = ended_rows = feature_rows = 0
        for text in texts:
            pieces = text.split()
            rows += bool(pieces)
            words.update(pieces)
            if pieces:
                ended_rows += len(pieces[-1]) > 1 and pieces[-1].endswith(_SENTENCE_END)
            if len(pieces) == 1:
                parts = [part for part in _FEATURE.split(text) if part]
                features.update(parts)
                feature_rows += bool(_FEATURE.search(text.strip()))
        for word, count in words.items():
            for character in word:
                characters[character] += count
        return cls(
            rows=rows,
            words=words.total(),
            distinct=len(words),
            letters=_letters(characters),
            long_words=sum(n for word, n in words.items() if _base_length(word) > 1),
            ended_words=sum(
                n for word, n in words.items() if word.endswith(_SENTENCE_END) and any(map(str.isalnum, word))
            ),
            ended_rows=ended_rows,
            characters=characters.total(),
            distinct_characters=len(characters),
            marks=sum(n for c, n in characters.items() if unicodedata.category(c).startswith("M")),
            unspaced=sum(n for c, n in characters.items() if _UNSPACED.match(c)),
            hangul=sum(n for c, n in characters.items() if _HANGUL.match(c)),
            distinct_in_jamo=len(set("".join(_in_jamo(c) for c in characters))),
            feature_rows=feature_rows,
            features=features.total(),
            distinct_features=len(features),
        )

    def are_features(self) -> bool:
        """`V;IND;PST;NOM(3,PL)`, not `12,50`: no white space, separators in most rows, few different pieces used again and again."""
        few = self.distinct_features <= 300 and self.features >= 4 * self.distinct_features
        return few and self.feature_rows >= 0.5 * self.rows > 0 and bool(self.letters)

    def are_spelled_out(self) -> bool:
        """`예 나 리 스`, `k æ t`: nearly every piece is one character, and most rows have several."""
        return self.words >= 1.5 * self.rows and self.long_words <= 0.05 * self.words

    def are_closed_symbols(self) -> bool:
        """`K AH Z`, `I_TURN_LEFT I_JUMP`, labels: few different pieces, each used often, none with a full stop."""
        return self.distinct <= 300 and self.words >= 5 * self.distinct and self.ended_words <= 0.005 * self.words

    def are_repeated_words(self) -> bool:
        """A few dozen words or more, one in a row, as the lemmas of a table of inflected forms; not a handful of labels."""
        return self.distinct > 30 and self.words <= 1.5 * self.rows and self.long_words >= 0.9 * self.words

    def are_spellings(self) -> bool:
        """`hàng xóm`, `CC(=O)O`: one to three short words in a row, or one of any length; hardly a sentence among them."""
        if self.ended_rows > 0.05 * self.rows:
            return False
        if self.is_mostly_unspaced():
            return self.characters - self.marks <= 8 * self.rows
        return self.words <= (2.5 if self.characters <= 30 * self.rows else 1.05) * self.rows

    def is_mostly_unspaced(self) -> bool:
        """Most characters are of scripts that put no spaces between words, and no tool has put them there."""
        spaces = self.words - self.rows
        return self.unspaced > 0.5 * self.characters and 4 * spaces <= self.characters - self.marks

    def is_unbroken(self) -> bool:
        """Hardly a text has a space inside."""
        return self.words <= 1.05 * self.rows

    def is_hangul(self) -> bool:
        """At least a third of the characters are Hangul."""
        return self.hangul * 3 >= self.characters > 0

    def shares_letters(self, other: ColumnProfile) -> float:
        """The smaller share of one side's letters, repeated ones counted, that occur on the other side too."""
        shares = [
            sum(n for letter, n in a.letters.items() if letter in b.letters) / max(1, a.letters.total())
            for a, b in ((self, other), (other, self))
        ]
        return min(shares)

    def method(self) -> tuple[TokenizerMethod, str]:
        """The method that suits this column, and why."""
        if self.are_features():
            return "features", "separators in most rows, few different pieces"
        if self.are_closed_symbols():
            return "symbols", f"only {self.distinct} different pieces between spaces"
        if self.are_spelled_out():
            return "symbols", "single characters between spaces"
        if self.are_spellings():
            return "char", "single words, not sentences"
        if self.is_mostly_unspaced():
            return "bpe", "sentences without spaces between words"
        return "bpe", "sentences"

    def is_text(self) -> bool:
        """Whether these are sentences, whatever the method."""
        return self.method()[0] == "bpe"


def _in_jamo(character: str) -> str:
    """A Hangul syllable as its letters, anything else as it is."""
    return unicodedata.normalize("NFD", character) if _HANGUL.match(character) else character


def _letters(characters: Counter[str]) -> Counter[str]:
    letters: Counter[str] = Counter()
    for character, count in characters.items():
        if character.isalpha():
            letters[character.lower()] += count
    return letters


def _base_length(word: str) -> int:
    """Characters that stand on their own: no combining marks, no modifier letters such as ʰ, no tie bars."""
    return sum(unicodedata.category(c) not in ("Mn", "Mc", "Me", "Lm", "Sk") for c in word)
